/* SPDX-License-Identifier: LGPL-2.1-only */
/*
 * libferry: what a VMM links to move its guest with kvm_ferry.
 */
#ifndef FERRY_H
#define FERRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/kvm_ferry.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: libferry
 *
 * A thin layer over /dev/kvm_ferry. The uAPI header says what each command
 * means and which errors it has; this header says what the library adds.
 *
 * Return values: every function that can fail returns 0 (or a count) on
 * success and a negative errno on failure, and does not set errno. The errnos
 * are the ioctl's own unless a function says otherwise. ferry_error() then has
 * a sentence for people.
 *
 * Signals: calls that only wait for the module (final, commit, state) are
 * called again by the library after EINTR. To end such a wait, call
 * ferry_session_abort() from another thread. Only ferry_session_wait_ring() and
 * ferry_vcpu_exit() tell the caller of a signal, because a vCPU thread is
 * stopped by signals.
 *
 * Threads: all functions may be called from all threads at once, with these
 * exceptions: nothing may be called on a device, session or ring while it is
 * being closed or unmapped, or afterwards; the state stream of one session is
 * one thread's at a time. A session belongs to the process (address space) that
 * created it.
 *
 * Structs that end in "size_t size" arguments: pass sizeof() of the struct, so
 * that a program and a library of different ages agree.
 */

struct ferry_device;	/* /dev/kvm_ferry, opened */
struct sockaddr;
struct ferry_session;	/* one migration of one VM on this host */
struct ferry_ring;	/* one vCPU's dirty ring */

/* --- errors, in words --------------------------------------------------- */

/**
 * ferry_error - why the calling thread's last failed libferry call failed
 *
 * Return: a sentence, "" if no call of this thread has failed. Valid until this
 * thread's next libferry call. Never NULL.
 */
const char *ferry_error(void);

/* --- the device --------------------------------------------------------- */

/**
 * ferry_device_open - open /dev/kvm_ferry
 * @out: the device; close it with ferry_device_close()
 *
 * Also checks that the module speaks this library's version of the uAPI.
 *
 * Return: 0; -ENOENT or -ENXIO: the module is not loaded; -EACCES: no right to
 * open the device; -EPROTONOSUPPORT: another uAPI version. ferry_error() says
 * what to do about each.
 */
int ferry_device_open(struct ferry_device **out);

/* Sessions created from @dev live on. NULL is ignored. */
void ferry_device_close(struct ferry_device *dev);

/* The device's file descriptor; it stays the library's. */
int ferry_device_fd(const struct ferry_device *dev);

/* KVM_FERRY_INFO: versions, transports, dirty sources, features, maxima. */
int ferry_device_info(struct ferry_device *dev, struct kvm_ferry_info *info, size_t size);

/**
 * ferry_device_list - ids of all sessions of this host
 * @dev: the device
 * @ids: set to an array that the caller frees with free(); NULL if @count is 0
 * @count: how many
 *
 * Return: 0; -EPERM without CAP_SYS_ADMIN; -ENOMEM.
 */
int ferry_device_list(struct ferry_device *dev, uint64_t **ids, size_t *count);

/* An operator's commands on any session, by id. -ENOENT: no such session. */
int ferry_device_stats(struct ferry_device *dev, uint64_t id, struct kvm_ferry_stats *stats,
		       size_t size);
/* Of its ring @index, from 0; -ENOENT also: there are no more rings. */
int ferry_device_ring_stats(struct ferry_device *dev, uint64_t id, uint32_t index,
			    struct kvm_ferry_ring_stats *stats, size_t size);
/* Of its region @index, from 0; -ENOENT also: there are no more; -EBUSY: it is not started. */
int ferry_device_region_stats(struct ferry_device *dev, uint64_t id, uint32_t index,
			      struct kvm_ferry_region_stats *stats, size_t size);
/* @limits->flags says which fields to set; 0: only read. */
int ferry_device_limits(struct ferry_device *dev, uint64_t id, struct kvm_ferry_limits *limits,
			size_t size);
int ferry_device_abort(struct ferry_device *dev, uint64_t id);
/*
 * What all sources of this host share. @limits->flags says which fields to set, which
 * needs CAP_SYS_ADMIN; 0: only read.
 */
int ferry_device_host_limits(struct ferry_device *dev, struct kvm_ferry_host_limits *limits,
			     size_t size);

