/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Planning and estimation: rates, predicted downtime, harvest interval, pacing.
 * Pure: memory and arithmetic on what the caller measured. Times are in
 * nanoseconds, rates in units a second, all integers; nothing overflows for
 * inputs up to 2^52 bytes and 2^52 ns (48 days), and nothing divides by zero.
 */
#ifndef FERRY_PLAN_H
#define FERRY_PLAN_H

#include <linux/types.h>

#define FERRY_PLAN_UNKNOWN	(~0ULL)

/**
 * struct ferry_rate - a rate as an exponentially weighted average
 * @value: units a second, FERRY_PLAN_UNKNOWN before the first sample
 * @fraction: what @value leaves out, in 2^-16 units; for ferry_rate_add() only
 *
 * A sample that covers t ns weighs t / (t + 500 ms): one that is long all but
 * replaces the average, many short ones move it about as far as a long one of
 * their length would. The first sample is the average.
 */
struct ferry_rate {
	u64 value;
	u64 fraction;
};

void ferry_rate_init(struct ferry_rate *r);
/* @units in @ns; a sample of 0 ns is ignored. */
void ferry_rate_add(struct ferry_rate *r, u64 units, u64 ns);

/**
 * ferry_plan_downtime - predict the downtime if the guest were paused now
 * @remaining: bytes that are dirty
 * @link_rate: bytes a second, FERRY_PLAN_UNKNOWN or 0: no prediction
 * @fixed_ns: what a switchover costs beside the bytes: round trips, state
 *
 * Return: nanoseconds, or FERRY_PLAN_UNKNOWN. Saturates below UNKNOWN.
 */
u64 ferry_plan_downtime(u64 remaining, u64 link_rate, u64 fixed_ns);

/**
 * ferry_plan_converged - may the VMM be told to pause
 * @expected_ns: of ferry_plan_downtime()
 * @limit_ns: the downtime limit
 */
bool ferry_plan_converged(u64 expected_ns, u64 limit_ns);

#define FERRY_HARVEST_MIN_NS	(1ULL * 1000 * 1000)
#define FERRY_HARVEST_MAX_NS	(50ULL * 1000 * 1000)

/**
 * ferry_plan_harvest_interval - how long to sleep before the next harvest
 * @last_ns: the interval that just passed
 * @most_entries: entries that the fullest ring had gathered in it
 * @ring_entries: entries that a ring holds
 *
 * Aims at a quarter of a ring an interval, so that a burst of four times the
 * rate meets a ring with room. Shrinks at once, grows by no more than twice a
 * step: an idle VM's interval doubles up to FERRY_HARVEST_MAX_NS.
 *
 * Return: FERRY_HARVEST_MIN_NS to FERRY_HARVEST_MAX_NS.
 */
u64 ferry_plan_harvest_interval(u64 last_ns, u32 most_entries, u32 ring_entries);

/**
 * struct ferry_pace - a token bucket that may go into debt
 * @rate: bytes a second; 0: unlimited
 * @credit: bytes that may be sent now; negative: in debt
 * @last_ns: when @credit was last brought up to date
 *
 * The bucket holds at most 20 ms of @rate (or 256 KiB, a batch, if that is
 * more), so an idle spell does not save up a burst. It begins empty. The caller
 * serialises; times that come out of order are harmless.
 */
struct ferry_pace {
	u64 rate;
	s64 credit;
	u64 last_ns;
};

void ferry_pace_init(struct ferry_pace *p, u64 rate, u64 now_ns);
/*
 * Keeps a debt: its bytes at a higher rate, its time at a lower one, so that a
 * change never makes anybody sleep longer. Forgets a credit.
 */
void ferry_pace_set_rate(struct ferry_pace *p, u64 rate, u64 now_ns);
/* Takes @bytes off; returns how many ns to sleep before sending them, or 0. */
u64 ferry_pace_take(struct ferry_pace *p, u64 bytes, u64 now_ns);

#endif /* FERRY_PLAN_H */
