// SPDX-License-Identifier: GPL-2.0-only
/*
 * The source: windows. Which pages may be written, and where; asking for more,
 * and giving up what is oldest.
 */
#include <linux/slab.h>

#include "rdma.h"

/**
 * struct rdma_block - where the pages of a block of 2 MiB may be written
 * @used: entries of @slot that are not 0
 * @slot: for each page: window's id << 16 | its place in the window; 0: no window
 */
struct rdma_block {
	u32 used;
	u32 slot[FERRY_BLOCK_PAGES];
};

static unsigned long block_key(u32 region, u64 pfn)
{
	return (unsigned long)region << 40 | pfn / FERRY_BLOCK_PAGES;
}

u32 *rdma_slot_locked(struct rdma_channel *rc, u32 region, u64 pfn)
{
	struct rdma_block *b = xa_load(&rc->source.blocks, block_key(region, pfn));

	lockdep_assert_held(&rc->lock);
	return b ? &b->slot[pfn % FERRY_BLOCK_PAGES] : NULL;
}

static int set_slot(struct rdma_channel *rc, u32 region, u64 pfn, u32 slot)
{
	unsigned long key = block_key(region, pfn);
	struct rdma_block *b = xa_load(&rc->source.blocks, key);
	int ret;

	if (!b) {
		b = kzalloc(sizeof(*b), GFP_KERNEL_ACCOUNT);
		if (!b)
			return -ENOMEM;
		ret = xa_err(xa_store(&rc->source.blocks, key, b, GFP_KERNEL_ACCOUNT));
		if (ret) {
			kfree(b);
			return ret;
		}
	}
	b->used++;
	b->slot[pfn % FERRY_BLOCK_PAGES] = slot;
	return 0;
}

static void clear_slot(struct rdma_channel *rc, u32 region, u64 pfn)
{
	unsigned long key = block_key(region, pfn);
	struct rdma_block *b = xa_load(&rc->source.blocks, key);

	if (!b || !b->slot[pfn % FERRY_BLOCK_PAGES])
		return;
	b->slot[pfn % FERRY_BLOCK_PAGES] = 0;
	if (!--b->used) {
		xa_erase(&rc->source.blocks, key);
		kfree(b);
	}
}

static struct rdma_window *window_alloc_locked(struct rdma_channel *rc)
{
	struct rdma_window *w = kvzalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);

	lockdep_assert_held(&rc->lock);
	if (!w)
		return NULL;
	if (xa_alloc_cyclic(&rc->source.windows, &w->id, w, XA_LIMIT(1, FERRY_RDMA_MAX_WINDOW),
			    &rc->source.last_id, GFP_KERNEL_ACCOUNT) < 0) {
		kvfree(w);
		return NULL;
	}
	w->asked = ++rc->source.asked;
	list_add_tail(&w->node, &rc->source.fifo);
	rc->source.nr_windows++;
	return w;
}

/* The sink is told, or never heard of it. */
static void window_free_locked(struct rdma_channel *rc, struct rdma_window *w)
{
	u32 i, k;

	lockdep_assert_held(&rc->lock);
	for (i = 0; i < w->nr_runs; i++)
		for (k = 0; k < w->runs[i].nr_pages; k++)
			clear_slot(rc, w->runs[i].region, w->runs[i].pfn + k);
	rc->source.pages -= w->nr_pages;
	xa_erase(&rc->source.windows, w->id);
	list_del(&w->node);
	rc->source.nr_windows--;
	kvfree(w);
}

static int note_number_locked(struct rdma_channel *rc, u32 kind, u32 number)
{
	struct rdma_send *t = rdma_send_alloc(rc, kind, 8);

	lockdep_assert_held(&rc->lock);
	if (!t)
		return -ENOMEM;
	ferry_rdma_put_number(t->data + FERRY_RDMA_HEADER_LEN, number);
	list_add_tail(&t->node, &rc->notes);
	return 0;
}

static int note_want_locked(struct rdma_channel *rc, const struct rdma_window *w)
{
	struct ferry_rdma_window m = { .id = w->id, .nr_runs = w->nr_runs };
	struct rdma_send *t;
	u32 i;
	u8 *p;

	lockdep_assert_held(&rc->lock);
	t = rdma_send_alloc(rc, FERRY_RDMA_WANT,
			    FERRY_RDMA_WINDOW_LEN + w->nr_runs * FERRY_RDMA_RUN_LEN);
	if (!t)
		return -ENOMEM;
	p = t->data + FERRY_RDMA_HEADER_LEN;
	p += ferry_rdma_put_window(p, &m);
	for (i = 0; i < w->nr_runs; i++)
		p += ferry_rdma_put_run(p, &w->runs[i]);
	list_add_tail(&t->node, &rc->notes);
	return 0;
}

