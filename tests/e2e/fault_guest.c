// SPDX-License-Identifier: GPL-2.0
/* The VM of a guest that knows what its memory must hold (no test itself). */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ioctl.h>

#include "bad_call.h"
#include "fault_guest.h"
#include "tap.h"

#define RING_ENTRIES 4096

extern const uint8_t guest_code[], guest_code_end[];

static void fill_page(struct guest *g, size_t gpa, uint32_t word)
{
	uint32_t *at = (uint32_t *)(g->vm.mem + gpa);
	size_t i;

	for (i = 0; i < PAGE / sizeof(*at); i++)
		at[i] = word;
}

static int on_exit_of(struct vm_cpu *cpu)
{
	struct guest *g = (struct guest *)cpu->vm;
	const struct kvm_run *run = cpu->run;
	struct kvm_regs regs;

	if (run->exit_reason == KVM_EXIT_IO && run->io.port == GUEST_BEAT) {
		__atomic_add_fetch(&g->beats, 1, __ATOMIC_RELAXED);
		return 0;
	}
	if (run->exit_reason == KVM_EXIT_IO && run->io.port == GUEST_UNWELL) {
		if (!ioctl(cpu->fd, KVM_GET_REGS, &regs) && regs.rdi - 4 < GUEST_BYTES)
			tap_note("guest: 0x%x is at 0x%llx, 0x%llx was written (round %llu)",
				 *(uint32_t *)(g->vm.mem + regs.rdi - 4), regs.rdi - 4, regs.rax, regs.rbx);
		__atomic_store_n(&g->unwell, true, __ATOMIC_RELEASE);
		return 1;
	}
	tap_note("guest: left for reason %u", run->exit_reason);
	__atomic_store_n(&g->unwell, true, __ATOMIC_RELEASE);
	return 1;
}

void guest_open(struct guest *g, bool blank)
{
	struct kvm_regs regs = { .rip = GUEST_CODE, .rflags = 2, .rsi = GUEST_HOT, .rdx = GUEST_COLD };
	size_t gpa;

	vm_open(&g->vm, GUEST_BYTES, GUEST_BYTES, RING_ENTRIES);
	/* A huge page that is in use is not swapped out as a whole, nor in pieces. */
	madvise(g->vm.mem, GUEST_BYTES, MADV_NOHUGEPAGE);
	g->vm.on_exit = on_exit_of;
	g->cpu = vm_add_cpu(&g->vm);
	if (blank)
		return;
	memcpy(g->vm.mem + GUEST_CODE, guest_code, guest_code_end - guest_code);
	for (gpa = GUEST_HOT; gpa < GUEST_HOT_END; gpa += PAGE)
		fill_page(g, gpa, gpa / PAGE);
	for (gpa = GUEST_COLD; gpa < GUEST_COLD_END; gpa += PAGE)
		fill_page(g, gpa, GUEST_COLD_TAG + gpa / PAGE);
	cpu_program(g->cpu, 0, 0, 0);	/* for its segments */
	if (ioctl(g->cpu->fd, KVM_SET_REGS, &regs))
		tap_bail("KVM_SET_REGS: %s", strerror(errno));
}

void guest_run(struct guest *g)
{
	cpu_start(g->cpu);
}

void guest_pause(struct guest *g)
{
	if (!g->cpu->started)
		return;
	cpu_stop(g->cpu);
	/* An "out" that it left for is over when it has been in there once more. */
	g->cpu->run->immediate_exit = 1;
	ioctl(g->cpu->fd, KVM_RUN, 0);
}

bool guest_runs(const struct guest *g)
{
	return g->cpu->started;
}

void guest_save(struct guest *g, struct guest_state *state)
{
	if (ioctl(g->cpu->fd, KVM_GET_REGS, &state->regs) ||
	    ioctl(g->cpu->fd, KVM_GET_SREGS, &state->sregs))
		tap_bail("the vCPU cannot be saved: %s", strerror(errno));
}

void guest_load(struct guest *g, const struct guest_state *state)
{
	if (ioctl(g->cpu->fd, KVM_SET_SREGS, &state->sregs) ||
	    ioctl(g->cpu->fd, KVM_SET_REGS, &state->regs))
		tap_bail("the vCPU cannot be loaded: %s", strerror(errno));
}

void guest_log_off(struct guest *g)
{
	struct kvm_userspace_memory_region r = {
		.memory_size = GUEST_BYTES,
		.userspace_addr = (uintptr_t)g->vm.mem,
	};

	if (ioctl(g->vm.fd, KVM_SET_USER_MEMORY_REGION, &r))
		tap_bail("logging cannot be switched off: %s", strerror(errno));
}

bool guest_goes_on(struct guest *g, unsigned int rounds, unsigned int limit_ms)
{
	unsigned long until = __atomic_load_n(&g->beats, __ATOMIC_RELAXED) + rounds;
	uint64_t end = now_ms() + limit_ms;

	while (!__atomic_load_n(&g->unwell, __ATOMIC_ACQUIRE) && now_ms() < end) {
		if (__atomic_load_n(&g->beats, __ATOMIC_RELAXED) >= until)
			return true;
		poll_pause();
	}
	return false;
}
