/* SPDX-License-Identifier: GPL-2.0-only */
/* The source's passes, and when they come. Main task only. */
#ifndef FERRY_PASS_H
#define FERRY_PASS_H

#include <linux/types.h>

struct ferry_session;

/**
 * struct ferry_pass_clock - what the main task remembers between rounds
 * @begun: a pass is under way
 * @told: that the guest may be paused, since it began
 * @rested_at: ns: when the next pass may begin
 * @sampled_at: ns: when the dirty rate was last sampled
 * @dirty: pages that had become dirty by then
 * @bytes_at: ns: when the link's rate was last sampled, or the pass began
 * @bytes: acknowledged by then
 * @echoes: that are to be sent one behind the other
 * @echo_due: ns: when the next one is sent if there are none
 */
struct ferry_pass_clock {
	bool begun;
	bool told;
	u64 rested_at;
	u64 sampled_at;
	u64 dirty;
	u64 bytes_at;
	u64 bytes;
	u32 echoes;
	u64 echo_due;
};

/* Main task, in LIVE, whenever it wakes: what is to be done now. -errno: the session has ended. */
int ferry_live(struct ferry_session *s, struct ferry_pass_clock *c);
/* Main task: whether ferry_live() would do something. */
bool ferry_live_due(struct ferry_session *s, const struct ferry_pass_clock *c);
/* When the session is made. */
void ferry_pass_clock_init(struct ferry_pass_clock *c);

/* Both return -errno when the session has ended. */
int ferry_pass_begin(struct ferry_session *s, bool final);
bool ferry_pass_done(struct ferry_session *s);
void ferry_pass_end(struct ferry_session *s, bool final);

#endif /* FERRY_PASS_H */
