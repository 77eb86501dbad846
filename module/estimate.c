// SPDX-License-Identifier: GPL-2.0-only
/*
 * Estimates: which pages the guest writes, and what pausing it would cost.
 *
 * The downtime is predicted from its parts. Beside the pages that are left these
 * are what was measured on the way: a fence's round trip, a reset of the rings;
 * and what only the VMM can know, its own state.
 */
#include <linux/ktime.h>
#include <linux/slab.h>

#include "estimate.h"
#include "limits.h"
#include "session.h"

#define WORKING_SET_NS	(10ULL * NSEC_PER_SEC)
/* A fence and its answer, the state and READY, COMMIT and its answer. */
#define ROUND_TRIPS	3
/* The rings are emptied before the final pass, and looked at behind it. */
#define ROUNDS		2

void ferry_seen(struct ferry_region *r, u64 first, u64 count)
{
	u64 group, last = (first + count - 1) / FERRY_SEEN_PAGES;

	for (group = first / FERRY_SEEN_PAGES; group <= last; group++) {
		u64 pfn = group * FERRY_SEEN_PAGES + ferry_seen_one(group);

		if (pfn < first || pfn - first >= count || test_bit(group, r->seen))
			continue;
		if (!test_and_set_bit(group, r->seen))
			atomic64_inc(&r->nr_seen);
	}
}

static u64 working_set(const struct ferry_region *r)
{
	u64 now = atomic64_read(&r->nr_seen) * FERRY_SEEN_PAGES;

	return min(max(now, READ_ONCE(r->working_set)), r->nr_pages);
}

/* What is set meanwhile may get lost, or count for the next 10 seconds: it is an estimate. */
static void begin_working_set(struct ferry_region *r)
{
	unsigned long i, words = BITS_TO_LONGS(DIV_ROUND_UP_ULL(r->nr_pages, FERRY_SEEN_PAGES));

	WRITE_ONCE(r->working_set, atomic64_read(&r->nr_seen) * FERRY_SEEN_PAGES);
	atomic64_set(&r->nr_seen, 0);
	for (i = 0; i < words; i++) {
		if (READ_ONCE(r->seen[i]))
			WRITE_ONCE(r->seen[i], 0);
		if (!(i % (1 << 16)))
			cond_resched();
	}
}

void ferry_estimate_sample(struct ferry_session *s, u64 ns)
{
	u64 now = ktime_get_ns();
	bool anew = now >= s->stats.working_set_at + WORKING_SET_NS;
	u32 i;

	for (i = 0; i < s->nr_regions; i++) {
		struct ferry_region *r = s->regions[i];
		u64 dirty = atomic64_read(&r->dirty_pages);

		ferry_rate_add(&r->dirty_rate, dirty - r->sampled_pages, ns);
		r->sampled_pages = dirty;
		if (anew)
			begin_working_set(r);
	}
	if (anew)
		s->stats.working_set_at = now;
}

void ferry_estimate_downtime(struct ferry_session *s)
{
	struct ferry_stats *st = &s->stats;
	u64 bytes = ferry_stats_left(st) * PAGE_SIZE + st->queued, rate = READ_ONCE(st->link_rate.value);
	u64 trip = READ_ONCE(st->trip.value), trips = trip == FERRY_PLAN_UNKNOWN ? 0 : ROUND_TRIPS * trip;
	u64 fixed = ROUNDS * st->round_ns;
	u64 state = READ_ONCE(s->state_time_ns), ram = 0, all;

	/* What the final pass may take, if that is less than the link carries. */
	if (rate != FERRY_PLAN_UNKNOWN)
		rate = min(rate, ferry_final_rate(s));
	/* Without a page left it does not matter. */
	if (bytes)
		ram = ferry_plan_downtime(bytes, rate, 0);
	all = ram == FERRY_PLAN_UNKNOWN ? ram : ferry_plan_sum(ram, trips + fixed + state);
	WRITE_ONCE(st->expected_ram, ram == FERRY_PLAN_UNKNOWN ? 0 : ram);
	WRITE_ONCE(st->expected_trips, trips);
	WRITE_ONCE(st->expected_fixed, fixed);
	WRITE_ONCE(st->expected_downtime, all);
}

bool ferry_estimate_fits(struct ferry_session *s)
{
	return ferry_plan_converged(s->stats.expected_downtime, READ_ONCE(s->downtime_limit_ns));
}

bool ferry_estimate_pass(struct ferry_session *s)
{
	struct ferry_stats *st = &s->stats;
	bool fits = ferry_estimate_fits(s);

	ferry_brake_pass(s, ferry_stats_left(st), fits);
	return ferry_plan_settle(&st->settle, fits, s->dirty.brake.stalled, st->expected_ram,
				 st->expected_downtime - st->expected_ram);
}

static u64 between(ktime_t from, ktime_t to, ktime_t end)
{
	return from && (to || end) ? ktime_to_ns(ktime_sub(to ?: end, from)) : 0;
}

void ferry_estimate_read(struct ferry_session *s, struct kvm_ferry_stats *o)
{
	struct ferry_stats *st = &s->stats;
	ktime_t end;
	u32 i;

	o->out_expected_ram_ns = READ_ONCE(st->expected_ram);
	o->out_expected_trips_ns = READ_ONCE(st->expected_trips);
	o->out_expected_fixed_ns = READ_ONCE(st->expected_fixed);
	o->out_expected_state_ns = READ_ONCE(s->state_time_ns);
	o->out_stalled_passes = READ_ONCE(s->dirty.brake.stall.passes);
	spin_lock(&s->state_lock);
	end = s->ended_at ?: ktime_get();
	o->out_predicted_downtime_ns = st->predicted_downtime;
	if (ferry_session_is_source(s)) {
		o->out_downtime_ram_ns = between(s->final_at, s->placed_at, end);
		o->out_downtime_state_ns = between(s->placed_at, s->ready_at, end);
		o->out_downtime_commit_ns = between(s->ready_at, s->ended_at, end);
	}
	spin_unlock(&s->state_lock);
	/* An operator may be here when the session is closed: ferry_regions_free(). */
	mutex_lock(&s->setup_lock);
	for (i = 0; i < s->nr_regions; i++)
		o->out_working_set += working_set(s->regions[i]) * PAGE_SIZE;
	mutex_unlock(&s->setup_lock);
}

int ferry_region_stats(struct ferry_session *s, struct kvm_ferry_region_stats *arg,
		       struct ferry_reason *why)
{
	struct ferry_region *r;
	u64 rate;

	if (ferry_session_state(s) == KVM_FERRY_STATE_SETUP)
		return ferry_because(why, -EBUSY, "the session is not started: its regions are still being added");
	mutex_lock(&s->setup_lock);
	if (arg->index >= s->nr_regions) {
		mutex_unlock(&s->setup_lock);
		return ferry_because(why, -ENOENT, "there are no more regions");
	}
	r = s->regions[arg->index];
	arg->out_region_id = r->id;
	arg->out_pages = r->nr_pages;
	memcpy(arg->out_name, r->name, sizeof(arg->out_name));
	if (ferry_session_is_source(s)) {
		rate = READ_ONCE(r->dirty_rate.value);
		arg->out_dirty_pages = atomic64_read(&r->dirty_pages);
		arg->out_dirty_rate = rate == FERRY_PLAN_UNKNOWN ? 0 : rate;
		arg->out_working_set = working_set(r);
	}
	mutex_unlock(&s->setup_lock);
	return 0;
}
