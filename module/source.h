/* SPDX-License-Identifier: GPL-2.0-only */
/* The source: its tasks, and START. */
#ifndef FERRY_SOURCE_H
#define FERRY_SOURCE_H

#include <linux/types.h>

struct ferry_channel;
struct ferry_reason;
struct ferry_session;

int ferry_source_main(void *session);	/* kthread, from CREATE on */
int ferry_sender(void *channel);	/* kthread of a data channel */
/* Shows the session's token on a data channel: what comes first there. */
int ferry_source_show_token(struct ferry_channel *ch);
/* The ioctl START, for both roles. */
/* @measure: it watches the guest, and moves nothing. */
int ferry_start(struct ferry_session *s, bool measure, struct ferry_reason *why);

/*
 * Ends the session of a peer that says PING for ever and does not answer. Called
 * by the pinger, from START on.
 */
bool ferry_source_overdue(struct ferry_session *s);

#endif /* FERRY_SOURCE_H */
