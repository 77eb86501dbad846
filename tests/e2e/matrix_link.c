// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=fault_cell.c,fault_guest_vmm.c,fault_guest.c,fault_guest.S,fault_vmm.c,fault_net.c,fault_relay.c,ring_vm.c,bad_call.c,pair.c,tap.c
 * lab: timeout=400 leak=6144 long=debug
 *
 * What happens to the link, at every step of a migration with a guest: all is lost,
 * a connection is reset, packets are corrupted, reordered, delayed; and a bit that is
 * turned over where no checksum sees it. A part of the table in docs/faults.md.
 */
#include <errno.h>

#include "bad_call.h"
#include "fault_cell.h"
#include "fault_net.h"
#include "ring_vm.h"
#include "tap.h"

/* So long may a host be busy with itself, and the test waits for it once. */
#define TIMEOUT_MS (5000 * lab_slow())

/*
 * When all are taken to their steps before anything happens to any: those last where
 * what holds COMMIT or its answer holds the pings, too.
 */
static const enum step order[NR_STEPS] = {
	STEP_DONE, STEP_SETUP, STEP_CONNECTING, STEP_FIRST_PASS, STEP_LATER_PASS, STEP_FINAL,
	STEP_PAUSED, STEP_STATE_SENT, STEP_READY, STEP_ACK_SENT, STEP_COMMIT_SENT,
};

/* Before COMMIT the guest stays; behind it, the source does not know. */
static unsigned int after_break(enum step step)
{
	if (step < STEP_COMMIT_SENT)
		return STAYS;
	return step == STEP_COMMIT_SENT ? DOUBT_STAYS : step == STEP_ACK_SENT ? DOUBT_MOVES : MOVES;
}

/*
 * Of all migrations at once, so that they time out together. What holds COMMIT or its
 * answer must be their own, as the others need the link until then.
 */
static void loss(void)
{
	struct cell cells[NR_STEPS];
	enum step step;
	int i;

	for (i = 0; i < NR_STEPS; i++) {
		step = order[i];
		cells[step] = (struct cell){ .fault = "loss", .side = AT_LINK, .step = step,
					     .relayed = step >= STEP_COMMIT_SENT,
					     .plan = { .timeout_ms = TIMEOUT_MS } };
		cell_begin(&cells[step]);
	}
	link_netem("loss 100%");
	cell_start_all(&cells[STEP_SETUP]);
	for (step = 0; step < NR_STEPS; step++)
		cell_end(&cells[step], after_break(step));
	relays_end();
	link_netem("");
}

static void reset_control(enum step step)
{
	struct cell c = { .fault = "reset of the control connection", .side = AT_LINK, .step = step,
			  .relayed = true };

	cell_begin(&c);
	relay_do(c.relay, RELAY_RESET, TO_SINK);
	if (step == STEP_SETUP)
		cell_start_all(&c);
	cell_end(&c, after_break(step));
	relays_end();
}

/*
 * The control connection goes on, and tells the other side. A COMMIT that is on its way
 * there comes before a sink whose data connection broke has given up: it waits a
 * second for a reason. All steps at once, as most of them take that second.
 */
static void begin_reset(struct cell *c, enum step step)
{
	unsigned int timeout = step < STEP_COMMIT_SENT ? 2 * TIMEOUT_MS : PATIENT_MS;

	*c = (struct cell){ .fault = "reset of a data connection", .side = AT_LINK, .step = step,
			    .relayed = true, .plan = { .timeout_ms = timeout } };
	cell_begin(c);
}

static void reset_it(struct cell *c)
{
	relay_do(c->relay + 1, RELAY_RESET, TO_SINK);
	cell_release(c);
	if (c->step == STEP_SETUP)
		cell_start_all(c);
}

