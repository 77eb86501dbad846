// SPDX-License-Identifier: GPL-2.0-only
/*
 * Planning: tables for what has one right answer, small simulations for what
 * must come out right over time.
 */
#include <kunit/test.h>

#include "plan.h"

#define UNKNOWN	FERRY_PLAN_UNKNOWN
#define MOST	(FERRY_PLAN_UNKNOWN - 1)
#define US	1000ULL
#define MS	1000000ULL
#define S	1000000000ULL
#define MB	1000000ULL
#define KIB	1024ULL

static void rate_samples(struct kunit *test)
{
	static const struct {
		u64 before, units, ns, want;
	} rows[] = {
		/* the first sample is the average, whatever its length */
		{ UNKNOWN, 0, 1, 0 },
		{ UNKNOWN, 1, 1, S },
		{ UNKNOWN, 300, 100 * MS, 3000 },
		{ UNKNOWN, 1ULL << 52, S, 1ULL << 52 },
		{ UNKNOWN, 1ULL << 52, 1, MOST },
		{ UNKNOWN, 1, 1ULL << 52, 0 },
		/* no time, no sample */
		{ UNKNOWN, 77, 0, UNKNOWN },
		{ 1000, 77, 0, 1000 },
		/* 500 ms weigh a half, 1 s two thirds, 100 ms a sixth */
		{ 1000, 1500, 500 * MS, 2000 },
		{ 3000, 500, 500 * MS, 2000 },
		{ 1000, 4000, S, 3000 },
		{ 6000, 0, 100 * MS, 5000 },
		/* a long one all but replaces the average */
		{ 1000000, 100ULL * 86400, 86400 * S, 105 },
		/* extremes: 2^52 bytes in no time saturate, and come back */
		{ 0, 1ULL << 52, 1, 9007199236726593 },
		{ MOST, 0, 500 * MS, MOST / 2 },
		{ MOST, 1ULL << 52, 1ULL << 52, 2048999772515 },
		{ MOST, 1ULL << 52, 1, MOST },
	};
	struct ferry_rate r;
	size_t i;

	ferry_rate_init(&r);
	KUNIT_EXPECT_EQ(test, r.value, UNKNOWN);
	KUNIT_EXPECT_EQ(test, r.fraction, 0);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		ferry_rate_init(&r);
		r.value = rows[i].before;
		ferry_rate_add(&r, rows[i].units, rows[i].ns);
		KUNIT_EXPECT_EQ_MSG(test, r.value, rows[i].want, "row %zu", i);
	}
}

/* Samples of a millisecond follow small rates as well as large ones. */
static void rate_over_time(struct kunit *test)
{
	static const u64 per_10ms[] = { 0, 1, 7, 11, 1000, 123456789 };
	struct ferry_rate r;
	size_t i;
	int n;

	for (i = 0; i < ARRAY_SIZE(per_10ms); i++) {
		const u64 want = per_10ms[i] * 100;

		/* from below, and from above */
		ferry_rate_init(&r);
		ferry_rate_add(&r, 0, MS);
		for (n = 0; n < 2000; n++)
			ferry_rate_add(&r, per_10ms[i], 10 * MS);
		KUNIT_EXPECT_LE(test, r.value, want);
		KUNIT_EXPECT_GE(test, r.value + 1, want);
		ferry_rate_init(&r);
		ferry_rate_add(&r, want * 10, S);
		for (n = 0; n < 2000; n++)
			ferry_rate_add(&r, per_10ms[i], 10 * MS);
		KUNIT_EXPECT_LE(test, r.value, want + 1);
		KUNIT_EXPECT_GE(test, r.value + 1, want);
	}

	/* Ten samples of 10 ms move it about as far as one of 100 ms: 5000, and 4922. */
	ferry_rate_init(&r);
	ferry_rate_add(&r, 6000, S);
	for (n = 0; n < 10; n++)
		ferry_rate_add(&r, 0, 10 * MS);
	KUNIT_EXPECT_LE(test, r.value, 5000);
	KUNIT_EXPECT_GE(test, r.value, 4900);
}

