// SPDX-License-Identifier: GPL-2.0
/* A small VM with dirty rings (no test itself). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring_vm.h"
#include "tap.h"

#ifndef KVM_DIRTY_LOG_PAGE_OFFSET
#define KVM_DIRTY_LOG_PAGE_OFFSET 64
#endif
#define WAIT_STEP_US	1000
#define WAIT_STEPS	30000

/*
 * next_round: inc ebx; mov eax, esi
 * next_page:  mov [eax], ebx; add eax, edx; cmp eax, edi; jb next_page
 *             cmp ebx, ecx; jne next_round; hlt
 */
static const uint8_t code[] = {
	0x43, 0x89, 0xf0,
	0x89, 0x18, 0x01, 0xd0, 0x39, 0xf8, 0x72, 0xf8,
	0x39, 0xcb, 0x75, 0xf1, 0xf4,
};

static void on_signal(int number)
{
	(void)number;
}

void vm_slot(struct vm *vm, uint32_t slot, uint64_t gpa, size_t offset, size_t bytes)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.flags = KVM_MEM_LOG_DIRTY_PAGES,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)vm->mem + offset,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r))
		tap_bail("memslot %u: %s", slot, strerror(errno));
}

void vm_open(struct vm *vm, size_t bytes, size_t slot_bytes, unsigned int ring_entries)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING };
	struct sigaction action = { .sa_handler = on_signal };

	*vm = (struct vm){ .bytes = bytes, .reap_lock = PTHREAD_MUTEX_INITIALIZER };
	vm->ring_bytes = ring_entries * sizeof(struct kvm_dirty_gfn);
	cap.args[0] = vm->ring_bytes;
	sigaction(SIGUSR1, &action, NULL);
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	while (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) && errno == EINVAL && vm->ring_bytes < MIB) {
		vm->ring_bytes *= 2;
		cap.args[0] = vm->ring_bytes;
	}
	if (vm->kvm < 0 || vm->fd < 0 || vm->ring_bytes >= MIB)
		tap_bail("no VM with dirty rings: %s", strerror(errno));
	ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000);
	vm->mem = pair_memory(bytes, false);
	memcpy(vm->mem + VM_CODE_AT, code, sizeof(code));
	vm_slot(vm, 0, 0, 0, slot_bytes);
}

struct vm_cpu *vm_add_cpu(struct vm *vm)
{
	struct vm_cpu *cpu = &vm->cpus[vm->nr_cpus];

	*cpu = (struct vm_cpu){ .vm = vm, .id = vm->nr_cpus };
	cpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, cpu->id);
	if (cpu->fd < 0)
		tap_bail("vCPU %u: %s", cpu->id, strerror(errno));
	cpu->run = mmap(NULL, ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
			MAP_SHARED, cpu->fd, 0);
	if (cpu->run == MAP_FAILED ||
	    ferry_ring_map(&cpu->ring, cpu->fd, cpu->id, vm->ring_bytes))
		tap_bail("vCPU %u cannot be mapped: %s", cpu->id, ferry_error());
	vm->nr_cpus++;
	return cpu;
}

void cpu_program(struct vm_cpu *cpu, uint32_t gpa, uint32_t nr_pages, uint32_t rounds)
{
	struct kvm_segment flat = { .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1,
				    .db = 1, .s = 1, .g = 1 };
	struct kvm_regs regs = { .rip = VM_CODE_AT, .rflags = 2, .rsi = gpa, .rdx = PAGE,
				 .rdi = gpa + nr_pages * PAGE, .rcx = rounds };
	struct kvm_sregs sregs;

	if (ioctl(cpu->fd, KVM_GET_SREGS, &sregs))
		tap_bail("KVM_GET_SREGS: %s", strerror(errno));
	sregs.cs = flat;
	flat.type = 3;
	flat.selector = 16;
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = flat;
	sregs.cr0 |= 1;
	if (ioctl(cpu->fd, KVM_SET_SREGS, &sregs) || ioctl(cpu->fd, KVM_SET_REGS, &regs))
		tap_bail("vCPU %u cannot be set up: %s", cpu->id, strerror(errno));
	cpu->halted = false;
}

/* The VMM's own consumer of the ring, while no session has it. */
static int reap(struct vm_cpu *cpu)
{
	long ret;

	pthread_mutex_lock(&cpu->vm->reap_lock);
	ret = ferry_ring_take_back(cpu->ring);
	if (!ret)
		ret = ferry_ring_reap(cpu->ring, NULL, NULL);
	if (ret >= 0)
		ret = ferry_rings_reset(cpu->vm->fd);
	pthread_mutex_unlock(&cpu->vm->reap_lock);
	cpu->reaps++;
	return ret < 0 ? ret : 0;
}

/* What an exit asks for. 0: KVM_RUN again; 1: the end; or a negative errno. */
static int handle_exit(struct vm_cpu *cpu)
{
	int action;

	if (cpu->run->exit_reason == KVM_EXIT_HLT) {
		cpu->halted = true;
		return 1;
	}
	action = ferry_vcpu_exit(cpu->ring, cpu->run->exit_reason);
	switch (action) {
	case FERRY_VCPU_REENTER:
		cpu->fulls++;
		return 0;
	case FERRY_VCPU_SIGNAL:
		return 0;
	case FERRY_VCPU_REAP:
		return reap(cpu);
	case FERRY_VCPU_OTHER:
		if (cpu->vm->on_exit)
			return cpu->vm->on_exit(cpu);
		tap_note("vCPU %u left for reason %u", cpu->id, cpu->run->exit_reason);
		return -ENOTRECOVERABLE;
	default:
		return action;
	}
}

