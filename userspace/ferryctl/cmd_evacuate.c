// SPDX-License-Identifier: GPL-2.0-only
/*
 * evacuate: several VMMs' guests leave this host.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evacuate.h"
#include "measure.h"

#define CONNECT_MS	10000
#define MAX_JOBS	64
#define MAX_PORT	65535

static const char evacuate_help[] =
	"Usage: ferryctl evacuate --to ADDRESS [--to ADDRESS]... SOCKET... [OPTIONS]\n\n"
	"Move the guests of all the VMMs at these control sockets, a few at a time, and go\n"
	"on past those that fail. An ADDRESS is one of 'ferryctl migrate'. The first SOCKET's\n"
	"guest goes to the first of them, and so on; when all have got one, the next goes to\n"
	"the first again, at the port behind it.\n\n"
	"  --to ADDRESS            where receivers listen: tcp:host2:7000\n"
	"  --jobs N                migrations at a time, 1 to 64 (1)\n"
	"  --bandwidth RATE        limit on all of them together: 1Gbit, 100M (none)\n"
	"  --measure SECONDS       measure how they dirty memory first, to find the best order\n"
	"  --channels N            data connections of each, 1 to 16 (2)\n"
	"  --downtime TIME         as of migrate, like all that follow (300ms)\n"
	"  --throttle POLICY       never, auto, or pages a second (never)\n"
	"  --throttle-floor PAGES  pages a second that auto leaves each vCPU; 0: as suits\n"
	"                          the link (0)\n"
	"  --verify                compare both memories before a guest changes hands\n"
	"  --peer-timeout TIME     take a silent peer for dead after it (10s)\n"
	"  --inflight SIZE         bytes a connection may hold queued (4M)\n"
	"  --timeout TIME          for connecting (10s)\n"
	"  --json                  print the report as JSON\n\n"
	"Ctrl-C cancels those that are under way and starts no more. Exits with 0 if all\n"
	"guests have moved, 6 if one has not, 7 if one is in doubt.\n";

static bool silent;

static const char *vm_name(const struct evacuee *vm)
{
	return vm->status.name[0] ? vm->status.name : vm->path;
}

/* Lines for people, as it happens. */
static void told(const struct evacuee *vm)
{
	const struct kvm_ferry_stats *st = &vm->status.session.stats;

	if (silent)
		return;
	if (vm->stage == EVACUEE_RUNS)
		printf("%s: begins, to %s\n", vm_name(vm), vm->where);
	else if (vm->outcome == OUTCOME_MOVED)
		printf("%s: moved in %s, %s sent, downtime %s\n", vm_name(vm),
		       human_time((vm->over_ms - vm->begun_ms) * 1000000),
		       human_bytes(st->out_ram_transferred), human_time(st->out_downtime_ns));
	else
		printf("%s: %s: %s\n", vm_name(vm), outcome_name(vm->outcome), vm->reason);
	fflush(stdout);
}

/* The @i'th guest's: of @nr addresses in turn, with the next port each time round. */
static int choose_address(struct evacuee *vm, const char *const *to, size_t nr, size_t i)
{
	size_t round = i / nr, stem;
	uint64_t port;

	if (parse_address(to[i % nr], true, &vm->to))
		return usage_error("evacuate", "'%s' is not an address such as tcp:host2:7000",
				   to[i % nr]);
	snprintf(vm->where, sizeof(vm->where), "%s", to[i % nr]);
	if (!round)
		return CTL_OK;
	if (parse_number(vm->to.port, MAX_PORT, &port) || port + round > MAX_PORT)
		return usage_error("evacuate", "there is no port %zu behind that of '%s': give more "
				   "addresses with --to, or a lower port", round, to[i % nr]);
	stem = strlen(vm->where) - strlen(vm->to.port);
	snprintf(vm->to.port, sizeof(vm->to.port), "%llu", (unsigned long long)(port + round));
	snprintf(vm->where + stem, sizeof(vm->where) - stem, "%s", vm->to.port);
	return CTL_OK;
}

static struct json_object *vm_to_json(const struct evacuee *vm)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "socket", json_object_new_string(vm->path));
	json_object_object_add(o, "name", json_object_new_string(vm->status.name));
	json_object_object_add(o, "to", json_object_new_string(vm->where));
	json_object_object_add(o, "outcome", json_object_new_string(outcome_name(vm->outcome)));
	json_object_object_add(o, "reason", json_object_new_string(vm->reason));
	json_object_object_add(o, "time_ns", !vm->begun_ms ? NULL :
			       json_object_new_uint64((vm->over_ms - vm->begun_ms) * 1000000));
	json_object_object_add(o, "session", vm->status.has_session ?
			       session_to_json(&vm->status.session) : NULL);
	return o;
}

