// SPDX-License-Identifier: GPL-2.0-only
/*
 * set, abort: an operator's changes to a session.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "parse.h"
#include "print.h"

static const char set_help[] =
	"Usage: ferryctl set ID [--bandwidth RATE] [--final-bandwidth RATE] [--downtime TIME]\n"
	"       [--throttle POLICY] [--throttle-floor PAGES] [--state-time TIME] [--json]\n\n"
	"Change a session's limits while it runs, and show those that hold.\n\n"
	"  --bandwidth RATE        on all data channels together: 1Gbit, 100M (MiB a\n"
	"                          second), 0 for no limit\n"
	"  --final-bandwidth RATE  the same while the guest is paused: same, as of the other\n"
	"                          passes, 0 for no limit\n"
	"  --downtime TIME         switch over when the predicted downtime is not above it:\n"
	"                          300ms, 1.5s\n"
	"  --throttle POLICY       hold back vCPUs that dirty memory too fast: never, auto,\n"
	"                          or pages a second that each may dirty: 64 to 2^32\n"
	"  --throttle-floor PAGES  pages a second that auto leaves each vCPU; 0: as suits the\n"
	"                          link\n"
	"  --state-time TIME       what the VMM needs for its own state while the guest is\n"
	"                          paused: a part of the predicted downtime\n";

int cmd_set(int argc, char **argv)
{
	static const struct option options[] = {
		{ "bandwidth", required_argument, NULL, 'b' },
		{ "final-bandwidth", required_argument, NULL, 'B' },
		{ "downtime", required_argument, NULL, 'd' },
		{ "throttle", required_argument, NULL, 't' },
		{ "throttle-floor", required_argument, NULL, 'f' },
		{ "state-time", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct kvm_ferry_limits limits = { .flags = 0 };
	const struct print_ops *print = &print_text;
	struct ferry_device *dev;
	uint64_t id, value;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "b:d:t:jh", options, NULL)) != -1) {
		switch (c) {
		case 'b':
			if (parse_size(optarg, &value))
				return usage_error("set", "'%s' is not a bandwidth such as 1Gbit "
						   "or 100M", optarg);
			limits.max_bandwidth = value;
			limits.flags |= KVM_FERRY_LIMIT_BANDWIDTH;
			break;
		case 'B':
			if (parse_final_bandwidth(optarg, &value))
				return usage_error("set", "'%s' is not 'same', or a bandwidth such as "
						   "1Gbit or 100M", optarg);
			limits.final_bandwidth = value;
			limits.flags |= KVM_FERRY_LIMIT_FINAL_BANDWIDTH;
			break;
		case 'd':
			if (parse_duration(optarg, &value))
				return usage_error("set", "'%s' is not a time such as 300ms",
						   optarg);
			limits.downtime_limit_ns = value;
			limits.flags |= KVM_FERRY_LIMIT_DOWNTIME;
			break;
		case 't':
			if (parse_throttle(optarg, &value))
				return usage_error("set", "'%s' is not 'never', 'auto', or pages a "
						   "second such as 20000", optarg);
			limits.throttle = value;
			limits.flags |= KVM_FERRY_LIMIT_THROTTLE;
			break;
		case 'f':
			if (!strcmp(optarg, "0"))
				value = 0;
			else if (parse_page_rate(optarg, &value))
				return usage_error("set", "'%s' is not pages a second such as 1024",
						   optarg);
			limits.throttle_floor = value;
			limits.flags |= KVM_FERRY_LIMIT_THROTTLE_FLOOR;
			break;
		case 's':
			if (parse_duration(optarg, &value))
				return usage_error("set", "'%s' is not a time such as 20ms", optarg);
			limits.state_time_ns = value;
			limits.flags |= KVM_FERRY_LIMIT_STATE_TIME;
			break;
		case 'j':
			print = &print_json;
			break;
		case 'h':
			fputs(set_help, stdout);
			return CTL_OK;
		default:
			return usage_error("set", "'%s' is not understood", argv[optind - 1]);
		}
	}
	if (argc - optind != 1)
		return usage_error("set", "give the id of one session");
	if (parse_number(argv[optind], UINT64_MAX, &id))
		return usage_error("set", "'%s' is not a session's id", argv[optind]);
	if (!limits.flags)
		return usage_error("set", "give a limit, such as --bandwidth or --throttle");
	ret = open_device(&dev);
	if (ret)
		return ret;
	ret = ferry_device_limits(dev, id, &limits, sizeof(limits));
	if (ret)
		ret = session_failed(id, ret);
	else
		print->limits(id, &limits);
	ferry_device_close(dev);
	return ret;
}

static const char abort_help[] =
	"Usage: ferryctl abort ID [--json]\n\n"
	"End a session. At its source the guest is whole and may run on; a session\n"
	"that has handed the guest over already cannot be aborted any more.\n";

int cmd_abort(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct session_view view;
	struct ferry_device *dev;
	bool json = false, known;
	uint64_t id;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(abort_help, stdout);
			return CTL_OK;
		default:
			return usage_error("abort", "'%s' is not understood", argv[optind - 1]);
		}
	}
	if (argc - optind != 1)
		return usage_error("abort", "give the id of one session");
	if (parse_number(argv[optind], UINT64_MAX, &id))
		return usage_error("abort", "'%s' is not a session's id", argv[optind]);
	ret = open_device(&dev);
	if (ret)
		return ret;
	ret = ferry_device_abort(dev, id);
	if (ret == -EBUSY) {
		complain("session %llu has sent COMMIT: whether the guest runs here or there is "
			 "no longer this side's choice", (unsigned long long)id);
		ret = CTL_ERROR;
	} else if (ret) {
		ret = session_failed(id, ret);
	} else {
		/* Its VMM may have closed it by now; then there is no more to show. */
		known = !read_session(dev, id, &view);
		if (json)
			print_json.status(&view, known);
		else if (known)
			printf("session %llu: %s\n", (unsigned long long)id,
			       ferry_state_name(view.stats.out_state));
		else
			printf("session %llu: ended\n", (unsigned long long)id);
	}
	ferry_device_close(dev);
	return ret;
}
