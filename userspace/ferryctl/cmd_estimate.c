// SPDX-License-Identifier: GPL-2.0-only
/*
 * estimate: how a migration would go, without one.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "follow.h"
#include "measure.h"

#define DEFAULT_NS		5000000000ULL
#define DEFAULT_BANDWIDTH	125000000ULL
#define DEFAULT_DOWNTIME_NS	300000000ULL

static const char estimate_help[] =
	"Usage: ferryctl estimate SOCKET [OPTIONS]\n\n"
	"Measure how the guest of the VMM at the control socket SOCKET dirties memory, while\n"
	"it runs on, and say how long a migration would take, whether it converges, and what\n"
	"it would need to.\n\n"
	"  --seconds N             how long to measure (5)\n"
	"  --bandwidth RATE        what the link carries: 10Gbit, 100M (1Gbit)\n"
	"  --downtime TIME         how long the guest may be paused (300ms)\n"
	"  --round-trip TIME       what the link takes to and fro (1ms)\n"
	"  --floor PAGES           pages a second that --throttle auto leaves each vCPU (as\n"
	"                          suits the link)\n"
	"  --json                  print it as JSON\n";

static void print_policy(const struct planner_result *r)
{
	switch (r->policy) {
	case PLANNER_NEVER:
		printf("  throttle    never: it converges by itself\n");
		break;
	case PLANNER_AUTO:
		printf("  throttle    auto: it converges when no vCPU dirties more than %s pages/s,\n"
		       "              after %u passes, in %s, with a downtime of %s\n",
		       human_count(r->throttle_rate), r->held.passes, human_time(r->held.ns),
		       human_time(r->held.downtime_ns));
		break;
	case PLANNER_RATE:
		printf("  throttle    %llu pages/s for each vCPU, which is below auto's floor: in %s,\n"
		       "              with a downtime of %s\n", (unsigned long long)r->throttle_rate,
		       human_time(r->held.ns), human_time(r->held.downtime_ns));
		break;
	case PLANNER_NONE:
		printf("  throttle    would not do: give it more bandwidth or a longer downtime\n");
		break;
	}
}

/* What is asked for on the command line. */
struct wanted {
	uint64_t ns;	/* to measure for */
	uint64_t bandwidth;
	uint64_t downtime_limit_ns;
	uint64_t round_trip_ns;
	uint64_t throttle_floor;
};

static const char *part(uint64_t ns)
{
	return human_time(ns == PLANNER_UNTOLD_NS ? PLANNER_USUAL_NS : ns);
}

static void print_plan(const char *name, const struct measured *m, const struct wanted *want,
		       const struct planner_input *in, const struct planner_result *r)
{
	const struct planner_point *last = &in->points[in->nr_points - 1];
	uint64_t all = 0;
	size_t i;

	for (i = 0; i < in->nr_demand; i++)
		all += in->demand[i];
	printf("%s\n", name);
	printf("  memory      %s, about %s have to be carried\n", human_bytes(in->ram_bytes),
	       human_bytes(in->carried_bytes));
	printf("  dirties     %s within %s; its vCPUs %s pages/s\n", human_bytes(last->bytes),
	       human_time(last->ns), human_count(all));
	printf("At %s, with a pause of %s at the most:\n", human_rate(in->bandwidth),
	       human_time(in->downtime_limit_ns));
	if (r->free.converges) {
		printf("  converges   yes, after %u passes\n", r->free.passes);
		printf("  total time  %s\n", human_time(r->free.ns));
		printf("  sent        %s\n", human_bytes(r->free.bytes));
	} else {
		printf("  converges   no: after %u passes they do not shrink\n", r->free.passes);
	}
	printf("  downtime    %s\n", human_time(r->free.downtime_ns));
	printf("  of that     %s%s for the rings, %s%s for the VMM's state,\n"
	       "              %s for round trips\n",
	       part(m->rings_ns), m->rings_ns == PLANNER_UNTOLD_NS ? " (a guess)" : "",
	       part(m->state_ns), m->state_ns == PLANNER_UNTOLD_NS ? " (a guess)" : "",
	       human_time(PLANNER_ROUND_TRIPS * want->round_trip_ns));
	if (r->least_bandwidth)
		printf("  bandwidth   %s would do\n", human_rate(r->least_bandwidth));
	else
		printf("  bandwidth   none would do: the pause takes %s beside its pages\n",
		       human_time(in->fixed_ns));
	print_policy(r);
}

static struct json_object *number(uint64_t value, uint64_t unknown)
{
	return value == unknown ? NULL : json_object_new_uint64(value);
}

static struct json_object *run_to_json(const struct planner_run *r)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "converges", json_object_new_boolean(r->converges));
	json_object_object_add(o, "passes", json_object_new_uint64(r->passes));
	json_object_object_add(o, "time_ns", number(r->ns, PLANNER_NEVER_NS));
	json_object_object_add(o, "bytes", number(r->bytes, UINT64_MAX));
	json_object_object_add(o, "downtime_ns", json_object_new_uint64(r->downtime_ns));
	return o;
}

