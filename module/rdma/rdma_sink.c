// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sink: receiving. The channel's receiver takes messages in order: those of the
 * stream go to whoever receives, those of windows are handled on the way.
 */
#include "rdma.h"

/* A message was handled: its buffer is free for another, which the source is told by and by. */
static int handled_locked(struct rdma_channel *rc, struct rdma_message *m)
{
	int ret = rdma_post_recv(rc, m);

	lockdep_assert_held(&rc->lock);
	rc->to_credit++;
	return ret;
}

/*
 * At once if there is nothing else to do: the source may be waiting for just
 * that. Otherwise for some at a time.
 */
static int tell_credit_locked(struct rdma_channel *rc, bool idle)
{
	struct rdma_send *t;

	lockdep_assert_held(&rc->lock);
	if (!rc->to_credit || (!idle && rc->to_credit < FERRY_RDMA_DEPTH / 4) ||
	    rc->sq_free < RDMA_WINDOW_WRS)
		return 0;
	t = rdma_send_alloc(rc, FERRY_RDMA_CREDIT, 8);
	if (!t)
		return -ENOMEM;
	ferry_rdma_put_number(t->data + FERRY_RDMA_HEADER_LEN, rc->to_credit);
	rc->to_credit = 0;
	list_add_tail(&t->node, &rc->notes);
	rdma_pump_locked(rc);
	return 0;
}

static struct rdma_message *next_received(struct rdma_channel *rc)
{
	struct rdma_message *m;

	spin_lock(&rc->rx_lock);
	m = list_first_entry_or_null(&rc->received, struct rdma_message, node);
	if (m)
		list_del_init(&m->node);
	spin_unlock(&rc->rx_lock);
	return m;
}

/* Handles messages of ours until there is one of the stream, or none. */
static int hear_locked(struct rdma_channel *rc, const char **why)
{
	struct ferry_rdma_header h;
	struct rdma_message *m;
	int ret = 0;

	lockdep_assert_held(&rc->lock);
	while (!ret && !rc->error && !rc->current_msg && (m = next_received(rc))) {
		const u8 *body = m->data + FERRY_RDMA_HEADER_LEN;

		if (ferry_rdma_get_header(m->data, m->length, true, &h, why))
			return -EPROTO;
		if (h.kind == FERRY_RDMA_STREAM) {
			rc->current_msg = m;
			rc->offset = FERRY_RDMA_HEADER_LEN;
			break;
		}
		if (h.kind == FERRY_RDMA_WANT)
			ret = rdma_hear_want_locked(rc, body, h.length, why);
		else
			ret = rdma_hear_drop_locked(rc, body, h.length, why);
		if (!ret)
			ret = handled_locked(rc, m);
		if (!ret)
			ret = tell_credit_locked(rc, false);
	}
	return ret ?: tell_credit_locked(rc, !rc->current_msg);
}

static bool nothing_received(struct rdma_channel *rc)
{
	bool empty;

	spin_lock(&rc->rx_lock);
	empty = list_empty(&rc->received);
	spin_unlock(&rc->rx_lock);
	return empty;
}

/* Behind the seal nothing can come: the receiver waits for the end. */
static int rest(struct rdma_channel *rc)
{
	struct ferry_session *s = rc->ch.session;

	wait_event_idle(s->wait, ferry_session_ended(s));
	return -ESHUTDOWN;
}

/* Copies what there is of the message being read. */
static int take_bytes(struct rdma_channel *rc, struct iov_iter *to)
{
	const char *why = NULL;
	int ret;

	mutex_lock(&rc->lock);
	ret = rc->error;
	if (!ret && rc->current_msg && rc->offset == rc->current_msg->length) {
		/* The receiver comes back for more when it has done what that said. */
		ret = handled_locked(rc, rc->current_msg);
		rc->current_msg = NULL;
	}
	if (!ret && !rc->current_msg)
		ret = hear_locked(rc, &why);
	if (!ret && rc->current_msg) {
		size_t n = min_t(size_t, iov_iter_count(to), rc->current_msg->length - rc->offset);

		if (copy_to_iter(rc->current_msg->data + rc->offset, n, to) != n)
			ret = -EFAULT;
		rc->offset += n;
	}
	mutex_unlock(&rc->lock);
	if (ret == -EPROTO && why)
		ferry_session_fail(rc->ch.session, -EPROTO, "the peer broke the protocol: %s", why);
	return ret;
}

int rdma_sink_recv(struct rdma_channel *rc, struct iov_iter *to, bool idle)
{
	struct ferry_session *s = rc->ch.session;
	int ret = READ_ONCE(rc->accepted) ? 0 : rdma_sink_accept(rc);

	while (!ret && iov_iter_count(to)) {
		size_t before = iov_iter_count(to);

		ret = take_bytes(rc, to);
		if (iov_iter_count(to) < before) {
			idle = false;
			continue;
		}
		if (READ_ONCE(rc->sealed))
			return rest(rc);
		if (ret)
			break;
		if (!wait_event_idle_timeout(rc->wait, READ_ONCE(rc->error) || READ_ONCE(rc->sealed) ||
					     !nothing_received(rc),
					     nsecs_to_jiffies(s->peer_silence_ns) ?: 1) && !idle)
			ret = -ETIMEDOUT;
	}
	return READ_ONCE(rc->sealed) && ret ? rest(rc) : ret;
}

void rdma_sink_seal(struct rdma_channel *rc)
{
	struct rdma_send *t;

	mutex_lock(&rc->down);
	mutex_lock(&rc->lock);
	WRITE_ONCE(rc->sealed, true);
	t = rc->id && !rc->error ? rdma_send_alloc(rc, FERRY_RDMA_SEALED, 0) : NULL;
	if (t) {
		list_add_tail(&t->node, &rc->notes);
		rdma_pump_locked(rc);
	}
	mutex_unlock(&rc->lock);
	/* So that the source takes what comes then for the end, and not for a failure. */
	wait_event_idle_timeout(rc->wait, READ_ONCE(rc->error) ||
				(list_empty_careful(&rc->notes) && list_empty_careful(&rc->posted)),
				nsecs_to_jiffies(rc->ch.session->peer_silence_ns) ?: 1);
	/* From here on the card writes nothing into the guest, whatever the peer sends. */
	if (rc->id && rc->id->qp)
		ib_drain_qp(rc->id->qp);
	mutex_unlock(&rc->down);
	wake_up_all(&rc->wait);
}
