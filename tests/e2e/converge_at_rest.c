// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=pair.c,tap.c timeout=120 leak=2048 kernels=6.1,6.12,debug,newest
 *
 * Memory that nobody writes any more: no pass will come, and the moment to pause may still
 * be told. What did not fit when the last pass ended fits once a limit is raised.
 */
#include <time.h>
#include <sys/mman.h>

#include "pair.h"
#include "tap.h"

#define BYTES (8 * MIB)
#define MS 1000000ULL

static void limit(struct pair *p, const struct kvm_ferry_limits *want)
{
	struct kvm_ferry_limits l = *want;

	l.size = sizeof(l);
	if (ferry_session_limits(p->source, &l, sizeof(l)))
		tap_bail("limits: %s", ferry_session_error(p->source));
}

/* All passes that come without anybody writing; true: nobody was told to pause. */
static bool comes_to_rest(struct pair *p)
{
	struct kvm_ferry_event e = {};
	struct kvm_ferry_stats t;
	uint32_t events = 0;
	uint64_t passes = 0;
	unsigned int same;

	/* Echoes go on, and with them the main task: ten rounds of it without a pass. */
	for (same = 0; same < 10 * lab_slow(); same++) {
		const struct timespec ms100 = { .tv_nsec = 100 * MS };

		nanosleep(&ms100, NULL);
		t = pair_stats(p->source);
		if (ferry_session_event(p->source, &e, sizeof(e)))
			tap_bail("event: %s", ferry_session_error(p->source));
		events |= e.out_events;
		if (t.out_ram_remaining || t.out_dirty_sync_count < 3 || t.out_dirty_sync_count != passes)
			same = 0;
		passes = t.out_dirty_sync_count;
	}
	return !(events & KVM_FERRY_EVENT_CONVERGED);
}

static void rest(enum kvm_ferry_transport transport, const char *by,
		 const struct kvm_ferry_limits *raised, const char *what)
{
	struct pair p = { .bytes = BYTES, .channels = 2, .transport = transport };

	p.from = pair_memory(BYTES, false);
	p.to = pair_memory(BYTES, false);
	fill(p.from, BYTES / 2, transport + 1);
	pair_open(&p, -1);
	limit(&p, &(struct kvm_ferry_limits) {
		.flags = KVM_FERRY_LIMIT_STATE_TIME | KVM_FERRY_LIMIT_DOWNTIME,
		.state_time_ns = 5000 * MS, .downtime_limit_ns = 4000 * MS,
	});
	pair_start(&p);
	tap_check(comes_to_rest(&p), "%s: a downtime above the limit, nobody is told to pause", by);
	limit(&p, raised);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	tap_check(true, "%s: %s, and that is the moment", by, what);
	tap_check(!pair_switch(&p, "state", 5), "%s: moved", by);
	pair_close(&p);
	munmap(p.from, BYTES);
	munmap(p.to, BYTES);
}

int main(void)
{
	const struct kvm_ferry_limits longer = {
		.flags = KVM_FERRY_LIMIT_DOWNTIME, .downtime_limit_ns = 100000 * MS,
	}, sooner = {
		.flags = KVM_FERRY_LIMIT_STATE_TIME, .state_time_ns = 0,
	};

	rest(KVM_FERRY_TRANSPORT_TCP, "tcp", &longer, "a longer downtime is allowed");
	rest(KVM_FERRY_TRANSPORT_TCP, "tcp", &sooner, "the VMM's state takes less time");
	rest(KVM_FERRY_TRANSPORT_LOOP, "in memory", &longer, "a longer downtime is allowed");
	return tap_done();
}
