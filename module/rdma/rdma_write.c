// SPDX-License-Identifier: GPL-2.0-only
/* The source: WRITEs of a batch, put together from pages and windows. */
#include "rdma.h"

/**
 * struct write_pos - where in a batch's page data one is
 * @extent: in rdma_send.extents
 * @page: in it
 * @piece: in rdma_send.bv
 * @offset: in it, bytes
 * @pages: of all of it, so far
 */
struct write_pos {
	u32 extent;
	u32 page;
	u32 piece;
	u32 offset;
	u32 pages;
};

static u32 next_slot(struct rdma_channel *rc, const struct rdma_send *t, struct write_pos *at)
{
	const struct ferry_extent *e;
	u32 *slot;

	while (at->extent < t->nr_extents && (!ferry_is_data(&t->extents[at->extent]) ||
					      at->page == t->extents[at->extent].nr_pages)) {
		at->extent++;
		at->page = 0;
	}
	if (at->extent == t->nr_extents)
		return 0;
	e = &t->extents[at->extent];
	slot = rdma_slot_locked(rc, e->region, e->pfn + at->page);
	return slot ? *slot : 0;
}

/*
 * One WRITE: pages that follow each other in a window, from at most max_sges
 * pieces of memory, and not across a multiple of RDMA_PROGRESS_PAGES. Returns how many pieces, 0: that was all. @sge may be NULL,
 * to count. @slot: of the first page.
 */
static u32 next_write(struct rdma_channel *rc, const struct rdma_send *t, struct write_pos *at,
		      struct ib_sge *sge, u32 *first)
{
	u32 slot = next_slot(rc, t, at), nr = 0, last_piece = U32_MAX;

	*first = slot;
	while (slot) {
		if (at->piece != last_piece) {
			if (nr == rc->max_sges)
				break;
			last_piece = at->piece;
			if (sge)
				sge[nr] = (struct ib_sge) {
					.addr = t->dma[at->piece] + at->offset,
					.lkey = rc->pd->local_dma_lkey,
				};
			nr++;
		}
		if (sge)
			sge[nr - 1].length += PAGE_SIZE;
		at->page++;
		at->offset += PAGE_SIZE;
		if (at->offset == t->bv[at->piece].bv_len) {
			at->piece++;
			at->offset = 0;
		}
		if (!(++at->pages % RDMA_PROGRESS_PAGES) || next_slot(rc, t, at) != slot + 1)
			break;
		slot++;
	}
	return nr;
}

u32 rdma_count_writes_locked(struct rdma_channel *rc, const struct rdma_send *t)
{
	struct write_pos at = {};
	u32 slot, n = 0;

	lockdep_assert_held(&rc->lock);
	while (next_write(rc, t, &at, NULL, &slot))
		n++;
	return WARN_ON_ONCE(at.piece != t->nr_bv) ? 0 : n;
}

static int map_pieces(struct rdma_channel *rc, struct rdma_send *t)
{
	struct ib_device *dev = rc->pd->device;

	for (; t->mapped < t->nr_bv; t->mapped++) {
		const struct bio_vec *bv = &t->bv[t->mapped];
		u64 dma = ib_dma_map_page(dev, bv->bv_page, bv->bv_offset, bv->bv_len, DMA_TO_DEVICE);

		if (ib_dma_mapping_error(dev, dma))
			return -ENOMEM;
		t->dma[t->mapped] = dma;
	}
	return 0;
}

static void write_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct rdma_channel *rc = cq->cq_context;

	/* Only those that failed complete: the message behind them tells of the others. */
	if (wc->status == IB_WC_WR_FLUSH_ERR)
		rdma_broke(rc, -EPIPE);
	else
		rdma_broke(rc, wc->status == IB_WC_REM_ACCESS_ERR ? -EACCES :
			   wc->status == IB_WC_RETRY_EXC_ERR ? -ETIMEDOUT : -EREMOTEIO);
}

/* A part of a batch is placed: the link carries something, however slow it is. */
static void progress_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct rdma_send *t = container_of(wc->wr_cqe, struct rdma_send, progress);
	struct rdma_channel *rc = t->rc;

	if (wc->status != IB_WC_SUCCESS) {
		write_done(cq, wc);
		return;
	}
	mutex_lock(&rc->lock);
	t->bytes -= RDMA_PROGRESS_PAGES * PAGE_SIZE;
	WRITE_ONCE(rc->queued, rc->queued - RDMA_PROGRESS_PAGES * PAGE_SIZE);
	WRITE_ONCE(rc->taken, rc->taken + RDMA_PROGRESS_PAGES * PAGE_SIZE);
	mutex_unlock(&rc->lock);
	wake_up_all(&rc->wait);
}

struct ib_cqe rdma_write_cqe = { .done = write_done };

int rdma_post_writes_locked(struct rdma_channel *rc, struct rdma_send *t, u32 writes)
{
	struct ib_rdma_wr *wr = rc->source.wr;
	struct write_pos at = {};
	int ret = map_pieces(rc, t);

	lockdep_assert_held(&rc->lock);
	t->progress.done = progress_done;
	while (!ret && writes) {
		u32 n = min_t(u32, writes, RDMA_CHAIN), i;

		for (i = 0; i < n; i++) {
			struct ib_sge *sge = rc->source.sge + i * RDMA_SGES;
			const struct rdma_window *w;
			u32 slot;

			memset(&wr[i], 0, sizeof(wr[i]));
			wr[i].wr.num_sge = next_write(rc, t, &at, sge, &slot);
			wr[i].wr.sg_list = sge;
			wr[i].wr.wr_cqe = &rdma_write_cqe;
			wr[i].wr.opcode = IB_WR_RDMA_WRITE;
			wr[i].wr.next = i + 1 < n ? &wr[i + 1].wr : NULL;
			if (!(at.pages % RDMA_PROGRESS_PAGES) && i + 1 < writes) {
				wr[i].wr.send_flags = IB_SEND_SIGNALED;
				wr[i].wr.wr_cqe = &t->progress;
			}
			w = xa_load(&rc->source.windows, slot >> 16);
			wr[i].rkey = w->rkey;
			wr[i].remote_addr = w->addr + (u64)(slot & 0xffff) * PAGE_SIZE;
		}
		writes -= n;
		if (!writes && t->late) {
			wr[n - 1].wr.send_flags = IB_SEND_SIGNALED;
			wr[n - 1].wr.wr_cqe = &t->cqe;
		}
		ret = ib_post_send(rc->id->qp, &wr[0].wr, NULL);
		if (ret)
			break;
		t->wrs += n;
		rc->sq_free -= n;
	}
	return ret;
}
