// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=ring_vm.c,pair.c,tap.c timeout=180 leak=8192 kernels=6.1,6.12 asked=debug libs=pthread
 *
 * The examples of docs/research.md move real memory, which is compared at the end: sending
 * orders, a transport, a dirty source. Each does what it says, and its module stays loaded while a
 * session uses it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring_vm.h"
#include "tap.h"

#define BYTES		(24 * MIB)
#define BLOCK		(2 * MIB)
#define ORDER		"ferry_order_sparse"
#define PLAIN		"ferry_order_plain"
#define TRANSPORT	"ferry_transport_digest"
#define SOURCE		"ferry_dirty_mkclean"
#define WRITTEN		64		/* pages */
#define TRIES		1200		/* of 50 ms */
#define STEP_US		50000

static void load(const char *module)
{
	char command[96];

	snprintf(command, sizeof(command), "insmod /lab/%s.ko", module);
	if (system(command))
		tap_bail("failed: %s", command);
}

/* As rmmod does it; an errno, or 0. */
static int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? errno : 0;
}

static void check_used(const char *module)
{
	int err = unload(module);

	tap_check(err == EAGAIN, "%s cannot be removed under a session: %s", module, strerror(err));
}

/* A session's end lets go of it a little after its file is closed. */
static void check_unloads(const char *module)
{
	int tries, err = EAGAIN;

	for (tries = 0; err == EAGAIN && tries < TRIES; tries++) {
		err = unload(module);
		if (err)
			usleep(STEP_US);
	}
	tap_check(!err, "%s can be removed: %s", module, strerror(err));
}

static void check_equal(const struct pair *p, const char *how)
{
	size_t at, bad = 0, first = 0;

	for (at = 0; at < p->bytes; at += PAGE) {
		if (!memcmp(p->from + at, p->to + at, PAGE))
			continue;
		first = bad++ ? first : at;
	}
	tap_check(!bad, "%s: %zu pages differ at the sink, from 0x%zx on", how, bad, first);
}

static void set_bandwidth(struct pair *p, uint64_t rate)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_BANDWIDTH,
				      .max_bandwidth = rate };

	if (ferry_session_limits(p->source, &l, sizeof(l)))
		tap_bail("limits: %s", ferry_session_error(p->source));
}

static bool await_equal(const struct pair *p, size_t at)
{
	int tries;

	for (tries = 0; tries < TRIES; tries++) {
		if (!memcmp(p->from + at, p->to + at, PAGE))
			return true;
		usleep(STEP_US);
	}
	return false;
}

/* Pages of the first block that have come. */
static size_t arrived(const struct pair *p)
{
	size_t at, pages = 0;

	for (at = 0; at < BLOCK; at += PAGE)
		pages += !memcmp(p->from + at, p->to + at, PAGE);
	return pages;
}

/*
 * At the lowest rate, while a pass is busy with the last block, the first one becomes dirty
 * as a whole, and of each that follows one page. In the next pass these come first; in
 * ascending order they would come last, half a minute later.
 */
static void order_is_kept(bool sparse)
{
	struct pair p = { .bytes = BYTES, .channels = 1, .transport = KVM_FERRY_TRANSPORT_TCP };
	char why[KVM_FERRY_REASON_LEN] = "";
	size_t at, last = BYTES - 2 * BLOCK + 7 * PAGE, pages;

	p.from = pair_memory(BYTES, false);
	p.to = pair_memory(BYTES, false);
	fill(p.from, BYTES, 1);
	pair_open(&p, -1);
	ferry_session_reason(p.source, why, sizeof(why));
	tap_check(!!strstr(why, "'sparse'") == sparse, "the source tells its order: \"%s\"", why);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	if (!sparse)
		goto move;
	set_bandwidth(&p, 65536);
	/* More pages than the order names, so that this pass has no other. */
	fill(p.from + BYTES - BLOCK, 80 * PAGE, 2);
	ferry_session_report_range(p.source, 0, BYTES - BLOCK, 80 * PAGE);
	tap_check(await_equal(&p, BYTES - BLOCK), "a pass is under way");
	fill(p.from, BLOCK, 3);
	ferry_session_report_range(p.source, 0, 0, BLOCK);
	for (at = BLOCK + 7 * PAGE; at <= last; at += BLOCK) {
		fill(p.from + at, PAGE, at);
		ferry_session_report_range(p.source, 0, at, PAGE);
	}
	tap_check(await_equal(&p, last), "the last of the single pages has come");
	pages = arrived(&p);
	tap_check(pages < BLOCK / PAGE / 2, "and of the block before them %zu pages of %lu", pages,
		  BLOCK / PAGE);
	set_bandwidth(&p, 0);
move:
	tap_check(!pair_switch(&p, "x", 1), "moved");
	check_equal(&p, sparse ? "sparse" : "ascending");
	if (sparse)
		check_used(ORDER);
	pair_close(&p);
	munmap(p.from, BYTES);
	munmap(p.to, BYTES);
}

