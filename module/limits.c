// SPDX-License-Identifier: GPL-2.0-only
/* Limits, pacing, abort: what operators may do to a session too. */
#include <linux/ktime.h>
#include <linux/time64.h>

#include "limits.h"
#include "session.h"

#define MIN_BANDWIDTH		65536ULL
#define MIN_DOWNTIME_NS		(1ULL * NSEC_PER_MSEC)
#define MAX_DOWNTIME_NS		(2000ULL * NSEC_PER_SEC)
#define MIN_PEER_TIMEOUT_NS	(100ULL * NSEC_PER_MSEC)
#define MAX_PEER_TIMEOUT_NS	(3600ULL * NSEC_PER_SEC)
#define ALL_LIMITS (KVM_FERRY_LIMIT_BANDWIDTH | KVM_FERRY_LIMIT_DOWNTIME | \
		    KVM_FERRY_LIMIT_INFLIGHT | KVM_FERRY_LIMIT_PEER_TIMEOUT | KVM_FERRY_LIMIT_VERIFY)

void ferry_limits_init(struct ferry_session *s)
{
	spin_lock_init(&s->pace_lock);
	ferry_pace_init(&s->pace, 0, ktime_get_ns());
	s->downtime_limit_ns = 300 * NSEC_PER_MSEC;
	s->inflight_bytes = 4 << 20;
	s->peer_timeout_ns = 10ULL * NSEC_PER_SEC;
	s->peer_silence_ns = s->peer_timeout_ns;
	s->ping_ns = s->peer_timeout_ns / 4;
}

static int check_limits(struct ferry_session *s, const struct kvm_ferry_limits *l,
			struct ferry_reason *why)
{
	if (l->flags & ~ALL_LIMITS)
		return ferry_because(why, -EOPNOTSUPP, "limit flags 0x%x are unknown to this module",
				     (u32)(l->flags & ~ALL_LIMITS));
	if ((l->flags & KVM_FERRY_LIMIT_BANDWIDTH) && l->max_bandwidth &&
	    (l->max_bandwidth < MIN_BANDWIDTH || l->max_bandwidth > (1ULL << 50)))
		return ferry_because(why, -EINVAL, "max_bandwidth is %llu bytes/s: use 0 for none, or 65536 to 2^50",
				     l->max_bandwidth);
	if ((l->flags & KVM_FERRY_LIMIT_DOWNTIME) &&
	    (l->downtime_limit_ns < MIN_DOWNTIME_NS || l->downtime_limit_ns > MAX_DOWNTIME_NS))
		return ferry_because(why, -EINVAL, "downtime_limit_ns is %llu: use 1 ms to 2000 s",
				     l->downtime_limit_ns);
	if ((l->flags & KVM_FERRY_LIMIT_INFLIGHT) &&
	    (l->inflight_bytes < FERRY_QUEUE_MIN_BYTES || l->inflight_bytes > KVM_FERRY_MAX_INFLIGHT_BYTES))
		return ferry_because(why, -EINVAL, "inflight_bytes is %llu: use 256 KiB to 64 MiB",
				     l->inflight_bytes);
	if ((l->flags & KVM_FERRY_LIMIT_PEER_TIMEOUT) &&
	    (l->peer_timeout_ns < MIN_PEER_TIMEOUT_NS || l->peer_timeout_ns > MAX_PEER_TIMEOUT_NS))
		return ferry_because(why, -EINVAL, "peer_timeout_ns is %llu: use 100 ms to one hour",
				     l->peer_timeout_ns);
	if ((l->flags & KVM_FERRY_LIMIT_VERIFY) && l->verify > 1)
		return ferry_because(why, -EINVAL, "verify is %u: use 0 or 1", l->verify);
	if ((l->flags & KVM_FERRY_LIMIT_VERIFY) && !ferry_session_is_source(s))
		return ferry_because(why, -ENOTTY, "verify is set at the source, this is a sink");
	return 0;
}

/*
 * The sides may have been given different timeouts: each waits the longer of
 * both, as far as it knows the other's, and pings for the shorter.
 */
