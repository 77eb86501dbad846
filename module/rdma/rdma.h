/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The transport "rdma": a reliable connection for each data channel.
 *
 * Messages of the data channel go as SENDs, page data as RDMA WRITEs into
 * windows that the sink has opened. On one connection a SEND is received after
 * the WRITEs before it are placed, so a message still means what it means on a
 * byte stream: what came before it is in memory.
 */
#ifndef FERRY_RDMA_H
#define FERRY_RDMA_H

#include <linux/completion.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_cm.h>

#include "../session.h"
#include "rdma_wire.h"

#define RDMA_RETRIES	7		/* the most that fits: our own timeouts end it */
#define RDMA_SGES	16		/* local pieces of a WRITE, if the device allows as many */
#define RDMA_CHAIN	16		/* WRITEs that are posted at once */
/* That a batch may ask for: each ends by its pages or by its runs. */
#define RDMA_BATCH_WINDOWS	(FERRY_WIRE_MAX_BATCH_PAGES + 1)
/*
 * 256 KiB: a completion tells that they are placed, so that a peer timeout of 100 ms
 * (the shortest) allows a link of 2.6 MB/s.
 */
#define RDMA_PROGRESS_PAGES	64
#define RDMA_AHEAD	4		/* windows that are asked for before they are needed */
/* A batch of pages that lie nowhere side by side, its message, and notes. */
#define RDMA_SEND_DEPTH	(FERRY_WIRE_MAX_BATCH_PAGES + 2 * FERRY_RDMA_DEPTH)

#define RDMA_SEND_ROOM	(RDMA_SEND_DEPTH - 1)	/* one is ib_drain_qp()'s */

/**
 * struct rdma_context - what the connection manager's events are for
 * @kind: in what it is embedded
 */
struct rdma_context {
	enum { RDMA_CONTEXT_CHANNEL, RDMA_CONTEXT_LISTENER, RDMA_CONTEXT_REQUEST } kind;
};

/**
 * struct rdma_message - a receive buffer
 * @cqe: its completion
 * @node: in rdma_channel.received
 * @rc: its channel
 * @dma: of @data
 * @length: of what was received
 * @data: of FERRY_RDMA_MSG_LEN bytes
 */
struct rdma_message {
	struct ib_cqe cqe;
	struct list_head node;
	struct rdma_channel *rc;
	u64 dma;
	u32 length;
	u8 *data;
};

/**
 * struct rdma_send - a message on its way, and the page data that goes with it
 * @cqe: completion of its last work request
 * @progress: of those before it that end RDMA_PROGRESS_PAGES
 * @node: in rdma_channel.notes or .sends, then in .posted
 * @rc: its channel
 * @seq: of a batch: its number
 * @needs: so many windows must be granted before it can be written
 * @nr_extents: in @extents
 * @nr_bv: in @bv; 0: no page data
 * @extents: of a batch
 * @bv: pages of its DATA extents, a reference of each piece held
 * @dma: of @bv, each; mapped while posted
 * @bytes: page data that is not known to be placed
 * @mapped: pieces of @bv that are mapped
 * @late: the message goes before the page data: see rdma_source.c
 * @told: @late, and the message is out
 * @wrs: work requests that it took
 * @length: of @data
 * @data_dma: of @data, while posted
 * @data: header and message
 */
struct rdma_send {
	struct ib_cqe cqe;
	struct ib_cqe progress;
	struct list_head node;
	struct rdma_channel *rc;
	u64 seq;
	u64 needs;
	u32 nr_extents;
	u32 nr_bv;
	struct ferry_extent *extents;
	struct bio_vec *bv;
	u64 *dma;
	size_t bytes;
	u32 mapped;
	bool late;
	bool told;
	u32 wrs;
	u32 length;
	u64 data_dma;
	u8 *data;
};

/**
 * struct rdma_listener - where a sink's channels are connected to
 * @context: of @id
 * @node: in listeners
 * @refs: channels that use it; under listeners_lock
 * @session: whose: its channels hold the listener, and it outlives them
 * @id: the listening id; who takes it (xchg()) destroys it
 * @addr: that it listens on
 * @lock: protects: @channels, @requests, @nr_requests
 * @channels: by index
 * @requests: connection requests that no channel has looked at yet
 * @nr_requests: of them
 */
