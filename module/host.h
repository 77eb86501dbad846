/* SPDX-License-Identifier: GPL-2.0-only */
/* The limit that all sources of this host share. */
#ifndef FERRY_HOST_H
#define FERRY_HOST_H

#include <linux/types.h>
#include <linux/wait.h>

#include "share.h"

struct ferry_reason;
struct ferry_session;
struct kvm_ferry_host_limits;

/**
 * struct ferry_host_turn - a source's part in the host's limit
 * @turn: whose turn it is
 * @wait: where its senders wait for it
 * @calls: goes on whenever they have to look anew
 * @tickets: drawn by senders that wait, so that its channels take turns, too
 * @served: tickets whose senders wait no longer
 * @joined: from START until the session has ended
 *
 * All of it but @wait is under host.c's lock.
 */
struct ferry_host_turn {
	struct ferry_turn turn;
	wait_queue_head_t wait;
	u32 calls;
	u32 tickets;
	u32 served;
	bool joined;
};

void ferry_host_init(struct ferry_session *s);
/* From START on a source has its share; once it has ended it has none, and nobody waits. */
void ferry_host_join(struct ferry_session *s);
void ferry_host_leave(struct ferry_session *s);
/* Its own limit is @rate from now on; 0: none. */
void ferry_host_own_limit(struct ferry_session *s, u64 rate);
/* Sleeps until it is this session's turn to send @bytes, or it has left. */
void ferry_host_wait(struct ferry_session *s, u64 bytes);
/* The limit, 0: none. */
u64 ferry_host_rate(void);
/* What of the limit a session has at least while it sends; 0: there is no limit. */
u64 ferry_host_share(const struct ferry_session *s);
/* The ioctl HOST_LIMITS; who may change them the caller has checked. */
int ferry_host_limits(struct kvm_ferry_host_limits *l, struct ferry_reason *why);

#endif /* FERRY_HOST_H */
