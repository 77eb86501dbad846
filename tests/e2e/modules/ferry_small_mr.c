// SPDX-License-Identifier: GPL-2.0-only
/*
 * RDMA devices as they are seen while this is loaded register no more than so many pages
 * at once. Soft-RoCE takes 512, as many as a batch has; cards take fewer (mlx4: 511) or
 * more, so what is one window on the one is several on the other.
 */
#include <linux/minmax.h>
#include <linux/module.h>
#include <rdma/ib_verbs.h>

static unsigned int pages = 128;
module_param(pages, uint, 0444);
MODULE_PARM_DESC(pages, "that a memory region may have at most");

static struct ib_client small_client;

static int small_add(struct ib_device *dev)
{
	unsigned long before = dev->attrs.max_fast_reg_page_list_len;

	dev->attrs.max_fast_reg_page_list_len = min_t(unsigned long, before, pages);
	ib_set_client_data(dev, &small_client, (void *)before);
	return 0;
}

static void small_remove(struct ib_device *dev, void *before)
{
	dev->attrs.max_fast_reg_page_list_len = (unsigned long)before;
}

static struct ib_client small_client = {
	.name = "ferry_small_mr",
	.add = small_add,
	.remove = small_remove,
};

static int __init small_init(void)
{
	return pages ? ib_register_client(&small_client) : -EINVAL;
}

static void __exit small_exit(void)
{
	ib_unregister_client(&small_client);
}

module_init(small_init);
module_exit(small_exit);
MODULE_DESCRIPTION("kvm-ferry tests: small memory regions");
MODULE_LICENSE("GPL");