struct rdma_listener {
	struct rdma_context context;
	struct list_head node;
	unsigned int refs;
	struct ferry_session *session;
	struct rdma_cm_id *id;
	struct sockaddr_storage addr;
	spinlock_t lock;
	struct rdma_channel *channels[KVM_FERRY_MAX_DATA_CHANNELS];
	struct list_head requests;
	u32 nr_requests;
};

/**
 * struct rdma_channel - a data channel over RDMA
 * @ch: the channel
 * @context: of @id
 * @down: held by whoever takes the connection down, or must have it stay: before @lock
 * @lock: protects: everything below that names no other protection. Never held
 *	while completions are waited for
 * @id: the connection; NULL: none yet, or no more
 * @addr: sink: listens here. source: leaves from here, if not AF_UNSPEC
 * @peer: source: connects to
 * @listener: sink
 * @error: why it is dead, negative errno; 0: it is not. Written once, read anywhere
 * @accepted: sink: a connection was taken
 * @up: connected, and not disconnected
 * @sealed: source: the peer has all; sink: its windows are closed
 * @step: connecting: what the connection manager said last
 * @nobody: source: nobody listens where it connects to
 * @refusal: source: why the peer refused, enum ferry_rdma_refusal
 * @wait: everybody of this channel waits here
 * @gone: the device goes away: give all up at once
 * @pd, @cq, @messages: of the connection
 * @sq_free: work requests that there is room for
 * @max_sges: local pieces of a WRITE
 * @max_inline: bytes that a SEND may hold itself
 * @credits: messages that the peer has room for
 * @sent, @consumed: messages sent; of them, handled by the peer
 * @rx_lock: protects: @received
 * @received: messages to be handled, in order
 * @current_msg, @offset: sink, receiver: the message being read
 * @to_credit: sink: handled, and not told yet
 * @notes: to be posted first: WANT, DROP, GRANT, CREDIT
 * @sends: to be posted then, in order
 * @posted: not completed yet
 * @queued: bytes of page data that were taken from the sender and are not placed
 * @taken: bytes of page data that are
 * @source, @sink: of one end only
 */
struct rdma_channel {
	struct ferry_channel ch;
	struct rdma_context context;
	struct mutex down;
	struct mutex lock;
	struct rdma_cm_id *id;
	struct sockaddr_storage addr, peer;
	struct rdma_listener *listener;
	int error;
	bool accepted;
	bool up;
	bool sealed;
	int step;
	bool nobody;
	u32 refusal;
	wait_queue_head_t wait;
	struct work_struct gone;

	struct ib_pd *pd;
	struct ib_cq *cq;
	struct rdma_message *messages;
	u32 sq_free;
	u32 max_sges;
	u32 max_inline;
	u32 credits;
	u64 sent, consumed;
	spinlock_t rx_lock;
	struct list_head received;
	struct rdma_message *current_msg;
	u32 offset;
	u32 to_credit;
	struct list_head notes, sends, posted;
	u64 queued, taken;

	/**
	 * @source: windows as the source knows them
	 * @source.blocks: struct rdma_block by region and block
	 * @source.windows: struct rdma_window by id
	 * @source.fifo: the same, oldest first
	 * @source.last_id: id given last
	 * @source.window_pages, @source.pinned_pages: the sink's bounds
	 * @source.pages: in all windows
	 * @source.queued_seq, @source.posted_seq: number of the last batch taken, and posted
	 * @source.barrier: no WRITE before the peer has handled so many messages
	 * @source.nr_windows: in @source.windows
	 * @source.asked, @source.granted: windows asked for, and granted, so far
	 * @source.ahead: all of memory gets windows, before it is needed
	 * @source.ahead_region, @source.ahead_block: what comes next then
	 * @source.wr, @source.sge: WRITEs being put together
	 */
	struct {
		struct xarray blocks;
		struct xarray windows;
		struct list_head fifo;
		u32 last_id;
		u32 window_pages;
		u64 pinned_pages;
		u64 pages;
		u64 queued_seq, posted_seq;
		u64 barrier;
		u32 nr_windows;
		u64 asked, granted;
		bool ahead;
		u32 ahead_region;
		u64 ahead_block;
		struct ib_rdma_wr wr[RDMA_CHAIN];
		struct ib_sge sge[RDMA_CHAIN * RDMA_SGES];
	} source;

