// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=ring_vm.c,bad_call.c,pair.c,tap.c timeout=60 leak=4096
 *
 * VM fds, rings and slot maps that cannot be right: each is refused with its
 * errno and a sentence, and nothing is lost of the guest.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bad_call.h"
#include "ring_vm.h"
#include "tap.h"

#define BYTES	(4 * MIB)
#define ENTRIES	1024
#define RING_AT	(KVM_DIRTY_LOG_PAGE_OFFSET * PAGE)

static struct vm vm, other;
static int dev;

static struct kvm_ferry_create create_arg(int vm_fd)
{
	return (struct kvm_ferry_create){ .size = sizeof(struct kvm_ferry_create), .vm_fd = vm_fd };
}

/* A source of the VM, with its memory as region 0. */
static int new_source(int vm_fd)
{
	struct kvm_ferry_region_add r = { .size = sizeof(r), .addr = (uintptr_t)vm.mem, .length = BYTES,
					  .name = "ram" };
	struct kvm_ferry_create c = create_arg(vm_fd);

	if (vm_fd < 0)
		c.dirty_source = KVM_FERRY_DIRTY_REPORT;
	if (ioctl(dev, KVM_FERRY_CREATE, &c) || ioctl(c.out_fd, KVM_FERRY_REGION_ADD, &r))
		tap_bail("no session: %s", strerror(errno));
	return c.out_fd;
}

static void not_a_vm(int fd, int error, const char *words, const char *what)
{
	struct kvm_ferry_create c = create_arg(fd);

	refused(dev, KVM_FERRY_CREATE, &c, error, words, "%s as vm_fd", what);
	if (fd >= 0)
		close(fd);
}

static void vm_fds(void)
{
	struct kvm_ferry_create c = create_arg(-1);
	struct kvm_ferry_reason r = { .size = sizeof(r) };
	int fds[2], status;
	pid_t child;

	not_a_vm(-1, EBADF, "not open", "-1");
	not_a_vm(dup(vm.cpus[0].fd), ENOTTY, "KVM_CREATE_VM", "a vCPU");
	not_a_vm(dup(vm.kvm), ENOTTY, "KVM_CREATE_VM", "/dev/kvm");
	not_a_vm(socket(AF_INET, SOCK_STREAM, 0), ENOTTY, "KVM_CREATE_VM", "a socket");
	not_a_vm(open("/dev/ptmx", O_RDWR | O_NOCTTY), ENOTTY, "KVM_CREATE_VM", "a terminal");
	not_a_vm(open("/proc/self/status", O_RDONLY), ENOTTY, "KVM_CREATE_VM", "a file");
	not_a_vm(eventfd(0, 0), ENOTTY, "KVM_CREATE_VM", "an eventfd");
	not_a_vm(open("/proc/self/exe", O_PATH), EBADF, "not open", "an O_PATH fd");
	not_a_vm(dup(dev), ENOTTY, "KVM_CREATE_VM", "/dev/kvm_ferry");
	not_a_vm(new_source(-1), ENOTTY, "KVM_CREATE_VM", "a session");
	if (pipe(fds))
		tap_bail("no pipe");
	close(fds[1]);
	not_a_vm(fds[0], ENOTTY, "KVM_CREATE_VM", "a pipe");

	c.vm_fd = vm.fd;
	c.role = KVM_FERRY_SINK;
	refused(dev, KVM_FERRY_CREATE, &c, EINVAL, "vm_fd must be -1", "a sink with a VM");
	c.role = KVM_FERRY_SOURCE;
	c.dirty_source = KVM_FERRY_DIRTY_REPORT;
	refused(dev, KVM_FERRY_CREATE, &c, EINVAL, "vm_fd must be -1", "a reporting source with a VM");

	c = create_arg(vm.fd);
	child = fork();
	if (!child)
		_exit(ioctl(dev, KVM_FERRY_CREATE, &c) < 0 && errno == EPERM ? 0 : 1);
	waitpid(child, &status, 0);
	tap_check(!status && !ioctl(dev, KVM_FERRY_REASON, &r) && r.out_error == EPERM,
		  "another process's VM as vm_fd: %s", r.out_reason);
}

static void bad_ring(int s, void *addr, size_t length, int error, const char *words, const char *what)
{
	struct kvm_ferry_ring_add a = { .size = sizeof(a), .addr = (uintptr_t)addr, .length = length };

	refused(s, KVM_FERRY_RING_ADD, &a, error, words, "%s", what);
}

