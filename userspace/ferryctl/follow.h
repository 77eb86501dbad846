/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What migrate and receive share: options, and following a VMM to the end of
 * its migration.
 */
#ifndef FOLLOW_H
#define FOLLOW_H

#include "parse.h"
#include "print.h"
#include "record.h"
#include "vmm.h"

/**
 * struct migrate_options - what a VMM is asked for
 * @request: the keys that were given, of the VMM's command
 * @print: how to show it
 * @nr_channels: data channels; 0: not given
 * @timeout_ms: to connect, or to be connected to; -1: for ever
 * @wait: stay until the migration has ended
 * @record_path: where to record it; NULL: not
 * @record: that, opened
 * @cheap_ns: windows to look for a cheap moment in; 0: start at once
 * @deadline_ns: for how long to look for it
 * @or_not: and not to start if none came
 */
struct migrate_options {
	struct json_object *request;
	const struct print_ops *print;
	unsigned int nr_channels;
	int timeout_ms;
	bool wait;
	const char *record_path;
	struct record *record;
	uint64_t cheap_ns;
	uint64_t deadline_ns;
	bool or_not;
};

/*
 * Parses the options of migrate (@receive false) or receive. Returns CTL_OK, an
 * exit code, or -1: help was printed. The two arguments are at argv[optind].
 */
int migrate_options_parse(struct migrate_options *opt, int argc, char **argv, bool receive,
			  const char *help);

/* One option with its value in optarg, @c as in migrate_options_parse(); an exit code. */
int migrate_option(struct migrate_options *opt, int c, const char *cmd);

/* Interrupts (Ctrl-C, SIGTERM) are counted from here on and end system calls. */
void interrupts_begin(void);
int interrupts_seen(void);

/* By the clock that nobody sets. */
uint64_t now_ms(void);

/* Whether a VMM's migration is over, and how. */
bool migration_is_over(const struct vmm_status *status, bool receive, enum outcome *outcome);

/* Makes a source's connections, as the address and the options say; ferry_error() tells why not. */
int connect_peer(struct ferry_sockets *socks, const struct address *addr,
		 const struct migrate_options *opt);

/* Hands the sockets to the VMM with command @cmd, and closes them here. */
int hand_over(struct vmm *vmm, const char *cmd, struct migrate_options *opt,
	      struct ferry_sockets *socks);

/*
 * The same, and follows the migration. An interrupt cancels it, a second one stops following. Returns
 * an exit code.
 */
int hand_over_and_follow(struct vmm *vmm, const char *cmd, struct migrate_options *opt,
			 struct ferry_sockets *socks);

/* What @opt asks for, as the planner wants it: bandwidth, downtime limit, throttle floor. */
struct planner_input;
void migrate_options_plan(const struct migrate_options *opt, struct planner_input *in);
/* Whether vCPUs may be held back. */
bool migrate_options_throttle(const struct migrate_options *opt);

/* cheap.c: waits for a moment to start at. CTL_OK: it has come, or the deadline; an exit code. */
int wait_until_cheap(struct vmm *vmm, const struct migrate_options *opt);

#endif /* FOLLOW_H */
