// SPDX-License-Identifier: GPL-2.0-only
/* The host's limit: whose turn it is, and how much each gets. */
#include <kunit/test.h>

#include "share.h"

#define KIB	1024ULL
#define MIB	(1024 * KIB)
#define MS	1000000ULL
#define S	1000000000ULL
#define ACTIVE	(1000 * MS)

static void list(struct kunit *test)
{
	struct ferry_share share = {};
	struct ferry_turn a = {}, b = {}, c = {};

	KUNIT_EXPECT_TRUE(test, !ferry_share_next(&share));
	ferry_share_remove(&share, &a);
	ferry_share_add(&share, &a);
	ferry_share_add(&share, &b);
	ferry_share_add(&share, &c);
	KUNIT_EXPECT_TRUE(test, !ferry_share_next(&share));
	ferry_share_wait(&share, &a);
	KUNIT_EXPECT_PTR_EQ(test, ferry_share_next(&share), &a);
	ferry_share_wait(&share, &c);
	ferry_share_remove(&share, &b);
	ferry_share_remove(&share, &b);
	KUNIT_EXPECT_PTR_EQ(test, share.first, &c);
	KUNIT_EXPECT_PTR_EQ(test, c.next, &a);
	KUNIT_EXPECT_TRUE(test, !a.next);
	ferry_share_remove(&share, &c);
	KUNIT_EXPECT_PTR_EQ(test, ferry_share_next(&share), &a);
	ferry_share_give_up(&a);
	KUNIT_EXPECT_EQ(test, a.waiting, 0);
	KUNIT_EXPECT_TRUE(test, !ferry_share_next(&share));
	ferry_share_remove(&share, &a);
	KUNIT_EXPECT_TRUE(test, !share.first);
}

/* The lowest tag is next; of equal ones, the first. */
static void next(struct kunit *test)
{
	struct ferry_share share = {};
	struct ferry_turn a = {}, b = {}, c = {};

	ferry_share_add(&share, &c);
	ferry_share_add(&share, &b);
	ferry_share_add(&share, &a);
	a.tag = 7;
	b.tag = 5;
	c.tag = 5;
	ferry_share_wait(&share, &a);
	ferry_share_wait(&share, &b);
	ferry_share_wait(&share, &c);
	KUNIT_EXPECT_PTR_EQ(test, ferry_share_next(&share), &b);
	ferry_share_give_up(&b);
	KUNIT_EXPECT_PTR_EQ(test, ferry_share_next(&share), &c);
	ferry_share_give_up(&c);
	KUNIT_EXPECT_PTR_EQ(test, ferry_share_next(&share), &a);
}

/* What was sent before is paid for first; then a batch goes, whatever its size. */
static void take(struct kunit *test)
{
	struct ferry_share share = {};
	struct ferry_turn a = {}, b = {};

	ferry_pace_init(&share.pace, 1000000, S);
	ferry_share_add(&share, &a);
	ferry_share_add(&share, &b);
	b.tag = 100;
	ferry_share_wait(&share, &a);
	ferry_share_wait(&share, &a);
	ferry_share_wait(&share, &b);
	KUNIT_EXPECT_EQ(test, ferry_share_take(&share, &a, 50000, S), 0);
	KUNIT_EXPECT_EQ(test, a.tag, 50000);
	KUNIT_EXPECT_EQ(test, a.waiting, 1);
	KUNIT_EXPECT_EQ(test, share.tag, 0);
	KUNIT_EXPECT_PTR_EQ(test, ferry_share_next(&share), &b);
	KUNIT_EXPECT_EQ(test, ferry_share_take(&share, &b, 20000, S), 50 * MS);
	KUNIT_EXPECT_EQ(test, b.tag, 100);
	KUNIT_EXPECT_EQ(test, b.waiting, 1);
	KUNIT_EXPECT_EQ(test, ferry_share_take(&share, &b, 20000, S + 49 * MS), MS);
	KUNIT_EXPECT_EQ(test, ferry_share_take(&share, &b, 20000, S + 50 * MS), 0);
	KUNIT_EXPECT_EQ(test, b.tag, 20100);
	KUNIT_EXPECT_EQ(test, b.waiting, 0);
	KUNIT_EXPECT_EQ(test, share.tag, 100);
	KUNIT_EXPECT_EQ(test, ferry_share_take(&share, &a, 1, S + 70 * MS), 0);
	KUNIT_EXPECT_EQ(test, share.tag, 50000);
	/* One that came late has a lower tag, and time does not go back. */
	b.tag = 30000;
	ferry_share_wait(&share, &b);
	KUNIT_EXPECT_EQ(test, ferry_share_take(&share, &b, 7, S + 80 * MS), 0);
	KUNIT_EXPECT_EQ(test, share.tag, 50000);
	KUNIT_EXPECT_EQ(test, b.tag, 30007);
}

