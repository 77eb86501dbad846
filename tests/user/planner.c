// SPDX-License-Identifier: GPL-2.0-only
/*
 * The planner, against numbers that were worked out by hand: 1 GB of memory, and
 * guests of two kinds. "Even" dirties 10 MB of other pages every second. "Hot" has
 * 100 MB that it has written all over within 10 ms.
 */
#include <errno.h>
#include <string.h>

#include "../../userspace/ferryctl/planner.h"
#include "tap.h"

#define MB	1000000ULL
#define MS	1000000ULL
#define S	1000000000ULL

static const struct planner_input even = {
	.ram_bytes = 1000 * MB, .carried_bytes = UINT64_MAX,
	.points = { { 1 * S, 10 * MB }, { 10 * S, 100 * MB } }, .nr_points = 2,
	.bandwidth = 100 * MB, .downtime_limit_ns = 300 * MS,
};

static const struct planner_input hot = {
	.ram_bytes = 1000 * MB, .carried_bytes = UINT64_MAX,
	.points = { { 10 * MS, 100 * MB }, { 1 * S, 100 * MB } }, .nr_points = 2,
	.bandwidth = 100 * MB, .downtime_limit_ns = 300 * MS,
};

/* Floating point rounds, to a side that is nobody's business. */
static bool near(uint64_t have, uint64_t want)
{
	const uint64_t apart = have > want ? have - want : want - have;

	return apart <= want / 1000000 + 1;
}

static void is_run(const char *what, const struct planner_run *r, unsigned int passes, uint64_t ns,
		   uint64_t bytes, uint64_t downtime_ns)
{
	ok(r->converges == (ns != PLANNER_NEVER_NS) && r->passes == passes && near(r->ns, ns) &&
	   near(r->bytes, bytes) && near(r->downtime_ns, downtime_ns),
	   "%s: %u passes, %llu ns, %llu bytes, downtime %llu ns", what, r->passes,
	   (unsigned long long)r->ns, (unsigned long long)r->bytes,
	   (unsigned long long)r->downtime_ns);
}

static void passes(void)
{
	struct planner_input in = even;
	struct planner_result out;

	/* 10 s for all, 1 s for 100 MB, then 10 MB are left: 100 ms. */
	ok(!planner_plan(&in, &out), "a plan");
	is_run("even", &out.free, 2, 11100 * MS, 1110 * MB, 100 * MS);
	ok(out.policy == PLANNER_NEVER && !out.throttle_rate &&
	   !memcmp(&out.free, &out.held, sizeof(out.free)), "even: nobody is held back");
	/* The next pass always takes 10 MB/s over the bandwidth of the last one's time. */
	ok(out.least_bandwidth > 10 * MB && out.least_bandwidth < 10200000,
	   "even: a little above what it dirties would do: %llu",
	   (unsigned long long)out.least_bandwidth);

	in.fixed_ns = 199 * MS;
	planner_plan(&in, &out);
	is_run("even, 199 ms beside the pages", &out.free, 2, 11299 * MS, 1110 * MB, 299 * MS);
	in.fixed_ns = 201 * MS;
	planner_plan(&in, &out);
	is_run("even, 201 ms", &out.free, 3, 11311 * MS, 1111 * MB, 211 * MS);
	in.fixed_ns = 301 * MS;
	planner_plan(&in, &out);
	ok(!out.free.converges && !out.least_bandwidth && out.policy == PLANNER_NONE,
	   "a pause that takes longer than its limit whatever is left");

	in = even;
	in.carried_bytes = 400 * MB;
	planner_plan(&in, &out);
	is_run("even, 400 MB are no holes", &out.free, 2, 4440 * MS, 444 * MB, 40 * MS);
	in.carried_bytes = 2000 * MB;
	planner_plan(&in, &out);
	is_run("no more than all is carried", &out.free, 2, 11100 * MS, 1110 * MB, 100 * MS);

	/* Measured for 1 s only: from there on the last slope. */
	in = even;
	in.nr_points = 1;
	planner_plan(&in, &out);
	is_run("one point", &out.free, 2, 11100 * MS, 1110 * MB, 100 * MS);
	/* 200 MB/s for the second half of a second; 10 s of that is more than there is. */
	in.points[0] = (struct planner_point){ 500 * MS, 10 * MB };
	in.points[1] = (struct planner_point){ 1 * S, 110 * MB };
	in.nr_points = 2;
	planner_plan(&in, &out);
	is_run("steeper at the end, up to all of memory", &out.free, 2, PLANNER_NEVER_NS,
	       UINT64_MAX, 10 * S);
}

