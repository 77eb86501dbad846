// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=rdma_link.c,fault_vmm.c,bad_call.c,pair.c,tap.c timeout=240 leak=8192 kernels=6.1,6.12 asked=debug
 *
 * RDMA sessions, in every state: the device is removed, its port goes down, a VMM
 * is killed, either side aborts. Each ends with its errno and sentence, the source
 * is whole, nothing stays pinned, no task stays.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bad_call.h"
#include "fault_vmm.h"
#include "rdma_link.h"
#include "tap.h"

/* What befalls the pair, when the one of the role is in the state. */
enum fault { KILL, ABORT, REMOVE, DOWN, NR_FAULTS };

static const char *const names[] = { "killed", "aborted", "device removed", "port down" };

/* Pages that are pinned for RDMA anywhere: foll_pin_acquired - foll_pin_released. */
static long pinned(void)
{
	FILE *f = fopen("/proc/vmstat", "r");
	char key[64];
	long n, all = 0;

	while (f && fscanf(f, "%63s %ld", key, &n) == 2) {
		if (!strcmp(key, "nr_foll_pin_acquired"))
			all += n;
		else if (!strcmp(key, "nr_foll_pin_released"))
			all -= n;
	}
	if (f)
		fclose(f);
	return all;
}

static void strike(enum fault fault, struct vmm *v)
{
	switch (fault) {
	case KILL:
		kill(v->pid, SIGKILL);
		break;
	case ABORT:
		vmm_tell(v, VMM_ABORT);
		break;
	case REMOVE:
		must("rdma link delete rxe0");
		break;
	default:
		must("ip link set ferry0 down");
	}
}

static void mend(enum fault fault)
{
	if (fault == REMOVE)
		must("rdma link add rxe0 type rxe netdev ferry0");
	if (fault == DOWN)
		must("ip link set ferry0 up");
}

/* How an end that was not struck itself ends. */
static bool ended_well(const struct vmm_answer *a, enum fault fault)
{
	if (!a->whole || a->state != KVM_FERRY_STATE_FAILED)
		return false;
	switch (fault) {
	case REMOVE:
		return a->error == ENODEV || a->error == EPIPE;
	case DOWN:
		/* Which one depends on what the device notices first. */
		return a->error == ETIMEDOUT || a->error == EPIPE || a->error == EREMOTEIO;
	default:
		return a->error == EPIPE;
	}
}

static void try(enum fault fault, enum kvm_ferry_role role, enum kvm_ferry_state state)
{
	long before = pinned();
	struct vmm_answer a;
	struct vmm_pair p;
	char what[80];
	int i;

	snprintf(what, sizeof(what), "%s, %s %s", names[fault], ferry_role_name(role), vmm_state_name(state));
	vmms_start(&p, role, state, fault == DOWN ? 2000 * lab_slow() : 10000,
		   pair_sockets);
	strike(fault, &p.end[role]);
	for (i = 0; i < 2; i++) {
		struct vmm *v = &p.end[i];

		if (fault == KILL && i == (int)role) {
			tap_check(vmm_gone(v), "%s: nothing is left of it", what);
			continue;
		}
		if (fault == ABORT && i == (int)role) {
			a = vmm_hear(v);
			tap_check(a.state == KVM_FERRY_STATE_ABORTED && a.whole, "%s: %s", what, a.reason);
			continue;
		}
		/* It was not started: nobody tells it. */
		if (state <= KVM_FERRY_STATE_CONNECTING)
			continue;
		a = vmm_ask(v, VMM_WAIT);
		tap_check(ended_well(&a, fault), "%s: the %s ends %s, %s: %s", what, ferry_role_name(i),
			  ferry_state_name(a.state), strerror(a.error), a.reason);
	}
	vmms_stop(&p);
	mend(fault);
	tap_check(poll_until(pinned() == before), "%s: %ld pages stay pinned", what, pinned() - before);
}

int main(void)
{
	static const enum kvm_ferry_state states[] = { KVM_FERRY_STATE_LIVE, KVM_FERRY_STATE_FINAL,
						       KVM_FERRY_STATE_PAUSED, KVM_FERRY_STATE_COMMITTING,
						       KVM_FERRY_STATE_SETUP, KVM_FERRY_STATE_CONNECTING };
	unsigned int i;

	rdma_up();
	vmms_use_rdma(rdma_address());
	/* On a slow kernel some of each: a session takes 20 s there. */
	for (i = 0; lab_slow() > 1 && i < 2; i++) {
		try(KILL, i, states[2 * i]);
		try(ABORT, !i, states[2 * i]);
	}
	for (i = 0; lab_slow() == 1 && i < sizeof(states) / sizeof(states[0]); i++) {
		try(KILL, KVM_FERRY_SOURCE, states[i]);
		try(KILL, KVM_FERRY_SINK, states[i]);
		try(ABORT, i % 2, states[i]);
		try(ABORT, !(i % 2), states[i]);
	}
	/* Behind the seal all is at the sink, and the device is not needed any more. */
	if (lab_slow() == 1)
		try(REMOVE, KVM_FERRY_SOURCE, KVM_FERRY_STATE_LIVE);
	try(REMOVE, KVM_FERRY_SOURCE, KVM_FERRY_STATE_FINAL);
	/* Only who sends notices that: an idle connection survives it, as it should. */
	try(DOWN, KVM_FERRY_SOURCE, KVM_FERRY_STATE_FINAL);
	rdma_down();
	return tap_done();
}
