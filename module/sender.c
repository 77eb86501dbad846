// SPDX-License-Identifier: GPL-2.0-only
/*
 * Senders: one task a data channel sweeps its blocks of the published bitmaps.
 *
 * A 2 MiB block always belongs to the same channel, so a page's versions travel
 * in order. A sender takes bits, then gets the pages' references, then sends:
 * a write after the bits were taken sets them again. What could not be sent is
 * put back, though the session is over then.
 */
#include <linux/bitmap.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "bits.h"
#include "control.h"
#include "limits.h"
#include "pages.h"
#include "session.h"
#include "source.h"
#include "trace.h"

#define BATCH_PAGES	512	/* 2 MiB: a block, and the most that the wire allows */
#define LOOKAHEAD	64	/* pages got at once: one word of the bitmap */
/* A run this long is worth asking for a hole before the pages are asked for. */
#define HOLE_RUN	32
/* What the wire allows a ZERO extent; a DATA extent is bounded by the batch. */
#define MAX_EXTENT_PAGES (1U << 30)
/* A fence behind no more than this measures the round trip, not the queue. */
#define LIGHT_BYTES	(128 << 10)

/**
 * struct send_batch - a batch being filled
 * @s: the session
 * @ch: its channel
 * @entered: the VMM's mm is in use
 * @limit: pages that it may take, so that pacing is not coarse
 * @bytes: page data sent in this pass
 * @nr_extents: in @extents
 * @nr_pages: in @pages
 * @extents: in the order of their data
 * @pages: references held
 * @bv: the same, for the transport
 */
struct send_batch {
	struct ferry_session *s;
	struct ferry_channel *ch;
	bool entered;
	u32 limit;
	u64 bytes;
	u32 nr_extents;
	u32 nr_pages;
	struct ferry_extent extents[FERRY_WIRE_MAX_EXTENTS];
	struct page *pages[BATCH_PAGES];
	struct bio_vec bv[BATCH_PAGES];
};

static int enter(struct send_batch *b)
{
	if (b->entered)
		return 0;
	if (!ferry_mm_enter(b->s)) {
		ferry_session_fail(b->s, -ESRCH, "the VMM has exited");
		return -ESRCH;
	}
	b->entered = true;
	return 0;
}

static void leave(struct send_batch *b)
{
	if (b->entered)
		ferry_mm_leave(b->s);
	b->entered = false;
}

/*
 * Physically contiguous pages of one compound page go as one piece: whoever
 * takes a reference of its first page holds the whole.
 */
static u32 fill_bvec(struct send_batch *b)
{
	u32 i, nr = 0;

	for (i = 0; i < b->nr_pages; i++) {
		struct page *page = b->pages[i];
		struct bio_vec *last = nr ? &b->bv[nr - 1] : NULL;

		if (last && compound_head(page) == compound_head(last->bv_page) &&
		    page_to_pfn(page) == page_to_pfn(last->bv_page) + (last->bv_len >> PAGE_SHIFT))
			last->bv_len += PAGE_SIZE;
		else
			bvec_set_page(&b->bv[nr++], page, PAGE_SIZE, 0);
	}
	return nr;
}

static void count_batch(struct send_batch *b, size_t head)
{
	struct ferry_stats *st = &b->s->stats;
	u64 zero = 0;
	u32 i;

	for (i = 0; i < b->nr_extents; i++)
		if (b->extents[i].kind == FERRY_EXTENT_ZERO)
			zero += b->extents[i].nr_pages;
	atomic64_add(head + b->nr_pages * PAGE_SIZE, &st->transferred);
	atomic64_add(b->nr_pages, &st->normal);
	atomic64_add(zero, &st->zero);
	atomic64_add(b->nr_extents, &st->extents);
	atomic64_inc(&st->batches);
}

static void put_back(struct send_batch *b)
{
	u32 i;

	for (i = 0; i < b->nr_extents; i++) {
		const struct ferry_extent *e = &b->extents[i];

		ferry_dirty_put_back(b->s, b->s->regions[e->region], e->pfn, e->nr_pages);
	}
}

static u32 batch_limit(struct ferry_session *s)
{
	u64 rate = ferry_send_rate(s), pages = BATCH_PAGES;

	/* A batch that waits for the socket is a part of what waits for the link. */
	pages = min(pages, ferry_queue_bytes(s) / 2 / PAGE_SIZE);
	/* At most 20 ms of the limit at once. */
	return rate ? clamp_t(u64, rate / 50 / PAGE_SIZE, 1, pages) : pages;
}