/**
 * ferry_device_history - what became of a session that has ended
 * @dev: the device
 * @after: out_number of the record that was read last; 0: begin with the oldest
 * @record: filled in with the next one
 * @size: of *@record
 *
 * Return: 0; -ENOENT: no other session has ended yet; -EPERM without CAP_SYS_ADMIN.
 */
int ferry_device_history(struct ferry_device *dev, uint64_t after,
			 struct kvm_ferry_history *record, size_t size);

/* --- sessions: set-up --------------------------------------------------- */

/**
 * ferry_source_create - begin to give a VM away
 * @dev: the device
 * @vm_fd: the fd of KVM_CREATE_VM, of a VM that this process created
 * @name: the VM's name, for people; may be NULL; cut to 31 bytes
 * @out: the session; close it with ferry_session_close()
 *
 * Return: 0; -ENOTTY: not a VM's fd; -EPERM: another process's VM; and others.
 */
int ferry_source_create(struct ferry_device *dev, int vm_fd, const char *name,
			struct ferry_session **out);

/* As ferry_source_create(), without rings: the VMM reports all that changes. */
int ferry_source_create_reporting(struct ferry_device *dev, const char *name,
				  struct ferry_session **out);

/* Begin to take a VM. */
int ferry_sink_create(struct ferry_device *dev, const char *name, struct ferry_session **out);

/**
 * ferry_session_close - end the session and free it
 * @s: the session; NULL is ignored
 *
 * Aborts a session that has not ended. Rings that were handed over must have
 * been taken back before (ferry_ring_take_back()), no vCPU thread may be in
 * ferry_vcpu_exit() with one of them.
 */
void ferry_session_close(struct ferry_session *s);

/**
 * ferry_session_fd - the descriptor to poll
 * @s: the session
 *
 * POLLIN: ferry_session_event() has news. POLLHUP too: the session has ended.
 * The descriptor stays the library's; it is close-on-exec.
 */
int ferry_session_fd(const struct ferry_session *s);
uint64_t ferry_session_id(const struct ferry_session *s);
enum kvm_ferry_role ferry_session_role(const struct ferry_session *s);

/**
 * ferry_session_error - the best sentence there is for why this goes no further
 * @s: the session
 *
 * Return: why the session failed, if it has failed or was aborted; else
 * ferry_error(). Valid until this thread's next libferry call. Never NULL.
 */
const char *ferry_session_error(const struct ferry_session *s);

/**
 * ferry_session_reason - why the session failed
 * @s: the session
 * @buf: gets the sentence, NUL-terminated, cut to @size; "" if nothing failed
 * @size: of @buf; KVM_FERRY_REASON_LEN holds every sentence
 *
 * Return: the errno that ended the session, positive; 0: it has not failed; a
 * negative errno if it cannot be read.
 */
int ferry_session_reason(const struct ferry_session *s, char *buf, size_t size);

/**
 * ferry_session_add_region - a range of guest memory, before start
 * @s: the session
 * @id: the same at both ends, 0 to 65535
 * @name: the same at both ends, 1 to 31 printable characters
 * @addr: first byte, page-aligned
 * @length: bytes, a multiple of the page size
 */
int ferry_session_add_region(struct ferry_session *s, uint32_t id, const char *name, void *addr,
			     uint64_t length);

/* KVM's slot number: address space @as, slot @id. */
#define FERRY_SLOT(as, id) ((uint32_t)(as) << 16 | (uint32_t)(id))

/* Where memslots lie; struct kvm_ferry_slot says in which order with KVM. */
int ferry_session_add_slot(struct ferry_session *s, uint32_t slot, uint32_t region_id,
			   uint64_t offset, uint64_t length);
int ferry_session_move_slot(struct ferry_session *s, uint32_t slot, uint32_t region_id,
			    uint64_t offset, uint64_t length);
int ferry_session_remove_slot(struct ferry_session *s, uint32_t slot);

/*
 * Rings, by hand. Most VMMs use struct ferry_ring below, which calls these.
 * @fetch_index: the next entry to reap; length: of the whole ring, in bytes.
 */
int ferry_session_add_ring(struct ferry_session *s, uint32_t ring_id, void *addr, uint64_t length,
			   uint32_t fetch_index);
