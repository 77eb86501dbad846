// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=fault_cell.c,fault_guest_vmm.c,fault_guest.c,fault_guest.S,fault_vmm.c,fault_net.c,fault_relay.c,ring_vm.c,bad_call.c,pair.c,tap.c
 * lab: timeout=400 leak=6144
 *
 * What happens to a VMM, at every step of a migration with a guest, on each side:
 * killed, aborted by itself, aborted by an operator, its session's fd closed; and
 * attempts to unload the module. A part of the table in docs/faults.md.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bad_call.h"
#include "fault_cell.h"
#include "fault_net.h"
#include "ring_vm.h"
#include "tap.h"

/* The sink is the owner from the moment at which it takes COMMIT. */
static bool sink_owns(enum step step)
{
	return step >= STEP_ACK_SENT;
}

/* What a source says from here on cannot stop COMMIT any more. */
static bool commit_is_out(enum step step)
{
	return step >= STEP_COMMIT_SENT;
}

static void kill_it(struct cell *c)
{
	kill(c->p.end[c->side].pid, SIGKILL);
	cell_ended(c, (enum kvm_ferry_role)c->side);
	cell_release(c);
	cell_lost(c, (enum kvm_ferry_role)c->side);
}

static void check_abort(const struct cell *c, int err)
{
	bool refused = c->side == AT_SOURCE && commit_is_out(c->step) && c->step != STEP_DONE;

	if (err != (refused ? -EBUSY : 0))
		tap_check(false, "%s at the %s: %d, %s was awaited", c->fault,
			  c->side == AT_SOURCE ? "source" : "sink", err, refused ? "EBUSY" : "0");
}

static void abort_it(struct cell *c)
{
	check_abort(c, vmm_ask(&c->p.end[c->side], VMM_ABORT).err);
}

static void operator_aborts(struct cell *c)
{
	struct ferry_device *dev;

	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	check_abort(c, ferry_device_abort(dev, c->p.end[c->side].id));
	ferry_device_close(dev);
}

/* It returns when the network has taken ABORT, which it may hold until it is let go. */
static void close_it(struct cell *c)
{
	vmm_tell(&c->p.end[c->side], (enum vmm_order)VMM_CLOSE);
	cell_ended(c, (enum kvm_ferry_role)c->side);
	cell_release(c);
	vmm_hear(&c->p.end[c->side]);
}

static unsigned int after_kill(enum side side, enum step step)
{
	if (side == AT_SOURCE)
		return commit_is_out(step) ? MOVES : GONE;
	return sink_owns(step) ? GONE : STAYS;
}

static unsigned int after_abort(enum side side, enum step step)
{
	if (side == AT_SOURCE)
		return commit_is_out(step) ? MOVES : STAYS;
	return sink_owns(step) ? MOVES : STAYS;
}

/* A source that has let go of its session cannot hear the answer. */
static unsigned int after_close(enum side side, enum step step)
{
	if (side == AT_SOURCE && commit_is_out(step) && step != STEP_DONE)
		return DOUBT_MOVES;
	return after_abort(side, step);
}

static const struct {
	const char *name;
	void (*happens)(struct cell *c);
	unsigned int (*expected)(enum side side, enum step step);
} faults[] = {
	{ "SIGKILL", kill_it, after_kill },
	{ "abort", abort_it, after_abort },
	{ "operator's abort", operator_aborts, after_abort },
	{ "close", close_it, after_close },
};

static int unload(void)
{
	return syscall(SYS_delete_module, "kvm_ferry", O_NONBLOCK) ? -errno : 0;
}

static void load(void)
{
	int fd = open("/lab/kvm_ferry.ko", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		tap_bail("the module cannot be loaded: %s", strerror(errno));
	close(fd);
}

/* Refused, and no more comes of it; afterwards nothing holds the module. */
static void try_to_unload(enum step step)
{
	struct cell c = { .fault = "rmmod", .side = AT_BOTH, .step = step };
	int err;

	cell_begin(&c);
	err = unload();
	if (err != -EWOULDBLOCK)
		tap_bail("rmmod with two sessions: %d", err);
	cell_go(&c, STEP_DONE);
	cell_end(&c, MOVES);
	if (!poll_until(!unload()))
		tap_check(false, "the module cannot be unloaded behind a migration");
	else
		load();
}

int main(void)
{
	struct vm keep;
	enum step step;
	enum side side;
	size_t i;

	/* A host under emulation does not like its first and last VM to come and go. */
	vm_open(&keep, 4 * MIB, 4 * MIB, 4096);
	link_make();
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		for (side = AT_SOURCE; side <= AT_SINK; side++) {
			for (step = 0; step < NR_STEPS; step++) {
				struct cell c = { .fault = faults[i].name, .side = side, .step = step };

				cell_begin(&c);
				faults[i].happens(&c);
				cell_release(&c);
				cell_end(&c, faults[i].expected(side, step));
			}
		}
	}
	for (step = 0; step < NR_STEPS; step++)
		try_to_unload(step);
	vm_close(&keep);
	return tap_done();
}
