/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs of bits: what the sweep and the bitmap ioctls need beyond
 * <linux/bitmap.h>. Pure.
 */
#ifndef FERRY_BITS_H
#define FERRY_BITS_H

#include <linux/types.h>

/*
 * Both are safe against each other and against readers without a lock: words
 * are changed with atomic operations. Bits outside [first, first + count) stay
 * as they are. Both return how many bits changed. Setting is a full barrier,
 * also for bits that are set already: who takes a bit sees what was written
 * before it was set, however often that was.
 */
u64 ferry_bits_set(unsigned long *map, u64 first, u64 count);
u64 ferry_bits_clear(unsigned long *map, u64 first, u64 count);

/*
 * Atomically takes (reads and clears) the bits [first, first + count) out of
 * @map and returns them, bit @first as bit 0. They must all lie in one word, so
 * @count is at most 64; 0 takes nothing.
 */
u64 ferry_bits_take(unsigned long *map, u64 first, u32 count);

/*
 * ORs every set bit of @from into @to and clears it in @from, atomically word
 * by word; @words long words. Returns how many bits became set in @to. For a
 * moment a bit that moves is in neither map: whoever must not miss it there
 * (is anything left?) has to exclude the mover.
 */
u64 ferry_bits_move(unsigned long *to, unsigned long *from, u64 words);

u64 ferry_bits_weight(const unsigned long *map, u64 first, u64 count);

#endif /* FERRY_BITS_H */
