// SPDX-License-Identifier: GPL-2.0-only
/*
 * Planning and estimation. All arithmetic goes through 128 bits, because bytes
 * times nanoseconds a second leave 64 bits at 18 GB, and saturates below
 * FERRY_PLAN_UNKNOWN, so that a result is never taken for "not known".
 *
 * The kernel has no 128-bit division (and mul_u64_u64_div_u64() traps on
 * overflow on x86 and is not exact elsewhere on older kernels), hence the one
 * here: a shift-and-subtract loop that runs only where 64 bits do not do.
 */
#include <linux/math64.h>
#include <linux/minmax.h>

#include "plan.h"

#define NS_PER_S	1000000000ULL
#define RATE_HALF_NS	500000000ULL	/* a sample of this length weighs one half */
#define RATE_SHIFT	16		/* bits of a rate below the point */
#define QUEUES_PER_S	50ULL		/* so long is a queue, at most */
#define PACE_BATCH	(256ULL << 10)
#define PACE_MAX_DEBT	(1LL << 62)

static unsigned __int128 div128(unsigned __int128 n, u64 d)
{
	u64 hi = n >> 64, lo = n, q_hi, q_lo = 0, rem;
	int i;

	if (!hi)
		return div64_u64(lo, d);

	q_hi = div64_u64(hi, d);
	rem = hi - q_hi * d;
	for (i = 63; i >= 0; i--) {
		bool carry = rem >> 63;

		rem = rem << 1 | (lo >> i & 1);
		if (carry || rem >= d) {
			rem -= d;
			q_lo |= 1ULL << i;
		}
	}
	return (unsigned __int128)q_hi << 64 | q_lo;
}

static u64 saturate(unsigned __int128 v)
{
	return v < FERRY_PLAN_UNKNOWN ? (u64)v : FERRY_PLAN_UNKNOWN - 1;
}

static u64 muldiv(u64 a, u64 b, u64 d)
{
	return saturate(div128((unsigned __int128)a * b, d));
}

static u64 muldiv_up(u64 a, u64 b, u64 d)
{
	return saturate(div128((unsigned __int128)a * b + d - 1, d));
}

void ferry_rate_init(struct ferry_rate *r)
{
	r->value = FERRY_PLAN_UNKNOWN;
	r->fraction = 0;
}

void ferry_rate_add(struct ferry_rate *r, u64 units, u64 ns)
{
	unsigned __int128 sum;

	if (!ns)
		return;
	if (r->value == FERRY_PLAN_UNKNOWN) {
		r->value = muldiv(units, NS_PER_S, ns);
		return;
	}

	/*
	 * The sample's rate times its weight is units * NS_PER_S / (ns + half).
	 * Without the fraction, samples of a millisecond would move the average
	 * in steps of 500 units a second, and small changes not at all.
	 */
	sum = (unsigned __int128)r->value << RATE_SHIFT | r->fraction;
	sum = sum * RATE_HALF_NS + ((unsigned __int128)units * NS_PER_S << RATE_SHIFT);
	sum = div128(sum, ns + RATE_HALF_NS);
	r->value = saturate(sum >> RATE_SHIFT);
	r->fraction = sum & ((1U << RATE_SHIFT) - 1);
}

u64 ferry_plan_downtime(u64 remaining, u64 link_rate, u64 fixed_ns)
{
	if (!link_rate || link_rate == FERRY_PLAN_UNKNOWN)
		return FERRY_PLAN_UNKNOWN;
	return saturate((unsigned __int128)muldiv_up(remaining, NS_PER_S, link_rate) + fixed_ns);
}

bool ferry_plan_converged(u64 expected_ns, u64 limit_ns)
{
	return expected_ns != FERRY_PLAN_UNKNOWN && expected_ns <= limit_ns;
}

void ferry_shortest_init(struct ferry_shortest *s, u64 now_ns)
{
	s->value = FERRY_PLAN_UNKNOWN;
	s->now = FERRY_PLAN_UNKNOWN;
	s->before = FERRY_PLAN_UNKNOWN;
	s->since = now_ns;
}

void ferry_shortest_add(struct ferry_shortest *s, u64 ns, u64 now_ns)
{
	u64 age = now_ns > s->since ? now_ns - s->since : 0;

	if (age >= FERRY_SHORTEST_NS) {
		/* Two windows without a sample: what was before them is too old. */
		s->before = age < 2 * FERRY_SHORTEST_NS ? s->now : FERRY_PLAN_UNKNOWN;
		s->now = FERRY_PLAN_UNKNOWN;
		s->since = now_ns;
	}
	s->now = min(s->now, ns);
	s->value = min(s->now, s->before);
}

