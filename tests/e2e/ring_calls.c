// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=ring_vm.c,bad_call.c,pair.c,tap.c timeout=60 leak=4096
 *
 * What a VMM does while its guest moves: rings harvested on demand, the dirty
 * log fetched for others, changes reported, memslots added, moved and removed.
 * What is fetched is just what was written; what is reported arrives.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include "bad_call.h"
#include "ring_vm.h"
#include "tap.h"

#define BYTES	(16 * MIB)
#define HALF	(BYTES / 2)
#define PAGES	(BYTES / PAGE)
#define HIGH	0x10000000u	/* guest physical address of slot 1 */
#define PFN(b)	((b) / PAGE)

static struct pair p = { .bytes = BYTES, .channels = 2, .transport = KVM_FERRY_TRANSPORT_TCP };
static struct vm vm;
static struct vm_cpu *cpu;

static void guest_writes(uint32_t gpa, uint32_t pages)
{
	cpu_program(cpu, gpa, pages, 1);
	cpu_run_to_end(cpu);
}

/*
 * Fetches the log of a part: is it just these pages of the region? KVM maps a
 * page that is only read as writable, and logs it: the code's page may be there.
 */
static bool part_is(size_t at, size_t bytes, uint64_t first, uint64_t count, bool sync)
{
	uint64_t map[PAGES / 64], told = 0, i, good = 0, bits = 0;

	if (ferry_session_fetch_dirty(p.source, 0, at, bytes, map, sync, &told)) {
		tap_note("fetch: %s", ferry_error());
		return false;
	}
	first -= PFN(at);
	for (i = 0; i < PFN(bytes); i++) {
		bool bit = map[i / 64] >> i % 64 & 1;

		if (bit && i + PFN(at) == PFN(VM_CODE_AT)) {
			told--;
			continue;
		}
		bits += bit;
		good += bit && i >= first && i < first + count;
	}
	if (bits != count || good != count || told != count)
		tap_note("%llu pages told, %llu bits, %llu of the %llu that were written",
			 (unsigned long long)told, (unsigned long long)bits,
			 (unsigned long long)good, (unsigned long long)count);
	return bits == count && good == count && told == count;
}

static bool log_is(uint64_t first, uint64_t count, bool sync)
{
	return part_is(0, BYTES, first, count, sync);
}

/* Of live passes; the final one is not limited. */
static void bandwidth(uint64_t bytes)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .max_bandwidth = bytes,
				      .flags = KVM_FERRY_LIMIT_BANDWIDTH | KVM_FERRY_LIMIT_FINAL_BANDWIDTH };

	if (ferry_session_limits(p.source, &l, sizeof(l)))
		tap_bail("bandwidth: %s", ferry_error());
}

static void wait_pass(uint64_t number)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	int i;

	for (i = 0; pair_stats(p.source).out_dirty_sync_count < number; i++) {
		if (i == 20000)
			tap_bail("pass %llu does not begin", (unsigned long long)number);
		nanosleep(&ms, NULL);
	}
}

static void wait_nothing_left(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	while (pair_stats(p.source).out_ram_remaining)
		nanosleep(&ms, NULL);
}

/* Until senders take pages that are published now: a pass is under way then. */
static void wait_taken(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t left = pair_stats(p.source).out_ram_remaining;
	int i;

	for (i = 0; pair_stats(p.source).out_ram_remaining >= left; i++) {
		if (i == 20000)
			tap_bail("%llu bytes are not sent", (unsigned long long)left);
		nanosleep(&ms, NULL);
	}
}

/*
 * Has the guest write @pages at @gpa, and returns when they are being sent, slowly: in
 * a pass of their own, or by that whose senders had not come to its end.
 */
static bool send_slowly(uint32_t gpa, uint32_t pages)
{
	wait_nothing_left();
	bandwidth(64 << 10);
	guest_writes(gpa, pages);
	if (ferry_session_sync_rings(p.source, NULL))
		return false;
	wait_taken();
	return true;
}

/*
 * While a pass is under way nobody but us wants pages: a harvest resets nothing,
 * and knows how many are dirty. The guest writes them once more for nothing.
 */
static void harvest_only(void)
{
	struct kvm_ferry_stats before, once, twice;
	bool good;

	good = send_slowly(5 * MIB, 200);
	before = pair_stats(p.source);
	guest_writes(6 * MIB, 50);
	good = good && !ferry_session_harvest_rings(p.source, NULL);
	once = pair_stats(p.source);
	guest_writes(6 * MIB, 50);
	good = good && !ferry_session_harvest_rings(p.source, NULL);
	twice = pair_stats(p.source);
	bandwidth(0);
	tap_check(good && twice.out_ring_resets == before.out_ring_resets &&
		  once.out_dirty_pages - before.out_dirty_pages >= 50,
		  "a harvest alone resets nothing, and knows what is dirty: %llu pages",
		  (unsigned long long)(once.out_dirty_pages - before.out_dirty_pages));
}

