// SPDX-License-Identifier: GPL-2.0-only
/*
 * A walk comes to every block that has published pages, whatever its order says: three
 * regions, one that ends within a block, and orders that help, lie, or say nothing.
 */
#include <kunit/test.h>
#include <linux/string.h>

#include "bits.h"
#include "order.h"

#define REGIONS	3
#define BLOCKS	5	/* of the largest */
#define ROOM	(BLOCKS * FERRY_BLOCK_PAGES)

struct memory {
	struct ferry_region region[REGIONS];
	struct ferry_region *regions[REGIONS];
	unsigned long published[REGIONS][ROOM / 64];
};

static const u64 sizes[REGIONS] = { 5 * 512, 1, 2 * 512 + 65 };

static struct memory *make(struct kunit *test)
{
	struct memory *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	for (i = 0; i < REGIONS; i++) {
		m->regions[i] = &m->region[i];
		m->region[i].index = i;
		m->region[i].nr_pages = sizes[i];
		m->region[i].nr_blocks = (sizes[i] + 511) / 512;
		m->region[i].published = m->published[i];
	}
	return m;
}

static bool ascends(struct ferry_walk *w)
{
	if (w->stage && ++w->block == w->regions[w->region]->nr_blocks) {
		w->region++;
		w->block = 0;
	}
	w->stage = 1;
	return w->region < w->nr_regions;
}

static bool descends(struct ferry_walk *w)
{
	if (!w->stage) {
		w->stage = 1;
		w->region = w->nr_regions - 1;
		w->block = w->regions[w->region]->nr_blocks;
	}
	while (!w->block) {
		if (!w->region)
			return false;
		w->region--;
		w->block = w->regions[w->region]->nr_blocks;
	}
	w->block--;
	return true;
}

static bool stays(struct ferry_walk *w)
{
	w->region = 0;
	w->block = 2;
	return true;
}

static bool says_nothing(struct ferry_walk *w)
{
	return false;
}

static bool half(struct ferry_walk *w)
{
	w->region = 0;
	w->block = 4 - w->stage;
	return w->stage++ < 2;
}

static const struct { u32 region; u64 block; } lies[] = {
	{ 3, 0 }, { ~0U, 0 }, { 0, 5 }, { 0, ~0ULL }, { 2, 3 }, { 1, 1 }, { 0, 1ULL << 55 },
};

static bool goes_astray(struct ferry_walk *w)
{
	w->region = lies[w->stage % ARRAY_SIZE(lies)].region;
	w->block = lies[w->stage % ARRAY_SIZE(lies)].block;
	w->stage++;
	return true;
}

static const struct ferry_order_ops orders[] = {
	{ .name = "ascends", .next = ascends },
	{ .name = "descends", .next = descends },
	{ .name = "stays", .next = stays },
	{ .name = "says nothing", .next = says_nothing },
	{ .name = "half", .next = half },
	{ .name = "goes astray", .next = goes_astray },
	{ .name = "none", .plain = true },
};

/* @way: region and block of each step. @take: its pages are sent. */
static void walk(struct kunit *test, struct memory *m, const struct ferry_order_ops *order,
		 bool take, char *way, size_t room)
{
	struct ferry_walk w;
	u32 steps = 0;

	*way = 0;
	ferry_walk_begin(&w, m->regions, REGIONS, order);
	while (ferry_walk_next(&w)) {
		const struct ferry_region *r;

		/* 9 blocks in all: each at most once by its order, and once behind it. */
		steps++;
		KUNIT_ASSERT_LE(test, steps, 18);
		KUNIT_ASSERT_LE(test, w.region, REGIONS - 1);
		r = m->regions[w.region];
		KUNIT_ASSERT_LE(test, w.block, r->nr_blocks - 1);
		snprintf(way + strlen(way), room - strlen(way), "%u%llu ", w.region, w.block);
		if (take)
			ferry_bits_clear(r->published, w.block * 512,
					 min_t(u64, 512, r->nr_pages - w.block * 512));
	}
}

