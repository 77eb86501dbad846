// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long the guest stood still: a thread of the highest priority on each vCPU
 * looks at the clock at every tick, and remembers the longest time between two
 * looks beyond the tick itself. The raw counter is looked at as well: the two
 * must tell the same, or one of them was not moved rightly.
 */
#include <string.h>
#include <time.h>
#include <x86intrin.h>
#include "guest.h"

/* The counter's speed is measured over so long before its gaps count. */
#define CALIBRATE_NS	1000000000ULL

static struct {
	_Atomic uint64_t max_ns, recent_ns, max_tsc;
	_Atomic uint64_t max_from_ns, max_writes;	/* when the longest began */
	char pad[24];		/* a cache line each */
} per_cpu[GUEST_MAX_CPUS];

static _Atomic uint64_t tsc_khz;

static void raise_to(_Atomic uint64_t *max, uint64_t value)
{
	uint64_t old = atomic_load(max);

	while (value > old && !atomic_compare_exchange_weak(max, &old, value))
		;
}

static void *gap_main(void *arg)
{
	unsigned int cpu = (uintptr_t)arg;
	struct timespec tick = { .tv_nsec = params.tick_us * 1000 };
	uint64_t tick_ns = tick.tv_nsec, first = now_ns(), first_tsc = __rdtsc();
	uint64_t last = first, last_tsc = first_tsc, last_writes = totals.writes;

	for (;;) {
		uint64_t ns, tsc;

		clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
		ns = now_ns();
		tsc = __rdtsc();
		if (ns < last)
			shout("kind=clock cpu=%u the clock went back by %llu ns", cpu,
			      (unsigned long long)(last - ns));
		if (tsc < last_tsc)
			shout("kind=counter cpu=%u the counter went back by %llu", cpu,
			      (unsigned long long)(last_tsc - tsc));
		if (ns > last + tick_ns) {
			if (ns - last - tick_ns > per_cpu[cpu].max_ns) {
				per_cpu[cpu].max_from_ns = last;
				per_cpu[cpu].max_writes = last_writes;
			}
			raise_to(&per_cpu[cpu].max_ns, ns - last - tick_ns);
			raise_to(&per_cpu[cpu].recent_ns, ns - last - tick_ns);
		}
		if (tsc > last_tsc)
			raise_to(&per_cpu[cpu].max_tsc, tsc - last_tsc);
		if (!cpu && !tsc_khz && ns - first > CALIBRATE_NS)
			tsc_khz = (tsc - first_tsc) * 1000 / ((ns - first) / 1000);
		last = ns;
		last_tsc = tsc;
		last_writes = totals.writes;
	}
	return NULL;
}

void gaps_start(void)
{
	unsigned int i;

	for (i = 0; i < params.cpus; i++)
		start_thread(gap_main, i, "gap", 50);
}

void gaps_read(struct gaps *g)
{
	uint64_t max_tsc = 0, tick_ns = params.tick_us * 1000;
	/* A wild vCPU may be made to stand still. */
	unsigned int i, cpus = params.cpus - (params.wild && params.cpus > 1);

	memset(g, 0, sizeof(*g));
	for (i = 0; i < cpus; i++) {
		uint64_t max = per_cpu[i].max_ns;
		uint64_t recent = atomic_exchange(&per_cpu[i].recent_ns, 0);
		uint64_t tsc = per_cpu[i].max_tsc;

		if (max > g->max_ns) {
			g->max_ns = max;
			g->max_from_ns = per_cpu[i].max_from_ns;
			g->max_writes = per_cpu[i].max_writes;
		}
		if (recent > g->recent_ns)
			g->recent_ns = recent;
		if (tsc > max_tsc)
			max_tsc = tsc;
	}
	if (tsc_khz)
		g->tsc_ns = max_tsc * 1000 / tsc_khz * 1000;
	g->tsc_ns = g->tsc_ns > tick_ns ? g->tsc_ns - tick_ns : 0;
}

void gaps_reset(void)
{
	unsigned int i;

	for (i = 0; i < params.cpus; i++)
		per_cpu[i].max_ns = per_cpu[i].recent_ns = per_cpu[i].max_tsc = 0;
}
