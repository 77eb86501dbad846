// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=ring_vm.c,bad_call.c,pair.c,tap.c timeout=90 leak=4096 kernels=6.1,6.12,debug
 *
 * A session that measures: it knows each page that the guest has dirtied in its window
 * once, moves nothing, harms nothing, and hands the rings back for a migration.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bad_call.h"
#include "ring_vm.h"
#include "tap.h"

#define BYTES	(8 * MIB)

static struct vm vm;
static struct ferry_device *dev;

static struct ferry_session *source(void)
{
	struct ferry_session *s;

	if (ferry_source_create(dev, vm.fd, "measured", &s) ||
	    ferry_session_add_region(s, 0, "ram", vm.mem, BYTES))
		tap_bail("session: %s", ferry_error());
	return s;
}

static uint64_t pages_in_window(struct ferry_session *s)
{
	uint64_t entries;

	if (ferry_session_harvest_rings(s, &entries))
		tap_bail("harvest: %s", ferry_session_error(s));
	return pair_stats(s).out_ram_remaining / PAGE;
}

static void end(struct ferry_session *s, const char *what)
{
	tap_check(!ferry_session_abort(s), "%s: it is aborted", what);
	vm_take_back(&vm, what);
	ferry_session_close(s);
	vm_reap_all(&vm);
}

/* Writes @pages pages from @mib on, @rounds times. */
static void write_pages(unsigned int mib, unsigned int pages, unsigned int rounds)
{
	cpu_program(&vm.cpus[0], mib * MIB, pages, rounds);
	cpu_run_to_end(&vm.cpus[0]);
}

static void window(struct ferry_session *s, unsigned int mib, unsigned int pages,
		   unsigned int rounds, unsigned int want, const char *what)
{
	uint64_t got;

	write_pages(mib, pages, rounds);
	got = pages_in_window(s);
	tap_check(got == want, "%s: %llu pages, %u are right", what, (unsigned long long)got, want);
}

static struct kvm_ferry_region_stats region(struct ferry_session *s)
{
	struct kvm_ferry_region_stats r;

	if (ferry_session_region_stats(s, 0, &r, sizeof(r)))
		tap_bail("region: %s", ferry_session_error(s));
	return r;
}

/* One page in eight is looked at: which ones is always the same, so the error is, too. */
static void working_set(struct ferry_session *s, unsigned int pages)
{
	struct kvm_ferry_region_stats r = region(s);

	tap_check(r.out_working_set > pages * 7 / 8 && r.out_working_set < pages * 9 / 8,
		  "a working set of %u pages is taken for %llu", pages, (unsigned long long)r.out_working_set);
	tap_check(pair_stats(s).out_working_set == r.out_working_set * PAGE, "the session's is its regions'");
	tap_check(r.out_pages == BYTES / PAGE && !r.out_region_id && !strcmp((char *)r.out_name, "ram"),
		  "the region's name and size");
}

static void measure(void)
{
	struct kvm_ferry_range range = { .offset = 7 * MIB, .length = 3 * PAGE };
	struct ferry_session *s = source();
	uint64_t before, dirty;

	write_pages(1, 50, 1);	/* before: not in any window */
	vm_hand_over(&vm, s, BYTES);
	tap_check(!ferry_session_measure(s), "it is started: %s", ferry_session_error(s));
	tap_check(pair_wait_state(s, KVM_FERRY_STATE_LIVE), "it is live");
	tap_check(!pages_in_window(s), "nothing is dirty at first");
	before = region(s).out_dirty_pages;
	window(s, 1, 100, 1, 100, "a window");
	window(s, 1, 100, 3, 100, "the same pages again");
	/* More than a ring takes, so it is reset meanwhile. */
	window(s, 2, 900, 2, 1000, "others beside them, more than a ring holds");
	working_set(s, 1000);
	dirty = region(s).out_dirty_pages - before;
	tap_check(dirty == 1000 && poll_until(region(s).out_dirty_rate),
		  "%llu pages of the region became dirty", (unsigned long long)dirty);
	tap_check(!ferry_session_begin_window(s) && !pages_in_window(s), "a new window is empty");
	window(s, 2, 30, 5, 30, "the next window");
	tap_check(!ferry_session_report_dirty(s, &range, 1) && pages_in_window(s) == 33,
		  "what the VMM reports is in it");
	tap_check(!pair_stats(s).out_dirty_sync_count && !pair_stats(s).out_ram_transferred,
		  "no pass, no byte");
	end(s, "measured");
	vm_check_reaps_on(&vm, "measured");
}

/* Closed while vCPUs run into full rings: they go on. */
static void closed_under_way(void)
{
	struct ferry_session *s = source();
	unsigned long before;

	vm_hand_over(&vm, s, BYTES);
	if (ferry_session_measure(s))
		tap_bail("start: %s", ferry_session_error(s));
	cpu_program(&vm.cpus[0], MIB, 1024, 0);
	cpu_start(&vm.cpus[0]);
	tap_check(poll_until(pair_stats(s).out_ram_remaining == 1024 * PAGE), "all of what is written is known");
	tap_check(!ferry_session_abort(s), "it is aborted under way");
	before = vm.cpus[0].reaps;
	tap_check(poll_until(vm.cpus[0].reaps > before + 3), "the vCPU runs on, and the VMM reaps");
	vm_stop_all(&vm);
	ferry_session_close(s);
	vm_reap_all(&vm);
}