/* More than half of what a ring of 4096 takes: it is reset before a vCPU has to wait. */
static void ring_fills(void)
{
	struct kvm_ferry_stats before, after;
	uint64_t map[PAGES / 64], told;
	bool good;

	good = send_slowly(MIB, 200);
	before = pair_stats(p.source);
	guest_writes(MIB, PFN(HALF - MIB));
	good = good && !ferry_session_harvest_rings(p.source, NULL);
	after = pair_stats(p.source);
	bandwidth(0);
	tap_check(good && after.out_ring_resets > before.out_ring_resets &&
		  after.out_ring_full == before.out_ring_full,
		  "a ring that fills is reset before it is full (%llu entries)",
		  (unsigned long long)(after.out_ring_entries - before.out_ring_entries));
	tap_check(!ferry_session_fetch_dirty(p.source, 0, 0, BYTES, map, true, &told) &&
		  told >= PFN(HALF - MIB), "and its pages are in the log: %llu",
		  (unsigned long long)told);
}

/* Lets a pass of 400 pages that the guest wrote begin, at @rate bytes a second. */
static uint64_t slow_pass(uint64_t rate)
{
	struct kvm_ferry_stats now = pair_stats(p.source), then = now;

	bandwidth(2 * MIB);
	/* The source has to learn how slow the link is; and then it must be at work. */
	do {
		if (ferry_session_report_range(p.source, 0, HALF, 2 * MIB))
			tap_bail("report: %s", ferry_error());
		wait_taken();
		now = pair_stats(p.source);
	} while (now.out_link_rate > 3 * MIB);
	/* Of 256 KiB a sample: from 1 GB/s it takes thirty. */
	tap_check(now.out_ram_acked - then.out_ram_acked < 16 * MIB,
		  "from %llu KiB/s on, %llu KiB tell that the link is slow",
		  (unsigned long long)then.out_link_rate / 1024,
		  (unsigned long long)(now.out_ram_acked - then.out_ram_acked) / 1024);
	/* So that this pass is not over before all is written. */
	bandwidth(64 << 10);
	guest_writes(3 * MIB, 400);
	if (ferry_session_harvest_rings(p.source, NULL))
		tap_bail("harvest: %s", ferry_error());
	now = pair_stats(p.source);
	bandwidth(rate);
	wait_pass(now.out_dirty_sync_count + 1);
	return now.out_ring_resets;
}

/*
 * Over a slow link the pages of a pass are rearmed little by little, so that what the
 * guest writes meanwhile goes with them: 64 entries at a time, the least.
 */
static void in_portions(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t resets = slow_pass(2 * MIB), pass = pair_stats(p.source).out_dirty_sync_count;
	struct kvm_ferry_stats after;

	do {
		nanosleep(&ms, NULL);
		after = pair_stats(p.source);
	} while (after.out_ram_remaining && after.out_dirty_sync_count == pass);
	tap_check(after.out_ring_resets - resets >= 5 && after.out_ring_resets - resets <= 8,
		  "a pass of 400 pages over a slow link: %llu resets",
		  (unsigned long long)(after.out_ring_resets - resets));
}

static void sync_and_fetch(void)
{
	struct kvm_ferry_stats before = pair_stats(p.source);
	uint64_t map[PAGES / 64] = {}, told, entries = 0, news;
	bool good;

	guest_writes(2 * MIB, 37);
	good = !ferry_session_sync_rings(p.source, &entries) && entries <= 38;
	news = pair_stats(p.source).out_ring_entries - before.out_ring_entries;
	/* The code's page may be among them. */
	tap_check(good && (news == 37 || news == 38),
		  "a sync harvests all that was written before it (%llu of %llu entries)",
		  (unsigned long long)entries, (unsigned long long)news);
	tap_check(log_is(PFN(2 * MIB), 37, false), "fetch gives just the pages that were written");
	tap_check(log_is(0, 0, false), "and forgets them");
	guest_writes(3 * MIB, 5);
	tap_check(!ferry_session_fetch_dirty(p.source, 0, 0, 2 * MIB, map, true, &told) && !told,
		  "a fetch of another range does not take them");
	tap_check(log_is(PFN(3 * MIB), 5, true), "they are there for one of theirs");
	guest_writes(3 * MIB, 300);
	tap_check(log_is(PFN(3 * MIB), 300, true), "fetch with SYNC has what was written just now");
}

