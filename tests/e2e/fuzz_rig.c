// SPDX-License-Identifier: GPL-2.0
/* A migration to make hostile calls about (no test itself). */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bad_call.h"
#include "fuzz_rig.h"
#include "tap.h"

#define GUARD_BYTE	0xa5
#define PATIENCE_MS	4000

static void *guarded(void)
{
	size_t all = RIG_BYTES + 2 * RIG_GUARD;
	uint8_t *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		tap_bail("no memory: %s", strerror(errno));
	memset(p, GUARD_BYTE, RIG_GUARD);
	memset(p + RIG_GUARD + RIG_BYTES, GUARD_BYTE, RIG_GUARD);
	return p + RIG_GUARD;
}

static bool guards_hold(const uint8_t *region)
{
	size_t i;

	for (i = 1; i <= RIG_GUARD; i++)
		if (region[-(ptrdiff_t)i] != GUARD_BYTE || region[RIG_BYTES + i - 1] != GUARD_BYTE)
			return false;
	return true;
}

static void free_guarded(uint8_t *region)
{
	munmap(region - RIG_GUARD, RIG_BYTES + 2 * RIG_GUARD);
}

/* As a VMM, but nothing that others do to the VM stops it. */
static void *run(void *arg)
{
	struct rig *r = arg;

	fuzz_hear();
	while (__atomic_load_n(&r->running, __ATOMIC_ACQUIRE))
		if (!ioctl(r->vm.cpus[0].fd, KVM_RUN, 0) || errno != EINTR)
			usleep(500);
	return NULL;
}

static void open_vm(struct rig *r)
{
	vm_open(&r->vm, 2 * MIB, RIG_BYTES, 1024);
	vm_add_cpu(&r->vm);
	cpu_program(&r->vm.cpus[0], RIG_WRITES_AT, RIG_WRITES, 0);
	r->ring_at = mmap(NULL, r->vm.ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->vm.cpus[0].fd,
			  64 * PAGE);
	if (r->ring_at == MAP_FAILED)
		tap_bail("the ring cannot be mapped: %s", strerror(errno));
	r->from = r->vm.mem;
	fill(r->from + 2 * RIG_WRITES_AT, MIB / 4, 77);
}

static int create(struct rig *r, struct fuzzer *f, uint32_t role)
{
	struct kvm_ferry_create c = { .size = sizeof(c), .role = role, .vm_fd = -1, .name = "rig" };

	if (role == KVM_FERRY_SOURCE) {
		c.dirty_source = r->ring ? KVM_FERRY_DIRTY_RING : KVM_FERRY_DIRTY_REPORT;
		c.vm_fd = r->ring ? r->vm.fd : -1;
	}
	while (fuzz_call(f, r->dev, F_CREATE, &c) == EINTR)
		;
	if (f->last)
		tap_bail("no session: %s", strerror(f->last));
	r->ids[role] = c.out_id;
	return c.out_fd;
}

static void add_region(struct fuzzer *f, int fd, void *at)
{
	struct kvm_ferry_region_add a = { .size = sizeof(a), .region_id = 0, .addr = (uintptr_t)at,
					  .length = RIG_BYTES, .name = "ram" };

	fuzz_call(f, fd, F_REGION_ADD, &a);
}

static void add_channel(struct rig *r, struct fuzzer *f, uint32_t kind)
{
	static uint64_t key;
	struct kvm_ferry_channel_add a = { .size = sizeof(a), .kind = kind, .fd = -1 };
	int fds[2];

	if (r->loop) {
		a.transport = KVM_FERRY_TRANSPORT_LOOP;
		a.key = ((uint64_t)getpid() << 32) + __atomic_add_fetch(&key, 1, __ATOMIC_RELAXED);
		fuzz_call(f, r->source, F_CHANNEL_ADD, &a);
		fuzz_call(f, r->sink, F_CHANNEL_ADD, &a);
		return;
	}
	pair_sockets(fds);
	a.fd = fds[0];
	fuzz_call(f, r->source, F_CHANNEL_ADD, &a);
	a.fd = fds[1];
	fuzz_call(f, r->sink, F_CHANNEL_ADD, &a);
	close(fds[0]);
	close(fds[1]);
}

/* A slot that KVM does not have: it comes, moves, and goes. */
static void spare_slot(struct rig *r, struct fuzzer *f)
{
	struct kvm_ferry_slot s = { .size = sizeof(s), .slot = RIG_SPARE_SLOT, .length = PAGE };

	fuzz_call(f, r->source, F_SLOT_ADD, &s);
	s.offset = PAGE;
	fuzz_call(f, r->source, F_SLOT_MOVE, &s);
	s.offset = s.length = 0;
	fuzz_call(f, r->source, F_SLOT_REMOVE, &s);
}

