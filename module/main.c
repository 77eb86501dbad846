// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-ferry: live migration of KVM guests with the hot path in the kernel.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "debugfs.h"
#include "ioctl.h"
#include "session.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static int device_open(struct inode *inode, struct file *file)
{
	struct ferry_file *f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);

	if (!f)
		return -ENOMEM;
	spin_lock_init(&f->lock);
	/* misc_open() left the miscdevice here. */
	file->private_data = f;
	return 0;
}

static int device_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.unlocked_ioctl = ferry_device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kvm_ferry",
	.fops = &device_fops,
	.mode = 0600,
};

static int __init ferry_init(void)
{
	int ret;

	ferry_debugfs_init();
	ret = misc_register(&device);
	if (ret)
		ferry_debugfs_exit();
	return ret;
}

static void __exit ferry_exit(void)
{
	misc_deregister(&device);
	ferry_debugfs_exit();
}

module_init(ferry_init);
module_exit(ferry_exit);

MODULE_DESCRIPTION("Live migration of KVM guests with the hot path in the kernel");
MODULE_AUTHOR("The kvm-ferry developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(FERRY_RELEASE);
