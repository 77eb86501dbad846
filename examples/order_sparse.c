// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sending order: blocks with few published pages first.
 *
 * Pages that stand alone are the ones that the guest keeps writing here and there; a
 * block that was written from end to end may be a buffer that will be filled once more
 * before the pass is over. So single pages go early, in three rounds over
 * memory: blocks with up to 8 pages, with up to 64, and then what is left, which the
 * sweep behind every order would send anyway.
 */
#include <linux/bitmap.h>
#include <linux/minmax.h>
#include <linux/module.h>

#include "order.h"
#include "own.h"

static const u32 most[] = { 8, 64 };	/* pages a block in each round but the last */

static u32 weight(const struct ferry_region *r, u64 block)
{
	u64 word = block * FERRY_BLOCK_PAGES / BITS_PER_LONG;
	u64 end = min_t(u64, word + FERRY_BLOCK_PAGES / BITS_PER_LONG, BITS_TO_LONGS(r->nr_pages));
	u32 pages = 0;

	/* Others set and take bits meanwhile: a guess is good enough for an order. */
	for (; word < end; word++)
		pages += hweight_long(READ_ONCE(r->published[word]));
	return pages;
}

/* w->block is the next one to look at, but for the one that was named last. */
static bool order_sparse_next(struct ferry_walk *w)
{
	/* The lowest bit of the stage: a block was named. The others: the round. */
	u32 round = w->stage >> 1;

	if (w->stage & 1)
		w->block++;
	for (; round < ARRAY_SIZE(most); round++, w->region = 0, w->block = 0) {
		for (; w->region < w->nr_regions; w->region++, w->block = 0) {
			const struct ferry_region *r = w->regions[w->region];

			for (; w->block < r->nr_blocks; w->block++) {
				u32 pages = weight(r, w->block);

				if (!pages || pages > most[round])
					continue;
				w->stage = round << 1 | 1;
				return true;
			}
		}
	}
	return false;
}

static const struct ferry_order_ops order_sparse_ops = {
	.owner = THIS_MODULE,
	.name = "sparse",
	.next = order_sparse_next,
};

static int __init order_sparse_init(void)
{
	return ferry_order_register(&order_sparse_ops);
}

static void __exit order_sparse_exit(void)
{
	ferry_order_unregister(&order_sparse_ops);
}

module_init(order_sparse_init);
module_exit(order_sparse_exit);

MODULE_DESCRIPTION("kvm-ferry example: blocks with few pages are sent first");
MODULE_AUTHOR("The kvm-ferry developers");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(FERRY_NS);
