// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a connection is made of: protection domain, completion queue, queue
 * pair, receive buffers; posting, and completions.
 *
 * Completions come in a workqueue, so nobody spins and a completion may sleep.
 * One is asked for with each message, not with each WRITE: who has that of a
 * message has those of all WRITEs before it.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "rdma.h"

void rdma_broke(struct rdma_channel *rc, int error)
{
	cmpxchg(&rc->error, 0, error);
	wake_up_all(&rc->wait);
}

/* What a peer, a link or a card did, as an errno that the session ends with. */
static int wc_error(const struct ib_wc *wc)
{
	switch (wc->status) {
	case IB_WC_SUCCESS:
		return 0;
	case IB_WC_WR_FLUSH_ERR:
		return -EPIPE;
	case IB_WC_RETRY_EXC_ERR:
	case IB_WC_RNR_RETRY_EXC_ERR:
	case IB_WC_RESP_TIMEOUT_ERR:
		return -ETIMEDOUT;
	case IB_WC_REM_ACCESS_ERR:
		return -EACCES;
	default:
		return -EREMOTEIO;
	}
}

static void completion_failed(struct rdma_channel *rc, const struct ib_wc *wc)
{
	/*
	 * Flushed because this side closed it. Or it never was a connection: a refusal
	 * flushes what was posted before its event arrives, and only the event has the
	 * reason.
	 */
	if (wc->status == IB_WC_WR_FLUSH_ERR && (READ_ONCE(rc->sealed) || !READ_ONCE(rc->up)))
		return;
	rdma_broke(rc, wc_error(wc));
}

static void recv_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct rdma_message *m = container_of(wc->wr_cqe, struct rdma_message, cqe);
	struct rdma_channel *rc = m->rc;

	if (wc->status != IB_WC_SUCCESS) {
		completion_failed(rc, wc);
		return;
	}
	m->length = wc->byte_len;
	ib_dma_sync_single_for_cpu(rc->pd->device, m->dma, FERRY_RDMA_MSG_LEN, DMA_FROM_DEVICE);
	if (ferry_session_is_source(rc->ch.session)) {
		rdma_source_heard(rc, m);
		return;
	}
	spin_lock(&rc->rx_lock);
	list_add_tail(&m->node, &rc->received);
	spin_unlock(&rc->rx_lock);
	wake_up_all(&rc->wait);
}

int rdma_post_recv(struct rdma_channel *rc, struct rdma_message *m)
{
	struct ib_sge sge = {
		.addr = m->dma, .length = FERRY_RDMA_MSG_LEN, .lkey = rc->pd->local_dma_lkey,
	};
	struct ib_recv_wr wr = { .wr_cqe = &m->cqe, .sg_list = &sge, .num_sge = 1 };

	m->cqe.done = recv_done;
	ib_dma_sync_single_for_device(rc->pd->device, m->dma, FERRY_RDMA_MSG_LEN, DMA_FROM_DEVICE);
	return ib_post_recv(rc->id->qp, &wr, NULL);
}

struct rdma_send *rdma_send_alloc(struct rdma_channel *rc, u32 kind, u32 length)
{
	struct ferry_rdma_header h = { .kind = kind, .length = length };
	struct rdma_send *t = kzalloc(sizeof(*t), GFP_KERNEL_ACCOUNT);

	if (!t)
		return NULL;
	INIT_LIST_HEAD(&t->node);
	t->rc = rc;
	t->length = FERRY_RDMA_HEADER_LEN + length;
	t->data = kmalloc(t->length, GFP_KERNEL_ACCOUNT);
	if (!t->data) {
		kfree(t);
		return NULL;
	}
	ferry_rdma_put_header(t->data, &h);
	return t;
}

static void unmap(struct rdma_send *t)
{
	struct ib_device *dev = t->rc->pd ? t->rc->pd->device : NULL;
	u32 i;

	for (i = 0; i < t->mapped; i++)
		ib_dma_unmap_page(dev, t->dma[i], t->bv[i].bv_len, DMA_TO_DEVICE);
	t->mapped = 0;
	if (t->data_dma)
		ib_dma_unmap_single(dev, t->data_dma, t->length, DMA_TO_DEVICE);
	t->data_dma = 0;
}

void rdma_send_free(struct rdma_send *t)
{
	u32 i;

	unmap(t);
	for (i = 0; i < t->nr_bv; i++)
		put_page(t->bv[i].bv_page);
	kvfree(t->bv);
	kvfree(t->dma);
	kvfree(t->extents);
	kfree(t->data);
	kfree(t);
}

