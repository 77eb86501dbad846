/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Dirty sources, and the staged and published pages that they fill.
 */
#ifndef FERRY_DIRTY_H
#define FERRY_DIRTY_H

#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "plan.h"
#include "vcpu.h"

struct ferry_dirty;
struct ferry_reason;
struct ferry_region;
struct ferry_session;
struct kvm_ferry_ring_add;
struct kvm_ferry_ring_index;
struct kvm_ferry_ring_wait;
struct kvm_ferry_slot;
struct page;
struct kvm_dirty_gfn;
struct module;

/**
 * struct ferry_dirty_ops - something that says which pages changed
 * @owner: its module, if it has one of its own; each session holds a reference
 * @name: for people
 * @polled: asked every interval_ns though there is no ring
 * @harvest: ORs what changed into staged, never clears. Returns how many
 *	entries it took, or a negative errno
 * @rearm: makes every later change of the pages of the entries that were harvested
 *	first, about @most of them, show up again, but not of those that are
 *	@spared. Once it has returned 0, these may be published: all that are
 *	staged if nothing is held any more, @pages otherwise. What the guest writes
 *	anew it pays for anew, so there may be any number of harvests before it
 * @stop: hands everything back to the VMM. Called once, after the last rearm
 *
 * All three are called by the session's main task alone. Any error means that
 * dirty pages may be unknown: the session ends, with the guest whole.
 */
struct ferry_dirty_ops {
	struct module *owner;
	const char *name;
	bool polled;
	long (*harvest)(struct ferry_session *s);
	int (*rearm)(struct ferry_session *s, u64 most);
	void (*stop)(struct ferry_session *s);
};

/**
 * struct ferry_ring - one vCPU's dirty ring
 * @id: chosen by the VMM
 * @entries: size, a power of two
 * @gfns: the ring, mapped into the kernel
 * @pages: its pages, pinned for as long as the session lives: they belong to
 *	the vCPU, which the VM file keeps alive
 * @nr_pages: of them
 * @fetch: index of the next entry; only the main task changes it
 * @held: the last so many of the entries before it KVM has not got back; only the
 *	main task changes it
 * @vcpu: how its vCPU dirties memory, and waits
 */
struct ferry_ring {
	u32 id;
	u32 entries;
	struct kvm_dirty_gfn *gfns;
	struct page **pages;
	unsigned long nr_pages;
	unsigned long addr;
	u32 fetch;
	u32 held;
	struct ferry_vcpu vcpu;
};

/**
 * struct ferry_slot_map - where one KVM memslot lies
 * @region: in which region
 * @first: its first page there
 * @nr_pages: its length
 */
struct ferry_slot_map {
	struct ferry_region *region;
	u64 first;
	u64 nr_pages;
};

/* A page of an entry that is being rearmed. Regions stay as long as the session. */
struct ferry_dirty_page {
	struct ferry_region *region;
	u64 pfn;
};

/**
 * struct ferry_dirty - a session's dirty source
 * @ops: which one
 * @map_lock: protects: slots, rings; held over a harvest, so that slot maps
 *	change between harvests only
 * @slots: struct ferry_slot_map by KVM slot number
 * @rings: struct ferry_ring by ring id
 * @nr_slots: in @slots
 * @nr_rings: in @rings
 * @held: entries harvested and not given back to KVM yet; main task only
 * @spared: of these, entries of vCPUs that are held back (vcpu.c): their rings shall
 *	get full; main task only
 * @whole: none shall be spared in this round; main task only
 * @pages: of the entries that were rearmed last, if others are held still; room for
 *	FERRY_PORTION_MAX. Made with the first ring
 * @nr_pages: in @pages
 * @feed: of the entries that were held when the pass began, so many wait for their
 *	turn in it; main task only
 * @feeding: not 0: a portion of the pass is to come
 * @portion: number of the last one
 * @low: with fewer pages published than this a sender asks for the next one
 * @hungry: one has
 * @pressed: a ring is so full of them that its vCPU would have to wait soon;
 *	main task only
 * @sent: pages that had been sent when the rings were reset last; main task only
 * @again: pages that had been staged when their turn came, likewise; main task only
 * @fresh: a ring was added: the next reset may meet entries that the VMM had
 *	reaped and left
 * @rearm_wanted: by syncs whose round has not begun: bits of enum ferry_rearm
 * @sync_wanted: number of the last sync that somebody asked for
 * @sync_done: number of the last sync that is complete
 * @sync_entries: entries of the last one
 * @interval_ns: between harvests
 * @harvested_at: ktime of the last one, ns
 * @brake: throttling
 */
