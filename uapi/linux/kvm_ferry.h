/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * kvm-ferry: live migration of KVM guests with the hot path in the kernel.
 */
#ifndef _UAPI_LINUX_KVM_FERRY_H
#define _UAPI_LINUX_KVM_FERRY_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: General ioctl format
 *
 * Every command is _IO(KVM_FERRY_TYPE, nr): no size is baked into the number.
 * Every struct begins with @size, which user space sets to sizeof() of the
 * struct that it was compiled with. A kernel that knows more takes the missing
 * tail as zeroes; a kernel that knows less accepts a longer struct as long as
 * the tail that it does not know is zero.
 *
 * Fields named out_* are written by the kernel, fields named __reserved must
 * be zero, flags that are not documented must be zero. File descriptors are
 * __s32, user pointers are __aligned_u64, times are in the unit that the name
 * ends in (_ns, _us, _ms), rates are in units per second, sizes are in bytes
 * and "pages" are pages of @out_page_size (4096) bytes.
 *
 * A struct without out_* fields is only read: such a command has done what it
 * says if it returns 0. Where out_* fields cannot be written the error is
 * EFAULT, and what the caller was not told of is undone (a new session, events)
 * or ends the session (a piece of state).
 *
 * Common errors, beside those that each command names:
 *
 *  - ENOTTY: the command is unknown, or is not for this kind of fd (a session
 *    command on /dev/kvm_ferry, a source's command on a sink).
 *  - E2BIG: a tail that this kernel does not know is not zero, or @size is
 *    above 4096.
 *  - EINVAL: @size is too small, a reserved field is not zero, or a field has
 *    a value that can never be right.
 *  - EOPNOTSUPP: an unknown flag, value or feature: another kernel may know it.
 *  - EFAULT: a user pointer cannot be read or written.
 *  - EBUSY: the command is right, but not in the session's present state.
 *  - EPERM: the caller lives in another address space than the session's
 *    creator, or lacks CAP_SYS_ADMIN for an operator's command.
 *  - ENOENT: no such region, slot, ring or session.
 *  - EEXIST: that region, slot, ring or channel was added already.
 *  - ENOSPC: a documented maximum is reached (see KVM_FERRY_INFO).
 *  - ENOMEM: out of memory. Nothing was changed.
 *  - EINTR: a signal came; call again to go on waiting.
 *  - ESHUTDOWN: the session has ended; KVM_FERRY_REASON says why.
 *
 * Errors that end a session (@out_error of KVM_FERRY_EVENT, as a positive
 * number):
 *
 *  - EPIPE: the peer closed, reset or aborted the connection.
 *  - ETIMEDOUT: the peer was silent, or took nothing, for the peer timeout.
 *  - EPROTO: the peer sent what the protocol does not allow.
 *  - EPROTONOSUPPORT: the peer speaks no version that this side speaks.
 *  - EKEYREJECTED: a data channel's token is not its control channel's.
 *  - EREMCHG: the peer's regions are not this side's.
 *  - EBADE: verify found a difference between the two memories.
 *  - ENXIO: a dirty ring held an entry of a slot that no slot map knows.
 *  - EIO: KVM refused to reset the rings, or a count did not add up.
 *  - ESRCH: the VMM has exited.
 *  - EFAULT: guest memory could not be read or written.
 *  - EBADMSG: what came on a channel was not what the peer sent, says TLS.
 *  - ENOMEM: out of memory.
 *  - ECANCELED: this side's VMM or operator aborted.
 *
 * Any other one is what the socket of a channel failed with.
 *
 * After every failed call, and for every session that failed,
 * KVM_FERRY_REASON gives the reason in words.
 */

#define KVM_FERRY_DEVICE	"/dev/kvm_ferry"
#define KVM_FERRY_TYPE		0xBC
#define KVM_FERRY_UAPI_VERSION	1

#define KVM_FERRY_NAME_LEN	32	/* with the final NUL */
#define KVM_FERRY_REASON_LEN	256	/* with the final NUL */
#define KVM_FERRY_PAGE_SIZE	4096

#define KVM_FERRY_MAX_REGIONS		256
#define KVM_FERRY_MAX_SLOTS		32768
#define KVM_FERRY_MAX_RINGS		4096
#define KVM_FERRY_MAX_DATA_CHANNELS	16
#define KVM_FERRY_MAX_RANGES		1024
#define KVM_FERRY_MAX_STATE_BYTES	(256ULL << 20)
#define KVM_FERRY_MAX_INFLIGHT_BYTES	(64ULL << 20)
#define KVM_FERRY_HISTORY_RECORDS	64	/* so many are kept */

enum {
	/* on /dev/kvm_ferry */
	KVM_FERRY_CMD_INFO = 0x00,
	KVM_FERRY_CMD_CREATE = 0x01,
	KVM_FERRY_CMD_LIST = 0x02,
	KVM_FERRY_CMD_HOST_LIMITS = 0x09,
	/* on both */
	KVM_FERRY_CMD_REASON = 0x03,
	KVM_FERRY_CMD_STATS = 0x04,
	KVM_FERRY_CMD_LIMITS = 0x05,
	KVM_FERRY_CMD_ABORT = 0x06,
	KVM_FERRY_CMD_RING_STATS = 0x07,
	KVM_FERRY_CMD_REGION_STATS = 0x08,
	/* on /dev/kvm_ferry */
	KVM_FERRY_CMD_HISTORY = 0x0a,
	/* on a session: set-up */
	KVM_FERRY_CMD_REGION_ADD = 0x10,
	KVM_FERRY_CMD_SLOT_ADD = 0x11,
	KVM_FERRY_CMD_SLOT_MOVE = 0x12,
	KVM_FERRY_CMD_SLOT_REMOVE = 0x13,
	KVM_FERRY_CMD_RING_ADD = 0x14,
	KVM_FERRY_CMD_CHANNEL_ADD = 0x15,
	KVM_FERRY_CMD_START = 0x16,
	/* on a session: under way */
	KVM_FERRY_CMD_EVENT = 0x20,
	KVM_FERRY_CMD_REPORT_DIRTY = 0x21,
	KVM_FERRY_CMD_REPORT_BITMAP = 0x22,
	KVM_FERRY_CMD_FETCH_DIRTY = 0x23,
	KVM_FERRY_CMD_RING_WAIT = 0x24,
	KVM_FERRY_CMD_RING_SYNC = 0x25,
	KVM_FERRY_CMD_RING_INDEX = 0x26,
	/* on a session: switchover */
	KVM_FERRY_CMD_FINAL = 0x30,
	KVM_FERRY_CMD_STATE_SEND = 0x31,
	KVM_FERRY_CMD_STATE_RECV = 0x32,
	KVM_FERRY_CMD_COMMIT = 0x33,
};

/**
 * enum kvm_ferry_role - which end of a migration a session is
 * @KVM_FERRY_SOURCE: gives the VM away
 * @KVM_FERRY_SINK: takes the VM
 */
enum kvm_ferry_role {
	KVM_FERRY_SOURCE = 0,
	KVM_FERRY_SINK = 1,
};

/**
 * enum kvm_ferry_state - where a session stands
 * @KVM_FERRY_STATE_SETUP: regions, slots, rings, channels are being added
 * @KVM_FERRY_STATE_CONNECTING: started; the two ends agree on version,
 *	features, regions and channels
 * @KVM_FERRY_STATE_LIVE: passes run while the guest runs at the source
 * @KVM_FERRY_STATE_FINAL: the guest is paused, the final pass is under way
 * @KVM_FERRY_STATE_PAUSED: the sink holds all of memory; VMM state may flow
 * @KVM_FERRY_STATE_COMMITTING: source: COMMIT was sent, its answer is awaited.
 *	sink: ready to run the guest, COMMIT is awaited
 * @KVM_FERRY_STATE_DONE: the sink owns the guest. The source must not run it
 * @KVM_FERRY_STATE_FAILED: ended by an error; at the source the guest is whole
 *	and may run on; at the sink it must not run
 * @KVM_FERRY_STATE_ABORTED: as FAILED, on the word of this side's VMM or
 *	operator
 * @KVM_FERRY_STATE_IN_DOUBT: source only: COMMIT was sent, and neither
 *	acknowledged nor refused. Neither side may be taken to own the guest:
 *	keep it paused, and ask the sink's VMM (or a person) whether it runs there
 */
enum kvm_ferry_state {
	KVM_FERRY_STATE_SETUP = 0,
	KVM_FERRY_STATE_CONNECTING = 1,
	KVM_FERRY_STATE_LIVE = 2,
	KVM_FERRY_STATE_FINAL = 3,
	KVM_FERRY_STATE_PAUSED = 4,
	KVM_FERRY_STATE_COMMITTING = 5,
	KVM_FERRY_STATE_DONE = 6,
	KVM_FERRY_STATE_FAILED = 7,
	KVM_FERRY_STATE_ABORTED = 8,
	KVM_FERRY_STATE_IN_DOUBT = 9,
};

/**
 * enum kvm_ferry_dirty_source - what says which pages changed
 * @KVM_FERRY_DIRTY_RING: KVM's dirty rings, plus what the VMM reports
 * @KVM_FERRY_DIRTY_REPORT: only what the VMM reports; and what a dirty source
 *	finds that somebody else's module has brought, for experiments
 */
enum kvm_ferry_dirty_source {
	KVM_FERRY_DIRTY_RING = 0,
	KVM_FERRY_DIRTY_REPORT = 1,
};

/**
 * enum kvm_ferry_transport - what a channel is made of
 * @KVM_FERRY_TRANSPORT_TCP: a connected TCP socket, handed over by fd
 * @KVM_FERRY_TRANSPORT_LOOP: in memory, between two sessions of one host and
 *	one user; for tests and for measuring what a network costs
 * @KVM_FERRY_TRANSPORT_RDMA: an RDMA reliable connection, for data channels;
 *	by a module of its own, kvm_ferry_rdma, which loads when it is asked for
 * @KVM_FERRY_TRANSPORT_OWN: one that somebody else's module brings, for
 *	experiments: what it takes of struct kvm_ferry_channel_add is its own
 */
enum kvm_ferry_transport {
	KVM_FERRY_TRANSPORT_TCP = 0,
	KVM_FERRY_TRANSPORT_LOOP = 1,
	KVM_FERRY_TRANSPORT_RDMA = 2,
	KVM_FERRY_TRANSPORT_OWN = 3,
};

/* Bits of @out_features: what this kernel's ferry can do. */
#define KVM_FERRY_FEATURE_VERIFY	(1ULL << 0)	/* digests before commit */
#define KVM_FERRY_FEATURE_ZERO_COPY	(1ULL << 1)	/* page references go to the socket */
#define KVM_FERRY_FEATURE_FETCH_DIRTY	(1ULL << 2)

/**
 * struct kvm_ferry_info - ioctl(KVM_FERRY_INFO), on /dev/kvm_ferry
 * @size: sizeof(struct kvm_ferry_info)
 * @flags: must be 0
 * @out_uapi_version: KVM_FERRY_UAPI_VERSION of the module
 * @out_wire_version: the newest version of the wire protocol that it speaks
 * @out_wire_version_min: the oldest one
 * @out_page_size: unit of all page counts, in bytes
 * @out_transports: bit (1 << enum kvm_ferry_transport) for each at hand
 * @out_dirty_sources: bit (1 << enum kvm_ferry_dirty_source) for each
 * @out_features: KVM_FERRY_FEATURE_* bits
 * @out_max_regions: regions a session
 * @out_max_slots: slot maps a session
 * @out_max_rings: rings a session
 * @out_max_data_channels: data channels a session
 * @out_max_state_bytes: VMM state a migration, in bytes
 * @out_max_inflight_bytes: largest @inflight_bytes of KVM_FERRY_LIMITS
 * @out_release: module version, NUL-terminated
 *
 * Needs no session and no privilege beyond having opened the device.
 */
struct kvm_ferry_info {
	__u32 size;
	__u32 flags;
	__u32 out_uapi_version;
	__u32 out_wire_version;
	__u32 out_wire_version_min;
	__u32 out_page_size;
	__aligned_u64 out_transports;
	__aligned_u64 out_dirty_sources;
	__aligned_u64 out_features;
	__u32 out_max_regions;
	__u32 out_max_slots;
	__u32 out_max_rings;
	__u32 out_max_data_channels;
	__aligned_u64 out_max_state_bytes;
	__aligned_u64 out_max_inflight_bytes;
	__u8 out_release[KVM_FERRY_NAME_LEN];
};
#define KVM_FERRY_INFO _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_INFO)

/**
 * struct kvm_ferry_create - ioctl(KVM_FERRY_CREATE), on /dev/kvm_ferry
 * @size: sizeof(struct kvm_ferry_create)
 * @flags: must be 0
 * @role: enum kvm_ferry_role
 * @dirty_source: source: enum kvm_ferry_dirty_source. sink: 0
 * @vm_fd: source with KVM_FERRY_DIRTY_RING: the VM's fd (KVM_CREATE_VM), of a
 *	VM that the caller created. Otherwise -1
 * @out_fd: the session: a new fd, close-on-exec. Closing its last copy aborts
 *	a session that has not ended, and frees everything
 * @out_id: number of the session, never used twice while the module is loaded
 * @name: for people: the VM's name, NUL-terminated, printable; may be empty
 *
 * The session belongs to the caller's address space: only a thread of it may
 * call the set-up and switchover commands.
 *
 * Errors: EBADF @vm_fd is not open; ENOTTY @vm_fd is not a VM fd of KVM (a
 * vCPU fd, a socket, a terminal); EPERM the VM belongs to another process;
 * EOPNOTSUPP this KVM has no dirty ring; EMFILE.
 */
struct kvm_ferry_create {
	__u32 size;
	__u32 flags;
	__u32 role;
	__u32 dirty_source;
	__s32 vm_fd;
	__s32 out_fd;
	__aligned_u64 out_id;
	__u8 name[KVM_FERRY_NAME_LEN];
};
#define KVM_FERRY_CREATE _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_CREATE)

/**
 * struct kvm_ferry_list - ioctl(KVM_FERRY_LIST), on /dev/kvm_ferry
 * @size: sizeof(struct kvm_ferry_list)
 * @flags: must be 0
 * @ids: user pointer to an array of __u64
 * @count: in: room in the array. At most as many ids are written, in
 *	ascending order
 * @out_count: sessions that there are; more than @count: call again
 *
 * Needs CAP_SYS_ADMIN (EPERM).
 */
struct kvm_ferry_list {
	__u32 size;
	__u32 flags;
	__aligned_u64 ids;
	__u32 count;
	__u32 out_count;
};
#define KVM_FERRY_LIST _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_LIST)

/**
 * struct kvm_ferry_reason - ioctl(KVM_FERRY_REASON), on both kinds of fd
 * @size: sizeof(struct kvm_ferry_reason)
 * @flags: 0: why the last command on this fd failed. On a session fd,
 *	KVM_FERRY_REASON_SESSION: why the session failed
 * @out_error: the errno, positive; 0: nothing failed yet
 * @__reserved: must be 0
 * @out_reason: a sentence for a person, NUL-terminated UTF-8
 */
struct kvm_ferry_reason {
	__u32 size;
	__u32 flags;
	__s32 out_error;
	__u32 __reserved;
	__u8 out_reason[KVM_FERRY_REASON_LEN];
};
#define KVM_FERRY_REASON_SESSION	(1U << 0)
#define KVM_FERRY_REASON _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_REASON)

/**
 * struct kvm_ferry_stats - ioctl(KVM_FERRY_STATS), on both kinds of fd
 * @size: sizeof(struct kvm_ferry_stats)
 * @flags: must be 0
 * @session_id: on a session fd: 0. On /dev/kvm_ferry: the session to read;
 *	needs CAP_SYS_ADMIN
 * @out_session_id: whose figures these are
 * @out_role: enum kvm_ferry_role
 * @out_state: enum kvm_ferry_state
 * @out_error: the errno that ended the session, positive; 0: none
 * @out_nr_channels: data channels
 * @out_total_time_ns: from START to now, or to the end of the session
 * @out_setup_time_ns: from START until both ends had agreed (LIVE)
 * @out_downtime_ns: source: from FINAL being called to COMMIT being
 *	acknowledged, so far. sink: from hearing FINAL to acknowledging COMMIT
 * @out_expected_downtime_ns: source: predicted downtime if FINAL were called
 *	now; ~0: not known yet
 * @out_ram_total: bytes of all regions
 * @out_ram_transferred: bytes on data channels with headers (source: sent,
 *	sink: received)
 * @out_ram_remaining: source: bytes of pages that are staged or published; those
 *	in @out_ram_queued are not in it
 * @out_ram_acked: source: bytes that the peer's host has acknowledged on data
 *	channels: what the link carries, where @out_ram_transferred is what the
 *	connections took. Up to date after KVM_FERRY_RING_SYNC, or 50 ms old
 * @out_ram_queued: source: bytes that were on their way then: taken from
 *	@out_ram_remaining, and not acknowledged. 20 ms of the link, or 256 KiB,
 *	for each data channel, and what the network holds
 * @out_ram_normal: pages that travelled
 * @out_ram_duplicate: pages that are zero: found and told, did not travel
 * @out_ram_hole: of @out_ram_duplicate, pages that were not even allocated
 * @out_ram_skipped_clear: sink: zero pages that were clear already
 * @out_dirty_sync_count: passes begun
 * @out_dirty_pages_rate: pages a second that became dirty, of late
 * @out_link_rate: bytes a second that the data channels took, of late
 * @out_dirty_pages: pages that became dirty since START, each pass's anew
 * @out_ring_entries: ring entries harvested
 * @out_ring_resets: KVM_RESET_DIRTY_RINGS calls
 * @out_ring_full: waits of vCPUs in KVM_FERRY_RING_WAIT
 * @out_ring_full_ns: time that vCPUs spent there
 * @out_harvest_ns: time spent harvesting
 * @out_reset_ns: time spent in marking entries and in KVM_RESET_DIRTY_RINGS
 * @out_extents: extents sent or received
 * @out_batches: batches sent or received
 * @out_batch_pages_spliced: sampled: first pages of batches that the
 *	transport held a reference of when it had taken the batch
 * @out_pacing_ns: time that senders slept to keep the bandwidth limit
 * @out_state_bytes: VMM state sent or received
 * @out_digest: of all of memory: set by verify on both sides; 0: not taken
 * @out_bookkeeping_bytes: memory that the session's bitmaps take
 * @out_name: the session's name
 * @out_pinned_bytes: sink: guest memory that is pinned for RDMA now
 * @out_pinned_most_bytes: the most that it was
 * @out_windows: windows of guest memory that were opened for RDMA
 * @out_rdma_channels: data channels that go over RDMA: fewer than there were
 *	added if some fell back to TCP
 * @out_throttled_rings: source: vCPUs whose rate is limited now
 * @out_throttle_rate: pages a second that each of these may dirty, on average;
 *	0: none is limited
 * @out_throttle_ns: time that vCPUs waited for that, all together. It is in
 *	@out_ring_full_ns, too
 * @out_expected_ram_ns: source: of @out_expected_downtime_ns: sending the pages that are
 *	left, by @out_link_rate
 * @out_expected_trips_ns: source: of it: three round trips, each as the shortest took so
 *	far that had hardly anything before it
 * @out_expected_fixed_ns: source: of it: emptying the rings, as it took last. Verify is
 *	not in it: who asks for it pays for it beside the downtime limit
 * @out_expected_state_ns: source: of it: the VMM's state: @state_time_ns of
 *	KVM_FERRY_LIMITS
 * @out_predicted_downtime_ns: source: @out_expected_downtime_ns when FINAL was called; ~0:
 *	it was not yet, or nothing was known
 * @out_downtime_ram_ns: source: of @out_downtime_ns: from FINAL until the sink has all of
 *	memory, with verify
 * @out_downtime_state_ns: source: of it: from there until the sink's VMM is ready
 * @out_downtime_commit_ns: source: of it: from there until the end
 * @out_working_set: source: bytes of different pages that were written in the last 10
 *	seconds that are over, or so far in those that run, if that is more. An estimate:
 *	one page in eight is looked at
 * @out_stalled_passes: source: passes in a row that ended with hardly fewer pages left
 *	than the one before: from 2 on they do not shrink any more
 */
struct kvm_ferry_stats {
	__u32 size;
	__u32 flags;
	__aligned_u64 session_id;
	__aligned_u64 out_session_id;
	__u32 out_role;
	__u32 out_state;
	__u32 out_error;
	__u32 out_nr_channels;
	__aligned_u64 out_total_time_ns;
	__aligned_u64 out_setup_time_ns;
	__aligned_u64 out_downtime_ns;
	__aligned_u64 out_expected_downtime_ns;
	__aligned_u64 out_ram_total;
	__aligned_u64 out_ram_transferred;
	__aligned_u64 out_ram_remaining;
	__aligned_u64 out_ram_acked;
	__aligned_u64 out_ram_queued;
	__aligned_u64 out_ram_normal;
	__aligned_u64 out_ram_duplicate;
	__aligned_u64 out_ram_hole;
	__aligned_u64 out_ram_skipped_clear;
	__aligned_u64 out_dirty_sync_count;
	__aligned_u64 out_dirty_pages_rate;
	__aligned_u64 out_link_rate;
	__aligned_u64 out_dirty_pages;
	__aligned_u64 out_ring_entries;
	__aligned_u64 out_ring_resets;
	__aligned_u64 out_ring_full;
	__aligned_u64 out_ring_full_ns;
	__aligned_u64 out_harvest_ns;
	__aligned_u64 out_reset_ns;
	__aligned_u64 out_extents;
	__aligned_u64 out_batches;
	__aligned_u64 out_batch_pages_spliced;
	__aligned_u64 out_pacing_ns;
	__aligned_u64 out_state_bytes;
	__aligned_u64 out_digest;
	__aligned_u64 out_bookkeeping_bytes;
	__u8 out_name[KVM_FERRY_NAME_LEN];
	__aligned_u64 out_pinned_bytes;
	__aligned_u64 out_pinned_most_bytes;
	__aligned_u64 out_windows;
	__aligned_u64 out_rdma_channels;
	__aligned_u64 out_throttled_rings;
	__aligned_u64 out_throttle_rate;
	__aligned_u64 out_throttle_ns;
	__aligned_u64 out_expected_ram_ns;
	__aligned_u64 out_expected_trips_ns;
	__aligned_u64 out_expected_fixed_ns;
	__aligned_u64 out_expected_state_ns;
	__aligned_u64 out_predicted_downtime_ns;
	__aligned_u64 out_downtime_ram_ns;
	__aligned_u64 out_downtime_state_ns;
	__aligned_u64 out_downtime_commit_ns;
	__aligned_u64 out_working_set;
	__aligned_u64 out_stalled_passes;
};
#define KVM_FERRY_STATS _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_STATS)

/**
 * struct kvm_ferry_limits - ioctl(KVM_FERRY_LIMITS), on both kinds of fd
 * @size: sizeof(struct kvm_ferry_limits)
 * @flags: KVM_FERRY_LIMIT_* bits: which of the fields below to set. The
 *	others are ignored; all are filled in with what holds afterwards
 * @session_id: on a session fd: 0. On /dev/kvm_ferry: the session to change;
 *	needs CAP_SYS_ADMIN
 * @max_bandwidth: bytes a second on all data channels together; 0: no limit.
 *	At least 65536 otherwise. Default 0
 * @downtime_limit_ns: the CONVERGED event comes when the predicted downtime
 *	is not above it. 1 ms to 2000 s. Default 300 ms (QEMU's)
 * @inflight_bytes: page bytes that one data channel may hold queued. 256 KiB
 *	to 64 MiB. Default 4 MiB. Only before START (EBUSY)
 * @peer_timeout_ns: a peer that is silent, or takes nothing, so long is
 *	taken for dead. 100 ms to one hour. Default 10 s
 * @verify: 1: digest all regions at both ends while the guest is paused, and
 *	refuse to commit on a difference. Only before START (EBUSY), only at
 *	the source (ENOTTY). Default 0
 * @__reserved: must be 0
 * @max_pinned: bytes of guest memory that all RDMA channels together may have
 *	pinned; only what arrives is. At least 4 MiB (1,024 pages) for each of
 *	them. KVM_FERRY_PINNED_ALL: all regions, pinned ahead whether it arrives
 *	or not. A VMM without CAP_IPC_LOCK gets no more than its RLIMIT_MEMLOCK
 *	has room for. Only before START (EBUSY), only at the sink (ENOTTY).
 *	Default 256 MiB
 * @throttle: whether vCPUs that dirty memory too fast wait in KVM_FERRY_RING_WAIT:
 *	KVM_FERRY_THROTTLE_NEVER, the default; KVM_FERRY_THROTTLE_AUTO: once passes
 *	do not shrink any more, those that dirty most, as long as it takes;
 *	otherwise the pages a second that each vCPU may dirty, 64 to 2^32. A vCPU
 *	waits when its ring is full, and 500 ms at the most, so what a ring holds
 *	bounds it: with rings of more entries than the link carries pages in that
 *	time AUTO does less. Only at a source with rings (ENOTTY)
 * @throttle_floor: pages a second that AUTO leaves each vCPU, 64 to 2^32; 0, the
 *	default: an eighth of what the link carries, shared by all vCPUs, but no less
 *	than 64 and no more than 1024
 * @state_time_ns: what the VMM needs, while the guest is paused, for its own state between
 *	FINAL and being ready at the sink: sending and loading it. It is a part of the
 *	predicted downtime. Up to 2000 s. Default 0. Only at the source (ENOTTY)
 * @final_bandwidth: what takes the place of @max_bandwidth from FINAL on, for
 *	senders that wait already, too: while the guest is paused its downtime may
 *	matter more. KVM_FERRY_BANDWIDTH_SAME, the default: @max_bandwidth holds
 *	on; 0: no limit; otherwise 65536 to 2^50. Only at the source (ENOTTY)
 *
 * Below both there is the limit that all sources of a host share: see struct
 * kvm_ferry_host_limits.
 */
struct kvm_ferry_limits {
	__u32 size;
	__u32 flags;
	__aligned_u64 session_id;
	__aligned_u64 max_bandwidth;
	__aligned_u64 downtime_limit_ns;
	__aligned_u64 inflight_bytes;
	__aligned_u64 peer_timeout_ns;
	__u32 verify;
	__u32 __reserved;
	__aligned_u64 max_pinned;
	__aligned_u64 throttle;
	__aligned_u64 throttle_floor;
	__aligned_u64 state_time_ns;
	__aligned_u64 final_bandwidth;
};
#define KVM_FERRY_PINNED_ALL		(~0ULL)
#define KVM_FERRY_BANDWIDTH_SAME	(~0ULL)
#define KVM_FERRY_THROTTLE_NEVER	0ULL
#define KVM_FERRY_THROTTLE_AUTO		(~0ULL)
#define KVM_FERRY_LIMIT_BANDWIDTH	(1U << 0)
#define KVM_FERRY_LIMIT_DOWNTIME	(1U << 1)
#define KVM_FERRY_LIMIT_INFLIGHT	(1U << 2)
#define KVM_FERRY_LIMIT_PEER_TIMEOUT	(1U << 3)
#define KVM_FERRY_LIMIT_VERIFY		(1U << 4)
#define KVM_FERRY_LIMIT_PINNED		(1U << 5)
#define KVM_FERRY_LIMIT_THROTTLE	(1U << 6)
#define KVM_FERRY_LIMIT_THROTTLE_FLOOR	(1U << 7)
#define KVM_FERRY_LIMIT_STATE_TIME	(1U << 8)
#define KVM_FERRY_LIMIT_FINAL_BANDWIDTH	(1U << 9)
#define KVM_FERRY_LIMITS _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_LIMITS)

/**
 * struct kvm_ferry_host_limits - ioctl(KVM_FERRY_HOST_LIMITS), on /dev/kvm_ferry
 * @size: sizeof(struct kvm_ferry_host_limits)
 * @flags: KVM_FERRY_HOST_BANDWIDTH: set @max_bandwidth, which needs
 *	CAP_SYS_ADMIN (EPERM). 0: only tell. All fields are filled in with what
 *	holds afterwards
 * @max_bandwidth: bytes a second on all data channels of all sources of this
 *	host together; 0: no limit. 65536 to 2^50 otherwise. 0 when the module is
 *	loaded
 * @out_share: of it, bytes a second that a source gets now which has no lower
 *	limit of its own; 0: there is no limit
 * @out_sessions: sources that send now, or have within the last second
 * @__reserved: must be 0
 * @out_transferred: bytes that sources have sent on data channels since the
 *	module was loaded, with headers, those of sessions that are gone, too
 *
 * Sources that have something to send get equal shares, however many channels
 * they have. One that has less to send, or whose own limit is lower, leaves the
 * rest to the others, at once. It holds from FINAL on, too, whatever the
 * session's @final_bandwidth says: that is the VMM's to set, this the host's.
 * It may change at any time. RDMA counts as well. A sink has no limit.
 */
struct kvm_ferry_host_limits {
	__u32 size;
	__u32 flags;
	__aligned_u64 max_bandwidth;
	__aligned_u64 out_share;
	__u32 out_sessions;
	__u32 __reserved;
	__aligned_u64 out_transferred;
};
#define KVM_FERRY_HOST_BANDWIDTH	(1U << 0)
#define KVM_FERRY_HOST_LIMITS _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_HOST_LIMITS)

/**
 * struct kvm_ferry_abort - ioctl(KVM_FERRY_ABORT), on both kinds of fd
 * @size: sizeof(struct kvm_ferry_abort)
 * @flags: must be 0
 * @session_id: on a session fd: 0. On /dev/kvm_ferry: the session to end;
 *	needs CAP_SYS_ADMIN
 *
 * Ends the session, tells the peer, lets every waiter go. Returns when the
 * rings are drained and reset. At the source the guest is whole and may run
 * on, unless COMMIT was sent: then the sink's answer decides, EBUSY.
 * A session that has ended is left as it is: 0.
 */
struct kvm_ferry_abort {
	__u32 size;
	__u32 flags;
	__aligned_u64 session_id;
};
#define KVM_FERRY_ABORT _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_ABORT)

/**
 * struct kvm_ferry_region_add - ioctl(KVM_FERRY_REGION_ADD), before START
 * @size: sizeof(struct kvm_ferry_region_add)
 * @flags: must be 0
 * @region_id: chosen by the VMM, the same at both ends; 0 to 65535
 * @__reserved: must be 0
 * @addr: host virtual address of the region's first byte, page-aligned
 * @length: in bytes, a multiple of the page size, not 0
 * @name: the same at both ends, NUL-terminated, printable, not empty
 *
 * The whole range must be mapped, readable, at a sink writable as well, and stay
 * so until the session ends; the VMM may not map other things there.
 *
 * Errors: EINVAL unaligned, empty, wrapping or beyond user space; EEXIST the
 * id, the name or a part of the range is taken; EFAULT part of the range is
 * not mapped, or not with the access needed; EOPNOTSUPP part of the range is
 * memory that pages cannot be taken from (PFN-mapped, I/O, secretmem,
 * guest_memfd, userfaultfd-armed); ENOSPC.
 */
struct kvm_ferry_region_add {
	__u32 size;
	__u32 flags;
	__u32 region_id;
	__u32 __reserved;
	__aligned_u64 addr;
	__aligned_u64 length;
	__u8 name[KVM_FERRY_NAME_LEN];
};
#define KVM_FERRY_REGION_ADD _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_REGION_ADD)

/**
 * struct kvm_ferry_slot - ioctl(KVM_FERRY_SLOT_ADD, _MOVE, _REMOVE), source
 * @size: sizeof(struct kvm_ferry_slot)
 * @flags: must be 0
 * @slot: KVM's slot number: address space << 16 | slot id
 * @region_id: REMOVE: must be 0
 * @offset: where the memslot begins in the region, in bytes, page-aligned.
 *	REMOVE: must be 0
 * @length: of the memslot, in bytes, a multiple of the page size. REMOVE:
 *	must be 0
 *
 * Tells where a memslot's pages lie. ADD before the memslot gets
 * KVM_MEM_LOG_DIRTY_PAGES. To change a memslot while the session is live:
 * delete it in KVM, REMOVE (or MOVE) it here, and only then create the next
 * memslot of that number in KVM. REMOVE and MOVE first drain the rings, so
 * that no entry of the old memslot is lost or taken for one of the new. A
 * range that is added or moved while live is dirty as a whole.
 *
 * Errors: ENOENT no such region or slot; EEXIST (ADD) the slot is mapped;
 * EINVAL the map is unaligned, empty or outside its region; ENOTTY a sink;
 * EOPNOTSUPP the session's dirty source is not the ring; ENOSPC.
 */
struct kvm_ferry_slot {
	__u32 size;
	__u32 flags;
	__u32 slot;
	__u32 region_id;
	__aligned_u64 offset;
	__aligned_u64 length;
};
#define KVM_FERRY_SLOT_ADD _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_SLOT_ADD)
#define KVM_FERRY_SLOT_MOVE _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_SLOT_MOVE)
#define KVM_FERRY_SLOT_REMOVE _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_SLOT_REMOVE)

/**
 * struct kvm_ferry_ring_add - ioctl(KVM_FERRY_RING_ADD), source
 * @size: sizeof(struct kvm_ferry_ring_add)
 * @flags: must be 0
 * @ring_id: chosen by the VMM, usually the vCPU's index
 * @fetch_index: index of the next entry that the VMM would have reaped: all
 *	before it were reaped and reset
 * @addr: where the VMM mapped the vCPU fd at KVM_DIRTY_LOG_PAGE_OFFSET, from
 *	the ring's first page on, shared and writable
 * @length: of the whole ring, in bytes: what KVM_CAP_DIRTY_LOG_RING was
 *	enabled with
 *
 * From here until the session has ended, only the session harvests this ring
 * and only it calls KVM_RESET_DIRTY_RINGS for this VM. All of the VM's rings
 * must be added before START; the ring of a vCPU that is created later must be
 * added before that vCPU first runs.
 *
 * Errors: EEXIST the id or the ring was added; EFAULT not mapped, not shared
 * and writable; ENOTTY not a mapping of a vCPU; EPERM a vCPU of another VM;
 * EINVAL wrong size or not from the ring's first page; EOPNOTSUPP the
 * session's dirty source is not the ring; ENOSPC.
 */
struct kvm_ferry_ring_add {
	__u32 size;
	__u32 flags;
	__u32 ring_id;
	__u32 fetch_index;
	__aligned_u64 addr;
	__aligned_u64 length;
};
#define KVM_FERRY_RING_ADD _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_RING_ADD)

/**
 * enum kvm_ferry_channel_kind - what a channel carries
 * @KVM_FERRY_CHANNEL_CONTROL: agreement, fences, state, commit. Just one
 * @KVM_FERRY_CHANNEL_DATA: pages. One to sixteen
 */
enum kvm_ferry_channel_kind {
	KVM_FERRY_CHANNEL_CONTROL = 0,
	KVM_FERRY_CHANNEL_DATA = 1,
};

/**
 * struct kvm_ferry_channel_add - ioctl(KVM_FERRY_CHANNEL_ADD), before START
 * @size: sizeof(struct kvm_ferry_channel_add)
 * @flags: must be 0
 * @kind: enum kvm_ferry_channel_kind
 * @transport: enum kvm_ferry_transport
 * @fd: TCP: a connected socket. The session takes a reference: the VMM may
 *	close its fd, and must not read or write the socket. LOOP: -1. RDMA: -1, or
 *	such a socket, connected to the peer's of the same channel: what the
 *	channel falls back to if it cannot be connected by RDMA (source), or the
 *	peer shows the token there (sink). A channel that breaks later ends the session
 * @__reserved: must be 0
 * @key: LOOP: a number that both ends pass, unused by any other pair of
 *	channels; drawn at random, since any process of the same user that may
 *	open the device and knows it can be the peer. TCP, RDMA: 0
 * @addr: RDMA: user pointer to a sockaddr_in or sockaddr_in6, in the caller's
 *	network namespace. Sink: where it listens; it tells which device, too.
 *	Port 0: any; the port is written back. Data channels of one session
 *	that pass the same address and port share them. Source: where the
 *	connection comes from, and so by which device
 * @peer: RDMA, source: user pointer to the address and port that the sink
 *	listens on
 * @addr_len: bytes at @addr; 0: none, which only a source may say
 * @peer_len: bytes at @peer; sink: 0
 *
 * TCP: addresses, TLS handshake (kTLS in software is fine) and authentication are
 * the VMM's; the module speaks from the first byte after them. RDMA: the sink
 * listens from here on, the source connects when it is started, and shows the
 * token that the control channel tells the sink. Only data channels can be RDMA.
 * RDMA is not encrypted: use it on a network that is closed to others.
 *
 * Errors: EBADF; ENOTSOCK; EPROTONOSUPPORT not a TCP socket over IPv4 or
 * IPv6; ENOTCONN; EEXIST the socket, or a control channel, was added already,
 * to this or any other session; EOPNOTSUPP a transport that is not at hand, or
 * TLS with TLS_TX_ZEROCOPY_RO, which needs pages that do not change, or a control
 * channel by RDMA; ENODEV, EADDRNOTAVAIL no RDMA device has @addr; EADDRINUSE;
 * ENOSPC.
 */
struct kvm_ferry_channel_add {
	__u32 size;
	__u32 flags;
	__u32 kind;
	__u32 transport;
	__s32 fd;
	__u32 __reserved;
	__aligned_u64 key;
	__aligned_u64 addr;
	__aligned_u64 peer;
	__u32 addr_len;
	__u32 peer_len;
};
#define KVM_FERRY_CHANNEL_ADD _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_CHANNEL_ADD)

/**
 * struct kvm_ferry_start - ioctl(KVM_FERRY_START)
 * @size: sizeof(struct kvm_ferry_start)
 * @flags: KVM_FERRY_START_MEASURE or 0
 *
 * Ends the set-up. At the source every memslot of the slot maps has
 * KVM_MEM_LOG_DIRTY_PAGES by now (and KVM_DIRTY_LOG_INITIALLY_SET was never
 * enabled), so that what is written from here on comes through the rings.
 * Returns at once: the two ends agree, and passes begin, in the background;
 * events tell.
 *
 * With KVM_FERRY_START_MEASURE a source moves nothing: it watches how the guest
 * dirties memory, for as long as it is wanted, and is LIVE as soon as its rings are
 * reset. It has no channel, and no FINAL (EBUSY); ABORT, or closing it, ends
 * it. @out_ram_remaining of KVM_FERRY_STATS is what the guest has dirtied since its
 * window began, each page once: at first when it became LIVE, then with each
 * KVM_FERRY_SYNC_WINDOW. A VM that is measured can be migrated by another session once
 * this one has ended and its rings were handed back.
 *
 * Errors: EINVAL no region, no control channel, no data channel, or (dirty
 * source ring) no ring; with KVM_FERRY_START_MEASURE: a channel; ENOTTY it is a sink.
 */
struct kvm_ferry_start {
	__u32 size;
	__u32 flags;
};
#define KVM_FERRY_START_MEASURE	(1U << 0)
#define KVM_FERRY_START _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_START)

/* Bits of @out_events. Each is told once, and again when it comes anew. */
#define KVM_FERRY_EVENT_STATE		(1U << 0) /* @out_state has changed */
#define KVM_FERRY_EVENT_PASS		(1U << 1) /* a pass has ended (sink: has begun) */
#define KVM_FERRY_EVENT_CONVERGED	(1U << 2) /* source: predicted downtime is within the limit */
#define KVM_FERRY_EVENT_STATE_DATA	(1U << 3) /* sink: VMM state can be received */

/**
 * struct kvm_ferry_event - ioctl(KVM_FERRY_EVENT)
 * @size: sizeof(struct kvm_ferry_event)
 * @flags: must be 0
 * @out_events: KVM_FERRY_EVENT_* since the last call; 0: none. Never waits:
 *	poll() reports POLLIN while there is an event, and POLLHUP as well
 *	once the session has ended
 * @out_state: enum kvm_ferry_state, now
 * @out_error: the errno that ended the session, positive; 0: none
 * @out_pass: number of the last pass that was begun, from 1
 */
struct kvm_ferry_event {
	__u32 size;
	__u32 flags;
	__u32 out_events;
	__u32 out_state;
	__u32 out_error;
	__u32 out_pass;
};
#define KVM_FERRY_EVENT _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_EVENT)

/**
 * struct kvm_ferry_range - a part of a region
 * @region_id: of which region
 * @__reserved: must be 0
 * @offset: in bytes, page-aligned
 * @length: in bytes, a multiple of the page size
 */
struct kvm_ferry_range {
	__u32 region_id;
	__u32 __reserved;
	__aligned_u64 offset;
	__aligned_u64 length;
};

/**
 * struct kvm_ferry_report_dirty - ioctl(KVM_FERRY_REPORT_DIRTY), source
 * @size: sizeof(struct kvm_ferry_report_dirty)
 * @flags: must be 0
 * @ranges: user pointer to an array of struct kvm_ferry_range
 * @count: length of the array, 1 to KVM_FERRY_MAX_RANGES
 * @__reserved: must be 0
 *
 * Says that pages have changed in a way that KVM does not see: written by the
 * VMM, by vhost or by a device, or discarded (they then read as zero). Call it
 * after the change and before FINAL. All of the ranges are taken, or none.
 */
struct kvm_ferry_report_dirty {
	__u32 size;
	__u32 flags;
	__aligned_u64 ranges;
	__u32 count;
	__u32 __reserved;
};
#define KVM_FERRY_REPORT_DIRTY _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_REPORT_DIRTY)

/**
 * struct kvm_ferry_bitmap - ioctl(KVM_FERRY_REPORT_BITMAP, _FETCH_DIRTY), source
 * @size: sizeof(struct kvm_ferry_bitmap)
 * @flags: FETCH: KVM_FERRY_FETCH_SYNC: with all that was written before the call.
 *	Otherwise 0
 * @region_id: of which region
 * @__reserved: must be 0
 * @offset: of bit 0 in the region, in bytes, a multiple of 64 pages
 * @length: in bytes, a multiple of the page size
 * @bitmap: user pointer to an array of __u64, a bit a page, bit 0 of word 0
 *	first, as in KVM_GET_DIRTY_LOG; (length / page size + 63) / 64 words.
 *	Bits beyond the length are ignored (REPORT) or written as 0 (FETCH)
 * @out_pages: bits that were set
 *
 * REPORT_BITMAP does what REPORT_DIRTY does, for a bitmap. FETCH_DIRTY gives
 * the pages of the range that were published or reported since the last
 * FETCH_DIRTY of it (or since START), for the VMM's other consumers of the
 * dirty log, and forgets them; it takes nothing from the migration. Without
 * KVM_FERRY_FETCH_SYNC pages that are only staged come with a later call; with
 * it the rings are harvested, and reset if a page of the range is staged.
 */
struct kvm_ferry_bitmap {
	__u32 size;
	__u32 flags;
	__u32 region_id;
	__u32 __reserved;
	__aligned_u64 offset;
	__aligned_u64 length;
	__aligned_u64 bitmap;
	__aligned_u64 out_pages;
};
#define KVM_FERRY_FETCH_SYNC	(1U << 0)
#define KVM_FERRY_REPORT_BITMAP _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_REPORT_BITMAP)
#define KVM_FERRY_FETCH_DIRTY _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_FETCH_DIRTY)

/**
 * struct kvm_ferry_ring_wait - ioctl(KVM_FERRY_RING_WAIT), source
 * @size: sizeof(struct kvm_ferry_ring_wait)
 * @flags: must be 0
 * @ring_id: the ring of the calling vCPU thread
 * @__reserved: must be 0
 *
 * For a vCPU thread that left KVM_RUN with KVM_EXIT_DIRTY_RING_FULL: wakes the
 * harvester and sleeps until the ring has room; and, of a vCPU that is held back
 * (@throttle of KVM_FERRY_LIMITS), until what it has dirtied is allowed, for 500 ms
 * at the most. Returns 0 when KVM_RUN may be
 * called again, EINTR at once on a signal, ESHUTDOWN at once when the session
 * has ended or ends: the ring is the VMM's again, take KVM_FERRY_RING_INDEX.
 */
struct kvm_ferry_ring_wait {
	__u32 size;
	__u32 flags;
	__u32 ring_id;
	__u32 __reserved;
};
#define KVM_FERRY_RING_WAIT _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_RING_WAIT)

/**
 * struct kvm_ferry_ring_stats - ioctl(KVM_FERRY_RING_STATS), on both kinds of fd
 * @size: sizeof(struct kvm_ferry_ring_stats)
 * @flags: must be 0
 * @session_id: on a session fd: 0. On /dev/kvm_ferry: the session to read;
 *	needs CAP_SYS_ADMIN
 * @index: which ring, from 0, in ascending order of their ids; ENOENT: there are
 *	no more
 * @out_ring_id: its id
 * @out_ring_entries: its size
 * @__reserved: must be 0
 * @out_dirty_pages: pages that its vCPU dirtied since it was added, each anew after
 *	a reset
 * @out_dirty_rate: pages a second that it dirtied of late while it did not wait:
 *	what it would dirty if nothing held it
 * @out_throttle_rate: pages a second that it may dirty; 0: as many as it likes
 * @out_waits: in KVM_FERRY_RING_WAIT
 * @out_wait_ns: time that it spent there, or has so far
 * @out_throttle_ns: of that, to keep @out_throttle_rate
 *
 * A sink has no rings (ENOTTY).
 */
struct kvm_ferry_ring_stats {
	__u32 size;
	__u32 flags;
	__aligned_u64 session_id;
	__u32 index;
	__u32 out_ring_id;
	__u32 out_ring_entries;
	__u32 __reserved;
	__aligned_u64 out_dirty_pages;
	__aligned_u64 out_dirty_rate;
	__aligned_u64 out_throttle_rate;
	__aligned_u64 out_waits;
	__aligned_u64 out_wait_ns;
	__aligned_u64 out_throttle_ns;
};
#define KVM_FERRY_RING_STATS _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_RING_STATS)

/**
 * struct kvm_ferry_region_stats - ioctl(KVM_FERRY_REGION_STATS), on both kinds of fd
 * @size: sizeof(struct kvm_ferry_region_stats)
 * @flags: must be 0
 * @session_id: on a session fd: 0. On /dev/kvm_ferry: the session to read;
 *	needs CAP_SYS_ADMIN
 * @index: which region, from 0, in the order in which they were added; ENOENT: there are
 *	no more
 * @out_region_id: its id
 * @out_pages: its length
 * @out_dirty_pages: source: pages of it that became dirty since START, each pass's anew
 * @out_dirty_rate: source: pages a second, of late
 * @out_working_set: source: pages of it, as @out_working_set of KVM_FERRY_STATS
 * @out_name: its name
 *
 * EBUSY before START: regions are still being added.
 */
struct kvm_ferry_region_stats {
	__u32 size;
	__u32 flags;
	__aligned_u64 session_id;
	__u32 index;
	__u32 out_region_id;
	__aligned_u64 out_pages;
	__aligned_u64 out_dirty_pages;
	__aligned_u64 out_dirty_rate;
	__aligned_u64 out_working_set;
	__u8 out_name[KVM_FERRY_NAME_LEN];
};
#define KVM_FERRY_REGION_STATS _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_REGION_STATS)

/**
 * struct kvm_ferry_history - ioctl(KVM_FERRY_HISTORY), on /dev/kvm_ferry
 * @size: sizeof(struct kvm_ferry_history)
 * @flags: must be 0
 * @after: the @out_number of the record that was read last; 0: begin with the oldest
 * @out_number: of this record: 1 for the first since the module was loaded, one more
 *	for each. It is the next behind @after of those that are kept: a greater
 *	distance than 1 is how many the caller has missed
 * @out_session_id: the session's number, as KVM_FERRY_CREATE gave it
 * @out_role: enum kvm_ferry_role
 * @out_state: enum kvm_ferry_state: DONE, FAILED, ABORTED or IN_DOUBT
 * @out_error: the errno that ended the session, positive; 0: none
 * @out_owner_uid: effective user of the process that created it, as the caller's user
 *	namespace has it (65534: it has no such user)
 * @out_started_ns: when KVM_FERRY_START was called: wall-clock time, nanoseconds since
 *	the beginning of 1970, UTC
 * @out_total_time_ns: from then to its end
 * @out_downtime_ns: as in KVM_FERRY_STATS; 0: FINAL was not reached
 * @out_ram_transferred: bytes on data channels with headers
 * @out_dirty_sync_count: passes begun
 * @out_name: the session's name
 * @out_reason: why it ended, a sentence, NUL-terminated; of one that is DONE what a
 *	person should know of it, or empty
 *
 * What became of the sessions that have ended, the oldest first: the last
 * KVM_FERRY_HISTORY_RECORDS of those that were started, as long as the module is
 * loaded. A session is told of when its file is closed, mostly as soon as it has
 * ended. ENOENT: there is none behind @after yet.
 *
 * Needs CAP_SYS_ADMIN (EPERM).
 */
struct kvm_ferry_history {
	__u32 size;
	__u32 flags;
	__aligned_u64 after;
	__aligned_u64 out_number;
	__aligned_u64 out_session_id;
	__u32 out_role;
	__u32 out_state;
	__u32 out_error;
	__u32 out_owner_uid;
	__aligned_u64 out_started_ns;
	__aligned_u64 out_total_time_ns;
	__aligned_u64 out_downtime_ns;
	__aligned_u64 out_ram_transferred;
	__aligned_u64 out_dirty_sync_count;
	__u8 out_name[KVM_FERRY_NAME_LEN];
	__u8 out_reason[KVM_FERRY_REASON_LEN];
};
#define KVM_FERRY_HISTORY _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_HISTORY)

/**
 * struct kvm_ferry_ring_sync - ioctl(KVM_FERRY_RING_SYNC), source
 * @size: sizeof(struct kvm_ferry_ring_sync)
 * @flags: KVM_FERRY_SYNC_HARVEST, KVM_FERRY_SYNC_WINDOW or 0
 * @out_entries: entries that were harvested for this call
 *
 * Harvests and resets all rings, and returns when what they held when it was
 * called is published. With KVM_FERRY_SYNC_HARVEST it harvests only: a VMM that
 * is about to judge by out_ram_remaining knows all pages that are dirty then,
 * and the guest does not have to fault anew for those that it keeps writing.
 * KVM_FERRY_SYNC_WINDOW is for a session that measures (EBUSY for others): it forgets what
 * was dirty, and a new window begins. Both together: EINVAL.
 */
struct kvm_ferry_ring_sync {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_entries;
};
#define KVM_FERRY_SYNC_HARVEST	(1U << 0)
#define KVM_FERRY_SYNC_WINDOW	(1U << 1)
#define KVM_FERRY_RING_SYNC _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_RING_SYNC)

/**
 * struct kvm_ferry_ring_index - ioctl(KVM_FERRY_RING_INDEX), source
 * @size: sizeof(struct kvm_ferry_ring_index)
 * @flags: must be 0
 * @ring_id: the ring
 * @out_fetch_index: index of the next entry to reap: all before it were
 *	harvested and reset
 *
 * Hands the ring back. EBUSY while the session has not ended. Waits until the
 * rings are drained; when it returns, the session touches them no more.
 */
struct kvm_ferry_ring_index {
	__u32 size;
	__u32 flags;
	__u32 ring_id;
	__u32 out_fetch_index;
};
#define KVM_FERRY_RING_INDEX _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_RING_INDEX)

/**
 * struct kvm_ferry_final - ioctl(KVM_FERRY_FINAL), source
 * @size: sizeof(struct kvm_ferry_final)
 * @flags: must be 0
 *
 * Says that every vCPU has left KVM_RUN, that the last vCPU ioctl that may
 * write guest memory is over, and that the VMM's own devices are quiet and
 * what they wrote is reported. Sends what is left, and returns 0 when the sink
 * has acknowledged every byte (and, with verify, when both memories were found
 * equal). EINTR: call it again. Until KVM_FERRY_COMMIT the guest may be
 * resumed here after KVM_FERRY_ABORT.
 */
struct kvm_ferry_final {
	__u32 size;
	__u32 flags;
};
#define KVM_FERRY_FINAL _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_FINAL)

/**
 * struct kvm_ferry_state_io - ioctl(KVM_FERRY_STATE_SEND, _RECV)
 * @size: sizeof(struct kvm_ferry_state_io)
 * @flags: SEND: KVM_FERRY_STATE_LAST with the last piece. RECV: 0
 * @data: user pointer
 * @length: SEND: bytes to send, 0 allowed with LAST. RECV: room
 * @out_length: SEND: bytes that were sent (after EINTR or EFAULT: go on from
 *	there). RECV: bytes that were written
 * @out_flags: RECV: KVM_FERRY_STATE_LAST once all of it was received
 * @__reserved: must be 0
 *
 * The VMM's own state (vCPUs, devices) as one opaque stream, in the state
 * PAUSED. SEND returns when the transport took it, RECV waits for at least a
 * byte or the end. EFBIG: more than @out_max_state_bytes of KVM_FERRY_INFO.
 */
struct kvm_ferry_state_io {
	__u32 size;
	__u32 flags;
	__aligned_u64 data;
	__aligned_u64 length;
	__aligned_u64 out_length;
	__u32 out_flags;
	__u32 __reserved;
};
#define KVM_FERRY_STATE_LAST	(1U << 0)
#define KVM_FERRY_STATE_SEND _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_STATE_SEND)
#define KVM_FERRY_STATE_RECV _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_STATE_RECV)

/**
 * struct kvm_ferry_commit - ioctl(KVM_FERRY_COMMIT)
 * @size: sizeof(struct kvm_ferry_commit)
 * @flags: must be 0
 *
 * sink: says that the VMM has loaded the state and is ready to run the guest;
 * waits for the source's COMMIT and acknowledges it. Returns 0: run it now.
 * EINTR: a signal; call it again. Any other error: do not run it, whatever
 * state was seen meanwhile.
 *
 * source: waits for the sink to be ready, sends COMMIT and waits for the
 * acknowledgement. Returns 0: the sink owns the guest, never run it here
 * again. EINPROGRESS: COMMIT was sent and no answer came within the peer
 * timeout or before the connection broke: in doubt (see enum
 * kvm_ferry_state). EINTR: a signal; call it again. Any other error: COMMIT
 * was not sent, or the sink said that it does not take the guest, which may
 * run on here.
 */
struct kvm_ferry_commit {
	__u32 size;
	__u32 flags;
};
#define KVM_FERRY_COMMIT _IO(KVM_FERRY_TYPE, KVM_FERRY_CMD_COMMIT)

#endif /* _UAPI_LINUX_KVM_FERRY_H */
