// SPDX-License-Identifier: GPL-2.0-only
/* Sharing the host's bandwidth: see share.h. */
#include <linux/compiler.h>
#include <linux/math64.h>
#include <linux/minmax.h>

#include "share.h"

/* A batch, as senders make them under a limit: 20 ms of it. */
#define LATE_PARTS	50ULL
#define LATE_MIN	(256ULL << 10)

void ferry_share_add(struct ferry_share *share, struct ferry_turn *t)
{
	t->tag = share->tag;
	t->next = share->first;
	share->first = t;
}

void ferry_share_remove(struct ferry_share *share, struct ferry_turn *t)
{
	struct ferry_turn **at = &share->first;

	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
}

void ferry_share_wait(struct ferry_share *share, struct ferry_turn *t)
{
	u64 late = max_t(u64, share->pace.rate / LATE_PARTS, LATE_MIN);

	if (!t->waiting++)
		t->tag = max_t(u64, t->tag, max_t(u64, share->tag, late) - late);
}

void ferry_share_give_up(struct ferry_turn *t)
{
	t->waiting--;
}

struct ferry_turn *ferry_share_next(const struct ferry_share *share)
{
	struct ferry_turn *t, *next = NULL;

	for (t = share->first; t; t = t->next)
		if (t->waiting && (!next || t->tag < next->tag))
			next = t;
	return next;
}

/* It goes once what went before is paid for, so a batch of any size waits no longer. */
u64 ferry_share_take(struct ferry_share *share, struct ferry_turn *t, u64 bytes, u64 now_ns)
{
	u64 ns = ferry_pace_take(&share->pace, 0, now_ns);

	if (ns)
		return ns;
	ferry_pace_take(&share->pace, bytes, now_ns);
	share->tag = max_t(u64, share->tag, t->tag);
	t->tag += bytes;
	t->waiting--;
	return 0;
}

static bool is_active(const struct ferry_turn *t, u64 now_ns)
{
	u64 sent_ns = READ_ONCE(t->sent_ns);

	return t->waiting || (sent_ns && now_ns < sent_ns + FERRY_SHARE_ACTIVE_NS);
}

u32 ferry_share_active(const struct ferry_share *share, u64 now_ns)
{
	const struct ferry_turn *t;
	u32 nr = 0;

	for (t = share->first; t; t = t->next)
		nr += is_active(t, now_ns);
	return nr;
}

/*
 * Each round takes those out whose own limit is no more than what all others would get,
 * which leaves no less for these: a round that takes out nobody is the last one.
 */
u64 ferry_share_level(const struct ferry_share *share, const struct ferry_turn *mine, u64 now_ns)
{
	u64 level = 0, before;

	do {
		const struct ferry_turn *t;
		u64 left = share->pace.rate;
		u32 nr = 0;

		before = level;
		for (t = share->first; t; t = t->next) {
			if (t != mine && !is_active(t, now_ns))
				continue;
			if (t->limit && t->limit <= before)
				left -= t->limit;
			else
				nr++;
		}
		/* All have what they may: it would get what they leave, and no less than they. */
		level = nr ? div64_u64(left, nr) : max_t(u64, left, before);
	} while (level != before);
	return level;
}