	/**
	 * @sink: windows as the sink holds them
	 * @sink.windows: struct rdma_open by id
	 * @sink.spare: memory regions that are in use by no window
	 * @sink.window_pages, @sink.pinned_pages: our bounds
	 * @sink.memlock_pages: what the VMM may pin
	 * @sink.whole: all of memory is to be pinned
	 * @sink.serial: Soft-RoCE: whenever it sends a message again, it executes the
	 *	registrations behind it once more, and these fail. So each is posted when
	 *	all before it is acknowledged, and nothing behind it until it is done
	 * @sink.pages: pinned, those of windows being closed included
	 * @sink.opening: a window is being opened, which is in no list yet
	 * @sink.closing: windows being closed
	 */
	struct {
		struct xarray windows;
		struct list_head spare;
		u32 window_pages;
		u64 pinned_pages;
		u64 memlock_pages;
		bool whole;
		bool serial;
		u64 pages;
		bool opening;
		u32 closing;
	} sink;
};

/**
 * struct rdma_window - pages that may be written
 * @node: in fifo
 * @id: of it
 * @nr_pages: in it
 * @rkey: the sink's
 * @addr: of the first page
 * @asked: it is the how manieth that was asked for; @rkey and @addr are known
 *	once so many are granted
 * @last_seq: number of the last batch that needs it
 * @nr_runs: in @runs
 * @runs: its pages
 */
struct rdma_window {
	struct list_head node;
	u32 id;
	u32 nr_pages;
	u32 rkey;
	u64 addr;
	u64 asked;
	u64 last_seq;
	u32 nr_runs;
	struct ferry_extent runs[FERRY_RDMA_MAX_RUNS];
};

static inline bool ferry_is_data(const struct ferry_extent *e)
{
	return e->kind == FERRY_EXTENT_DATA;
}

static inline struct rdma_channel *to_rdma(struct ferry_channel *ch)
{
	return container_of(ch, struct rdma_channel, ch);
}

/* rdma_cm.c: finding each other. */
void rdma_init(struct rdma_channel *rc);
int rdma_open(struct ferry_channel *ch, const struct kvm_ferry_channel_add *arg,
	      struct ferry_reason *why);
int rdma_source_connect(struct rdma_channel *rc, struct ferry_reason *why);
/* The connection manager's events; non-zero: it destroys the id. */
int rdma_event(struct rdma_cm_id *id, struct rdma_cm_event *event);
/* @buf of at least 64 bytes. */
const char *rdma_addr_text(char *buf, size_t room, const struct sockaddr_storage *addr);

/* rdma_listen.c */
struct rdma_request;
int rdma_listen_for(struct rdma_channel *rc, struct ferry_reason *why);
void rdma_unlisten(struct rdma_channel *rc);
int rdma_listener_event(struct rdma_listener *l, struct rdma_cm_id *id,
			const struct rdma_cm_event *event);
int rdma_waiting_event(struct rdma_context *context);
/* Waits for the channel's connection request, and accepts it. */
int rdma_sink_accept(struct rdma_channel *rc);

/* rdma_verbs.c: a connection's resources. */
int rdma_setup_locked(struct rdma_channel *rc, struct rdma_cm_id *id);
/* The one way down; may be called again, and from any task that holds no lock. */
void rdma_teardown(struct rdma_channel *rc);
/* Notes the first error and wakes everybody. Any context but hard interrupts. */
void rdma_broke(struct rdma_channel *rc, int error);
int rdma_post_recv(struct rdma_channel *rc, struct rdma_message *m);
struct rdma_send *rdma_send_alloc(struct rdma_channel *rc, u32 kind, u32 length);
void rdma_send_free(struct rdma_send *t);
/* Posts the message of @t. @early: more of it follows, whose completion stands for it. */
int rdma_post_message_locked(struct rdma_channel *rc, struct rdma_send *t, bool early);
/* Posts what there is room for. */
void rdma_pump_locked(struct rdma_channel *rc);

