// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moving several guests. The VMMs do the work by themselves: here it is only
 * decided who goes when and how much of the link it gets, and looked how it goes.
 *
 * The order. While anything moves the link is full, so that what empties the host
 * soonest is what sends the fewest bytes and leaves no tail in which the last guest
 * alone cannot fill the link. Against the tail the longest go first. Bytes are what
 * a guest sends again that dirties memory faster than its part of the link carries:
 * it has the link for itself, at the end, when nobody has to stand behind it; and one
 * for which all of the link is too little is the very last.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "evacuate.h"
#include "measure.h"

#define LOOK_MS	50

static void over(struct evacuation *ev, struct evacuee *vm, enum outcome outcome, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void over(struct evacuation *ev, struct evacuee *vm, enum outcome outcome, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(vm->reason, sizeof(vm->reason), fmt, args);
	va_end(args);
	vm->stage = EVACUEE_OVER;
	vm->outcome = outcome;
	vm->over_ms = now_ms();
	vmm_close(&vm->vmm);
	ev->told(vm);
}

void evacuation_meet(struct evacuation *ev)
{
	struct evacuee *vm;

	for (vm = ev->vms; vm < ev->vms + ev->count; vm++) {
		if (vmm_connect(&vm->vmm, vm->path) || vmm_status(&vm->vmm, &vm->status))
			over(ev, vm, OUTCOME_FAILED, "%s", vm->vmm.error);
		else if (vm->status.migrating)
			over(ev, vm, OUTCOME_FAILED, "a migration of it is under way already");
		else if (strcmp(vm->status.vm, "running"))
			over(ev, vm, OUTCOME_FAILED, "it has no guest that runs: it is %s",
			     vm->status.vm);
		/* Of a session that ended before this one nothing is told. */
		vm->status.has_session = false;
	}
}

/* Without a limit, the link's own is taken for this, to measure by. */
#define DEFAULT_BANDWIDTH	125000000ULL

static void plan(struct evacuation *ev, struct evacuee *vm, const struct measured *m)
{
	struct planner_input in;
	struct planner_result out;
	const struct planner_run *run;
	uint64_t all = ev->bandwidth ? ev->bandwidth : DEFAULT_BANDWIDTH;
	uint64_t share = all < ev->jobs ? 1 : all / ev->jobs;

	/* By its memory where nothing better is known. */
	vm->expected_ns = vm->status.memory / share * 1000000000;
	if (!m || m->failed)
		return;
	measure_input(m, PLANNER_ROUND_TRIP_NS, &in);
	migrate_options_plan(ev->opt, &in);
	run = migrate_options_throttle(ev->opt) ? &out.held : &out.free;
	for (in.bandwidth = share; !planner_plan(&in, &out); in.bandwidth = all) {
		if (run->converges) {
			vm->expected_ns = run->ns;
			return;
		}
		/* More than all there is not. */
		if (in.bandwidth == all) {
			vm->need = EVACUEE_MORE;
			return;
		}
		vm->need = EVACUEE_ALONE;
	}
}

static int compare(const void *left, const void *right)
{
	const struct evacuee *a = left, *b = right;

	if (a->need != b->need)
		return a->need < b->need ? -1 : 1;
	if (a->expected_ns != b->expected_ns)
		return a->expected_ns < b->expected_ns ? 1 : -1;
	/* qsort() would not keep the order of the command line. */
	return a->index < b->index ? -1 : 1;
}

/* Returns what was measured, of those that wait, in their order; NULL: nothing. */
static struct measured *measure(struct evacuation *ev)
{
	struct measured *m = ev->measure_ns ? calloc(ev->count, sizeof(*m)) : NULL;
	size_t i;

	if (!m)
		return NULL;
	for (i = 0; i < ev->count; i++) {
		m[i].vmm = &ev->vms[i].vmm;
		m[i].failed = ev->vms[i].stage != EVACUEE_WAITS;
	}
	measure_all(m, ev->count, ev->measure_ns);
	for (i = 0; i < ev->count; i++)
		measure_stop(&m[i]);
	return m;
}

void evacuation_order(struct evacuation *ev)
{
	struct measured *m = measure(ev);
	size_t i;

	for (i = 0; i < ev->count; i++)
		plan(ev, &ev->vms[i], m ? &m[i] : NULL);
	free(m);
	qsort(ev->vms, ev->count, sizeof(*ev->vms), compare);
}

static size_t count(const struct evacuation *ev, enum evacuee_stage stage)
{
	size_t i, n = 0;

	for (i = 0; i < ev->count; i++)
		n += ev->vms[i].stage == stage;
	return n;
}

/* The limit of each of @nr; 0: there is none. */
static uint64_t part(const struct evacuation *ev, size_t nr)
{
	return ev->bandwidth && ev->bandwidth < nr ? 1 : ev->bandwidth / nr;
}

static void put_bandwidth(struct json_object *request, uint64_t bandwidth)
{
	json_object_object_add(request, "bandwidth", json_object_new_uint64(bandwidth));
}

/* All that run get the same part of the bandwidth, now that @nr share it. */
static void share(struct evacuation *ev, size_t nr)
{
	struct json_object *request;
	struct evacuee *vm;

	if (!ev->bandwidth)
		return;
	for (vm = ev->vms; vm < ev->vms + ev->count; vm++) {
		if (vm->stage != EVACUEE_RUNS)
			continue;
		request = json_object_new_object();
		json_object_object_add(request, "cmd", json_object_new_string("set"));
		put_bandwidth(request, part(ev, nr));
		/* Refused if it has just ended: the next look at it says so. */
		vmm_call(&vm->vmm, request, NULL, 0, NULL);
	}
}

static void start(struct evacuation *ev, struct evacuee *vm, size_t nr)
{
	struct ferry_sockets socks;
	int ret;

	vm->begun_ms = now_ms();
	ret = connect_peer(&socks, &vm->to, ev->opt);
	if (ret) {
		over(ev, vm, OUTCOME_FAILED, "%s", ret == -EINTR ?
		     "interrupted while it was being connected" : ferry_error());
		return;
	}
	if (ev->bandwidth)
		put_bandwidth(ev->opt->request, part(ev, nr));
	if (hand_over(&vm->vmm, "migrate", ev->opt, &socks)) {
		over(ev, vm, OUTCOME_FAILED, "%s", vm->vmm.error);
		return;
	}
	vm->stage = EVACUEE_RUNS;
	ev->told(vm);
}

static struct evacuee *next_waiting(struct evacuation *ev)
{
	size_t i;

	for (i = 0; i < ev->count; i++)
		if (ev->vms[i].stage == EVACUEE_WAITS)
			return &ev->vms[i];
	return NULL;
}

/* Starts as many as may run; returns whether there was any. */
static bool start_some(struct evacuation *ev)
{
	size_t running, room;
	struct evacuee *vm;
	bool any = false;

	while (!interrupts_seen()) {
		running = count(ev, EVACUEE_RUNS);
		vm = next_waiting(ev);
		if (!vm || running >= ev->jobs || (vm->need != EVACUEE_SHARES && running))
			break;
		/* As many as will run, so that the first one is not slowed down at once. */
		room = running + count(ev, EVACUEE_WAITS);
		room = vm->need != EVACUEE_SHARES ? 1 : room < ev->jobs ? room : ev->jobs;
		if (!any)
			share(ev, room);
		any = true;
		start(ev, vm, room);
		if (vm->need != EVACUEE_SHARES && vm->stage == EVACUEE_RUNS)
			break;
	}
	return any;
}

static void look(struct evacuation *ev, struct evacuee *vm)
{
	struct session_view before = vm->status.session;
	bool had = vm->status.has_session;
	enum outcome outcome;
	const char *why;

	if (vmm_status(&vm->vmm, &vm->status)) {
		/* What was seen last is what is told. A VMM may leave once its guest has. */
		vm->status.session = before;
		vm->status.has_session = had;
		if (had && before.stats.out_state == KVM_FERRY_STATE_DONE)
			over(ev, vm, OUTCOME_MOVED, "%s", "");
		else
			over(ev, vm, OUTCOME_UNKNOWN, "%s", vm->vmm.error);
		return;
	}
	if (!migration_is_over(&vm->status, false, &outcome))
		return;
	why = vm->status.session.reason;
	if (outcome == OUTCOME_MOVED)
		why = "";
	else if (!why[0])
		why = session_error_text(vm->status.session.stats.out_error);
	over(ev, vm, outcome, "%s", why);
}

static void interrupt(struct evacuation *ev)
{
	struct evacuee *vm;

	for (vm = ev->vms; vm < ev->vms + ev->count; vm++) {
		if (vm->stage == EVACUEE_WAITS) {
			over(ev, vm, OUTCOME_FAILED, "interrupted before its turn came");
		} else if (vm->stage == EVACUEE_RUNS && !vm->cancelled) {
			vm->cancelled = true;
			/* Too late for one that has been committed: that one goes on to its end. */
			vmm_order(&vm->vmm, "cancel");
		} else if (vm->stage == EVACUEE_RUNS && interrupts_seen() > 1) {
			over(ev, vm, OUTCOME_UNKNOWN, "following it was given up");
		}
	}
}

void evacuation_run(struct evacuation *ev)
{
	const struct timespec nap = { .tv_nsec = LOOK_MS * 1000000L };
	size_t sharing = 0, running;
	struct evacuee *vm;

	for (;;) {
		if (interrupts_seen())
			interrupt(ev);
		else if (start_some(ev))
			sharing = 0;
		running = count(ev, EVACUEE_RUNS);
		if (!running && !count(ev, EVACUEE_WAITS))
			break;
		if (running && running != sharing) {
			share(ev, running);
			sharing = running;
		}
		nanosleep(&nap, NULL);
		for (vm = ev->vms; vm < ev->vms + ev->count; vm++)
			if (vm->stage == EVACUEE_RUNS)
				look(ev, vm);
	}
}