struct ferry_dirty {
	const struct ferry_dirty_ops *ops;
	struct mutex map_lock;
	struct xarray slots;
	struct xarray rings;
	u32 nr_slots;
	u32 nr_rings;
	u64 held;
	u64 spared;
	bool whole;
	struct ferry_dirty_page *pages;
	u32 nr_pages;
	u64 feed;
	u32 feeding;
	u32 portion;
	u32 low;
	bool hungry;
	bool pressed;
	u64 sent;
	u64 again;
	bool fresh;
	atomic_t rearm_wanted;
	atomic_t sync_wanted;
	int sync_done;
	u64 sync_entries;
	u64 interval_ns;
	u64 harvested_at;
	struct ferry_brake brake;
};

extern const struct ferry_dirty_ops ferry_dirty_ring_ops;
extern const struct ferry_dirty_ops ferry_dirty_report_ops;

void ferry_dirty_init(struct ferry_session *s);
void ferry_dirty_free(struct ferry_session *s);

/*
 * Main task: harvest; and if @rearm, or if somebody asked for it or a ring gets
 * full: rearm, publish. Returns entries taken, or -errno.
 */
long ferry_dirty_round(struct ferry_session *s, bool rearm);
/*
 * Main task: what the senders shall find in the pass that is to begin. They get a
 * first portion of what is held, and the next when they are nearly through with it.
 */
int ferry_dirty_begin(struct ferry_session *s);
/* Is the next portion due? */
bool ferry_dirty_hungry(struct ferry_session *s);
int ferry_dirty_feed(struct ferry_session *s);
/* The pass ends with what is published. */
void ferry_dirty_feed_end(struct ferry_session *s);
/*
 * Sender, at the end of a sweep: has it to make another one in this pass? Waits until
 * that is known. @seen: the portion that it swept.
 */
bool ferry_dirty_more(struct ferry_session *s, u32 *seen);
/* Sender: so many pages are published yet. */
void ferry_dirty_left(struct ferry_session *s, s64 pages);
/* Main task, once, when the session has ended. */
void ferry_dirty_drain(struct ferry_session *s);

/* Sender: of the published pages that it took, so many are staged. */
void ferry_dirty_again(struct ferry_session *s, struct ferry_region *r, u32 pages);
/* Main task: so many became dirty that nobody knew to be. */
void ferry_dirty_staged(struct ferry_session *s, struct ferry_region *r, u64 pages);
/* Anybody. Both count what they newly set as pending and wake nobody. */
void ferry_dirty_publish(struct ferry_session *s, struct ferry_region *r, u64 first, u64 count);
void ferry_dirty_publish_all(struct ferry_session *s);
/* A sender that could not send puts back what it took. */
void ferry_dirty_put_back(struct ferry_session *s, struct ferry_region *r, u64 first, u64 count);
/**
 * enum ferry_rearm - what a round that is asked for shall do beside harvesting
 * @FERRY_REARM_NOTHING: just that
 * @FERRY_REARM_READY: rearm and publish, but for vCPUs that are held back and do not
 *	wait at their rings yet
 * @FERRY_REARM_ALL: of all vCPUs
 * @FERRY_REARM_WINDOW: and forget what is published: a session that measures begins anew
 */
enum ferry_rearm {
	FERRY_REARM_NOTHING = 0,
	FERRY_REARM_READY = 1,
	FERRY_REARM_ALL = 3,
	FERRY_REARM_WINDOW = 7,
};
/* Waits for a whole round that began after the call. Interruptible. */
int ferry_dirty_sync(struct ferry_session *s, enum ferry_rearm rearm, u64 *entries,
		     struct ferry_reason *why);
/* Main task: entries that may be rearmed. */
static inline u64 ferry_dirty_ready(const struct ferry_dirty *d)
{
	return d->held - d->spared;
}

/* ioctls: dirty_ring.c */
int ferry_slot_change(struct ferry_session *s, unsigned int cmd, struct kvm_ferry_slot *arg,
		      struct ferry_reason *why);
int ferry_ring_add(struct ferry_session *s, struct kvm_ferry_ring_add *arg,
		   struct ferry_reason *why);
void ferry_rings_free(struct ferry_session *s);
/* dirty_ioctl.c */
struct kvm_ferry_bitmap;
struct kvm_ferry_report_dirty;
struct kvm_ferry_ring_sync;
int ferry_ring_wait(struct ferry_session *s, struct kvm_ferry_ring_wait *arg,
		    struct ferry_reason *why);
int ferry_ring_index(struct ferry_session *s, struct kvm_ferry_ring_index *arg,
		     struct ferry_reason *why);
int ferry_report_dirty(struct ferry_session *s, struct kvm_ferry_report_dirty *arg,
		       struct ferry_reason *why);
int ferry_report_bitmap(struct ferry_session *s, struct kvm_ferry_bitmap *arg,
			struct ferry_reason *why);
int ferry_fetch_dirty(struct ferry_session *s, struct kvm_ferry_bitmap *arg,
		      struct ferry_reason *why);
/* dirty_ring.c: is this file a KVM VM of the caller's? -errno and why if not. */
int ferry_vm_file_check(struct file *file, struct ferry_reason *why);

#endif /* FERRY_DIRTY_H */