static void hot_set(void)
{
	static const uint64_t one[] = { 1000000 }, two[] = { 1000000, 100 };
	struct planner_input in = hot;
	struct planner_result out;

	in.demand = one;
	in.nr_demand = 1;
	planner_plan(&in, &out);
	is_run("hot", &out.free, 2, PLANNER_NEVER_NS, UINT64_MAX, 1 * S);
	/* 100 MB within 300 ms. */
	ok(near(out.least_bandwidth, 333333334), "hot: %llu bytes a second would do",
	   (unsigned long long)out.least_bandwidth);
	/* A pass of 1 s, which carries 100 MB, is not to leave more than 80: 19531 pages of 4096. */
	ok(out.policy == PLANNER_AUTO && out.throttle_rate == 19531,
	   "hot: held back to %llu of 1,000,000 pages a second",
	   (unsigned long long)out.throttle_rate);
	/* 1000, 100, 80, 64, 51.2, 41.0, 32.8 MB, and 26.2 are left. */
	ok(out.held.converges && out.held.passes == 7 && out.held.downtime_ns / MS == 262 &&
	   out.held.ns > 13900 * MS && out.held.ns < 14000 * MS, "hot: then it converges: %u passes, %llu ns",
	   out.held.passes, (unsigned long long)out.held.ns);
	in.throttle_floor = 19531;
	planner_plan(&in, &out);
	ok(out.policy == PLANNER_AUTO, "auto, at its floor");
	in.throttle_floor = 19532;
	planner_plan(&in, &out);
	ok(out.policy == PLANNER_RATE && out.throttle_rate == 19531, "a rate, below it");
	/* An eighth of 2,000 pages a second is 250; of 100 it would be less than any vCPU is left. */
	in.throttle_floor = 0;
	in.bandwidth = 2000 * 4096;
	planner_plan(&in, &out);
	ok(out.policy == PLANNER_AUTO && out.throttle_rate - 1599 <= 1,
	   "auto, above the floor of a slow link: %llu", (unsigned long long)out.throttle_rate);
	in.bandwidth = 100 * 4096;
	planner_plan(&in, &out);
	ok(out.policy == PLANNER_AUTO && out.throttle_rate - 79 <= 1,
	   "and of a very slow one: %llu", (unsigned long long)out.throttle_rate);
	in.bandwidth = 100 * MB;
	in.throttle_floor = 19532;
	in.demand = two;
	in.nr_demand = 2;
	planner_plan(&in, &out);
	ok(out.throttle_rate == 19431, "beside one that dirties 100 pages, which it keeps: %llu",
	   (unsigned long long)out.throttle_rate);
	/* The wildest vCPU would have to be slower than any may be. */
	in.bandwidth = 3 * MB / 10;
	in.demand = one;
	in.nr_demand = 1;
	planner_plan(&in, &out);
	ok(out.policy == PLANNER_NONE && !out.throttle_rate && !out.held.converges,
	   "no rate is low enough");
	in.bandwidth = 100 * MB;
	in.nr_demand = 0;
	planner_plan(&in, &out);
	ok(out.policy == PLANNER_NONE, "nothing is known of the vCPUs");
	in.bandwidth = 334 * MB;
	planner_plan(&in, &out);
	ok(out.free.converges && out.free.passes == 1, "as fast as that: %u pass", out.free.passes);
}