/* Tells how it went, and returns the exit code. */
static int report(const struct evacuation *ev, uint64_t ns)
{
	static const int codes[] = {
		[OUTCOME_MOVED] = CTL_OK, [OUTCOME_FAILED] = CTL_NOT_MOVED,
		[OUTCOME_UNKNOWN] = CTL_UNKNOWN, [OUTCOME_IN_DOUBT] = CTL_IN_DOUBT,
	};
	/* What wants a person soonest. */
	static const int order[] = { CTL_IN_DOUBT, CTL_UNKNOWN, CTL_NOT_MOVED };
	struct json_object *obj, *array = json_object_new_array();
	size_t i, seen[CTL_UNKNOWN + 1] = { 0 };
	uint64_t bytes = 0;
	int code = CTL_OK;

	for (i = 0; i < ev->count; i++) {
		seen[codes[ev->vms[i].outcome]]++;
		bytes += ev->vms[i].status.session.stats.out_ram_transferred;
		json_object_array_add(array, vm_to_json(&ev->vms[i]));
	}
	for (i = 0; i < sizeof(order) / sizeof(order[0]) && code == CTL_OK; i++)
		if (seen[order[i]])
			code = order[i];
	if (!silent) {
		printf("%zu of %zu guests have moved in %s; %s sent\n", seen[CTL_OK], ev->count,
		       human_time(ns), human_bytes(bytes));
		json_object_put(array);
		return code;
	}
	obj = json_output("evacuation");
	json_object_object_add(obj, "vms", array);
	json_object_object_add(obj, "moved", json_object_new_uint64(seen[CTL_OK]));
	json_object_object_add(obj, "not_moved", json_object_new_uint64(ev->count - seen[CTL_OK]));
	json_object_object_add(obj, "time_ns", json_object_new_uint64(ns));
	json_object_object_add(obj, "ram_transferred", json_object_new_uint64(bytes));
	json_object_object_add(obj, "exit_code", json_object_new_int(code));
	json_finish(stdout, obj, true);
	return code;
}

/* Reads the options; @to has room for one address for each argument. */
static int parse(struct evacuation *ev, int argc, char **argv, const char **to, size_t *nr_to)
{
	static const struct option options[] = {
		{ "to", required_argument, NULL, 'o' },
		{ "jobs", required_argument, NULL, 'J' },
		{ "bandwidth", required_argument, NULL, 'B' },
		{ "measure", required_argument, NULL, 'm' },
		{ "channels", required_argument, NULL, 'c' },
		{ "inflight", required_argument, NULL, 'i' },
		{ "peer-timeout", required_argument, NULL, 'p' },
		{ "timeout", required_argument, NULL, 't' },
		{ "downtime", required_argument, NULL, 'd' },
		{ "throttle", required_argument, NULL, 'T' },
		{ "throttle-floor", required_argument, NULL, 'F' },
		{ "verify", no_argument, NULL, 'v' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	uint64_t value;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (c) {
		case 'o':
			to[(*nr_to)++] = optarg;
			break;
		case 'J':
			if (parse_number(optarg, MAX_JOBS, &value) || !value)
				return usage_error("evacuate", "'%s' is not a number of migrations "
						   "from 1 to %d", optarg, MAX_JOBS);
			ev->jobs = value;
			break;
		case 'B':
			if (parse_size(optarg, &value))
				return usage_error("evacuate", "'%s' is not a bandwidth such as 1Gbit "
						   "or 100M", optarg);
			ev->bandwidth = value;
			break;
		case 'm':
			if (measure_seconds(optarg, &ev->measure_ns))
				return usage_error("evacuate", "'%s' is not a number of seconds from "
						   "0.5s to 3600", optarg);
			break;
		case 'j':
			silent = true;
			break;
		case 'h':
			fputs(evacuate_help, stdout);
			return -1;
		case '?':
			return usage_error("evacuate", "'%s' is not understood", argv[optind - 1]);
		default:
			ret = migrate_option(ev->opt, c, "evacuate");
			if (ret)
				return ret;
		}
	}
	if (!*nr_to)
		return usage_error("evacuate", "say with --to where receivers listen, such as "
				   "--to tcp:host2:7000");
	if (optind == argc)
		return usage_error("evacuate", "give the control sockets of the VMMs");
	return CTL_OK;
}

int cmd_evacuate(int argc, char **argv)
{
	struct migrate_options opt = {
		.request = json_object_new_object(), .timeout_ms = CONNECT_MS,
	};
	struct evacuation ev = { .opt = &opt, .jobs = 1, .told = told };
	const char **to = calloc(argc, sizeof(*to));
	struct evacuee *vms = calloc(argc, sizeof(*vms));
	size_t nr_to = 0, i;
	uint64_t begun;
	int ret;

	silent = false;
	if (!to || !vms) {
		complain("out of memory");
		ret = CTL_ERROR;
		goto out;
	}
	ret = parse(&ev, argc, argv, to, &nr_to);
	if (ret)
		goto out;
	ev.vms = vms;
	ev.count = argc - optind;
	for (i = 0; i < ev.count; i++) {
		ret = choose_address(&vms[i], to, nr_to, i);
		if (ret)
			goto out;
		vms[i].path = argv[optind + i];
		vms[i].index = i;
		vms[i].vmm.fd = -1;
	}
	interrupts_begin();
	begun = now_ms();
	evacuation_meet(&ev);
	evacuation_order(&ev);
	evacuation_run(&ev);
	ret = report(&ev, (now_ms() - begun) * 1000000);
out:
	json_object_put(opt.request);
	free(to);
	free(vms);
	return ret < 0 ? CTL_OK : ret;
}