/* Sends what is there. The references go when the transport has its own. */
static int flush(struct send_batch *b)
{
	struct ferry_channel *ch = b->ch;
	struct ferry_msg_batch m = { .nr_extents = b->nr_extents, .pass = READ_ONCE(b->s->pass) };
	u8 *body = ch->tx_buf + FERRY_WIRE_HEADER_LEN;
	size_t len, bytes = b->nr_pages * PAGE_SIZE;
	int before = 0, after = 0, ret;
	u32 i, nr;

	leave(b);
	if (!b->nr_extents)
		return 0;
	len = ferry_wire_put_batch(body, &m);
	for (i = 0; i < b->nr_extents; i++)
		len += ferry_wire_put_extent(body + len, &b->extents[i]);
	ferry_pace_wait(b->s, FERRY_WIRE_HEADER_LEN + len + bytes);
	nr = fill_bvec(b);
	if (b->nr_pages)
		before = page_ref_count(compound_head(b->pages[0]));
	ch->tx_extents = b->extents;
	ch->nr_tx_extents = b->nr_extents;
	ret = ferry_msg_send_locked(ch, FERRY_MSG_BATCH, len, b->bv, nr, bytes);
	ch->tx_extents = NULL;
	ch->nr_tx_extents = 0;
	if (b->nr_pages)
		after = page_ref_count(compound_head(b->pages[0]));
	trace_ferry_batch(b->s->id, ch->index, m.pass, b->nr_extents, b->nr_pages, before, after);
	if (ret) {
		put_back(b);
		ferry_channel_broke(ch, ret, "sent to");
	} else {
		if (after > before)
			atomic64_inc(&b->s->stats.spliced);
		count_batch(b, FERRY_WIRE_HEADER_LEN + len);
	}
	ferry_pages_put(b->pages, b->nr_pages);
	b->bytes += bytes;
	b->nr_extents = 0;
	b->nr_pages = 0;
	b->limit = batch_limit(b->s);
	return ret;
}

/* Appends pages to the last extent, or begins one. There is room. */
static void add_extent(struct send_batch *b, const struct ferry_region *r, u64 pfn, u32 count,
		       u16 kind)
{
	struct ferry_extent *e = b->nr_extents ? &b->extents[b->nr_extents - 1] : NULL;

	if (e && e->kind == kind && e->region == r->index && e->pfn + e->nr_pages == pfn &&
	    e->nr_pages + count <= MAX_EXTENT_PAGES) {
		e->nr_pages += count;
		return;
	}
	b->extents[b->nr_extents++] = (struct ferry_extent) {
		.pfn = pfn, .nr_pages = count, .region = r->index, .kind = kind,
	};
}

static bool full(const struct send_batch *b)
{
	return b->nr_pages >= b->limit || b->nr_extents == FERRY_WIRE_MAX_EXTENTS;
}

/* Hands got pages to the batch; each reference is the batch's, or dropped. */
static int batch_pages(struct send_batch *b, struct ferry_region *r, u64 pfn, struct page **pages,
		     u32 count)
{
	u32 i;
	int ret = 0;

	for (i = 0; i < count; i++) {
		bool hole = !pages[i];

		if (full(b)) {
			ret = flush(b);
			if (ret)
				break;
		}
		if (hole || ferry_page_is_zero(pages[i])) {
			add_extent(b, r, pfn + i, 1, FERRY_EXTENT_ZERO);
			if (hole)
				atomic64_inc(&b->s->stats.hole);
			else
				put_page(pages[i]);
		} else {
			add_extent(b, r, pfn + i, 1, FERRY_EXTENT_DATA);
			b->pages[b->nr_pages++] = pages[i];
		}
	}
	if (ret) {
		ferry_pages_put(pages + i, count - i);
		ferry_dirty_put_back(b->s, r, pfn + i, count - i);
	}
	return ret;
}

static int cannot_read(struct send_batch *b, struct ferry_region *r, u64 pfn, u32 count, int error)
{
	ferry_dirty_put_back(b->s, r, pfn, count);
	ferry_session_fail(b->s, error == -EHWPOISON ? -EIO : -EFAULT,
			   error == -EHWPOISON ?
			   "region '%s' has a page at 0x%llx that the hardware found broken (%d)" :
			   "region '%s' cannot be read at 0x%llx (%d): it must stay mapped until the session ends",
			   r->name, pfn * PAGE_SIZE, error);
	return error;
}