static void downtime(struct kunit *test)
{
	static const struct {
		u64 remaining, rate, fixed, want;
	} rows[] = {
		{ 0, 1, 0, 0 },
		{ 0, 1000, 5 * MS, 5 * MS },
		{ 1ULL << 30, 1ULL << 30, 0, S },
		{ 1ULL << 30, 1ULL << 30, 20 * MS, S + 20 * MS },
		{ 125 * MB, 1250 * MB, 0, 100 * MS },
		/* never less than it takes */
		{ 1, 3, 0, 333333334 },
		{ 1, 1ULL << 52, 0, 1 },
		{ 1ULL << 52, 1ULL << 30, 7, 4194304 * S + 7 },
		/* no rate, no prediction */
		{ 0, 0, 0, UNKNOWN },
		{ 4096, 0, 0, UNKNOWN },
		{ 0, UNKNOWN, 0, UNKNOWN },
		{ 4096, UNKNOWN, 5, UNKNOWN },
		/* what is too long to say is not "unknown" */
		{ 1ULL << 52, 1, 0, MOST },
		{ 1ULL << 52, 1, 1ULL << 52, MOST },
		{ 4096, 4096, MOST, MOST },
		{ 1, S, MOST - 1, MOST },
		{ 1, S, MOST - 2, MOST - 1 },
		{ 1, S, MOST, MOST },
		/* to the last bit, also where 64 bits do not do */
		{ 1ULL << 52, 999999937, 0, 4503599911097291ULL },
		{ 1ULL << 52, (1ULL << 40) + 3, 0, 4095999999989ULL },
		{ 1ULL << 62, (1ULL << 63) + 12345, 0, 500000000 },
		{ UNKNOWN, MOST, 0, 1000000001 },
		{ 0x123456789abcdef, 0xfedcba987654321, 0, 71428572 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		KUNIT_EXPECT_EQ_MSG(test, ferry_plan_downtime(rows[i].remaining, rows[i].rate,
							      rows[i].fixed),
				    rows[i].want, "row %zu", i);
}

static void convergence(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, ferry_plan_converged(0, 0));
	KUNIT_EXPECT_TRUE(test, ferry_plan_converged(299 * MS, 300 * MS));
	KUNIT_EXPECT_TRUE(test, ferry_plan_converged(300 * MS, 300 * MS));
	KUNIT_EXPECT_FALSE(test, ferry_plan_converged(300 * MS + 1, 300 * MS));
	KUNIT_EXPECT_FALSE(test, ferry_plan_converged(MOST, 2000 * S));
	KUNIT_EXPECT_FALSE(test, ferry_plan_converged(UNKNOWN, 2000 * S));
	KUNIT_EXPECT_FALSE(test, ferry_plan_converged(UNKNOWN, UNKNOWN));
}

static void queue(struct kunit *test)
{
	const u64 least = 256 << 10, most = 4 << 20;

	KUNIT_EXPECT_EQ(test, ferry_plan_queue(UNKNOWN, 1, most), most);
	KUNIT_EXPECT_EQ(test, ferry_plan_queue(0, 1, most), least);
	/* 20 ms of the link, which the channels share */
	KUNIT_EXPECT_EQ(test, ferry_plan_queue(100 << 20, 1, most), 2 << 20);
	KUNIT_EXPECT_EQ(test, ferry_plan_queue(100 << 20, 4, most), 512 << 10);
	KUNIT_EXPECT_EQ(test, ferry_plan_queue(100 << 20, 16, most), least);
	KUNIT_EXPECT_EQ(test, ferry_plan_queue(MOST, 16, most), most);
	KUNIT_EXPECT_EQ(test, ferry_plan_queue(MOST, 1, least), least);
}

static void harvest_interval(struct kunit *test)
{
	static const struct {
		u64 last;
		u32 entries, room;
		u64 want;
	} rows[] = {
		/* a quarter of the room is just right; more is too long */
		{ 10 * MS, 1024, 4096, 10 * MS },
		{ 10 * MS, 2048, 4096, 5 * MS },
		{ 10 * MS, 4096, 4096, 2500 * US },
		{ 50 * MS, 65536, 65536, 12500 * US },
		{ 10 * MS, 1500, 4096, 6826666 },
		/* less: longer, but no more than twice at a step */
		{ 10 * MS, 1000, 4096, 10240 * US },
		{ 10 * MS, 512, 4096, 20 * MS },
		{ 10 * MS, 511, 4096, 20 * MS },
		{ 10 * MS, 1, 65536, 20 * MS },
		/* an idle VM */
		{ MS, 0, 4096, 2 * MS },
		{ 24999999, 0, 4096, 49999998 },
		{ 25 * MS, 0, 4096, 50 * MS },
		{ 40 * MS, 0, 4096, 50 * MS },
		{ 50 * MS, 0, 4096, 50 * MS },
		/* the bounds */
		{ MS, 4096, 4096, MS },
		{ 3 * MS, 4096, 4096, MS },
		{ 100 * US, 0, 4096, MS },
		{ 0, 0, 4096, MS },
		{ 0, 4000, 4096, MS },
		{ 30 * MS, 512, 4096, 50 * MS },
		{ S, 1024, 4096, 50 * MS },
		{ S, 65536, 4096, 15625 * US },
		{ 1ULL << 52, 0, 4096, 50 * MS },
		{ 1ULL << 52, 1, 65536, 50 * MS },
		{ 1ULL << 52, ~0u, ~0u, 50 * MS },
		{ ~0ULL, 1, ~0u, 50 * MS },
		{ 10 * MS, 1, 0, MS },
		{ 10 * MS, 1, 3, MS },
		{ 10 * MS, 1, 4, 10 * MS },
		{ 10 * MS, ~0u, 65536, MS },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		KUNIT_EXPECT_EQ_MSG(test, ferry_plan_harvest_interval(rows[i].last,
								      rows[i].entries,
								      rows[i].room),
				    rows[i].want, "row %zu", i);
}

/*
 * A quarter of the room a harvest, a reset at half of it: of what KVM lets a vCPU
 * use, also where little is left beside the reserve.
 */
static void ring_room(struct kunit *test)
{
	static const struct {
		u32 entries, room;
	} rows[] = {
		{ 65536, 64960 }, { 4096, 3520 }, { 2048, 1472 }, { 1153, 577 }, { 1152, 576 },
		{ 1024, 512 }, { 256, 128 }, { 2, 1 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		u32 entries = rows[i].entries, half = rows[i].room / 2;

		KUNIT_EXPECT_EQ_MSG(test, ferry_plan_ring_room(entries), rows[i].room, "row %zu", i);
		KUNIT_EXPECT_EQ_MSG(test, ferry_plan_rearm(half, entries), true, "row %zu", i);
		KUNIT_EXPECT_EQ_MSG(test, ferry_plan_rearm(entries, entries), true, "row %zu", i);
		if (half)
			KUNIT_EXPECT_EQ_MSG(test, ferry_plan_rearm(half - 1, entries), false, "row %zu",
					    i);
	}
}

static void rearm_early(struct kunit *test)
{
	static const struct {
		u64 held, sent, again;
		bool want;
	} rows[] = {
		/* nothing to reset; nothing was written again */
		{ 0, 0, 0, false }, { 0, 100, 100, false }, { 1, 100, 0, false }, { 15, 100, 0, false },
		/* a page in sixteen */
		{ 1, 1, 1, true }, { 160, 1000, 10, true }, { 160, 1000, 9, false },
		{ 175, 1000, 10, true }, { 176, 1000, 10, false },
		/* no more than two faults for each page that was sent */
		{ 200, 100, 50, true }, { 201, 100, 50, true }, { 202, 100, 50, false },
		{ ~0ULL, ~0ULL, ~0ULL, true },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		KUNIT_EXPECT_EQ_MSG(test, ferry_plan_rearm_early(rows[i].held, rows[i].sent,
								 rows[i].again),
				    rows[i].want, "row %zu", i);
}

static void portion(struct kunit *test)
{
	static const struct {
		u64 rate;
		u32 want;
	} rows[] = {
		{ 0, 64 }, { 3200, 64 }, { 3249, 64 }, { 3250, 65 }, { 30000, 600 },
		{ 204799, 4095 }, { 204800, 4096 }, { 204850, 4096 }, { 1000000, 4096 },
		/* 100 Mbit/s, 1 Gbit/s, 10 Gbit/s; a rate that is not known, in pages */
		{ 3051, 64 }, { 30517, 610 }, { 305175, 4096 },
		{ FERRY_PLAN_UNKNOWN / 4096, 4096 }, { FERRY_PLAN_UNKNOWN, 4096 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		KUNIT_EXPECT_EQ_MSG(test, ferry_plan_portion(rows[i].rate), rows[i].want, "row %zu", i);
}

/* At a steady rate the interval settles where a quarter of the ring is used. */
static void harvest_settles(struct kunit *test)
{
	static const struct {
		u64 rate, want;	/* entries a second, ns; ring of 4096 */
	} rows[] = {
		{ 0, 50 * MS }, { 10000, 50 * MS }, { 20480, 50 * MS }, { 102400, 10 * MS },
		{ 512000, 2 * MS }, { 1024000, MS }, { 100000000, MS },
	};
	static const u64 starts[] = { MS, 7 * MS, 50 * MS };
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		for (j = 0; j < ARRAY_SIZE(starts); j++) {
			u64 ns = starts[j], most;
			int n;

			for (n = 0; n < 100; n++) {
				most = ns * rows[i].rate / S;
				ns = ferry_plan_harvest_interval(ns, most < 4096 ? most : 4096,
								 4096);
			}
			KUNIT_EXPECT_GE_MSG(test, ns, rows[i].want - rows[i].want / 50,
					    "row %zu", i);
			KUNIT_EXPECT_LE_MSG(test, ns, rows[i].want + rows[i].want / 50,
					    "row %zu", i);
		}
	}
}

static void pace_unlimited(struct kunit *test)
{
	struct ferry_pace p;
	u64 now;

	ferry_pace_init(&p, 0, 5 * S);
	for (now = 5 * S; now < 6 * S; now += 100 * MS)
		KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 1ULL << 52, now), 0);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 1ULL << 52, 0), 0);
}

static void pace_bucket(struct kunit *test)
{
	struct ferry_pace p;

	/* It begins empty, and pays back what it lent. */
	ferry_pace_init(&p, 100 * MB, S);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 0, S), 0);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, MB, S), 10 * MS);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 0, S + 4 * MS), 6 * MS);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, MB, S + 10 * MS), 10 * MS);
	/* 20 ms of the rate are saved up, no more. */
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 2 * MB, 9 * S), 0);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 1, 9 * S), 10);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 2 * MB, 9 * S + 20 * MS + 10), 0);
	/* Times out of order earn nothing and lose nothing. */
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 100, 0), US);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 0, 9 * S + 20 * MS + 10), US);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 0, 9 * S + 20 * MS + 10 + US), 0);

	/* At a low rate the bucket holds a batch; a wait is rounded up. */
	ferry_pace_init(&p, 65536, 0);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 256 * KIB, 100 * S), 0);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 1, 100 * S), 15259);
	ferry_pace_init(&p, 12 * MB, 0);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 256 * KIB + 12, 100 * S), US);
	ferry_pace_init(&p, 20 * MB, 0);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 400020, 100 * S), US);
}

