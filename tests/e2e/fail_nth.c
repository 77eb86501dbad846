// SPDX-License-Identifier: GPL-2.0
/*
 * lab: kernels=debug sources=inject.c,ring_vm.c,bad_call.c,pair.c,tap.c timeout=300 short=every,5
 * lab: dmesg="kmemleak: Cannot allocate|vmalloc error:"
 *
 * A small migration, with every command that there is, in which the 1st, 2nd,
 * 3rd ... allocation or user copy of the module fails, whoever's it is, until a
 * migration meets no failure. A command that fails is called again, and then
 * succeeds, unless the session has ended. Each migration arrives whole, or ends
 * with an errno and a guest that runs on at the source; nobody waits for ever.
 *
 *	fail_nth [KIND [TRANSPORT [NTH]]]	only these
 *	fail_nth every N			only the 1st, and each Nth behind it
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bad_call.h"
#include "inject.h"
#include "ring_vm.h"
#include "tap.h"

#define BYTES		(2 * MIB)
#define PATTERN_AT	(MIB / 2)
#define PATTERN_BYTES	(16 * PAGE)
#define GUEST_AT	(MIB + MIB / 2)	/* what the vCPU writes to while it moves */
#define GUEST_PAGES	16
#define PAGES		(BYTES / PAGE)
#define MOST		4000		/* failures; more than any migration meets */

static struct vm vm;
static struct vm_cpu *cpu;

/**
 * struct trial - one migration
 * @kind: of what fails
 * @nth: of them
 * @p: the pair
 * @sink_fd: one that stays open, so that what became of the sink can be asked
 * @refused: what a call failed with that succeeded when it was called again
 * @error: what ended it, negative; 0: it arrived
 * @where: that was
 */
struct trial {
	enum inject_kind kind;
	unsigned int nth;
	struct pair p;
	int refused;
	int error;
	const char *where;
};

/* Calls again what fails, once; what fails twice ends the migration. */
#define DO(t, call) __extension__({ \
	int ret_ = (call); \
	if (ret_ < 0) { \
		(t)->refused = ret_; \
		ret_ = (call); \
	} \
	if (ret_ < 0 && !(t)->error) { \
		(t)->error = ret_; \
		(t)->where = #call; \
	} \
	ret_ >= 0; })

static bool give_up(struct trial *t, int error, const char *where)
{
	if (!t->error) {
		t->error = error;
		t->where = where;
	}
	return false;
}

/* Until the session is in @state and has told of @events. */
static bool await(struct trial *t, struct ferry_session *s, uint32_t state, uint32_t events)
{
	struct pollfd pfd = { .fd = ferry_session_fd(s), .events = POLLIN };
	uint64_t end = now_ms() + 10000 * lab_slow();
	struct kvm_ferry_event e;

	while (now_ms() < end) {
		if (!DO(t, ferry_session_event(s, &e, sizeof(e))))
			return false;
		events &= ~e.out_events;
		if (e.out_state >= state && e.out_state < KVM_FERRY_STATE_DONE && !events)
			return true;
		if (e.out_state >= KVM_FERRY_STATE_DONE)
			return give_up(t, e.out_error ? -(int)e.out_error : -ESHUTDOWN, "await()");
		poll(&pfd, 1, 200);
	}
	return give_up(t, -ETIME, "await()");
}

static bool add_channel(struct trial *t, enum kvm_ferry_channel_kind kind)
{
	static uint64_t key = 1;
	int fds[2];
	bool good;

	if (t->p.transport == KVM_FERRY_TRANSPORT_LOOP) {
		key++;
		return DO(t, ferry_session_add_loop(t->p.source, kind, key)) &&
		       DO(t, ferry_session_add_loop(t->p.sink, kind, key));
	}
	pair_sockets(fds);
	good = DO(t, ferry_session_add_socket(t->p.source, kind, fds[0])) &&
	       DO(t, ferry_session_add_socket(t->p.sink, kind, fds[1]));
	close(fds[0]);
	close(fds[1]);
	return good;
}