int rdma_evict_locked(struct rdma_channel *rc, u64 seq, u64 missing)
{
	lockdep_assert_held(&rc->lock);
	while (rc->source.pages + missing > rc->source.pinned_pages ||
	       rc->source.nr_windows > FERRY_RDMA_MAX_WINDOW - RDMA_BATCH_WINDOWS) {
		struct rdma_window *w = list_first_entry_or_null(&rc->source.fifo,
								 struct rdma_window, node);
		bool own = w && w->last_seq == seq;
		int ret;

		if (!w || w->asked > rc->source.granted ||
		    (own ? rc->source.posted_seq != seq - 1 : w->last_seq > rc->source.posted_seq))
			return -EBUSY;
		ret = note_number_locked(rc, FERRY_RDMA_DROP, w->id);
		if (ret)
			return ret;
		window_free_locked(rc, w);
		if (own)
			return -EAGAIN;
	}
	return 0;
}

u32 rdma_use_windows_locked(struct rdma_channel *rc, struct rdma_send *t)
{
	u32 i, k, missing = 0;

	lockdep_assert_held(&rc->lock);
	for (i = 0; i < t->nr_extents; i++) {
		const struct ferry_extent *e = &t->extents[i];

		for (k = 0; ferry_is_data(e) && k < e->nr_pages; k++) {
			u32 *slot = rdma_slot_locked(rc, e->region, e->pfn + k);
			struct rdma_window *w = slot && *slot ?
				xa_load(&rc->source.windows, *slot >> 16) : NULL;

			if (!w) {
				missing++;
				continue;
			}
			w->last_seq = t->seq;
			t->needs = max(t->needs, w->asked);
		}
	}
	return missing;
}

static void add_page(struct rdma_window *w, u32 region, u64 pfn)
{
	struct ferry_extent *e = w->nr_runs ? &w->runs[w->nr_runs - 1] : NULL;

	if (e && e->region == region && e->pfn + e->nr_pages == pfn)
		e->nr_pages++;
	else
		w->runs[w->nr_runs++] = (struct ferry_extent) {
			.pfn = pfn, .nr_pages = 1, .region = region, .kind = FERRY_EXTENT_DATA,
		};
	w->nr_pages++;
}

/* A window for page @pfn: the last of @w, or the first of a new one. */
static int want_page_locked(struct rdma_channel *rc, struct rdma_window **w, u32 region, u64 pfn)
{
	int ret = 0;

	lockdep_assert_held(&rc->lock);
	if (*w && ((*w)->nr_pages == rc->source.window_pages || (*w)->nr_runs == FERRY_RDMA_MAX_RUNS)) {
		ret = note_want_locked(rc, *w);
		*w = NULL;
	}
	if (!ret && !*w) {
		*w = window_alloc_locked(rc);
		if (!*w)
			return -ENOMEM;
	}
	if (!ret)
		ret = set_slot(rc, region, pfn, (*w)->id << 16 | (*w)->nr_pages);
	if (ret)
		return ret;
	add_page(*w, region, pfn);
	rc->source.pages++;
	return 0;
}

static bool has_slot_locked(struct rdma_channel *rc, u32 region, u64 pfn)
{
	const u32 *slot = rdma_slot_locked(rc, region, pfn);

	return slot && *slot;
}

int rdma_want_windows_locked(struct rdma_channel *rc, struct rdma_send *t)
{
	struct rdma_window *w = NULL;
	u32 i, k;
	int ret = 0;

	lockdep_assert_held(&rc->lock);
	for (i = 0; i < t->nr_extents && !ret; i++) {
		const struct ferry_extent *e = &t->extents[i];

		for (k = 0; ferry_is_data(e) && k < e->nr_pages && !ret; k++) {
			if (has_slot_locked(rc, e->region, e->pfn + k))
				continue;
			ret = want_page_locked(rc, &w, e->region, e->pfn + k);
			if (!ret) {
				w->last_seq = t->seq;
				t->needs = w->asked;
			}
		}
	}
	return !ret && w ? note_want_locked(rc, w) : ret;
}