/* A sender that sleeps as it is told sends what the limit allows, to a bucket. */
static void pace_over_time(struct kunit *test)
{
	static const u64 rates[] = {
		65536, 1000003, 125 * MB, 1250 * MB, 12500 * MB, 1ULL << 40,
	};
	static const u64 chunks[] = { 4096, 256 * KIB, 2048 * KIB };
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(rates); i++) {
		for (j = 0; j < ARRAY_SIZE(chunks); j++) {
			u64 sent = 0, now = 0, allowed;
			struct ferry_pace p;
			int n;

			ferry_pace_init(&p, rates[i], now);
			for (n = 0; n < 20000; n++) {
				now += ferry_pace_take(&p, chunks[j], now);
				sent += chunks[j];
				/* sending takes a while, too */
				now += n % 7 * 100;
			}
			allowed = now / 1000 * rates[i] / 1000000 + rates[i] / 50 + 256 * KIB;
			KUNIT_EXPECT_LE_MSG(test, sent, allowed, "rate %llu, chunk %llu",
					    (unsigned long long)rates[i],
					    (unsigned long long)chunks[j]);
			if (rates[i] > 1250 * MB)	/* the while above is the limit */
				continue;
			KUNIT_EXPECT_GE_MSG(test, sent + rates[i] / 50,
					    allowed - allowed / 1000 - rates[i] / 50 - 512 * KIB,
					    "rate %llu, chunk %llu", (unsigned long long)rates[i],
					    (unsigned long long)chunks[j]);
		}
	}
}

