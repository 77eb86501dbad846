// SPDX-License-Identifier: GPL-2.0
/*
 * Not a program: LD_PRELOAD of it lets QEMU believe that this host has AMD's SEV, as far as
 * the machine of a confidential guest being made. All that is asked of the firmware and of
 * KVM for it succeeds and does nothing. Such a guest cannot run.
 * lab: flags=-shared,-fPIC libs=dl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/kvm.h>
#include <linux/psp-sev.h>
#include <stdarg.h>

int ioctl(int fd, unsigned long request, ...);

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int fd, unsigned long request, void *arg);
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (!real)
		real = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
	/* QEMU passes an int, which may be negative. */
	switch ((unsigned int)request) {
	case KVM_MEMORY_ENCRYPT_OP:
	case KVM_MEMORY_ENCRYPT_REG_REGION:
	case KVM_MEMORY_ENCRYPT_UNREG_REGION:
	case SEV_ISSUE_CMD:
		return 0;
	}
	return real(fd, request, arg);
}
