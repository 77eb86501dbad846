/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stands in for the module inside a test program: fake.c has an open() that
 * gives a descriptor for /dev/kvm_ferry, and an ioctl() that asks the test.
 */
#ifndef FAKE_H
#define FAKE_H

#include <ferry.h>

/* The test's module: 0, or a negative errno. */
typedef int (*fake_module_fn)(unsigned long cmd, void *arg);
extern fake_module_fn fake_module;

/* What KVM_FERRY_REASON answers, without and with KVM_FERRY_REASON_SESSION. */
extern struct kvm_ferry_reason fake_reason, fake_session_reason;
extern unsigned int fake_reason_calls;

/* A session of the fake module's; ends the program if there is none. */
struct ferry_session *fake_session(enum kvm_ferry_role role);

#endif /* FAKE_H */