static void bad_fetch(void)
{
	struct kvm_ferry_bitmap b = { .size = sizeof(b), .flags = KVM_FERRY_FETCH_SYNC,
				      .length = BYTES };
	uint8_t *two = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = ferry_session_fd(p.source);

	guest_writes(MIB, 3);
	munmap(two + PAGE, PAGE);
	/* The 5th word, of pages 256 to 319, does not fit. */
	b.bitmap = (uintptr_t)(two + PAGE - 32);
	refused(fd, KVM_FERRY_FETCH_DIRTY, &b, EFAULT, "cannot be written", "a bitmap that ends too early");
	tap_check(log_is(PFN(MIB), 3, false), "what could not be told is not forgotten");
	b.offset = 65 * PAGE;
	refused(fd, KVM_FERRY_FETCH_DIRTY, &b, EINVAL, "not a multiple of 64 pages", "fetch, odd offset");
	b.offset = 64 * PAGE;
	refused(fd, KVM_FERRY_FETCH_DIRTY, &b, EINVAL, "region 'ram' ends at", "fetch beyond the region");
	b.region_id = 9;
	refused(fd, KVM_FERRY_FETCH_DIRTY, &b, ENOENT, "no region 9", "fetch of no region");
	b = (struct kvm_ferry_bitmap){ .size = sizeof(b), .length = BYTES,
				       .bitmap = (uintptr_t)(two + PAGE - 32) };
	refused(fd, KVM_FERRY_REPORT_BITMAP, &b, EFAULT, "cannot be read", "report a bitmap that ends too early");
	b.flags = KVM_FERRY_FETCH_SYNC;
	refused(fd, KVM_FERRY_REPORT_BITMAP, &b, EOPNOTSUPP, "flags", "report with a fetch's flag");
	munmap(two, PAGE);
}

static void reports(void)
{
	struct kvm_ferry_range bad[2] = {
		{ .offset = 0, .length = PAGE },
		{ .offset = BYTES, .length = PAGE },
	};
	struct kvm_ferry_report_dirty r = { .size = sizeof(r), .ranges = (uintptr_t)bad, .count = 2 };
	uint64_t map[2] = { 0xf000000000000001ULL, ~0ULL }, pages = 0;
	bool good;
	int fd = ferry_session_fd(p.source);

	log_is(0, 0, true);
	refused(fd, KVM_FERRY_REPORT_DIRTY, &r, EINVAL, "ends at", "report of two ranges, one beyond the region");
	bad[1].__reserved = 1;
	refused(fd, KVM_FERRY_REPORT_DIRTY, &r, EINVAL, "reserved", "report of a range with a reserved field");
	bad[1] = (struct kvm_ferry_range){ .offset = 1, .length = PAGE };
	refused(fd, KVM_FERRY_REPORT_DIRTY, &r, EINVAL, "aligned", "report of a range that is unaligned");
	bad[1] = (struct kvm_ferry_range){ .region_id = 7, .length = PAGE };
	refused(fd, KVM_FERRY_REPORT_DIRTY, &r, ENOENT, "no region 7", "report of a region that is not there");
	r.count = 0;
	refused(fd, KVM_FERRY_REPORT_DIRTY, &r, EINVAL, "1 to 1024", "report of nothing");
	r.count = KVM_FERRY_MAX_RANGES + 1;
	refused(fd, KVM_FERRY_REPORT_DIRTY, &r, EINVAL, "1 to 1024", "report of too many ranges");
	r.count = 2;
	r.ranges = 8;
	refused(fd, KVM_FERRY_REPORT_DIRTY, &r, EFAULT, "cannot be read", "report from nowhere");
	tap_check(log_is(0, 0, false), "nothing of them was taken");

	fill(vm.mem + 5 * MIB, 3 * PAGE, 5);
	tap_check(!ferry_session_report_range(p.source, 0, 5 * MIB, 3 * PAGE) &&
		  log_is(PFN(5 * MIB), 3, false), "a range that the VMM reports");
	/* Pages 0 and 60 to 69 of the range; the rest of the second word is beyond it. */
	fill(vm.mem + 6 * MIB, PAGE, 6);
	fill(vm.mem + 6 * MIB + 60 * PAGE, 10 * PAGE, 6);
	good = !ferry_session_report_bitmap(p.source, 0, 6 * MIB, 70 * PAGE, map, &pages);
	tap_check(good && pages == 11, "a bitmap that the VMM reports: %llu pages",
		  (unsigned long long)pages);
	map[0] = map[1] = 0;
	tap_check(!ferry_session_fetch_dirty(p.source, 0, 6 * MIB, 70 * PAGE, map, false, &pages) &&
		  pages == 11 && map[0] == 0xf000000000000001ULL && map[1] == 0x3f,
		  "its bits beyond the length are ignored");
	tap_check(log_is(0, 0, false), "no page beside them was taken");
}

