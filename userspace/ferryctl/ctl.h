/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What ferryctl's files share: the commands, their exit codes, the session as
 * it is shown.
 */
#ifndef CTL_H
#define CTL_H

#include <ferry.h>

/* Exit codes. ferryctl(8) lists them; a number keeps its meaning for ever. */
enum {
	CTL_OK = 0,
	CTL_ERROR = 1,		/* it did not work; nothing has changed */
	CTL_USAGE = 2,		/* wrong arguments */
	CTL_NO_MODULE = 3,	/* the module is not loaded, or its device may not be opened */
	CTL_NO_SESSION = 4,	/* no session of that id */
	CTL_NOT_READY = 5,	/* check: this host is not ready */
	CTL_NOT_MOVED = 6,	/* the migration failed; the source's guest is whole */
	CTL_IN_DOUBT = 7,	/* nobody knows which side owns the guest */
	CTL_UNKNOWN = 8,	/* the VMM or session went away before it told how it ended */
	CTL_NOT_CHEAP = 9,	/* migrate --or-not: no cheap moment came; nothing was started */
};

/**
 * struct command - one of ferryctl's commands
 * @name: as typed
 * @args: what follows the name, for the list of commands
 * @summary: one line
 * @run: argv[0] is the command's name; returns an exit code
 */
struct command {
	const char *name;
	const char *args;
	const char *summary;
	int (*run)(int argc, char **argv);
};

int cmd_check(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int cmd_set(int argc, char **argv);
int cmd_abort(int argc, char **argv);
int cmd_migrate(int argc, char **argv);
int cmd_receive(int argc, char **argv);
int cmd_estimate(int argc, char **argv);
int cmd_evacuate(int argc, char **argv);
int cmd_plot(int argc, char **argv);
int cmd_metrics(int argc, char **argv);
int cmd_unload(int argc, char **argv);
int cmd_host(int argc, char **argv);
int cmd_history(int argc, char **argv);

/**
 * struct session_view - a session as it is shown
 * @stats: its figures
 * @limits: its limits, if @has_limits
 * @host: what all sources of its host share, if @has_host; 'watch' reads it
 * @reason: why it failed, as far as that is known here; else ""
 * @rings: what 'stats' has read of its vCPUs' rings, if @has_rings; the command's to free
 * @nr_rings: of them
 * @has_rings: it is a source, and its rings were read
 * @regions: what 'stats' has read of its regions; the command's to free
 * @nr_regions: of them
 */
struct session_view {
	struct kvm_ferry_stats stats;
	struct kvm_ferry_limits limits;
	bool has_limits;
	struct kvm_ferry_host_limits host;
	bool has_host;
	char reason[KVM_FERRY_REASON_LEN];
	struct kvm_ferry_ring_stats *rings;
	size_t nr_rings;
	bool has_rings;
	struct kvm_ferry_region_stats *regions;
	size_t nr_regions;
};

/* "ferryctl: <sentence>" to stderr. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* As complain(), with a hint at --help; returns CTL_USAGE. */
int usage_error(const char *cmd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Opens the device, or complains and returns an exit code. */
int open_device(struct ferry_device **dev);
/* Reads all sessions into a new array, or complains and returns an exit code. */
int read_sessions(struct ferry_device *dev, struct session_view **views, size_t *count);
/* Reads a session's figures and limits; 0 or a negative errno. */
int read_session(struct ferry_device *dev, uint64_t id, struct session_view *view);
/* Complains about ferry_error() of a failed call on a session; an exit code. */
int session_failed(uint64_t id, int ret);

#endif /* CTL_H */