static void *map_ring(int vcpu, size_t bytes, int prot, int flags, off_t at)
{
	return mmap(NULL, bytes, prot, flags, vcpu, at);
}

static void sizes(int s, int vcpu)
{
	size_t bytes = vm.ring_bytes;
	uint8_t *ring = map_ring(vcpu, 2 * bytes, PROT_READ | PROT_WRITE, MAP_SHARED, RING_AT);

	if (ring == MAP_FAILED)
		tap_bail("the ring cannot be mapped: %s", strerror(errno));
	bad_ring(s, ring, bytes / 2, EINVAL, "larger than", "a ring of half its size");
	bad_ring(s, ring, bytes * 2, EINVAL, "smaller than", "a ring of twice its size");
	bad_ring(s, ring, bytes - PAGE, EINVAL, "power of two", "a ring of an odd size");
	bad_ring(s, ring, bytes + 16, EINVAL, "whole pages", "a ring of no whole pages");
	bad_ring(s, ring, 0, EINVAL, "power of two", "a ring of no size");
	bad_ring(s, ring, 1ULL << 40, EINVAL, "at most", "a ring of a terabyte");
	bad_ring(s, ring + 8, bytes, EINVAL, "aligned", "a ring that is unaligned");
	bad_ring(s, ring + PAGE, bytes, EINVAL, "first page", "a ring from its second page on");
	bad_ring(s, ring + bytes, bytes * 2, EFAULT, "not mapped as a whole", "a ring that ends too early");
	munmap(ring + PAGE, PAGE);
	bad_ring(s, ring, bytes, EFAULT, "not mapped as a whole", "a ring with a gap");
	munmap(ring, 2 * bytes);
	bad_ring(s, ring, bytes, EFAULT, "not mapped as a whole", "a ring that is not mapped");
	bad_ring(s, (void *)(~0UL - PAGE + 1), bytes, EFAULT, "not mapped as a whole", "a ring beyond user space");
	bad_ring(s, (void *)(~0UL - bytes + 1), bytes, EFAULT, "not mapped as a whole", "a ring that wraps");
}

static void mappings(int s, int vcpu)
{
	size_t bytes = vm.ring_bytes;
	void *p = map_ring(vcpu, bytes, PROT_READ, MAP_SHARED, RING_AT);

	bad_ring(s, p, bytes, EFAULT, "shared and writable", "a ring mapped read-only");
	munmap(p, bytes);
	p = map_ring(vcpu, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, RING_AT);
	if (p != MAP_FAILED) {
		bad_ring(s, p, bytes, EFAULT, "shared and writable", "a ring mapped private");
		munmap(p, bytes);
	} else {
		tap_check(errno == EINVAL, "KVM does not let a ring be mapped private");
	}
	bad_ring(s, vm.cpus[0].run, PAGE, EINVAL, "first page", "a vCPU's shared page");
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bad_ring(s, p, bytes, ENOTTY, "not a mapping of a vCPU", "shared memory as a ring");
	munmap(p, bytes);
	bad_ring(s, vm.mem, bytes, ENOTTY, "not a mapping of a vCPU", "guest memory as a ring");
	p = map_ring(other.cpus[0].fd, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, RING_AT);
	bad_ring(s, p, bytes, EPERM, "another VM", "a ring of another VM");
	munmap(p, bytes);
}

static void twice(int s, int vcpu)
{
	size_t bytes = vm.ring_bytes;
	void *a = map_ring(vcpu, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, RING_AT);
	void *b = map_ring(vcpu, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, RING_AT);
	void *c = map_ring(vm.cpus[1].fd, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, RING_AT);
	struct kvm_ferry_ring_add add = { .size = sizeof(add), .ring_id = 5, .addr = (uintptr_t)a,
					  .length = bytes };
	struct kvm_ferry_abort abort = { .size = sizeof(abort) };
	int second = new_source(vm.fd);

	taken(s, KVM_FERRY_RING_ADD, &add, "a ring that is right");
	refused(s, KVM_FERRY_RING_ADD, &add, EEXIST, "added already", "the same again");
	add.ring_id = 6;
	refused(s, KVM_FERRY_RING_ADD, &add, EEXIST, "added already", "the same with another id");
	add.addr = (uintptr_t)b;
	refused(s, KVM_FERRY_RING_ADD, &add, EEXIST, "added already", "another mapping of it");
	add.addr = (uintptr_t)c;
	add.ring_id = 5;
	refused(s, KVM_FERRY_RING_ADD, &add, EEXIST, "added already", "another ring with its id");
	add.addr = (uintptr_t)b;
	refused(second, KVM_FERRY_RING_ADD, &add, EEXIST, "added", "the same ring to another session");
	taken(s, KVM_FERRY_ABORT, &abort, "the first session is aborted");
	taken(second, KVM_FERRY_RING_ADD, &add, "now another session may have the ring");
	close(second);
	munmap(a, bytes);
	munmap(b, bytes);
	munmap(c, bytes);
}

