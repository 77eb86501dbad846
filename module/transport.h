/* SPDX-License-Identifier: GPL-2.0-only */
/* Channels, and the transports that they are made of. */
#ifndef FERRY_TRANSPORT_H
#define FERRY_TRANSPORT_H

#include <linux/bvec.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/uio.h>
#include <linux/kvm_ferry.h>

struct ferry_channel;
struct ferry_extent;
struct ferry_reason;
struct ferry_session;
struct module;
struct task_struct;

/**
 * struct ferry_transport_ops - what a channel is made of
 * @owner: the module; each channel holds a reference of it
 * @name: for people
 * @type: enum kvm_ferry_transport
 * @one_sided: page data is placed by the source. The sink's recv gives messages
 *	only, and what came before one is placed when it is received
 * @channel_size: of the transport's channel, which embeds struct
 *	ferry_channel as its first member
 * @open: takes what the ioctl names (a socket, a key); under setup_lock
 * @connect: source, the channel's sender: finds the peer's end, before the first
 *	send; NULL: it was handed over connected. The token is known, and the peer
 *	is told of it. Takes at most half the peer timeout while @tentative
 * @start: apply the session's limits; before any I/O, and again when the peer's
 *	timeout is known
 * @send: sends @head and then @bytes of pages in order, all or an error. The
 *	transport holds its own references of the pages when it returns. One
 *	caller at a time. Sleeps at most the peer timeout without progress
 *	(-ETIMEDOUT)
 * @recv: fills @to, all or an error. @idle: nothing at all may come for as
 *	long as it likes; otherwise -ETIMEDOUT after the peer timeout without
 *	progress. One caller at a time. -EPIPE: the peer closed
 * @broken: 0, or, as far as is known, by what negative errno it does not work any
 *	more. Never sleeps
 * @taken: a number that grows while the peer's end takes what was sent. Never
 *	sleeps
 * @queued: bytes that were sent and that the peer's end has not taken. Never
 *	sleeps
 * @untaken: was anything sent that the peer's end has not taken? Never sleeps
 * @full: control: has send no room, so that it waits for the peer? Never sleeps
 * @seal: sink, control task: nothing may be placed from now on, whatever the
 *	peer does; NULL: only recv places. May be called again
 * @shutdown: wakes send and recv, which fail from now on. What was sent still
 *	arrives, unless @purge, which drops what is queued. May race with
 *	anything, may be called again
 * @free: sleeps, cannot fail; nobody is in send or recv any more
 */
struct ferry_transport_ops {
	struct module *owner;
	const char *name;
	u32 type;
	bool one_sided;
	size_t channel_size;
	int (*open)(struct ferry_channel *ch, const struct kvm_ferry_channel_add *arg,
		    struct ferry_reason *why);
	int (*connect)(struct ferry_channel *ch, struct ferry_reason *why);
	void (*start)(struct ferry_channel *ch);
	int (*send)(struct ferry_channel *ch, const void *head, size_t len,
		    struct bio_vec *bv, unsigned int nr, size_t bytes);
	int (*recv)(struct ferry_channel *ch, struct iov_iter *to, bool idle);
	int (*broken)(struct ferry_channel *ch);
	u64 (*taken)(struct ferry_channel *ch);
	u64 (*queued)(struct ferry_channel *ch);
	bool (*untaken)(struct ferry_channel *ch);
	bool (*full)(struct ferry_channel *ch);
	void (*seal)(struct ferry_channel *ch);
	void (*shutdown)(struct ferry_channel *ch, bool purge);
	void (*free)(struct ferry_channel *ch);
};

