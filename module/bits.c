// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs of bits, word by word, each word by one atomic operation.
 *
 * Setting always does the atomic operation, also where the bits are set
 * already: it is a full barrier, so whoever takes the bit afterwards reads the
 * page as it was when the bit was set, or newer. Looking first and skipping
 * would let the setter's own stores become visible after the taker has read
 * the page, and the change would be lost. Clearing may look first: a bit that
 * is not set yet is simply cleared before it is set.
 */
#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/compiler.h>

#include "bits.h"

/* The bits of one word from @bit on, at most @count of them; *@n: how many. */
static unsigned long run_mask(unsigned int bit, u64 count, unsigned int *n)
{
	unsigned int room = BITS_PER_LONG - bit;

	*n = count < room ? count : room;
	return (~0UL >> (BITS_PER_LONG - *n)) << bit;
}

static unsigned long fetch_or(unsigned long *word, unsigned long mask)
{
	return atomic_long_fetch_or(mask, (atomic_long_t *)word);
}

static unsigned long fetch_andnot(unsigned long *word, unsigned long mask)
{
	if (!(READ_ONCE(*word) & mask))
		return 0;
	return atomic_long_fetch_andnot(mask, (atomic_long_t *)word);
}

u64 ferry_bits_set(unsigned long *map, u64 first, u64 count)
{
	unsigned long *word = map + first / BITS_PER_LONG;
	unsigned int bit = first % BITS_PER_LONG, n;
	u64 changed = 0;

	for (; count; count -= n, bit = 0, word++) {
		unsigned long mask = run_mask(bit, count, &n);

		changed += hweight_long(mask & ~fetch_or(word, mask));
	}
	return changed;
}

u64 ferry_bits_clear(unsigned long *map, u64 first, u64 count)
{
	unsigned long *word = map + first / BITS_PER_LONG;
	unsigned int bit = first % BITS_PER_LONG, n;
	u64 changed = 0;

	for (; count; count -= n, bit = 0, word++) {
		unsigned long mask = run_mask(bit, count, &n);

		changed += hweight_long(mask & fetch_andnot(word, mask));
	}
	return changed;
}

u64 ferry_bits_take(unsigned long *map, u64 first, u32 count)
{
	unsigned int bit = first % BITS_PER_LONG, n;
	unsigned long mask;

	if (!count)
		return 0;
	mask = run_mask(bit, count, &n);
	return (fetch_andnot(map + first / BITS_PER_LONG, mask) & mask) >> bit;
}

u64 ferry_bits_move(unsigned long *to, unsigned long *from, u64 words)
{
	u64 changed = 0;

	for (; words; words--, to++, from++) {
		/*
		 * Out of @from first: a bit that is set there anew after this
		 * stays there. The other way round it could be cleared unmoved.
		 */
		unsigned long moved = fetch_andnot(from, ~0UL);

		if (moved)
			changed += hweight_long(moved & ~fetch_or(to, moved));
	}
	return changed;
}

u64 ferry_bits_weight(const unsigned long *map, u64 first, u64 count)
{
	const unsigned long *word = map + first / BITS_PER_LONG;
	unsigned int bit = first % BITS_PER_LONG, n;
	u64 weight = 0;

	for (; count; count -= n, bit = 0, word++) {
		unsigned long mask = run_mask(bit, count, &n);

		weight += hweight_long(READ_ONCE(*word) & mask);
	}
	return weight;
}
