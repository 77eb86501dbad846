// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=fault_vmm.c,fault_net.c,bad_call.c,pair.c,tap.c timeout=120
 *
 * The link between two network namespaces goes down in every state. Both sides
 * notice within the peer timeout, the source is whole and may run its guest; only
 * a source that has sent COMMIT is in doubt.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bad_call.h"
#include "fault_net.h"
#include "fault_vmm.h"
#include "tap.h"

#define TIMEOUT_MS	(1000 * lab_slow())
#define SLACK_MS	(8000 * lab_slow())	/* for a machine that is busy */

static void link_is(bool up)
{
	run(up ? "ip -n src link set cable up && ip -n snk link set cable up" :
		 "ip -n src link set cable down");
}

static void notices(struct vmm *v, const char *what, uint64_t cut)
{
	struct vmm_answer a = vmm_ask(v, VMM_WAIT);
	uint64_t took = now_ms() - cut;

	tap_check(a.state == KVM_FERRY_STATE_FAILED && a.error == ETIMEDOUT && a.whole &&
		  took < TIMEOUT_MS + SLACK_MS, "%s: the %s ends %s after %llu ms: %s", what,
		  ferry_role_name(v->role), ferry_state_name(a.state), (unsigned long long)took, a.reason);
}

static void try(enum kvm_ferry_state state)
{
	struct vmm_pair p;
	uint64_t cut;
	char what[64];

	snprintf(what, sizeof(what), "down when %s", vmm_state_name(state));
	link_is(true);
	/* Both are in that state; CONNECTING: each alone, as the other is not there yet. */
	vmms_start(&p, KVM_FERRY_SOURCE, state, TIMEOUT_MS, link_connect);
	cut = now_ms();
	link_is(false);
	notices(&p.end[KVM_FERRY_SOURCE], what, cut);
	if (state > KVM_FERRY_STATE_CONNECTING)
		notices(&p.end[KVM_FERRY_SINK], what, cut);
	vmms_stop(&p);
}

/* COMMIT goes out to a link that is down: it may have arrived, for all the source knows. */
static void committing(void)
{
	struct vmm_answer a;
	struct vmm_pair p;
	uint64_t cut;

	link_is(true);
	vmms_start(&p, KVM_FERRY_SINK, KVM_FERRY_STATE_COMMITTING, TIMEOUT_MS, link_connect);
	/* READY is on its way or there; the source answers nothing before it is asked. */
	vmm_tell(&p.end[KVM_FERRY_SOURCE], VMM_COMMIT);
	a = vmm_hear(&p.end[KVM_FERRY_SOURCE]);
	tap_check(!a.err && a.state == KVM_FERRY_STATE_DONE, "with the link up, it is committed");
	vmms_stop(&p);

	vmms_start(&p, KVM_FERRY_SINK, KVM_FERRY_STATE_COMMITTING, TIMEOUT_MS, link_connect);
	cut = now_ms();
	link_is(false);
	a = vmm_ask(&p.end[KVM_FERRY_SOURCE], VMM_COMMIT);
	if (a.state == KVM_FERRY_STATE_IN_DOUBT)
		tap_check(a.err == -EINPROGRESS && a.whole && strstr(a.reason, "ask at the sink"),
			  "COMMIT into a link that is down: in doubt: %s", a.reason);
	else	/* READY had not arrived: then nothing was sent, and nothing is in doubt */
		tap_check(a.err == -ESHUTDOWN && a.state == KVM_FERRY_STATE_FAILED && a.whole,
			  "READY lost in a link that is down: %s", a.reason);
	notices(&p.end[KVM_FERRY_SINK], "down when committing", cut);
	vmms_stop(&p);
}

int main(void)
{
	enum kvm_ferry_state state;

	link_make();
	for (state = KVM_FERRY_STATE_CONNECTING; state <= KVM_FERRY_STATE_PAUSED; state++)
		try(state);
	committing();
	return tap_done();
}
