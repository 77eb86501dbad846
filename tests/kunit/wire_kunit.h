/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the suites of the wire codec share: every decoder is fed copies of a
 * body in memory of just its length, cut at every byte, with one field at a
 * time made wrong.
 */
#ifndef FERRY_WIRE_KUNIT_H
#define FERRY_WIRE_KUNIT_H

#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "wire.h"

/* A decoder with its struct left out. */
typedef int (*decode_fn)(const u8 *body, size_t len, const char **why);

/* @size bytes at @at become @value; the decoder must then return @want. */
struct poke {
	const char *what;
	u16 at;
	u8 size;
	u64 value;
	int want;
};

#define BAD(what, at, size, value) { what, at, size, value, -EPROTO }
#define GOOD(what, at, size, value) { what, at, size, value, 0 }

static inline void poke_bytes(u8 *p, u8 size, u64 value)
{
	for (; size; size--, value >>= 8)
		*p++ = value & 0xff;
}

/*
 * Decodes a copy that ends where its memory ends, with @why and without: a read
 * beyond it is seen by KASAN or by the address sanitizer.
 */
static inline int decode_copy(struct kunit *test, decode_fn decode, const u8 *body, size_t len)
{
	static const char untouched[] = "untouched";
	const char *why = untouched;
	u8 *copy = kmalloc(len, GFP_KERNEL);
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, copy);
	memcpy(copy, body, len);
	ret = decode(copy, len, &why);
	KUNIT_EXPECT_EQ(test, decode(copy, len, NULL), ret);
	KUNIT_EXPECT_EQ(test, memcmp(copy, body, len), 0);
	kfree(copy);
	if (ret) {
		KUNIT_EXPECT_EQ(test, ret, -EPROTO);
		KUNIT_ASSERT_NOT_NULL(test, why);
		KUNIT_EXPECT_TRUE_MSG(test, why != untouched && strlen(why) > 8, "why: %s", why);
	} else {
		KUNIT_EXPECT_PTR_EQ(test, why, (const char *)untouched);
	}
	return ret;
}

/* Right at @len, wrong at every other length up to 128 more. */
static inline void check_lengths(struct kunit *test, decode_fn decode, const u8 *body, size_t len)
{
	u8 *room = kunit_kzalloc(test, len + 128, GFP_KERNEL);
	size_t n;

	KUNIT_ASSERT_NOT_NULL(test, room);
	memcpy(room, body, len);
	for (n = 0; n <= len + 128; n++)
		KUNIT_EXPECT_EQ_MSG(test, decode_copy(test, decode, room, n),
				    n == len ? 0 : -EPROTO, "length %zu of %zu", n, len);
}

static inline void check_pokes(struct kunit *test, decode_fn decode, const u8 *body, size_t len,
			       const struct poke *pokes, size_t nr)
{
	u8 *room = kunit_kzalloc(test, len, GFP_KERNEL);
	size_t i;

	KUNIT_ASSERT_NOT_NULL(test, room);
	for (i = 0; i < nr; i++) {
		KUNIT_ASSERT_LE(test, pokes[i].at + pokes[i].size, len);
		memcpy(room, body, len);
		poke_bytes(room + pokes[i].at, pokes[i].size, pokes[i].value);
		KUNIT_EXPECT_EQ_MSG(test, decode_copy(test, decode, room, len), pokes[i].want,
				    "%s is %llu", pokes[i].what,
				    (unsigned long long)pokes[i].value);
	}
}

/* No bit of the bytes [from, to) may be set. */
static inline void check_reserved(struct kunit *test, decode_fn decode, const u8 *body, size_t len,
				  size_t from, size_t to)
{
	u8 *room = kunit_kzalloc(test, len, GFP_KERNEL);
	size_t bit;

	KUNIT_ASSERT_NOT_NULL(test, room);
	memcpy(room, body, len);
	for (bit = from * 8; bit < to * 8; bit++) {
		KUNIT_ASSERT_EQ(test, room[bit / 8], 0);
		room[bit / 8] = 1 << bit % 8;
		KUNIT_EXPECT_EQ_MSG(test, decode_copy(test, decode, room, len), -EPROTO,
				    "reserved bit %zu", bit);
		room[bit / 8] = 0;
	}
	KUNIT_EXPECT_EQ(test, decode_copy(test, decode, room, len), 0);
}

#define CHECK_POKES(test, decode, body, pokes) \
	check_pokes(test, decode, body, sizeof(body), pokes, ARRAY_SIZE(pokes))

#define CHECK_BYTES(test, got, n, want) do { \
	KUNIT_ASSERT_EQ(test, (size_t)(n), sizeof(want)); \
	KUNIT_EXPECT_EQ(test, memcmp(got, want, sizeof(want)), 0); \
} while (0)

#endif /* FERRY_WIRE_KUNIT_H */