/* What a VMM may ask while the session lives. */
static void ask(struct rig *r, struct fuzzer *f)
{
	struct kvm_ferry_bitmap b = { .size = sizeof(b), .length = RIG_BYTES,
				      .bitmap = (uintptr_t)f->data };
	struct kvm_ferry_ring_wait w = { .size = sizeof(w) };
	struct kvm_ferry_ring_sync s = { .size = sizeof(s) };

	memset(f->data, 0, RIG_BYTES / PAGE / 8);
	fuzz_call(f, r->source, F_REPORT_BITMAP, &b);
	fuzz_call(f, r->source, F_FETCH_DIRTY, &b);
	fuzz_call(f, r->source, F_RING_SYNC, &s);
	if (r->ring)
		fuzz_call(f, r->source, F_RING_WAIT, &w);
}

void rig_open(struct rig *r, struct fuzzer *f, int dev, bool ring)
{
	struct kvm_ferry_limits m = { .size = sizeof(m), .flags = KVM_FERRY_LIMIT_VERIFY, .verify = 1 };
	struct kvm_ferry_slot slot = { .size = sizeof(slot), .length = RIG_BYTES };
	struct kvm_ferry_ring_add a = { .size = sizeof(a) };
	unsigned int i;

	*r = (struct rig){ .dev = dev, .ring = ring, .loop = fuzz_chance(f, 50),
			   .nr_data = 1 + fuzz_below(f, 3) };
	f->rig = r;
	r->to = guarded();
	if (ring) {
		open_vm(r);
	} else {
		r->from = guarded();
		fill(r->from + 2 * RIG_WRITES_AT, MIB / 4, 77);
	}
	r->source = create(r, f, KVM_FERRY_SOURCE);
	r->sink = create(r, f, KVM_FERRY_SINK);
	add_region(f, r->source, r->from);
	add_region(f, r->sink, r->to);
	add_channel(r, f, KVM_FERRY_CHANNEL_CONTROL);
	for (i = 0; i < r->nr_data; i++)
		add_channel(r, f, KVM_FERRY_CHANNEL_DATA);
	if (fuzz_chance(f, 30))
		fuzz_call(f, r->source, F_LIMITS, &m);
	if (!ring)
		return;
	fuzz_call(f, r->source, F_SLOT_ADD, &slot);
	spare_slot(r, f);
	a.addr = (uintptr_t)r->ring_at;
	a.length = r->vm.ring_bytes;
	fuzz_call(f, r->source, F_RING_ADD, &a);
}

void rig_write(struct rig *r, struct fuzzer *f)
{
	struct kvm_ferry_range range = { .offset = RIG_WRITES_AT, .length = RIG_WRITES * PAGE };
	struct kvm_ferry_report_dirty d = { .size = sizeof(d), .ranges = (uintptr_t)&range, .count = 1 };

	if (r->ring) {
		if (r->running)
			return;
		r->running = true;
		r->vm.cpus[0].run->immediate_exit = 0;
		if (pthread_create(&r->cpu, NULL, run, r))
			tap_bail("no thread for a vCPU");
		return;
	}
	if (!r->hands_off)
		memset(r->from + RIG_WRITES_AT + fuzz_below(f, RIG_WRITES) * PAGE, fuzz_below(f, 256), PAGE);
	fuzz_call(f, r->source, F_REPORT_DIRTY, &d);
}

void rig_pause(struct rig *r)
{
	if (!r->running)
		return;
	__atomic_store_n(&r->running, false, __ATOMIC_RELEASE);
	r->vm.cpus[0].run->immediate_exit = 1;
	/* The signal may come between two system calls: but then it does not enter again. */
	pthread_kill(r->cpu, SIGUSR1);
	pthread_join(r->cpu, NULL);
}

void rig_start(struct rig *r, struct fuzzer *f)
{
	struct kvm_ferry_start s = { .size = sizeof(s) };

	fuzz_call(f, r->sink, F_START, &s);
	fuzz_call(f, r->source, F_START, &s);
}

uint32_t rig_await(struct rig *r, struct fuzzer *f, int fd, uint32_t state)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	uint64_t end = now_ms() + PATIENCE_MS;
	struct kvm_ferry_event e;

	do {
		e = (struct kvm_ferry_event){ .size = sizeof(e) };
		if (fuzz_call(f, fd, F_EVENT, &e))
			return KVM_FERRY_STATE_FAILED;
		r->states |= 1U << e.out_state;
		if (e.out_state >= state)
			break;
		/* Another thread may have taken the event that it waits for. */
		poll(&pfd, 1, f->racing ? 5 : 100);
	} while (now_ms() < end);
	return e.out_state;
}

void rig_final(struct rig *r, struct fuzzer *f)
{
	struct kvm_ferry_final a = { .size = sizeof(a) };
	uint64_t end = now_ms() + PATIENCE_MS;

	rig_pause(r);
	while (fuzz_call(f, r->source, F_FINAL, &a) == EINTR && now_ms() < end)
		;
}

