// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=pair.c,tap.c timeout=180 leak=8192 kernels=6.1,6.12,debug,newest
 *
 * The predicted downtime goes by what the final pass may take, and where passes do not
 * shrink the moment to pause is told within one.
 */
#include <time.h>
#include <sys/mman.h>

#include "pair.h"
#include "tap.h"

#define MS 1000000ULL
#define BURST (8 * MIB)

static void limit(struct pair *p, const struct kvm_ferry_limits *want)
{
	struct kvm_ferry_limits l = *want;

	l.size = sizeof(l);
	if (ferry_session_limits(p->source, &l, sizeof(l)))
		tap_bail("limits: %s", ferry_session_error(p->source));
}

static void report(struct pair *p, size_t bytes)
{
	if (ferry_session_report_range(p->source, 0, 0, bytes))
		tap_bail("report: %s", ferry_session_error(p->source));
}

static void begin(struct pair *p, size_t bytes, uint64_t rate)
{
	p->bytes = bytes;
	p->channels = 1;
	p->transport = KVM_FERRY_TRANSPORT_TCP;
	p->from = pair_memory(bytes, false);
	p->to = pair_memory(bytes, false);
	fill(p->from, bytes, rate);
	pair_open(p, -1);
	limit(p, &(struct kvm_ferry_limits) {
		.flags = KVM_FERRY_LIMIT_BANDWIDTH | KVM_FERRY_LIMIT_DOWNTIME,
		.max_bandwidth = rate, .downtime_limit_ns = 500 * MS,
	});
	pair_start(p);
}

static void end(struct pair *p, const char *what)
{
	limit(p, &(struct kvm_ferry_limits) {
		.flags = KVM_FERRY_LIMIT_BANDWIDTH | KVM_FERRY_LIMIT_FINAL_BANDWIDTH,
	});
	tap_check(!pair_switch(p, "state", 5), "%s: moved", what);
	pair_close(p);
	munmap(p->from, p->bytes);
	munmap(p->to, p->bytes);
}

static void wait_ms(unsigned int ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * MS };

	nanosleep(&t, NULL);
}

/* Bytes that are left, over the time that they are said to take, in bytes a second. */
static double predicted_rate(struct pair *p)
{
	struct kvm_ferry_stats t = pair_stats(p->source);

	if (!t.out_expected_ram_ns)
		return 0;
	return (t.out_ram_remaining + t.out_ram_queued) * 1e9 / t.out_expected_ram_ns;
}

/* Waits until the prediction goes by another rate, or the same; false: it does not. */
static bool comes_to(struct pair *p, double rate)
{
	unsigned int i;

	for (i = 0; i < 200 * lab_slow(); i++) {
		double now = predicted_rate(p);

		/* What is left and the prediction are a tenth of a second apart. */
		if (now > rate * 0.9 && now < rate * 1.1)
			return true;
		wait_ms(10);
	}
	tap_note("it goes by %.0f bytes a second, not %.0f", predicted_rate(p), rate);
	return false;
}

static void final_rate(void)
{
	const uint64_t live = 4 * MIB, final = MIB / 2;
	struct pair p = {};

	begin(&p, 64 * MIB, live);
	tap_check(comes_to(&p, live), "predicted by what the link carries under its limit");
	limit(&p, &(struct kvm_ferry_limits) {
		.flags = KVM_FERRY_LIMIT_FINAL_BANDWIDTH, .final_bandwidth = final,
	});
	tap_check(comes_to(&p, final), "predicted by what the final pass may take, which is less");
	limit(&p, &(struct kvm_ferry_limits) {
		.flags = KVM_FERRY_LIMIT_FINAL_BANDWIDTH, .final_bandwidth = 1000 * MIB,
	});
	tap_check(comes_to(&p, live), "more than the link has carried is not believed");
	end(&p, "final rate");
}

/*
 * Whenever little is left of a pass, as much as before is written behind it: at a pass's
 * end it never fits, shortly before it does.
 */
static void within_a_pass(void)
{
	struct pair p = {};
	struct kvm_ferry_event e = {};
	uint64_t passes = ~0ULL;
	unsigned int ms;
	bool told = false;

	begin(&p, BURST, BURST / 2);
	for (ms = 0; ms < 60000 * lab_slow() && !told; ms += 5) {
		struct kvm_ferry_stats t = pair_stats(p.source);

		if (ferry_session_event(p.source, &e, sizeof(e)))
			tap_bail("event: %s", ferry_session_error(p.source));
		/* Both at once: as a pass ended, on a machine that was too busy to write before. */
		told = (e.out_events & (KVM_FERRY_EVENT_CONVERGED | KVM_FERRY_EVENT_PASS)) ==
		       KVM_FERRY_EVENT_CONVERGED;
		if (t.out_dirty_sync_count != passes && t.out_ram_remaining &&
		    t.out_ram_remaining <= BURST / 16) {
			passes = t.out_dirty_sync_count;
			report(&p, BURST * 3 / 4);
		}
		wait_ms(5);
	}
	tap_check(told, "passes do not shrink: within pass %llu the moment is told",
		  (unsigned long long)passes);
	end(&p, "within a pass");
}

int main(void)
{
	final_rate();
	within_a_pass();
	return tap_done();
}
