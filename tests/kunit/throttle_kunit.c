// SPDX-License-Identifier: GPL-2.0-only
/* Throttling: quotas, levels, steps, and passes that do not shrink. */
#include <kunit/test.h>

#include "throttle.h"

#define NONE	FERRY_THROTTLE_NONE
#define MS	1000000ULL
#define S	1000000000ULL
#define LONGEST	(500 * MS)

static void quota_none(struct kunit *test)
{
	struct ferry_quota q;

	ferry_quota_init(&q);
	KUNIT_EXPECT_EQ(test, q.limit, NONE);
	ferry_quota_charge(&q, 1ULL << 40, 7);
	KUNIT_EXPECT_EQ(test, q.due_ns, 0);
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, 0), 0);
	/* What it did before it was limited is not held against it. */
	ferry_quota_set(&q, 100, 5 * S);
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, 5 * S), 0);
}

static void quota_waits(struct kunit *test)
{
	struct ferry_quota q;

	ferry_quota_init(&q);
	ferry_quota_set(&q, 1000, S);
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, S), 0);
	ferry_quota_charge(&q, 100, S);
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, S), 100 * MS);
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, S + 99 * MS), MS);
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, S + 100 * MS), 0);
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, S + 101 * MS), 0);
	/* Nothing is saved up, and what is charged while it is behind adds up. */
	ferry_quota_charge(&q, 100, 3 * S);
	ferry_quota_charge(&q, 50, 3 * S + 10 * MS);
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, 3 * S + 10 * MS), 140 * MS);
}

/* However much it did, it waits no longer than that at a time, and then it is even. */
static void quota_forgives(struct kunit *test)
{
	struct ferry_quota q;

	ferry_quota_init(&q);
	ferry_quota_set(&q, 1, S);
	ferry_quota_charge(&q, 1ULL << 40, S);
	KUNIT_EXPECT_EQ(test, q.due_ns, S + (S << 32));
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, S), LONGEST);
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, S + LONGEST), 0);
	ferry_quota_set(&q, NONE - 1, S);
	ferry_quota_charge(&q, ~0ULL, 10 * S);
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, 10 * S), 0);
}

static void quota_changes(struct kunit *test)
{
	static const struct {
		u64 before, charged, after, want;
	} rows[] = {
		{ 1000, 100, 2000, 50 * MS },
		{ 1000, 100, 500, 200 * MS },
		{ 1000, 100, 1000, 100 * MS },
		{ 1000, 400, 100, LONGEST },
		{ 1000, 400, NONE, 0 },
		{ 1000, 0, 10, 0 },
		{ 1000, 100000, 2000, LONGEST / 2 },
		{ NONE, 100, 1000, 0 },
		{ 1ULL << 32, 1ULL << 32, 1ULL << 31, LONGEST },
		{ 1ULL << 40, 1ULL << 32, 1ULL << 32, 3906250 },
	};
	struct ferry_quota q;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		ferry_quota_init(&q);
		ferry_quota_set(&q, rows[i].before, S);
		ferry_quota_charge(&q, rows[i].charged, S);
		ferry_quota_set(&q, rows[i].after, S);
		KUNIT_EXPECT_EQ_MSG(test, ferry_quota_wait(&q, S), rows[i].want, "row %zu", i);
		KUNIT_EXPECT_EQ_MSG(test, q.limit, rows[i].after, "row %zu", i);
	}
	/* In the past nothing is owed; and no limit is 0. */
	ferry_quota_init(&q);
	ferry_quota_set(&q, 1000, S);
	ferry_quota_charge(&q, 100, S);
	ferry_quota_set(&q, 0, 2 * S);
	KUNIT_EXPECT_EQ(test, ferry_quota_wait(&q, 2 * S), 0);
	KUNIT_EXPECT_EQ(test, q.limit, 1);
}

