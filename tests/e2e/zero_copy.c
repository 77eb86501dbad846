// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_wire.c,bad_call.c,pair.c,tap.c timeout=90 leak=8192
 *
 * Nothing is copied at the source: a page that the socket holds is the guest's
 * own, seen by its references and by a change that still travels. And the rest of
 * what a transfer promises: bounded flight, a kept bandwidth, huge pages that stay
 * whole, sixteen channels.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bad_call.h"
#include "bad_wire.h"
#include "tap.h"

#define TRACING	"/sys/kernel/tracing"

static void put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		tap_bail("%s: %s", path, strerror(errno));
	close(fd);
}

/* Bytes that the module has given to the socket whose other end is @fd, not yet acknowledged. */
static unsigned long queued(int fd)
{
	unsigned int local, remote, tx, rx;
	struct sockaddr_in them;
	socklen_t len = sizeof(them);
	unsigned long found = 0;
	char line[512];
	FILE *f = fopen("/proc/net/tcp", "r");

	getpeername(fd, (struct sockaddr *)&them, &len);
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %*d: %*x:%x %*x:%x %*x %x:%x", &local, &remote, &tx, &rx) == 4 &&
		    local == ntohs(them.sin_port))
			found = tx;
	if (f)
		fclose(f);
	return found;
}

static void open_source(struct peer *p, uint64_t inflight)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_INFLIGHT,
				      .inflight_bytes = inflight };

	memset(p, 0, sizeof(*p));
	peer_open(p, KVM_FERRY_SOURCE, 1, 20000, false);
	if (ferry_session_limits(p->s, &l, sizeof(l)))
		tap_bail("limits: %s", ferry_session_error(p->s));
	peer_start(p);
	sink_connect(p, 0);
}

/* The peer reads nothing: waits until the source sends no more. */
static unsigned long stalled(struct peer *p)
{
	uint64_t then = now_ms();
	unsigned long last = 0, now;

	poll_until((now = queued(p->data[0].fd)) != last ?
		   (last = now, then = now_ms(), false) : now && now_ms() - then > 500);
	return last;
}

static void flight(uint64_t inflight)
{
	static struct peer p;
	unsigned long held;

	open_source(&p, inflight);
	held = stalled(&p);
	/* A batch, which is half of it at most, is begun when there is any room. */
	tap_check(held >= inflight / 2 && held <= inflight + inflight / 2,
		  "%llu KiB in flight allowed: %lu KiB are queued", (unsigned long long)inflight / 1024,
		  held / 1024);
	peer_close(&p);
}

/* Session @id's batches in the trace: how many, and of how many the references grew. */
static void count_batches(uint64_t id, unsigned int *batches, unsigned int *grew)
{
	unsigned long long session;
	char line[512], *at;
	int before, after, pages;
	FILE *f = fopen(TRACING "/trace", "r");

	*batches = *grew = 0;
	while (f && fgets(line, sizeof(line), f)) {
		at = strstr(line, "ferry_batch: ");
		if (!at || sscanf(at, "ferry_batch: session=%llu channel=%*u pass=%*u extents=%*u pages=%d refs_before=%d refs_after=%d",
				  &session, &pages, &before, &after) != 4 || session != id || !pages)
			continue;
		(*batches)++;
		*grew += after > before;
	}
	if (f)
		fclose(f);
}

