// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtual machine: guest memory, memslots, interrupt controllers, timer,
 * vCPU objects, and the dirty rings while no migration has them.
 *
 * The dirty ring is enabled before the first vCPU, because KVM takes it only
 * then; memslots are logged only while a migration is on, because logging costs
 * a fault for each page that the guest writes.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "ferry.h"
#include "minivm.h"

#define HUGE_PAGE	(2ULL << 20)
/* Intel's KVM needs four pages of address space that the guest does not use. */
#define TSS_ADDR	0xfffbd000UL
#define IDENTITY_MAP	0xfffbc000UL

int mv_fail(struct mv_error *e, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, args);
	va_end(args);
	e->code = code;
	return -code;
}

uint64_t mv_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static uint8_t *map_memory(const struct mv_options *opt, const char *name, uint64_t size)
{
	int prot = PROT_READ | PROT_WRITE;
	int fd = -1;
	uint8_t *p;

	if (opt->memory_type != MV_MEMORY_ANON) {
		bool huge = opt->memory_type == MV_MEMORY_HUGETLB;

		fd = memfd_create(name, MFD_CLOEXEC | (huge ? MFD_HUGETLB : 0));
		if (fd < 0)
			err(1, "cannot create a memfd for guest memory");
		if (ftruncate(fd, size))
			err(1, "cannot size guest memory to %llu MiB",
			    (unsigned long long)size >> 20);
	}
	/*
	 * KVM uses a huge page only where host and guest address agree modulo its
	 * size, so reserve address space that leaves room to align.
	 */
	p = mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (p == MAP_FAILED)
		err(1, "no address space for guest memory");
	p = (uint8_t *)(((uintptr_t)p + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	p = mmap(p, size, prot, MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE :
		 MAP_SHARED), fd, 0);
	if (p == MAP_FAILED && opt->memory_type == MV_MEMORY_HUGETLB)
		err(1, "too few huge pages: write at least %llu to /proc/sys/vm/nr_hugepages",
		    (unsigned long long)(size / HUGE_PAGE));
	if (p == MAP_FAILED)
		err(1, "cannot map guest memory");
	if (fd >= 0)
		close(fd);
	/* Only a wish: the kernel may have been built without huge pages. */
	if (opt->memory_type == MV_MEMORY_ANON)
		madvise(p, size, MADV_HUGEPAGE);
	return p;
}

static int set_memslot(struct vm *vm, unsigned int i, uint32_t flags)
{
	struct mv_region *r = &vm->regions[i];
	struct kvm_userspace_memory_region slot = {
		.slot = i,
		.flags = flags,
		.guest_phys_addr = r->gpa,
		.memory_size = r->size,
		.userspace_addr = (uintptr_t)r->hva,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) ? -errno : 0;
}

static void add_region(struct vm *vm, const char *name, uint64_t gpa, uint64_t size)
{
	struct mv_region *r = &vm->regions[vm->nr_regions];

	r->name = name;
	r->gpa = gpa;
	r->size = size;
	r->hva = map_memory(vm->opt, name, size);
	vm->nr_regions++;
}

static void enable_ring(struct vm *vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING_ACQ_REL };
	int max = ioctl(vm->fd, KVM_CHECK_EXTENSION, cap.cap);

	if (max <= 0) {
		cap.cap = KVM_CAP_DIRTY_LOG_RING;
		max = ioctl(vm->fd, KVM_CHECK_EXTENSION, cap.cap);
	}
	if (max <= 0)
		errx(1, "this KVM has no dirty ring: it needs Linux 5.11 or later");
	vm->ring_bytes = vm->opt->ring_entries * sizeof(struct kvm_dirty_gfn);
	if (vm->ring_bytes > (unsigned int)max)
		errx(1, "--ring-entries may be at most %zu here",
		     max / sizeof(struct kvm_dirty_gfn));
	cap.args[0] = vm->ring_bytes;
	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap))
		err(1, "KVM refuses a dirty ring of %u entries", vm->opt->ring_entries);
}

static void create_vcpu(struct vm *vm, unsigned int i)
{
	struct vcpu *v = &vm->vcpus[i];

	v->vm = vm;
	v->index = i;
	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, i);
	if (v->fd < 0)
		err(1, "cannot create vCPU %u", i);
	v->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED)
		err(1, "cannot map vCPU %u", i);
	if (ferry_ring_map(&v->ring, v->fd, i, vm->ring_bytes))
		errx(1, "cannot map the dirty ring of vCPU %u: %s", i, ferry_error());
	cpuid_setup(vm, v);
}

