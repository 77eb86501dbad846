// SPDX-License-Identifier: GPL-2.0-only
/*
 * From harvested entries to pages that may be sent.
 *
 *   ring entry --harvest--> staged --rearm--> published --sender--> the wire
 *
 * A page is staged when its entry was taken, and published when a reset that
 * covers an entry of it has returned: from then on a write makes a new entry, so
 * whoever reads the page now has the old write, and will hear of the new one.
 * The main task alone harvests, rearms and publishes. Senders take published
 * bits *before* they read the page, so a bit that is set while they read stays.
 *
 * A pass gets what was held when it began in portions, the oldest first: a page
 * that was rearmed long before its turn may have to go twice.
 */
#include <linux/bitmap.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>

#include "bits.h"
#include "estimate.h"
#include "own.h"
#include "session.h"
#include "trace.h"

#define BLOCK_WORDS (FERRY_BLOCK_PAGES / BITS_PER_LONG)
/* A running VM fills its rings again while they are drained: that must end. */
#define DRAIN_ROUNDS 16
/* Bits that are set at once, between looks whether others want to run. */
#define PIECE_PAGES (1U << 20)

void ferry_dirty_init(struct ferry_session *s)
{
	struct ferry_dirty *d = &s->dirty;

	if (s->dirty_source == KVM_FERRY_DIRTY_RING)
		d->ops = &ferry_dirty_ring_ops;
	else
		d->ops = ferry_dirty_get() ?: &ferry_dirty_report_ops;
	mutex_init(&d->map_lock);
	xa_init(&d->slots);
	xa_init(&d->rings);
	d->interval_ns = FERRY_HARVEST_MAX_NS;
	ferry_brake_init(s);
}

void ferry_dirty_free(struct ferry_session *s)
{
	struct ferry_slot_map *map;
	unsigned long i;

	xa_for_each(&s->dirty.slots, i, map)
		kfree(map);
	xa_destroy(&s->dirty.slots);
	ferry_rings_free(s);
	ferry_brake_free(s);
	module_put(s->dirty.ops->owner);
}

/*
 * A page that is staged while it is published counts when a sender takes it, for
 * then it has to go once more. The main task sets the one bit and looks at the
 * other, a sender clears the other and looks at the one: where they meet, a
 * page may count not at all or twice, until all that is staged is published.
 */
void ferry_dirty_staged(struct ferry_session *s, struct ferry_region *r, u64 pages)
{
	if (!pages)
		return;
	atomic64_add(pages, &s->stats.staged);
	atomic64_add(pages, &s->stats.dirty_pages);
	atomic64_add(pages, &r->dirty_pages);
}

void ferry_dirty_again(struct ferry_session *s, struct ferry_region *r, u32 pages)
{
	if (!pages)
		return;
	atomic64_add(pages, &s->stats.again);
	ferry_dirty_staged(s, r, pages);
}

/* Whole regions are published too: a piece at a time. */
void ferry_dirty_publish(struct ferry_session *s, struct ferry_region *r, u64 first, u64 count)
{
	while (count) {
		u64 n = min_t(u64, count, PIECE_PAGES);

		u64 changed;

		ferry_bits_set(r->log, first, n);
		ferry_seen(r, first, n);
		changed = ferry_bits_set(r->published, first, n);
		atomic64_add(changed, &s->stats.pending);
		atomic64_add(changed, &s->stats.dirty_pages);
		atomic64_add(changed, &r->dirty_pages);
		first += n;
		count -= n;
		cond_resched();
	}
}
EXPORT_SYMBOL_NS_GPL(ferry_dirty_publish, FERRY_NS);

void ferry_dirty_put_back(struct ferry_session *s, struct ferry_region *r, u64 first, u64 count)
{
	atomic64_add(ferry_bits_set(r->published, first, count), &s->stats.pending);
}

