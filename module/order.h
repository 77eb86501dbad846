/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In which order a sender looks at the blocks of guest memory. Pure.
 */
#ifndef FERRY_ORDER_H
#define FERRY_ORDER_H

#include <linux/types.h>

#include "region.h"

struct ferry_walk;
struct module;

/**
 * struct ferry_order_ops - a sending order, of a module of one's own
 * @owner: its module; each session that uses the order holds a reference
 * @name: for people
 * @plain: a page that a sweep finds published goes, also if it is known to have been written
 *	since. Otherwise such a page is left to the pass in which it will be published again
 * @next: NULL: ascending. A sender asks: which block comes next? Says so in @w->region and @w->block,
 *	and returns true; false: it has nothing more to say in this sweep. What it
 *	wants to keep between two calls is in @w->stage and in these two. Any task, several
 *	at once, each with a walk of its own; it must not sleep. It may look at the
 *	published bits of @w->regions, which change while it does
 *
 * An order is advice, and cannot do harm: what it names that is not there is passed over, it is
 * asked at most once for each block that there is, and what it leaves out is
 * swept behind it. Most blocks belong to other senders: naming these costs a call.
 */
struct ferry_order_ops {
	struct module *owner;
	const char *name;
	bool plain;
	bool (*next)(struct ferry_walk *w);
};

static inline bool ferry_order_plain(const struct ferry_order_ops *order)
{
	return order && order->plain;
}

/**
 * struct ferry_walk - a sender's sweep over the blocks that have published pages
 * @regions: the session's
 * @nr_regions: of them
 * @order: NULL: ascending
 * @asks: how often @order may still be asked
 * @stage: the order's own, 0 at first
 * @region: index of the region of the block that the walk has come to; 0 at first
 * @block: which one it is there; 0 at first
 * @at_region: where the ascending sweep is, behind what @order said
 * @at_pfn: and the next page there
 */
struct ferry_walk {
	struct ferry_region *const *regions;
	u32 nr_regions;
	const struct ferry_order_ops *order;
	u64 asks;

	u32 stage;
	u32 region;
	u64 block;

	u32 at_region;
	u64 at_pfn;
};

void ferry_walk_begin(struct ferry_walk *w, struct ferry_region *const *regions, u32 nr_regions,
		      const struct ferry_order_ops *order);

/*
 * Comes to the next block that has published pages. False: every block that had some
 * when the walk began was come to. A block of which pages were published
 * meanwhile may come twice if there is an order, and only then.
 */
bool ferry_walk_next(struct ferry_walk *w);

#endif /* FERRY_ORDER_H */
