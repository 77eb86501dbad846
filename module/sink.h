/* SPDX-License-Identifier: GPL-2.0-only */
/* The sink: agreement, and placing what comes. */
#ifndef FERRY_SINK_H
#define FERRY_SINK_H

#include <linux/types.h>

struct ferry_session;

int ferry_sink_rx(void *channel);	/* kthread of a data channel */
/* May the guest's memory still change? Not once it is digested, or handed to the VMM. */
bool ferry_sink_may_place(struct ferry_session *s);
/* Control task: HELLO came. */
int ferry_sink_hello(struct ferry_session *s, const u8 *body, size_t len);
/* Control task: COMMIT came. */
int ferry_sink_commit(struct ferry_session *s);
/*
 * Control task: memory is complete. Has every data channel met the fence of the
 * last pass after FINAL, and does none place anything behind it? From here on
 * none may.
 */
bool ferry_sink_seal(struct ferry_session *s);
/* Ends the session of a peer that is at its HELLO for ever. Called by the pinger. */
bool ferry_sink_overdue(struct ferry_session *s);

#endif /* FERRY_SINK_H */
