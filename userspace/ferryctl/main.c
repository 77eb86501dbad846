// SPDX-License-Identifier: GPL-2.0-only
/*
 * ferryctl: the table of commands, and what they all need.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static const struct command commands[] = {
	{ "status", "[ID]", "show the sessions of this host (what bare ferryctl does)",
	  cmd_status },
	{ "list", "", "list the sessions, a line each", cmd_list },
	{ "watch", "ID", "follow a session to its end", cmd_watch },
	{ "stats", "[ID]", "all figures of a session, or of all", cmd_stats },
	{ "set", "ID", "change a session's bandwidth or downtime limit", cmd_set },
	{ "abort", "ID", "end a session; the guest runs on at its source", cmd_abort },
	{ "migrate", "SOCKET tcp:HOST:PORT", "move a VMM's guest to another host", cmd_migrate },
	{ "receive", "SOCKET tcp:[ADDR:]PORT", "let a waiting VMM take a guest", cmd_receive },
	{ "check", "", "is this host ready to migrate guests, and what to change", cmd_check },
};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *to)
{
	size_t i;

	fprintf(to, "Usage: ferryctl [COMMAND] [OPTIONS]\n\n"
		"Live migration of KVM guests with the kvm_ferry kernel module.\n\n");
	for (i = 0; i < NR_COMMANDS; i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].args);
		fprintf(to, "  %-32s %s\n", left, commands[i].summary);
	}
	fprintf(to, "\nEvery command takes --json and --help. ferryctl(8) has the details.\n");
}

void complain(const char *fmt, ...)
{
	va_list args;

	fputs("ferryctl: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

int usage_error(const char *cmd, const char *fmt, ...)
{
	va_list args;

	fputs("ferryctl: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\nTry 'ferryctl %s%s--help'.\n", cmd, *cmd ? " " : "");
	return CTL_USAGE;
}

int open_device(struct ferry_device **dev)
{
	int ret = ferry_device_open(dev);

	if (!ret)
		return CTL_OK;
	complain("%s", ferry_error());
	switch (ret) {
	case -ENOENT:
	case -ENXIO:
	case -ENODEV:
	case -EACCES:
	case -EPERM:
		return CTL_NO_MODULE;
	default:
		return CTL_ERROR;
	}
}

int read_session(struct ferry_device *dev, uint64_t id, struct session_view *view)
{
	int ret;

	memset(view, 0, sizeof(*view));
	ret = ferry_device_stats(dev, id, &view->stats, sizeof(view->stats));
	if (ret)
		return ret;
	view->stats.out_name[sizeof(view->stats.out_name) - 1] = 0;
	/* It may be gone by now: then its figures are all there is. */
	view->has_limits = !ferry_device_limits(dev, id, &view->limits, sizeof(view->limits));
	return 0;
}

int session_failed(uint64_t id, int ret)
{
	if (ret == -ENOENT) {
		complain("there is no session %llu; 'ferryctl list' shows those there are",
			 (unsigned long long)id);
		return CTL_NO_SESSION;
	}
	if (ret == -EPERM) {
		complain("only root (CAP_SYS_ADMIN) may see and change other programs' sessions");
		return CTL_ERROR;
	}
	complain("%s", ferry_error());
	return CTL_ERROR;
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc < 2)
		return cmd_status(argc, argv);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return CTL_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("ferryctl %s\n", ferry_version());
		return CTL_OK;
	}
	/* Options without a command are status's. */
	if (argv[1][0] == '-')
		return cmd_status(argc, argv);
	for (i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	return usage_error("", "there is no command '%s'", argv[1]);
}
