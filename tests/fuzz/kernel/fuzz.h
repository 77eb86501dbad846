/* SPDX-License-Identifier: GPL-2.0-only */
/* What the fuzzer asks of its kernel (sched.c, guest.c) beyond what the module does. */
#ifndef FERRY_FUZZ_H
#define FERRY_FUZZ_H

#include "kernel.h"

/* Before each input, and after it: nothing is allocated, no task is left. */
void fuzz_kernel_begin(void);
void fuzz_kernel_end(void);

/* Lets all tasks run that can; the clock stands, but for what looking at it takes. */
void fuzz_run(void);
/* Lets the clock go on by so much, and everybody run who waits for a time on the way. */
void fuzz_clock(u64 ns);
/* Starts a task with an address space, as a thread of the VMM. Any number at a time. */
struct task_struct *fuzz_vmm(int (*fn)(void *), void *data);
bool fuzz_dead(const struct task_struct *t);
void fuzz_signal(struct task_struct *t);	/* to a thread of the VMM, until it has ended */
void fuzz_order(u32 seed);	/* 0: a task runs until it sleeps */
void fuzz_nomem(u32 nth);	/* this allocation from now on fails; 0: none */
/* In a transport: what a task may not hold while it waits for the peer. */
void fuzz_waits_for_peer(void);

/* Guest memory: regions with memory around them that nobody may touch. */
#define FUZZ_REGIONS	2
extern const u64 fuzz_region_pages[FUZZ_REGIONS];
extern struct mm_struct fuzz_mm;

void guest_begin(bool source);
void guest_end(void);
unsigned long guest_addr(u32 region);
void guest_touch(u32 region, u64 pfn);	/* source: the guest writes */
u64 guest_digest(void);			/* of all of memory, as verify.c makes it */
enum guest_trouble { GUEST_WELL, GUEST_UNMAPPED, GUEST_EXITED };
void guest_trouble(enum guest_trouble what);
/* The transport's side of an iterator. */
void iter_fill(struct iov_iter *to, const void *from, size_t n);

/* The transport's: may this task place this range now? */
void wire_may_place(u32 region, u64 pfn, u64 count, bool zero);

#endif /* FERRY_FUZZ_H */