/* Whoever was idle has saved up no more than 20 ms of the limit, or 256 KiB. */
static void late(struct kunit *test)
{
	struct ferry_share share = { .tag = 100 * MIB };
	struct ferry_turn a = {}, b = { .tag = 100 * MIB - 1 }, c = { .tag = 200 * MIB };

	ferry_pace_init(&share.pace, 50 * 256 * KIB - 50, S);
	ferry_share_wait(&share, &a);
	KUNIT_EXPECT_EQ(test, a.tag, 100 * MIB - 256 * KIB);
	a.tag = 0;
	/* A second sender of it changes nothing. */
	ferry_share_wait(&share, &a);
	KUNIT_EXPECT_EQ(test, a.tag, 0);
	KUNIT_EXPECT_EQ(test, a.waiting, 2);
	ferry_share_wait(&share, &b);
	KUNIT_EXPECT_EQ(test, b.tag, 100 * MIB - 1);
	ferry_share_wait(&share, &c);
	KUNIT_EXPECT_EQ(test, c.tag, 200 * MIB);
	ferry_share_give_up(&a);
	ferry_share_give_up(&a);
	ferry_pace_init(&share.pace, 50 * MIB, S);
	ferry_share_wait(&share, &a);
	KUNIT_EXPECT_EQ(test, a.tag, 99 * MIB);
	ferry_share_give_up(&a);
	a.tag = 0;
	share.tag = MIB - 1;
	ferry_share_wait(&share, &a);
	KUNIT_EXPECT_EQ(test, a.tag, 0);
	/* One that is new has saved up nothing. */
	ferry_share_add(&share, &c);
	KUNIT_EXPECT_EQ(test, c.tag, MIB - 1);
}

static void active(struct kunit *test)
{
	struct ferry_share share = {};
	struct ferry_turn a = {}, b = { .sent_ns = S }, c = { .waiting = 3 };

	KUNIT_EXPECT_EQ(test, ferry_share_active(&share, S), 0);
	ferry_share_add(&share, &a);
	/* It has never sent, though the clock has only begun. */
	KUNIT_EXPECT_EQ(test, ferry_share_active(&share, 1), 0);
	ferry_share_add(&share, &b);
	KUNIT_EXPECT_EQ(test, ferry_share_active(&share, S), 1);
	KUNIT_EXPECT_EQ(test, ferry_share_active(&share, S + ACTIVE - 1), 1);
	KUNIT_EXPECT_EQ(test, ferry_share_active(&share, S + ACTIVE), 0);
	ferry_share_add(&share, &c);
	KUNIT_EXPECT_EQ(test, ferry_share_active(&share, S + ACTIVE), 1);
	KUNIT_EXPECT_EQ(test, ferry_share_active(&share, S), 2);
}

