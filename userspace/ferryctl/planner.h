/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a migration would go, from what a guest was measured to dirty. Pure: no
 * clock, no I/O.
 */
#ifndef PLANNER_H
#define PLANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLANNER_MAX_POINTS	32
#define PLANNER_NEVER_NS	UINT64_MAX	/* a time that never comes */
/*
 * What a pause takes beside its last pages: the rings are looked at, the VMM's state goes
 * over, and these go to and fro: the last pages and their answer, the state and READY, COMMIT
 * and its answer.
 */
#define PLANNER_ROUND_TRIPS	3
#define PLANNER_ROUND_TRIP_NS	1000000ULL	/* if nobody says another */
#define PLANNER_UNTOLD_NS	UINT64_MAX
#define PLANNER_USUAL_NS	10000000ULL	/* for rings, and for state, that are not told */
/* Pages a second for a vCPU: the least that may be said, and the most that 'auto' takes for a floor. */
#define PLANNER_LEAST_RATE	64
#define PLANNER_FLOOR_MOST	1024

/* @bytes of different pages were dirty @ns after the begin of a window. */
struct planner_point {
	uint64_t ns;
	uint64_t bytes;
};

/**
 * struct planner_input - a guest, a link, and what is wanted
 * @ram_bytes: all of its memory
 * @carried_bytes: what the first pass has to carry of it: neither holes nor zero
 *	pages; UINT64_MAX: not known
 * @points: by ascending @ns, from above 0 on. Between them, and from 0 to the first,
 *	lines; beyond the last the slope of the last line, up to @ram_bytes
 * @nr_points: 1 to PLANNER_MAX_POINTS
 * @bandwidth: bytes a second
 * @downtime_limit_ns: of the pause, with @fixed_ns
 * @fixed_ns: what a pause takes beside its last pages
 * @demand: pages a second that each vCPU dirties
 * @nr_demand: vCPUs; 0: not known
 * @throttle_floor: what 'auto' leaves each vCPU; 0: what suits the link, as the module has it
 */
struct planner_input {
	uint64_t ram_bytes;
	uint64_t carried_bytes;
	struct planner_point points[PLANNER_MAX_POINTS];
	size_t nr_points;
	uint64_t bandwidth;
	uint64_t downtime_limit_ns;
	uint64_t fixed_ns;
	const uint64_t *demand;
	size_t nr_demand;
	uint64_t throttle_floor;
};

/**
 * enum planner_policy - what it takes to converge
 * @PLANNER_NEVER: nothing: no vCPU has to be held back
 * @PLANNER_AUTO: --throttle auto, which gets by with its floor
 * @PLANNER_RATE: --throttle with a rate, which is below auto's floor
 * @PLANNER_NONE: no throttling would do
 */
enum planner_policy {
	PLANNER_NEVER,
	PLANNER_AUTO,
	PLANNER_RATE,
	PLANNER_NONE,
};

/**
 * struct planner_run - one way in which it goes
 * @converges: the last pages come through within the downtime limit
 * @passes: until then; of one that does not converge: until passes do not shrink
 * @ns: all of it, with the pause; PLANNER_NEVER_NS: it does not converge
 * @bytes: all of them, with the last ones; likewise UINT64_MAX
 * @downtime_ns: the pause, or what it would be after @passes
 */
struct planner_run {
	bool converges;
	unsigned int passes;
	uint64_t ns;
	uint64_t bytes;
	uint64_t downtime_ns;
};

/**
 * struct planner_result - what to expect
 * @free: with no vCPU held back
 * @held: with @policy; the same as @free if that is PLANNER_NEVER or PLANNER_NONE
 * @policy: what it takes
 * @throttle_rate: pages a second for each vCPU with which it converges, each pass by a
 *	fifth at least; 0: none is needed, or does
 * @least_bandwidth: bytes a second with which @free converges; 0: none does
 */
struct planner_result {
	struct planner_run free;
	struct planner_run held;
	enum planner_policy policy;
	uint64_t throttle_rate;
	uint64_t least_bandwidth;
};

/* For @fixed_ns; @rings_ns and @state_ns may be PLANNER_UNTOLD_NS. */
uint64_t planner_fixed_ns(uint64_t rings_ns, uint64_t state_ns, uint64_t round_trip_ns);

/* Returns 0, or -EINVAL: there is no bandwidth, no memory, no point, or they are not ascending. */
int planner_plan(const struct planner_input *input, struct planner_result *out);

/* What a migration that began then would take. */
struct planner_moment {
	bool converges;
	uint64_t bytes;
};

/* So many have to be seen before one is told to be cheap for its bytes. */
#define PLANNER_MOMENTS	5

/*
 * Whether the last of @count moments is one to begin at: it converges, and one before it
 * did not; or it converges, is the PLANNER_MOMENTS'th or a later one, and at most a
 * quarter of those before it would have taken fewer bytes.
 */
bool planner_is_cheap(const struct planner_moment *seen, size_t count);

/* "never", "auto", "rate", "none" */
const char *planner_policy_name(enum planner_policy policy);

#endif /* PLANNER_H */
