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

/**
 * struct ferry_dirty_ops - something that says which pages changed
 * @name: for people
 * @harvest: ORs what changed into staged, never clears. Returns how many
 *	entries it took, or a negative errno
 * @rearm: makes every later change of a staged page show up again. Once it has
 *	returned 0, staged pages may be published
 * @stop: hands everything back to the VMM. Called once, after the last rearm
 *
 * All three are called by the session's main task alone. Any error means that
 * dirty pages may be unknown: the session ends, with the guest whole.
 */
struct ferry_dirty_ops {
	const char *name;
	long (*harvest)(struct ferry_session *s);
	int (*rearm)(struct ferry_session *s);
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
 * @taken: entries taken by the last harvest
 */
struct ferry_ring {
	u32 id;
	u32 entries;
	struct kvm_dirty_gfn *gfns;
	struct page **pages;
	unsigned long nr_pages;
	unsigned long addr;
	u32 fetch;
	u32 taken;
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

/**
 * struct ferry_dirty - a session's dirty source
 * @ops: which one
 * @map_lock: protects: slots, rings; held over a harvest, so that slot maps
 *	change between harvests only
 * @slots: struct ferry_slot_map by KVM slot number
 * @rings: struct ferry_ring by ring id
 * @nr_slots: in @slots
 * @nr_rings: in @rings
 * @marked: entries marked for reset and not reset yet; main task only
 * @fresh: a ring was added: the next reset may meet entries that the VMM had
 *	reaped and left
 * @sync_wanted: number of the last sync that somebody asked for
 * @sync_done: number of the last sync that is complete
 * @sync_entries: entries of the last one
 * @interval_ns: between harvests
 * @harvested_at: ktime of the last one, ns
 */
struct ferry_dirty {
	const struct ferry_dirty_ops *ops;
	struct mutex map_lock;
	struct xarray slots;
	struct xarray rings;
	u32 nr_slots;
	u32 nr_rings;
	u64 marked;
	bool fresh;
	atomic_t sync_wanted;
	int sync_done;
	u64 sync_entries;
	u64 interval_ns;
	u64 harvested_at;
};

extern const struct ferry_dirty_ops ferry_dirty_ring_ops;
extern const struct ferry_dirty_ops ferry_dirty_report_ops;

void ferry_dirty_init(struct ferry_session *s);
void ferry_dirty_free(struct ferry_session *s);

/* Main task: harvest, rearm, publish. Returns entries taken, or -errno. */
long ferry_dirty_round(struct ferry_session *s);
/* Main task, once, when the session has ended. */
void ferry_dirty_drain(struct ferry_session *s);

/* Anybody. Both count what they newly set as pending and wake nobody. */
void ferry_dirty_publish(struct ferry_session *s, struct ferry_region *r, u64 first, u64 count);
void ferry_dirty_publish_all(struct ferry_session *s);
/* A sender that could not send puts back what it took. */
void ferry_dirty_put_back(struct ferry_session *s, struct ferry_region *r, u64 first, u64 count);
/* Waits for a whole round that began after the call. Interruptible. */
int ferry_dirty_sync(struct ferry_session *s, u64 *entries, struct ferry_reason *why);

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
