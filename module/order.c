// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sender's way through the blocks that have published pages. Pure.
 *
 * Whatever an order says, a walk comes to every block that had published pages when
 * it began, and it ends: the order is asked so often as there are blocks, and then
 * all that is still published is swept in ascending order. Where there is no order, that
 * sweep is all, and costs no call but one for each block.
 */
#include <linux/bitmap.h>
#include <linux/minmax.h>

#include "order.h"

void ferry_walk_begin(struct ferry_walk *w, struct ferry_region *const *regions, u32 nr_regions,
		      const struct ferry_order_ops *order)
{
	u32 i;

	*w = (struct ferry_walk) { .regions = regions, .nr_regions = nr_regions, .order = order };
	for (i = 0; order && order->next && i < nr_regions; i++)
		w->asks += regions[i]->nr_blocks;
}

static bool has_published(const struct ferry_walk *w)
{
	const struct ferry_region *r;
	u64 first, end;

	if (w->region >= w->nr_regions)
		return false;
	r = w->regions[w->region];
	if (w->block >= r->nr_blocks)
		return false;
	first = w->block * FERRY_BLOCK_PAGES;
	end = min_t(u64, first + FERRY_BLOCK_PAGES, r->nr_pages);
	return find_next_bit(r->published, end, first) < end;
}

bool ferry_walk_next(struct ferry_walk *w)
{
	while (w->asks) {
		w->asks--;
		if (!w->order->next(w))
			w->asks = 0;
		else if (has_published(w))
			return true;
	}
	for (; w->at_region < w->nr_regions; w->at_region++, w->at_pfn = 0) {
		const struct ferry_region *r = w->regions[w->at_region];
		u64 pfn = find_next_bit(r->published, r->nr_pages, w->at_pfn);

		if (pfn >= r->nr_pages)
			continue;
		w->region = w->at_region;
		w->block = pfn / FERRY_BLOCK_PAGES;
		w->at_pfn = (w->block + 1) * FERRY_BLOCK_PAGES;
		return true;
	}
	return false;
}
