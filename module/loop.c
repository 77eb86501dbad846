// SPDX-License-Identifier: GPL-2.0-only
/*
 * The transport "loop": two sessions of one host and one user, joined in memory
 * by a key that both pass. What it sends is queued as page references (and
 * copies of the little that is not pages) and copied once, by the receiver.
 */
#include <linux/cred.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "session.h"

/**
 * struct loop_piece - bytes on their way
 * @node: in loop_end.queue
 * @page: page data, a reference held; NULL: @data
 * @offset: of the first byte not yet received
 * @len: bytes from there on
 * @data: message bytes
 */
struct loop_piece {
	struct list_head node;
	struct page *page;
	unsigned int offset;
	unsigned int len;
	u8 data[];
};

/**
 * struct loop_pair - two ends that have found each other, or one that waits
 * @ref: held by each end's channel
 * @node: in pairs while the second end is missing, under pairs_lock
 * @lock: protects: queue, queued, taken, closed of both ends
 * @wait: both ends wait here
 * @key: what both ends passed
 * @owner: of both ends
 * @ends: how many came
 * @end: what is on the way to each end, and how much each has received
 */
struct loop_pair {
	struct kref ref;
	struct list_head node;
	spinlock_t lock;
	wait_queue_head_t wait;
	u64 key;
	kuid_t owner;
	u32 ends;
	struct loop_end {
		struct list_head queue;
		size_t queued;
		u64 taken;
		bool closed;
	} end[2];
};

struct loop_channel {
	struct ferry_channel ch;
	struct loop_pair *pair;
	u32 side;
};

static DEFINE_MUTEX(pairs_lock);	/* protects: pairs, loop_pair.ends */
static LIST_HEAD(pairs);

static struct loop_channel *to_loop(struct ferry_channel *ch)
{
	return container_of(ch, struct loop_channel, ch);
}

static void piece_free(struct loop_piece *p)
{
	if (p->page)
		put_page(p->page);
	kfree(p);
}

static void pair_release(struct kref *ref)
{
	struct loop_pair *pair = container_of(ref, struct loop_pair, ref);
	struct loop_piece *p, *next;
	int i;

	for (i = 0; i < 2; i++)
		list_for_each_entry_safe(p, next, &pair->end[i].queue, node)
			piece_free(p);
	kfree(pair);
}

static struct loop_pair *pair_alloc(struct ferry_session *s, u64 key)
{
	struct loop_pair *pair = kzalloc(sizeof(*pair), GFP_KERNEL_ACCOUNT);
	int i;

	if (!pair)
		return NULL;
	kref_init(&pair->ref);
	spin_lock_init(&pair->lock);
	init_waitqueue_head(&pair->wait);
	pair->key = key;
	pair->owner = s->owner;
	for (i = 0; i < 2; i++)
		INIT_LIST_HEAD(&pair->end[i].queue);
	return pair;
}

static int loop_open(struct ferry_channel *ch, const struct kvm_ferry_channel_add *arg,
		     struct ferry_reason *why)
{
	struct loop_channel *l = to_loop(ch);
	struct loop_pair *pair, *found = NULL;
	int ret = 0;

	if (arg->fd != -1)
		return ferry_because(why, -EINVAL, "fd must be -1 for a loop channel");
	mutex_lock(&pairs_lock);
	list_for_each_entry(pair, &pairs, node)
		if (pair->key == arg->key && uid_eq(pair->owner, ch->session->owner))
			found = pair;
	if (found) {
		list_del_init(&found->node);
		kref_get(&found->ref);
	} else {
		found = pair_alloc(ch->session, arg->key);
		if (!found) {
			ret = -ENOMEM;
			goto out;
		}
		list_add(&found->node, &pairs);
	}
	l->pair = found;
	l->side = found->ends++;
out:
	mutex_unlock(&pairs_lock);
	return ret;
}

static void loop_start(struct ferry_channel *ch)
{
}

static struct loop_piece *piece_of_bytes(const void *from, size_t len)
{
	struct loop_piece *p = kmalloc(struct_size(p, data, len), GFP_KERNEL_ACCOUNT);

	if (!p)
		return NULL;
	p->page = NULL;
	p->offset = 0;
	p->len = len;
	memcpy(p->data, from, len);
	return p;
}

static struct loop_piece *piece_of_page(const struct bio_vec *bv)
{
	struct loop_piece *p = kmalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);

	if (!p)
		return NULL;
	get_page(bv->bv_page);
	p->page = bv->bv_page;
	p->offset = bv->bv_offset;
	p->len = bv->bv_len;
	return p;
}

static bool is_closed(struct loop_pair *pair)
{
	return READ_ONCE(pair->end[0].closed) || READ_ONCE(pair->end[1].closed);
}