void rig_state(struct rig *r, struct fuzzer *f)
{
	struct kvm_ferry_state_io a = { .size = sizeof(a), .flags = KVM_FERRY_STATE_LAST,
					.data = (uintptr_t)f->data, .length = RIG_STATE };
	uint64_t end = now_ms() + PATIENCE_MS;

	while (fuzz_call(f, r->source, F_STATE_SEND, &a) == EINTR && now_ms() < end) {
		a.data += a.out_length;
		a.length -= a.out_length;
	}
	rig_await(r, f, r->sink, KVM_FERRY_STATE_PAUSED);
	do {
		a = (struct kvm_ferry_state_io){ .size = sizeof(a), .data = (uintptr_t)f->data,
						 .length = 1 + fuzz_below(f, 2 * RIG_STATE) };
		fuzz_call(f, r->sink, F_STATE_RECV, &a);
	} while ((f->last == EINTR || (!f->last && !(a.out_flags & KVM_FERRY_STATE_LAST))) &&
		 now_ms() < end);
}

/* One thread does both: the sink's is cut short by the watchdog's signal, and called again. */
void rig_commit(struct rig *r, struct fuzzer *f)
{
	struct kvm_ferry_commit a = { .size = sizeof(a) };
	uint64_t end = now_ms() + PATIENCE_MS;

	if (fuzz_call(f, r->sink, F_COMMIT, &a) == EINTR)
		rig_await(r, f, r->sink, KVM_FERRY_STATE_COMMITTING);
	else
		end = 0;
	while (fuzz_call(f, r->source, F_COMMIT, &a) == EINTR && now_ms() < end)
		;
	while (fuzz_call(f, r->sink, F_COMMIT, &a) == EINTR && now_ms() < end)
		;
}

void rig_move(struct rig *r, struct fuzzer *f, rig_between between)
{
	between(r, f);
	rig_start(r, f);
	between(r, f);
	if (rig_await(r, f, r->source, KVM_FERRY_STATE_LIVE) == KVM_FERRY_STATE_LIVE) {
		rig_write(r, f);
		ask(r, f);
		between(r, f);
		rig_write(r, f);
		rig_final(r, f);
	}
	if (rig_await(r, f, r->source, KVM_FERRY_STATE_LIVE) == KVM_FERRY_STATE_PAUSED) {
		between(r, f);
		rig_state(r, f);
		between(r, f);
		rig_commit(r, f);
	}
	rig_pause(r);
	between(r, f);
	rig_await(r, f, r->sink, KVM_FERRY_STATE_SETUP);
	rig_await(r, f, r->source, KVM_FERRY_STATE_SETUP);
}

bool rig_equal(const struct rig *r)
{
	size_t i;

	for (i = 0; i < RIG_BYTES && r->from[i] == r->to[i]; i++)
		;
	if (i < RIG_BYTES)
		tap_note("%s, %s, %u channels: page %zu differs", r->ring ? "ring" : "report",
			 r->loop ? "loop" : "tcp", r->nr_data, i / PAGE);
	return i == RIG_BYTES;
}

bool rig_free(struct rig *r)
{
	bool good = guards_hold(r->to) && (r->ring || guards_hold(r->from));

	if (!good)
		tap_note("memory around a region was written");
	rig_pause(r);
	free_guarded(r->to);
	if (!r->ring) {
		free_guarded(r->from);
		return good;
	}
	munmap(r->ring_at, r->vm.ring_bytes);
	vm_close(&r->vm);
	return good;
}

bool rig_close(struct rig *r, struct fuzzer *f)
{
	struct kvm_ferry_ring_index i = { .size = sizeof(i) };
	struct kvm_ferry_abort a = { .size = sizeof(a) };

	rig_pause(r);
	if (r->ring && fuzz_chance(f, 80)) {
		fuzz_call(f, r->source, F_ABORT, &a);
		fuzz_call(f, r->source, F_RING_INDEX, &i);
	}
	rig_await(r, f, r->source, KVM_FERRY_STATE_SETUP);
	close(r->source);
	close(r->sink);
	return rig_free(r);
}

unsigned int rig_sessions(int dev)
{
	struct kvm_ferry_list l = { .size = sizeof(l) };

	if (ioctl(dev, KVM_FERRY_LIST, &l))
		tap_bail("no list: %s", strerror(errno));
	return l.out_count;
}

void witness_begin(struct witness *w)
{
	struct pair *p = &w->pair;

	*p = (struct pair){ .bytes = 2 * MIB, .channels = 2, .transport = KVM_FERRY_TRANSPORT_TCP };
	p->from = pair_memory(p->bytes, false);
	p->to = pair_memory(p->bytes, true);
	fill(p->from, p->bytes / 2, 5);
	pair_open(p, -1);
	pair_start(p);
	pair_wait(p->source, KVM_FERRY_EVENT_PASS);
}

bool witness_end(struct witness *w)
{
	struct pair *p = &w->pair;
	bool good;

	fill(p->from + 64 * PAGE, 64 * PAGE, 6);
	good = !ferry_session_report_range(p->source, 0, 64 * PAGE, 64 * PAGE);
	good = !pair_switch(p, "witness", 8) && good && !memcmp(p->from, p->to, p->bytes);
	pair_close(p);
	munmap(p->from, p->bytes);
	munmap(p->to, p->bytes);
	return good;
}
