// SPDX-License-Identifier: GPL-2.0-only
/*
 * A dirty ring over its life, against a fake ring and a fake module.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "fake.h"
#include "tap.h"

#define ENTRIES		256u
#define RING_BYTES	(ENTRIES * sizeof(struct kvm_dirty_gfn))

static struct kvm_dirty_gfn *entries;

/* What KVM does: fills in the next entries. */
static void kvm_push(uint32_t *index, unsigned int count)
{
	struct kvm_dirty_gfn *e;

	while (count--) {
		e = &entries[*index % ENTRIES];
		e->slot = *index & 7;
		e->offset = *index;
		e->flags = KVM_DIRTY_GFN_F_DIRTY;
		(*index)++;
	}
}

/* What KVM_RESET_DIRTY_RINGS does. */
static unsigned int kvm_reset(uint32_t *index)
{
	unsigned int count = 0;

	while (entries[*index % ENTRIES].flags == KVM_DIRTY_GFN_F_RESET) {
		entries[*index % ENTRIES].flags = 0;
		(*index)++;
		count++;
	}
	return count;
}

struct seen {
	uint64_t next;		/* the offset that must come next */
	unsigned int wrong;
};

static void reap_one(void *opaque, uint32_t slot, uint64_t offset)
{
	struct seen *seen = opaque;

	/* Offsets are 64 bits wide, the fake's index is 32. */
	seen->wrong += offset != (uint32_t)seen->next || slot != (offset & 7);
	seen->next++;
}

static void reaping(void)
{
	/* Begin near the end of the 32-bit index, so that it wraps on the way. */
	uint32_t push = UINT32_MAX - 300, reset = push;
	struct seen seen = { .next = push };
	struct ferry_ring *ring;
	unsigned int i, bad = 0;
	long got;

	ok(!ferry_ring_from_mapping(&ring, entries, RING_BYTES, 3, push), "a ring from a mapping");
	ok(ferry_ring_id(ring) == 3 && ferry_ring_fetch_index(ring) == push &&
	   !ferry_ring_session(ring), "it is the VMM's");
	ok(ferry_ring_reap(ring, reap_one, &seen) == 0, "an empty ring gives nothing");
	kvm_push(&push, 5);
	ok(ferry_ring_reap(ring, reap_one, &seen) == 5 && !seen.wrong,
	   "five entries come, in order");
	ok(ferry_ring_reap(ring, reap_one, &seen) == 0, "and do not come again before a reset");
	ok(kvm_reset(&reset) == 5, "all of them are marked for reset");
	for (i = 0; i < 40; i++) {
		unsigned int n = i % 7 ? i * 6 : ENTRIES;

		kvm_push(&push, n);
		got = ferry_ring_reap(ring, reap_one, &seen);
		bad += got != (long)n || kvm_reset(&reset) != n;
	}
	ok(!bad && !seen.wrong && ferry_ring_fetch_index(ring) == push,
	   "full rings and wraps: %ld entries in order, the index is %u",
	   (long)(uint32_t)(push - (UINT32_MAX - 300)), push);
	ok(push < UINT32_MAX - 300, "the index did wrap");

	/* An entry that is not yet published ends the harvest, whatever is behind it. */
	kvm_push(&push, 3);
	entries[(push - 2) % ENTRIES].flags = 0;
	ok(ferry_ring_reap(ring, reap_one, &seen) == 1, "an unpublished entry stops it");
	entries[(push - 2) % ENTRIES].flags = KVM_DIRTY_GFN_F_DIRTY;
	ok(ferry_ring_reap(ring, NULL, NULL) == 2, "no callback: the entries are dropped");
	kvm_reset(&reset);
	ferry_ring_free(ring);
}

static void bad_sizes(void)
{
	static const size_t sizes[] = { 0, 16, 4095, 4097, 3 * 4096, 5 * 4096, 1UL << 40 };
	struct ferry_ring *ring;
	unsigned int i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		ok(ferry_ring_from_mapping(&ring, entries, sizes[i], 0, 0) == -EINVAL,
		   "a ring of %zu bytes is refused", sizes[i]);
	ok(ferry_ring_map(&ring, -1, 0, 4096) == -EBADF, "a ring of no vCPU is refused");
}

/* --- with a session ------------------------------------------------------ */

static struct kvm_ferry_ring_add added;
static uint32_t handed_back;
static atomic_int wait_answer;	/* 1: no answer yet */
static atomic_int waiting;
static atomic_bool ended, index_given;

