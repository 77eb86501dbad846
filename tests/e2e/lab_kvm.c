// SPDX-License-Identifier: GPL-2.0
/*
 * lab: module=no timeout=60
 *
 * /dev/kvm in an emulated host is real: a VM with dirty rings runs real-mode
 * code, the pages that it writes come out of the ring, and come out again after
 * a reset. Everything else in tests/e2e leans on this.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEM_SIZE	(1 << 20)
#define CODE_AT		0x1000
#define FIRST_PAGE	2
#define NR_PAGES	8
#define RING_BYTES	(4096 * sizeof(struct kvm_dirty_gfn))

static int number, failed;

static void check(int good, const char *text)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++number, text);
	if (!good) {
		failed = 1;
		printf("# errno %d (%s)\n", errno, strerror(errno));
	}
}

/* mov ax,0x200; next: mov ds,ax; inc word [0]; add ax,0x100; cmp ax,0xa00; jne next; hlt */
static const uint8_t code[] = {
	0xb8, 0x00, 0x02,
	0x8e, 0xd8,
	0xff, 0x06, 0x00, 0x00,
	0x05, 0x00, 0x01,
	0x3d, 0x00, 0x0a,
	0x75, 0xf2,
	0xf4,
};

static int run_guest(int vcpu, struct kvm_run *run)
{
	struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2 };
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs))
		return -1;
	if (ioctl(vcpu, KVM_RUN, 0))
		return -1;
	return run->exit_reason == KVM_EXIT_HLT ? 0 : -1;
}

/* Take all entries; returns how many of the pages that the guest writes are among them. */
static int harvest(struct kvm_dirty_gfn *ring, unsigned int *index)
{
	uint32_t seen = 0;

	while (__atomic_load_n(&ring[*index % 4096].flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY) {
		struct kvm_dirty_gfn *e = &ring[*index % 4096];

		if (e->offset >= FIRST_PAGE && e->offset < FIRST_PAGE + NR_PAGES)
			seen |= 1u << e->offset;
		__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		(*index)++;
	}
	return __builtin_popcount(seen);
}

int main(void)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { RING_BYTES } };
	struct kvm_userspace_memory_region slot = { .memory_size = MEM_SIZE };
	struct kvm_dirty_gfn *ring;
	struct kvm_run *run;
	unsigned int index = 0;
	int kvm, vm, vcpu;
	uint8_t *mem;

	printf("1..9\n");
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	check(kvm >= 0, "/dev/kvm opens");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	check(vm >= 0, "a VM can be created");
	check(ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING) >= (int)RING_BYTES,
	      "KVM has dirty rings of 4096 entries");
	check(ioctl(vm, KVM_ENABLE_CAP, &cap) == 0, "dirty rings can be enabled");

	ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(mem + CODE_AT, code, sizeof(code));
	slot.userspace_addr = (uintptr_t)mem;
	slot.flags = KVM_MEM_LOG_DIRTY_PAGES;
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0, "a logged memslot can be set");

	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu, 0);
	ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu,
		    KVM_DIRTY_LOG_PAGE_OFFSET * 4096);
	if (vcpu < 0 || run == MAP_FAILED || ring == MAP_FAILED) {
		check(0, "a vCPU and its ring can be mapped");
		return 1;
	}
	check(run_guest(vcpu, run) == 0 && mem[FIRST_PAGE * 4096] == 1, "the vCPU runs to its HLT");
	check(harvest(ring, &index) == NR_PAGES, "every page that it wrote is in the ring");
	check(ioctl(vm, KVM_RESET_DIRTY_RINGS, 0) == (int)index, "a reset takes every entry back");
	check(run_guest(vcpu, run) == 0 && harvest(ring, &index) == NR_PAGES,
	      "writes after the reset are in the ring again");
	return failed;
}
