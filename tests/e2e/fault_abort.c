// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=fault_vmm.c,bad_call.c,pair.c,tap.c timeout=90
 *
 * An abort, on either side, by the VMM and by an operator, in every state: the
 * side that aborts is aborted, the other one is told so, the source is whole.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bad_call.h"
#include "fault_vmm.h"
#include "tap.h"

static struct ferry_device *dev;

static void try(enum kvm_ferry_role role, enum kvm_ferry_state state, bool operator)
{
	struct vmm_answer a;
	struct vmm_pair p;
	struct vmm *other = &p.end[!role];
	uint64_t begin;
	char what[80];

	snprintf(what, sizeof(what), "%s of a %s when %s", operator ? "an operator's abort" : "an abort",
		 ferry_role_name(role), role == KVM_FERRY_SOURCE && state == KVM_FERRY_STATE_COMMITTING ?
		 "its state is sent" : vmm_state_name(state));
	vmms_start(&p, role, state, 10000, pair_sockets);
	begin = now_ms();
	if (operator) {
		a.err = ferry_device_abort(dev, p.end[role].id);
		if (!a.err)
			a = vmm_ask(&p.end[role], VMM_WAIT);
	} else {
		a = vmm_ask(&p.end[role], VMM_ABORT);
	}
	tap_check(!a.err && a.state == KVM_FERRY_STATE_ABORTED && a.error == ECANCELED && a.whole &&
		  now_ms() - begin < 3000 * lab_slow(), "%s: %s after %llu ms: %s", what, ferry_state_name(a.state),
		  (unsigned long long)(now_ms() - begin), a.reason);
	if (state > KVM_FERRY_STATE_CONNECTING) {
		a = vmm_ask(other, VMM_WAIT);
		tap_check(a.state == KVM_FERRY_STATE_FAILED && a.error == EPIPE && a.whole &&
			  strstr(a.reason, "ended the migration"), "%s: the %s ends %s, %s: %s", what,
			  ferry_role_name(!role), ferry_state_name(a.state), strerror(a.error), a.reason);
	}
	vmms_stop(&p);
}

int main(void)
{
	enum kvm_ferry_state state;

	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	for (state = KVM_FERRY_STATE_SETUP; state <= KVM_FERRY_STATE_COMMITTING; state++) {
		/* Operators and VMMs take turns: each kind sees each state. */
		try(KVM_FERRY_SOURCE, state, state % 2);
		try(KVM_FERRY_SINK, state, !(state % 2));
	}
	ferry_device_close(dev);
	return tap_done();
}