static int module(unsigned long cmd, void *arg)
{
	struct kvm_ferry_ring_index *index = arg;

	switch (cmd) {
	case KVM_FERRY_RING_ADD:
		added = *(struct kvm_ferry_ring_add *)arg;
		return 0;
	case KVM_FERRY_RING_INDEX:
		if (!atomic_load(&ended))
			return -EBUSY;
		index->out_fetch_index = handed_back;
		atomic_store(&index_given, true);
		return 0;
	case KVM_FERRY_RING_WAIT:
		atomic_fetch_add(&waiting, 1);
		while (atomic_load(&wait_answer) == 1)
			;
		atomic_fetch_sub(&waiting, 1);
		return atomic_load(&wait_answer);
	case KVM_RESET_DIRTY_RINGS:
		return 17;
	default:
		return -ENOTTY;
	}
}

static void *vcpu(void *ring)
{
	return (void *)(intptr_t)ferry_vcpu_exit(ring, KVM_EXIT_DIRTY_RING_FULL);
}

static void *take_back(void *ring)
{
	return (void *)(intptr_t)ferry_ring_take_back(ring);
}

static void with_a_session(void)
{
	struct ferry_session *s = fake_session(KVM_FERRY_SOURCE);
	pthread_t vcpus[3], taker;
	struct ferry_ring *ring;
	uint32_t push = 100;
	unsigned int i, good = 0, kept = 0;
	void *ret;

	fake_module = module;
	ok(ferry_rings_reset(-1) == 17, "a reset says how many entries it reset");
	ferry_ring_from_mapping(&ring, entries, RING_BYTES, 5, push);
	ok(ferry_vcpu_exit(ring, KVM_EXIT_IO) == FERRY_VCPU_OTHER, "another exit is left alone");
	ok(ferry_vcpu_exit(ring, KVM_EXIT_DIRTY_RING_FULL) == FERRY_VCPU_REAP,
	   "a full ring of the VMM's must be reaped");
	ok(!ferry_ring_take_back(ring), "taking back what was never given is fine");

	kvm_push(&push, 4);
	ferry_ring_reap(ring, NULL, NULL);
	ok(!ferry_ring_hand_over(ring, s), "the ring is handed over");
	ok(added.size == sizeof(added) && added.ring_id == 5 && added.fetch_index == 104 &&
	   added.addr == (uintptr_t)entries && added.length == RING_BYTES && !added.flags,
	   "with its index, place and size");
	ok(ferry_ring_session(ring) == s, "the session has it");
	ok(ferry_ring_hand_over(ring, s) == -EBUSY, "it is not handed over twice");
	ok(ferry_ring_reap(ring, NULL, NULL) == -EBUSY, "nor reaped");
	ok(ferry_ring_take_back(ring) == -EBUSY && ferry_ring_session(ring) == s,
	   "nor taken back before the session has ended");

	atomic_store(&wait_answer, 0);
	ok(ferry_vcpu_exit(ring, KVM_EXIT_DIRTY_RING_FULL) == FERRY_VCPU_REENTER,
	   "room in the ring: enter the guest again");
	atomic_store(&wait_answer, -EINTR);
	ok(ferry_vcpu_exit(ring, KVM_EXIT_DIRTY_RING_FULL) == FERRY_VCPU_SIGNAL, "a signal");
	atomic_store(&wait_answer, -ENOENT);
	ok(ferry_vcpu_exit(ring, KVM_EXIT_DIRTY_RING_FULL) == -ENOENT, "an error is passed on");

	/* The ring is not given back while vCPU threads are in the module with it. */
	atomic_store(&wait_answer, 1);
	for (i = 0; i < 3; i++)
		pthread_create(&vcpus[i], NULL, vcpu, ring);
	while (atomic_load(&waiting) < 3)
		;
	handed_back = 4711;
	atomic_store(&ended, true);
	pthread_create(&taker, NULL, take_back, ring);
	while (!atomic_load(&index_given))
		;
	/* Long enough for the taker to go on, if nothing held it up. */
	for (i = 0; i < 100; i++) {
		poll(NULL, 0, 1);
		kept += ferry_ring_session(ring) == s;
	}
	ok(kept == 100, "the session keeps the ring while vCPUs wait in it");
	atomic_store(&wait_answer, -ESHUTDOWN);
	for (i = 0; i < 3; i++) {
		pthread_join(vcpus[i], &ret);
		good += (intptr_t)ret == FERRY_VCPU_REAP;
	}
	pthread_join(taker, &ret);
	ok(good == 3 && !ret, "the session's end lets three vCPUs go, then the ring");
	ok(!ferry_ring_session(ring) && ferry_ring_fetch_index(ring) == 4711,
	   "the VMM reaps on where the session stopped");
	ferry_ring_free(ring);
	ferry_session_close(s);
}

int main(void)
{
	entries = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (entries == MAP_FAILED)
		return 1;
	reaping();
	bad_sizes();
	with_a_session();
	return tap_done();
}
