// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sending order: the plain sweep, to measure against.
 *
 * Each page that a sweep finds goes, also one that the guest is known to have written since
 * it was published, which then goes in the next pass once more. "make bench" has
 * what that costs.
 */
#include <linux/module.h>

#include "order.h"
#include "own.h"

static const struct ferry_order_ops order_plain_ops = {
	.owner = THIS_MODULE,
	.name = "plain",
	.plain = true,
};

static int __init order_plain_init(void)
{
	return ferry_order_register(&order_plain_ops);
}

static void __exit order_plain_exit(void)
{
	ferry_order_unregister(&order_plain_ops);
}

module_init(order_plain_init);
module_exit(order_plain_exit);

MODULE_DESCRIPTION("kvm-ferry example: pages go as often as a sweep finds them");
MODULE_AUTHOR("The kvm-ferry developers");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(FERRY_NS);
