// SPDX-License-Identifier: GPL-2.0-only
/* Throttling: see throttle.h. */
#include <linux/math64.h>
#include <linux/minmax.h>

#include "throttle.h"

#define NS_PER_S	1000000000ULL
/* Nothing dirties as many: it keeps pages times nanoseconds within 64 bits. */
#define MAX_PAGES	(1ULL << 32)

void ferry_quota_init(struct ferry_quota *q)
{
	q->limit = FERRY_THROTTLE_NONE;
	q->due_ns = 0;
}

void ferry_quota_charge(struct ferry_quota *q, u64 pages, u64 now_ns)
{
	if (q->limit == FERRY_THROTTLE_NONE)
		return;
	q->due_ns = max_t(u64, q->due_ns, now_ns) + div64_u64(min_t(u64, pages, MAX_PAGES) * NS_PER_S, q->limit);
}

/* A vCPU that was not limited owes nothing, and one that is no more owes hardly anything. */
void ferry_quota_set(struct ferry_quota *q, u64 limit, u64 now_ns)
{
	u64 behind_ns = max_t(u64, q->due_ns, now_ns) - now_ns;

	limit = max_t(u64, limit, 1);
	behind_ns = min_t(u64, behind_ns, FERRY_THROTTLE_MAX_WAIT_NS) * min_t(u64, q->limit, MAX_PAGES);
	q->due_ns = now_ns + div64_u64(behind_ns, limit);
	q->limit = limit;
}

u64 ferry_quota_wait(struct ferry_quota *q, u64 now_ns)
{
	q->due_ns = min_t(u64, q->due_ns, now_ns + FERRY_THROTTLE_MAX_WAIT_NS);
	return q->limit == FERRY_THROTTLE_NONE ? 0 : max_t(u64, q->due_ns, now_ns) - now_ns;
}

static u64 demanded(const u64 *demands, u32 nr, u64 level)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < nr; i++)
		sum += min_t(u64, min_t(u64, demands[i], level), MAX_PAGES);
	return sum;
}

u64 ferry_throttle_level(const u64 *demands, u32 nr, u64 budget)
{
	u64 low = 1, high = MAX_PAGES;

	if (demanded(demands, nr, MAX_PAGES) <= budget)
		return FERRY_THROTTLE_NONE;
	/* @low keeps within the budget, or is the least that there is; @high does not. */
	while (high - low > 1) {
		u64 level = low + (high - low) / 2;

		if (demanded(demands, nr, level) <= budget)
			low = level;
		else
			high = level;
	}
	return low;
}

u64 ferry_throttle_step(u64 now, u64 want, u64 demand, u64 floor)
{
	u64 from = min_t(u64, min_t(u64, now, demand), MAX_PAGES), next;

	want = max_t(u64, min_t(u64, want, MAX_PAGES), floor);
	if (want < from)
		next = max_t(u64, want, from / FERRY_THROTTLE_FALL);
	else
		next = min_t(u64, want, from + from / FERRY_THROTTLE_RISE + 1);
	next = max_t(u64, max_t(u64, next, floor), 1);
	return next >= demand ? FERRY_THROTTLE_NONE : next;
}

u64 ferry_throttle_floor(u64 link_rate, u32 nr)
{
	return clamp_t(u64, div64_u64(link_rate, FERRY_FLOOR_SHARE * max_t(u32, nr, 1)),
		       FERRY_FLOOR_LEAST, FERRY_FLOOR_MOST);
}

bool ferry_stall_pass(struct ferry_stall *st, u64 left)
{
	u64 before = st->left;

	st->left = left;
	/* Multiplied out it could leave 64 bits; a quarter is exact enough. */
	if (before && left && left >= before / FERRY_STALL_DEN * FERRY_STALL_NUM)
		st->passes++;
	else
		st->passes = 0;
	return st->passes >= FERRY_STALL_PASSES;
}
