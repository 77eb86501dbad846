// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sink: windows into the guest's memory, opened and closed in the order of
 * the channel's messages, by the channel's receiver.
 *
 * A window is a memory region over pinned pages. It is registered by a work
 * request before the GRANT that tells of it, on the same queue: who hears of it
 * can use it. Its pages stay pinned until the source drops it, the session is
 * sealed and gone, or the connection is.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "../pages.h"
#include "../sink.h"
#include "rdma.h"

/**
 * struct rdma_open - an open window
 * @cqe: of the work request that closes it
 * @rc: its channel
 * @id: the source's number of it
 * @nr_pages: in it
 * @pinned: in @pages
 * @pages: of the guest
 * @table: the same, for the device
 * @nents: entries of @table that are mapped
 * @mr: the memory region
 * @registered: sink.serial: so it is
 */
struct rdma_open {
	struct ib_cqe cqe;
	struct rdma_channel *rc;
	u32 id;
	u32 nr_pages;
	u32 pinned;
	struct page **pages;
	struct sg_table table;
	int nents;
	struct ib_mr *mr;
	bool registered;
};

/**
 * struct rdma_spare - a memory region that no window uses
 * @node: in rdma_channel.sink.spare
 * @mr: invalidated, or never used
 */
struct rdma_spare {
	struct list_head node;
	struct ib_mr *mr;
};

/* The memory region is invalid, or is freed by this. Lets go of all else. */
static void release_pages_of(struct rdma_open *w)
{
	if (w->nents)
		ib_dma_unmap_sg(w->rc->pd->device, w->table.sgl, w->table.orig_nents, DMA_FROM_DEVICE);
	w->nents = 0;
	sg_free_table(&w->table);
	unpin_user_pages_dirty_lock(w->pages, w->pinned, true);
	rdma_uncharge(w->rc, w->nr_pages);
	kvfree(w->pages);
	kfree(w);
}

static void spare_locked(struct rdma_channel *rc, struct ib_mr *mr)
{
	struct rdma_spare *spare = kmalloc(sizeof(*spare), GFP_KERNEL_ACCOUNT);

	lockdep_assert_held(&rc->lock);
	if (!spare) {
		ib_dereg_mr(mr);
		return;
	}
	spare->mr = mr;
	list_add(&spare->node, &rc->sink.spare);
}

static struct ib_mr *get_mr_locked(struct rdma_channel *rc)
{
	struct rdma_spare *spare = list_first_entry_or_null(&rc->sink.spare, struct rdma_spare, node);
	struct ib_mr *mr;

	lockdep_assert_held(&rc->lock);
	if (!spare)
		return ib_alloc_mr(rc->pd, IB_MR_TYPE_MEM_REG, rc->sink.window_pages);
	mr = spare->mr;
	list_del(&spare->node);
	kfree(spare);
	/* Who knows the old key must not get in by it. */
	ib_update_fast_reg_key(mr, ib_inc_rkey(mr->rkey));
	return mr;
}

static int pin_runs(struct rdma_channel *rc, struct rdma_open *w, const u8 *body, u32 nr_runs)
{
	struct ferry_session *s = rc->ch.session;
	struct ferry_extent e;
	const char *why;
	int ret = 0;
	u32 i;

	if (!ferry_mm_get(s)) {
		ferry_session_fail(s, -ESRCH, "the VMM has exited");
		return -ESRCH;
	}
	for (i = 0; i < nr_runs && !ret; i++) {
		ferry_rdma_get_run(body, i, &e, &why);
		ret = ferry_pages_pin(s, s->regions[e.region], e.pfn, e.nr_pages, FOLL_LONGTERM,
				      w->pages + w->pinned);
		if (!ret)
			w->pinned += e.nr_pages;
		else
			ferry_session_fail(s, -EFAULT, "region '%s' cannot be pinned for RDMA at 0x%llx (%d)",
					   s->regions[e.region]->name, e.pfn * PAGE_SIZE, ret);
	}
	ferry_mm_put(s);
	return ret;
}