/* rdma_source.c */
extern struct ib_cqe rdma_write_cqe;	/* of whatever completes only if it fails */
int rdma_source_send(struct rdma_channel *rc, const void *head, size_t len, struct bio_vec *bv,
		     unsigned int nr, size_t bytes);
void rdma_source_pump_locked(struct rdma_channel *rc);
void rdma_source_heard(struct rdma_channel *rc, struct rdma_message *m);

/* rdma_window.c: where the source may write. */
/* The slot of a page, or NULL: its block has none. */
u32 *rdma_slot_locked(struct rdma_channel *rc, u32 region, u64 pfn);
/*
 * Makes room for the @missing pages of batch @seq: windows go, the oldest first.
 * -EBUSY: batches before it still need the oldest. -EAGAIN: the batch's own
 * windows had to go, since they have many pages beside its own: count again.
 */
int rdma_evict_locked(struct rdma_channel *rc, u64 seq, u64 missing);
/* Notes that the batch needs the windows that it finds, and counts the pages without one. */
u32 rdma_use_windows_locked(struct rdma_channel *rc, struct rdma_send *t);
/* Windows for the pages of a batch that have none. The room is there. */
int rdma_want_windows_locked(struct rdma_channel *rc, struct rdma_send *t);
/* If all of memory is pinned anyway: some windows more, in the order of the first pass. */
int rdma_want_ahead_locked(struct rdma_channel *rc);
/*
 * Does it clear what a window has? Asked when the message leaves, and not when it
 * was queued: a batch behind it may have asked for a window meanwhile, and a
 * WANT overtakes messages.
 */
bool rdma_clears_window_locked(struct rdma_channel *rc, const struct rdma_send *t);
/* May all of the batch be written? */
bool rdma_granted_locked(struct rdma_channel *rc, const struct rdma_send *t);
int rdma_hear_grant_locked(struct rdma_channel *rc, const u8 *body, u32 len, const char **why);
void rdma_source_free(struct rdma_channel *rc);

/* rdma_write.c */
/* How many WRITEs it takes; 0: a page of it has no window, which cannot be. */
u32 rdma_count_writes_locked(struct rdma_channel *rc, const struct rdma_send *t);
/*
 * The WRITEs of a batch; there is room for them, and for its message. The last
 * one completes if the message went before.
 */
int rdma_post_writes_locked(struct rdma_channel *rc, struct rdma_send *t, u32 writes);

/* Of the send queue, for a window: registration, GRANT; and as much for CREDIT and closing. */
#define RDMA_WINDOW_WRS	4

/* rdma_open.c: the sink's windows. */
int rdma_hear_want_locked(struct rdma_channel *rc, const u8 *body, u32 len, const char **why);
int rdma_hear_drop_locked(struct rdma_channel *rc, const u8 *body, u32 len, const char **why);
void rdma_sink_free(struct rdma_channel *rc);

/* rdma_pinned.c */
/*
 * What this channel may pin, of what the session and its VMM may. If that is too little: -ENOMEM, which
 * ends the session, unless the channel can fall back.
 */
int rdma_bound_pinning(struct rdma_channel *rc);
/* As for any memory that is pinned for a device: against the VMM's RLIMIT_MEMLOCK. */
bool rdma_charge(struct rdma_channel *rc, u64 pages);
void rdma_uncharge(struct rdma_channel *rc, u64 pages);

/* rdma_sink.c */
int rdma_sink_recv(struct rdma_channel *rc, struct iov_iter *to, bool idle);
void rdma_sink_seal(struct rdma_channel *rc);

#endif /* FERRY_RDMA_H */
