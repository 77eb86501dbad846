/* SPDX-License-Identifier: GPL-2.0-only */
/* What a session counts. Field meanings: struct kvm_ferry_stats. */
#ifndef FERRY_STATS_H
#define FERRY_STATS_H

#include <linux/atomic.h>
#include <linux/minmax.h>
#include <linux/types.h>

#include "plan.h"

struct ferry_session;
struct kvm_ferry_stats;

/*
 * Counters that several threads add to are atomic, those that only the
 * session's main task (source) or control task (sink) adds to are plain and
 * read by READ_ONCE().
 */
struct ferry_stats {
	atomic64_t transferred;
	atomic64_t normal;
	atomic64_t zero;
	atomic64_t hole;
	atomic64_t clear;
	atomic64_t extents;
	atomic64_t batches;
	atomic64_t spliced;
	atomic64_t pacing_ns;
	atomic64_t dirty_pages;		/* became dirty since START */
	atomic64_t pending;		/* published now */
	atomic64_t staged;		/* staged and not published now; about: ferry_dirty_staged() */
	atomic64_t again;		/* staged when their turn came */
	atomic64_t ring_full;
	atomic64_t ring_full_ns;
	atomic64_t throttle_ns;
	atomic64_t pinned;		/* pages, for RDMA */
	atomic64_t windows;

	u64 pinned_most;		/* pages; about: two channels may race */
	u64 acked;			/* of the data channels, in the last round */
	u64 queued;			/* in them then */
	u64 ring_entries;
	u64 ring_resets;
	u64 harvest_ns;
	u64 reset_ns;
	u64 state_bytes;
	u64 digest;
	u64 bookkeeping;
	u64 ram_total;			/* bytes of all regions */
	u64 downtime_ns;		/* once it is over */
	struct ferry_shortest trip;	/* round trips: light fences, echoes; control task only writes */
	u32 fences;			/* light ones; likewise */
	u64 round_ns;			/* of the last round that reset the rings */
	u64 working_set_at;		/* when the working set was begun anew */

	struct ferry_rate link_rate;	/* bytes a second */
	struct ferry_rate dirty_rate;	/* pages a second */
	u64 expected_downtime;
	u64 expected_ram;		/* its parts */
	u64 expected_trips;
	u64 expected_fixed;
	u64 predicted_downtime;		/* when FINAL was called; under state_lock */
	struct ferry_settle settle;
};

/* Pages that are dirty, as far as is known: both are about right, and may be below 0. */
static inline u64 ferry_stats_left(const struct ferry_stats *st)
{
	return max_t(s64, atomic64_read(&st->pending) + atomic64_read(&st->staged), 0);
}

/* Source, main task, as long as it runs the channels stay: looks at what they carry. */
void ferry_stats_channels(struct ferry_session *s);
void ferry_stats_init(struct ferry_session *s);
void ferry_stats_read(struct ferry_session *s, struct kvm_ferry_stats *out);

#endif /* FERRY_STATS_H */