static int push(struct ferry_channel *ch, struct loop_piece *p)
{
	struct ferry_session *s = ch->session;
	struct loop_pair *pair = to_loop(ch)->pair;
	struct loop_end *to = &pair->end[!to_loop(ch)->side];
	long timeout = READ_ONCE(ch->hurry) ? 0 : nsecs_to_jiffies(s->peer_silence_ns);
	int ret = 0;

	if (!p)
		return -ENOMEM;
	if (!wait_event_timeout(pair->wait, READ_ONCE(to->queued) < s->inflight_bytes ||
				is_closed(pair), timeout))
		ret = -ETIMEDOUT;
	spin_lock(&pair->lock);
	if (is_closed(pair)) {
		ret = -EPIPE;
	} else if (!ret) {
		list_add_tail(&p->node, &to->queue);
		WRITE_ONCE(to->queued, to->queued + p->len);
	}
	spin_unlock(&pair->lock);
	if (ret)
		piece_free(p);
	else
		wake_up_all(&pair->wait);
	return ret;
}

static int loop_send(struct ferry_channel *ch, const void *head, size_t len,
		     struct bio_vec *bv, unsigned int nr, size_t bytes)
{
	int ret = push(ch, piece_of_bytes(head, len));

	for (; nr && !ret; nr--, bv++)
		ret = push(ch, piece_of_page(bv));
	return ret;
}

static struct loop_piece *peek(struct loop_pair *pair, struct loop_end *from)
{
	struct loop_piece *p;

	spin_lock(&pair->lock);
	p = list_first_entry_or_null(&from->queue, struct loop_piece, node);
	spin_unlock(&pair->lock);
	return p;
}

/* The first piece stays queued while it is copied: only its receiver removes it. */
static int copy_piece(struct loop_piece *p, struct iov_iter *to, size_t n)
{
	size_t copied = p->page ? copy_page_to_iter(p->page, p->offset, n, to) :
				  copy_to_iter(p->data + p->offset, n, to);

	return copied == n ? 0 : -EFAULT;
}

static void consume(struct loop_pair *pair, struct loop_end *from, struct loop_piece *p, size_t n)
{
	bool empty;

	spin_lock(&pair->lock);
	p->offset += n;
	p->len -= n;
	empty = !p->len;
	if (empty)
		list_del(&p->node);
	WRITE_ONCE(from->queued, from->queued - n);
	WRITE_ONCE(from->taken, from->taken + n);
	spin_unlock(&pair->lock);
	if (empty)
		piece_free(p);
	wake_up_all(&pair->wait);
}

static int loop_recv(struct ferry_channel *ch, struct iov_iter *to, bool idle)
{
	struct loop_pair *pair = to_loop(ch)->pair;
	struct loop_end *from = &pair->end[to_loop(ch)->side];
	long timeout = nsecs_to_jiffies(ch->session->peer_silence_ns);

	while (iov_iter_count(to)) {
		struct loop_piece *p;
		size_t n;
		int ret;

		if (!wait_event_timeout(pair->wait, peek(pair, from) || is_closed(pair),
					timeout)) {
			if (idle)
				continue;
			return -ETIMEDOUT;
		}
		/* What was sent before the close still arrives. */
		p = peek(pair, from);
		if (!p || READ_ONCE(from->closed))
			return -EPIPE;
		n = min_t(size_t, p->len, iov_iter_count(to));
		ret = copy_piece(p, to, n);
		if (ret)
			return ret;
		consume(pair, from, p, n);
		idle = false;
	}
	return 0;
}

static int loop_broken(struct ferry_channel *ch)
{
	return is_closed(to_loop(ch)->pair) ? -EPIPE : 0;
}

static u64 loop_taken(struct ferry_channel *ch)
{
	struct loop_channel *l = to_loop(ch);

	return READ_ONCE(l->pair->end[!l->side].taken);
}

static u64 loop_queued(struct ferry_channel *ch)
{
	struct loop_channel *l = to_loop(ch);

	return READ_ONCE(l->pair->end[!l->side].queued);
}

/* What is queued stays there for the peer, closed or not. */
static bool loop_untaken(struct ferry_channel *ch)
{
	return false;
}

static bool loop_full(struct ferry_channel *ch)
{
	return loop_queued(ch) >= ch->session->inflight_bytes;
}

static void loop_shutdown(struct ferry_channel *ch, bool purge)
{
	struct loop_pair *pair = to_loop(ch)->pair;

	spin_lock(&pair->lock);
	WRITE_ONCE(pair->end[to_loop(ch)->side].closed, true);
	spin_unlock(&pair->lock);
	wake_up_all(&pair->wait);
}

static void loop_free(struct ferry_channel *ch)
{
	struct loop_pair *pair = to_loop(ch)->pair;

	loop_shutdown(ch, true);
	mutex_lock(&pairs_lock);
	list_del_init(&pair->node);
	mutex_unlock(&pairs_lock);
	kref_put(&pair->ref, pair_release);
}

const struct ferry_transport_ops ferry_loop_ops = {
	.owner = THIS_MODULE,
	.name = "loop",
	.type = KVM_FERRY_TRANSPORT_LOOP,
	.channel_size = sizeof(struct loop_channel),
	.open = loop_open,
	.start = loop_start,
	.send = loop_send,
	.recv = loop_recv,
	.broken = loop_broken,
	.taken = loop_taken,
	.queued = loop_queued,
	.untaken = loop_untaken,
	.full = loop_full,
	.shutdown = loop_shutdown,
	.free = loop_free,
};
