// SPDX-License-Identifier: GPL-2.0
/* A VM whose guest writes to one page after the other, and halts. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "bench.h"

#define CODE_AT	0x1000

/* Flat 32-bit: edi where, edx how far apart, ecx how many, eax what to add. */
static const uint8_t code[] = {
	0x01, 0x07,	/* next: add [edi], eax */
	0x01, 0xd7,	/* add edi, edx */
	0x49,		/* dec ecx */
	0x75, 0xf9,	/* jnz next */
	0xf4,		/* hlt */
};

static void set_flat(int vcpu)
{
	struct kvm_segment data = { .limit = 0xffffffff, .selector = 0x10, .type = 3, .present = 1,
				    .db = 1, .s = 1, .g = 1 };
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		die("KVM_GET_SREGS: %s", strerror(errno));
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cs = data;
	sregs.cs.selector = 0x8;
	sregs.cs.type = 0xb;
	sregs.cr0 |= 1;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs))
		die("KVM_SET_SREGS: %s", strerror(errno));
}

void vm_create(struct vm *vm, void *mem, size_t bytes)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { RING_BYTES } };
	struct kvm_userspace_memory_region slot = {
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)mem,
		.flags = KVM_MEM_LOG_DIRTY_PAGES,
	};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	vm->mem = mem;
	vm->bytes = bytes;
	vm->fetch = 0;
	vm->fd = ioctl(kvm, KVM_CREATE_VM, 0);
	if (kvm < 0 || vm->fd < 0)
		die("no VM: %s", strerror(errno));
	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap))
		die("no dirty ring of %u entries: %s", RING_ENTRIES, strerror(errno));
	ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000);
	memcpy(vm->mem + CODE_AT, code, sizeof(code));
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot))
		die("no memslot: %s", strerror(errno));
	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	vm->run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		       MAP_SHARED, vm->vcpu, 0);
	vm->gfns = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu,
			KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
	if (vm->vcpu < 0 || vm->run == MAP_FAILED || vm->gfns == MAP_FAILED)
		die("no vCPU: %s", strerror(errno));
	set_flat(vm->vcpu);
}

void vm_set_writes(struct vm *vm, uint64_t first, uint64_t count, uint64_t stride)
{
	struct kvm_regs regs = {
		.rip = CODE_AT, .rflags = 2, .rax = 1,
		.rdi = first * PAGE, .rcx = count, .rdx = stride * PAGE,
	};

	if (first < FIRST_PAGE || !count || (first + (count - 1) * stride) * PAGE >= vm->bytes)
		die("the guest has no such pages");
	if (ioctl(vm->vcpu, KVM_SET_REGS, &regs))
		die("KVM_SET_REGS: %s", strerror(errno));
}

int vm_run(struct vm *vm)
{
	while (ioctl(vm->vcpu, KVM_RUN, 0))
		if (errno != EINTR && errno != EAGAIN)
			die("KVM_RUN: %s", strerror(errno));
	return vm->run->exit_reason == KVM_EXIT_HLT ? 0 : vm->run->exit_reason;
}

/* The guest should only ever halt: tell where it was instead. */
void vm_tell_exit(struct vm *vm, int reason)
{
	struct kvm_regs regs = { 0 };

	ioctl(vm->vcpu, KVM_GET_REGS, &regs);
	die("the guest stopped with exit reason %d at rip 0x%llx, edi 0x%llx, ecx 0x%llx, eax 0x%llx, edx 0x%llx, rflags 0x%llx, its code %s",
	    reason, regs.rip, regs.rdi, regs.rcx, regs.rax, regs.rdx, regs.rflags,
	    memcmp(vm->mem + CODE_AT, code, sizeof(code)) ? "has changed" : "is as it was");
}

void vm_dirty(struct vm *vm, uint64_t first, uint64_t count, uint64_t stride)
{
	int reason;

	vm_set_writes(vm, first, count, stride);
	reason = vm_run(vm);
	if (reason)
		vm_tell_exit(vm, reason);
}

uint32_t vm_harvest(struct vm *vm, uint64_t *map)
{
	uint32_t taken = 0;

	for (;;) {
		struct kvm_dirty_gfn *e = &vm->gfns[vm->fetch % RING_ENTRIES];

		if (!(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
			return taken;
		if (map && e->offset < vm->bytes / PAGE)
			map[e->offset / 64] |= 1ULL << e->offset % 64;
		__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		vm->fetch++;
		taken++;
	}
}

void vm_reset(struct vm *vm, uint32_t expect)
{
	int ret = ioctl(vm->fd, KVM_RESET_DIRTY_RINGS, 0);

	if (ret < 0 || (uint32_t)ret != expect)
		die("KVM_RESET_DIRTY_RINGS: %d of %u entries", ret, expect);
}