static void fixed(void)
{
	ok(planner_fixed_ns(2 * MS, 3 * MS, 4 * MS) == 17 * MS, "rings, state, three round trips");
	ok(planner_fixed_ns(PLANNER_UNTOLD_NS, 3 * MS, 0) == 13 * MS, "rings that are not told");
	ok(planner_fixed_ns(2 * MS, PLANNER_UNTOLD_NS, 0) == 12 * MS, "state that is not told");
	ok(planner_fixed_ns(UINT64_MAX - 1, 1, UINT64_MAX) == UINT64_MAX - 1, "more than numbers hold");
}

static void odd_input(void)
{
	struct planner_input in = even;
	struct planner_result out;

	in.points[1] = (struct planner_point){ 10 * S, 5 * MB };
	ok(!planner_plan(&in, &out), "a curve that falls");
	ok(out.free.converges && near(out.free.downtime_ns, 100 * MS),
	   "a curve that falls is taken for one that stays: %llu",
	   (unsigned long long)out.free.downtime_ns);
	in.points[1].ns = in.points[0].ns;
	ok(planner_plan(&in, &out) == -EINVAL, "two points at one time");
	in = even;
	in.points[0].ns = 0;
	ok(planner_plan(&in, &out) == -EINVAL, "a point at 0");
	in = even;
	in.nr_points = 0;
	ok(planner_plan(&in, &out) == -EINVAL, "no point");
	in.nr_points = PLANNER_MAX_POINTS + 1;
	ok(planner_plan(&in, &out) == -EINVAL, "too many points");
	in = even;
	in.bandwidth = 0;
	ok(planner_plan(&in, &out) == -EINVAL, "no bandwidth");
	in.bandwidth = 1;
	in.ram_bytes = UINT64_MAX;
	in.points[1].bytes = UINT64_MAX;
	ok(!planner_plan(&in, &out) && !out.free.converges, "more than numbers hold");
	ok(!strcmp(planner_policy_name(PLANNER_RATE), "rate"), "policies have names");
}

static void moments(void)
{
	static const struct {
		const char *what;
		size_t count;
		struct planner_moment seen[8];
		bool cheap;
	} rows[] = {
		{ "nothing was seen", 0, { { true, 1 } }, false },
		{ "the first", 1, { { true, 1 } }, false },
		{ "the fourth, and cheapest", 4, { { true, 9 }, { true, 8 }, { true, 7 }, { true, 6 } }, false },
		{ "the fifth, and cheapest", 5,
		  { { true, 9 }, { true, 8 }, { true, 7 }, { true, 6 }, { true, 5 } }, true },
		{ "one of four was cheaper", 5,
		  { { true, 9 }, { true, 4 }, { true, 7 }, { true, 6 }, { true, 5 } }, true },
		{ "two of four were", 5,
		  { { true, 9 }, { true, 4 }, { true, 4 }, { true, 6 }, { true, 5 } }, false },
		{ "always the same", 5,
		  { { true, 5 }, { true, 5 }, { true, 5 }, { true, 5 }, { true, 5 } }, true },
		{ "one before did not converge", 2, { { false, UINT64_MAX }, { true, 9 } }, true },
		{ "however long ago", 3, { { false, UINT64_MAX }, { true, 8 }, { true, 9 } }, true },
		{ "this one does not", 5,
		  { { true, 9 }, { true, 9 }, { true, 9 }, { true, 9 }, { false, 1 } }, false },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ok(planner_is_cheap(rows[i].seen, rows[i].count) == rows[i].cheap, "%s: %s",
		   rows[i].what, rows[i].cheap ? "cheap" : "not cheap");
}

int main(void)
{
	moments();
	passes();
	hot_set();
	fixed();
	odd_input();
	return tap_done();
}