static void level(struct kunit *test)
{
	static const struct {
		u64 demands[4], budget, want;
		u32 nr;
	} rows[] = {
		{ .nr = 0, .budget = 0, .want = NONE },
		{ .demands = { 5 }, .nr = 1, .budget = 5, .want = NONE },
		{ .demands = { 5 }, .nr = 1, .budget = 4, .want = 4 },
		{ .demands = { 5 }, .nr = 1, .budget = 0, .want = 1 },
		/* One wild among four: it gets what the others leave. */
		{ .demands = { 100, 100000, 50, 10 }, .nr = 4, .budget = 3000, .want = 2840 },
		/* Two wild ones share. */
		{ .demands = { 9000, 100000, 50, 10 }, .nr = 4, .budget = 3000, .want = 1470 },
		/* The others alone are too much. */
		{ .demands = { 1000, 1000, 1000, 1000 }, .nr = 4, .budget = 3, .want = 1 },
		{ .demands = { 1000, 1000, 1000, 1000 }, .nr = 4, .budget = 1002, .want = 250 },
		{ .demands = { ~0ULL, ~0ULL, 0, 0 }, .nr = 4, .budget = ~0ULL, .want = NONE },
		{ .demands = { ~0ULL, 7, 0, 0 }, .nr = 2, .budget = 1ULL << 32, .want = (1ULL << 32) - 7 },
		{ .demands = { 1, 1ULL << 32, 0, 0 }, .nr = 2, .budget = (1ULL << 32) + 1, .want = NONE },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		KUNIT_EXPECT_EQ_MSG(test, ferry_throttle_level(rows[i].demands, rows[i].nr, rows[i].budget),
				    rows[i].want, "row %zu", i);
}

static void step(struct kunit *test)
{
	static const struct {
		u64 now, want, demand, floor, next;
	} rows[] = {
		/* It begins at what it does, and falls by half. */
		{ NONE, 100, 10000, 64, 5000 },
		{ 5000, 100, 10000, 64, 2500 },
		{ 150, 100, 10000, 64, 100 },
		{ 100, 10, 10000, 64, 64 },
		{ 64, 10, 10000, 64, 64 },
		{ 100, 100, 10000, 64, 100 },
		/* It rises by a quarter. */
		{ 100, 10000, 10000, 64, 126 },
		{ 1000, 1100, 10000, 64, 1100 },
		/* Beyond what it wants it is none. */
		{ 9000, NONE, 10000, 64, NONE },
		{ 8000, NONE, 10000, 64, NONE },
		{ 7000, NONE, 10000, 64, 8751 },
		{ NONE, NONE, 10000, 64, NONE },
		{ NONE, 100, 50, 64, NONE },
		{ NONE, 100, 0, 64, NONE },
		{ 8000, 20000, 10001, 64, NONE },
		{ 8000, 20000, 10002, 64, 10001 },
		{ 5, 1, 4, 0, 2 },
		{ 1, 0, 4, 0, 1 },
		{ ~0ULL - 1, ~0ULL - 1, ~0ULL, 64, 1ULL << 32 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		KUNIT_EXPECT_EQ_MSG(test, ferry_throttle_step(rows[i].now, rows[i].want, rows[i].demand,
							      rows[i].floor), rows[i].next, "row %zu", i);
}

static void stall(struct kunit *test)
{
	struct ferry_stall st = {};

	/* All of memory, then what was dirtied meanwhile. */
	KUNIT_EXPECT_FALSE(test, ferry_stall_pass(&st, 10000));
	KUNIT_EXPECT_FALSE(test, ferry_stall_pass(&st, 7499));
	KUNIT_EXPECT_EQ(test, st.passes, 0);
	KUNIT_EXPECT_FALSE(test, ferry_stall_pass(&st, 7000));
	KUNIT_EXPECT_EQ(test, st.passes, 1);
	KUNIT_EXPECT_TRUE(test, ferry_stall_pass(&st, 5250));
	KUNIT_EXPECT_TRUE(test, ferry_stall_pass(&st, 9000));
	/* One that shrinks, and it is over. */
	KUNIT_EXPECT_FALSE(test, ferry_stall_pass(&st, 6000));
	KUNIT_EXPECT_FALSE(test, ferry_stall_pass(&st, 6000));
	KUNIT_EXPECT_FALSE(test, ferry_stall_pass(&st, 0));
	KUNIT_EXPECT_FALSE(test, ferry_stall_pass(&st, 0));
	KUNIT_EXPECT_FALSE(test, ferry_stall_pass(&st, 1));
	KUNIT_EXPECT_EQ(test, st.passes, 0);
	KUNIT_EXPECT_FALSE(test, ferry_stall_pass(&st, ~0ULL));
	KUNIT_EXPECT_TRUE(test, ferry_stall_pass(&st, ~0ULL));
}

static void least(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, ferry_throttle_floor(0, 4), 64);
	KUNIT_EXPECT_EQ(test, ferry_throttle_floor(2047, 4), 64);
	KUNIT_EXPECT_EQ(test, ferry_throttle_floor(3200, 4), 100);
	KUNIT_EXPECT_EQ(test, ferry_throttle_floor(3200, 1), 400);
	KUNIT_EXPECT_EQ(test, ferry_throttle_floor(3200, 0), 400);
	KUNIT_EXPECT_EQ(test, ferry_throttle_floor(32768, 4), 1024);
	KUNIT_EXPECT_EQ(test, ferry_throttle_floor(32767, 4), 1023);
	KUNIT_EXPECT_EQ(test, ferry_throttle_floor(NONE, 4096), 1024);
}

/* A wild writer under AUTO, as module/vcpu.c has it: it comes to its share, and stays there. */
static void settles(struct kunit *test)
{
	u64 limit = NONE, budget = 3000, demands[4] = { 200, 120000, 100, 0 }, ms, dirtied = 0, end = 0;
	struct ferry_quota q;

	ferry_quota_init(&q);
	for (ms = 0; ms < 20000; ms++) {
		if (!(ms % 100)) {
			u64 want = ferry_throttle_level(demands, 4, budget);

			limit = ferry_throttle_step(limit, want, demands[1], 64);
			ferry_quota_set(&q, limit, ms * MS);
		}
		/* A ring of 500 entries is full in some 4 ms. */
		if (!ferry_quota_wait(&q, ms * MS)) {
			ferry_quota_charge(&q, 500, ms * MS);
			dirtied += 500;
			if (ms >= 10000)
				end += 500;
		}
	}
	KUNIT_EXPECT_EQ(test, limit, 2700);
	KUNIT_EXPECT_GE(test, end, 26000);
	KUNIT_EXPECT_LE(test, end, 28000);
	KUNIT_EXPECT_LE(test, dirtied, 90000);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(quota_none),
	KUNIT_CASE(quota_waits),
	KUNIT_CASE(quota_forgives),
	KUNIT_CASE(quota_changes),
	KUNIT_CASE(level),
	KUNIT_CASE(step),
	KUNIT_CASE(stall),
	KUNIT_CASE(least),
	KUNIT_CASE(settles),
	{}
};

static struct kunit_suite suite = {
	.name = "ferry_throttle",
	.test_cases = cases,
};
kunit_test_suite(suite);
