// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waiting for a moment at which the guest dirties little, for migrate --when-cheap.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "follow.h"
#include "measure.h"

#define MAX_MOMENTS		1024	/* the oldest ones are forgotten */
#define DEFAULT_BANDWIDTH	125000000ULL
#define DEFAULT_DOWNTIME_MS	300

static uint64_t get(const struct migrate_options *opt, const char *key, uint64_t otherwise)
{
	struct json_object *item;

	return json_object_object_get_ex(opt->request, key, &item) ?
	       json_object_get_uint64(item) : otherwise;
}

void migrate_options_plan(const struct migrate_options *opt, struct planner_input *in)
{
	in->bandwidth = get(opt, "bandwidth", 0);
	if (!in->bandwidth)
		in->bandwidth = DEFAULT_BANDWIDTH;
	in->downtime_limit_ns = get(opt, "downtime_ms", DEFAULT_DOWNTIME_MS) * 1000000;
	in->throttle_floor = get(opt, "throttle_floor", 0);
}

bool migrate_options_throttle(const struct migrate_options *opt)
{
	struct json_object *item;

	return json_object_object_get_ex(opt->request, "throttle", &item) &&
	       strcmp(json_object_get_string(item), "never");
}

/* For people, a line a window. */
static void show(const struct migrate_options *opt, uint64_t ms, const struct planner_run *run)
{
	if (opt->print == &print_json)
		return;
	if (run->converges)
		printf("%8.2f s  waiting: it would take %s and %s now\n", ms / 1e3,
		       human_time(run->ns), human_bytes(run->bytes));
	else
		printf("%8.2f s  waiting: it would not converge now\n", ms / 1e3);
	fflush(stdout);
}

static int deadline_passed(struct measured *m, const struct migrate_options *opt)
{
	if (!opt->or_not)
		return CTL_OK;
	measure_stop(m);
	complain("no cheap moment has come within %s; nothing was started",
		 human_time(opt->deadline_ns));
	return CTL_NOT_CHEAP;
}

int wait_until_cheap(struct vmm *vmm, const struct migrate_options *opt)
{
	static struct planner_moment seen[MAX_MOMENTS];
	static struct measured m;
	const uint64_t begin = now_ms();
	struct planner_input in;
	struct planner_result plan;
	const struct planner_run *run;
	size_t count = 0;
	int ret;

	m.vmm = vmm;
	do {
		ret = measure_window(&m, opt->cheap_ns);
		if (ret == -EINTR) {
			complain("interrupted; nothing was started");
			return CTL_ERROR;
		}
		measure_input(&m, PLANNER_ROUND_TRIP_NS, &in);
		migrate_options_plan(opt, &in);
		if (m.failed || planner_plan(&in, &plan)) {
			complain("%s", m.failed ? vmm->error : "the VMM's figures make no sense");
			return CTL_ERROR;
		}
		run = migrate_options_throttle(opt) ? &plan.held : &plan.free;
		if (count == MAX_MOMENTS)
			memmove(seen, seen + 1, --count * sizeof(*seen));
		seen[count++] = (struct planner_moment){ run->converges, run->bytes };
		show(opt, now_ms() - begin, run);
		if (planner_is_cheap(seen, count))
			return CTL_OK;
		/* A window that would end behind the deadline is not begun. */
	} while (now_ms() - begin + opt->cheap_ns / 1000000 <= opt->deadline_ns / 1000000);
	return deadline_passed(&m, opt);
}
