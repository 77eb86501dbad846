/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The peer's end of the channels: what the input says, as the transport's bytes,
 * and what the module says, which is checked against docs/protocol.md.
 */
#ifndef FERRY_PEER_WIRE_H
#define FERRY_PEER_WIRE_H

#include "kernel/fuzz.h"
#include "session.h"

#define LINKS	4	/* control, and up to three data channels */

/**
 * struct link - a channel
 * @ch: the module's end
 * @wait: both of its directions wait here
 * @timeout: of the socket, as start() was told
 * @in: all that the peer has said
 * @in_len: so much
 * @in_room: memory for it
 * @in_at: the module has read so far
 * @message: the message that the module reads begins here
 * @end: and ends here, with its page data; 0: not known yet
 * @last_said: the peer's last good message begins here; for saying it again
 * @tx: number of the peer's next message
 * @eof: the peer has closed
 * @reset: the peer has reset
 * @stalled: the peer takes nothing
 * @shut: the module has shut it down
 * @purged: it dropped what was queued
 * @heard: type of the message that the module has read last, as a whole
 * @fence: pass of the last FENCE that it has read
 * @telling: type of the message that the module is saying, 0: none
 * @begun: it has begun to say one of this type: a guess of the peer may meet it
 * @told: the module has said a message of this type
 * @told_last: the last one
 * @rx: number of the module's next message
 * @told_fence: pass of the module's last FENCE
 * @answered_fence: pass of the last one that the peer acknowledged
 * @told_state_last: the module has said the last STATE
 * @begun_state_last: it has begun to
 * @echo: number of the last ECHO that the module has begun to say
 * @answered_echo: number of the last one that the peer answered
 * @early: the module has read an answer before it had begun to ask
 * @taken: bytes that the module has said
 */
struct link {
	struct ferry_channel *ch;
	struct wait_queue_head wait;
	u64 timeout;

	u8 *in;
	size_t in_len, in_room, in_at;
	size_t message, end;
	size_t last_said, last_said_len;
	u32 tx;
	bool eof, reset, stalled, shut, purged;
	u16 heard;
	u32 fence;

	u16 telling;
	bool begun[FERRY_MSG_MAX + 1], told[FERRY_MSG_MAX + 1];
	u16 told_last;
	u32 rx;
	u32 told_fence, answered_fence;
	bool told_state_last, begun_state_last;
	u32 echo, answered_echo;
	bool early;
	u64 taken;
};

extern struct link links[LINKS];
extern struct ferry_session *session;	/* NULL: there is none */

void wire_begin(void);
void wire_end(void);
/* The peer says these bytes. */
void link_bytes(struct link *l, const void *bytes, size_t n);
/* The peer says a message whose header is right. */
void link_message(struct link *l, u16 type, const void *body, u32 n);
/* Its last one again, with the same number or with the next. */
void link_again(struct link *l, bool next);

#endif /* FERRY_PEER_WIRE_H */