/* After the end of the session: from where the VMM reaps on. -EBUSY before. */
int ferry_session_ring_index(struct ferry_session *s, uint32_t ring_id, uint32_t *fetch_index);
/* 0: KVM_RUN may be called again; -EINTR; -ESHUTDOWN: the ring is the VMM's. */
int ferry_session_wait_ring(struct ferry_session *s, uint32_t ring_id);
/* Harvest and reset all rings now; @entries (may be NULL): how many entries they held. */
int ferry_session_sync_rings(struct ferry_session *s, uint64_t *entries);
/* Harvest them only: afterwards out_ram_remaining is up to date. Costs the guest nothing. */
int ferry_session_harvest_rings(struct ferry_session *s, uint64_t *entries);
/* Of a session that measures: forget what was dirty. The guest faults for it anew. */
int ferry_session_begin_window(struct ferry_session *s);

/**
 * ferry_session_add_socket - a channel over a connected TCP socket
 * @s: the session
 * @kind: KVM_FERRY_CHANNEL_CONTROL (one) or KVM_FERRY_CHANNEL_DATA (1 to 16)
 * @fd: the socket; the session takes its own reference, so close it after
 */
int ferry_session_add_socket(struct ferry_session *s, enum kvm_ferry_channel_kind kind, int fd);
/* A channel in memory: both ends pass the same @key. */
int ferry_session_add_loop(struct ferry_session *s, enum kvm_ferry_channel_kind kind,
			   uint64_t key);

/*
 * A sink's data channel over RDMA: @addr is where the source will find it, and tells
 * the RDMA device, too. Port 0 becomes the one that was found: pass it on for the
 * others. @fallback: a socket as above, to be used if RDMA does not come about; or -1.
 */
int ferry_session_listen_rdma(struct ferry_session *s, struct sockaddr *addr, unsigned int len,
			      int fallback);
/*
 * A source's; it connects when it is started, so @peer listens by then. @from: address,
 * and so device, that it leaves by; NULL and 0: as the routes say.
 */
int ferry_session_connect_rdma(struct ferry_session *s, const struct sockaddr *peer,
			       unsigned int peer_len, const struct sockaddr *from,
			       unsigned int from_len, int fallback);

/* KVM_FERRY_LIMITS: @limits->flags says what to set; all fields are filled in. */
int ferry_session_limits(struct ferry_session *s, struct kvm_ferry_limits *limits, size_t size);

/* End the set-up. Returns at once; events tell how it goes. */
int ferry_session_start(struct ferry_session *s);
/*
 * Instead: a source without channels that only watches how the guest dirties memory, until
 * it is aborted or closed. out_ram_remaining: of each page that it dirtied in its window.
 */
int ferry_session_measure(struct ferry_session *s);

/* --- sessions: under way ------------------------------------------------ */

int ferry_session_stats(struct ferry_session *s, struct kvm_ferry_stats *stats, size_t size);
/* Source: of ring @index, from 0, in the order of their ids; -ENOENT: there are no more. */
int ferry_session_ring_stats(struct ferry_session *s, uint32_t index,
			     struct kvm_ferry_ring_stats *stats, size_t size);
/* Of region @index, from 0, in the order in which they were added; -ENOENT as above. */
int ferry_session_region_stats(struct ferry_session *s, uint32_t index,
			       struct kvm_ferry_region_stats *stats, size_t size);

/* Events since the last call; never waits. @event->out_events 0: none. */
int ferry_session_event(struct ferry_session *s, struct kvm_ferry_event *event, size_t size);

/**
 * ferry_session_wait_event - wait for an event, then read it
 * @s: the session
 * @event: gets the event
 * @size: sizeof(*@event)
 * @timeout_ms: how long; -1: for ever
 *
 * Return: 1: @event was read; 0: the time is over; -EINTR: a signal. Once the
 * session has ended it returns 1 at once, every time.
 */
int ferry_session_wait_event(struct ferry_session *s, struct kvm_ferry_event *event, size_t size,
			     int timeout_ms);

/*
 * Pages that KVM did not see change. Any count: the library splits a list of
 * more than KVM_FERRY_MAX_RANGES, so after an error a part may have been taken.
 */
int ferry_session_report_dirty(struct ferry_session *s, const struct kvm_ferry_range *ranges,
			       size_t count);
/* One range of the same; simpler for a device model. */
int ferry_session_report_range(struct ferry_session *s, uint32_t region_id, uint64_t offset,
			       uint64_t length);
/* @pages may be NULL: how many bits were set. */
int ferry_session_report_bitmap(struct ferry_session *s, uint32_t region_id, uint64_t offset,
				uint64_t length, const uint64_t *bitmap, uint64_t *pages);
/* For the VMM's other consumers of the log. @sync: with all that was written before the call. */
int ferry_session_fetch_dirty(struct ferry_session *s, uint32_t region_id, uint64_t offset,
			      uint64_t length, uint64_t *bitmap, bool sync, uint64_t *pages);

