// SPDX-License-Identifier: GPL-2.0-only
/*
 * More memory, which comes and goes: "more take MIB" on the console takes it, waiting for
 * a while until there is as much, and says "more taken mib=N cpu=N"; "more free" gives it
 * back, and says "more freed". A thread on the last vCPU that there is then writes and
 * checks its pages. It is for memory that is plugged, or was in a balloon.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"

#define NUMBER		(1ULL << 40)	/* of its first page: no other has it */
#define ROOM_MS		30000
#define SPARE		(12ULL << 20)	/* stays for the kernel */
#define TURN_NS		10000000	/* how often there is something to do */
#define WRITES		4		/* in a turn */
#define CHECKS		16

/* All of it for who has the lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t *area;
static uint64_t pages, checked;
static uint32_t *version;		/* of each page */
static unsigned int cpu;

static void check_one(uint64_t i)
{
	unsigned int word;
	uint64_t *page = area + i * GUEST_WORDS;
	enum pattern_result r = pattern_check(page, NUMBER + i, version[i], cpu, &word);

	if (r != PATTERN_RIGHT)
		shout("kind=more-%s page=%llu version=%u word=%u holds=%llx", pattern_names[r],
		      (unsigned long long)i, version[i], word, (unsigned long long)page[word]);
	checked++;
}

static void *more_main(void *arg)
{
	uint64_t seed = 1, at = 0;
	unsigned int i;

	(void)arg;
	for (;;) {
		struct timespec rest = { .tv_nsec = TURN_NS };

		pthread_mutex_lock(&lock);
		for (i = 0; area && i < CHECKS; i++)
			check_one(at++ % pages);
		for (i = 0; area && i < WRITES; i++) {
			uint64_t page = (seed = mix(seed)) % pages;

			version[page]++;
			pattern_fill(area + page * GUEST_WORDS, NUMBER + page, version[page], cpu);
		}
		pthread_mutex_unlock(&lock);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
	}
	return NULL;
}

static void give_back(void)
{
	if (!area)
		return;
	munmap(area, pages * GUEST_PAGE);
	free(version);
	area = NULL;
}

static bool has_room(void *mib)
{
	struct sysinfo info;

	return !sysinfo(&info) && info.freeram >= (*(uint64_t *)mib << 20) + SPARE;
}

static void take(uint64_t mib)
{
	uint64_t *got, i;

	if (!mib || !wait_until(has_room, &mib, ROOM_MS)) {
		struct sysinfo info = {};

		sysinfo(&info);
		say("more: there is no room for %llu MiB: %lu MiB are free", (unsigned long long)mib,
		    info.freeram >> 20);
		return;
	}
	pages = mib * MIB_PAGES;
	version = calloc(pages, sizeof(*version));
	got = mmap(NULL, pages * GUEST_PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (!version || got == MAP_FAILED)
		die("no memory for %llu MiB more", (unsigned long long)mib);
	for (i = 0; i < pages; i++) {
		version[i] = 1;
		pattern_fill(got + i * GUEST_WORDS, NUMBER + i, 1, cpu);
	}
	area = got;
	say("more taken mib=%llu cpu=%u", (unsigned long long)mib, cpu);
}

void more_obey(const char *what)
{
	static bool started;
	static pthread_t thread;
	cpu_set_t set;

	pthread_mutex_lock(&lock);
	give_back();
	if (!strncmp(what, "take ", 5)) {
		cpu = sysconf(_SC_NPROCESSORS_ONLN) - 1;
		take(strtoull(what + 5, NULL, 0));
		if (!started && pthread_create(&thread, NULL, more_main, NULL))
			die("cannot start a thread for more memory");
		started = true;
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		if (pthread_setaffinity_np(thread, sizeof(set), &set))
			die("no thread can run on vCPU %u", cpu);
	} else {
		say("more freed");
	}
	pthread_mutex_unlock(&lock);
}

int more_report(char *text, size_t size)
{
	int n = 0;

	/* Not waiting: it may be a while until there is room. */
	if (pthread_mutex_trylock(&lock))
		return 0;
	if (area)
		n = snprintf(text, size, "more_checked=%llu ", (unsigned long long)checked);
	pthread_mutex_unlock(&lock);
	return n;
}
