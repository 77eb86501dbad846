/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the test guest's disk holds: what disk.c writes, and tests/qemu/diskcheck
 * reads from outside.
 *
 * First the area, in blocks of 4 KiB. A block that was never written is zero. Every
 * other one carries its number, its version (how often it was written), the seed, a
 * pattern that follows from the three, and a sum over all that: a block that is
 * right in itself and not the right one can be told from one that is damaged.
 *
 * Behind the area, while nothing is written there, the table: a block that
 * describes it, and the version of each block.
 */
#ifndef GUEST_DISK_H
#define GUEST_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "mix.h"

#define DISK_BLOCK	4096
#define DISK_WORDS	(DISK_BLOCK / sizeof(uint64_t))
#define DISK_MARK	0x6b7369642d46564bULL
#define DISK_TABLE_MARK	0x656c6261742d4656ULL
#define DISK_MIB	(1 << 20)	/* the area's size is a multiple of it */

struct disk_block {
	uint64_t mark, number, version, seed;
	uint64_t pattern[DISK_WORDS - 5];
	uint64_t sum;		/* of all words before it */
};

struct disk_table {
	uint64_t mark, blocks, seed;
	uint64_t writes;	/* of blocks, so far */
	uint64_t versions_sum;
	uint64_t sum;		/* of all words before it */
};

enum disk_result {
	DISK_RIGHT,
	DISK_STALE,		/* an older version, whole */
	DISK_FUTURE,		/* newer than it can be */
	DISK_MISPLACED,		/* another block */
	DISK_FOREIGN,		/* with another seed */
	DISK_LOST,		/* zero where there must be data */
	DISK_DAMAGED,		/* parts of two versions, or strange bytes */
};

static const char *const disk_result_names[] = {
	"right", "stale", "of the future", "misplaced", "foreign", "lost", "damaged" };

static inline uint64_t disk_sum(const uint64_t *words, size_t count)
{
	uint64_t sum = DISK_MARK;
	size_t i;

	for (i = 0; i < count; i++)
		sum = (sum ^ words[i]) * 0x100000001b3ULL + (sum >> 47);
	return sum;
}

static inline uint64_t disk_block_sum(const struct disk_block *b)
{
	return disk_sum((const uint64_t *)b, DISK_WORDS - 1);
}

static inline uint64_t disk_table_sum(const struct disk_table *t)
{
	return disk_sum((const uint64_t *)t, sizeof(*t) / sizeof(uint64_t) - 1);
}

/* How many bytes the table takes behind the area. */
static inline uint64_t disk_table_bytes(uint64_t blocks)
{
	uint64_t versions = blocks * sizeof(uint64_t);

	return DISK_BLOCK + (versions + DISK_BLOCK - 1) / DISK_BLOCK * DISK_BLOCK;
}

static inline void disk_fill(struct disk_block *b, uint64_t number, uint64_t version,
			     uint64_t seed)
{
	uint64_t key = mix(mix(seed ^ number) ^ version), x;
	size_t i;

	memset(b, 0, sizeof(*b));
	if (!version)
		return;
	b->mark = DISK_MARK;
	b->number = number;
	b->version = version;
	b->seed = seed;
	for (i = 0; i < DISK_WORDS - 5; i++) {
		x = (key + i) * 0xd1342543de82ef95ULL;
		b->pattern[i] = x ^ (x >> 29);
	}
	b->sum = disk_block_sum(b);
}

/* What the block is that should be this version of block NUMBER. */
static inline enum disk_result disk_judge(const struct disk_block *b, uint64_t number,
					  uint64_t version, uint64_t seed)
{
	struct disk_block other;

	disk_fill(&other, number, version, seed);
	if (!memcmp(b, &other, sizeof(other)))
		return DISK_RIGHT;
	disk_fill(&other, 0, 0, 0);
	if (!memcmp(b, &other, sizeof(other)))
		return DISK_LOST;
	if (b->mark != DISK_MARK || b->sum != disk_block_sum(b))
		return DISK_DAMAGED;
	if (b->seed != seed)
		return DISK_FOREIGN;
	if (b->number != number)
		return DISK_MISPLACED;
	return b->version < version ? DISK_STALE : DISK_FUTURE;
}

#endif /* GUEST_DISK_H */
