// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs of bits, against a model that goes bit by bit: every first bit and every
 * length over four words, between two words that must stay as they are.
 */
#include <kunit/test.h>
#include <linux/string.h>

#include "bits.h"

#define WORDS	4
#define NR	(WORDS * 64)
#define GUARD	0x5aa5c33c0ff0e11eUL

struct maps {
	unsigned long real[WORDS + 2];
	unsigned long model[WORDS + 2];
};

/* Patterns that differ at word edges. */
static const unsigned long patterns[][WORDS] = {
	{ 0, 0, 0, 0 },
	{ ~0UL, ~0UL, ~0UL, ~0UL },
	{ 0xaaaaaaaaaaaaaaaa, 0x5555555555555555, 0x8000000000000001, 0x7ffffffffffffffe },
};

static void fill(struct maps *m, int pattern)
{
	m->real[0] = GUARD;
	m->real[WORDS + 1] = ~GUARD;
	memcpy(m->real + 1, patterns[pattern], sizeof(patterns[pattern]));
	memcpy(m->model, m->real, sizeof(m->real));
}

static bool model_get(struct maps *m, u64 bit)
{
	return m->model[1 + bit / 64] >> bit % 64 & 1;
}

/* Returns whether the bit changed. */
static u64 model_put(struct maps *m, u64 bit, bool value)
{
	if (model_get(m, bit) == value)
		return 0;
	m->model[1 + bit / 64] ^= 1UL << bit % 64;
	return 1;
}

static void check_run(struct kunit *test, int pattern, u64 first, u64 count)
{
	u64 set = 0, cleared = 0, weight = 0, bit;
	struct maps m;

	fill(&m, pattern);
	for (bit = first; bit < first + count; bit++)
		weight += model_get(&m, bit);
	KUNIT_EXPECT_EQ(test, ferry_bits_weight(m.real + 1, first, count), weight);
	KUNIT_EXPECT_EQ(test, memcmp(m.real, m.model, sizeof(m.real)), 0);

	for (bit = first; bit < first + count; bit++)
		set += model_put(&m, bit, true);
	KUNIT_EXPECT_EQ(test, ferry_bits_set(m.real + 1, first, count), set);
	KUNIT_EXPECT_EQ(test, memcmp(m.real, m.model, sizeof(m.real)), 0);
	KUNIT_EXPECT_EQ(test, ferry_bits_set(m.real + 1, first, count), 0);

	fill(&m, pattern);
	for (bit = first; bit < first + count; bit++)
		cleared += model_put(&m, bit, false);
	KUNIT_EXPECT_EQ(test, ferry_bits_clear(m.real + 1, first, count), cleared);
	KUNIT_EXPECT_EQ(test, memcmp(m.real, m.model, sizeof(m.real)), 0);
	KUNIT_EXPECT_EQ(test, ferry_bits_clear(m.real + 1, first, count), 0);
}

static void runs(struct kunit *test)
{
	u64 first, count;
	int pattern;

	for (pattern = 0; pattern < ARRAY_SIZE(patterns); pattern++)
		for (first = 0; first <= NR; first++)
			for (count = 0; count <= NR - first; count++)
				check_run(test, pattern, first, count);
}

static void take(struct kunit *test)
{
	u64 first, want, i;
	struct maps m;
	int pattern;
	u32 count;

	for (pattern = 0; pattern < ARRAY_SIZE(patterns); pattern++) {
		for (first = 0; first < NR; first++) {
			for (count = 0; count <= 64 - first % 64; count++) {
				fill(&m, pattern);
				for (want = 0, i = 0; i < count; i++)
					want |= model_put(&m, first + i, false) << i;
				KUNIT_EXPECT_EQ_MSG(test,
					ferry_bits_take(m.real + 1, first, count), want,
					"%u bits from %llu on", count, (unsigned long long)first);
				KUNIT_EXPECT_EQ(test, memcmp(m.real, m.model, sizeof(m.real)), 0);
			}
		}
	}
}

static void move(struct kunit *test)
{
	struct maps to, from;
	u64 words, want, bit;
	int a, b;

	for (a = 0; a < ARRAY_SIZE(patterns); a++) {
		for (b = 0; b < ARRAY_SIZE(patterns); b++) {
			for (words = 0; words <= WORDS; words++) {
				fill(&to, a);
				fill(&from, b);
				for (want = 0, bit = 0; bit < words * 64; bit++)
					if (model_put(&from, bit, false))
						want += model_put(&to, bit, true);
				KUNIT_EXPECT_EQ(test, ferry_bits_move(to.real + 1, from.real + 1,
								      words), want);
				KUNIT_EXPECT_EQ(test, memcmp(to.real, to.model,
							     sizeof(to.real)), 0);
				KUNIT_EXPECT_EQ(test, memcmp(from.real, from.model,
							     sizeof(from.real)), 0);
			}
		}
	}
}

/*
 * Bit numbers beyond 2^32: the map is taken to begin 2^40 bits before the words
 * that are there, as if it were one of a region of 4 PiB.
 */
static void far_bits(struct kunit *test)
{
	const u64 far = 1ULL << 40;
	unsigned long words[3] = { 0, 0, 0 }, *map;

	map = (unsigned long *)((unsigned long)words - far / 8);
	KUNIT_EXPECT_EQ(test, ferry_bits_set(map, far + 60, 70), 70);
	KUNIT_EXPECT_EQ(test, words[0], 0xf000000000000000);
	KUNIT_EXPECT_EQ(test, words[1], ~0UL);
	KUNIT_EXPECT_EQ(test, words[2], 3);
	KUNIT_EXPECT_EQ(test, ferry_bits_weight(map, far + 60, 70), 70);
	KUNIT_EXPECT_EQ(test, ferry_bits_take(map, far + 128, 2), 3);
	KUNIT_EXPECT_EQ(test, ferry_bits_clear(map, far + 61, 131), 67);
	KUNIT_EXPECT_EQ(test, words[0], 0x1000000000000000);
	KUNIT_EXPECT_EQ(test, words[1] | words[2], 0);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(runs),
	KUNIT_CASE(take),
	KUNIT_CASE(move),
	KUNIT_CASE(far_bits),
	{}
};

static struct kunit_suite suite = {
	.name = "ferry_bits",
	.test_cases = cases,
};
kunit_test_suite(suite);
