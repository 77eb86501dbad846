/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Just enough of the kernel to compile the pure files and their suites in user
 * space, for the mutation check, for sanitizers and for fuzzing. Forced in
 * front of every file; the kernel headers that they name are then empty.
 */
#ifndef FERRY_HOST_SHIM_H
#define FERRY_HOST_SHIM_H

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef unsigned long long u64;
typedef __s32 s32;
typedef long long s64;

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define BITS_PER_LONG		64
#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define hweight_long(w)		((u64)__builtin_popcountl(w))
#define div64_u64(n, d)		((u64)(n) / (u64)(d))
#define min_t(type, a, b)	((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define min(a, b)		({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ < b_ ? a_ : b_; })
#define max_t(type, a, b)	((type)(a) > (type)(b) ? (type)(a) : (type)(b))
#define clamp_t(type, v, lo, hi)	min_t(type, max_t(type, v, lo), hi)

struct host_atomic {
	unsigned long counter;
};

#define atomic_long_t		struct host_atomic

struct host_atomic64 {
	s64 counter;
};

#define atomic64_t		struct host_atomic64

#define atomic_long_fetch_or(v, p)	__atomic_fetch_or(&(p)->counter, v, __ATOMIC_SEQ_CST)
#define atomic_long_fetch_andnot(v, p)	__atomic_fetch_and(&(p)->counter, ~(v), __ATOMIC_SEQ_CST)

unsigned long find_next_bit(const unsigned long *map, unsigned long size, unsigned long from);

#define GFP_KERNEL		0
#define kfree(p)		free(p)

static inline void *kmalloc(size_t n, int flags)
{
	(void)flags;
	return malloc(n);
}

/* KUnit: an assertion leaves the case, an expectation only counts. */
struct kunit {
	const char *name;
	bool failed;
	jmp_buf leave;
	void *owned[64];
	unsigned int nr_owned;
};

struct kunit_case {
	void (*run)(struct kunit *test);
	const char *name;
};

struct kunit_suite {
	const char *name;
	struct kunit_case *test_cases;
};

#define KUNIT_CASE(fn)	{ fn, #fn }

void host_add_suite(struct kunit_suite *suite);
void *kunit_kzalloc(struct kunit *test, size_t n, int flags);
void host_fail(struct kunit *test, bool leave, const char *file, int line, const char *what);

#define kunit_test_suite(suite) \
static void __attribute__((constructor)) register_suite(void) \
{ \
	host_add_suite(&suite); \
}

#define HOST_CHECK(test, leave, cond, what) do { \
	if (!(cond)) \
		host_fail(test, leave, __FILE__, __LINE__, what); \
} while (0)

#define KUNIT_EXPECT_EQ(t, a, b)	HOST_CHECK(t, false, (a) == (b), #a " == " #b)
#define KUNIT_EXPECT_LE(t, a, b)	HOST_CHECK(t, false, (a) <= (b), #a " <= " #b)
#define KUNIT_EXPECT_GE(t, a, b)	HOST_CHECK(t, false, (a) >= (b), #a " >= " #b)
#define KUNIT_EXPECT_LT(t, a, b)	HOST_CHECK(t, false, (a) < (b), #a " < " #b)
#define KUNIT_EXPECT_TRUE(t, a)		HOST_CHECK(t, false, a, #a)
#define KUNIT_EXPECT_FALSE(t, a)	HOST_CHECK(t, false, !(a), "not " #a)
#define KUNIT_EXPECT_STREQ(t, a, b)	HOST_CHECK(t, false, !strcmp(a, b), #a " is " #b)
#define KUNIT_EXPECT_PTR_EQ(t, a, b)	KUNIT_EXPECT_EQ(t, a, b)
#define KUNIT_EXPECT_EQ_MSG(t, a, b, ...)	KUNIT_EXPECT_EQ(t, a, b)
#define KUNIT_EXPECT_LE_MSG(t, a, b, ...)	KUNIT_EXPECT_LE(t, a, b)
#define KUNIT_EXPECT_GE_MSG(t, a, b, ...)	KUNIT_EXPECT_GE(t, a, b)
#define KUNIT_EXPECT_TRUE_MSG(t, a, ...)	KUNIT_EXPECT_TRUE(t, a)
#define KUNIT_ASSERT_EQ(t, a, b)	HOST_CHECK(t, true, (a) == (b), #a " == " #b)
#define KUNIT_ASSERT_LE(t, a, b)	HOST_CHECK(t, true, (a) <= (b), #a " <= " #b)
#define KUNIT_ASSERT_NOT_NULL(t, a)	HOST_CHECK(t, true, (a) != NULL, #a)

#endif /* FERRY_HOST_SHIM_H */
