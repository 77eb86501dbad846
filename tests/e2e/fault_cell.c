// SPDX-License-Identifier: GPL-2.0
/* A cell of docs/faults.md (no test itself). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bad_call.h"
#include "fault_cell.h"
#include "fault_net.h"
#include "tap.h"

static const char * const steps[NR_STEPS] = {
	[STEP_SETUP] = "setup", [STEP_CONNECTING] = "connecting", [STEP_FIRST_PASS] = "first-pass",
	[STEP_LATER_PASS] = "later-pass", [STEP_FINAL] = "final", [STEP_PAUSED] = "paused",
	[STEP_STATE_SENT] = "state-sent", [STEP_READY] = "ready",
	[STEP_COMMIT_SENT] = "commit-sent", [STEP_ACK_SENT] = "ack-sent", [STEP_DONE] = "done",
};

static const char * const sides[] = { "source", "sink", "link", "both" };

static const struct {
	enum outcome outcome;
	const char *name;
} outcomes[] = {
	{ STAYS, "stays" }, { MOVES, "moves" }, { DOUBT_STAYS, "in doubt, stays" },
	{ DOUBT_MOVES, "in doubt, moves" }, { GONE, "gone" },
};

static struct vmm *source(struct cell *c)
{
	return &c->p.end[KVM_FERRY_SOURCE];
}

static struct vmm *sink(struct cell *c)
{
	return &c->p.end[KVM_FERRY_SINK];
}

static void must(struct cell *c, struct vmm *v, enum guest_vmm_order order)
{
	struct vmm_answer a = vmm_ask(v, (enum vmm_order)order);

	if (a.err)
		tap_bail("%s, %s: order '%c' to the %s: %d, %s", c->fault, steps[c->step], order,
			 ferry_role_name(v->role), a.err, a.reason);
}

static struct vmm_answer report(struct vmm *v)
{
	return vmm_ask(v, (enum vmm_order)VMM_REPORT);
}

static void await(struct cell *c, struct vmm *v, enum kvm_ferry_state state)
{
	struct vmm_answer a;
	bool there = poll_until((a = report(v), a.state >= state));

	if (!there || a.state != state)
		tap_bail("%s, %s: the %s is %s, not %s: %s", c->fault, steps[c->step],
			 ferry_role_name(v->role), ferry_state_name(a.state), ferry_state_name(state),
			 a.reason);
}

static void start(struct cell *c, enum kvm_ferry_role role)
{
	if (!c->started[role])
		must(c, &c->p.end[role], VMM_START);
	c->started[role] = true;
}

static void hold(struct cell *c, enum way to, bool held)
{
	if (c->relayed)
		relay_do(c->relay, held ? RELAY_HOLD : RELAY_PASS, to);
	else
		link_cut(to, held);
	c->held[to] = held;
}

/* Into a step, from the one before it. What only lasts if it is held does not without @stay. */
static void enter(struct cell *c, enum step to, bool stay)
{
	switch (to) {
	case STEP_CONNECTING:
		start(c, c->side == AT_SINK ? KVM_FERRY_SINK : KVM_FERRY_SOURCE);
		await(c, &c->p.end[c->side == AT_SINK], KVM_FERRY_STATE_CONNECTING);
		break;
	case STEP_FIRST_PASS:
		if (stay)
			must(c, source(c), VMM_SLOW);
		start(c, KVM_FERRY_SINK);
		start(c, KVM_FERRY_SOURCE);
		await(c, source(c), KVM_FERRY_STATE_LIVE);
		if (!poll_until(report(source(c)).sent))
			tap_bail("no first pass");
		break;
	case STEP_LATER_PASS:
		must(c, source(c), VMM_FAST);
		if (!poll_until(report(source(c)).passes > (stay ? 2 : 1)))
			tap_bail("no later pass");
		break;
	case STEP_FINAL:
		must(c, source(c), stay ? VMM_FINAL_LASTS : VMM_FINAL);
		if (!stay)
			break;
		await(c, sink(c), KVM_FERRY_STATE_FINAL);
		await(c, source(c), KVM_FERRY_STATE_FINAL);
		break;
	case STEP_PAUSED:
		must(c, source(c), VMM_FAST);
		await(c, source(c), KVM_FERRY_STATE_PAUSED);
		await(c, sink(c), KVM_FERRY_STATE_PAUSED);
		break;
	case STEP_STATE_SENT:
		must(c, source(c), VMM_SEND);
		must(c, sink(c), VMM_RECV);
		break;
	case STEP_READY:
		must(c, sink(c), VMM_HAND_OVER);
		await(c, sink(c), KVM_FERRY_STATE_COMMITTING);
		break;
	case STEP_COMMIT_SENT:
		if (stay)
			hold(c, TO_SINK, true);
		must(c, source(c), VMM_HAND_OVER);
		/* The source is COMMITTING only when it has heard READY. */
		if (stay)
			await(c, source(c), KVM_FERRY_STATE_COMMITTING);
		break;
	case STEP_ACK_SENT:
		if (!stay)
			break;
		hold(c, TO_SOURCE, true);
		hold(c, TO_SINK, false);
		if (!poll_until(report(sink(c)).runs))
			tap_bail("the sink does not run the guest");
		break;
	case STEP_DONE:
		cell_release(c);
		await(c, source(c), KVM_FERRY_STATE_DONE);
		if (!poll_until(report(sink(c)).runs))
			tap_bail("the sink does not run the guest");
		break;
	default:
		break;
	}
}

