// SPDX-License-Identifier: GPL-2.0-only
/*
 * The limit that all sources of this host share.
 *
 * A sender that has kept its session's own limit waits here for the session's turn.
 * Only whoever is next knows for how long: until what was sent before is paid for. The
 * others sleep until they are called: when a sender has had its turn or given up, when
 * a session has left, and when the limit changes. Nothing is reserved ahead, so a new
 * limit holds at once, and a session that ends leaves nothing behind but what it sent.
 *
 * Lock order: host_lock is inside of pace_lock, and of no other; only a wait queue's
 * own is taken inside of it.
 */
#include <linux/atomic.h>
#include <linux/ktime.h>
#include <linux/spinlock.h>

#include "host.h"
#include "limits.h"
#include "session.h"

/* protects: share, and struct ferry_host_turn of every session */
static DEFINE_SPINLOCK(host_lock);
static struct ferry_share share;
static atomic64_t transferred;		/* by all sources, those that are gone too */

void ferry_host_init(struct ferry_session *s)
{
	init_waitqueue_head(&s->host.wait);
}

static void call(struct ferry_turn *t)
{
	struct ferry_host_turn *h = container_of(t, struct ferry_host_turn, turn);

	lockdep_assert_held(&host_lock);
	WRITE_ONCE(h->calls, h->calls + 1);
	wake_up_all(&h->wait);
}

static void call_next(void)
{
	struct ferry_turn *t = ferry_share_next(&share);

	if (t)
		call(t);
}

void ferry_host_join(struct ferry_session *s)
{
	spin_lock(&host_lock);
	/* It may have ended since it was started; then end_work comes no more, or later. */
	if (!ferry_session_ended(s)) {
		ferry_share_add(&share, &s->host.turn);
		s->host.joined = true;
	}
	spin_unlock(&host_lock);
}

void ferry_host_leave(struct ferry_session *s)
{
	spin_lock(&host_lock);
	if (s->host.joined) {
		ferry_share_remove(&share, &s->host.turn);
		s->host.joined = false;
		call(&s->host.turn);
		call_next();
	}
	spin_unlock(&host_lock);
}

void ferry_host_own_limit(struct ferry_session *s, u64 rate)
{
	spin_lock(&host_lock);
	s->host.turn.limit = rate;
	spin_unlock(&host_lock);
}

/*
 * Whether a sender waits no longer: it may send, there is no limit any more, or the
 * session has left. Otherwise it waits for @ns, or, if that is 0, to be called; and to
 * be called once more than @calls.
 */
static bool ask(struct ferry_host_turn *h, u32 ticket, u64 bytes, u64 *ns, u32 *calls)
{
	bool over = true;

	*ns = 0;
	spin_lock(&host_lock);
	*calls = h->calls;
	if (!h->joined || !share.pace.rate) {
		ferry_share_give_up(&h->turn);
	} else if (ferry_share_next(&share) == &h->turn && (s32)(ticket - h->served) <= 0) {
		*ns = ferry_share_take(&share, &h->turn, bytes, ktime_get_ns());
		over = !*ns;
	} else {
		over = false;
	}
	if (over) {
		/* Whoever leaves out of turn makes room for one: the oldest is always served. */
		h->served++;
		call_next();
	}
	spin_unlock(&host_lock);
	return over;
}

static void wait_turn(struct ferry_host_turn *h, u64 bytes)
{
	u32 ticket, calls;
	u64 ns;

	spin_lock(&host_lock);
	ticket = h->tickets++;
	ferry_share_wait(&share, &h->turn);
	spin_unlock(&host_lock);
	while (!ask(h, ticket, bytes, &ns, &calls)) {
		if (ns)
			wait_event_hrtimeout(h->wait, READ_ONCE(h->calls) != calls, ns_to_ktime(ns));
		else
			wait_event_idle(h->wait, READ_ONCE(h->calls) != calls);
	}
}

void ferry_host_wait(struct ferry_session *s, u64 bytes)
{
	u64 begun = ktime_get_ns();

	if (ferry_host_rate()) {
		wait_turn(&s->host, bytes);
		atomic64_add(ktime_get_ns() - begun, &s->stats.pacing_ns);
	}
	if (ferry_session_ended(s))
		return;
	WRITE_ONCE(s->host.turn.sent_ns, ktime_get_ns());
	atomic64_add(bytes, &transferred);
}

u64 ferry_host_rate(void)
{
	return READ_ONCE(share.pace.rate);
}

u64 ferry_host_share(const struct ferry_session *s)
{
	u64 rate = 0;

	spin_lock(&host_lock);
	if (share.pace.rate)
		rate = ferry_share_level(&share, &s->host.turn, ktime_get_ns());
	spin_unlock(&host_lock);
	return rate;
}

static void set_rate(u64 rate)
{
	struct ferry_turn *t;

	lockdep_assert_held(&host_lock);
	ferry_pace_set_rate(&share.pace, rate, ktime_get_ns());
	for (t = share.first; t; t = t->next)
		call(t);
}

int ferry_host_limits(struct kvm_ferry_host_limits *l, struct ferry_reason *why)
{
	u64 now_ns = ktime_get_ns();
	u32 unknown = l->flags & ~KVM_FERRY_HOST_BANDWIDTH;

	if (unknown)
		return ferry_because(why, -EOPNOTSUPP, "host limit flags 0x%x are unknown to this module",
				     unknown);
	if ((l->flags & KVM_FERRY_HOST_BANDWIDTH) && !ferry_bandwidth_ok(l->max_bandwidth))
		return ferry_because(why, -EINVAL, "max_bandwidth is %llu bytes/s: use 0 for none, or 65536 to 2^50",
				     l->max_bandwidth);
	spin_lock(&host_lock);
	if (l->flags & KVM_FERRY_HOST_BANDWIDTH)
		set_rate(l->max_bandwidth);
	l->max_bandwidth = share.pace.rate;
	l->out_share = share.pace.rate ? ferry_share_level(&share, NULL, now_ns) : 0;
	l->out_sessions = ferry_share_active(&share, now_ns);
	spin_unlock(&host_lock);
	l->out_transferred = atomic64_read(&transferred);
	return 0;
}
