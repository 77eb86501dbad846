/* SPDX-License-Identifier: GPL-2.0-only */
/* Regions of guest memory, and which KVM memslot lies where in them. */
#ifndef FERRY_REGION_H
#define FERRY_REGION_H

#include <linux/atomic.h>
#include <linux/types.h>
#include <linux/kvm_ferry.h>

#include "plan.h"

struct ferry_session;
struct ferry_reason;

#define FERRY_BLOCK_PAGES	512	/* 2 MiB: unit of channels, digests, hole skipping */

/**
 * struct ferry_region - a range of guest memory in the VMM's address space
 * @index: place in the session's table and on the wire
 * @id: chosen by the VMM
 * @name: chosen by the VMM
 * @addr: user address of the first byte
 * @nr_pages: length
 * @nr_blocks: length in FERRY_BLOCK_PAGES, rounded up
 * @staged: source: seen dirty, not yet write-protected again. Only the main
 *	task sets and moves them
 * @staged_blocks: a bit a block that may have staged bits
 * @published: source: may be read and sent. Set by anybody, taken by senders
 * @log: source: dirty for the VMM's other consumers, taken by FETCH_DIRTY
 * @seen: source: a bit for each eight pages: the one of them that is looked at was
 *	written in these 10 seconds
 * @nr_seen: in @seen
 * @working_set: pages, of the 10 seconds before; main task only
 * @dirty_pages: that became dirty since START
 * @sampled_pages: of these, at the last sample; main task only
 * @dirty_rate: pages a second; main task only
 *
 * Three bits a page, one in eight and one in 512. All change by atomic operations on words.
 */
struct ferry_region {
	u32 index;
	u32 id;
	char name[KVM_FERRY_NAME_LEN];
	unsigned long addr;
	u64 nr_pages;
	u64 nr_blocks;
	unsigned long *staged;
	unsigned long *staged_blocks;
	unsigned long *published;
	unsigned long *log;
	unsigned long *seen;
	atomic64_t nr_seen;
	u64 working_set;
	atomic64_t dirty_pages;
	u64 sampled_pages;
	struct ferry_rate dirty_rate;
};

int ferry_region_add(struct ferry_session *s, struct kvm_ferry_region_add *arg,
		     struct ferry_reason *why);
/* NULL if there is none. Under setup_lock, or after START. */
struct ferry_region *ferry_region_find(struct ferry_session *s, u32 id);
/* Checks alignment and bounds of [offset, offset + length); gives pages. */
int ferry_region_range(struct ferry_session *s, u32 id, u64 offset, u64 length,
		       struct ferry_region **rp, u64 *first, u64 *count,
		       struct ferry_reason *why);
void ferry_regions_free(struct ferry_session *s);

int ferry_name_check(const u8 *name, bool may_be_empty, const char *what,
		     struct ferry_reason *why);

#endif /* FERRY_REGION_H */