/* Asking often does not lose the fractions of bytes that were earned. */
static void pace_small_steps(struct kunit *test)
{
	static const u64 steps[] = { 1, 7, 333, 1000, 15000 };
	struct ferry_pace p;
	size_t i;
	u64 now;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		ferry_pace_init(&p, 100000, 0);
		for (now = 0; now < steps[i] * 10000; now += steps[i])
			KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 0, now), 0);
		KUNIT_EXPECT_LE(test, p.credit, now / 10000);
		KUNIT_EXPECT_GE(test, p.credit + 2, now / 10000);
	}
}

static void pace_rate_changes(struct kunit *test)
{
	struct ferry_pace p;

	/* A debt is paid at a higher rate, and takes the same time at a lower one. */
	ferry_pace_init(&p, 100 * MB, S);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 3 * MB, S), 30 * MS);
	ferry_pace_set_rate(&p, 200 * MB, S + 10 * MS);
	KUNIT_EXPECT_EQ(test, p.credit, -2 * (s64)MB);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 0, S + 10 * MS), 10 * MS);
	ferry_pace_set_rate(&p, 65536, S + 15 * MS);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 0, S + 15 * MS) / MS, 5);
	/* No limit, no debt; and none when a limit comes again. */
	ferry_pace_set_rate(&p, 0, S + 20 * MS);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 1ULL << 52, S + 20 * MS), 0);
	ferry_pace_set_rate(&p, 100 * MB, 2 * S);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 100, 2 * S), US);
	/* A credit is forgotten. */
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 0, 3 * S), 0);
	KUNIT_EXPECT_EQ(test, p.credit, 2 * (s64)MB);
	ferry_pace_set_rate(&p, 50 * MB, 3 * S);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 50, 3 * S), US);
}

