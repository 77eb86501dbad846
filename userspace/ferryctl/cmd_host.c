// SPDX-License-Identifier: GPL-2.0-only
/*
 * host: the bandwidth that all sources of this host share.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "parse.h"
#include "print.h"

static const char host_help[] =
	"Usage: ferryctl host [--bandwidth RATE] [--json]\n\n"
	"Show the bandwidth that all sources of this host share, or set it: sessions that\n"
	"have something to send get equal parts of it.\n\n"
	"  --bandwidth RATE  all of them together: 10Gbit, 500M (MiB a second), none\n";

int cmd_host(int argc, char **argv)
{
	static const struct option options[] = {
		{ "bandwidth", required_argument, NULL, 'b' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct kvm_ferry_host_limits limits = { .flags = 0 };
	const struct print_ops *print = &print_text;
	struct ferry_device *dev;
	uint64_t value = 0;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "b:jh", options, NULL)) != -1) {
		switch (c) {
		case 'b':
			if (strcmp(optarg, "none") && parse_size(optarg, &value))
				return usage_error("host", "'%s' is not 'none', or a bandwidth such as "
						   "10Gbit or 500M", optarg);
			limits.max_bandwidth = value;
			limits.flags |= KVM_FERRY_HOST_BANDWIDTH;
			break;
		case 'j':
			print = &print_json;
			break;
		case 'h':
			fputs(host_help, stdout);
			return CTL_OK;
		default:
			return usage_error("host", "'%s' is not understood", argv[optind - 1]);
		}
	}
	if (optind != argc)
		return usage_error("host", "'%s' is one argument too many", argv[optind]);
	ret = open_device(&dev);
	if (ret)
		return ret;
	ret = ferry_device_host_limits(dev, &limits, sizeof(limits));
	if (ret == -EPERM)
		complain("only root (CAP_SYS_ADMIN) may set what all sessions of this host share");
	else if (ret == -ENOTTY)
		complain("this kvm_ferry module is older than ferryctl: it knows no limit of the host");
	else if (ret)
		complain("%s", ferry_error());
	else
		print->host(&limits);
	ferry_device_close(dev);
	return ret ? CTL_ERROR : CTL_OK;
}