/* The pages of a block that no window has. */
static int want_block_locked(struct rdma_channel *rc, struct rdma_window **w, u32 region, u64 block)
{
	u64 pfn = block * FERRY_BLOCK_PAGES;
	u64 end = min(pfn + FERRY_BLOCK_PAGES, rc->ch.session->regions[region]->nr_pages);
	int ret = 0;

	lockdep_assert_held(&rc->lock);
	for (; pfn < end && !ret; pfn++)
		if (!has_slot_locked(rc, region, pfn))
			ret = want_page_locked(rc, w, region, pfn);
	return ret;
}

int rdma_want_ahead_locked(struct rdma_channel *rc)
{
	struct ferry_session *s = rc->ch.session;
	u32 pages = rc->source.window_pages, room;
	struct rdma_window *w = NULL;
	int ret = 0;

	lockdep_assert_held(&rc->lock);
	if (ferry_session_state(s) < KVM_FERRY_STATE_LIVE)
		return 0;
	while (!ret && rc->source.ahead && rc->source.asked - rc->source.granted < RDMA_AHEAD) {
		u32 region = rc->source.ahead_region;
		u64 block = rc->source.ahead_block;

		/* What is left without one gets it when a batch needs it. */
		if (region == s->nr_regions || rc->source.nr_windows > FERRY_RDMA_MAX_WINDOW / 2) {
			rc->source.ahead = false;
			break;
		}
		if (block * FERRY_BLOCK_PAGES >= s->regions[region]->nr_pages) {
			rc->source.ahead_region++;
			rc->source.ahead_block = 0;
			continue;
		}
		rc->source.ahead_block++;
		if (!ferry_block_is_of(s, region, block, rc->ch.index))
			continue;
		ret = want_block_locked(rc, &w, region, block);
		room = w ? pages - w->nr_pages : pages;
		if (!ret && w && room < FERRY_BLOCK_PAGES) {
			ret = note_want_locked(rc, w);
			w = NULL;
		}
	}
	return !ret && w ? note_want_locked(rc, w) : ret;
}

bool rdma_clears_window_locked(struct rdma_channel *rc, const struct rdma_send *t)
{
	struct rdma_block *b;
	unsigned long key;
	u32 i;

	lockdep_assert_held(&rc->lock);
	for (i = 0; i < t->nr_extents; i++) {
		const struct ferry_extent *e = &t->extents[i];
		u64 end = e->pfn + e->nr_pages;

		if (ferry_is_data(e))
			continue;
		/* Only blocks with windows: a hole may be as large as the guest. */
		xa_for_each_range(&rc->source.blocks, key, b, block_key(e->region, e->pfn),
				  block_key(e->region, end - 1)) {
			u64 first = (key & (BIT_ULL(40) - 1)) * FERRY_BLOCK_PAGES;
			u64 pfn = max(first, e->pfn);

			for (; pfn < min(end, first + FERRY_BLOCK_PAGES); pfn++)
				if (b->slot[pfn - first])
					return true;
		}
	}
	return false;
}

bool rdma_granted_locked(struct rdma_channel *rc, const struct rdma_send *t)
{
	lockdep_assert_held(&rc->lock);
	/* They are granted in the order in which they were asked for. */
	return rc->source.granted >= t->needs;
}

int rdma_hear_grant_locked(struct rdma_channel *rc, const u8 *body, u32 len, const char **why)
{
	struct ferry_rdma_grant g;
	struct rdma_window *w;

	lockdep_assert_held(&rc->lock);
	if (ferry_rdma_get_grant(body, len, &g, why))
		return -EPROTO;
	w = xa_load(&rc->source.windows, g.id);
	if (!w || w->asked != rc->source.granted + 1) {
		*why = "GRANT of a window that was not asked for, or is not the next one";
		return -EPROTO;
	}
	w->rkey = g.rkey;
	w->addr = g.addr;
	rc->source.granted = w->asked;
	return 0;
}

void rdma_source_free(struct rdma_channel *rc)
{
	struct rdma_window *w, *next;
	struct rdma_block *b;
	unsigned long key;

	list_for_each_entry_safe(w, next, &rc->source.fifo, node) {
		list_del(&w->node);
		kvfree(w);
	}
	xa_for_each(&rc->source.blocks, key, b)
		kfree(b);
	xa_destroy(&rc->source.blocks);
	xa_destroy(&rc->source.windows);
}
