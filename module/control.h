/* SPDX-License-Identifier: GPL-2.0-only */
/* The control channel: what each side says, and what it does on hearing it. */
#ifndef FERRY_CONTROL_H
#define FERRY_CONTROL_H

#include <linux/types.h>

#include "wire.h"

struct bio_vec;
struct ferry_channel;
struct ferry_session;
struct work_struct;

/*
 * Receives the next message's header and body (into ch->rx_buf). Checks
 * sequence and that the message belongs on such a channel. Ends the session and
 * returns -errno on any error. The caller has looked at nothing yet.
 */
int ferry_msg_recv(struct ferry_channel *ch, struct ferry_msg_header *h, bool idle);

/*
 * Sends a message. The body of @len bytes is at ch->tx_buf +
 * FERRY_WIRE_HEADER_LEN; page data may follow. A control channel's tx_lock is
 * held. Returns -errno without ending the session.
 */
int ferry_msg_send_locked(struct ferry_channel *ch, u16 type, u32 len,
			  struct bio_vec *bv, unsigned int nr, size_t bytes);

/* Control messages; each takes tx_lock, and ends the session on an error. */
int ferry_control_hello(struct ferry_session *s);
int ferry_control_hello_ack(struct ferry_session *s);
int ferry_control_pass(struct ferry_session *s, u16 type, u32 pass, u16 channel, u64 pages);
int ferry_control_plain(struct ferry_session *s, u16 type);
int ferry_control_echo(struct ferry_session *s, u32 number);
int ferry_control_state(struct ferry_session *s);	/* one piece from the pipe */
int ferry_control_digest(struct ferry_session *s, u16 region, u64 first, const u64 *d, u32 count);
int ferry_control_verify_result(struct ferry_session *s);
/* Best effort; not for a channel that somebody is blocked on. */
void ferry_control_abort(struct ferry_session *s);

/* Blames a broken data channel, after the control channel had a chance to tell why. */
void ferry_channel_broke(struct ferry_channel *ch, int error, const char *doing);

int ferry_control_rx(void *channel);	/* kthread */
void ferry_control_ping(struct work_struct *work);

#endif /* FERRY_CONTROL_H */
