/* SPDX-License-Identifier: GPL-2.0-only */
/* What a session knows of its guest's vCPUs, and which of them it holds back. */
#ifndef FERRY_VCPU_H
#define FERRY_VCPU_H

#include <linux/atomic.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "plan.h"
#include "throttle.h"

struct ferry_reason;
struct ferry_ring;
struct ferry_session;
struct kvm_ferry_ring_stats;

/**
 * struct ferry_vcpu - how a vCPU dirties memory, and waits
 * @pages: that it has dirtied: entries harvested; main task only
 * @demand: pages a second while it did not wait; main task only
 * @sampled_pages: @pages at the last sample; main task only
 * @sampled_wait_ns: what it had waited by then; main task only
 * @quota: how fast it may, under the brake's lock
 * @waits: in RING_WAIT
 * @wait_ns: time that it spent there, before @waiting_at
 * @throttle_ns: of that, for its quota
 * @waiting_at: since when it waits now, ns; 0: it does not
 * @spared: it is held back: its ring is left to get full; main task only
 */
struct ferry_vcpu {
	u64 pages;
	struct ferry_rate demand;
	u64 sampled_pages;
	u64 sampled_wait_ns;
	struct ferry_quota quota;
	atomic64_t waits;
	atomic64_t wait_ns;
	atomic64_t throttle_ns;
	u64 waiting_at;
	bool spared;
};

/**
 * struct ferry_brake - throttling of a session's vCPUs
 * @lock: protects the quotas of all vCPUs
 * @policy: KVM_FERRY_THROTTLE_NEVER, KVM_FERRY_THROTTLE_AUTO, or pages a second
 * @floor: pages a second that AUTO leaves each; 0: as the link says
 * @stall: main task only
 * @stalled: passes have not shrunk, at least once; main task only
 * @share: AUTO: of the link's rate, in sixteenths, that the guest may dirty; 0: it is
 *	not held back yet; main task only
 * @demands: room for all vCPUs', made when it is first needed; main task only
 * @room: in @demands
 * @throttled: vCPUs that are limited
 * @rate: their limits, on average
 */
struct ferry_brake {
	spinlock_t lock;
	u64 policy;
	u64 floor;
	struct ferry_stall stall;
	bool stalled;
	u32 share;
	u64 *demands;
	u32 room;
	u32 throttled;
	u64 rate;
};

void ferry_vcpu_init(struct ferry_vcpu *v);
void ferry_brake_init(struct ferry_session *s);
void ferry_brake_free(struct ferry_session *s);
/* Main task: its ring had so many entries. */
void ferry_vcpu_dirtied(struct ferry_session *s, struct ferry_ring *ring, u32 entries);
/* Main task, under map_lock: finds out whose rings are left to get full: d->spared. */
void ferry_brake_spare_locked(struct ferry_session *s);
/* Main task: looks at all vCPUs, as they were in the last @ns, and sets their limits. */
void ferry_brake_sample(struct ferry_session *s, u64 ns);
/* Main task: a pass has ended with so many pages dirty; @fits: within the downtime limit. */
void ferry_brake_pass(struct ferry_session *s, u64 left, bool fits);
/* vCPU thread: waits until its ring has room, and it may go on. */
int ferry_vcpu_wait(struct ferry_session *s, struct ferry_ring *ring, struct ferry_reason *why);
/* Under map_lock. */
void ferry_ring_read_locked(struct ferry_session *s, struct ferry_ring *ring,
			    struct kvm_ferry_ring_stats *out);
int ferry_ring_stats(struct ferry_session *s, struct kvm_ferry_ring_stats *arg,
		     struct ferry_reason *why);

#endif /* FERRY_VCPU_H */