static void by_reference(void)
{
	static const char late[] = "written after it was taken";
	unsigned int batches, grew;
	struct kvm_ferry_stats st;
	static struct peer p;

	/* The trace buffer that this makes is the kernel's to keep: see leak= above. */
	put(TRACING "/trace", "\n");
	put(TRACING "/events/kvm_ferry/ferry_batch/enable", "1");
	/*
	 * Room for all of it: the socket takes every batch while nobody reads. A batch
	 * is at most half of that room, so there are two.
	 */
	open_source(&p, 3 * MIB);
	tap_check(poll_until((st = pair_stats(p.s)).out_ram_transferred > PEER_BYTES),
		  "a socket that nobody reads has taken all of the memory");
	count_batches(ferry_session_id(p.s), &batches, &grew);
	put(TRACING "/events/kvm_ferry/ferry_batch/enable", "0");
	tap_check(batches >= 2 && grew == batches, "%u of %u batches: the socket holds the guest's page",
		  grew, batches);
	tap_check(st.out_batches == batches && st.out_batch_pages_spliced == batches,
		  "the statistics say so too: %llu of %llu", (unsigned long long)st.out_batch_pages_spliced,
		  (unsigned long long)st.out_batches);
	memcpy(p.mem + 100, late, sizeof(late));
	memcpy(p.mem + PEER_BYTES - sizeof(late), late, sizeof(late));
	sink_take(&p, W_FENCE);
	tap_check(!memcmp(p.shadow + 100, late, sizeof(late)) &&
		  !memcmp(p.shadow + PEER_BYTES - sizeof(late), late, sizeof(late)),
		  "what was written to pages after they were taken is what arrives");
	tap_check(!memcmp(p.shadow, p.mem, PEER_BYTES), "and all else is as it was");
	peer_close(&p);
}

static void open_pair(struct pair *p, size_t bytes, unsigned int channels)
{
	*p = (struct pair){ .bytes = bytes, .channels = channels };
	p->from = pair_memory(bytes, false);
	p->to = pair_memory(bytes, false);
}

static void close_pair(struct pair *p)
{
	pair_close(p);
	munmap(p->from, p->bytes);
	munmap(p->to, p->bytes);
}

static void bandwidth(unsigned int channels)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_BANDWIDTH,
				      .max_bandwidth = 8 * MIB };
	struct kvm_ferry_stats st;
	uint64_t begin, ms, rate, ideal;
	struct pair p;
	bool moved;

	open_pair(&p, 16 * MIB, channels);
	fill(p.from, p.bytes, 1);
	pair_open(&p, -1);
	ferry_session_limits(p.source, &l, sizeof(l));
	begin = now_ms();
	pair_start(&p);
	do {
		pair_wait(p.source, KVM_FERRY_EVENT_PASS);
		st = pair_stats(p.source);
	} while (st.out_ram_transferred < p.bytes);
	ms = now_ms() - begin;
	rate = st.out_ram_transferred * 1000 / (ms ? ms : 1);
	ideal = st.out_ram_transferred * 1000 / l.max_bandwidth;
	/*
	 * Never much faster; and no sender sleeps longer than the limit asks for. How
	 * much slower it is beside that depends on how busy the machine is.
	 */
	tap_check(rate <= l.max_bandwidth * 105 / 100 && rate >= l.max_bandwidth / 4 &&
		  st.out_pacing_ns / 1000000 <= channels * ideal * 105 / 100,
		  "%u channels limited to 8192 KiB/s: %llu KiB/s, senders slept %llu ms of %llu", channels,
		  (unsigned long long)rate / 1024, (unsigned long long)st.out_pacing_ns / 1000000,
		  (unsigned long long)(channels * ideal));
	l.max_bandwidth = 0;
	ferry_session_limits(p.source, &l, sizeof(l));
	ferry_session_report_range(p.source, 0, 0, p.bytes);
	begin = now_ms();
	moved = !pair_switch(&p, "x", 1);
	ms = now_ms() - begin;
	tap_check(moved && ms < 5000 * lab_slow(), "the limit is lifted, and the same again takes %llu ms",
		  (unsigned long long)ms);
	close_pair(&p);
}

/* A sender that sleeps for a limit is let go when the limit is lifted. */
static void lifted(void)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_BANDWIDTH,
				      .max_bandwidth = 65536 };
	uint64_t begin, ms;
	struct pair p;

	open_pair(&p, 8 * MIB, 1);
	fill(p.from, p.bytes, 1);
	pair_open(&p, -1);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	/* A batch of a MiB, begun without a limit, at 64 KiB a second: 16 s. */
	ferry_session_limits(p.source, &l, sizeof(l));
	ferry_session_report_range(p.source, 0, 0, p.bytes);
	poll_until(pair_stats(p.source).out_pacing_ns);
	begin = now_ms();
	l.max_bandwidth = 64 * MIB;
	ferry_session_limits(p.source, &l, sizeof(l));
	pair_wait(p.source, KVM_FERRY_EVENT_PASS);
	ms = now_ms() - begin;
	tap_check(ms < 8000 * lab_slow(), "the limit is raised, and a sender that slept goes on: %llu ms for 8 MiB",
		  (unsigned long long)ms);
	close_pair(&p);
}

