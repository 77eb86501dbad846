// SPDX-License-Identifier: GPL-2.0-only
/*
 * The source: batches, and what they wait for.
 *
 * A batch is taken from the sender at once. If it has pages that no window has,
 * one is asked for that has just these; the batch is written when it is granted,
 * and the sender fills the next ones meanwhile. Batches and messages leave in
 * the order in which they came. A page keeps its window, for later passes,
 * until the sink's bound asks for the room.
 *
 * A WRITE is placed while the sink's receiver may still be at an older message,
 * and a message with ZERO extents makes it clear pages. So
 *
 *  - behind a message that clears a page of a window, nothing is written until
 *    the sink has handled it (a page of no window needs one, and windows are
 *    opened by the receiver itself, in order),
 *  - a batch with a page that is both ZERO and DATA sends its message first, and
 *    is written when that was handled.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "rdma.h"

static bool overlap(const struct ferry_extent *a, const struct ferry_extent *b)
{
	return a->region == b->region && a->pfn < b->pfn + b->nr_pages &&
	       b->pfn < a->pfn + a->nr_pages;
}

/* Does it clear what it writes itself? */
static bool is_late(const struct rdma_send *t)
{
	u32 i, k;

	for (i = 0; t->bytes && i < t->nr_extents; i++)
		for (k = 0; !ferry_is_data(&t->extents[i]) && k < t->nr_extents; k++)
			if (ferry_is_data(&t->extents[k]) && overlap(&t->extents[i], &t->extents[k]))
				return true;
	return false;
}

/* Does what it can of the first batch or message; true: it is out. */
static bool pump_one_locked(struct rdma_channel *rc, struct rdma_send *t, int *err)
{
	bool handled = rc->consumed >= rc->source.barrier, clears;
	u32 writes;

	lockdep_assert_held(&rc->lock);
	if (!rc->credits)
		return false;
	if (t->late && !t->told) {
		/* The message alone; a later completion stands for it. */
		if (!rc->sq_free)
			return false;
		*err = rdma_post_message_locked(rc, t, true);
		t->told = true;
		rc->credits--;
		rc->source.barrier = rc->sent;
		return false;
	}
	if (t->bytes && (!handled || !rdma_granted_locked(rc, t)))
		return false;
	writes = t->bytes ? rdma_count_writes_locked(rc, t) : 0;
	if (t->bytes && !writes)
		*err = -EIO;
	if (rc->sq_free < writes + 1)
		return false;
	clears = rdma_clears_window_locked(rc, t);
	if (writes)
		*err = rdma_post_writes_locked(rc, t, writes);
	if (!*err && !t->late)
		*err = rdma_post_message_locked(rc, t, false);
	if (*err)
		return false;
	if (t->late)
		list_move_tail(&t->node, &rc->posted);
	else
		rc->credits--;
	if (clears)
		rc->source.barrier = rc->sent;
	if (t->seq)
		rc->source.posted_seq = t->seq;
	return true;
}

void rdma_source_pump_locked(struct rdma_channel *rc)
{
	int err = 0;

	lockdep_assert_held(&rc->lock);
	while (!list_empty(&rc->sends)) {
		struct rdma_send *t = list_first_entry(&rc->sends, struct rdma_send, node);

		if (!pump_one_locked(rc, t, &err))
			break;
	}
	if (err)
		rdma_broke(rc, err);
}

/* A batch's extents are the sender's, which fills the next one soon. */
static int copy_extents(struct rdma_send *t, const struct ferry_channel *ch)
{
	if (!ch->nr_tx_extents)
		return 0;
	t->extents = kvmalloc_array(ch->nr_tx_extents, sizeof(*t->extents), GFP_KERNEL_ACCOUNT);
	if (!t->extents)
		return -ENOMEM;
	memcpy(t->extents, ch->tx_extents, ch->nr_tx_extents * sizeof(*t->extents));
	t->nr_extents = ch->nr_tx_extents;
	return 0;
}

static struct rdma_send *make_send(struct rdma_channel *rc, const void *head, size_t len,
				   struct bio_vec *bv, unsigned int nr, size_t bytes)
{
	struct rdma_send *t = rdma_send_alloc(rc, FERRY_RDMA_STREAM, len);
	int ret;

	if (!t)
		return ERR_PTR(-ENOMEM);
	memcpy(t->data + FERRY_RDMA_HEADER_LEN, head, len);
	ret = copy_extents(t, &rc->ch);
	if (!ret && bytes) {
		t->bv = kvmalloc_array(nr, sizeof(*t->bv), GFP_KERNEL_ACCOUNT);
		t->dma = kvmalloc_array(nr, sizeof(*t->dma), GFP_KERNEL_ACCOUNT);
		if (!t->bv || !t->dma)
			ret = -ENOMEM;
	}
	if (ret) {
		rdma_send_free(t);
		return ERR_PTR(ret);
	}
	for (; bytes && t->nr_bv < nr; t->nr_bv++) {
		t->bv[t->nr_bv] = bv[t->nr_bv];
		/* Of the compound page, if it is one: it holds the whole piece. */
		get_page(bv[t->nr_bv].bv_page);
	}
	t->bytes = bytes;
	return t;
}

