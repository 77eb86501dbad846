// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=pair.c,tap.c timeout=120
 *
 * Memory moves whole, over both transports, one channel and several, anonymous
 * and shared; holes and zero pages are neither sent nor allocated; what is
 * reported dirty comes too; verify compares, and sees a difference.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pair.h"
#include "tap.h"

#define BYTES (64 * MIB)

/* A quarter is data, an eighth is zero but touched, some single pages, the rest holes. */
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

static void set_verify(struct pair *p)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_VERIFY, .verify = 1 };

	if (ferry_session_limits(p->source, &l, sizeof(l)))
		tap_bail("limits: %s", ferry_session_error(p->source));
}

static void move(enum kvm_ferry_transport transport, unsigned int channels, bool memfd, bool stale)
{
	struct pair p = { .bytes = BYTES, .channels = channels, .transport = transport };
	const char *how = transport == KVM_FERRY_TRANSPORT_LOOP ? "loop" : "tcp";
	struct kvm_ferry_stats src, snk;
	static char state[1 << 20];
	size_t data, holes;

	p.from = pair_memory(BYTES, memfd);
	p.to = pair_memory(BYTES, memfd);
	data = lay_out(p.from, channels + 1);
	if (stale)	/* the sink's memory is not fresh */
		memset(p.to + BYTES / 4, 0xee, BYTES / 2);
	holes = BYTES / PAGE - resident(p.from, BYTES);
	fill(state, sizeof(state), 7);
	pair_open(&p, -1);
	set_verify(&p);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	/* Changes while live: new data, data to zero, a hole filled, a page discarded. */
	fill(p.from, 3 * PAGE, 99);
	memset(p.from + 5 * PAGE, 0, PAGE);
	fill(p.from + BYTES - PAGE, PAGE, 98);
	madvise(p.from + 9 * PAGE, PAGE, memfd ? MADV_REMOVE : MADV_DONTNEED);
	ferry_session_report_range(p.source, 0, 0, 10 * PAGE);
	ferry_session_report_range(p.source, 0, BYTES - PAGE, PAGE);
	tap_check(!pair_switch(&p, state, sizeof(state)), "%s, %u channels, %s%s: moved", how, channels,
		  memfd ? "memfd" : "anonymous", stale ? ", used sink" : "");
	if (!stale) {	/* before memcmp() touches every page */
		size_t got = resident(p.to, BYTES);

		/* As much as the source without its zero pages, in huge pages or not. */
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
	tap_check(src.out_ram_normal >= data && src.out_ram_normal <= data + 64,
		  "%llu pages travelled of %zu that hold data",
		  (unsigned long long)src.out_ram_normal, data);
	tap_check(src.out_ram_hole >= holes - 1, "%llu of %zu holes were seen as such",
		  (unsigned long long)src.out_ram_hole, holes);
	tap_check(src.out_ram_normal == snk.out_ram_normal &&
		  src.out_ram_transferred == snk.out_ram_transferred, "both count the same");
	tap_check(src.out_bookkeeping_bytes * 8 <= 4 * (BYTES / PAGE), "%llu bytes of bookkeeping",
		  (unsigned long long)src.out_bookkeeping_bytes);
	tap_note("%llu extents in %llu batches, %llu spliced, downtime %llu us, total %llu ms",
		 (unsigned long long)src.out_extents, (unsigned long long)src.out_batches,
		 (unsigned long long)src.out_batch_pages_spliced,
		 (unsigned long long)src.out_downtime_ns / 1000,
		 (unsigned long long)src.out_total_time_ns / 1000000);
	pair_close(&p);
	munmap(p.from, BYTES);
	munmap(p.to, BYTES);
}

/* A page that changes at the sink behind everybody's back is found and named. */
static void differs(void)
{
	struct pair p = { .bytes = BYTES, .channels = 1, .transport = KVM_FERRY_TRANSPORT_TCP };
	char why[KVM_FERRY_REASON_LEN];

	p.from = pair_memory(BYTES, false);
	p.to = pair_memory(BYTES, false);
	lay_out(p.from, 3);
	pair_open(&p, -1);
	set_verify(&p);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	p.to[3 * MIB + 5] ^= 1;
	tap_check(pair_switch(&p, "x", 1) == -ESHUTDOWN, "a difference: not committed");
	tap_check(ferry_session_reason(p.source, why, sizeof(why)) == EBADE, "EBADE at the source");
	tap_check(strstr(why, "'ram' 0x200000-0x3fffff"), "it names the range: %s", why);
	tap_check(ferry_session_reason(p.sink, why, sizeof(why)) == EBADE, "EBADE at the sink: %s", why);
	pair_close(&p);
	munmap(p.from, BYTES);
	munmap(p.to, BYTES);
}

int main(void)
{
	move(KVM_FERRY_TRANSPORT_LOOP, 1, false, false);
	move(KVM_FERRY_TRANSPORT_TCP, 1, false, false);
	move(KVM_FERRY_TRANSPORT_TCP, 4, false, true);
	move(KVM_FERRY_TRANSPORT_TCP, 2, true, false);
	move(KVM_FERRY_TRANSPORT_LOOP, 3, true, true);
	differs();
	return tap_done();
}
