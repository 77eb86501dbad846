// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker is pinned to each vCPU. It writes its own pages of the working set
 * (page number modulo vCPUs) at its share of the rate, and checks all pages,
 * also those that others write, in an order that differs every time.
 *
 * A page's place in the table of versions is odd while the page is being
 * written: who checks looks before and after, and judges only what did not
 * change between. x86 keeps stores in order and loads in order, so compiler
 * barriers are enough.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include "guest.h"

#define SLICE_NS	2000000ULL	/* a worker looks at its budgets so often */
#define BURST_SLICES	250		/* with bursts: all of half a second's writes at once */
#define CHECK_BATCH	8
#define WRITE_BATCH	8

static uint64_t *area;
static uint64_t *zeroes;
static volatile uint64_t *table;	/* version * 2, plus 1 while it is written */

static uint64_t *map_pages(uint64_t pages, const char *what)
{
	void *p = mmap(NULL, pages * GUEST_PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		die("no memory for %s: %llu pages", what, (unsigned long long)pages);
	return p;
}

static unsigned int owner(uint64_t page)
{
	return page % params.cpus;
}

static void write_page(uint64_t page)
{
	uint64_t version = table[page] / 2 + 1;

	table[page] = version * 2 - 1;
	atomic_signal_fence(memory_order_seq_cst);
	pattern_fill(area + page * GUEST_WORDS, page, version, owner(page));
	atomic_signal_fence(memory_order_seq_cst);
	table[page] = version * 2;
	totals.writes++;
	if (params.wild && owner(page) == params.cpus - 1)
		totals.wild_writes++;
}

static void check_page(uint64_t page)
{
	uint64_t before = table[page], after;
	unsigned int word = 0;
	enum pattern_result r;

	if (before & 1)
		return;		/* being written: the next sweep finds it again */
	atomic_signal_fence(memory_order_seq_cst);
	r = pattern_check(area + page * GUEST_WORDS, page, before / 2, owner(page), &word);
	atomic_signal_fence(memory_order_seq_cst);
	after = table[page];
	if (after < before)
		shout("kind=version page=%llu version went back from %llu to %llu",
		      (unsigned long long)page, (unsigned long long)before / 2,
		      (unsigned long long)after / 2);
	if (after != before)
		return;
	if (r != PATTERN_RIGHT)
		shout("kind=%s page=%llu version=%llu word=%u holds=%llx,%llx,%llx",
		      pattern_names[r], (unsigned long long)page, (unsigned long long)before / 2,
		      word, (unsigned long long)area[page * GUEST_WORDS],
		      (unsigned long long)area[page * GUEST_WORDS + 1],
		      (unsigned long long)area[page * GUEST_WORDS + word]);
	totals.checked++;
}

static void check_zero(uint64_t page)
{
	unsigned int i;

	for (i = 0; i < GUEST_WORDS; i++) {
		if (zeroes[page * GUEST_WORDS + i]) {
			shout("kind=zero page=%llu word=%u holds=%llx", (unsigned long long)page, i,
			      (unsigned long long)zeroes[page * GUEST_WORDS + i]);
			break;
		}
	}
	totals.checked++;
}

/* All numbers below a power of two, each once, in an order that the sweep's key gives. */
struct sweep {
	uint64_t pages, mask;
	uint64_t at, step, key;
};

static void sweep_begin(struct sweep *s, uint64_t pages, uint64_t key)
{
	s->pages = pages;
	s->mask = 1;
	while (s->mask < pages)
		s->mask *= 2;
	s->mask--;
	s->at = 0;
	s->key = key;
	s->step = mix(key) | 1;
}

/* Returns false when all were given. */
static bool sweep_next(struct sweep *s, uint64_t *page)
{
	while (s->at <= s->mask) {
		*page = (s->at++ * s->step + s->key) & s->mask;
		if (*page < s->pages)
			return true;
	}
	return false;
}

uint64_t budget_due(struct budget *b, uint64_t now)
{
	uint64_t all;

	if (b->rate == GUEST_UNLIMITED)
		return GUEST_UNLIMITED;
	all = (__uint128_t)(now - b->since_ns) * b->rate / 1000000000;
	if (all - b->done > b->rate) {
		/* More than a second behind (it stood still, or is too slow): forget it. */
		b->since_ns = now;
		b->done = 0;
		return 0;
	}
	return all - b->done;
}

static void *worker_main(void *arg)
{
	unsigned int cpu = (uintptr_t)arg, slice = 0, i;
	uint64_t share = params.cpus, seed = mix(params.seed + cpu), all, mine, page;
	struct budget writes = { .rate = params.rate, .since_ns = now_ns() };
	struct budget checks = { .rate = params.check, .since_ns = now_ns() };
	struct sweep sweep;

	if (params.wild && cpu == params.cpus - 1) {
		writes.rate = params.wild;
		checks.rate = 0;
	} else if (writes.rate != GUEST_UNLIMITED) {
		writes.rate /= share;
	}
	if (checks.rate != GUEST_UNLIMITED)
		checks.rate /= share;
	all = params.pages + params.zero_pages;
	mine = params.ws_pages > cpu ? (params.ws_pages - cpu + share - 1) / share : 0;
	sweep_begin(&sweep, all, seed);
	for (;;) {
		uint64_t now = now_ns();
		uint64_t to_write = mine ? budget_due(&writes, now) : 0;
		uint64_t to_check = budget_due(&checks, now);

		if (params.bursts && slice++ % BURST_SLICES)
			to_write = 0;
		for (i = 0; i < WRITE_BATCH || params.bursts; i++) {
			if (!to_write)
				break;
			to_write--;
			writes.done++;
			seed = mix(seed);
			write_page(cpu + seed % mine * share);
		}
		for (i = 0; i < CHECK_BATCH && to_check; i++, to_check--) {
			checks.done++;
			if (!sweep_next(&sweep, &page)) {
				totals.sweeps++;
				seed = mix(seed);
				sweep_begin(&sweep, all, seed);
				continue;
			}
			if (page < params.pages)
				check_page(page);
			else
				check_zero(page - params.pages);
		}
		if (!to_write && !to_check) {
			struct timespec rest = { .tv_nsec = SLICE_NS };

			clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
		}
	}
	return NULL;
}

void workers_start(void)
{
	uint64_t table_pages = (params.pages * sizeof(*table) + GUEST_PAGE - 1) / GUEST_PAGE;
	uint64_t i;

	/* The table lies between the two, far from most of what it judges. */
	area = map_pages(params.pages, "the checked area");
	table = map_pages(table_pages, "the table of versions");
	if (params.zero_pages)
		zeroes = map_pages(params.zero_pages, "the zero pages");
	for (i = 0; i < params.pages; i++) {
		table[i] = 2;
		pattern_fill(area + i * GUEST_WORDS, i, 1, owner(i));
	}
	for (i = 0; i < params.cpus; i++)
		start_thread(worker_main, i, "worker", 0);
}