static void send_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct rdma_send *t = container_of(wc->wr_cqe, struct rdma_send, cqe);
	struct rdma_channel *rc = t->rc;

	if (wc->status != IB_WC_SUCCESS)
		completion_failed(rc, wc);
	mutex_lock(&rc->lock);
	list_del(&t->node);
	rc->sq_free += t->wrs;
	WRITE_ONCE(rc->queued, rc->queued - t->bytes);
	if (wc->status == IB_WC_SUCCESS)
		WRITE_ONCE(rc->taken, rc->taken + t->bytes);
	rdma_send_free(t);
	rdma_pump_locked(rc);
	mutex_unlock(&rc->lock);
	wake_up_all(&rc->wait);
}

int rdma_post_message_locked(struct rdma_channel *rc, struct rdma_send *t, bool early)
{
	struct ib_device *dev = rc->pd->device;
	struct ib_sge sge = { .length = t->length };
	struct ib_send_wr wr = {
		.wr_cqe = early ? &rdma_write_cqe : &t->cqe,
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IB_WR_SEND,
		.send_flags = early ? 0 : IB_SEND_SIGNALED,
	};
	int ret;

	lockdep_assert_held(&rc->lock);
	if (t->length <= rc->max_inline) {
		sge.addr = (uintptr_t)t->data;
		wr.send_flags |= IB_SEND_INLINE;
	} else {
		sge.addr = ib_dma_map_single(dev, t->data, t->length, DMA_TO_DEVICE);
		if (ib_dma_mapping_error(dev, sge.addr))
			return -ENOMEM;
		t->data_dma = sge.addr;
		sge.lkey = rc->pd->local_dma_lkey;
	}
	t->cqe.done = send_done;
	ret = ib_post_send(rc->id->qp, &wr, NULL);
	if (ret)
		return ret;
	t->wrs++;
	rc->sq_free--;
	rc->sent++;
	if (!early)
		list_move_tail(&t->node, &rc->posted);
	return 0;
}

/* Notes go first: all that waits for a window waits for them. */
void rdma_pump_locked(struct rdma_channel *rc)
{
	int ret;

	lockdep_assert_held(&rc->lock);
	if (rc->up && !rc->error && ferry_session_is_source(rc->ch.session)) {
		ret = rdma_want_ahead_locked(rc);
		if (ret)
			rdma_broke(rc, ret);
	}
	while (rc->up && !rc->error && !list_empty(&rc->notes) && rc->sq_free && rc->credits) {
		struct rdma_send *t = list_first_entry(&rc->notes, struct rdma_send, node);

		ret = rdma_post_message_locked(rc, t, false);
		if (ret) {
			rdma_broke(rc, ret);
			return;
		}
		/* Only the sink has to say how much it has room for: see docs/protocol.md. */
		if (ferry_session_is_source(rc->ch.session))
			rc->credits--;
	}
	if (rc->up && !rc->error && ferry_session_is_source(rc->ch.session))
		rdma_source_pump_locked(rc);
}

static void qp_event(struct ib_event *event, void *context)
{
	struct rdma_channel *rc = context;

	if (event->event == IB_EVENT_COMM_EST)
		rdma_notify(rc->id, event->event);
	else if (event->event != IB_EVENT_QP_LAST_WQE_REACHED && !READ_ONCE(rc->sealed))
		rdma_broke(rc, event->event == IB_EVENT_QP_ACCESS_ERR ? -EACCES : -EREMOTEIO);
}

static int make_qp(struct rdma_channel *rc, struct rdma_cm_id *id, u32 inline_bytes)
{
	struct ib_qp_init_attr attr = {
		.event_handler = qp_event,
		.qp_context = rc,
		.send_cq = rc->cq,
		.recv_cq = rc->cq,
		.cap = {
			.max_send_wr = RDMA_SEND_DEPTH,
			.max_recv_wr = FERRY_RDMA_DEPTH + 1,	/* and ib_drain_qp()'s */
			.max_send_sge = rc->max_sges,
			.max_recv_sge = 1,
			.max_inline_data = inline_bytes,
		},
		.sq_sig_type = IB_SIGNAL_REQ_WR,
		.qp_type = IB_QPT_RC,
	};
	int ret = rdma_create_qp(id, rc->pd, &attr);

	/* What the device made of it may be less; some do not tell. */
	rc->max_inline = min(inline_bytes, attr.cap.max_inline_data);
	return ret;
}

