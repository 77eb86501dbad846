/* SPDX-License-Identifier: LGPL-2.1-only */
/*
 * What libferry's own files share.
 */
#ifndef FERRY_INTERNAL_H
#define FERRY_INTERNAL_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "ferry.h"

struct ferry_device {
	int fd;
};

struct ferry_session {
	int fd;
	uint64_t id;
	enum kvm_ferry_role role;
};

/* Returns -@error and makes the sentence ferry_error()'s. @error is positive. */
int ferry_fail(int error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * One command on a device's or session's fd. On failure the module's own reason
 * becomes ferry_error(); where it has none, "@what: " and the errno's text.
 * Returns 0 or a negative errno.
 */
int ferry_command(int fd, unsigned long cmd, void *arg, const char *what);
/* As above, called again for as long as a signal interrupts it. */
int ferry_command_restart(int fd, unsigned long cmd, void *arg, const char *what);

/* A point in time to wait until; "for ever" if made from a negative timeout. */
struct ferry_deadline {
	int64_t end_ms;		/* CLOCK_MONOTONIC; -1: for ever */
};

struct ferry_deadline ferry_deadline_in(int timeout_ms);
/* What is left, for poll(2): -1 for ever, 0 when it has passed. */
int ferry_deadline_left(struct ferry_deadline d);

#endif /* FERRY_INTERNAL_H */
