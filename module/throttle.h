/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Throttling: which vCPUs dirty memory faster than the link carries it, how fast
 * each may, and how long one has to wait at its full ring. Pure: memory and
 * arithmetic on what the caller measured. Times are in nanoseconds, rates in
 * pages a second, all integers; nothing divides by zero.
 */
#ifndef FERRY_THROTTLE_H
#define FERRY_THROTTLE_H

#include <linux/types.h>

#define FERRY_THROTTLE_NONE	(~0ULL)	/* no limit */

/* No vCPU waits longer at a time: what it holds, others of the guest may wait for. */
#define FERRY_THROTTLE_MAX_WAIT_NS	(500ULL * 1000 * 1000)
/* A limit falls to no less than half in a step, and rises by no more than a quarter. */
#define FERRY_THROTTLE_FALL	2U
#define FERRY_THROTTLE_RISE	4U

/**
 * struct ferry_quota - how fast one vCPU may dirty pages
 * @limit: pages a second; FERRY_THROTTLE_NONE: as it likes
 * @due_ns: when what it has dirtied so far will have been allowed
 *
 * Nothing is saved up: a vCPU that was slow for a while is then as fast as its
 * limit, not faster. The caller serialises.
 */
struct ferry_quota {
	u64 limit;
	u64 due_ns;
};

void ferry_quota_init(struct ferry_quota *q);
/* It has dirtied @pages. */
void ferry_quota_charge(struct ferry_quota *q, u64 pages, u64 now_ns);
/* Keeps the pages that it is behind with: it waits shorter at a higher limit. */
void ferry_quota_set(struct ferry_quota *q, u64 limit, u64 now_ns);

/**
 * ferry_quota_wait - how long a vCPU has to wait at its full ring
 * @q: its quota
 * @now_ns: now
 *
 * Return: ns, at most FERRY_THROTTLE_MAX_WAIT_NS; 0: it may go on. What is left
 * beyond that is forgiven, so that a vCPU never waits for what it did long ago.
 */
u64 ferry_quota_wait(struct ferry_quota *q, u64 now_ns);

/**
 * ferry_throttle_level - the limit that keeps all vCPUs together within a budget
 * @demands: pages a second of each vCPU while nothing holds it
 * @nr: of them
 * @budget: pages a second for all
 *
 * Return: the highest limit with which they dirty no more than @budget, and at least 1:
 * those that want less than it are not touched, and those that want more get the same.
 * FERRY_THROTTLE_NONE: they stay within it by themselves.
 */
u64 ferry_throttle_level(const u64 *demands, u32 nr, u64 budget);

/**
 * ferry_throttle_step - one step from a limit towards another
 * @now: the limit that holds, or FERRY_THROTTLE_NONE
 * @want: the one that is wanted, or FERRY_THROTTLE_NONE
 * @demand: of this vCPU: where a limit begins to matter
 * @floor: pages a second that are always allowed
 *
 * Return: the next limit: half of the way at most when it falls, a quarter more at most
 * when it rises; FERRY_THROTTLE_NONE once it is no less than @demand. Not below @floor.
 */
u64 ferry_throttle_step(u64 now, u64 want, u64 demand, u64 floor);

#define FERRY_FLOOR_LEAST	64ULL
#define FERRY_FLOOR_MOST	1024ULL
/* Of the link, all vCPUs together may always dirty one in so many pages. */
#define FERRY_FLOOR_SHARE	8ULL

/**
 * ferry_throttle_floor - pages a second that each vCPU is always allowed
 * @link_rate: pages a second
 * @nr: vCPUs
 *
 * Return: FERRY_FLOOR_LEAST to FERRY_FLOOR_MOST. With more than the link carries as a
 * floor, nothing would converge.
 */
u64 ferry_throttle_floor(u64 link_rate, u32 nr);

/**
 * struct ferry_stall - whether passes still shrink
 * @left: pages that were left at the end of the last one
 * @passes: in a row that ended with hardly fewer than the one before
 */
struct ferry_stall {
	u64 left;
	u32 passes;
};

/* A pass that ends with more than this share of what the last one left has not shrunk it. */
#define FERRY_STALL_NUM		3U
#define FERRY_STALL_DEN		4U
/* So many in a row, and it is not chance. */
#define FERRY_STALL_PASSES	2U

/*
 * A pass has ended, with @left pages dirty. Whether the passes have stopped shrinking. The
 * first pass, which carries all of memory, is compared with nothing.
 */
bool ferry_stall_pass(struct ferry_stall *st, u64 left);

#endif /* FERRY_THROTTLE_H */