/* Waits until @cond, as long as the peer takes something now and then. */
#define wait_for_progress(rc, cond)							\
({											\
	long wp_timeout = nsecs_to_jiffies((rc)->ch.session->peer_silence_ns) ?: 1;	\
	u64 wp_taken = READ_ONCE((rc)->taken);						\
	int wp_ret = 0;									\
											\
	while (!wait_event_idle_timeout((rc)->wait, READ_ONCE((rc)->error) || (cond),	\
					wp_timeout)) {					\
		if (wp_taken == READ_ONCE((rc)->taken)) {				\
			wp_ret = -ETIMEDOUT;						\
			break;								\
		}									\
		wp_taken = READ_ONCE((rc)->taken);					\
	}										\
	READ_ONCE((rc)->error) ?: wp_ret;						\
})

static bool has_room(struct rdma_channel *rc, size_t bytes)
{
	u64 queued = READ_ONCE(rc->queued);

	return !queued || queued + bytes <= READ_ONCE(rc->ch.session->inflight_bytes);
}

/* Windows for all pages of the batch; takes the lock, and keeps it if it returns 0. */
static int find_windows(struct rdma_channel *rc, struct rdma_send *t)
{
	int ret;

	for (;;) {
		u64 posted;

		mutex_lock(&rc->lock);
		t->seq = rc->source.queued_seq + 1;
		/* It is taken down, or soon is: nothing may be queued any more. */
		ret = rc->error;
		if (!ret)
			ret = rdma_evict_locked(rc, t->seq, rdma_use_windows_locked(rc, t));
		if (!ret)
			ret = rdma_want_windows_locked(rc, t);
		if (!ret)
			return 0;
		posted = rc->source.posted_seq;
		if (ret == -EBUSY)
			rdma_pump_locked(rc);
		mutex_unlock(&rc->lock);
		if (ret == -EBUSY)
			ret = wait_for_progress(rc, READ_ONCE(rc->source.posted_seq) != posted);
		else if (ret == -EAGAIN)
			ret = 0;
		if (ret)
			return ret;
	}
}

int rdma_source_send(struct rdma_channel *rc, const void *head, size_t len, struct bio_vec *bv,
		     unsigned int nr, size_t bytes)
{
	struct rdma_send *t = make_send(rc, head, len, bv, nr, bytes);
	int ret = 0;

	if (IS_ERR(t))
		return PTR_ERR(t);
	if (bytes)
		ret = wait_for_progress(rc, has_room(rc, bytes));
	if (!ret && bytes)
		ret = find_windows(rc, t);
	if (!ret && !bytes) {
		mutex_lock(&rc->lock);
		ret = rc->error;
		if (ret)
			mutex_unlock(&rc->lock);
	}
	if (ret) {
		rdma_send_free(t);
		return ret;
	}
	if (bytes)
		rc->source.queued_seq = t->seq;
	t->late = is_late(t);
	list_add_tail(&t->node, &rc->sends);
	WRITE_ONCE(rc->queued, rc->queued + bytes);
	rdma_pump_locked(rc);
	mutex_unlock(&rc->lock);
	return READ_ONCE(rc->error);
}

static int hear_locked(struct rdma_channel *rc, const struct rdma_message *m, const char **why)
{
	const u8 *body = m->data + FERRY_RDMA_HEADER_LEN;
	struct ferry_rdma_header h;
	u32 number;

	lockdep_assert_held(&rc->lock);
	if (ferry_rdma_get_header(m->data, m->length, false, &h, why))
		return -EPROTO;
	switch (h.kind) {
	case FERRY_RDMA_GRANT:
		return rdma_hear_grant_locked(rc, body, h.length, why);
	case FERRY_RDMA_CREDIT:
		if (ferry_rdma_get_number(body, h.length, FERRY_RDMA_DEPTH - rc->credits, &number, why))
			return -EPROTO;
		rc->credits += number;
		rc->consumed += number;
		return 0;
	default:	/* SEALED */
		WRITE_ONCE(rc->sealed, true);
		return 0;
	}
}

void rdma_source_heard(struct rdma_channel *rc, struct rdma_message *m)
{
	const char *why = NULL;
	int ret;

	mutex_lock(&rc->lock);
	if (!rc->id || rc->error)
		goto out;
	ret = hear_locked(rc, m, &why);
	if (why)
		ferry_session_fail(rc->ch.session, -EPROTO, "the peer broke the protocol: %s", why);
	if (!ret)
		ret = rdma_post_recv(rc, m);
	if (ret)
		rdma_broke(rc, ret);
	rdma_pump_locked(rc);
out:
	mutex_unlock(&rc->lock);
	wake_up_all(&rc->wait);
}
