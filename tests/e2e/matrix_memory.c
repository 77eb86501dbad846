// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=fault_cell.c,fault_guest_vmm.c,fault_guest.c,fault_guest.S,fault_vmm.c,fault_net.c,fault_relay.c,ring_vm.c,bad_call.c,pair.c,tap.c
 * lab: timeout=400 leak=6144 dmesg="invoked oom-killer|[Oo]ut of memory|Call Trace:"
 *
 * Memory gets short at every step of a migration with a guest, on each side: a cgroup
 * is at its limit (at the sink while pages land), and half of the guest is swapped
 * out. A part of the table in docs/faults.md.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include "bad_call.h"
#include "fault_cell.h"
#include "fault_net.h"
#include "ring_vm.h"
#include "tap.h"

#define SWAP "/dev/zram0"

static const char * const groups[] = { "/sys/fs/cgroup/ferry-source", "/sys/fs/cgroup/ferry-sink" };

static void write_to(const char *directory, const char *file, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f))
		tap_bail("%s: %s", path, strerror(errno));
}

/*
 * The number behind @name in a file of lines such as "oom_kill 1"; @name "" for a lone
 * number. -1: there is none.
 */
static long number_in(const char *directory, const char *file, const char *name)
{
	char path[128], line[128];
	size_t len = strlen(name);
	long number = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	f = fopen(path, "r");
	while (f && number < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && (!len || line[len] == ' '))
			number = atol(line + len);
	if (f)
		fclose(f);
	return number;
}

static long killed(enum side side)
{
	return number_in(groups[side], "memory.events", "oom_kill");
}

/* At the sink, memory is asked for while pages land: a MiB does for none of the passes. */
static bool lands(const struct cell *c)
{
	return c->side == AT_SINK && c->step <= STEP_FIRST_PASS;
}

static void limit(struct cell *c)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld",
		 lands(c) ? number_in(groups[c->side], "memory.current", "") + (long)MIB : 65536);
	write_to(groups[c->side], "memory.max", text);
	if (lands(c))
		cell_start_all(c);
}

/* The kernel kills the VMM; what comes of it is what comes of any kill. */
static void out_of_memory(enum side side, enum step step)
{
	struct cell c = { .fault = "out of memory", .side = side, .step = step,
			  .plan = { .cgroup = true } };
	long before = killed(side);

	cell_begin(&c);
	limit(&c);
	cell_ended(&c, (enum kvm_ferry_role)side);
	cell_release(&c);
	cell_lost(&c, (enum kvm_ferry_role)side);
	if (killed(side) != before + 1)
		tap_check(false, "it was not the out-of-memory killer");
	if (side == AT_SOURCE)
		cell_end(&c, step >= STEP_COMMIT_SENT ? MOVES : GONE);
	else
		cell_end(&c, step >= STEP_ACK_SENT ? GONE : STAYS);
	write_to(groups[side], "memory.max", "max");
}

/*
 * A VMM that the killer must spare: the page that cannot be had ends the session. Until
 * there is memory again nothing is asked of it, as it may want a page of its own.
 */
static void spared(void)
{
	struct cell c = { .fault = "out of memory, VMM spared", .side = AT_SINK,
			  .step = STEP_FIRST_PASS, .plan = { .cgroup = true, .unkillable = true } };
	struct ferry_device *dev;
	struct kvm_ferry_stats st;

	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	cell_begin(&c);
	limit(&c);
	tap_check(poll_until(!ferry_device_stats(dev, c.p.end[KVM_FERRY_SINK].id, &st, sizeof(st)) &&
			     ferry_state_ended(st.out_state)) && st.out_error == EFAULT,
		  "a page that cannot be had at the sink ends the session: %s",
		  strerror(st.out_error));
	write_to(groups[AT_SINK], "memory.max", "max");
	ferry_device_close(dev);
	cell_end(&c, STAYS);
}

static void swap_on(void)
{
	if (access("/sys/block/zram0", F_OK))
		run("modprobe zram");
	write_to("/sys/block/zram0", "disksize", "128M");
	run("mkswap " SWAP " >/dev/null");
	if (swapon(SWAP, 0))
		tap_bail("swapon: %s", strerror(errno));
}

static void swap_off(void)
{
	if (swapoff(SWAP))
		tap_bail("swapoff: %s", strerror(errno));
	write_to("/sys/block/zram0", "reset", "1");
}

static void swapped(enum side side, enum step step)
{
	struct cell c = { .fault = "half swapped out", .side = side, .step = step };
	struct vmm_answer a;

	cell_begin(&c);
	a = vmm_ask(&c.p.end[side], (enum vmm_order)VMM_PAGE_OUT);
	if (a.err)
		tap_bail("MADV_PAGEOUT: %s", strerror(-a.err));
	cell_go(&c, STEP_DONE);
	cell_end(&c, MOVES);
}

int main(void)
{
	long out, in;
	struct vm keep;
	enum step step;
	enum side side;

	/* A host under emulation does not like its first and last VM to come and go. */
	vm_open(&keep, 4 * MIB, 4 * MIB, 4096);
	link_make();
	write_to("/sys/fs/cgroup", "cgroup.subtree_control", "+memory");
	for (side = AT_SOURCE; side <= AT_SINK; side++)
		if (mkdir(groups[side], 0755))
			tap_bail("%s: %s", groups[side], strerror(errno));
	for (side = AT_SOURCE; side <= AT_SINK; side++)
		for (step = 0; step < NR_STEPS; step++)
			out_of_memory(side, step);
	spared();
	for (side = AT_SOURCE; side <= AT_SINK; side++)
		rmdir(groups[side]);

	swap_on();
	for (side = AT_SOURCE; side <= AT_SINK; side++) {
		out = number_in("/proc", "vmstat", "pswpout");
		in = number_in("/proc", "vmstat", "pswpin");
		for (step = 0; step < NR_STEPS; step++)
			swapped(side, step);
		if (out < 0)	/* the debug kernel does not count: stock ones do */
			continue;
		out = number_in("/proc", "vmstat", "pswpout") - out;
		in = number_in("/proc", "vmstat", "pswpin") - in;
		tap_check(out > 0 && in > 0, "at the %s %ld pages were swapped out, %ld in again",
			  side == AT_SOURCE ? "source" : "sink", out, in);
	}
	swap_off();
	vm_close(&keep);
	return tap_done();
}