static size_t not_zero(const uint8_t *mem, size_t bytes)
{
	static const uint8_t zero[PAGE];
	size_t at, pages = 0;

	for (at = 0; at < bytes; at += PAGE)
		pages += !!memcmp(mem + at, zero, PAGE);
	return pages;
}

/*
 * While a first pass is busy with what lies before them, a vCPU writes pages. They wait for
 * the pass in which they are published again; the plain order sends them in both.
 */
static void written_again(bool plain)
{
	struct pair p = { .bytes = BYTES, .channels = 1, .transport = KVM_FERRY_TRANSPORT_TCP };
	const char *how = plain ? "plain" : "rested";
	struct kvm_ferry_stats src;
	uint64_t sent, pages;
	int tries = TRIES;
	struct vm vm;

	vm_open(&vm, BYTES, BYTES, 4096);
	p.from = vm.mem;
	p.to = pair_memory(BYTES, false);
	fill(p.from + BLOCK, MIB, 5);
	cpu_program(vm_add_cpu(&vm), 16 * MIB, WRITTEN, 1);
	pair_open(&p, vm.fd);
	vm_hand_over(&vm, p.source, BYTES);
	set_bandwidth(&p, 65536);
	pair_start(&p);
	cpu_run_to_end(&vm.cpus[0]);
	do {
		src = pair_stats(p.source);
		usleep(src.out_ring_entries < WRITTEN ? STEP_US : 0);
	} while (src.out_ring_entries < WRITTEN && tries--);
	tap_check(src.out_ring_entries >= WRITTEN && src.out_ram_normal < MIB / PAGE,
		  "%s: %llu pages are known to be written, when %llu have been sent", how,
		  (unsigned long long)src.out_ring_entries, (unsigned long long)src.out_ram_normal);
	set_bandwidth(&p, 0);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	tap_check(!pair_switch(&p, how, sizeof("plain")), "%s: moved", how);
	check_equal(&p, how);
	sent = pair_stats(p.source).out_ram_normal;
	pages = not_zero(p.from, BYTES) + (plain ? WRITTEN : 0);
	/* The vCPU's counter is in a page of the first block: written before its turn, or not. */
	tap_check(sent == pages || sent == pages + 1, "%s: %llu pages were sent, and %llu should be", how,
		  (unsigned long long)sent, (unsigned long long)pages);
	vm_take_back(&vm, how);
	pair_close(&p);
	munmap(p.to, BYTES);
	vm_close(&vm);
}

static void await_passes(struct pair *p, unsigned int passes)
{
	while (passes--)
		pair_wait(p->source, KVM_FERRY_EVENT_PASS);
}

/* Two vCPUs, in ranges of their own and one that they share; dense, and a page a block. */
static void program(struct vm_cpu *cpu)
{
	cpu_program(cpu, (cpu->id ? 5 : 1) * MIB, 6 * MIB / PAGE, 0);
}

/* Memory without KVM's log: it is a file, and slot 0 is made anew without logging. */
static void unlogged(struct vm *vm)
{
	struct kvm_userspace_memory_region r = { .memory_size = 0 };
	uint8_t *code = malloc(2 * PAGE);
	int fd = memfd_create("ram", 0);

	memcpy(code, vm->mem, 2 * PAGE);
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r) || ftruncate(fd, BYTES) ||
	    mmap(vm->mem, BYTES, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, fd, 0) != vm->mem)
		tap_bail("no memfd for the VM: %s", strerror(errno));
	close(fd);
	memcpy(vm->mem, code, 2 * PAGE);
	free(code);
	r.memory_size = BYTES;
	r.userspace_addr = (uintptr_t)vm->mem;
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r))
		tap_bail("memslot: %s", strerror(errno));
}

static uint32_t round_of(const struct vm *vm)
{
	uint32_t round;

	memcpy(&round, vm->mem + MIB, sizeof(round));
	return round;
}

/* A VM runs on while its memory goes, by @module, and nothing is missing that it wrote. */
static void vm_moves(const char *module, enum kvm_ferry_transport transport, bool log)
{
	struct pair p = { .bytes = BYTES, .channels = 2, .transport = transport };
	struct kvm_ferry_stats src;
	uint32_t before;
	struct vm vm;

	vm_open(&vm, BYTES, BYTES, 4096);
	if (!log)
		unlogged(&vm);
	p.from = vm.mem;
	p.to = pair_memory(BYTES, false);
	fill(p.from + 20 * MIB, 2 * MIB, 5);
	program(vm_add_cpu(&vm));
	program(vm_add_cpu(&vm));
	pair_open(&p, log ? vm.fd : -1);
	if (log)
		vm_hand_over(&vm, p.source, BYTES);
	pair_start(&p);
	vm_start_all(&vm);
	await_passes(&p, 2);
	before = round_of(&vm);
	await_passes(&p, 3);
	while (round_of(&vm) == before)
		await_passes(&p, 1);
	/* Of the VMM itself: no vCPU writes there. */
	if (!log)
		fill(p.from + 21 * MIB, PAGE, 6);
	check_used(module);
	vm_stop_all(&vm);
	tap_check(!pair_switch(&p, module, sizeof("ferry")), "%s: a VM's memory moved", module);
	check_equal(&p, module);
	src = pair_stats(p.source);
	tap_check(src.out_dirty_pages && src.out_dirty_sync_count > 5, "%s: %llu pages became dirty in %llu passes",
		  module, (unsigned long long)src.out_dirty_pages,
		  (unsigned long long)src.out_dirty_sync_count);
	tap_check(!log || src.out_ring_entries, "%llu ring entries",
		  (unsigned long long)src.out_ring_entries);
	if (log)
		vm_take_back(&vm, module);
	pair_close(&p);
	munmap(p.to, BYTES);
	vm_close(&vm);
}

