// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs: how fast each dirties memory, and holding back those that are too fast.
 *
 * A vCPU is stopped where it stops anyway, at its full ring: it waits there until
 * what it has dirtied is within its quota. No other vCPU waits for that. Its ring
 * is emptied before, so its pages travel while it waits, and passes shrink.
 */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "session.h"

/* Of the link's rate, in sixteenths: at first, and at the least. */
#define SHARE_FIRST	12
#define SHARE_LEAST	1

void ferry_vcpu_init(struct ferry_vcpu *v)
{
	ferry_rate_init(&v->demand);
	ferry_quota_init(&v->quota);
}

void ferry_brake_init(struct ferry_session *s)
{
	struct ferry_brake *b = &s->dirty.brake;

	spin_lock_init(&b->lock);
	b->policy = KVM_FERRY_THROTTLE_NEVER;
}

void ferry_brake_free(struct ferry_session *s)
{
	kvfree(s->dirty.brake.demands);
}

void ferry_vcpu_dirtied(struct ferry_session *s, struct ferry_ring *ring, u32 entries)
{
	struct ferry_vcpu *v = &ring->vcpu;

	WRITE_ONCE(v->pages, v->pages + entries);
	if (READ_ONCE(v->quota.limit) == FERRY_THROTTLE_NONE)
		return;
	spin_lock(&s->dirty.brake.lock);
	ferry_quota_charge(&v->quota, entries, ktime_get_ns());
	spin_unlock(&s->dirty.brake.lock);
}

/*
 * A ring that is reset early never gets full, and its vCPU never waits. One that does
 * wait has its ring emptied; and when the guest is paused, or the VMM wants to know all,
 * nobody is spared.
 */
void ferry_brake_spare_locked(struct ferry_session *s)
{
	struct ferry_dirty *d = &s->dirty;
	bool may = ferry_session_state(s) == KVM_FERRY_STATE_LIVE && !d->whole;
	u64 now = ktime_get_ns();
	struct ferry_ring *ring;
	unsigned long id;

	lockdep_assert_held(&d->map_lock);
	d->spared = 0;
	xa_for_each(&d->rings, id, ring) {
		struct ferry_vcpu *v = &ring->vcpu;

		v->spared = false;
		if (!may || v->quota.limit == FERRY_THROTTLE_NONE || READ_ONCE(v->waiting_at))
			continue;
		spin_lock(&d->brake.lock);
		v->spared = ferry_quota_wait(&v->quota, now);
		spin_unlock(&d->brake.lock);
		if (v->spared)
			d->spared += ring->held;
	}
}

static u64 waited(struct ferry_vcpu *v, u64 now)
{
	u64 since = READ_ONCE(v->waiting_at);

	return atomic64_read(&v->wait_ns) + (since && now > since ? now - since : 0);
}

/* A vCPU that waited all the time has shown nothing. */
static void sample_vcpu(struct ferry_vcpu *v, u64 ns)
{
	u64 wait = waited(v, ktime_get_ns()), idle = wait - v->sampled_wait_ns;

	if (idle < ns)
		ferry_rate_add(&v->demand, v->pages - v->sampled_pages, ns - idle);
	v->sampled_pages = v->pages;
	v->sampled_wait_ns = wait;
}

static u64 demand_of(const struct ferry_vcpu *v)
{
	return v->demand.value == FERRY_PLAN_UNKNOWN ? 0 : v->demand.value;
}

/* The limit that AUTO wants for all that dirty more. */
static u64 auto_level(struct ferry_session *s)
{
	struct ferry_brake *b = &s->dirty.brake;
	u64 link = READ_ONCE(s->stats.link_rate.value);
	struct ferry_ring *ring;
	unsigned long id;
	u32 nr = 0;

	if (!b->share || link == FERRY_PLAN_UNKNOWN)
		return FERRY_THROTTLE_NONE;
	xa_for_each(&s->dirty.rings, id, ring)
		if (nr < b->room)
			b->demands[nr++] = demand_of(&ring->vcpu);
	return ferry_throttle_level(b->demands, nr, link / PAGE_SIZE / 16 * b->share);
}

static u64 next_limit(struct ferry_vcpu *v, u64 policy, u64 level, u64 floor)
{
	if (policy == KVM_FERRY_THROTTLE_NEVER)
		return FERRY_THROTTLE_NONE;
	if (policy != KVM_FERRY_THROTTLE_AUTO)
		return policy;
	if (level == FERRY_THROTTLE_NONE && v->quota.limit == FERRY_THROTTLE_NONE)
		return FERRY_THROTTLE_NONE;
	return ferry_throttle_step(v->quota.limit, level, demand_of(v), floor);
}

/* Without room for the demands nobody is held back, which is no error. */
static void make_room(struct ferry_session *s)
{
	struct ferry_brake *b = &s->dirty.brake;
	u32 nr = s->dirty.nr_rings;

	if (nr <= b->room)
		return;
	kvfree(b->demands);
	b->demands = kvmalloc_array(nr, sizeof(*b->demands), GFP_KERNEL);
	b->room = b->demands ? nr : 0;
}