void ferry_peer_timeout(struct ferry_session *s, u64 theirs)
{
	s->peer_silence_ns = max(s->peer_timeout_ns, theirs);
	s->ping_ns = min(s->peer_timeout_ns, theirs) / 4;
}

static int set_limits_locked(struct ferry_session *s, const struct kvm_ferry_limits *l,
			     struct ferry_reason *why)
{
	u32 before_start = KVM_FERRY_LIMIT_INFLIGHT | KVM_FERRY_LIMIT_VERIFY |
			   KVM_FERRY_LIMIT_PEER_TIMEOUT;

	lockdep_assert_held(&s->setup_lock);
	if ((l->flags & before_start) && ferry_session_state(s) != KVM_FERRY_STATE_SETUP)
		return ferry_because(why, -EBUSY, "inflight_bytes, peer_timeout_ns and verify can be set before START only");
	if (l->flags & KVM_FERRY_LIMIT_BANDWIDTH) {
		spin_lock(&s->pace_lock);
		ferry_pace_set_rate(&s->pace, l->max_bandwidth, ktime_get_ns());
		spin_unlock(&s->pace_lock);
		wake_up_all(&s->wait);
	}
	if (l->flags & KVM_FERRY_LIMIT_DOWNTIME)
		WRITE_ONCE(s->downtime_limit_ns, l->downtime_limit_ns);
	if (l->flags & KVM_FERRY_LIMIT_INFLIGHT)
		s->inflight_bytes = l->inflight_bytes;
	if (l->flags & KVM_FERRY_LIMIT_PEER_TIMEOUT)
		s->peer_timeout_ns = l->peer_timeout_ns;
	if (ferry_session_state(s) == KVM_FERRY_STATE_SETUP)
		ferry_peer_timeout(s, s->peer_timeout_ns);
	if (l->flags & KVM_FERRY_LIMIT_VERIFY)
		s->verify = l->verify;
	return 0;
}

int ferry_limits(struct ferry_session *s, struct kvm_ferry_limits *l, struct ferry_reason *why)
{
	int ret = check_limits(s, l, why);

	if (ret)
		return ret;
	mutex_lock(&s->setup_lock);
	ret = set_limits_locked(s, l, why);
	if (!ret) {
		l->max_bandwidth = READ_ONCE(s->pace.rate);
		l->downtime_limit_ns = s->downtime_limit_ns;
		l->inflight_bytes = s->inflight_bytes;
		l->peer_timeout_ns = s->peer_timeout_ns;
		l->verify = s->verify;
	}
	mutex_unlock(&s->setup_lock);
	return ret;
}

int ferry_abort(struct ferry_session *s, struct ferry_reason *why)
{
	/* The peer is told this sentence too, so it names the side. */
	int ret = ferry_session_end(s, FERRY_STEP_ABORT, -ECANCELED,
				    "the VMM or an operator at the %s aborted it",
				    ferry_session_is_source(s) ? "source" : "sink");

	if (ret == -EBUSY)
		return ferry_because(why, ret, "COMMIT was sent: the sink may own the guest; wait for its answer");
	if (wait_for_completion_interruptible(&s->drained))
		return ferry_because(why, -EINTR, "a signal came");
	return 0;
}

u64 ferry_queue_bytes(const struct ferry_session *s)
{
	return ferry_plan_queue(READ_ONCE(s->stats.link_rate.value), s->nr_data, s->inflight_bytes);
}

/*
 * The debt is taken first, so that senders that wait at the same time wait one
 * behind the other. A limit that changes lets those go that wait for the old
 * one: what is left of the debt is the next batch's.
 */
void ferry_pace_wait(struct ferry_session *s, u64 bytes)
{
	u64 ns, rate;

	if (!READ_ONCE(s->pace.rate))
		return;
	spin_lock(&s->pace_lock);
	rate = s->pace.rate;
	ns = ferry_pace_take(&s->pace, bytes, ktime_get_ns());
	spin_unlock(&s->pace_lock);
	if (!ns)
		return;
	atomic64_add(ns, &s->stats.pacing_ns);
	wait_event_hrtimeout(s->wait, ferry_session_ended(s) || READ_ONCE(s->pace.rate) != rate,
			     ns_to_ktime(ns));
}