static bool set_up(struct trial *t)
{
	struct kvm_ferry_limits limits = { .size = sizeof(limits), .flags = KVM_FERRY_LIMIT_VERIFY,
					   .verify = 1 };
	struct pair *p = &t->p;

	return DO(t, ferry_device_open(&p->dev)) &&
	       DO(t, ferry_source_create(p->dev, vm.fd, "nth", &p->source)) &&
	       DO(t, ferry_sink_create(p->dev, "nth", &p->sink)) &&
	       DO(t, ferry_session_add_region(p->source, 0, "ram", p->from, BYTES)) &&
	       DO(t, ferry_session_add_region(p->sink, 0, "ram", p->to, BYTES)) &&
	       DO(t, ferry_session_add_slot(p->source, 0, 0, 0, BYTES)) &&
	       DO(t, ferry_ring_hand_over(cpu->ring, p->source)) &&
	       add_channel(t, KVM_FERRY_CHANNEL_CONTROL) && add_channel(t, KVM_FERRY_CHANNEL_DATA) &&
	       DO(t, ferry_session_limits(p->source, &limits, sizeof(limits))) &&
	       DO(t, ferry_session_start(p->sink)) && DO(t, ferry_session_start(p->source));
}

static bool operate(struct trial *t)
{
	struct kvm_ferry_stats stats;
	uint64_t *ids = NULL;
	size_t count;
	bool good;

	good = DO(t, ferry_device_list(t->p.dev, &ids, &count)) &&
	       DO(t, ferry_device_stats(t->p.dev, ferry_session_id(t->p.sink), &stats, sizeof(stats)));
	free(ids);
	return good;
}

static bool live(struct trial *t)
{
	struct ferry_session *s = t->p.source;
	uint64_t bits[PAGES / 64] = { 1 }, pages;
	struct kvm_ferry_stats stats;
	bool good;

	if (!await(t, s, KVM_FERRY_STATE_LIVE, KVM_FERRY_EVENT_PASS))
		return false;
	cpu_program(cpu, GUEST_AT, GUEST_PAGES, 0);
	cpu_start(cpu);
	good = await(t, s, KVM_FERRY_STATE_LIVE, KVM_FERRY_EVENT_PASS) &&
	       DO(t, ferry_session_sync_rings(s, NULL)) &&
	       DO(t, ferry_session_report_range(s, 0, PATTERN_AT, PAGE)) &&
	       DO(t, ferry_session_report_bitmap(s, 0, 0, BYTES, bits, &pages)) &&
	       DO(t, ferry_session_fetch_dirty(s, 0, 0, BYTES, bits, true, &pages)) &&
	       DO(t, ferry_session_add_slot(s, 1, 0, 0, MIB)) &&
	       DO(t, ferry_session_move_slot(s, 1, 0, MIB, MIB)) &&
	       DO(t, ferry_session_remove_slot(s, 1)) &&
	       DO(t, ferry_session_stats(s, &stats, sizeof(stats))) && operate(t);
	cpu_stop(cpu);
	return good;
}

static void *arrive(void *arg)
{
	struct trial *t = arg, mine = *t;
	char state[64];
	bool last = false;

	if (await(&mine, t->p.sink, KVM_FERRY_STATE_PAUSED, 0)) {
		while (!last && DO(&mine, ferry_session_recv_state(t->p.sink, state, sizeof(state), &last)))
			;
		if (last)
			DO(&mine, ferry_session_commit(t->p.sink));
	}
	/* A sink that gives up tells the source, as a VMM's exit would. */
	if (mine.error)
		ferry_session_abort(t->p.sink);
	return NULL;
}

static void move(struct trial *t)
{
	struct ferry_session *s;
	pthread_t sink;

	if (!set_up(t) || !live(t))
		return;
	s = t->p.source;
	pthread_create(&sink, NULL, arrive, t);
	if (!(DO(t, ferry_session_final(s)) && DO(t, ferry_session_send_state(s, "state", 5, true)) &&
	      DO(t, ferry_session_commit(s))))
		ferry_session_abort(s);
	pthread_join(sink, NULL);
}

static uint32_t state_of(struct ferry_session *s)
{
	return s ? pair_stats(s).out_state : KVM_FERRY_STATE_SETUP;
}

/* The guest writes to pages, and they come out of a ring that is the VMM's again. */
static bool runs_on(void)
{
	long n;

	if (ferry_ring_take_back(cpu->ring))
		return false;
	ferry_ring_reap(cpu->ring, NULL, NULL);
	ferry_rings_reset(vm.fd);
	cpu_program(cpu, GUEST_AT, GUEST_PAGES, 1);
	cpu_run_to_end(cpu);
	n = ferry_ring_reap(cpu->ring, NULL, NULL);
	return n >= GUEST_PAGES && ferry_rings_reset(vm.fd) == n;
}