void ferry_brake_sample(struct ferry_session *s, u64 ns)
{
	struct ferry_brake *b = &s->dirty.brake;
	u64 now = ktime_get_ns(), policy = READ_ONCE(b->policy), level, floor, sum = 0;
	u64 link = READ_ONCE(s->stats.link_rate.value);
	struct ferry_ring *ring;
	unsigned long id;
	u32 throttled = 0;
	bool changed = false;

	/* The rings stay, but others may come. */
	mutex_lock(&s->dirty.map_lock);
	make_room(s);
	xa_for_each(&s->dirty.rings, id, ring)
		sample_vcpu(&ring->vcpu, ns);
	level = auto_level(s);
	floor = READ_ONCE(b->floor) ?: ferry_throttle_floor(link / PAGE_SIZE, s->dirty.nr_rings);
	xa_for_each(&s->dirty.rings, id, ring) {
		struct ferry_vcpu *v = &ring->vcpu;
		u64 limit = next_limit(v, policy, level, floor);

		if (limit != FERRY_THROTTLE_NONE) {
			throttled++;
			sum += min(limit, 1ULL << 32);
		}
		if (limit == v->quota.limit)
			continue;
		changed = true;
		spin_lock(&b->lock);
		ferry_quota_set(&v->quota, limit, now);
		spin_unlock(&b->lock);
	}
	mutex_unlock(&s->dirty.map_lock);
	WRITE_ONCE(b->throttled, throttled);
	WRITE_ONCE(b->rate, throttled ? div64_u64(sum, throttled) : 0);
	/* Who waits looks again. */
	if (changed)
		wake_up_all(&s->wait);
}

void ferry_brake_pass(struct ferry_session *s, u64 left, bool fits)
{
	struct ferry_brake *b = &s->dirty.brake;
	bool stalled = ferry_stall_pass(&b->stall, left);

	b->stalled |= stalled;
	if (READ_ONCE(b->policy) != KVM_FERRY_THROTTLE_AUTO)
		b->share = 0;
	else if (!fits && b->share)
		b->share = max(b->share * 3 / 4, (u32)SHARE_LEAST);
	else if (!fits && stalled)
		b->share = SHARE_FIRST;
}

/*
 * Until what its vCPU has dirtied is allowed, or the guest is paused, or nothing holds.
 * A limit that falls meanwhile does not make it wait longer than any may.
 */
static int wait_for_quota(struct ferry_session *s, struct ferry_vcpu *v)
{
	u64 begin = ktime_get_ns(), end = begin + FERRY_THROTTLE_MAX_WAIT_NS, now = begin;
	struct ferry_brake *b = &s->dirty.brake;
	int ret = 0;

	while (now < end && ferry_session_state(s) == KVM_FERRY_STATE_LIVE && ret != -ERESTARTSYS) {
		u64 limit, ns;

		spin_lock(&b->lock);
		ns = ferry_quota_wait(&v->quota, now);
		limit = v->quota.limit;
		spin_unlock(&b->lock);
		if (!ns)
			break;
		ret = wait_event_interruptible_hrtimeout(s->wait, READ_ONCE(v->quota.limit) != limit ||
							 ferry_session_state(s) != KVM_FERRY_STATE_LIVE,
							 ns_to_ktime(min(ns, end - now)));
		now = ktime_get_ns();
	}
	atomic64_add(now - begin, &v->throttle_ns);
	atomic64_add(now - begin, &s->stats.throttle_ns);
	return ret == -ERESTARTSYS ? ret : 0;
}

int ferry_vcpu_wait(struct ferry_session *s, struct ferry_ring *ring, struct ferry_reason *why)
{
	struct ferry_vcpu *v = &ring->vcpu;
	u64 begin = ktime_get_ns(), ns;
	int ret;

	atomic64_inc(&s->stats.ring_full);
	atomic64_inc(&v->waits);
	WRITE_ONCE(v->waiting_at, begin);
	/* A round that began after the call has emptied every ring. */
	ret = ferry_dirty_sync(s, FERRY_REARM_READY, NULL, why);
	if (ret == -EBUSY)	/* the final pass has begun: the rings are being emptied */
		ret = 0;
	if (!ret && wait_for_quota(s, v))
		ret = ferry_because(why, -EINTR, "a signal came");
	if (!ret && ferry_session_ended(s))
		ret = ferry_because(why, -ESHUTDOWN, "the session has ended");
	ns = ktime_get_ns() - begin;
	WRITE_ONCE(v->waiting_at, 0);
	atomic64_add(ns, &v->wait_ns);
	atomic64_add(ns, &s->stats.ring_full_ns);
	return ret;
}

void ferry_ring_read_locked(struct ferry_session *s, struct ferry_ring *ring,
			    struct kvm_ferry_ring_stats *out)
{
	u64 limit = READ_ONCE(ring->vcpu.quota.limit);

	lockdep_assert_held(&s->dirty.map_lock);
	out->out_ring_id = ring->id;
	out->out_ring_entries = ring->entries;
	out->out_dirty_pages = READ_ONCE(ring->vcpu.pages);
	out->out_dirty_rate = demand_of(&ring->vcpu);
	out->out_throttle_rate = limit == FERRY_THROTTLE_NONE ? 0 : limit;
	out->out_waits = atomic64_read(&ring->vcpu.waits);
	out->out_wait_ns = waited(&ring->vcpu, ktime_get_ns());
	out->out_throttle_ns = atomic64_read(&ring->vcpu.throttle_ns);
}

int ferry_ring_stats(struct ferry_session *s, struct kvm_ferry_ring_stats *arg,
		     struct ferry_reason *why)
{
	struct ferry_ring *ring;
	u32 index = arg->index;
	unsigned long id;

	if (!ferry_session_is_source(s))
		return ferry_because(why, -ENOTTY, "a sink has no rings");
	/* An operator may be here when the session is closed: ferry_rings_free(). */
	mutex_lock(&s->dirty.map_lock);
	xa_for_each(&s->dirty.rings, id, ring)
		if (!index--)
			break;
	if (ring)
		ferry_ring_read_locked(s, ring, arg);
	mutex_unlock(&s->dirty.map_lock);
	return ring ? 0 : ferry_because(why, -ENOENT, "there are no more rings");
}
