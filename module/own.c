// SPDX-License-Identifier: GPL-2.0-only
/* The parts that modules of one's own bring: one of each kind at a time. */
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/module.h>
#include <linux/spinlock.h>

#include "dirty.h"
#include "order.h"
#include "own.h"

static DEFINE_SPINLOCK(own_lock);	/* protects: order, dirty */
static const struct ferry_order_ops *order;
static const struct ferry_dirty_ops *dirty;

int ferry_order_register(const struct ferry_order_ops *ops)
{
	int ret = -EEXIST;

	spin_lock(&own_lock);
	if (!order) {
		order = ops;
		ret = 0;
	}
	spin_unlock(&own_lock);
	return ret;
}
EXPORT_SYMBOL_NS_GPL(ferry_order_register, FERRY_NS);

void ferry_order_unregister(const struct ferry_order_ops *ops)
{
	spin_lock(&own_lock);
	if (order == ops)
		order = NULL;
	spin_unlock(&own_lock);
}
EXPORT_SYMBOL_NS_GPL(ferry_order_unregister, FERRY_NS);

const struct ferry_order_ops *ferry_order_get(void)
{
	const struct ferry_order_ops *ops;

	spin_lock(&own_lock);
	ops = order && try_module_get(order->owner) ? order : NULL;
	spin_unlock(&own_lock);
	return ops;
}

int ferry_dirty_register(const struct ferry_dirty_ops *ops)
{
	int ret = -EEXIST;

	spin_lock(&own_lock);
	if (!dirty) {
		dirty = ops;
		ret = 0;
	}
	spin_unlock(&own_lock);
	return ret;
}
EXPORT_SYMBOL_NS_GPL(ferry_dirty_register, FERRY_NS);

void ferry_dirty_unregister(const struct ferry_dirty_ops *ops)
{
	spin_lock(&own_lock);
	if (dirty == ops)
		dirty = NULL;
	spin_unlock(&own_lock);
}
EXPORT_SYMBOL_NS_GPL(ferry_dirty_unregister, FERRY_NS);

const struct ferry_dirty_ops *ferry_dirty_get(void)
{
	const struct ferry_dirty_ops *ops;

	spin_lock(&own_lock);
	ops = dirty && try_module_get(dirty->owner) ? dirty : NULL;
	spin_unlock(&own_lock);
	return ops;
}
