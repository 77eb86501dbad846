/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Failures on demand: the kernel's fault injection, only for what is asked for
 * with kvm_ferry's code on the stack, by whichever task. Needs a kernel that has
 * it (the debug kernel).
 */
#ifndef INJECT_H
#define INJECT_H

#include <stdbool.h>

/**
 * enum inject_kind - what fails
 * @INJECT_SLAB: an allocation of less than a page or so, by kmalloc() and the like
 * @INJECT_PAGE: an allocation of pages
 * @INJECT_COPY: a copy from or to user space
 */
enum inject_kind { INJECT_SLAB, INJECT_PAGE, INJECT_COPY, INJECT_KINDS };

const char *inject_name(enum inject_kind kind);
/* After the module was loaded. Bails out if the kernel cannot do it. */
void inject_open(void);
/*
 * The @nth one from now on fails, from 1, and no other. Only exact if the run
 * before met its failure, see inject_disarm().
 */
void inject_arm(enum inject_kind kind, unsigned int nth);
bool inject_met(enum inject_kind kind);
/* Nothing fails any more. Did it? If not, arm with the same @nth until it does. */
bool inject_disarm(enum inject_kind kind);

#endif
