// SPDX-License-Identifier: GPL-2.0-only
/*
 * ferryctl: the table of commands, and what they all need.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "history.h"

static const struct command commands[] = {
	{ "status", "[ID]", "show the sessions of this host (what bare ferryctl does)",
	  cmd_status },
	{ "list", "", "list the sessions, a line each", cmd_list },
	{ "watch", "ID", "follow a session to its end", cmd_watch },
	{ "stats", "[ID]", "all figures of a session, or of all", cmd_stats },
	{ "set", "ID", "change a session's limits: bandwidth, downtime, throttle", cmd_set },
	{ "host", "", "show or set the bandwidth that all sources of this host share", cmd_host },
	{ "abort", "ID", "end a session; the guest runs on at its source", cmd_abort },
	{ "migrate", "SOCKET tcp|rdma|rdma+tcp:HOST:PORT", "move a VMM's guest to another host", cmd_migrate },
	{ "receive", "SOCKET tcp|rdma|rdma+tcp:[ADDR:]PORT", "let a waiting VMM take a guest", cmd_receive },
	{ "estimate", "SOCKET", "say how a VMM's guest would move, without moving it", cmd_estimate },
	{ "evacuate", "--to ADDRESS SOCKET...", "move the guests of several VMMs, one after the other",
	  cmd_evacuate },
	{ "plot", "FILE", "draw a recorded migration's timeline", cmd_plot },
	{ "history", "", "what became of the sessions that have ended, and why", cmd_history },
	{ "metrics", "", "figures of all sessions for Prometheus", cmd_metrics },
	{ "check", "", "is this host ready to migrate guests, and what to change", cmd_check },
	{ "unload", "", "unload the module, or say which sessions use it", cmd_unload },
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
		fprintf(to, "  %-35s %s\n", left, commands[i].summary);
	}
	fprintf(to, "\nEvery command takes --help, and --json all but metrics. ferryctl(8) has the details.\n");
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
	struct kvm_ferry_history record;
	int ret;

	memset(view, 0, sizeof(*view));
	ret = ferry_device_stats(dev, id, &view->stats, sizeof(view->stats));
	if (ret)
		return ret;
	view->stats.out_name[sizeof(view->stats.out_name) - 1] = 0;
	/* It may be gone by now: then its figures are all there is. */
	view->has_limits = !ferry_device_limits(dev, id, &view->limits, sizeof(view->limits));
	/* Only its VMM may ask a session for its reason; the record of its end has it, too. */
	if (view->stats.out_error && !history_find(dev, id, &record))
		memcpy(view->reason, record.out_reason, sizeof(view->reason));
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