void cell_go(struct cell *c, enum step step)
{
	while (c->at < step) {
		c->at++;
		/* COMMIT is held for what comes behind it, too. */
		enter(c, c->at, c->at == step || (c->at == STEP_COMMIT_SENT && step == STEP_ACK_SENT));
	}
}

void cell_begin(struct cell *c)
{
	struct guest_plan plan = c->plan;

	if (!plan.timeout_ms)
		plan.timeout_ms = PATIENT_MS;
	if (c->relayed)
		c->relay = relays_made();
	vmms_spawn(&c->p, c->relayed ? relay_connect : link_connect, guest_vmm_live, &plan);
	cell_go(c, c->step);
}

void cell_start_all(struct cell *c)
{
	vmm_ask(source(c), (enum vmm_order)VMM_FAST);
	start(c, KVM_FERRY_SINK);
	start(c, KVM_FERRY_SOURCE);
}

void cell_release(struct cell *c)
{
	enum way way;

	for (way = TO_SINK; way <= TO_SOURCE; way++)
		if (c->held[way])
			hold(c, way, false);
}

void cell_ended(struct cell *c, enum kvm_ferry_role role)
{
	struct kvm_ferry_stats st;
	struct ferry_device *dev;

	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	if (!poll_until(ferry_device_stats(dev, c->p.end[role].id, &st, sizeof(st)) ||
			ferry_state_ended(st.out_state)))
		tap_bail("%s, %s: the %s's session does not end", c->fault, steps[c->step],
			 ferry_role_name(role));
	ferry_device_close(dev);
}

void cell_lost(struct cell *c, enum kvm_ferry_role role)
{
	if (!vmm_gone(&c->p.end[role]))
		tap_check(false, "%s, %s: the %s does not go", c->fault, steps[c->step],
			  ferry_role_name(role));
}

static const char *name_of(unsigned int expected, char *to, size_t room)
{
	size_t i, at = 0;

	to[0] = '\0';
	for (i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++)
		if (expected & outcomes[i].outcome)
			at += snprintf(to + at, room - at, "%s%s", at ? " or " : "", outcomes[i].name);
	return to;
}

/* Both at once, since each may wait for the other. A VMM that is gone runs nothing. */
static void settle(struct cell *c, struct vmm_answer a[2])
{
	int i;

	for (i = 0; i < 2; i++)
		if (c->p.end[i].pid)
			vmm_tell(&c->p.end[i], (enum vmm_order)VMM_SETTLE);
	for (i = 0; i < 2; i++) {
		a[i] = (struct vmm_answer){ .whole = true, .state = KVM_FERRY_STATE_ABORTED,
					    .reason = "killed" };
		if (c->p.end[i].pid)
			a[i] = vmm_hear(&c->p.end[i]);
	}
}

/* A person asks the sink's VMM, and resumes the guest at the source only if it does not run it. */
static unsigned int resolve(struct cell *c, struct vmm_answer a[2])
{
	if (a[KVM_FERRY_SINK].runs)
		return DOUBT_MOVES;
	a[KVM_FERRY_SOURCE] = vmm_ask(source(c), (enum vmm_order)VMM_RESUME);
	return DOUBT_STAYS;
}

void cell_end(struct cell *c, unsigned int expected)
{
	struct vmm_answer a[2];
	unsigned int outcome;
	bool good, well = true;
	char name[128];
	int i;

	settle(c, a);
	good = !(a[0].runs && a[1].runs) && !(a[0].doubt && a[0].runs);
	if (a[0].doubt)
		outcome = resolve(c, a);
	else
		outcome = a[0].runs ? STAYS : a[1].runs ? MOVES : GONE;
	for (i = 0; i < 2; i++)
		if (a[i].runs && vmm_ask(&c->p.end[i], (enum vmm_order)VMM_CHECK).err)
			well = false;
	/* Nobody runs it: only if a VMM was killed. */
	if (outcome == GONE && c->p.end[0].pid && c->p.end[1].pid)
		good = false;
	good = tap_check(good && well && (outcome & expected),
			 "step=%s fault=%s side=%s outcome=%s", steps[c->step], c->fault, sides[c->side],
			 name_of(expected, name, sizeof(name)));
	if (!good) {
		tap_note("it came to: %s; the guest is %s", name_of(outcome, name, sizeof(name)),
			 well ? "well" : "not well");
		for (i = 0; i < 2; i++)
			tap_note("%s: %s, %s%s%s", ferry_role_name(i), ferry_state_name(a[i].state),
				 a[i].reason, a[i].runs ? ", runs" : "", a[i].doubt ? ", in doubt" : "");
	}
	vmms_stop(&c->p);
}