static int make_messages(struct rdma_channel *rc)
{
	struct ib_device *dev = rc->pd->device;
	u32 i;
	int ret;

	rc->messages = kcalloc(FERRY_RDMA_DEPTH, sizeof(*rc->messages), GFP_KERNEL_ACCOUNT);
	if (!rc->messages)
		return -ENOMEM;
	for (i = 0; i < FERRY_RDMA_DEPTH; i++) {
		struct rdma_message *m = &rc->messages[i];

		m->rc = rc;
		m->data = kmalloc(FERRY_RDMA_MSG_LEN, GFP_KERNEL_ACCOUNT);
		if (!m->data)
			return -ENOMEM;
		m->dma = ib_dma_map_single(dev, m->data, FERRY_RDMA_MSG_LEN, DMA_FROM_DEVICE);
		if (ib_dma_mapping_error(dev, m->dma)) {
			kfree(m->data);
			m->data = NULL;
			return -ENOMEM;
		}
		ret = rdma_post_recv(rc, m);
		if (ret)
			return ret;
	}
	return 0;
}

int rdma_setup_locked(struct rdma_channel *rc, struct rdma_cm_id *id)
{
	struct ib_device *dev = id->device;
	int ret;

	lockdep_assert_held(&rc->lock);
	/* From here on rdma_teardown() finds what there is. */
	rc->id = id;
	if (dev->attrs.max_qp_wr < RDMA_SEND_DEPTH || dev->attrs.max_send_sge < 1)
		return -EOPNOTSUPP;
	rc->max_sges = min_t(u32, dev->attrs.max_send_sge, RDMA_SGES);
	rc->pd = ib_alloc_pd(dev, 0);
	if (IS_ERR(rc->pd)) {
		ret = PTR_ERR(rc->pd);
		rc->pd = NULL;
		return ret;
	}
	rc->cq = ib_alloc_cq_any(dev, rc, RDMA_SEND_DEPTH + FERRY_RDMA_DEPTH + 2, IB_POLL_WORKQUEUE);
	if (IS_ERR(rc->cq)) {
		ret = PTR_ERR(rc->cq);
		rc->cq = NULL;
		return ret;
	}
	ret = make_qp(rc, id, 64);
	if (ret)
		ret = make_qp(rc, id, 0);
	if (ret)
		return ret;
	rc->sq_free = RDMA_SEND_ROOM;
	rc->credits = FERRY_RDMA_DEPTH;
	return make_messages(rc);
}

static void free_messages(struct rdma_channel *rc)
{
	u32 i;

	for (i = 0; rc->messages && i < FERRY_RDMA_DEPTH; i++) {
		struct rdma_message *m = &rc->messages[i];

		if (!m->data)
			continue;
		ib_dma_unmap_single(rc->pd->device, m->dma, FERRY_RDMA_MSG_LEN, DMA_FROM_DEVICE);
		kfree(m->data);
	}
	kfree(rc->messages);
	rc->messages = NULL;
}

static void free_sends(struct list_head *list)
{
	struct rdma_send *t, *next;

	list_for_each_entry_safe(t, next, list, node) {
		list_del(&t->node);
		rdma_send_free(t);
	}
}

void rdma_teardown(struct rdma_channel *rc)
{
	struct rdma_cm_id *id;

	rdma_broke(rc, -ESHUTDOWN);
	mutex_lock(&rc->down);
	mutex_lock(&rc->lock);
	id = rc->id;
	rc->id = NULL;
	rc->up = false;
	mutex_unlock(&rc->lock);
	if (!id)
		goto out;
	/* Both end what is posted; completions take the lock. */
	rdma_disconnect(id);
	if (id->qp) {
		ib_drain_qp(id->qp);
		rdma_destroy_qp(id);
	}
	wait_event_idle(rc->wait, !READ_ONCE(rc->sink.opening));
	/* Nothing is written into our windows any more. */
	mutex_lock(&rc->lock);
	rdma_sink_free(rc);
	free_sends(&rc->notes);
	free_sends(&rc->sends);
	free_sends(&rc->posted);
	spin_lock(&rc->rx_lock);
	INIT_LIST_HEAD(&rc->received);
	spin_unlock(&rc->rx_lock);
	rc->current_msg = NULL;
	free_messages(rc);
	mutex_unlock(&rc->lock);
	if (rc->cq)
		ib_free_cq(rc->cq);
	rc->cq = NULL;
	if (rc->pd)
		ib_dealloc_pd(rc->pd);
	rc->pd = NULL;
	rdma_destroy_id(id);
out:
	mutex_unlock(&rc->down);
}