/* A run of taken pages, at most LOOKAHEAD. */
static int send_run(struct send_batch *b, struct ferry_region *r, u64 pfn, u32 count)
{
	struct page *pages[LOOKAHEAD];
	int ret = enter(b);

	if (!ret) {
		ret = ferry_pages_get(b->s, r, pfn, count, pages);
		if (ret)
			return cannot_read(b, r, pfn, count, ret);
		return batch_pages(b, r, pfn, pages, count);
	}
	ferry_dirty_put_back(b->s, r, pfn, count);
	return ret;
}

/* All of a block is published, as on the first pass: most may be one hole. */
static int send_hole(struct send_batch *b, struct ferry_region *r, u64 pfn, u64 count, u64 *skipped)
{
	u64 taken;
	s64 hole;
	int ret;

	*skipped = 0;
	ret = full(b) ? flush(b) : 0;
	if (!ret)
		ret = enter(b);
	if (ret)
		return ret;
	hole = ferry_pages_hole(b->s, r, pfn, count);
	if (hole < HOLE_RUN)
		return hole < 0 ? cannot_read(b, r, pfn, 0, hole) : 0;
	/*
	 * Take the bits, then look again: what was allocated and written between
	 * the first look and the taking is no hole any more.
	 */
	taken = ferry_bits_clear(r->published, pfn, hole);
	atomic64_sub(taken, &b->s->stats.pending);
	if (ferry_pages_hole(b->s, r, pfn, hole) < hole) {
		ferry_dirty_put_back(b->s, r, pfn, hole);
		return 0;
	}
	add_extent(b, r, pfn, hole, FERRY_EXTENT_ZERO);
	atomic64_add(hole, &b->s->stats.hole);
	*skipped = hole;
	return 0;
}

/*
 * Pages that were written since they were published will be published once more, and do
 * not go now. The bits are taken before it is asked whether they are staged: a page leaves
 * staged before it is published (ferry_bits_move()), so one that was taken, and is
 * staged, has being published still before it. Asked the other way round, both could be over.
 */
static int send_word(struct send_batch *b, struct ferry_region *r, u64 pfn)
{
	u32 count = min_t(u64, BITS_PER_LONG, r->nr_pages - pfn);
	u64 word = ferry_bits_take(r->published, pfn, count), again;
	int ret = 0;

	ferry_dirty_left(b->s, atomic64_sub_return(hweight64(word), &b->s->stats.pending));
	again = word & READ_ONCE(r->staged[pfn / BITS_PER_LONG]);
	ferry_dirty_again(b->s, r, hweight64(again));
	if (!ferry_order_plain(b->s->order))
		word &= ~again;
	while (word) {
		u32 at = __ffs64(word);
		u32 run = ~(word >> at) ? __ffs64(~(word >> at)) : BITS_PER_LONG;

		run = min_t(u32, run, BITS_PER_LONG - at);
		word &= ~(GENMASK_ULL(run - 1, 0) << at);
		if (ret)
			ferry_dirty_put_back(b->s, r, pfn + at, run);
		else
			ret = send_run(b, r, pfn + at, run);
	}
	return ret;
}

static int send_block(struct send_batch *b, struct ferry_region *r, u64 block)
{
	u64 pfn = block * FERRY_BLOCK_PAGES, end = min(pfn + FERRY_BLOCK_PAGES, r->nr_pages);
	int ret = 0;

	while (pfn < end && !ret) {
		u64 skipped = 0;

		pfn = find_next_bit(r->published, end, pfn);
		if (pfn >= end)
			break;
		if (find_next_zero_bit(r->published, end, pfn) - pfn >= HOLE_RUN)
			ret = send_hole(b, r, pfn, end - pfn, &skipped);
		/*
		 * The word may begin in a hole that was just told: a page that was
		 * filled since comes as DATA behind its ZERO, which is the order in
		 * which the sink takes the two kinds of a batch. Never the reverse.
		 */
		if (!ret && !skipped) {
			pfn = round_down(pfn, BITS_PER_LONG);
			ret = send_word(b, r, pfn);
			skipped = BITS_PER_LONG;
		}
		pfn += skipped;
	}
	return ret;
}

/*
 * An order may come to a block twice. In one batch a page must not be DATA and then
 * ZERO: the sink takes what is zero first.
 */
