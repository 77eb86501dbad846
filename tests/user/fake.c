// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fake module. The test program's open() and ioctl() take the place of the
 * C library's for libferry, which is linked in statically.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fake.h"

fake_module_fn fake_module;
struct kvm_ferry_reason fake_reason, fake_session_reason;
unsigned int fake_reason_calls;

int open(const char *path, int flags, ...);
int ioctl(int fd, unsigned long cmd, ...);

int open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, int) : 0;
	va_end(args);
	if (!strcmp(path, KVM_FERRY_DEVICE))
		path = "/dev/null";
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int ioctl(int fd, unsigned long cmd, ...)
{
	va_list args;
	void *arg;
	int ret;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	(void)fd;
	switch (cmd) {
	case KVM_FERRY_INFO:
		((struct kvm_ferry_info *)arg)->out_uapi_version = KVM_FERRY_UAPI_VERSION;
		return 0;
	case KVM_FERRY_CREATE:
		((struct kvm_ferry_create *)arg)->out_fd =
			(int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
		((struct kvm_ferry_create *)arg)->out_id = 42;
		return 0;
	case KVM_FERRY_REASON:
		__atomic_fetch_add(&fake_reason_calls, 1, __ATOMIC_RELAXED);
		*(struct kvm_ferry_reason *)arg =
			((struct kvm_ferry_reason *)arg)->flags & KVM_FERRY_REASON_SESSION ?
			fake_session_reason : fake_reason;
		return 0;
	default:
		ret = fake_module ? fake_module(cmd, arg) : -ENOTTY;
		if (ret >= 0)
			return ret;
		errno = -ret;
		return -1;
	}
}

struct ferry_session *fake_session(enum kvm_ferry_role role)
{
	struct ferry_device *dev;
	struct ferry_session *s;

	if (ferry_device_open(&dev) ||
	    (role == KVM_FERRY_SOURCE ? ferry_source_create(dev, -1, "vm", &s) :
					ferry_sink_create(dev, "vm", &s))) {
		fprintf(stderr, "%s\n", ferry_error());
		exit(EXIT_FAILURE);
	}
	ferry_device_close(dev);
	return s;
}