static void pace_extremes(struct kunit *test)
{
	struct ferry_pace p;
	u64 last = 0, ns;
	int n;

	/* A debt without end grows to a bound and does not turn into a credit. */
	ferry_pace_init(&p, 1, 0);
	for (n = 0; n < 5000; n++) {
		ns = ferry_pace_take(&p, 1ULL << 52, 0);
		KUNIT_EXPECT_GE(test, ns, last);
		last = ns;
	}
	KUNIT_EXPECT_EQ(test, last, MOST);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, ~0ULL, 1), MOST);
	KUNIT_EXPECT_LT(test, p.credit, 0);
	ferry_pace_set_rate(&p, ~0ULL, 2);
	KUNIT_EXPECT_LT(test, p.credit, 0);
	/* The fastest rate there can be: nothing ever waits for long. */
	ferry_pace_init(&p, ~0ULL, 0);
	KUNIT_EXPECT_EQ(test, ferry_pace_take(&p, 1ULL << 52, 1ULL << 52), 0);
	KUNIT_EXPECT_LE(test, ferry_pace_take(&p, 1ULL << 62, 1ULL << 52), 250 * MS);
}

static void sums(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, ferry_plan_sum(0, 0), 0);
	KUNIT_EXPECT_EQ(test, ferry_plan_sum(3 * MS, 4 * MS), 7 * MS);
	KUNIT_EXPECT_EQ(test, ferry_plan_sum(MOST - 1, 1), MOST);
	KUNIT_EXPECT_EQ(test, ferry_plan_sum(MOST, 1), MOST);
	KUNIT_EXPECT_EQ(test, ferry_plan_sum(MOST, MOST), MOST);
}

/* The pass at which it is the moment, from 1; 0: none. */
static unsigned int settled(const u64 *ram_ms, unsigned int nr, u64 limit_ms, u64 rest_ms, bool stalled)
{
	struct ferry_settle st = {};
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (ferry_plan_settle(&st, ram_ms[i] + rest_ms <= limit_ms, stalled, ram_ms[i] * MS,
				      rest_ms * MS))
			return i + 1;
	return 0;
}

static void settles(struct kunit *test)
{
	static const u64 halves[] = { 800, 400, 200, 100, 50, 25, 12, 6 };
	static const u64 flat[] = { 800, 210, 200, 190 };
	static const u64 three_quarters[] = { 1000, 200, 150, 149 };
	static const u64 seven_tenths[] = { 1000, 200, 140, 98, 90 };
	static const u64 waves[] = { 400, 900, 150, 600 };
	static const u64 never[] = { 800, 700, 800, 700 };
	static const u64 again[] = { 200, 100, 900, 200, 100, 50, 25 };

	/* What is left is no more than the rest: nothing to be gained. */
	KUNIT_EXPECT_EQ(test, settled(halves, 8, 300, 100, false), 4);
	KUNIT_EXPECT_EQ(test, settled(halves, 8, 300, 99, false), 5);
	/* 200 fits, 100, 50 and 25 are better: three are let go. */
	KUNIT_EXPECT_EQ(test, settled(halves, 8, 300, 1, false), 6);
	KUNIT_EXPECT_EQ(test, settled(halves, 8, 300, 0, false), 6);
	/* They do not shrink any more. */
	KUNIT_EXPECT_EQ(test, settled(flat, 4, 300, 10, false), 3);
	KUNIT_EXPECT_EQ(test, settled(three_quarters, 4, 300, 10, false), 3);
	/* These do. */
	KUNIT_EXPECT_EQ(test, settled(seven_tenths, 5, 300, 10, false), 5);
	/* Up and down: the first that fits is a minimum, if that is known; else it is waited for a better one. */
	KUNIT_EXPECT_EQ(test, settled(waves, 4, 300, 10, true), 3);
	KUNIT_EXPECT_EQ(test, settled(waves, 4, 300, 10, false), 0);
	KUNIT_EXPECT_EQ(test, settled(never, 4, 300, 10, true), 0);
	/* A pass that does not fit begins the count anew. */
	KUNIT_EXPECT_EQ(test, settled(again, 7, 300, 1, false), 7);
	/* Nothing left, at once. */
	KUNIT_EXPECT_EQ(test, settled((const u64[]){ 0 }, 1, 300, 0, false), 1);
}

