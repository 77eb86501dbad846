// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty source "ring": KVM's dirty rings.
 *
 * A ring is the VMM's mapping of it, pinned and mapped into the kernel. KVM
 * publishes an entry by storing its flags last; we take entries strictly in
 * order, and hold them until their pages are wanted. Then we mark each for reset
 * with a release, in the same order, and have KVM write-protect the pages again
 * by KVM_RESET_DIRTY_RINGS through the VM file's own ioctl, in a task that has
 * taken on the VMM's mm, as KVM demands. The VMM can write the ring's pages:
 * each field is read once and checked, each time.
 */
#include <linux/bitops.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kallsyms.h>
#include <linux/kvm.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "estimate.h"
#include "ring.h"
#include "session.h"
#include "trace.h"

bool ferry_ioctl_is(const struct file *file, const char *function)
{
	char name[KSYM_SYMBOL_LEN];
	size_t len = strlen(function);

	if (!file->f_op->unlocked_ioctl)
		return false;
	sprint_symbol(name, (unsigned long)file->f_op->unlocked_ioctl);
	return !strncmp(name, function, len) && !strncmp(name + len, "+0x0/", 5) &&
	       (!IS_MODULE(CONFIG_KVM) || strstr(name, " [kvm]"));
}

int ferry_vm_file_check(struct file *file, struct ferry_reason *why)
{
	long ret;

	if (!ferry_ioctl_is(file, "kvm_vm_ioctl"))
		return ferry_because(why, -ENOTTY, "vm_fd is not the fd that KVM_CREATE_VM gave");
	/* KVM says EIO to every address space but the VM's own. */
	ret = file->f_op->unlocked_ioctl(file, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
	if (ret == -EIO)
		return ferry_because(why, -EPERM, "the VM belongs to another process");
	if (ret <= 0)
		ret = file->f_op->unlocked_ioctl(file, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING);
	if (ret <= 0)
		return ferry_because(why, -EOPNOTSUPP, "this KVM has no dirty ring: use dirty source REPORT with KVM_GET_DIRTY_LOG");
	return 0;
}

/*
 * Whether the page was not known to be dirty. One that is published counts when
 * a sender takes it. This runs once an entry: keep it short.
 */
static bool stage(struct ferry_region *r, u64 pfn)
{
	if (__test_and_set_bit(pfn, r->staged))
		return false;
	__set_bit(pfn / FERRY_BLOCK_PAGES, r->staged_blocks);
	ferry_seen_page(r, pfn);
	return !test_bit(pfn, r->published);
}

/*
 * Takes what the ring holds. Before START and after the end nothing is staged:
 * everything is dirty, or nothing matters any more.
 */
static u32 harvest_ring(struct ferry_session *s, struct ferry_ring *ring, bool tracking)
{
	struct ferry_slot_map *map = NULL;
	struct ferry_region *region = NULL;
	u32 last_slot = 0, taken = 0, fresh = 0;

	lockdep_assert_held(&s->dirty.map_lock);
	/* Those that are held are dirty still. */
	while (ring->held + taken < ring->entries) {
		struct kvm_dirty_gfn *e = &ring->gfns[ring->fetch & (ring->entries - 1)];
		u32 slot;
		u64 offset;

		/* Pairs with KVM's store of the flags after slot and offset. */
		if (!(smp_load_acquire(&e->flags) & KVM_DIRTY_GFN_F_DIRTY))
			break;
		slot = READ_ONCE(e->slot);
		offset = READ_ONCE(e->offset);
		if (tracking && (!map || slot != last_slot)) {
			map = xa_load(&s->dirty.slots, slot);
			last_slot = slot;
		}
		if (tracking && (!map || offset >= map->nr_pages)) {
			ferry_session_fail(s, -ENXIO,
					   "ring %u has an entry for page %llu of slot 0x%x, which no slot map covers: add the slot before KVM logs it, remove it after KVM deleted it",
					   ring->id, offset, slot);
			tracking = false;
		}
		if (tracking && region != map->region) {
			ferry_dirty_staged(s, region, fresh);
			region = map->region;
			fresh = 0;
		}
		if (tracking)
			fresh += stage(region, map->first + offset);
		ring->fetch++;
		taken++;
	}
	ferry_dirty_staged(s, region, fresh);
	ring->held += taken;
	ferry_vcpu_dirtied(s, ring, taken);
	return taken;
}

static long ring_harvest(struct ferry_session *s)
{
	u32 state = ferry_session_state(s);
	bool tracking = state != KVM_FERRY_STATE_SETUP && !ferry_state_ended(state);
	u64 begin = ktime_get_ns(), ns, passed, interval = FERRY_HARVEST_MAX_NS;
	struct ferry_dirty *d = &s->dirty;
	struct ferry_ring *ring;
	unsigned long id;
	long entries = 0;
	u32 fullest = 0;

	ferry_brake_spare_locked(s);
	/* A round that was asked for comes early: what counts is the time that passed. */
	passed = d->harvested_at ? begin - d->harvested_at : d->interval_ns;
	xa_for_each(&d->rings, id, ring) {
		u32 taken = harvest_ring(s, ring, tracking), room = ferry_plan_ring_room(ring->entries);

		fullest = max(fullest, taken);
		entries += taken;
		/* Once it is full its vCPU asks for a round. */
		if (ring->vcpu.spared)
			continue;
		if (ferry_plan_rearm(ring->held, ring->entries))
			d->pressed = true;
		else
			room -= ring->held;
		interval = min(interval, ferry_plan_harvest_interval(passed, taken, room));
	}
	d->held += entries;
	/* Anew: what was taken now may be more than is allowed. */
	ferry_brake_spare_locked(s);
	d->interval_ns = interval;
	ns = ktime_get_ns() - begin;
	WRITE_ONCE(s->stats.harvest_ns, s->stats.harvest_ns + ns);
	WRITE_ONCE(s->stats.ring_entries, s->stats.ring_entries + entries);
	if (entries)
		trace_ferry_harvest(s->id, entries, fullest, ns);
	if (ferry_session_ended(s) && tracking)
		return -ENXIO;
	return entries;
}

/*
 * Notes the page of an entry that was harvested. There is none if its slot was
 * removed since, or if the VMM has changed the entry.
 */
static bool note_page(struct ferry_dirty *d, const struct kvm_dirty_gfn *e)
{
	struct ferry_slot_map *map = xa_load(&d->slots, READ_ONCE(e->slot));
	u64 offset = READ_ONCE(e->offset);

	lockdep_assert_held(&d->map_lock);
	if (!map || offset >= map->nr_pages)
		return false;
	d->pages[d->nr_pages++] = (struct ferry_dirty_page) {
		.region = map->region, .pfn = map->first + offset,
	};
	return true;
}

/* Marks the @n oldest entries of a ring. Whether it noted all of their pages, if asked to. */
static bool mark_ring(struct ferry_dirty *d, struct ferry_ring *ring, u32 n, bool note)
{
	bool noted = true;

	for (; n; n--) {
		struct kvm_dirty_gfn *e = &ring->gfns[(ring->fetch - ring->held) & (ring->entries - 1)];

		if (note && !note_page(d, e))
			noted = false;
		/* KVM may take the entry back as soon as it sees this. */
		smp_store_release(&e->flags, KVM_DIRTY_GFN_F_RESET);
		ring->held--;
		d->held--;
	}
	return noted;
}

static void mark_all_locked(struct ferry_dirty *d)
{
	struct ferry_ring *ring;
	unsigned long id;

	lockdep_assert_held(&d->map_lock);
	xa_for_each(&d->rings, id, ring)
		mark_ring(d, ring, ring->held, false);
}

/* Of each ring its share, so that no vCPU's pages wait longer than another's. */
static void mark_most_locked(struct ferry_dirty *d, u64 most)
{
	u64 held = ferry_dirty_ready(d);
	struct ferry_ring *ring;
	unsigned long id;
	bool noted = true;

	lockdep_assert_held(&d->map_lock);
	d->nr_pages = 0;
	if (!held)
		return;
	most = min(most, held);
	xa_for_each(&d->rings, id, ring) {
		u64 n = min_t(u64, div64_u64(ring->held * most + held - 1, held), ring->held);

		if (ring->vcpu.spared)
			continue;
		noted &= mark_ring(d, ring, min_t(u64, n, FERRY_PORTION_MAX - d->nr_pages), noted);
	}
	/* A page that is not noted is published with all that are staged. */
	if (!noted)
		mark_all_locked(d);
}

/*
 * KVM write-protects before it returns, and flushes TLBs if it cleared anything.
 * It must have cleared just what we marked: more means that somebody else
 * resets too, and returned before its flush; fewer, that entries were lost.
 */
static int ring_rearm(struct ferry_session *s, u64 most)
{
	struct ferry_dirty *d = &s->dirty;
	u64 begin, ns, marked = d->held;
	bool fresh = xchg(&d->fresh, false);
	long ret;

	if (!ferry_mm_enter(s)) {
		ferry_session_fail(s, -ESRCH, "the VMM has exited");
		return -ESRCH;
	}
	begin = ktime_get_ns();
	/* Protects the rings, and what their entries' slots are. */
	mutex_lock(&d->map_lock);
	ferry_brake_spare_locked(s);
	if (most < d->held || d->spared)
		mark_most_locked(d, most);
	else
		mark_all_locked(d);
	/* If all had to be marked, none is left. */
	ferry_brake_spare_locked(s);
	mutex_unlock(&d->map_lock);
	marked -= d->held;
	ret = s->vm_file->f_op->unlocked_ioctl(s->vm_file, KVM_RESET_DIRTY_RINGS, 0);
	ns = ktime_get_ns() - begin;
	ferry_mm_leave(s);
	d->pressed = false;
	WRITE_ONCE(s->stats.reset_ns, s->stats.reset_ns + ns);
	WRITE_ONCE(s->stats.ring_resets, s->stats.ring_resets + 1);
	trace_ferry_reset(s->id, marked, ret, ns);
	if (ret < 0) {
		ferry_session_fail(s, -EIO, "KVM_RESET_DIRTY_RINGS failed (%ld)", ret);
		return -EIO;
	}
	/* A ring that has just come may hold entries that the VMM marked. */
	if (fresh ? ret < marked : ret != marked) {
		ferry_session_fail(s, -EIO, "KVM reset %ld ring entries where %llu were harvested: only the session may harvest and reset, and all rings must be this VM's",
				   ret, marked);
		return -EIO;
	}
	return 0;
}

/* The rings stay mapped until the session is closed, but nobody looks at them. */
static void ring_stop(struct ferry_session *s)
{
	struct ferry_ring *ring;
	unsigned long id;

	mutex_lock(&s->dirty.map_lock);
	xa_for_each(&s->dirty.rings, id, ring)
		ferry_ring_release(ring);
	mutex_unlock(&s->dirty.map_lock);
}

const struct ferry_dirty_ops ferry_dirty_ring_ops = {
	.name = "ring",
	.harvest = ring_harvest,
	.rearm = ring_rearm,
	.stop = ring_stop,
};
