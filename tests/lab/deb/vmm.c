// SPDX-License-Identifier: GPL-2.0
/* What links with libferry: prints its version, and what it says where there is no device. */
#include <ferry.h>
#include <linux/kvm_ferry.h>
#include <stdio.h>

int main(void)
{
	struct ferry_device *dev;

	if (!ferry_device_open(&dev))
		ferry_device_close(dev);
	printf("%s %d %s\n", ferry_version(), KVM_FERRY_UAPI_VERSION, ferry_error());
	return 0;
}