void ferry_dirty_publish_all(struct ferry_session *s)
{
	u32 i;

	for (i = 0; i < s->nr_regions; i++) {
		struct ferry_region *r = s->regions[i];
		u64 first, n;

		for (first = 0; first < r->nr_pages; first += n) {
			n = min_t(u64, r->nr_pages - first, PIECE_PAGES);
			atomic64_add(ferry_bits_set(r->published, first, n), &s->stats.pending);
			cond_resched();
		}
	}
}

static void publish_block(struct ferry_session *s, struct ferry_region *r, u64 block)
{
	u64 word = block * BLOCK_WORDS;
	u64 words = min_t(u64, BLOCK_WORDS, BITS_TO_LONGS(r->nr_pages) - word);
	u64 i;

	for (i = word; i < word + words; i++) {
		unsigned long bits = r->staged[i];

		if (bits)
			atomic_long_or(bits, (atomic_long_t *)&r->log[i]);
	}
	atomic64_add(ferry_bits_move(r->published + word, r->staged + word, words),
		     &s->stats.pending);
}

static void publish_staged(struct ferry_session *s)
{
	u32 i;

	for (i = 0; i < s->nr_regions; i++) {
		struct ferry_region *r = s->regions[i];
		unsigned long block;

		for_each_set_bit(block, r->staged_blocks, r->nr_blocks) {
			__clear_bit(block, r->staged_blocks);
			publish_block(s, r, block);
		}
	}
	atomic64_set(&s->stats.staged, 0);
}

/*
 * What was rearmed of more: the page of each entry, staged or not. Until the reset
 * returned a vCPU may have written through its TLB, and nobody was told.
 */
static void publish_pages(struct ferry_session *s)
{
	struct ferry_dirty *d = &s->dirty;
	u64 pending = 0, staged = 0;
	u32 i;

	for (i = 0; i < d->nr_pages; i++) {
		struct ferry_region *r = d->pages[i].region;
		u64 pfn = d->pages[i].pfn, was_staged, is_new;

		/* Out of staged first: ferry_bits_move() says why. */
		was_staged = ferry_bits_clear(r->staged, pfn, 1);
		ferry_bits_set(r->log, pfn, 1);
		is_new = ferry_bits_set(r->published, pfn, 1);
		pending += is_new;
		staged += is_new & was_staged;
	}
	atomic64_add(pending, &s->stats.pending);
	atomic64_sub(staged, &s->stats.staged);
}

/* Pages come to their turn in vain, for they have been written again: rather not too many. */
static bool rearm_pays(struct ferry_session *s)
{
	struct ferry_dirty *d = &s->dirty;

	/* What comes in portions is rearmed just in time. */
	if (d->feeding || atomic64_read(&s->stats.pending) <= 0)
		return false;
	return ferry_plan_rearm_early(ferry_dirty_ready(d), atomic64_read(&s->stats.normal) - d->sent,
				      atomic64_read(&s->stats.again) - d->again);
}

/*
 * Pairs with ferry_dirty_more(): who sees that no portion is to come sees that this
 * one has, and who sees that sees its pages.
 */
static void tell_portion(struct ferry_session *s, u64 feed, u32 low)
{
	struct ferry_dirty *d = &s->dirty;

	d->feed = feed;
	WRITE_ONCE(d->low, feed ? low : 0);
	WRITE_ONCE(d->hungry, false);
	smp_store_release(&d->portion, d->portion + 1); /* after its pages */
	smp_store_release(&d->feeding, feed ? 1 : 0); /* after its number */
	wake_up_all(&s->wait);
}

static int rearm_and_publish(struct ferry_session *s, u64 most)
{
	struct ferry_dirty *d = &s->dirty;
	u64 held = d->held;
	int ret;

	/* Where some are spared it is pages that are published, and so many at a time. */
	do {
		ret = d->ops->rearm(s, most);
		if (ret)
			return ret;
		if (d->held)
			publish_pages(s);
		else
			publish_staged(s);
	} while (most == U64_MAX && ferry_dirty_ready(d));
	d->sent = atomic64_read(&s->stats.normal);
	d->again = atomic64_read(&s->stats.again);
	if (d->feed)
		tell_portion(s, ferry_dirty_ready(d) ? d->feed - min_t(u64, d->feed, held - d->held) : 0,
			     min_t(u64, most, FERRY_PORTION_MAX) / 2);
	return 0;
}

