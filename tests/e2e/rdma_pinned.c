// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=rdma_link.c,bad_call.c,pair.c,tap.c timeout=180 leak=8192 kernels=6.1,6.12 asked=debug
 *
 * What RDMA may pin at the sink: a bound far below what the guest writes, all of
 * memory, RLIMIT_MEMLOCK, and settings that cannot be.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bad_call.h"
#include "pair.h"
#include "rdma_link.h"
#include "tap.h"

#define BYTES	(24 * MIB)
#define LEAST	(4 * MIB)	/* a channel */

static int limit_pinned(struct ferry_session *s, uint64_t bytes)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_PINNED,
				      .max_pinned = bytes };

	return ferry_session_limits(s, &l, sizeof(l));
}

static void verify(struct ferry_session *s)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_VERIFY, .verify = 1 };

	if (ferry_session_limits(s, &l, sizeof(l)))
		tap_bail("verify: %s", ferry_session_error(s));
}

/* Half of it data, an eighth of that in single pages; the rest a hole. */
static void set_up(struct pair *p, unsigned int channels, uint64_t pinned)
{
	size_t at;

	*p = (struct pair){ .bytes = BYTES, .channels = channels,
			    .transport = KVM_FERRY_TRANSPORT_RDMA, .rdma = rdma_address() };
	p->from = pair_memory(BYTES, false);
	p->to = pair_memory(BYTES, false);
	madvise(p->to, BYTES, MADV_NOHUGEPAGE);
	fill(p->from, BYTES / 2, channels);
	for (at = BYTES * 3 / 4; at < BYTES; at += 64 * PAGE)
		fill(p->from + at, PAGE, at);
	pair_open(p, -1);
	if (limit_pinned(p->sink, pinned))
		tap_bail("limit: %s", ferry_session_error(p->sink));
}

static void put_away(struct pair *p)
{
	pair_close(p);
	munmap(p->from, BYTES);
	munmap(p->to, BYTES);
}

/* All pages again and again, so that windows come and go. */
static void rewrite(struct pair *p, uint64_t seed)
{
	fill(p->from, BYTES / 2, seed);
	ferry_session_report_range(p->source, 0, 0, BYTES / 2);
}

/* Returns how many windows there were. */
static uint64_t moves(unsigned int channels, uint64_t pinned)
{
	bool all = pinned == KVM_FERRY_PINNED_ALL;
	struct kvm_ferry_stats st;
	static char state[4096];
	struct pair p;
	size_t there;
	int err;

	set_up(&p, channels, pinned);
	verify(p.source);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	rewrite(&p, 50);
	err = pair_switch(&p, state, sizeof(state));
	there = resident(p.to, BYTES);	/* to look at a hole fills it */
	tap_check(!err && !memcmp(p.from, p.to, BYTES), "%u channels, %llu MiB pinned: moved, and equal",
		  channels, all ? BYTES / MIB : (unsigned long long)pinned / MIB);
	st = pair_stats(p.sink);
	tap_note("%llu windows, at most %llu KiB pinned, %llu KiB now, %llu pages resident",
		 (unsigned long long)st.out_windows, (unsigned long long)st.out_pinned_most_bytes / 1024,
		 (unsigned long long)st.out_pinned_bytes / 1024, (unsigned long long)there);
	tap_check(st.out_windows && (all ? st.out_pinned_most_bytes == BYTES :
				     st.out_pinned_most_bytes <= pinned), "it is as much as was allowed");
	tap_check(all ? there == BYTES / PAGE : there <= (BYTES / 2 + BYTES / 4 / 64) / PAGE,
		  all ? "all of memory is there" : "what never arrived is a hole");
	tap_check(st.out_rdma_channels == channels, "%llu channels by RDMA",
		  (unsigned long long)st.out_rdma_channels);
	put_away(&p);
	return st.out_windows;
}

/* Devices that take fewer pages at once than a batch has: several windows for one batch. */
static void small_regions(unsigned int pages, unsigned int channels, uint64_t pinned)
{
	char command[80];

	snprintf(command, sizeof(command), "insmod /lab/ferry_small_mr.ko pages=%u", pages);
	must(command);
	tap_note("a region may have %u pages", pages);
	/* What is written twice is half of the memory, or all of it is wanted. */
	tap_check(moves(channels, pinned) >= BYTES / 2 / PAGE / pages, "windows of %u pages", pages);
	must("rmmod ferry_small_mr");
}

