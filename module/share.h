/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's bandwidth limit, shared by its sources: whose turn it is, and how much
 * each may expect. Pure: memory and arithmetic on what the caller measured. Times
 * are in nanoseconds, rates in bytes a second, all integers; nothing divides by
 * zero. The caller serialises.
 *
 * Fair queueing by start tags: a turn's tag is what its session has been given, in
 * bytes; the one with the lowest tag is next. One that was idle begins where the
 * others are. So whoever waits gets as much as any other that does, however many
 * channels it has, and what one does not want the others have.
 */
#ifndef FERRY_SHARE_H
#define FERRY_SHARE_H

#include <linux/types.h>

#include "plan.h"

/* Who was given something within this time counts as one that sends. */
#define FERRY_SHARE_ACTIVE_NS	(1000ULL * 1000 * 1000)

/**
 * struct ferry_turn - one session's part
 * @next: in the list of struct ferry_share
 * @tag: bytes that it was given, and those that it did not ask for in time
 * @limit: of its own, bytes a second; 0: none
 * @sent_ns: when it was last given something; 0: never. May be read while it changes
 * @waiting: senders of its that wait
 */
struct ferry_turn {
	struct ferry_turn *next;
	u64 tag;
	u64 limit;
	u64 sent_ns;
	u32 waiting;
};

/**
 * struct ferry_share - the limit and those that share it
 * @pace: the limit; all zero: none
 * @tag: the highest one that has had its turn: where an idle session begins
 * @first: all that share it
 */
struct ferry_share {
	struct ferry_pace pace;
	u64 tag;
	struct ferry_turn *first;
};

/* It begins where the others are. */
void ferry_share_add(struct ferry_share *share, struct ferry_turn *t);
/* Does nothing if it was not added. */
void ferry_share_remove(struct ferry_share *share, struct ferry_turn *t);

/*
 * One more sender of @t waits. One that comes back late, by less than 20 ms of the
 * limit or 256 KiB, has lost nothing.
 */
void ferry_share_wait(struct ferry_share *share, struct ferry_turn *t);
/* A sender of @t waits no longer, and is given nothing. */
void ferry_share_give_up(struct ferry_turn *t);
/* Whose turn it is; NULL: nobody waits. */
struct ferry_turn *ferry_share_next(const struct ferry_share *share);

/**
 * ferry_share_take - a sender of whose turn it is wants to send
 * @share: the limit
 * @t: of ferry_share_next()
 * @bytes: what it sends
 * @now_ns: now
 *
 * Return: 0: it may, and waits no longer. Otherwise nanoseconds until it may.
 */
u64 ferry_share_take(struct ferry_share *share, struct ferry_turn *t, u64 bytes, u64 now_ns);

/* How many send now, or wait to. */
u32 ferry_share_active(const struct ferry_share *share, u64 now_ns);

/**
 * ferry_share_level - what a session without a lower limit of its own gets
 * @share: the limit, which is not 0
 * @mine: a session that counts as one that sends; NULL: only those that do
 * @now_ns: now
 *
 * The max-min fair share: what those whose own limit is lower leave is divided
 * among the others, evenly.
 *
 * Return: bytes a second.
 */
u64 ferry_share_level(const struct ferry_share *share, const struct ferry_turn *mine, u64 now_ns);

#endif /* FERRY_SHARE_H */
