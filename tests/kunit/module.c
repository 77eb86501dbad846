// SPDX-License-Identifier: GPL-2.0-only
/* What makes a loadable module of the suites: see ./Makefile. */
#include <linux/module.h>

MODULE_DESCRIPTION("KUnit tests of kvm-ferry's pure parts");
MODULE_LICENSE("GPL");