int ferry_dirty_feed(struct ferry_session *s)
{
	u64 most = ferry_plan_portion(READ_ONCE(s->stats.link_rate.value) / PAGE_SIZE);

	/* No last portion that is hardly one. */
	if (s->dirty.feed < most + most / 2)
		most = s->dirty.feed;
	return rearm_and_publish(s, most);
}

bool ferry_dirty_hungry(struct ferry_session *s)
{
	return s->dirty.feed && READ_ONCE(s->dirty.hungry);
}

void ferry_dirty_feed_end(struct ferry_session *s)
{
	if (s->dirty.feed)
		tell_portion(s, 0, 0);
}

void ferry_dirty_left(struct ferry_session *s, s64 pages)
{
	struct ferry_dirty *d = &s->dirty;

	if (pages >= (s64)READ_ONCE(d->low) || READ_ONCE(d->hungry))
		return;
	WRITE_ONCE(d->hungry, true);
	wake_up_all(&s->wait);
}

static bool feeding(struct ferry_dirty *d)
{
	return smp_load_acquire(&d->feeding); /* pairs with tell_portion() */
}

bool ferry_dirty_more(struct ferry_session *s, u32 *seen)
{
	struct ferry_dirty *d = &s->dirty;
	u32 now;

	if (feeding(d) && READ_ONCE(d->portion) == *seen) {
		WRITE_ONCE(d->hungry, true);
		wake_up_all(&s->wait);
		wait_event_idle(s->wait, !feeding(d) || READ_ONCE(d->portion) != *seen ||
				ferry_session_ended(s) || kthread_should_stop());
	}
	now = smp_load_acquire(&d->portion); /* pairs with tell_portion() */
	if (now == *seen)
		return false;
	*seen = now;
	return true;
}

/*
 * A session that measures has no senders: what is published is what its window has seen.
 * A page that is reported meanwhile belongs to the window before, or to the next.
 */
static void forget_published(struct ferry_session *s)
{
	u32 i;

	for (i = 0; i < s->nr_regions; i++) {
		struct ferry_region *r = s->regions[i];
		u64 first, n;

		for (first = 0; first < r->nr_pages; first += n) {
			n = min_t(u64, r->nr_pages - first, PIECE_PAGES);
			atomic64_sub(ferry_bits_clear(r->published, first, n), &s->stats.pending);
			cond_resched();
		}
	}
}

/* How many pages are staged and not published: no sender is at work. */
static void count_staged(struct ferry_session *s)
{
	u64 pages = 0;
	u32 i;

	for (i = 0; i < s->nr_regions; i++) {
		struct ferry_region *r = s->regions[i];
		unsigned long block, last = BITS_TO_LONGS(r->nr_pages), word;

		for_each_set_bit(block, r->staged_blocks, r->nr_blocks)
			for (word = block * BLOCK_WORDS; word < min_t(u64, last, (block + 1) * BLOCK_WORDS); word++)
				pages += hweight_long(r->staged[word] & ~READ_ONCE(r->published[word]));
	}
	atomic64_set(&s->stats.staged, pages);
}

int ferry_dirty_begin(struct ferry_session *s)
{
	struct ferry_dirty *d = &s->dirty;
	/*
	 * On the first pass everything is published, and what was harvested before
	 * START is not staged: its writes are known only as long as nothing was sent.
	 */
	long entries = ferry_dirty_round(s, !s->pass);

	if (entries < 0)
		return entries;
	if (!ferry_dirty_ready(d))
		return 0;
	count_staged(s);
	d->feed = ferry_dirty_ready(d);
	return ferry_dirty_feed(s);
}

