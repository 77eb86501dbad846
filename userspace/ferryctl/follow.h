/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What migrate and receive share: options, and following a VMM to the end of
 * its migration.
 */
#ifndef FOLLOW_H
#define FOLLOW_H

#include "parse.h"
#include "print.h"
#include "vmm.h"

/**
 * struct migrate_options - what a VMM is asked for
 * @request: the keys that were given, of the VMM's command
 * @print: how to show it
 * @nr_channels: data channels; 0: not given
 * @timeout_ms: to connect, or to be connected to; -1: for ever
 * @wait: stay until the migration has ended
 */
struct migrate_options {
	struct json_object *request;
	const struct print_ops *print;
	unsigned int nr_channels;
	int timeout_ms;
	bool wait;
};

/*
 * Parses the options of migrate (@receive false) or receive. Returns CTL_OK, an
 * exit code, or -1: help was printed. The two arguments are at argv[optind].
 */
int migrate_options_parse(struct migrate_options *opt, int argc, char **argv, bool receive,
			  const char *help);

/* Interrupts (Ctrl-C, SIGTERM) are counted from here on and end system calls. */
void interrupts_begin(void);
int interrupts_seen(void);

/*
 * Hands the sockets to the VMM with command @cmd, closes them here, and follows
 * the migration. An interrupt cancels it, a second one stops following. Returns
 * an exit code.
 */
int hand_over_and_follow(struct vmm *vmm, const char *cmd, struct migrate_options *opt,
			 struct ferry_sockets *socks);

#endif /* FOLLOW_H */
