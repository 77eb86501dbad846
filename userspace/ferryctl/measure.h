/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Measuring how guests dirty memory, through their VMMs, while they run on. A VMM
 * ends it when its connection does, or when a migration is asked for.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include "planner.h"
#include "vmm.h"

#define MEASURE_MAX_VCPUS	256

/**
 * struct measured - a guest that is measured
 * @vmm: connected; the caller's
 * @failed: it cannot be, or can no more; @vmm->error says why
 * @memory: bytes
 * @present: about how many of them are neither holes nor zero
 * @window_ns: how long the window was, at the last reading
 * @dirty: bytes of different pages that were dirtied in it
 * @rings_ns: of a pause, for the rings; PLANNER_UNTOLD_NS: the VMM does not say
 * @state_ns: of a pause, for the VMM's own state; likewise
 * @demand: pages a second that each vCPU dirtied of late
 * @nr_demand: vCPUs
 */
struct measured {
	struct vmm *vmm;
	bool failed;
	uint64_t memory;
	uint64_t present;
	uint64_t window_ns;
	uint64_t dirty;
	uint64_t rings_ns;
	uint64_t state_ns;
	uint64_t demand[MEASURE_MAX_VCPUS];
	size_t nr_demand;
	/* sums over the windows, by the place in them */
	struct planner_point sum[PLANNER_MAX_POINTS];
	unsigned int times[PLANNER_MAX_POINTS];
};

/* For how long: seconds, or a time with its unit. 0, or -EINVAL. */
int measure_seconds(const char *text, uint64_t *ns);
/*
 * Begins to measure, or reads what there is; then, with @window, a new window begins.
 * Returns 0, or a negative errno and sets @failed: -EOPNOTSUPP this VMM cannot.
 */
int measure_read(struct measured *m, bool window);
/* Measures @count guests at once for @ns. 0, or -EINTR; those that cannot be are @failed. */
int measure_all(struct measured *m, size_t count, uint64_t ns);
/* Measures a guest for one window of @ns, and forgets what was measured before. Likewise. */
int measure_window(struct measured *m, uint64_t ns);
/* Ends it. */
void measure_stop(struct measured *m);
/* What was measured, for the planner, over a link of that round trip. @in points into @m. */
void measure_input(const struct measured *m, uint64_t round_trip_ns, struct planner_input *in);

#endif /* MEASURE_H */
