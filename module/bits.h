/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs of bits: what the sweep and the bitmap ioctls need beyond
 * <linux/bitmap.h>. Pure.
 */
#ifndef FERRY_BITS_H
#define FERRY_BITS_H

#include <linux/types.h>

/*
 * Both are safe against each other and against readers without a lock: whole
 * words are changed with atomic operations. Bits outside [first, first + count)
 * stay as they are. Both return how many bits changed.
 */
u64 ferry_bits_set(unsigned long *map, u64 first, u64 count);
u64 ferry_bits_clear(unsigned long *map, u64 first, u64 count);

/*
 * Atomically takes (reads and clears) the bits [first, first + count) out of
 * @map into @out, bit @first becoming bit 0 of @out[0]; count at most 64.
 * @first and @first + @count may not straddle a word.
 */
u64 ferry_bits_take(unsigned long *map, u64 first, u32 count);

/*
 * ORs every set bit of @from into @to and clears it in @from, atomically word
 * by word; @words long words. Returns how many bits became set in @to.
 */
u64 ferry_bits_move(unsigned long *to, unsigned long *from, u64 words);

u64 ferry_bits_weight(const unsigned long *map, u64 first, u64 count);

#endif /* FERRY_BITS_H */