static void slots(void)
{
	struct kvm_ferry_slot s = { .size = sizeof(s), .slot = 1, .offset = HALF, .length = MIB };
	int fd = ferry_session_fd(p.source);

	taken(fd, KVM_FERRY_SLOT_ADD, &s, "a slot is added while live");
	tap_check(log_is(PFN(HALF), PFN(MIB), false), "and is dirty as a whole");
	refused(fd, KVM_FERRY_SLOT_ADD, &s, EEXIST, "mapped already", "a slot added twice");
	vm_slot(&vm, 1, HIGH, HALF, MIB);
	guest_writes(HIGH + 3 * PAGE, 20);
	tap_check(log_is(PFN(HALF) + 3, 20, true), "what the guest writes to it is known");

	/* Deleted with its last entries still in the ring: MOVE takes them first. */
	guest_writes(HIGH + 40 * PAGE, 7);
	vm_slot(&vm, 1, HIGH, HALF, 0);
	s.offset = HALF + 2 * MIB;
	s.length = 2 * MIB;
	taken(fd, KVM_FERRY_SLOT_MOVE, &s, "a slot is moved while live");
	tap_check(part_is(0, HALF + 2 * MIB, PFN(HALF) + 40, 7, false), "its last entries were not lost");
	tap_check(log_is(PFN(HALF + 2 * MIB), PFN(2 * MIB), false), "its new place is dirty as a whole");
	vm_slot(&vm, 1, HIGH, HALF + 2 * MIB, 2 * MIB);
	guest_writes(HIGH + 9 * PAGE, 30);
	tap_check(log_is(PFN(HALF + 2 * MIB) + 9, 30, true), "what the guest writes there is known");

	guest_writes(HIGH + 50 * PAGE, 11);
	vm_slot(&vm, 1, HIGH, HALF + 2 * MIB, 0);
	s = (struct kvm_ferry_slot){ .size = sizeof(s), .slot = 1 };
	taken(fd, KVM_FERRY_SLOT_REMOVE, &s, "a slot is removed while live");
	tap_check(log_is(PFN(HALF + 2 * MIB) + 50, 11, false), "its last entries were not lost");
	refused(fd, KVM_FERRY_SLOT_REMOVE, &s, ENOENT, "not mapped", "a slot removed twice");
	s.length = PAGE;
	refused(fd, KVM_FERRY_SLOT_MOVE, &s, ENOENT, "not mapped", "a slot moved that is not there");
}

int main(void)
{
	uint64_t left;

	vm_open(&vm, BYTES, HALF, 4096);
	cpu = vm_add_cpu(&vm);
	p.from = vm.mem;
	p.to = pair_memory(BYTES, false);
	fill(vm.mem + HALF, MIB, 1);
	pair_open(&p, vm.fd);
	/* Entries of the time before: the session takes them over with the ring. */
	guest_writes(MIB, 100);
	vm_hand_over(&vm, p.source, HALF);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	tap_check(log_is(PFN(MIB), 100, true) || log_is(0, 0, true),
		  "entries of before START are in the log as a whole, or not at all");
	sync_and_fetch();
	harvest_only();
	tap_check(part_is(5 * MIB, MIB, PFN(5 * MIB), 200, true) &&
		  part_is(6 * MIB, MIB, PFN(6 * MIB), 50, true), "all of it is in the log, once it is asked for");
	ring_fills();
	bad_fetch();
	reports();
	slots();
	in_portions();
	/* At FINAL most portions of the pass are still to come. */
	slow_pass(256 << 10);
	left = pair_stats(p.source).out_ram_remaining;
	tap_check(left, "%llu pages are left when FINAL comes", (unsigned long long)left / PAGE);
	tap_check(!pair_switch(&p, "state", 5), "moved");
	tap_check(!memcmp(p.from, p.to, BYTES), "all of it arrived, also what was fetched and reported");
	vm_take_back(&vm, "done");
	pair_close(&p);
	munmap(p.to, BYTES);
	vm_close(&vm);
	return tap_done();
}
