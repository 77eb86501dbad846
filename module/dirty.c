// SPDX-License-Identifier: GPL-2.0-only
/*
 * From harvested entries to pages that may be sent.
 *
 *   ring entry --harvest--> staged --rearm--> published --sender--> the wire
 *
 * A page is staged when its entry was taken, and published when the reset that
 * covers the entry has returned: from then on a write makes a new entry, so
 * whoever reads the page now has the old write, and will hear of the new one.
 * The main task alone harvests, rearms and publishes. Senders take published
 * bits *before* they read the page, so a bit that is set while they read stays.
 */
#include <linux/bitmap.h>
#include <linux/ktime.h>

#include "bits.h"
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

	d->ops = s->dirty_source == KVM_FERRY_DIRTY_RING ? &ferry_dirty_ring_ops :
							   &ferry_dirty_report_ops;
	mutex_init(&d->map_lock);
	xa_init(&d->slots);
	xa_init(&d->rings);
	d->interval_ns = FERRY_HARVEST_MAX_NS;
}

void ferry_dirty_free(struct ferry_session *s)
{
	struct ferry_slot_map *map;
	unsigned long i;

	xa_for_each(&s->dirty.slots, i, map)
		kfree(map);
	xa_destroy(&s->dirty.slots);
	ferry_rings_free(s);
}

static void count_published(struct ferry_session *s, u64 pages)
{
	atomic64_add(pages, &s->stats.pending);
	atomic64_add(pages, &s->stats.dirty_pages);
}

/* Whole regions are published too: a piece at a time. */
void ferry_dirty_publish(struct ferry_session *s, struct ferry_region *r, u64 first, u64 count)
{
	while (count) {
		u64 n = min_t(u64, count, PIECE_PAGES);

		ferry_bits_set(r->log, first, n);
		count_published(s, ferry_bits_set(r->published, first, n));
		first += n;
		count -= n;
		cond_resched();
	}
}

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
	count_published(s, ferry_bits_move(r->published + word, r->staged + word, words));
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
	WRITE_ONCE(s->stats.staged, 0);
}

/*
 * The sync numbers are read before the harvest: what was asked for while it ran
 * waits for the next one.
 */
long ferry_dirty_round(struct ferry_session *s)
{
	struct ferry_dirty *d = &s->dirty;
	int sync = atomic_read(&d->sync_wanted);
	long entries;
	int ret;

	mutex_lock(&d->map_lock);
	entries = d->ops->harvest(s);
	mutex_unlock(&d->map_lock);
	if (entries < 0)
		return entries;
	if (entries || d->fresh) {
		ret = d->ops->rearm(s);
		if (ret)
			return ret;
		publish_staged(s);
	}
	d->harvested_at = ktime_get_ns();
	d->sync_entries = entries;
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

int ferry_dirty_sync(struct ferry_session *s, u64 *entries, struct ferry_reason *why)
{
	struct ferry_dirty *d = &s->dirty;
	int want;

	if (ferry_session_ended(s))
		return ferry_because(why, -ESHUTDOWN, "the session has ended");
	if (!rounds_go_on(s))
		return ferry_because(why, -EBUSY, "the guest is paused: its rings are empty and stay so");
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
		if (entries <= 0 && !d->marked)
			break;
		if (d->ops->rearm(s))
			break;
	}
	d->ops->stop(s);
	complete_all(&s->drained);
	wake_up_all(&s->wait);
}