/**
 * struct ferry_channel - a connection of a session
 * @session: whose it is, which outlives it
 * @ops: its transport
 * @kind: enum kvm_ferry_channel_kind
 * @index: data channels: which, from 0
 * @other: data: the same data channel over another transport, to which it falls
 *	back (source: if it cannot be connected, sink: if the source shows the token
 *	there); and back from there. NULL: none. Both live as long as the session
 * @tentative: one of two, and nobody knows yet which one it will be, or not
 *	connected yet: if it breaks, that alone does not end the session
 * @claimed: sink, of the two the one that was added first: which one it is
 * @task: control: control_rx; data: sender (source) or receiver (sink)
 * @tx_lock: control: protects: order of messages, tx_seq, tx_error, tx_buf. Data: unused, @task sends
 * @tx_seq: number of the next message to be sent
 * @tx_error: why a message was not sent whole; none follows it
 * @rx_seq: number of the next message to be received
 * @tx_buf: room for a message
 * @tx_extents: source, data: those of the BATCH being sent; NULL: no BATCH
 * @nr_tx_extents: of them
 * @tx_left: data: bytes of a message's pages that the transport has no room for yet
 * @rx_buf: room for a message's body
 * @tx_pass: source, data: last pass whose fence was sent
 * @fence_at: source, data: when that was, ns
 * @fence_light: hardly anything was sent before it in that pass
 * @acked_pass: source, data: last pass whose fence was acknowledged
 * @taken_before: source, data: ops->taken() at START
 * @taken: source, data: ops->taken() when the pinger looked last; the pinger's
 * @taken_at: source, data: when the pinger saw it grow last, ns
 * @fenced_pass: sink, data: last pass whose fence was met
 * @placing: sink, data: a batch is being placed
 * @hurry: the session has ended: what is sent now is not waited for
 * @tx_activity: something was sent since the last look of the pinger
 */
struct ferry_channel {
	struct ferry_session *session;
	const struct ferry_transport_ops *ops;
	u32 kind;
	u32 index;
	struct ferry_channel *other;
	bool tentative;
	struct ferry_channel *claimed;
	struct task_struct *task;

	struct mutex tx_lock;
	u32 tx_seq;
	int tx_error;
	u32 rx_seq;
	u8 *tx_buf;
	const struct ferry_extent *tx_extents;
	u32 nr_tx_extents;
	u64 tx_left;
	u8 *rx_buf;

	u32 tx_pass;
	u64 fence_at;
	bool fence_light;
	u32 acked_pass;
	u64 taken_before;
	u64 taken;
	u64 taken_at;
	u32 fenced_pass;
	bool placing;
	bool hurry;
	bool tx_activity;
};

extern const struct ferry_transport_ops ferry_tcp_ops;
extern const struct ferry_transport_ops ferry_loop_ops;

u64 ferry_transports(void);	/* bits of enum kvm_ferry_transport */
/* For a transport in a module of its own: -EEXIST: there is one of that type. */
int ferry_transport_register(const struct ferry_transport_ops *ops);
/* No channel uses it: each holds a reference of the module. */
void ferry_transport_unregister(const struct ferry_transport_ops *ops);
int ferry_channel_add(struct ferry_session *s, struct kvm_ferry_channel_add *arg,
		      struct ferry_reason *why);
/*
 * source, the channel's sender: it could not be connected. Returns the channel that
 * takes its place, or NULL: the session has ended by @why.
 */
struct ferry_channel *ferry_channel_fall_back(struct ferry_channel *ch,
					      const struct ferry_reason *why);
/* sink, the channel's receiver: the token was shown on it. False: and on the other one before. */
bool ferry_channel_claim(struct ferry_channel *ch);
void ferry_channels_shutdown(struct ferry_session *s, bool purge);
/* Stops the channels' tasks and frees them. */
void ferry_channels_destroy(struct ferry_session *s);

static inline int ferry_channel_recv(struct ferry_channel *ch, void *buf, size_t len, bool idle)
{
	struct kvec vec = { .iov_base = buf, .iov_len = len };
	struct iov_iter to;

	iov_iter_kvec(&to, ITER_DEST, &vec, 1, len);
	return ch->ops->recv(ch, &to, idle);
}

#endif /* FERRY_TRANSPORT_H */