static int map_window_locked(struct rdma_channel *rc, struct rdma_open *w)
{
	int ret;

	lockdep_assert_held(&rc->lock);
	ret = sg_alloc_table_from_pages(&w->table, w->pages, w->nr_pages, 0,
					(u64)w->nr_pages * PAGE_SIZE, GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret;
	w->nents = ib_dma_map_sg(rc->pd->device, w->table.sgl, w->table.orig_nents, DMA_FROM_DEVICE);
	if (!w->nents)
		return -ENOMEM;
	w->mr = get_mr_locked(rc);
	if (IS_ERR(w->mr)) {
		ret = PTR_ERR(w->mr);
		w->mr = NULL;
		return ret;
	}
	ret = ib_map_mr_sg(w->mr, w->table.sgl, w->nents, NULL, PAGE_SIZE);
	if (ret != w->nents)
		return ret < 0 ? ret : -EINVAL;
	return 0;
}

/*
 * Sleeps without the lock until @cond, the peer timeout at the most. Before the lock is held again
 * somebody else may have undone it: what counts is how it is then.
 */
#define wait_unlocked(rc, cond)							\
({										\
	long wu_left = nsecs_to_jiffies((rc)->ch.session->peer_silence_ns) ?: 1;\
										\
	while (!(rc)->error && !(cond) && wu_left) {				\
		mutex_unlock(&(rc)->lock);					\
		wu_left = wait_event_idle_timeout((rc)->wait,			\
						  READ_ONCE((rc)->error) || (cond), wu_left);\
		mutex_lock(&(rc)->lock);					\
	}									\
	(rc)->error;								\
})

static void reg_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct rdma_open *w = container_of(wc->wr_cqe, struct rdma_open, cqe);
	struct rdma_channel *rc = w->rc;

	if (wc->status != IB_WC_SUCCESS)
		rdma_broke(rc, wc->status == IB_WC_WR_FLUSH_ERR ? -EPIPE : -EREMOTEIO);
	mutex_lock(&rc->lock);
	rc->sq_free++;
	w->registered = true;
	mutex_unlock(&rc->lock);
	wake_up_all(&rc->wait);
}

static bool nothing_posted(const struct rdma_channel *rc)
{
	return READ_ONCE(rc->sq_free) == RDMA_SEND_ROOM;
}

/* Posts the registration; with sink.serial it is over when this returns 0. */
static int register_locked(struct rdma_channel *rc, struct rdma_open *w)
{
	struct ib_reg_wr wr = {
		.wr = { .opcode = IB_WR_REG_MR, .wr_cqe = &rdma_write_cqe },
		.mr = w->mr,
		.key = w->mr->rkey,
		/* Not IB_ACCESS_RELAXED_ORDERING: a message means that what came before is there. */
		.access = IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE,
	};
	int ret;

	lockdep_assert_held(&rc->lock);
	if (rc->sink.serial) {
		ret = wait_unlocked(rc, nothing_posted(rc));
		if (!ret && !nothing_posted(rc))
			ret = -ETIMEDOUT;
		if (ret)
			return ret;
		w->cqe.done = reg_done;
		wr.wr.wr_cqe = &w->cqe;
		wr.wr.send_flags = IB_SEND_SIGNALED;
	}
	ret = ib_post_send(rc->id->qp, &wr.wr, NULL);
	if (ret)
		return ret;
	rc->sq_free--;
	/* It completes even if the connection breaks: the window must stay until then. */
	while (rc->sink.serial && !READ_ONCE(w->registered)) {
		mutex_unlock(&rc->lock);
		wait_event_idle(rc->wait, READ_ONCE(w->registered));
		mutex_lock(&rc->lock);
	}
	return rc->error;
}

/* Registers the window, and tells of it behind that. */
static int grant_locked(struct rdma_channel *rc, struct rdma_open *w)
{
	struct ferry_rdma_grant g = { .id = w->id, .rkey = w->mr->rkey, .addr = w->mr->iova };
	struct rdma_send *t = rdma_send_alloc(rc, FERRY_RDMA_GRANT, 16);
	int ret;

	lockdep_assert_held(&rc->lock);
	if (!t)
		return -ENOMEM;
	ferry_rdma_put_grant(t->data + FERRY_RDMA_HEADER_LEN, &g);
	ret = register_locked(rc, w);
	if (ret) {
		rdma_send_free(t);
		return ret;
	}
	/* The registration completes only if it fails; it is over when GRANT is. */
	t->wrs = !rc->sink.serial;
	list_add_tail(&t->node, &rc->notes);
	rdma_pump_locked(rc);
	return 0;
}

static int open_locked(struct rdma_channel *rc, u32 id, u32 pages, const u8 *body, u32 nr_runs)
{
	struct rdma_open *w = kzalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);
	int ret = -ENOMEM;

	lockdep_assert_held(&rc->lock);
	if (!w)
		return -ENOMEM;
	w->rc = rc;
	w->id = id;
	w->nr_pages = pages;
	w->pages = kvmalloc_array(pages, sizeof(*w->pages), GFP_KERNEL_ACCOUNT);
	if (!w->pages)
		goto err_free;
	if (!rdma_charge(rc, pages)) {
		ret = -ENOMEM;
		ferry_session_fail(rc->ch.session, ret, "RLIMIT_MEMLOCK of the VMM at the sink leaves no room for RDMA: raise it, or set a lower bound of pinned memory");
		goto err_free;
	}
	/* rdma_teardown() waits for this one: nobody else knows of it yet. */
	WRITE_ONCE(rc->sink.opening, true);
	ret = pin_runs(rc, w, body, nr_runs);
	if (!ret)
		ret = map_window_locked(rc, w);
	if (!ret)
		ret = grant_locked(rc, w);
	if (!ret)
		ret = xa_err(xa_store(&rc->sink.windows, id, w, GFP_KERNEL_ACCOUNT));
	WRITE_ONCE(rc->sink.opening, false);
	wake_up_all(&rc->wait);
	if (!ret) {
		rc->sink.pages += pages;
		return 0;
	}
	/* If it is registered already, the connection goes with it. */
	if (w->mr)
		ib_dereg_mr(w->mr);
	release_pages_of(w);
	return ret;