/* --- sessions: switchover ----------------------------------------------- */

/**
 * ferry_session_final - source: the guest is paused; send what is left
 * @s: the session
 *
 * Before it: every vCPU has left KVM_RUN and will not be asked anything that
 * writes guest memory, devices are quiet, what they wrote is reported.
 *
 * Return: 0: the sink holds all of memory. On an error the guest may run on
 * here once the session is aborted and the rings are taken back.
 */
int ferry_session_final(struct ferry_session *s);

/**
 * ferry_session_send_state - source: send a piece of the VMM's state
 * @s: the session, after ferry_session_final()
 * @data: bytes; may be NULL if @length is 0
 * @length: how many; any number, up to 256 MiB over all pieces
 * @last: this piece ends the state (it may be empty)
 *
 * Return: 0 when the transport took all of it; -EFBIG: too much.
 */
int ferry_session_send_state(struct ferry_session *s, const void *data, size_t length, bool last);

/**
 * typedef ferry_read_fn - gives the next bytes of the state
 * @opaque: as passed along with the function
 * @buf: gets the bytes
 * @room: in @buf
 *
 * Return: bytes put to @buf, 0 at the end, or a negative errno that ends it.
 */
typedef ssize_t (*ferry_read_fn)(void *opaque, void *buf, size_t room);
/**
 * typedef ferry_write_fn - takes the next bytes of the state, all of them
 * @opaque: as passed along with the function
 * @data: the bytes
 * @length: how many
 *
 * Return: 0, or a negative errno that ends it.
 */
typedef int (*ferry_write_fn)(void *opaque, const void *data, size_t length);

/* All of the state, from a callback or a file descriptor, to its end. */
int ferry_session_send_state_from(struct ferry_session *s, ferry_read_fn read, void *opaque);
int ferry_session_send_state_fd(struct ferry_session *s, int fd);

/**
 * ferry_session_recv_state - sink: receive a piece of the VMM's state
 * @s: the session, after KVM_FERRY_EVENT_STATE_DATA
 * @buf: gets the bytes
 * @room: in @buf
 * @last: set to true when there is no more to come
 *
 * Waits for at least a byte or the end.
 *
 * Return: bytes received, 0 only with @last.
 */
ssize_t ferry_session_recv_state(struct ferry_session *s, void *buf, size_t room, bool *last);

/* All of the state, to a callback or a file descriptor. */
int ferry_session_recv_state_to(struct ferry_session *s, ferry_write_fn write, void *opaque);
int ferry_session_recv_state_fd(struct ferry_session *s, int fd);
/* All of the state, to memory that the caller frees with free(). */
int ferry_session_recv_state_all(struct ferry_session *s, void **data, size_t *length);

/**
 * ferry_session_commit - hand the guest over
 * @s: the session
 *
 * Return: sink: 0: run the guest now; an error: never run it. Source: 0: the
 * sink owns the guest; -EINPROGRESS: in doubt, keep it paused; any other
 * error: it may run on here once the session is aborted.
 */
int ferry_session_commit(struct ferry_session *s);

/**
 * ferry_session_abort - end the session and let all who wait go
 * @s: the session
 *
 * Return: 0, also if it has ended already; -EBUSY: COMMIT was sent, the
 * session is in doubt or will be done.
 */
int ferry_session_abort(struct ferry_session *s);

/* --- rings, as a VMM keeps them ----------------------------------------- */

/**
 * ferry_ring_map - map a vCPU's dirty ring
 * @out: the ring; the VMM owns it
 * @vcpu_fd: of KVM_CREATE_VCPU
 * @id: the VMM's number for it, usually the vCPU's index
 * @length: bytes, as KVM_CAP_DIRTY_LOG_RING was enabled with
 *
 * One object for the ring's whole life: the VMM reaps it itself while no
 * session has it, hands it over to a session, and takes it back after.
 */
int ferry_ring_map(struct ferry_ring **out, int vcpu_fd, uint32_t id, size_t length);
/* As ferry_ring_map(), for a mapping that the VMM has made and reaped so far. */
int ferry_ring_from_mapping(struct ferry_ring **out, void *addr, size_t length, uint32_t id,
			    uint32_t fetch_index);
/* Frees it, and unmaps it if the library mapped it. NULL is ignored. */
void ferry_ring_free(struct ferry_ring *ring);

