// SPDX-License-Identifier: LGPL-2.1-only
/*
 * A vCPU's dirty ring over its whole life: reaped by the VMM, handed over to a
 * session, taken back.
 *
 * The ring is an array of struct kvm_dirty_gfn that KVM fills in order. An
 * entry whose flags are F_DIRTY is the reaper's; the reaper makes them F_RESET,
 * in order, and KVM_RESET_DIRTY_RINGS gives those back to KVM. KVM publishes an
 * entry by storing its flags last, hence acquire on the load and release on the
 * store.
 *
 * A vCPU thread sleeps in the session's RING_WAIT without holding @lock, and is
 * counted in @waiters meanwhile: the ring is not given back, and so its session
 * not freed, while somebody is in there.
 */
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

/*
 * KVM's limit is 65536 entries; an index is 32 bits wide and wraps, so a ring
 * must divide 2^32 whatever KVM allows one day.
 */
#define MAX_ENTRIES	(1u << 24)

struct ferry_ring {
	/* set when made */
	struct kvm_dirty_gfn *entries;
	uint32_t nr_entries;	/* a power of two */
	uint32_t id;
	bool mapped_here;

	/* protects: all below */
	pthread_mutex_t lock;
	pthread_cond_t idle;	/* @waiters became 0 */
	uint32_t fetch_index;
	unsigned int waiters;
	struct ferry_session *session;
};

static int check_length(size_t length)
{
	size_t entries = length / sizeof(struct kvm_dirty_gfn);

	if (!length || length % (size_t)sysconf(_SC_PAGESIZE) || entries & (entries - 1) ||
	    entries > MAX_ENTRIES)
		return ferry_fail(EINVAL, "a dirty ring of %zu bytes: it must be whole pages and a "
				  "power of two of entries", length);
	return 0;
}

int ferry_ring_from_mapping(struct ferry_ring **out, void *addr, size_t length, uint32_t id,
			    uint32_t fetch_index)
{
	struct ferry_ring *ring;
	int ret;

	ret = check_length(length);
	if (ret)
		return ret;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return ferry_fail(ENOMEM, "out of memory");
	ring->entries = addr;
	ring->nr_entries = length / sizeof(struct kvm_dirty_gfn);
	ring->id = id;
	ring->fetch_index = fetch_index;
	pthread_mutex_init(&ring->lock, NULL);
	pthread_cond_init(&ring->idle, NULL);
	*out = ring;
	return 0;
}

int ferry_ring_map(struct ferry_ring **out, int vcpu_fd, uint32_t id, size_t length)
{
	void *addr;
	int ret;

	ret = check_length(length);
	if (ret)
		return ret;
	addr = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd,
		    KVM_DIRTY_LOG_PAGE_OFFSET * sysconf(_SC_PAGESIZE));
	if (addr == MAP_FAILED)
		return ferry_fail(errno, "map the dirty ring of vCPU %u: %s (was "
				  "KVM_CAP_DIRTY_LOG_RING enabled before the vCPU was made?)", id,
				  strerror(errno));
	ret = ferry_ring_from_mapping(out, addr, length, id, 0);
	if (ret) {
		munmap(addr, length);
		return ret;
	}
	(*out)->mapped_here = true;
	return 0;
}

void ferry_ring_free(struct ferry_ring *ring)
{
	if (!ring)
		return;
	if (ring->mapped_here)
		munmap(ring->entries, ring->nr_entries * sizeof(*ring->entries));
	pthread_cond_destroy(&ring->idle);
	pthread_mutex_destroy(&ring->lock);
	free(ring);
}

uint32_t ferry_ring_id(const struct ferry_ring *ring)
{
	return ring->id;
}

/* The lock is no part of what a ring looks like to its callers. */
static struct ferry_ring *mutable(const struct ferry_ring *ring)
{
	return (struct ferry_ring *)(uintptr_t)ring;
}

uint32_t ferry_ring_fetch_index(const struct ferry_ring *ring)
{
	uint32_t index;

	pthread_mutex_lock(&mutable(ring)->lock);
	index = ring->fetch_index;
	pthread_mutex_unlock(&mutable(ring)->lock);
	return index;
}