static void reset_data(void)
{
	struct cell cells[NR_STEPS], last;
	enum step step;
	int i;

	for (i = 0; i < NR_STEPS; i++)
		if (order[i] != STEP_FINAL)
			begin_reset(&cells[order[i]], order[i]);
	for (step = 0; step < NR_STEPS; step++)
		if (step != STEP_FINAL)
			reset_it(&cells[step]);
	for (step = 0; step < NR_STEPS; step++)
		if (step != STEP_FINAL)
			cell_end(&cells[step], step < STEP_COMMIT_SENT ? STAYS : MOVES);
	/* Half a minute of a final pass may not be as long as all the others take. */
	begin_reset(&last, STEP_FINAL);
	reset_it(&last);
	cell_end(&last, STAYS);
	relays_end();
}

static const struct {
	const char *name;
	const char *netem;
} disturbances[] = {
	{ "corrupt", "corrupt 3%" },
	{ "reorder", "delay 4ms reorder 30% 50%" },
	{ "delay", "delay 4ms 2ms" },
};

/* From @step on: TCP mends it, at the price of time. */
static void disturb(const char *name, const char *netem, enum step step)
{
	struct cell c = { .fault = name, .side = AT_LINK, .step = step };

	cell_begin(&c);
	link_netem(netem);
	/* That lets pass what was held. */
	c.held[TO_SINK] = false;
	c.held[TO_SOURCE] = false;
	cell_go(&c, STEP_DONE);
	cell_end(&c, MOVES);
	link_netem("");
}

/* What a switch or a driver does that spoils a packet and computes its checksums anew. */
static void turn_a_bit(bool verify)
{
	struct cell c = { .fault = "bit behind the checksums, verify on", .side = AT_LINK,
			  .step = STEP_CONNECTING, .relayed = true, .plan = { .verify = verify } };
	struct vmm *sink = &c.p.end[KVM_FERRY_SINK];

	cell_begin(&c);
	relay_do(c.relay + 1, RELAY_FLIP, TO_SINK);
	if (verify) {
		cell_go(&c, STEP_LATER_PASS);
		c.step = STEP_FIRST_PASS;
		vmm_ask(&c.p.end[KVM_FERRY_SOURCE], (enum vmm_order)VMM_FINAL);
		cell_end(&c, STAYS);
	} else {
		cell_go(&c, STEP_DONE);
		tap_check(vmm_ask(sink, (enum vmm_order)VMM_CHECK).err == -EIO,
			  "a bit behind the checksums, verify off: the guest itself finds it");
		vmms_stop(&c.p);
	}
	relays_end();
}

/*
 * The sink aborts, its ABORT is lost and would be sent again; COMMIT comes before that. The
 * answer must still arrive: the link holds, and nobody may be in doubt.
 */
static void abort_is_late(void)
{
	struct cell c = { .fault = "abort, lost at first", .side = AT_SINK, .step = STEP_COMMIT_SENT };
	long before;

	cell_begin(&c);
	link_cut(TO_SOURCE, true);
	if (vmm_ask(&c.p.end[KVM_FERRY_SINK], VMM_ABORT).err)
		tap_bail("abort");
	before = link_counter("Tcp", "InSegs");
	cell_release(&c);
	if (!poll_until(link_counter("Tcp", "InSegs") > before))
		tap_bail("COMMIT is not sent again");
	link_cut(TO_SOURCE, false);
	cell_end(&c, STAYS);
}

int main(void)
{
	long before, seen;
	struct vm keep;
	enum step step;
	size_t i;

	/* A host under emulation does not like its first and last VM to come and go. */
	vm_open(&keep, 4 * MIB, 4 * MIB, 4096);
	link_make();
	loss();
	for (step = 0; step < NR_STEPS; step++)
		reset_control(step);
	reset_data();
	abort_is_late();
	before = link_counter("Tcp", "InCsumErrors");
	for (i = 0; i < sizeof(disturbances) / sizeof(disturbances[0]); i++)
		for (step = 0; step < NR_STEPS; step++)
			disturb(disturbances[i].name, disturbances[i].netem, step);
	seen = link_counter("Tcp", "InCsumErrors") - before;
	tap_check(seen > 0, "TCP's checksum has caught corrupted packets: %ld", seen);
	turn_a_bit(true);
	turn_a_bit(false);
	vm_close(&keep);
	return tap_done();
}