uint32_t ferry_ring_id(const struct ferry_ring *ring);
/* Index of the next entry to reap. Only exact while the ring is the VMM's. */
uint32_t ferry_ring_fetch_index(const struct ferry_ring *ring);
/* The session that has the ring, NULL: it is the VMM's. */
struct ferry_session *ferry_ring_session(const struct ferry_ring *ring);

/**
 * typedef ferry_reap_fn - is told of one dirty page
 * @opaque: as passed to ferry_ring_reap()
 * @slot: KVM's slot number, see FERRY_SLOT()
 * @offset: page number in the memslot
 */
typedef void (*ferry_reap_fn)(void *opaque, uint32_t slot, uint64_t offset);

/**
 * ferry_ring_reap - take all entries out of a ring that is the VMM's
 * @ring: the ring
 * @reap: called for each entry in order; may be NULL to drop them
 * @opaque: passed to @reap
 *
 * Afterwards call ferry_rings_reset(), and only then read the pages.
 *
 * Return: how many entries; -EBUSY: a session has the ring.
 */
long ferry_ring_reap(struct ferry_ring *ring, ferry_reap_fn reap, void *opaque);

/**
 * ferry_rings_reset - let KVM reuse what was reaped of all rings of a VM
 * @vm_fd: the VM
 *
 * Not while a session has the VM's rings.
 *
 * Return: how many entries KVM reset, or a negative errno.
 */
long ferry_rings_reset(int vm_fd);

/**
 * ferry_ring_hand_over - give the ring to a session
 * @ring: a ring of the VMM's
 * @s: a source session. Before it is started; or later, for the ring of a new
 *	vCPU, before that vCPU runs
 *
 * Reset what was reaped (ferry_rings_reset()) before the first ring is handed
 * over: the fetch index that goes along says that all before it is reset.
 *
 * Return: 0; -EBUSY: a session has it already; and what
 * ferry_session_add_ring() returns.
 */
int ferry_ring_hand_over(struct ferry_ring *ring, struct ferry_session *s);

/**
 * ferry_ring_take_back - have the ring again, after the session's end
 * @ring: the ring
 *
 * Waits until the session has drained it, and until no vCPU thread is in
 * ferry_vcpu_exit() with it (the session's end has let them go).
 *
 * Return: 0, also if the ring is the VMM's already; -EBUSY: the session has
 * not ended.
 */
int ferry_ring_take_back(struct ferry_ring *ring);

/**
 * enum ferry_vcpu_action - what a vCPU loop does next
 * @FERRY_VCPU_OTHER: the exit is none of the ring's: handle it as ever
 * @FERRY_VCPU_REENTER: the ring has room: call KVM_RUN again
 * @FERRY_VCPU_SIGNAL: a signal came: do what it asks for, then KVM_RUN again
 * @FERRY_VCPU_REAP: the ring is the VMM's, or its session has ended: have it
 *	taken back (ferry_ring_take_back()) and reaped, then KVM_RUN again
 */
enum ferry_vcpu_action {
	FERRY_VCPU_OTHER = 0,
	FERRY_VCPU_REENTER = 1,
	FERRY_VCPU_SIGNAL = 2,
	FERRY_VCPU_REAP = 3,
};

/**
 * ferry_vcpu_exit - look at an exit of KVM_RUN, wait if the ring is full
 * @ring: the calling vCPU's ring
 * @exit_reason: of struct kvm_run
 *
 * For every other exit reason than KVM_EXIT_DIRTY_RING_FULL it returns at once,
 * without a system call. Do not hold a lock that the thread that pauses the VM
 * needs.
 *
 * Return: enum ferry_vcpu_action, or a negative errno (then treat the migration
 * as failed: abort the session).
 */
int ferry_vcpu_exit(struct ferry_ring *ring, uint32_t exit_reason);

/* --- names -------------------------------------------------------------- */

/* "live", "in-doubt"; "unknown" for a number that means nothing. */
const char *ferry_state_name(uint32_t state);
/* "source", "sink". */
const char *ferry_role_name(uint32_t role);
/* "EPIPE" for EPIPE or -EPIPE; "E?" for one without a name here. */
const char *ferry_errno_name(int error);
/* Whether a state is one that a session never leaves. */
bool ferry_state_ended(uint32_t state);
/* Version of the library, such as "0.1.0". */
const char *ferry_version(void);

#ifdef __cplusplus
}
#endif

/* The connections of a migration, a part of this header. */
#include "ferry_connect.h"

#endif /* FERRY_H */