err_free:
	kvfree(w->pages);
	kfree(w);
	return ret;
}

/* A window's pages, all within their regions; 0: it is none. */
static u32 check_runs(struct rdma_channel *rc, const struct ferry_rdma_window *m, const u8 *body,
		      const char **why)
{
	struct ferry_session *s = rc->ch.session;
	struct ferry_extent e;
	u64 pages = 0;
	u32 i;

	for (i = 0; i < m->nr_runs; i++) {
		if (ferry_rdma_get_run(body, i, &e, why))
			return 0;
		*why = "WANT reaches beyond its region";
		if (e.region >= s->nr_regions || e.pfn >= s->regions[e.region]->nr_pages ||
		    e.nr_pages > s->regions[e.region]->nr_pages - e.pfn)
			return 0;
		pages += e.nr_pages;
	}
	*why = "WANT has more pages than a window may have";
	return pages <= rc->sink.window_pages ? pages : 0;
}

int rdma_hear_want_locked(struct rdma_channel *rc, const u8 *body, u32 len, const char **why)
{
	struct ferry_rdma_window m;
	u32 pages;
	int ret;

	lockdep_assert_held(&rc->lock);
	if (ferry_rdma_get_window(body, len, &m, why))
		return -EPROTO;
	pages = check_runs(rc, &m, body, why);
	if (!pages)
		return -EPROTO;
	*why = "WANT of a window that is open";
	if (xa_load(&rc->sink.windows, m.id))
		return -EPROTO;
	*why = "WANT when memory may not change any more";
	if (!ferry_sink_may_place(rc->ch.session))
		return -EPROTO;
	/* Dropped, and not closed yet. */
	ret = wait_unlocked(rc, rc->sink.pages + pages <= rc->sink.pinned_pages || !rc->sink.closing);
	if (!ret)
		ret = wait_unlocked(rc, rc->sq_free >= RDMA_WINDOW_WRS);
	*why = "WANT has more pages than all windows may have";
	if (!ret && rc->sink.pages + pages > rc->sink.pinned_pages)
		return -EPROTO;
	*why = NULL;
	if (!ret && rc->sq_free < RDMA_WINDOW_WRS)
		ret = -ETIMEDOUT;
	return ret ?: open_locked(rc, m.id, pages, body, m.nr_runs);
}

static void close_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct rdma_open *w = container_of(wc->wr_cqe, struct rdma_open, cqe);
	struct rdma_channel *rc = w->rc;

	mutex_lock(&rc->lock);
	if (wc->status == IB_WC_SUCCESS) {
		spare_locked(rc, w->mr);
	} else {
		rdma_broke(rc, wc->status == IB_WC_WR_FLUSH_ERR ? -EPIPE : -EREMOTEIO);
		ib_dereg_mr(w->mr);
	}
	rc->sink.pages -= w->nr_pages;
	rc->sink.closing--;
	rc->sq_free++;
	release_pages_of(w);
	mutex_unlock(&rc->lock);
	wake_up_all(&rc->wait);
}

int rdma_hear_drop_locked(struct rdma_channel *rc, const u8 *body, u32 len, const char **why)
{
	struct ib_send_wr wr = { .opcode = IB_WR_LOCAL_INV, .send_flags = IB_SEND_SIGNALED };
	struct rdma_open *w;
	u32 id;
	int ret;

	lockdep_assert_held(&rc->lock);
	if (ferry_rdma_get_number(body, len, FERRY_RDMA_MAX_WINDOW, &id, why))
		return -EPROTO;
	*why = "DROP of a window that is not open";
	w = xa_load(&rc->sink.windows, id);
	if (!w)
		return -EPROTO;
	*why = NULL;
	ret = wait_unlocked(rc, rc->sq_free >= RDMA_WINDOW_WRS);
	if (ret)
		return ret;
	wr.wr_cqe = &w->cqe;
	w->cqe.done = close_done;
	wr.ex.invalidate_rkey = w->mr->rkey;
	ret = ib_post_send(rc->id->qp, &wr, NULL);
	if (ret)
		return ret;
	xa_erase(&rc->sink.windows, id);
	rc->sq_free--;
	rc->sink.closing++;
	return 0;
}

void rdma_sink_free(struct rdma_channel *rc)
{
	struct rdma_spare *spare, *next;
	struct rdma_open *w;
	unsigned long id;

	lockdep_assert_held(&rc->lock);
	xa_for_each(&rc->sink.windows, id, w) {
		ib_dereg_mr(w->mr);
		rc->sink.pages -= w->nr_pages;
		release_pages_of(w);
	}
	xa_destroy(&rc->sink.windows);
	list_for_each_entry_safe(spare, next, &rc->sink.spare, node) {
		list_del(&spare->node);
		ib_dereg_mr(spare->mr);
		kfree(spare);
	}
}