static void bad_slot(int s, unsigned long cmd, uint32_t region, uint64_t offset, uint64_t length,
		     int error, const char *words, const char *what)
{
	struct kvm_ferry_slot a = { .size = sizeof(a), .slot = 3, .region_id = region,
				    .offset = offset, .length = length };

	refused(s, cmd, &a, error, words, "%s", what);
}

static void slots(int s)
{
	struct kvm_ferry_slot good = { .size = sizeof(good), .slot = 3, .offset = MIB, .length = MIB };

	bad_slot(s, KVM_FERRY_SLOT_ADD, 0, BYTES, PAGE, EINVAL, "ends at", "a slot behind its region");
	bad_slot(s, KVM_FERRY_SLOT_ADD, 0, BYTES - PAGE, 2 * PAGE, EINVAL, "ends at", "a slot that reaches out of it");
	bad_slot(s, KVM_FERRY_SLOT_ADD, 0, PAGE, ~0ULL << 12, EINVAL, "ends at", "a slot that wraps");
	bad_slot(s, KVM_FERRY_SLOT_ADD, 0, 0, 0, EINVAL, "empty", "an empty slot");
	bad_slot(s, KVM_FERRY_SLOT_ADD, 0, 512, PAGE, EINVAL, "aligned", "an unaligned slot");
	bad_slot(s, KVM_FERRY_SLOT_ADD, 0, 0, 512, EINVAL, "aligned", "a slot of half a page");
	bad_slot(s, KVM_FERRY_SLOT_ADD, 1, 0, PAGE, ENOENT, "no region 1", "a slot of no region");
	bad_slot(s, KVM_FERRY_SLOT_MOVE, 0, 0, PAGE, ENOENT, "not mapped", "moving no slot");
	bad_slot(s, KVM_FERRY_SLOT_REMOVE, 0, 0, 0, ENOENT, "not mapped", "removing no slot");
	bad_slot(s, KVM_FERRY_SLOT_REMOVE, 0, 0, PAGE, EINVAL, "must be 0", "removing with a length");
	taken(s, KVM_FERRY_SLOT_ADD, &good, "a slot that is right");
	bad_slot(s, KVM_FERRY_SLOT_ADD, 0, 0, PAGE, EEXIST, "mapped already", "the same slot again");
	bad_slot(s, KVM_FERRY_SLOT_MOVE, 0, BYTES, PAGE, EINVAL, "ends at", "moving it out of its region");
}

static void other_kinds(void)
{
	struct kvm_ferry_ring_index i = { .size = sizeof(i), .ring_id = 77 };
	struct kvm_ferry_ring_wait w = { .size = sizeof(w), .ring_id = 77 };
	int s = new_source(-1);

	bad_ring(s, vm.mem, PAGE, EOPNOTSUPP, "not the ring", "a ring for a source that reports");
	bad_slot(s, KVM_FERRY_SLOT_ADD, 0, 0, PAGE, EOPNOTSUPP, "not the ring", "a slot for it");
	close(s);
	s = new_source(vm.fd);
	refused(s, KVM_FERRY_RING_INDEX, &i, ENOENT, "no ring 77", "the index of no ring");
	refused(s, KVM_FERRY_RING_WAIT, &w, ENOENT, "no ring 77", "waiting for no ring");
	close(s);
}