static void refusals(void)
{
	struct kvm_ferry_ring_sync sync = { .size = sizeof(sync), .flags = 3 };
	struct kvm_ferry_start start = { .size = sizeof(start), .flags = KVM_FERRY_START_MEASURE };
	struct kvm_ferry_final final = { .size = sizeof(final) };
	struct kvm_ferry_commit commit = { .size = sizeof(commit) };
	struct ferry_session *s = source(), *sink;
	int fds[2];

	refused(ferry_session_fd(s), KVM_FERRY_START, &start, EINVAL, "there is no ring", "without a ring");
	vm_hand_over(&vm, s, BYTES);
	sync.flags = KVM_FERRY_SYNC_WINDOW;
	refused(ferry_session_fd(s), KVM_FERRY_RING_SYNC, &sync, EBUSY, "no windows", "a window before START");
	if (ferry_session_measure(s))
		tap_bail("start: %s", ferry_session_error(s));
	pair_wait_state(s, KVM_FERRY_STATE_LIVE);
	sync.flags = KVM_FERRY_SYNC_WINDOW | KVM_FERRY_SYNC_HARVEST;
	refused(ferry_session_fd(s), KVM_FERRY_RING_SYNC, &sync, EINVAL, "pass KVM_FERRY_SYNC_HARVEST or", "both flags");
	refused(ferry_session_fd(s), KVM_FERRY_FINAL, &final, EBUSY, "only measures", "FINAL");
	refused(ferry_session_fd(s), KVM_FERRY_COMMIT, &commit, EBUSY, "before COMMIT", "COMMIT");
	refused(ferry_session_fd(s), KVM_FERRY_START, &start, EBUSY, "started already", "START again");
	end(s, "refused");

	s = source();
	vm_hand_over(&vm, s, BYTES);
	pair_sockets(fds);
	if (ferry_session_add_socket(s, KVM_FERRY_CHANNEL_DATA, fds[0]))
		tap_bail("data: %s", ferry_session_error(s));
	refused(ferry_session_fd(s), KVM_FERRY_START, &start, EINVAL, "must have no channel", "with a channel");
	close(fds[0]);
	close(fds[1]);
	end(s, "never started");

	if (ferry_sink_create(dev, "sink", &sink) || ferry_session_add_region(sink, 0, "ram", vm.mem, BYTES))
		tap_bail("sink: %s", ferry_error());
	refused(ferry_session_fd(sink), KVM_FERRY_START, &start, ENOTTY, "a sink measures nothing", "a sink");
	ferry_session_close(sink);
}

/* The VM moves after all, and arrives whole. */
static void then_migrate(void)
{
	struct pair p = { .bytes = BYTES, .channels = 2, .transport = KVM_FERRY_TRANSPORT_TCP };
	struct kvm_ferry_ring_sync sync = { .size = sizeof(sync), .flags = KVM_FERRY_SYNC_WINDOW };
	struct kvm_ferry_stats st;
	uint64_t parts;

	p.from = vm.mem;
	p.to = pair_memory(BYTES, false);
	pair_open(&p, vm.fd);
	vm_hand_over(&vm, p.source, BYTES);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	refused(ferry_session_fd(p.source), KVM_FERRY_RING_SYNC, &sync, EBUSY, "no windows",
		"a window of one that migrates");
	write_pages(1, 400, 2);
	tap_check(!pair_switch(&p, "x", 1), "moved");
	st = pair_stats(p.source);
	tap_check(st.out_predicted_downtime_ns && st.out_predicted_downtime_ns != ~0ULL,
		  "its downtime was predicted: %llu ns, and %llu came",
		  (unsigned long long)st.out_predicted_downtime_ns, (unsigned long long)st.out_downtime_ns);
	parts = st.out_downtime_ram_ns + st.out_downtime_state_ns + st.out_downtime_commit_ns;
	/* The last part ends when the session has, a moment after the answer was heard. */
	tap_check(st.out_downtime_ram_ns && st.out_downtime_state_ns && st.out_downtime_commit_ns &&
		  parts >= st.out_downtime_ns && parts < st.out_downtime_ns * 2,
		  "its parts are %llu, %llu and %llu ns", (unsigned long long)st.out_downtime_ram_ns,
		  (unsigned long long)st.out_downtime_state_ns, (unsigned long long)st.out_downtime_commit_ns);
	tap_check(!memcmp(p.from, p.to, BYTES), "and is equal");
	pair_close(&p);
	munmap(p.to, BYTES);
}

int main(void)
{
	vm_open(&vm, BYTES, BYTES, VM_SMALL_RING);
	vm_add_cpu(&vm);
	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	measure();
	closed_under_way();
	refusals();
	then_migrate();
	ferry_device_close(dev);
	vm_close(&vm);
	return tap_done();
}