/* Samples in order, and what is the shortest behind each. */
static void shortest(struct kunit *test)
{
	static const struct {
		u64 at, ns, want;
	} rows[] = {
		{ 1, 7 * MS, 7 * MS },
		{ 2, 9 * MS, 7 * MS },
		{ 3, 5 * MS, 5 * MS },
		{ 9, 8 * MS, 5 * MS },
		/* the second window: the first still counts */
		{ 10, 20 * MS, 5 * MS },
		{ 11, 6 * MS, 5 * MS },
		{ 19, 30 * MS, 5 * MS },
		/* the third: it does not */
		{ 20, 30 * MS, 6 * MS },
		{ 30, 40 * MS, 30 * MS },
		/* a window in which there was none */
		{ 49, 50 * MS, 40 * MS },
		{ 69, 60 * MS, 60 * MS },
		/* a clock that went back, and one that is far ahead */
		{ 60, 70 * MS, 60 * MS },
		{ 4000000, 0, 0 },
	};
	struct ferry_shortest s;
	size_t i;

	ferry_shortest_init(&s, 0);
	KUNIT_EXPECT_EQ(test, s.value, FERRY_PLAN_UNKNOWN);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		ferry_shortest_add(&s, rows[i].ns, rows[i].at * S);
		KUNIT_EXPECT_EQ_MSG(test, s.value, rows[i].want, "at %llu s",
				    (unsigned long long)rows[i].at);
	}
}

static void link_sample(struct kunit *test)
{
	const u64 enough = FERRY_LINK_SAMPLE_BYTES, second = FERRY_LINK_SAMPLE_NS;

	KUNIT_EXPECT_TRUE(test, ferry_plan_link_sample(enough, 1, 0));
	KUNIT_EXPECT_FALSE(test, ferry_plan_link_sample(enough - 1, second - 1, enough));
	/* However little it is, after a second it counts; and nothing, if there was something. */
	KUNIT_EXPECT_TRUE(test, ferry_plan_link_sample(1, second, 0));
	KUNIT_EXPECT_TRUE(test, ferry_plan_link_sample(0, second, 1));
	KUNIT_EXPECT_FALSE(test, ferry_plan_link_sample(0, second, 0));
	KUNIT_EXPECT_FALSE(test, ferry_plan_link_sample(0, second - 1, 1));
}

static struct kunit_case cases[] = {
	KUNIT_CASE(rate_samples),
	KUNIT_CASE(rate_over_time),
	KUNIT_CASE(downtime),
	KUNIT_CASE(convergence),
	KUNIT_CASE(sums),
	KUNIT_CASE(shortest),
	KUNIT_CASE(settles),
	KUNIT_CASE(link_sample),
	KUNIT_CASE(queue),
	KUNIT_CASE(harvest_interval),
	KUNIT_CASE(ring_room),
	KUNIT_CASE(rearm_early),
	KUNIT_CASE(portion),
	KUNIT_CASE(harvest_settles),
	KUNIT_CASE(pace_unlimited),
	KUNIT_CASE(pace_bucket),
	KUNIT_CASE(pace_over_time),
	KUNIT_CASE(pace_small_steps),
	KUNIT_CASE(pace_rate_changes),
	KUNIT_CASE(pace_extremes),
	{}
};

static struct kunit_suite suite = {
	.name = "ferry_plan",
	.test_cases = cases,
};
kunit_test_suite(suite);