/* Of the mapping at @addr: a field of smaps, in KiB. */
static unsigned long smaps(const void *addr, const char *field)
{
	unsigned long from, to, kib = 0, found = 0;
	char line[512], name[64];
	bool here = false;
	FILE *f = fopen("/proc/self/smaps", "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (uintptr_t)addr >= from && (uintptr_t)addr < to;
		else if (here && sscanf(line, "%63[^:]: %lu kB", name, &kib) == 2 && !strcmp(name, field))
			found = kib;
	}
	if (f)
		fclose(f);
	return found;
}

static void transparent(void)
{
	unsigned long before, src, snk;
	struct pair p;

	put("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	open_pair(&p, 16 * MIB, 2);
	if (madvise(p.from, p.bytes, MADV_HUGEPAGE) || madvise(p.to, p.bytes, MADV_HUGEPAGE))
		tap_bail("no transparent huge pages: %s", strerror(errno));
	fill(p.from, p.bytes, 2);
	before = smaps(p.from, "AnonHugePages");
	pair_open(&p, -1);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	tap_check(!pair_switch(&p, "x", 1), "transparent huge pages: moved");
	src = smaps(p.from, "AnonHugePages");
	snk = smaps(p.to, "AnonHugePages");
	tap_check(before == p.bytes / 1024 && src == before && snk == before,
		  "%lu KiB of huge pages before, %lu KiB at the source and %lu KiB at the sink after",
		  before, src, snk);
	tap_check(!memcmp(p.from, p.to, p.bytes), "and the memory is equal");
	close_pair(&p);
}

static unsigned long meminfo(const char *field)
{
	unsigned long value, found = 0;
	char line[128], name[64];
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63[^:]: %lu", name, &value) == 2 && !strcmp(name, field))
			found = value;
	if (f)
		fclose(f);
	return found;
}

/* Of eight huge pages on each side, three hold data. */
static void hugetlb(void)
{
	struct pair p = { .bytes = 16 * MIB, .channels = 2 };
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
	unsigned long used;

	put("/proc/sys/vm/nr_hugepages", "16");
	if (meminfo("HugePages_Total") < 16)
		tap_bail("only %lu huge pages are to be had", meminfo("HugePages_Total"));
	p.from = mmap(NULL, p.bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
	p.to = mmap(NULL, p.bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (p.from == MAP_FAILED || p.to == MAP_FAILED)
		tap_bail("hugetlb: %s", strerror(errno));
	fill(p.from, 2 * MIB, 1);
	fill(p.from + 6 * MIB + 5 * PAGE, PAGE, 2);
	fill(p.from + 14 * MIB, MIB, 3);
	pair_open(&p, -1);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	tap_check(!pair_switch(&p, "x", 1), "hugetlb: moved");
	used = 16 - meminfo("HugePages_Free");
	tap_check(used == 6, "3 huge pages hold data, %lu are allocated on both sides together", used);
	tap_check(!memcmp(p.from, p.to, p.bytes), "and the memory is equal");
	close_pair(&p);
	put("/proc/sys/vm/nr_hugepages", "0");
}

static void sixteen(void)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_VERIFY, .verify = 1 };
	struct pair p;

	open_pair(&p, 40 * MIB, KVM_FERRY_MAX_DATA_CHANNELS);
	fill(p.from, p.bytes, 16);
	pair_open(&p, -1);
	ferry_session_limits(p.source, &l, sizeof(l));
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	fill(p.from + MIB, 30 * MIB, 17);
	ferry_session_report_range(p.source, 0, MIB, 30 * MIB);
	tap_check(!pair_switch(&p, "x", 1) && !memcmp(p.from, p.to, p.bytes),
		  "sixteen channels: moved, and equal");
	close_pair(&p);
}

int main(void)
{
	by_reference();
	flight(256 << 10);
	flight(512 << 10);
	bandwidth(1);
	bandwidth(4);
	lifted();
	transparent();
	hugetlb();
	sixteen();
	return tap_done();
}
