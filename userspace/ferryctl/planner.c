// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pre-copy on paper. A pass carries what was dirty when it began, and while it
 * does, the guest dirties as much as it was measured to in a window of that
 * length: t[1] = RAM / bandwidth, t[n + 1] = D(t[n]) / bandwidth, until that is
 * short enough to pause the guest for.
 *
 * D never falls, so passes either shrink all the time or grow all the time, and
 * a faster link never makes it worse: what is looked for can be found by halving.
 */
#include <errno.h>

#include "planner.h"

#define NS_PER_S	1e9
#define PAGE_BYTES	4096.0
#define MAX_PASSES	1000
#define FREELY		-1.0	/* of a rate: nobody is held back */
/* A pass that is not below this part of the last one does not shrink. */
#define SHRINKS		0.99
/* Who holds vCPUs back wants to see it end, and what was measured is not that exact. */
#define SHRINKS_HELD	0.8
#define BANDWIDTH_MIN	1024.0
#define BANDWIDTH_MAX	(1024.0 * 1024 * 1024 * 1024)
#define HALVINGS	40	/* of 2^40: to a byte */

/*
 * Of vCPUs that together dirty no more than @rate bytes a second, that much at the most,
 * whatever they dirtied twice: which of them has dirtied what is not known.
 */
static double dirtied(const struct planner_input *in, double ns, double rate)
{
	const struct planner_point zero = { 0 }, *from = &zero, *to = in->points;
	const struct planner_point *last = in->points + in->nr_points - 1;
	double bytes, slope;

	while (to < last && ns > (double)to->ns)
		from = to++;
	slope = (double)(to->bytes - from->bytes) / (double)(to->ns - from->ns);
	bytes = (double)from->bytes + slope * (ns - (double)from->ns);
	if (rate >= 0 && bytes > rate * ns / NS_PER_S)
		bytes = rate * ns / NS_PER_S;
	return bytes < (double)in->ram_bytes ? bytes : (double)in->ram_bytes;
}

static uint64_t whole(double value)
{
	return value < 1.8e19 ? (uint64_t)value : UINT64_MAX - 1;
}

static void run(const struct planner_input *in, double bandwidth, double rate,
		struct planner_run *out)
{
	const double limit = (double)in->downtime_limit_ns, shrinks = rate >= 0 ? SHRINKS_HELD : SHRINKS;
	double left = (double)in->ram_bytes, ns = 0, bytes = 0, pass_ns, next;

	if (in->carried_bytes < in->ram_bytes)
		left = (double)in->carried_bytes;
	out->converges = false;
	for (out->passes = 1;; out->passes++) {
		pass_ns = left / bandwidth * NS_PER_S;
		ns += pass_ns;
		bytes += left;
		next = dirtied(in, pass_ns, rate);
		pass_ns = next / bandwidth * NS_PER_S + (double)in->fixed_ns;
		out->converges = pass_ns <= limit;
		/* The first pass is of another kind: most of its pages are not those that are dirtied. */
		if (out->converges || out->passes == MAX_PASSES ||
		    (out->passes > 1 && next > left * shrinks))
			break;
		left = next;
	}
	out->downtime_ns = whole(pass_ns);
	out->ns = out->converges ? whole(ns + pass_ns) : PLANNER_NEVER_NS;
	out->bytes = out->converges ? whole(bytes + next) : UINT64_MAX;
}

static bool converges(const struct planner_input *in, double bandwidth, double rate)
{
	struct planner_run r;

	run(in, bandwidth, rate, &r);
	return r.converges;
}

static uint64_t least_bandwidth(const struct planner_input *in)
{
	double low = BANDWIDTH_MIN, high = BANDWIDTH_MAX, middle;
	int i;

	if (converges(in, low, FREELY))
		return whole(low);
	if (!converges(in, high, FREELY))
		return 0;
	for (i = 0; i < HALVINGS; i++) {
		middle = (low + high) / 2;
		if (converges(in, middle, FREELY))
			high = middle;
		else
			low = middle;
	}
	return whole(high + 1);
}