/* What became of it, in words if it is not what must be. */
static const char *wrong(struct trial *t)
{
	uint32_t source = state_of(t->p.source), sink = state_of(t->p.sink);

	if (t->error == -ETIME)
		return "it stands still";
	if (!t->error && (source != KVM_FERRY_STATE_DONE || sink != KVM_FERRY_STATE_DONE))
		return "told as moved, and is not";
	if (source == KVM_FERRY_STATE_DONE || sink == KVM_FERRY_STATE_DONE) {
		if (source != sink && source != KVM_FERRY_STATE_IN_DOUBT)
			return "two owners, or none";
		if (memcmp(t->p.from, t->p.to, BYTES))
			return "pages are lost";
	}
	if (t->error && t->p.source && ferry_session_abort(t->p.source) &&
	    source < KVM_FERRY_STATE_DONE)
		return "it cannot be aborted";
	return NULL;
}

static long module_users(void)
{
	FILE *f = fopen("/sys/module/kvm_ferry/refcnt", "r");
	long count = -1;

	if (f && fscanf(f, "%ld", &count) != 1)
		count = -1;
	if (f)
		fclose(f);
	return count;
}

/* True: it met its failure. */
static bool try(struct trial *t)
{
	const char *what;
	bool met;

	t->p.from = vm.mem;
	t->p.to = pair_memory(BYTES, false);
	inject_arm(t->kind, t->nth);
	move(t);
	met = inject_disarm(t->kind);
	what = wrong(t);
	if (!met && !what && (t->error || t->refused))
		what = "it failed although nothing was made to fail";
	ferry_session_close(t->p.sink);
	if (t->p.source)
		ferry_session_abort(t->p.source);
	if (!runs_on() && !what)
		what = "the guest does not run on";
	ferry_session_close(t->p.source);
	ferry_device_close(t->p.dev);
	munmap(t->p.to, BYTES);
	if (!poll_until(module_users() == 0) && !what)
		what = "something holds the module";
	if (what)
		tap_check(false, "%s %u over %s: %s (%s: %s; refused: %s)", inject_name(t->kind), t->nth,
			  t->p.transport == KVM_FERRY_TRANSPORT_TCP ? "TCP" : "loop", what,
			  t->where ? t->where : "-", strerror(-t->error), strerror(-t->refused));
	return met;
}

static void all(enum inject_kind kind, enum kvm_ferry_transport transport, unsigned int only,
		unsigned int step)
{
	unsigned int nth, tried = 0, arrived = 0, ended = 0, again = 0, left;
	uint64_t begin = now_ms();
	struct trial t;

	for (nth = only ? only : 1; nth < MOST; nth += step) {
		t = (struct trial){ .kind = kind, .nth = nth,
				    .p = { .bytes = BYTES, .channels = 1, .transport = transport } };
		if (!try(&t))
			break;
		tried++;
		arrived += !t.error;
		ended += !!t.error;
		again += !!t.refused;
		if (only)
			break;
	}
	tap_check(only || (nth > 1 && nth < MOST),
		  "%s over %s: %u failures of up to %u; %u migrations arrived all the same, %u ended; %u calls were made again",
		  inject_name(kind), transport == KVM_FERRY_TRANSPORT_TCP ? "TCP" : "loop", tried, nth - 1,
		  arrived, ended, again);
	tap_note("%llu ms", (unsigned long long)(now_ms() - begin));
	/* So that the next one is counted right: see inject_arm(). */
	for (left = 8; nth > 1 && left; left--) {
		t = (struct trial){ .kind = kind, .nth = nth,
				    .p = { .bytes = BYTES, .channels = 1, .transport = transport } };
		if (try(&t))
			break;
	}
}

int main(int argc, char **argv)
{
	enum kvm_ferry_transport transport;
	enum inject_kind kind;
	unsigned int step = 1;

	if (argc == 3 && !strcmp(argv[1], "every")) {
		step = strtoul(argv[2], NULL, 10) ?: 1;
		argc = 1;
	}
	vm_open(&vm, BYTES, BYTES, 4096);
	cpu = vm_add_cpu(&vm);
	fill(vm.mem + PATTERN_AT, PATTERN_BYTES, 1);
	inject_open();
	for (transport = KVM_FERRY_TRANSPORT_TCP; transport <= KVM_FERRY_TRANSPORT_LOOP; transport++) {
		if (argc > 2 && strcmp(argv[2], transport == KVM_FERRY_TRANSPORT_TCP ? "tcp" : "loop"))
			continue;
		for (kind = 0; kind < INJECT_KINDS; kind++)
			if (argc < 2 || !strcmp(argv[1], inject_name(kind)))
				all(kind, transport, argc > 3 ? atoi(argv[3]) : 0, step);
	}
	vm_close(&vm);
	return tap_done();
}
