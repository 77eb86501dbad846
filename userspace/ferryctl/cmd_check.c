// SPDX-License-Identifier: GPL-2.0-only
/*
 * check: is this host ready to migrate guests.
 */
#include <getopt.h>
#include <stdio.h>

#include "print.h"

static const char help[] =
	"Usage: ferryctl check [--json]\n\n"
	"Look at what migrations with kvm_ferry need on this host: kernel, module,\n"
	"device, KVM and its dirty rings, huge pages, network, RDMA, memory limits. Says\n"
	"what to change. Exits with 0 if the host is ready, 5 if it is not. Changes nothing.\n";

int cmd_check(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct print_ops *print = &print_text;
	static struct check_list list;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			print = &print_json;
			break;
		case 'h':
			fputs(help, stdout);
			return CTL_OK;
		default:
			return usage_error("check", "'%s' is not understood", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return usage_error("check", "'%s' is one argument too many", argv[optind]);
	check_kernel(&list);
	check_module(&list);
	check_kvm(&list);
	check_hugepages(&list);
	check_network(&list);
	check_rdma(&list);
	print->checks(&list);
	return check_worst(&list) == CHECK_FAIL ? CTL_NOT_READY : CTL_OK;
}