/* What all vCPUs dirty together, in bytes a second, if none of them dirties more than @most pages. */
static double held_rate(const struct planner_input *in, uint64_t most)
{
	double pages = 0;
	size_t i;

	for (i = 0; i < in->nr_demand; i++)
		pages += (double)(in->demand[i] < most ? in->demand[i] : most);
	return pages * PAGE_BYTES;
}

/* ferry_throttle_floor() of the module: an eighth of the link, shared by all vCPUs. */
static uint64_t usual_floor(const struct planner_input *in)
{
	uint64_t floor = in->bandwidth / (uint64_t)PAGE_BYTES / 8 / (in->nr_demand ? in->nr_demand : 1);

	if (floor < PLANNER_LEAST_RATE)
		return PLANNER_LEAST_RATE;
	return floor < PLANNER_FLOOR_MOST ? floor : PLANNER_FLOOR_MOST;
}

static void choose_policy(const struct planner_input *in, struct planner_result *out)
{
	uint64_t low = PLANNER_LEAST_RATE, high = low, middle;
	uint64_t floor = in->throttle_floor ? in->throttle_floor : usual_floor(in);
	size_t i;

	for (i = 0; i < in->nr_demand; i++)
		if (in->demand[i] > high)
			high = in->demand[i];
	if (!in->nr_demand || !converges(in, (double)in->bandwidth, held_rate(in, low))) {
		out->policy = PLANNER_NONE;
		return;
	}
	/* It does with @low, and @high holds nobody back. */
	while (high - low > 1) {
		middle = low + (high - low) / 2;
		if (converges(in, (double)in->bandwidth, held_rate(in, middle)))
			low = middle;
		else
			high = middle;
	}
	out->throttle_rate = low;
	out->policy = low >= floor ? PLANNER_AUTO : PLANNER_RATE;
	run(in, (double)in->bandwidth, held_rate(in, low), &out->held);
}

uint64_t planner_fixed_ns(uint64_t rings_ns, uint64_t state_ns, uint64_t round_trip_ns)
{
	const double rings = (double)(rings_ns == PLANNER_UNTOLD_NS ? PLANNER_USUAL_NS : rings_ns);
	const double state = (double)(state_ns == PLANNER_UNTOLD_NS ? PLANNER_USUAL_NS : state_ns);

	return whole(rings + state + PLANNER_ROUND_TRIPS * (double)round_trip_ns);
}

int planner_plan(const struct planner_input *input, struct planner_result *out)
{
	struct planner_input copy = *input, *in = &copy;
	size_t i;

	if (!in->bandwidth || !in->ram_bytes || !in->nr_points || in->nr_points > PLANNER_MAX_POINTS)
		return -EINVAL;
	for (i = 0; i < in->nr_points; i++)
		if (in->points[i].ns <= (i ? in->points[i - 1].ns : 0))
			return -EINVAL;
	/* What was measured at different times need not rise all the time; what it stands for does. */
	for (i = 1; i < in->nr_points; i++)
		if (in->points[i].bytes < in->points[i - 1].bytes)
			in->points[i].bytes = in->points[i - 1].bytes;
	run(in, (double)in->bandwidth, FREELY, &out->free);
	out->held = out->free;
	out->policy = PLANNER_NEVER;
	out->throttle_rate = 0;
	out->least_bandwidth = least_bandwidth(in);
	if (!out->free.converges)
		choose_policy(in, out);
	return 0;
}

bool planner_is_cheap(const struct planner_moment *seen, size_t count)
{
	size_t i, cheaper = 0;

	if (!count || !seen[count - 1].converges)
		return false;
	for (i = 0; i < count - 1; i++) {
		if (!seen[i].converges)
			return true;
		cheaper += seen[i].bytes < seen[count - 1].bytes;
	}
	return count >= PLANNER_MOMENTS && cheaper * 4 <= count - 1;
}

const char *planner_policy_name(enum planner_policy policy)
{
	static const char *const names[] = { "never", "auto", "rate", "none" };

	return names[policy];
}