static void level(struct kunit *test)
{
	static const struct {
		const char *name;
		u64 rate;
		u64 limits[4];		/* 1: idle */
		u64 all;		/* with those that send */
		u64 mine;		/* when the first counts, too */
	} rows[] = {
		{ "nobody", 1000, { 1, 1, 1, 1 }, 1000, 1000 },
		{ "one", 1000, { 0, 1, 1, 1 }, 1000, 1000 },
		{ "one has come", 1000, { 1, 0, 1, 1 }, 1000, 500 },
		{ "even", 1000, { 0, 0, 0, 0 }, 250, 250 },
		{ "one wants less", 1000, { 0, 100, 0, 0 }, 300, 300 },
		{ "just its share", 1000, { 0, 250, 0, 0 }, 250, 250 },
		{ "not less than its share", 1000, { 0, 251, 0, 0 }, 250, 250 },
		{ "in two rounds", 1200, { 0, 400, 20, 350 }, 430, 430 },
		{ "all want less", 1000, { 100, 100, 200, 200 }, 400, 400 },
		{ "all want nearly as much", 1000, { 240, 240, 240, 250 }, 250, 250 },
		{ "what is left is less", 1000, { 100, 450, 449, 1 }, 450, 450 },
		{ "as much as there is", 1ULL << 50, { 1ULL << 50, 0, 0, 1ULL << 50 }, 1ULL << 48, 1ULL << 48 },
		{ "rounded down", 1001, { 0, 0, 0, 1 }, 333, 333 },
	};
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ferry_share share = { .pace = { .rate = rows[i].rate } };
		struct ferry_turn t[4] = {};

		for (j = 0; j < 4; j++) {
			bool idle = rows[i].limits[j] == 1;

			t[j].limit = idle ? 0 : rows[i].limits[j];
			t[j].sent_ns = idle ? 0 : S;
			ferry_share_add(&share, &t[j]);
		}
		KUNIT_EXPECT_EQ_MSG(test, ferry_share_level(&share, NULL, S), rows[i].all, "%s",
				    rows[i].name);
		KUNIT_EXPECT_EQ_MSG(test, ferry_share_level(&share, &t[0], S), rows[i].mine,
				    "%s, with the first", rows[i].name);
	}
}

/*
 * Ten seconds of 10 MB/s. Batches of 100 kB and less; a has four senders, b one that
 * needs 15 ms for each batch, c its own limit of 1 MB/s, d comes after five seconds.
 */
static void shared(struct kunit *test)
{
	struct ferry_share share = {};
	struct ferry_turn a = {}, b = {}, c = {}, d = {}, *t;
	u64 now = 10 * S, got[4] = {}, half[4] = {}, b_ready = now, c_due = now;
	u32 i;

	ferry_pace_init(&share.pace, 10000000, now);
	ferry_share_add(&share, &a);
	ferry_share_add(&share, &b);
	ferry_share_add(&share, &c);
	for (; now < 20 * S; now += MS) {
		while (a.waiting < 4)
			ferry_share_wait(&share, &a);
		if (!b.waiting && now >= b_ready)
			ferry_share_wait(&share, &b);
		if (!c.waiting && now >= c_due)
			ferry_share_wait(&share, &c);
		if (now == 15 * S) {
			memcpy(half, got, sizeof(half));
			ferry_share_add(&share, &d);
		}
		if (now >= 15 * S && !d.waiting)
			ferry_share_wait(&share, &d);
		t = ferry_share_next(&share);
		if (t == &a && !ferry_share_take(&share, t, 100000, now)) {
			got[0] += 100000;
		} else if (t == &b && !ferry_share_take(&share, t, 100000, now)) {
			got[1] += 100000;
			b_ready = now + 15 * MS;
		} else if (t == &c && !ferry_share_take(&share, t, 50000, now)) {
			got[2] += 50000;
			c_due = c_due + 50 * MS;
		} else if (t == &d && !ferry_share_take(&share, t, 70000, now)) {
			got[3] += 70000;
		}
	}
	/* 45 MB for two, then 45 MB for three; 2 % of it, for it is in batches. */
	KUNIT_EXPECT_GE(test, half[0], 22050000);
	KUNIT_EXPECT_LE(test, half[0], 22950000);
	KUNIT_EXPECT_GE(test, half[1], 22050000);
	KUNIT_EXPECT_LE(test, half[1], 22950000);
	for (i = 0; i < 4; i++) {
		got[i] -= half[i];
		KUNIT_EXPECT_GE(test, got[i], i == 2 ? 4900000 : 14700000);
		KUNIT_EXPECT_LE(test, got[i], i == 2 ? 5100000 : 15300000);
	}
	KUNIT_EXPECT_LE(test, got[0] + got[1] + got[2] + got[3], 50300000);
	KUNIT_EXPECT_GE(test, got[0] + got[1] + got[2] + got[3], 49700000);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(list),
	KUNIT_CASE(next),
	KUNIT_CASE(take),
	KUNIT_CASE(late),
	KUNIT_CASE(active),
	KUNIT_CASE(level),
	KUNIT_CASE(shared),
	{}
};

static struct kunit_suite suite = {
	.name = "ferry_share",
	.test_cases = cases,
};
kunit_test_suite(suite);
