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

/* --- rdma.c: what is said before sessions that use RDMA speak ------------ */

/* As long as the shortest first message of a TCP channel, so that ferry_accept() sees it. */
#define FERRY_RDMA_OFFER_LEN	40

/**
 * struct ferry_offer - the first bytes of a connection that has to do with RDMA
 * @first: of the control connection: offers that many channels; of a data channel:
 *	it is the one to fall back to for @index. @token: which belong together
 * @fallback: such sockets come too
 */
struct ferry_offer {
	struct ferry_first_message first;
	bool fallback;
};

/*
 * 0; -EAGAIN: right so far; else a phrase in @why: -ENOMSG: no offer, -EPROTO: one that is
 * wrong. The bytes are not trusted.
 */
int ferry_rdma_offer(const uint8_t *bytes, size_t length, struct ferry_offer *offer,
		     const char **why);
/* The sink's no, to an offer that nobody has read; the caller closes @fd. */
void ferry_rdma_refuse(int fd, const char *words);
void ferry_sockets_init(struct ferry_sockets *socks);
/* The source says so on @fd. 0 or a negative errno. */
int ferry_rdma_say(int fd, const struct ferry_offer *offer);
/*
 * And waits for the answer. The sink's port; 0: it goes on by TCP, ferry_error() says
 * why, only if @fallback; or a negative errno.
 */
int ferry_rdma_answer(int fd, bool fallback, bool interruptible, struct ferry_deadline deadline);
/* Offers that were read: fills in @out->rdma_port. */
void ferry_rdma_taken(struct ferry_sockets *out);
/* ferry_session_add_sockets() of those with an @rdma_port. */
int ferry_rdma_add(struct ferry_session *s, const struct ferry_sockets *socks);

#endif /* FERRY_INTERNAL_H */