static void *cpu_loop(void *arg)
{
	struct vm_cpu *cpu = arg;
	int ret = 0;

	while (!ret && !cpu->stop) {
		if (!ioctl(cpu->fd, KVM_RUN, 0))
			ret = handle_exit(cpu);
		else if (errno != EINTR && errno != EAGAIN)
			ret = -errno;
	}
	if (ret < 0)
		cpu->error = ret;
	__atomic_store_n(&cpu->exited, true, __ATOMIC_RELEASE);
	return NULL;
}

void cpu_start(struct vm_cpu *cpu)
{
	cpu->stop = false;
	cpu->exited = false;
	cpu->run->immediate_exit = 0;
	cpu->started = true;
	if (pthread_create(&cpu->thread, NULL, cpu_loop, cpu))
		tap_bail("no thread for vCPU %u", cpu->id);
}

static void await_exit(struct vm_cpu *cpu, bool kick)
{
	int i;

	/* A signal between two system calls wakes nobody: send it again. */
	for (i = 0; i < WAIT_STEPS && !__atomic_load_n(&cpu->exited, __ATOMIC_ACQUIRE); i++) {
		if (kick && i % 8 == 0)
			pthread_kill(cpu->thread, SIGUSR1);
		usleep(WAIT_STEP_US);
	}
	if (!cpu->exited)
		tap_bail("vCPU %u does not leave: exit reason %u, %lu full rings", cpu->id,
			 cpu->run->exit_reason, cpu->fulls);
	pthread_join(cpu->thread, NULL);
	cpu->started = false;
	if (cpu->error)
		tap_bail("vCPU %u failed: %s", cpu->id, strerror(-cpu->error));
}

void cpu_stop(struct vm_cpu *cpu)
{
	if (!cpu->started)
		return;
	cpu->stop = true;
	cpu->run->immediate_exit = 1;
	await_exit(cpu, true);
}

void cpu_run_to_end(struct vm_cpu *cpu)
{
	cpu_start(cpu);
	await_exit(cpu, false);
}

void vm_start_all(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->nr_cpus; i++)
		cpu_start(&vm->cpus[i]);
}

void vm_stop_all(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->nr_cpus; i++)
		cpu_stop(&vm->cpus[i]);
}

void vm_hand_over(struct vm *vm, struct ferry_session *source, size_t slot_bytes)
{
	unsigned int i;

	if (ferry_session_add_slot(source, 0, 0, 0, slot_bytes))
		tap_bail("slot: %s", ferry_session_error(source));
	for (i = 0; i < vm->nr_cpus; i++)
		if (ferry_ring_hand_over(vm->cpus[i].ring, source))
			tap_bail("ring: %s", ferry_session_error(source));
}

void vm_reap_all(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->nr_cpus; i++)
		ferry_ring_reap(vm->cpus[i].ring, NULL, NULL);
	ferry_rings_reset(vm->fd);
}

/* No vCPU runs: whatever is in a ring was left there by the session. */
void vm_take_back(struct vm *vm, const char *when)
{
	long left = 0, ret = 0;
	unsigned int i;

	for (i = 0; i < vm->nr_cpus && !ret; i++) {
		ret = ferry_ring_take_back(vm->cpus[i].ring);
		if (!ret)
			left += ferry_ring_reap(vm->cpus[i].ring, NULL, NULL);
	}
	tap_check(!ret && !left && !ferry_rings_reset(vm->fd),
		  "%s: the rings are handed back, drained and reset (%ld, %ld left)", when, ret, left);
}

struct seen {
	uint64_t first;
	uint32_t pages;
	uint32_t bits;
};

static void see(void *arg, uint32_t slot, uint64_t offset)
{
	struct seen *s = arg;

	if (!slot && offset >= s->first && offset < s->first + s->pages)
		s->bits |= 1u << (offset - s->first);
}

void vm_check_reaps_on(struct vm *vm, const char *when)
{
	unsigned int i, good = 0;

	for (i = 0; i < vm->nr_cpus; i++) {
		struct vm_cpu *cpu = &vm->cpus[i];
		struct seen s = { .first = MIB / PAGE + 64 * i, .pages = 8 };
		long n;

		cpu_program(cpu, MIB + 64 * PAGE * i, s.pages, 1);
		cpu_run_to_end(cpu);
		n = ferry_ring_reap(cpu->ring, see, &s);
		good += n >= s.pages && s.bits == 0xff && ferry_rings_reset(vm->fd) == n;
	}
	tap_check(good == vm->nr_cpus, "%s: the VMM reaps on where the session stopped (%u of %u rings)",
		  when, good, vm->nr_cpus);
}

void vm_close(struct vm *vm)
{
	unsigned int i;

	vm_stop_all(vm);
	for (i = 0; i < vm->nr_cpus; i++) {
		struct vm_cpu *cpu = &vm->cpus[i];

		ferry_ring_free(cpu->ring);
		munmap(cpu->run, ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
		close(cpu->fd);
	}
	close(vm->fd);
	close(vm->kvm);
	munmap(vm->mem, vm->bytes);
}
