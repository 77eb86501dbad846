/* SPDX-License-Identifier: GPL-2.0-only */
/* What the VMM or an operator may set, and pacing by it. */
#ifndef FERRY_LIMITS_H
#define FERRY_LIMITS_H

#include <linux/types.h>

struct ferry_reason;
struct ferry_session;
struct kvm_ferry_limits;

void ferry_limits_init(struct ferry_session *s);
int ferry_limits(struct ferry_session *s, struct kvm_ferry_limits *arg, struct ferry_reason *why);
/* The peer's timeout is known (or taken to be ours, until then). */
void ferry_peer_timeout(struct ferry_session *s, u64 theirs);
int ferry_abort(struct ferry_session *s, struct ferry_reason *why);
/* What a data channel may hold that the link has not taken yet, as things are. */
u64 ferry_queue_bytes(const struct ferry_session *s);
/*
 * The limit that holds has changed: it was set, or FINAL was called. Senders that wait
 * go by the new one.
 */
void ferry_limits_apply(struct ferry_session *s);
/* Whether an operator may say so: 0: none. */
bool ferry_bandwidth_ok(u64 rate);
/* What limits this session and its host now, whichever is lower; 0: nothing. */
u64 ferry_send_rate(const struct ferry_session *s);
/*
 * What limits will leave of the link in the final pass, as things are: bytes a second,
 * FERRY_PLAN_UNKNOWN: all of it.
 */
u64 ferry_final_rate(const struct ferry_session *s);
/* Sleeps until @bytes may be sent, by the session's limit and the host's, or it ends. */
void ferry_pace_wait(struct ferry_session *s, u64 bytes);

#endif /* FERRY_LIMITS_H */