static int send_block_again(struct send_batch *b, struct ferry_region *r, u64 block)
{
	u64 first = block * FERRY_BLOCK_PAGES;
	u32 i;
	int ret;

	for (i = 0; i < b->nr_extents; i++) {
		const struct ferry_extent *e = &b->extents[i];

		if (e->region == r->index && e->pfn < first + FERRY_BLOCK_PAGES &&
		    e->pfn + e->nr_pages > first) {
			ret = flush(b);
			if (ret)
				return ret;
			break;
		}
	}
	return send_block(b, r, block);
}

static int sweep(struct send_batch *b)
{
	struct ferry_session *s = b->s;
	struct ferry_walk w;
	int ret = 0;

	ferry_walk_begin(&w, s->regions, s->nr_regions, s->order);
	while (!ret && !ferry_session_ended(s) && ferry_walk_next(&w)) {
		struct ferry_region *r = s->regions[w.region];

		if (ferry_block_is_of(s, w.region, w.block, b->ch->index))
			ret = s->order ? send_block_again(b, r, w.block) : send_block(b, r, w.block);
		cond_resched();
	}
	return ret ? ret : flush(b);
}

static int send_fence(struct ferry_channel *ch, u32 pass, u64 bytes)
{
	struct ferry_msg_pass m = { .pass = pass };
	size_t len = ferry_wire_put_pass(ch->tx_buf + FERRY_WIRE_HEADER_LEN, &m);
	int ret;

	/* Before it is sent: the acknowledgement may be here at once. */
	WRITE_ONCE(ch->fence_light, bytes <= LIGHT_BYTES);
	WRITE_ONCE(ch->fence_at, ktime_get_ns());
	WRITE_ONCE(ch->tx_pass, pass);
	ret = ferry_msg_send_locked(ch, FERRY_MSG_FENCE, len, NULL, 0, 0);
	if (ret)
		ferry_channel_broke(ch, ret, "sent to");
	else
		trace_ferry_fence(ch->session->id, ch->index, pass, false);
	return ret;
}

/*
 * A channel that has to be connected, or the one that it falls back to; NULL: the
 * session has ended.
 */
static struct ferry_channel *get_connected(struct ferry_channel *ch)
{
	struct ferry_session *s = ch->session;
	struct ferry_reason why = {};

	if (!ch->ops->connect)
		return ch;
	/* Pairs with connect() in source.c. */
	wait_event_idle(s->wait, smp_load_acquire(&s->hello_seen) || ferry_session_ended(s) ||
			kthread_should_stop());
	if (ferry_session_ended(s) || kthread_should_stop())
		return NULL;
	if (ch->ops->connect(ch, &why))
		ch = ferry_channel_fall_back(ch, &why);
	else
		WRITE_ONCE(ch->tentative, false);
	return ch && !ferry_source_show_token(ch) ? ch : NULL;
}

int ferry_sender(void *channel)
{
	struct ferry_channel *ch = channel;
	struct ferry_session *s = ch->session;
	struct send_batch *b = kvzalloc(sizeof(*b), GFP_KERNEL_ACCOUNT);
	int ret = 0;

	if (!b) {
		ferry_session_fail(s, -ENOMEM, "no memory for batches");
		ret = -ENOMEM;
	} else {
		ch = get_connected(ch);
		b->s = s;
		b->ch = ch;
		ret = ch ? 0 : -ENOTCONN;
	}
	while (!ret) {
		u32 pass, portion;

		/* Pairs with ferry_session_pass(). */
		wait_event_idle(s->wait, smp_load_acquire(&s->pass) != ch->tx_pass ||
				ferry_session_ended(s) || kthread_should_stop());
		if (ferry_session_ended(s) || kthread_should_stop())
			break;
		pass = READ_ONCE(s->pass);
		b->bytes = 0;
		/* A limit may have been set since the last batch. */
		b->limit = batch_limit(s);
		portion = smp_load_acquire(&s->dirty.portion); /* pairs with tell_portion() */
		do {
			ret = sweep(b);
		} while (!ret && ferry_dirty_more(s, &portion));
		if (!ret && !ferry_session_ended(s))
			ret = send_fence(ch, pass, b->bytes);
	}
	if (b) {
		leave(b);
		put_back(b);
		ferry_pages_put(b->pages, b->nr_pages);
	}
	kvfree(b);
	ferry_thread_rest();
	return 0;
}