/*
 * What was asked for is read before the harvest: what is asked for while it runs
 * waits for the next one. Who finds his rearm done by a round that did not know
 * his number yet waits for one more, which has nothing of his left to do.
 */
long ferry_dirty_round(struct ferry_session *s, bool rearm)
{
	struct ferry_dirty *d = &s->dirty;
	int sync = atomic_read_acquire(&d->sync_wanted);
	int wanted = atomic_xchg(&d->rearm_wanted, FERRY_REARM_NOTHING);
	u64 begin = ktime_get_ns();
	long entries;
	int ret;

	/*
	 * Who calls for it means all: on the first pass there are entries that are not staged,
	 * whose pages would be forgotten.
	 */
	d->whole = rearm || (wanted & FERRY_REARM_ALL) == FERRY_REARM_ALL;
	if (wanted)
		rearm = true;
	mutex_lock(&d->map_lock);
	entries = d->ops->harvest(s);
	mutex_unlock(&d->map_lock);
	if (entries < 0)
		return entries;
	/* What a new ring held before it came takes of its room, and nobody has counted it. */
	if (READ_ONCE(d->fresh) || ((rearm || d->pressed || rearm_pays(s)) && ferry_dirty_ready(d))) {
		ret = rearm_and_publish(s, U64_MAX);
		if (ret)
			return ret;
		s->stats.round_ns = ktime_get_ns() - begin;
	}
	if (wanted == FERRY_REARM_WINDOW)
		forget_published(s);
	d->whole = false;
	d->harvested_at = ktime_get_ns();
	d->sync_entries = entries;
	ferry_stats_channels(s);
	/* Pairs with ferry_dirty_sync(): what it waits for is published. */
	smp_store_release(&d->sync_done, sync);
	wake_up_all(&s->wait);
	return entries;
}

/* After FINAL the main task makes rounds of its own accord only. */
static bool rounds_go_on(struct ferry_session *s)
{
	return ferry_session_state(s) < KVM_FERRY_STATE_FINAL;
}

int ferry_dirty_sync(struct ferry_session *s, enum ferry_rearm rearm, u64 *entries,
		     struct ferry_reason *why)
{
	struct ferry_dirty *d = &s->dirty;
	int want;

	if (ferry_session_ended(s))
		return ferry_because(why, -ESHUTDOWN, "the session has ended");
	if (!rounds_go_on(s))
		return ferry_because(why, -EBUSY, "the guest is paused: its rings are empty and stay so");
	if (rearm)
		atomic_or(rearm, &d->rearm_wanted);
	/* Orders the two: whoever sees the number sees the wish. */
	want = atomic_inc_return(&d->sync_wanted);
	wake_up_all(&s->wait);
	/* Pairs with ferry_dirty_round(). */
	if (wait_event_interruptible(s->wait, smp_load_acquire(&d->sync_done) - want >= 0 ||
				     !rounds_go_on(s)))
		return ferry_because(why, -EINTR, "a signal came");
	if (d->sync_done - want < 0 && ferry_session_ended(s))
		return ferry_because(why, -ESHUTDOWN, "the session has ended");
	if (d->sync_done - want < 0)
		return ferry_because(why, -EBUSY, "the guest was paused meanwhile");
	if (entries)
		*entries = d->sync_entries;
	return 0;
}

/*
 * The session has ended: hand the rings back empty. What the entries say does
 * not matter any more, and neither do errors: the VMM may have exited.
 */
void ferry_dirty_drain(struct ferry_session *s)
{
	struct ferry_dirty *d = &s->dirty;
	int i;

	for (i = 0; i < DRAIN_ROUNDS; i++) {
		long entries;

		mutex_lock(&d->map_lock);
		entries = d->ops->harvest(s);
		mutex_unlock(&d->map_lock);
		if (entries <= 0 && !d->held)
			break;
		if (d->ops->rearm(s, U64_MAX))
			break;
	}
	d->ops->stop(s);
	complete_all(&s->drained);
	wake_up_all(&s->wait);
}