struct ferry_session *ferry_ring_session(const struct ferry_ring *ring)
{
	struct ferry_session *s;

	pthread_mutex_lock(&mutable(ring)->lock);
	s = ring->session;
	pthread_mutex_unlock(&mutable(ring)->lock);
	return s;
}

long ferry_ring_reap(struct ferry_ring *ring, ferry_reap_fn reap, void *opaque)
{
	struct kvm_dirty_gfn *e;
	long count = 0;

	pthread_mutex_lock(&ring->lock);
	if (ring->session) {
		pthread_mutex_unlock(&ring->lock);
		return ferry_fail(EBUSY, "dirty ring %u belongs to a session", ring->id);
	}
	/* At most once around: no entry comes twice before a reset. */
	while (count < (long)ring->nr_entries) {
		e = &ring->entries[ring->fetch_index & (ring->nr_entries - 1)];
		if (__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
			break;
		if (reap)
			reap(opaque, e->slot, e->offset);
		__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		ring->fetch_index++;
		count++;
	}
	pthread_mutex_unlock(&ring->lock);
	return count;
}

long ferry_rings_reset(int vm_fd)
{
	sigset_t all, before;
	int error;
	long ret;

	/*
	 * Linux 7.2 forgets to protect pages again when a signal is pending
	 * while it resets, and what is written to those is never logged.
	 */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = ioctl(vm_fd, KVM_RESET_DIRTY_RINGS, 0);
	error = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret < 0)
		return ferry_fail(error, "KVM_RESET_DIRTY_RINGS: %s", strerror(error));
	return ret;
}

int ferry_ring_hand_over(struct ferry_ring *ring, struct ferry_session *s)
{
	int ret;

	pthread_mutex_lock(&ring->lock);
	if (ring->session) {
		ret = ferry_fail(EBUSY, "dirty ring %u belongs to a session already", ring->id);
	} else {
		ret = ferry_session_add_ring(s, ring->id, ring->entries,
					     (uint64_t)ring->nr_entries * sizeof(*ring->entries),
					     ring->fetch_index);
		if (!ret)
			ring->session = s;
	}
	pthread_mutex_unlock(&ring->lock);
	return ret;
}

int ferry_ring_take_back(struct ferry_ring *ring)
{
	struct ferry_session *s = ferry_ring_session(ring);
	uint32_t index;
	int ret;

	if (!s)
		return 0;
	/* Without the lock: it waits, and vCPU threads need the lock to leave. */
	ret = ferry_session_ring_index(s, ring->id, &index);
	if (ret)
		return ret;
	pthread_mutex_lock(&ring->lock);
	while (ring->waiters)
		pthread_cond_wait(&ring->idle, &ring->lock);
	/* Two threads may take it back at once; the first one did it all. */
	if (ring->session == s) {
		ring->fetch_index = index;
		ring->session = NULL;
	}
	pthread_mutex_unlock(&ring->lock);
	return 0;
}

int ferry_vcpu_exit(struct ferry_ring *ring, uint32_t exit_reason)
{
	struct ferry_session *s;
	int ret;

	if (exit_reason != KVM_EXIT_DIRTY_RING_FULL)
		return FERRY_VCPU_OTHER;

	pthread_mutex_lock(&ring->lock);
	s = ring->session;
	if (s)
		ring->waiters++;
	pthread_mutex_unlock(&ring->lock);
	if (!s)
		return FERRY_VCPU_REAP;

	ret = ferry_session_wait_ring(s, ring->id);

	pthread_mutex_lock(&ring->lock);
	if (!--ring->waiters)
		pthread_cond_broadcast(&ring->idle);
	pthread_mutex_unlock(&ring->lock);

	switch (ret) {
	case 0:
		return FERRY_VCPU_REENTER;
	case -EINTR:
		return FERRY_VCPU_SIGNAL;
	case -ESHUTDOWN:
		return FERRY_VCPU_REAP;
	default:
		return ret;
	}
}