/* The VMM says that it reaped entries that it did not reap: found by the count. */
static void wrong_index(void)
{
	struct pair p = { .bytes = BYTES, .channels = 1, .from = vm.mem, .to = pair_memory(BYTES, false) };
	uint32_t index = ferry_ring_fetch_index(vm.cpus[0].ring);
	struct kvm_ferry_ring_add a = { .size = sizeof(a), .length = vm.ring_bytes,
					.fetch_index = index + 2 };
	struct kvm_ferry_slot s = { .size = sizeof(s), .length = BYTES };
	void *ring = map_ring(vm.cpus[0].fd, vm.ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, RING_AT);

	a.addr = (uintptr_t)ring;
	pair_open(&p, vm.fd);
	taken(ferry_session_fd(p.source), KVM_FERRY_SLOT_ADD, &s, "a slot");
	taken(ferry_session_fd(p.source), KVM_FERRY_RING_ADD, &a, "a ring with an index that is too high");
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_PASS);
	cpu_program(&vm.cpus[0], MIB, 8, 1);
	cpu_run_to_end(&vm.cpus[0]);
	failed_with(ferry_session_fd(p.source), EIO, "entries", "two entries that nobody harvests");
	tap_check(*(uint32_t *)(vm.mem + MIB) == 1, "the guest is whole");
	pair_close(&p);
	munmap(ring, vm.ring_bytes);
	munmap(p.to, BYTES);
}

/**
 * struct swapper - a thread that maps a ring and other memory in turns to one place
 * @at: where
 * @vcpu: whose ring
 * @other: memory that looks like a full ring
 * @stop: asks it to return
 */
struct swapper {
	void *at;
	int vcpu;
	int other;
	bool stop;
};

static void *swap(void *arg)
{
	struct swapper *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		mmap(s->at, vm.ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, s->other, 0);
		mmap(s->at, vm.ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, s->vcpu, RING_AT);
	}
	return NULL;
}

/* Other memory in the ring's place must not be pinned and harvested: nobody counts its pages. */
static void swapped(int vcpu)
{
	struct swapper sw = { .vcpu = vcpu, .other = memfd_create("other", MFD_CLOEXEC) };
	struct kvm_ferry_ring_add a = { .size = sizeof(a), .length = vm.ring_bytes };
	struct kvm_ferry_ring_sync sync = { .size = sizeof(sync) };
	unsigned int added = 0, touched = 0, tried, i;
	uint64_t end = now_ms() + 1500;
	struct kvm_dirty_gfn *other;
	pthread_t thread;
	int s;

	if (sw.other < 0 || ftruncate(sw.other, vm.ring_bytes))
		tap_bail("no memfd: %s", strerror(errno));
	other = mmap(NULL, vm.ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, sw.other, 0);
	sw.at = map_ring(vcpu, vm.ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, RING_AT);
	a.addr = (uintptr_t)sw.at;
	for (i = 0; i < vm.ring_bytes / sizeof(*other); i++)
		other[i].flags = KVM_DIRTY_GFN_F_DIRTY;
	if (pthread_create(&thread, NULL, swap, &sw))
		tap_bail("no thread");
	for (tried = 0; tried < 2000 && now_ms() < end; tried++) {
		s = new_source(vm.fd);
		if (!ioctl(s, KVM_FERRY_RING_ADD, &a)) {
			added++;
			ioctl(s, KVM_FERRY_RING_SYNC, &sync);
		}
		close(s);
		for (i = 0; i < vm.ring_bytes / sizeof(*other); i++) {
			touched += other[i].flags != KVM_DIRTY_GFN_F_DIRTY;
			other[i].flags = KVM_DIRTY_GFN_F_DIRTY;
		}
	}
	__atomic_store_n(&sw.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	tap_check(added && added < tried && !touched,
		  "a ring that is mapped and unmapped under way: added %u of %u times, %u entries of other memory harvested",
		  added, tried, touched);
	munmap(sw.at, vm.ring_bytes);
	munmap(other, vm.ring_bytes);
	close(sw.other);
}

int main(void)
{
	int s;

	vm_open(&vm, BYTES, BYTES, ENTRIES);
	vm_add_cpu(&vm);
	vm_add_cpu(&vm);
	vm_open(&other, MIB, MIB, ENTRIES);
	vm_add_cpu(&other);
	dev = open(KVM_FERRY_DEVICE, O_RDWR | O_CLOEXEC);
	vm_fds();
	s = new_source(vm.fd);
	sizes(s, vm.cpus[0].fd);
	mappings(s, vm.cpus[0].fd);
	slots(s);
	twice(s, vm.cpus[0].fd);
	close(s);
	other_kinds();
	swapped(vm.cpus[0].fd);
	wrong_index();
	close(dev);
	vm_close(&other);
	vm_close(&vm);
	return tap_done();
}
