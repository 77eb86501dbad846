// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a page holds: three words that name it, then noise that follows from
 * them, so that it does not compress. One version in sixteen is all zeroes,
 * because a page that becomes zero travels in another way.
 */
#include <string.h>
#include "guest.h"

#define MARK	0x79727265462d4d56ULL

const char *const pattern_names[] = { "right", "stale", "torn", "lost", "misplaced", "future" };

static uint64_t key(uint64_t number, uint64_t version, unsigned int cpu)
{
	return mix(mix(params.seed ^ number) ^ version) ^ cpu;
}

static bool is_zero_version(uint64_t number, uint64_t version)
{
	return version && mix(number * 31 + version) % 16 == 0;
}

/* Cheap and not linear: what a word is cannot be had from its neighbours by a shift. */
static uint64_t noise(uint64_t k, unsigned int i)
{
	uint64_t x = (k + i) * 0xd1342543de82ef95ULL;

	return x ^ (x >> 29);
}

void pattern_fill(uint64_t *page, uint64_t number, uint64_t version, unsigned int cpu)
{
	uint64_t k = key(number, version, cpu);
	unsigned int i;

	if (is_zero_version(number, version)) {
		memset(page, 0, GUEST_PAGE);
		return;
	}
	page[0] = MARK ^ number;
	page[1] = version;
	page[2] = (uint64_t)cpu << 32 | (uint32_t)params.seed;
	for (i = 3; i < GUEST_WORDS; i++)
		page[i] = noise(k, i);
}

static bool all_zero(const uint64_t *page, unsigned int *bad_word)
{
	unsigned int i;

	for (i = 0; i < GUEST_WORDS; i++) {
		if (page[i]) {
			*bad_word = i;
			return false;
		}
	}
	return true;
}

static bool matches(const uint64_t *page, uint64_t number, uint64_t version, unsigned int cpu,
		    unsigned int *bad_word)
{
	uint64_t k = key(number, version, cpu);
	unsigned int i;

	*bad_word = 0;
	if (page[0] != (MARK ^ number))
		return false;
	*bad_word = 1;
	if (page[1] != version)
		return false;
	*bad_word = 2;
	if (page[2] != ((uint64_t)cpu << 32 | (uint32_t)params.seed))
		return false;
	for (i = 3; i < GUEST_WORDS; i++) {
		if (page[i] != noise(k, i)) {
			*bad_word = i;
			return false;
		}
	}
	return true;
}

/* The page is wrong: find words for it. */
static enum pattern_result explain(const uint64_t *page, uint64_t number, uint64_t version)
{
	unsigned int cpu = page[2] >> 32, word;
	uint64_t other = MARK ^ page[0];

	if (all_zero(page, &word))
		return PATTERN_LOST;
	if (other < params.pages && matches(page, other, page[1], cpu, &word)) {
		if (other != number)
			return PATTERN_MISPLACED;
		return page[1] < version ? PATTERN_STALE : PATTERN_FUTURE;
	}
	return PATTERN_TORN;
}

enum pattern_result pattern_check(const uint64_t *page, uint64_t number, uint64_t version,
				  unsigned int cpu, unsigned int *bad_word)
{
	if (is_zero_version(number, version) ? all_zero(page, bad_word) :
	    matches(page, number, version, cpu, bad_word))
		return PATTERN_RIGHT;
	return explain(page, number, version);
}
