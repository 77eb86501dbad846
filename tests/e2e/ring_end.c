// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=ring_vm.c,bad_call.c,pair.c,tap.c timeout=90 leak=4096
 *
 * However a session ends, its rings come back drained and reset, with the index
 * from where the VMM reaps on; the guest runs on; nobody waits any more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bad_call.h"
#include "ring_vm.h"
#include "tap.h"

#define BYTES	(8 * MIB)
#define ROOM	(6 * MIB)	/* in slot 0; the rest is no slot of the session */
#define BEYOND	ROOM		/* guest physical address of slot 1: right behind slot 0 */

enum end {
	END_ABORT,	/* by the VMM */
	END_OPERATOR,	/* by id */
	END_PEER,	/* the sink's session is closed */
	END_SLOT,	/* an entry of a slot that the session does not know */
	END_DONE,
	NR_ENDS,
};

static const char * const names[NR_ENDS] = {
	"abort", "operator's abort", "peer closed", "unknown slot", "done",
};

static struct vm vm;

static void begin(struct pair *p, bool running)
{
	unsigned int i;

	*p = (struct pair){ .bytes = BYTES, .channels = 1, .transport = KVM_FERRY_TRANSPORT_TCP };
	p->from = vm.mem;
	p->to = pair_memory(BYTES, false);
	pair_open(p, vm.fd);
	vm_hand_over(&vm, p->source, ROOM);
	pair_start(p);
	pair_wait(p->source, KVM_FERRY_EVENT_CONVERGED);
	for (i = 0; i < vm.nr_cpus; i++)
		cpu_program(&vm.cpus[i], MIB + 2 * MIB * i, 512, running ? 0 : 1);
	for (i = 0; i < vm.nr_cpus; i++)
		cpu_start(&vm.cpus[i]);
}

static void end_it(struct pair *p, enum end how)
{
	int fd = ferry_session_fd(p->source);

	switch (how) {
	case END_ABORT:
		tap_check(!ferry_session_abort(p->source), "abort is accepted");
		break;
	case END_OPERATOR:
		tap_check(!ferry_device_abort(p->dev, ferry_session_id(p->source)),
			  "the operator's abort is accepted");
		break;
	case END_PEER:
		ferry_session_close(p->sink);
		p->sink = NULL;
		failed_with(fd, EPIPE, "peer", "the sink was closed");
		break;
	case END_SLOT:
		failed_with(fd, ENXIO, "of slot 0x1, which no slot map covers", "an entry of an unknown slot");
		break;
	default:
		tap_check(!pair_switch(p, "x", 1), "moved");
	}
}

/* The vCPUs stand still; their last entries are in the rings when the end comes. */
static void quiet(enum end how)
{
	struct pair p;
	unsigned int i;

	begin(&p, false);
	for (i = 0; i < vm.nr_cpus; i++)
		while (!vm.cpus[i].exited)
			poll_pause();
	vm_stop_all(&vm);
	if (how == END_SLOT) {
		/*
		 * The session ends and drains as soon as it sees slot 1: that is the vCPU's last
		 * write, so that none comes behind the drain.
		 */
		vm_slot(&vm, 1, BEYOND, ROOM, MIB);
		cpu_program(&vm.cpus[0], BEYOND - 9 * PAGE, 10, 1);
	} else {
		cpu_program(&vm.cpus[0], 5 * MIB, 100, 1);
	}
	cpu_run_to_end(&vm.cpus[0]);
	end_it(&p, how);
	vm_take_back(&vm, names[how]);
	vm_check_reaps_on(&vm, names[how]);
	if (how == END_SLOT)
		vm_slot(&vm, 1, BEYOND, ROOM, 0);
	pair_close(&p);
	munmap(p.to, BYTES);
	vm_reap_all(&vm);
}

/* The vCPUs run, into full rings, when the end comes: they go on by themselves. */
static void busy(enum end how)
{
	unsigned long reaps[VM_MAX_CPUS];
	unsigned int i, on = 0;
	struct pair p;

	begin(&p, true);
	end_it(&p, how);
	for (i = 0; i < vm.nr_cpus; i++)
		reaps[i] = vm.cpus[i].reaps;
	for (i = 0; i < vm.nr_cpus; i++)
		on += poll_until(__atomic_load_n(&vm.cpus[i].reaps, __ATOMIC_RELAXED) >= reaps[i] + 2 ||
				 vm.cpus[i].exited);
	vm_stop_all(&vm);
	tap_check(on == vm.nr_cpus, "%s with vCPUs that run: they go on, reaping themselves", names[how]);
	for (i = 0; i < vm.nr_cpus; i++)
		tap_check(!ferry_ring_take_back(vm.cpus[i].ring), "ring %u is handed back", i);
	vm_reap_all(&vm);
	vm_check_reaps_on(&vm, names[how]);
	pair_close(&p);
	munmap(p.to, BYTES);
	vm_reap_all(&vm);
}

/*
 * Closing the session is an end as well. Nobody can ask for the index any more;
 * but the rings are drained, and the index is where the entries begin.
 */
static void closed(void)
{
	struct kvm_dirty_gfn *ring = mmap(NULL, vm.ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
					  vm.cpus[0].fd, KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
	size_t i, n = vm.ring_bytes / sizeof(*ring), dirty = 0, marked = 0;
	uint32_t index = ferry_ring_fetch_index(vm.cpus[0].ring);
	struct kvm_ferry_slot s = { .size = sizeof(s), .length = ROOM };
	struct kvm_ferry_ring_add a = { .size = sizeof(a), .length = vm.ring_bytes,
					.addr = (uintptr_t)ring, .fetch_index = index };
	struct pair p = { .bytes = BYTES, .channels = 1, .transport = KVM_FERRY_TRANSPORT_TCP };

	p.from = vm.mem;
	p.to = pair_memory(BYTES, false);
	pair_open(&p, vm.fd);
	taken(ferry_session_fd(p.source), KVM_FERRY_SLOT_ADD, &s, "a slot");
	taken(ferry_session_fd(p.source), KVM_FERRY_RING_ADD, &a, "a ring, by hand");
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	cpu_program(&vm.cpus[0], 3 * MIB, 120, 1);
	cpu_run_to_end(&vm.cpus[0]);
	ferry_session_close(p.source);
	p.source = NULL;
	for (i = 0; i < n; i++) {
		dirty += !!(ring[i].flags & KVM_DIRTY_GFN_F_DIRTY);
		marked += !!(ring[i].flags & KVM_DIRTY_GFN_F_RESET);
	}
	tap_check(!dirty && !marked && !ferry_rings_reset(vm.fd),
		  "a session that was closed left %zu entries and %zu marks", dirty, marked);
	failed_with(ferry_session_fd(p.sink), EPIPE, "peer", "its sink");
	pair_close(&p);
	munmap(p.to, BYTES);
	munmap(ring, vm.ring_bytes);
}

int main(void)
{
	enum end how;

	vm_open(&vm, BYTES, ROOM, VM_SMALL_RING);
	vm_add_cpu(&vm);
	vm_add_cpu(&vm);
	for (how = END_ABORT; how < NR_ENDS; how++)
		quiet(how);
	for (how = END_ABORT; how <= END_PEER; how++)
		busy(how);
	closed();
	vm_close(&vm);
	return tap_done();
}
