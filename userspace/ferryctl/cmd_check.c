// SPDX-License-Identifier: GPL-2.0-only
/*
 * check: is this host ready to migrate guests.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "print.h"

static const char help[] =
	"Usage: ferryctl check [--json]\n\n"
	"Look at what migrations with kvm_ferry need on this host: kernel, module,\n"
	"device, KVM and its dirty rings, huge pages, network, memory limits. Says what\n"
	"to change. Exits with 0 if the host is ready, 5 if it is not. Changes nothing.\n";

void check_add(struct check_list *list, enum check_status status, const char *name,
	       const char *advice, const char *detail, ...)
{
	struct check *c;
	va_list args;

	if (list->count == MAX_CHECKS)
		return;
	c = &list->checks[list->count++];
	c->status = status;
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->advice, sizeof(c->advice), "%s", advice ? advice : "");
	va_start(args, detail);
	vsnprintf(c->detail, sizeof(c->detail), detail, args);
	va_end(args);
}

enum check_status check_worst(const struct check_list *list)
{
	enum check_status worst = CHECK_OK;
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (list->checks[i].status > worst)
			worst = list->checks[i].status;
	return worst;
}

bool read_line(const char *path, char *buf, unsigned int room)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fgets(buf, (int)room, f);
	fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = 0;
	return ok;
}

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
	check_memlock(&list);
	print->checks(&list);
	return check_worst(&list) == CHECK_FAIL ? CTL_NOT_READY : CTL_OK;
}