/* All that is KVM's, around memory that is there. */
static void create_machine(struct vm *vm)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	unsigned long identity = IDENTITY_MAP;
	unsigned int i;
	int ret;

	vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		err(1, "cannot create a VM");
	ret = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	vm->xsave_size = ret > (int)sizeof(struct kvm_xsave) ? ret : (int)sizeof(struct kvm_xsave);

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) ||
	    ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR))
		err(1, "cannot place KVM's own pages");
	enable_ring(vm);
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0))
		err(1, "cannot create the interrupt controllers");
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit))
		err(1, "cannot create the timer");
	for (i = 0; i < vm->nr_regions; i++) {
		ret = set_memslot(vm, i, 0);
		if (ret)
			errx(1, "KVM refuses guest memory: %s", strerror(-ret));
	}
	for (i = 0; i < vm->opt->cpus; i++)
		create_vcpu(vm, i);
	vm->nr_vcpus = vm->opt->cpus;
}

static void destroy_machine(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		ferry_ring_free(vm->vcpus[i].ring);
		munmap(vm->vcpus[i].run, vm->run_size);
		close(vm->vcpus[i].fd);
	}
	memset(vm->vcpus, 0, sizeof(vm->vcpus));
	close(vm->fd);
}

void vm_create(struct vm *vm, const struct mv_options *opt)
{
	uint64_t low = opt->memory < MINIVM_LOW_MAX ? opt->memory : MINIVM_LOW_MAX;
	int ret;

	memset(vm, 0, sizeof(*vm));
	vm->opt = opt;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->ring_lock, NULL);
	pthread_cond_init(&vm->cond, NULL);
	vm->hold = true;
	vm->run_state = opt->incoming ? MV_INCOMING : MV_PAUSED;
	vm->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->wake_fd < 0)
		err(1, "eventfd");

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0)
		err(1, "cannot open /dev/kvm: load kvm-intel or kvm-amd");
	if (ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		errx(1, "/dev/kvm speaks another version of its interface");
	ret = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ret < 0)
		err(1, "KVM_GET_VCPU_MMAP_SIZE");
	vm->run_size = ret;
	add_region(vm, "ram", 0, low);
	if (opt->memory > low)
		add_region(vm, "ram-high", MINIVM_HIGH_BASE, opt->memory - low);
	create_machine(vm);
}

/*
 * Another machine around the same memory, for a sink that has loaded a state in
 * vain: not all that a state sets in KVM is unset by loading the next one.
 */
void vm_renew(struct vm *vm)
{
	vcpus_join(vm);
	destroy_machine(vm);
	vm->quit = false;
	create_machine(vm);
	vcpus_start(vm);
}

void vm_destroy(struct vm *vm)
{
	unsigned int i;

	destroy_machine(vm);
	close(vm->kvm_fd);
	for (i = 0; i < vm->nr_regions; i++)
		munmap(vm->regions[i].hva, vm->regions[i].size);
	close(vm->wake_fd);
}

/* Where guest-physical [gpa, gpa + len) lies here; NULL unless all of it is RAM. */
void *vm_gpa(struct vm *vm, uint64_t gpa, uint64_t len)
{
	unsigned int i;

	for (i = 0; i < vm->nr_regions; i++) {
		struct mv_region *r = &vm->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa <= r->size && len <= r->size - (gpa - r->gpa))
			return r->hva + (gpa - r->gpa);
	}
	return NULL;
}

int vm_log_dirty(struct vm *vm, bool on, struct mv_error *e)
{
	unsigned int i;
	int ret;

	for (i = 0; i < vm->nr_regions; i++) {
		ret = set_memslot(vm, i, on ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		if (ret)
			return mv_fail(e, -ret, "KVM cannot switch dirty logging of %s %s",
				       vm->regions[i].name, on ? "on" : "off");
	}
	return 0;
}

/*
 * Empties the rings and forgets what they held: for the time without a session,
 * when a ring that fills up would stop its vCPU and nobody wants the log. Takes
 * the rings back first from a session that has ended. -EBUSY: one is under way.
 */
int vm_reap_rings(struct vm *vm)
{
	long total = 0;
	unsigned int i;
	int ret = 0;

	pthread_mutex_lock(&vm->ring_lock);
	for (i = 0; i < vm->nr_vcpus && !ret; i++)
		ret = ferry_ring_take_back(vm->vcpus[i].ring);
	for (i = 0; i < vm->nr_vcpus && !ret; i++) {
		long n = ferry_ring_reap(vm->vcpus[i].ring, NULL, NULL);

		if (n < 0)
			ret = n;
		else
			total += n;
	}
	if (!ret && total) {
		long n = ferry_rings_reset(vm->fd);

		if (n < 0)
			ret = n;
	}
	pthread_mutex_unlock(&vm->ring_lock);
	return ret;
}

void vm_irq(struct vm *vm, unsigned int irq, bool level)
{
	struct kvm_irq_level line = { .irq = irq, .level = level };

	if (ioctl(vm->fd, KVM_IRQ_LINE, &line))
		warn("cannot set interrupt line %u", irq);
}

void vm_wake(struct vm *vm)
{
	eventfd_t one = 1;

	/* It can only fail when the counter is full, and then a wake-up is pending. */
	if (write(vm->wake_fd, &one, sizeof(one)) < 0)
		return;
}
