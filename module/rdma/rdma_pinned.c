// SPDX-License-Identifier: GPL-2.0-only
/* The sink: how much of the guest's memory may be pinned. */
#include <linux/math64.h>
#include <linux/mm_types.h>

#include "rdma.h"

int rdma_bound_pinning(struct rdma_channel *rc)
{
	struct ferry_session *s = rc->ch.session;
	u64 all = READ_ONCE(s->stats.ram_total) >> PAGE_SHIFT, pages;
	s64 left = rc->sink.memlock_pages - atomic64_read(&s->mm->pinned_vm);

	left = max(left, 0);
	rc->sink.whole = s->max_pinned == KVM_FERRY_PINNED_ALL;
	if (rc->sink.whole && left < all) {
		if (!rc->ch.tentative)
			ferry_session_fail(s, -ENOMEM, "RLIMIT_MEMLOCK of the VMM has room for %llu MiB, and all of memory is %llu MiB: raise it, or do not pin all for RDMA",
					   (u64)left >> (20 - PAGE_SHIFT), all >> (20 - PAGE_SHIFT));
		return -ENOMEM;
	}
	pages = rc->sink.whole ? all : div_u64(min_t(u64, s->max_pinned >> PAGE_SHIFT, left), s->nr_data);
	/* A small guest may be pinned as a whole. */
	if (!rc->sink.whole && pages < FERRY_RDMA_MIN_PINNED) {
		if (!rc->ch.tentative)
			ferry_session_fail(s, -ENOMEM, "RLIMIT_MEMLOCK of the VMM, or max_pinned, leaves %llu KiB for each RDMA channel, which needs 4096: raise them, or use fewer channels",
					   pages << (PAGE_SHIFT - 10));
		return -ENOMEM;
	}
	rc->sink.pinned_pages = max_t(u64, pages, FERRY_RDMA_MIN_PINNED);
	return 0;
}

bool rdma_charge(struct rdma_channel *rc, u64 pages)
{
	struct ferry_session *s = rc->ch.session;
	u64 pinned;

	if (atomic64_add_return(pages, &s->mm->pinned_vm) > rc->sink.memlock_pages) {
		atomic64_sub(pages, &s->mm->pinned_vm);
		return false;
	}
	atomic64_inc(&s->stats.windows);
	pinned = atomic64_add_return(pages, &s->stats.pinned);
	if (pinned > READ_ONCE(s->stats.pinned_most))
		WRITE_ONCE(s->stats.pinned_most, pinned);
	return true;
}

void rdma_uncharge(struct rdma_channel *rc, u64 pages)
{
	atomic64_sub(pages, &rc->ch.session->mm->pinned_vm);
	atomic64_sub(pages, &rc->ch.session->stats.pinned);
}