static void print_json_plan(const char *name, const struct measured *m, const struct wanted *want,
			    const struct planner_input *in, const struct planner_result *r)
{
	struct json_object *obj = json_output("estimate"), *array = json_object_new_array(), *item;
	size_t i;

	json_object_object_add(obj, "name", json_object_new_string(name));
	json_object_object_add(obj, "memory", json_object_new_uint64(in->ram_bytes));
	json_object_object_add(obj, "present", json_object_new_uint64(in->carried_bytes));
	for (i = 0; i < in->nr_points; i++) {
		item = json_object_new_object();
		json_object_object_add(item, "ns", json_object_new_uint64(in->points[i].ns));
		json_object_object_add(item, "bytes", json_object_new_uint64(in->points[i].bytes));
		json_object_array_add(array, item);
	}
	json_object_object_add(obj, "dirtied", array);
	array = json_object_new_array();
	for (i = 0; i < in->nr_demand; i++)
		json_object_array_add(array, json_object_new_uint64(in->demand[i]));
	json_object_object_add(obj, "vcpu_dirty_rates", array);
	json_object_object_add(obj, "bandwidth", json_object_new_uint64(in->bandwidth));
	json_object_object_add(obj, "downtime_limit_ns",
			       json_object_new_uint64(in->downtime_limit_ns));
	json_object_object_add(obj, "round_trip_ns", json_object_new_uint64(want->round_trip_ns));
	json_object_object_add(obj, "rings_ns", number(m->rings_ns, PLANNER_UNTOLD_NS));
	json_object_object_add(obj, "state_ns", number(m->state_ns, PLANNER_UNTOLD_NS));
	json_object_object_add(obj, "fixed_ns", json_object_new_uint64(in->fixed_ns));
	json_object_object_add(obj, "least_bandwidth", number(r->least_bandwidth, 0));
	json_object_object_add(obj, "unthrottled", run_to_json(&r->free));
	json_object_object_add(obj, "policy", json_object_new_string(planner_policy_name(r->policy)));
	json_object_object_add(obj, "throttle", number(r->throttle_rate, 0));
	json_object_object_add(obj, "throttled", run_to_json(&r->held));
	json_finish(stdout, obj, true);
}

static int estimate(const char *path, const struct wanted *want, bool json)
{
	static struct measured m;
	struct planner_input in;
	struct planner_result plan;
	struct vmm_status status;
	struct vmm vmm;
	int ret;

	ret = vmm_connect(&vmm, path);
	if (ret == -EPROTOTYPE) {
		/* QEMU's monitor is a stream. */
		complain("'%s' is no control socket as minivm has it; QEMU's patches do not measure "
			 "(%s): its own command calc-dirty-rate gives a rate", path,
			 ferry_errno_name(EOPNOTSUPP));
		return CTL_ERROR;
	}
	if (ret || vmm_status(&vmm, &status)) {
		complain("%s", vmm.error);
		vmm_close(&vmm);
		return CTL_ERROR;
	}
	m.vmm = &vmm;
	interrupts_begin();
	ret = measure_all(&m, 1, want->ns);
	if (ret == -EINTR)
		complain("interrupted; the guest runs on");
	else if (m.failed)
		complain("%s", vmm.error);
	if (ret || m.failed) {
		vmm_close(&vmm);
		return CTL_ERROR;
	}
	measure_stop(&m);
	vmm_close(&vmm);
	measure_input(&m, want->round_trip_ns, &in);
	in.bandwidth = want->bandwidth;
	in.downtime_limit_ns = want->downtime_limit_ns;
	in.throttle_floor = want->throttle_floor;
	if (planner_plan(&in, &plan)) {
		complain("the VMM's figures make no sense: it measured nothing");
		return CTL_ERROR;
	}
	(json ? print_json_plan : print_plan)(status.name[0] ? status.name : path, &m, want, &in,
					       &plan);
	return CTL_OK;
}

int cmd_estimate(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "bandwidth", required_argument, NULL, 'b' },
		{ "downtime", required_argument, NULL, 'd' },
		{ "round-trip", required_argument, NULL, 'r' },
		{ "floor", required_argument, NULL, 'F' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct wanted want = {
		.ns = DEFAULT_NS, .bandwidth = DEFAULT_BANDWIDTH,
		.downtime_limit_ns = DEFAULT_DOWNTIME_NS, .round_trip_ns = PLANNER_ROUND_TRIP_NS,
	};
	bool json = false;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (c) {
		case 's':
			if (measure_seconds(optarg, &want.ns))
				return usage_error("estimate", "'%s' is not a number of seconds from "
						   "0.5s to 3600", optarg);
			break;
		case 'b':
			if (parse_size(optarg, &want.bandwidth) || !want.bandwidth)
				return usage_error("estimate", "'%s' is not a bandwidth such as 1Gbit "
						   "or 100M", optarg);
			break;
		case 'd':
			if (parse_duration(optarg, &want.downtime_limit_ns) || !want.downtime_limit_ns)
				return usage_error("estimate", "'%s' is not a time such as 300ms",
						   optarg);
			break;
		case 'r':
			/* 0 is a link that is near enough. */
			if (parse_duration(optarg, &want.round_trip_ns))
				return usage_error("estimate", "'%s' is not a time such as 1ms",
						   optarg);
			break;
		case 'F':
			if (parse_page_rate(optarg, &want.throttle_floor))
				return usage_error("estimate", "'%s' is not pages a second such as "
						   "1024", optarg);
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(estimate_help, stdout);
			return CTL_OK;
		default:
			return usage_error("estimate", "'%s' is not understood", argv[optind - 1]);
		}
	}
	if (argc - optind != 1)
		return usage_error("estimate", "give the control socket of one VMM");
	return estimate(argv[optind], &want, json);
}