u64 ferry_plan_sum(u64 a_ns, u64 b_ns)
{
	return saturate((unsigned __int128)a_ns + b_ns);
}

bool ferry_plan_settle(struct ferry_settle *st, bool fits, bool stalled, u64 ram_ns, u64 rest_ns)
{
	u64 before = st->ram_ns;

	st->ram_ns = ram_ns;
	if (!fits) {
		st->let_go = 0;
		return false;
	}
	if (stalled || ram_ns <= rest_ns || st->let_go >= FERRY_SETTLE_PASSES)
		return true;
	/* Compared as ferry_stall_pass() does. */
	if (before && ram_ns >= before / 4 * 3)
		return true;
	st->let_go++;
	return false;
}

bool ferry_plan_link_sample(u64 bytes, u64 ns, u64 queued)
{
	return bytes >= FERRY_LINK_SAMPLE_BYTES || (ns >= FERRY_LINK_SAMPLE_NS && (bytes || queued));
}

u64 ferry_plan_queue(u64 link_rate, u32 channels, u64 most)
{
	if (link_rate == FERRY_PLAN_UNKNOWN)
		return most;
	return clamp_t(u64, link_rate / (QUEUES_PER_S * channels), FERRY_QUEUE_MIN_BYTES, most);
}

u64 ferry_plan_harvest_interval(u64 last_ns, u32 entries, u32 room)
{
	u64 longest = last_ns < FERRY_HARVEST_MAX_NS / 2 ? last_ns * 2 : FERRY_HARVEST_MAX_NS;
	u64 next = longest;

	/* A shorter interval at once, a longer one step by step. */
	if (entries)
		next = muldiv(last_ns, room / 4, entries);
	if (next > longest)
		next = longest;
	return next > FERRY_HARVEST_MIN_NS ? next : FERRY_HARVEST_MIN_NS;
}

u32 ferry_plan_ring_room(u32 entries)
{
	return entries - min_t(u32, entries / 2, FERRY_RING_RESERVED);
}

bool ferry_plan_rearm(u32 held, u32 entries)
{
	return held >= ferry_plan_ring_room(entries) / 2;
}

bool ferry_plan_rearm_early(u64 held, u64 sent, u64 again)
{
	return held && held / FERRY_REARM_AGAIN <= again && held / FERRY_REARM_SENT <= sent && again;
}

u32 ferry_plan_portion(u64 link_rate)
{
	return clamp_t(u64, link_rate / QUEUES_PER_S, FERRY_PORTION_MIN, FERRY_PORTION_MAX);
}

static s64 pace_burst(u64 rate)
{
	u64 burst = rate / 50;

	if (burst > PACE_MAX_DEBT)
		burst = PACE_MAX_DEBT;
	return burst > PACE_BATCH ? burst : PACE_BATCH;
}

/* Brings the credit up to date. */
static void pace_earn(struct ferry_pace *p, u64 now_ns)
{
	u64 earned, room;

	/* Callers on several CPUs may bring their times out of order. */
	if (!p->rate || now_ns <= p->last_ns)
		return;

	earned = muldiv(now_ns - p->last_ns, p->rate, NS_PER_S);
	room = (u64)pace_burst(p->rate) - (u64)p->credit;
	if (earned >= room) {
		p->credit = pace_burst(p->rate);
		p->last_ns = now_ns;
		return;
	}
	/* Only the time that whole bytes took is used up; the rest earns later. */
	p->credit += earned;
	p->last_ns += muldiv_up(earned, NS_PER_S, p->rate);
}

void ferry_pace_init(struct ferry_pace *p, u64 rate, u64 now_ns)
{
	p->rate = rate;
	p->credit = 0;
	p->last_ns = now_ns;
}

void ferry_pace_set_rate(struct ferry_pace *p, u64 rate, u64 now_ns)
{
	u64 debt = 0;

	pace_earn(p, now_ns);
	if (p->credit < 0)
		debt = min_t(u64, -p->credit, muldiv_up(-p->credit, rate, p->rate));
	if (debt > PACE_MAX_DEBT)
		debt = PACE_MAX_DEBT;
	p->rate = rate;
	p->credit = -(s64)debt;
	p->last_ns = now_ns;
}

u64 ferry_pace_take(struct ferry_pace *p, u64 bytes, u64 now_ns)
{
	pace_earn(p, now_ns);
	if (!p->rate)
		return 0;
	if (bytes > PACE_MAX_DEBT)
		bytes = PACE_MAX_DEBT;
	p->credit -= bytes;
	if (p->credit < -PACE_MAX_DEBT)
		p->credit = -PACE_MAX_DEBT;
	return p->credit < 0 ? muldiv_up(-p->credit, NS_PER_S, p->rate) : 0;
}