static void publish_all(struct memory *m)
{
	u32 i;

	for (i = 0; i < REGIONS; i++)
		ferry_bits_set(m->published[i], 0, sizes[i]);
}

static void test_comes_to_all(struct kunit *test)
{
	static const char *const ways[] = {
		"00 01 02 03 04 10 20 21 22 ",
		"22 21 20 10 04 03 02 01 00 ",
		"02 00 01 03 04 10 20 21 22 ",
		"00 01 02 03 04 10 20 21 22 ",
		"04 03 00 01 02 10 20 21 22 ",
		"00 01 02 03 04 10 20 21 22 ",
		"00 01 02 03 04 10 20 21 22 ",
	};
	struct memory *m = make(test);
	char way[80];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		publish_all(m);
		walk(test, m, &orders[i], true, way, sizeof(way));
		KUNIT_EXPECT_STREQ(test, way, ways[i]);
	}
	publish_all(m);
	walk(test, m, NULL, true, way, sizeof(way));
	KUNIT_EXPECT_STREQ(test, way, "00 01 02 03 04 10 20 21 22 ");
}

/* One page each: the first and the last of a block, and of what is left of one. */
static void test_single_pages(struct kunit *test)
{
	static const struct { u32 region; u64 pfn; const char *way; } rows[] = {
		{ 0, 0, "00 " }, { 0, 511, "00 " }, { 0, 512, "01 " }, { 0, 2559, "04 " },
		{ 1, 0, "10 " }, { 2, 1023, "21 " }, { 2, 1024, "22 " }, { 2, 1088, "22 " },
	};
	struct memory *m = make(test);
	char way[80];
	u32 i, k;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		for (k = 0; k <= ARRAY_SIZE(orders); k++) {
			ferry_bits_set(m->published[rows[i].region], rows[i].pfn, 1);
			walk(test, m, k ? &orders[k - 1] : NULL, true, way, sizeof(way));
			KUNIT_EXPECT_STREQ(test, way, rows[i].way);
		}
	walk(test, m, NULL, true, way, sizeof(way));
	KUNIT_EXPECT_STREQ(test, way, "");
}

/* What others' senders leave where it is: the walk ends all the same. */
static void test_ends(struct kunit *test)
{
	struct memory *m = make(test);
	char way[160];
	u32 i;

	publish_all(m);
	walk(test, m, NULL, false, way, sizeof(way));
	KUNIT_EXPECT_STREQ(test, way, "00 01 02 03 04 10 20 21 22 ");
	walk(test, m, &orders[2], false, way, sizeof(way));
	KUNIT_EXPECT_STREQ(test, way, "02 02 02 02 02 02 02 02 02 00 01 02 03 04 10 20 21 22 ");
	for (i = 0; i < ARRAY_SIZE(orders); i++)
		walk(test, m, &orders[i], false, way, sizeof(way));
}

/* Pages that were published behind it wait for the next walk. */
static void test_published_behind(struct kunit *test)
{
	struct memory *m = make(test);
	struct ferry_walk w;

	ferry_bits_set(m->published[0], 600, 1);
	ferry_walk_begin(&w, m->regions, REGIONS, NULL);
	KUNIT_EXPECT_TRUE(test, ferry_walk_next(&w));
	KUNIT_EXPECT_EQ(test, w.block, 1);
	ferry_bits_set(m->published[0], 3, 1);
	KUNIT_EXPECT_FALSE(test, ferry_walk_next(&w));
	KUNIT_EXPECT_FALSE(test, ferry_walk_next(&w));
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_comes_to_all),
	KUNIT_CASE(test_single_pages),
	KUNIT_CASE(test_ends),
	KUNIT_CASE(test_published_behind),
	{}
};

static struct kunit_suite suite = {
	.name = "ferry_order",
	.test_cases = cases,
};
kunit_test_suite(suite);