static void drop_capability(int which)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		tap_bail("capget");
	data[CAP_TO_INDEX(which)].effective &= ~CAP_TO_MASK(which);
	data[CAP_TO_INDEX(which)].permitted &= ~CAP_TO_MASK(which);
	if (syscall(SYS_capset, &head, data))
		tap_bail("capset");
}

/* What a VMM without CAP_IPC_LOCK may; @works: it is enough. */
static void poor(rlim_t memlock, unsigned int channels, uint64_t pinned, bool works)
{
	struct rlimit limit = { memlock, memlock };
	static char state[4096];
	struct kvm_ferry_stats st;
	struct pair p;

	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		tap_bail("setrlimit");
	set_up(&p, channels, pinned);
	if (ferry_session_start(p.sink) || ferry_session_start(p.source))
		tap_bail("start: %s", ferry_session_error(p.source));
	if (works) {
		pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
		tap_check(!pair_switch(&p, state, sizeof(state)) && !memcmp(p.from, p.to, BYTES),
			  "RLIMIT_MEMLOCK of %llu MiB: moved", (unsigned long long)memlock / MIB);
		st = pair_stats(p.sink);
		tap_check(st.out_pinned_most_bytes <= memlock, "%llu KiB were pinned",
			  (unsigned long long)st.out_pinned_most_bytes / 1024);
	} else {
		failed_with(ferry_session_fd(p.sink), ENOMEM, "RLIMIT_MEMLOCK",
			    "RLIMIT_MEMLOCK of %llu MiB", (unsigned long long)memlock / MIB);
		failed_with(ferry_session_fd(p.source), EPIPE, "RLIMIT_MEMLOCK", "the source is told");
		tap_check(!pair_stats(p.sink).out_pinned_bytes, "nothing is pinned");
	}
	put_away(&p);
}

/* The command, and what must be said of it. */
static void wrong(struct ferry_session *s, uint64_t bytes, int error, const char *words)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_PINNED,
				      .max_pinned = bytes };

	refused(ferry_session_fd(s), KVM_FERRY_LIMITS, &l, error, words, "max_pinned %llu",
		(unsigned long long)bytes);
}

static void bad_limits(void)
{
	struct pair p;

	set_up(&p, 2, KVM_FERRY_PINNED_ALL);
	wrong(p.sink, 0, EINVAL, "at least 4 MiB");
	wrong(p.sink, LEAST - PAGE, EINVAL, "at least 4 MiB");
	wrong(p.source, LEAST, ENOTTY, "a source");
	/* Enough for one channel, and there are two. */
	if (limit_pinned(p.sink, LEAST))
		tap_bail("limit: %s", ferry_session_error(p.sink));
	if (ferry_session_start(p.sink))
		tap_bail("start: %s", ferry_session_error(p.sink));
	wrong(p.sink, 2 * LEAST, EBUSY, "before START");
	if (ferry_session_start(p.source))
		tap_bail("start: %s", ferry_session_error(p.source));
	failed_with(ferry_session_fd(p.sink), ENOMEM, "max_pinned", "4 MiB for two channels");
	put_away(&p);
}

int main(void)
{
	rdma_up();
	moves(1, LEAST);
	moves(2, 3 * LEAST);
	moves(1, KVM_FERRY_PINNED_ALL);
	moves(3, KVM_FERRY_PINNED_ALL);
	small_regions(511, 1, LEAST);
	small_regions(128, 2, 3 * LEAST);
	small_regions(3, 1, LEAST);
	small_regions(128, 1, KVM_FERRY_PINNED_ALL);
	small_regions(511, 3, KVM_FERRY_PINNED_ALL);
	bad_limits();
	drop_capability(CAP_IPC_LOCK);
	poor(5 * MIB, 1, 256 * MIB, true);
	poor(32 * MIB, 1, KVM_FERRY_PINNED_ALL, true);
	poor(16 * MIB, 1, KVM_FERRY_PINNED_ALL, false);
	poor(5 * MIB, 2, 256 * MIB, false);
	rdma_down();
	return tap_done();
}