/* In memory that it cannot watch, the source says so, and the guest stays. */
static void private_memory(void)
{
	struct pair p = { .bytes = BYTES, .channels = 1, .transport = KVM_FERRY_TRANSPORT_TCP };
	char why[KVM_FERRY_REASON_LEN] = "";

	p.from = pair_memory(BYTES, false);
	p.to = pair_memory(BYTES, false);
	fill(p.from, BYTES, 1);
	pair_open(&p, -1);
	pair_start(&p);
	tap_check(!pair_wait_state(p.source, KVM_FERRY_STATE_PAUSED), "private memory: refused");
	tap_check(ferry_session_reason(p.source, why, sizeof(why)) == EOPNOTSUPP &&
		  strstr(why, "map a memfd"), "in words: %s", why);
	pair_close(&p);
	munmap(p.from, BYTES);
	munmap(p.to, BYTES);
}

/* Sockets, the near ends of which belong to a relay. */
struct relay {
	int end[2];
	pthread_t thread;
};
static struct relay relay;

/* Passes on what comes, and turns over a bit of the third MiB that the source sends. */
static void *pass_on(void *arg)
{
	struct relay *r = arg;
	static uint8_t buf[65536];
	size_t sent = 0;
	int from;

	for (;;) {
		struct pollfd fds[2] = { { .fd = r->end[0], .events = POLLIN },
					 { .fd = r->end[1], .events = POLLIN } };

		poll(fds, 2, -1);
		for (from = 0; from < 2; from++) {
			ssize_t n, done = 0;

			if (!fds[from].revents)
				continue;
			n = read(r->end[from], buf, sizeof(buf));
			if (n <= 0)
				return NULL;
			if (!from && sent < 3 * MIB && sent + n >= 3 * MIB)
				buf[n - 1] ^= 4;
			sent += from ? 0 : n;
			while (done < n) {
				ssize_t w = send(r->end[!from], buf + done, n - done, MSG_NOSIGNAL);

				if (w <= 0)
					return NULL;
				done += w;
			}
		}
	}
}

static void with_relay(int fds[2])
{
	int a[2], b[2];

	pair_sockets(a);
	pair_sockets(b);
	fds[0] = a[0];
	relay.end[0] = a[1];
	relay.end[1] = b[0];
	fds[1] = b[1];
	if (pthread_create(&relay.thread, NULL, pass_on, &relay))
		tap_bail("no thread");
}

/* What changed on its way is noticed, where TCP's own checksum is right. */
static void bit_is_noticed(void)
{
	struct pair p = { .bytes = BYTES, .channels = 1, .transport = KVM_FERRY_TRANSPORT_OWN,
			  .between = with_relay };
	char why[KVM_FERRY_REASON_LEN] = "";

	p.from = pair_memory(BYTES, false);
	p.to = pair_memory(BYTES, false);
	fill(p.from, BYTES, 1);
	pair_open(&p, -1);
	pair_start(&p);
	tap_check(!pair_wait_state(p.sink, KVM_FERRY_STATE_PAUSED), "a wrong bit: the session ends");
	tap_check(ferry_session_reason(p.sink, why, sizeof(why)) == EBADMSG &&
		  strstr(why, "not what was sent"), "in words: %s", why);
	tap_check(!pair_wait_state(p.source, KVM_FERRY_STATE_DONE), "the guest stays");
	pair_close(&p);
	pthread_join(relay.thread, NULL);
	close(relay.end[0]);
	close(relay.end[1]);
	munmap(p.from, BYTES);
	munmap(p.to, BYTES);
}

int main(void)
{
	struct vm keep;

	/* A host under emulation does not like its first and last VM to come and go. */
	vm_open(&keep, 4 * MIB, 4 * MIB, 4096);
	load(ORDER);
	order_is_kept(true);
	vm_moves(ORDER, KVM_FERRY_TRANSPORT_TCP, true);
	check_unloads(ORDER);
	order_is_kept(false);

	written_again(false);
	load(PLAIN);
	written_again(true);
	check_unloads(PLAIN);

	load(TRANSPORT);
	vm_moves(TRANSPORT, KVM_FERRY_TRANSPORT_OWN, true);
	bit_is_noticed();
	check_unloads(TRANSPORT);

	load(SOURCE);
	vm_moves(SOURCE, KVM_FERRY_TRANSPORT_TCP, false);
	private_memory();
	check_unloads(SOURCE);
	vm_close(&keep);
	return tap_done();
}
