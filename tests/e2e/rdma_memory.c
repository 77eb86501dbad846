// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=rdma_link.c,pair.c,tap.c timeout=180 leak=8192 kernels=6.1,6.12,debug,newest
 *
 * Memory moves whole by RDMA (rdma_rxe), one queue pair and several, anonymous
 * and shared; holes and zero pages are neither sent nor pinned nor allocated;
 * what turns to zero and back while it moves arrives as it is at last.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pair.h"
#include "rdma_link.h"
#include "tap.h"

#define BYTES (64 * MIB)

static void set_verify(struct pair *p)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_VERIFY, .verify = 1 };

	if (ferry_session_limits(p->source, &l, sizeof(l)))
		tap_bail("limits: %s", ferry_session_error(p->source));
}

static size_t lay_out(uint8_t *mem, uint64_t seed)
{
	size_t at, data = 0;

	fill(mem, BYTES / 4, seed);
	data += BYTES / 4 / PAGE;
	memset(mem + BYTES / 4, 1, BYTES / 8);
	memset(mem + BYTES / 4, 0, BYTES / 8);
	for (at = BYTES / 2; at < BYTES * 3 / 4; at += 37 * PAGE, data++)
		fill(mem + at, PAGE, seed + at);
	return data;
}

/* Data to zero and to data again, as fast as it is told. */
static void flip(struct pair *p, unsigned int rounds)
{
	unsigned int i;

	for (i = 0; i < rounds; i++) {
		if (i & 1)
			fill(p->from + (i % 64) * PAGE, 64 * PAGE, i);
		else
			memset(p->from + (i % 64) * PAGE, 0, 64 * PAGE);
		ferry_session_report_range(p->source, 0, (i % 64) * PAGE, 64 * PAGE);
	}
}

static void move(unsigned int channels, bool memfd, bool stale)
{
	struct pair p = { .bytes = BYTES, .channels = channels, .transport = KVM_FERRY_TRANSPORT_RDMA };
	struct kvm_ferry_stats src, snk;
	static char state[1 << 20];
	size_t data;

	p.rdma = rdma_address();
	p.from = pair_memory(BYTES, memfd);
	p.to = pair_memory(BYTES, memfd);
	data = lay_out(p.from, channels + 1);
	if (stale)
		memset(p.to + BYTES / 4, 0xee, BYTES / 2);
	fill(state, sizeof(state), 7);
	pair_open(&p, -1);
	set_verify(&p);
	pair_start(&p);
	flip(&p, 400);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	flip(&p, 401);
	fill(p.from + BYTES - PAGE, PAGE, 98);
	ferry_session_report_range(p.source, 0, BYTES - PAGE, PAGE);
	tap_check(!pair_switch(&p, state, sizeof(state)), "rdma, %u channels, %s%s: moved", channels,
		  memfd ? "memfd" : "anonymous", stale ? ", used sink" : "");
	if (!stale) {
		size_t got = resident(p.to, BYTES);

		tap_check(got <= resident(p.from, BYTES) - BYTES / 8 / PAGE + 512,
			  "sink allocated %zu pages, source %zu", got, resident(p.from, BYTES));
	}
	tap_check(!memcmp(p.from, p.to, BYTES), "memory is equal");
	src = pair_stats(p.source);
	snk = pair_stats(p.sink);
	tap_check(src.out_state == KVM_FERRY_STATE_DONE && snk.out_state == KVM_FERRY_STATE_DONE,
		  "both are done");
	tap_check(src.out_digest && src.out_digest == snk.out_digest, "digests are equal: %llx",
		  (unsigned long long)src.out_digest);
	tap_check(src.out_ram_normal >= data, "%llu pages travelled, %zu held data",
		  (unsigned long long)src.out_ram_normal, data);
	tap_check(src.out_ram_normal == snk.out_ram_normal &&
		  src.out_ram_transferred == snk.out_ram_transferred, "both count the same");
	tap_note("%llu passes, %llu extents in %llu batches, downtime %llu us, total %llu ms",
		 (unsigned long long)src.out_dirty_sync_count, (unsigned long long)src.out_extents,
		 (unsigned long long)src.out_batches, (unsigned long long)src.out_downtime_ns / 1000,
		 (unsigned long long)src.out_total_time_ns / 1000000);
	pair_close(&p);
	munmap(p.from, BYTES);
	munmap(p.to, BYTES);
}

int main(void)
{
	rdma_up();
	/* Soft-RoCE on the debug kernel moves 1 MiB a second. */
	if (lab_slow() == 1) {
		move(1, false, false);
		move(1, false, true);
		move(2, true, false);
	}
	move(4, false, true);
	rdma_down();
	return tap_done();
}
