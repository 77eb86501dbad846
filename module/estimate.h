/* SPDX-License-Identifier: GPL-2.0-only */
/* What a migration is expected to cost, and what it did. */
#ifndef FERRY_ESTIMATE_H
#define FERRY_ESTIMATE_H

#include <linux/types.h>

#include "region.h"

struct ferry_reason;
struct ferry_session;
struct kvm_ferry_region_stats;
struct kvm_ferry_stats;

/* Of so many neighbours one page is looked at. */
#define FERRY_SEEN_PAGES	8U

/* Anybody: these became dirty. */
void ferry_seen(struct ferry_region *r, u64 first, u64 count);

/* Which of its neighbours: by a hash, so that a guest's stride does not meet all or none. */
static inline u32 ferry_seen_one(u64 group)
{
	return group * 0x9e3779b97f4a7c15ULL >> 61;
}

/* Main task, once an entry that was not staged: short. */
static inline void ferry_seen_page(struct ferry_region *r, u64 pfn)
{
	if (pfn % FERRY_SEEN_PAGES == ferry_seen_one(pfn / FERRY_SEEN_PAGES))
		ferry_seen(r, pfn, 1);
}

/* Main task: rates by region, as they were in the last @ns. */
void ferry_estimate_sample(struct ferry_session *s, u64 ns);
/* Main task: the downtime, if the guest were paused now. */
void ferry_estimate_downtime(struct ferry_session *s);
/* Main task: may it be, by that? */
bool ferry_estimate_fits(struct ferry_session *s);
/*
 * Main task: a pass has ended that was predicted from. Whether the guest should be paused
 * now: see ferry_plan_settle().
 */
bool ferry_estimate_pass(struct ferry_session *s);
void ferry_estimate_read(struct ferry_session *s, struct kvm_ferry_stats *out);
int ferry_region_stats(struct ferry_session *s, struct kvm_ferry_region_stats *arg,
		       struct ferry_reason *why);

#endif /* FERRY_ESTIMATE_H */
