// SPDX-License-Identifier: GPL-2.0-only
/* Limits, pacing, abort: what operators may do to a session too. */
#include <linux/ktime.h>
#include <linux/time64.h>

#include "host.h"
#include "limits.h"
#include "session.h"

#define MIN_BANDWIDTH		65536ULL
#define MAX_BANDWIDTH		(1ULL << 50)
#define MIN_DOWNTIME_NS		(1ULL * NSEC_PER_MSEC)
#define MAX_DOWNTIME_NS		(2000ULL * NSEC_PER_SEC)
#define MIN_PEER_TIMEOUT_NS	(100ULL * NSEC_PER_MSEC)
#define MAX_PEER_TIMEOUT_NS	(3600ULL * NSEC_PER_SEC)
/* What a batch of one channel may need, and the one behind it. */
#define MIN_PINNED		(2ULL * FERRY_WIRE_MAX_BATCH_PAGES * PAGE_SIZE)
/* A vCPU that dirties fewer hardly runs. */
#define MIN_THROTTLE		64ULL
#define MAX_THROTTLE		(1ULL << 32)
#define ALL_LIMITS (KVM_FERRY_LIMIT_BANDWIDTH | KVM_FERRY_LIMIT_DOWNTIME | \
		    KVM_FERRY_LIMIT_INFLIGHT | KVM_FERRY_LIMIT_PEER_TIMEOUT | KVM_FERRY_LIMIT_VERIFY | \
		    KVM_FERRY_LIMIT_PINNED | KVM_FERRY_LIMIT_THROTTLE | KVM_FERRY_LIMIT_THROTTLE_FLOOR | \
		    KVM_FERRY_LIMIT_STATE_TIME | KVM_FERRY_LIMIT_FINAL_BANDWIDTH)

void ferry_limits_init(struct ferry_session *s)
{
	spin_lock_init(&s->pace_lock);
	ferry_pace_init(&s->pace, 0, ktime_get_ns());
	s->final_bandwidth = KVM_FERRY_BANDWIDTH_SAME;
	ferry_host_init(s);
	s->downtime_limit_ns = 300 * NSEC_PER_MSEC;
	s->inflight_bytes = 4 << 20;
	s->peer_timeout_ns = 10ULL * NSEC_PER_SEC;
	s->peer_silence_ns = s->peer_timeout_ns;
	s->ping_ns = s->peer_timeout_ns / 4;
	s->max_pinned = 256 << 20;
}

bool ferry_bandwidth_ok(u64 rate)
{
	return !rate || (rate >= MIN_BANDWIDTH && rate <= MAX_BANDWIDTH);
}

static int check_bandwidth(struct ferry_session *s, const struct kvm_ferry_limits *l,
			   struct ferry_reason *why)
{
	if ((l->flags & KVM_FERRY_LIMIT_BANDWIDTH) && !ferry_bandwidth_ok(l->max_bandwidth))
		return ferry_because(why, -EINVAL, "max_bandwidth is %llu bytes/s: use 0 for none, or 65536 to 2^50",
				     l->max_bandwidth);
	if (!(l->flags & KVM_FERRY_LIMIT_FINAL_BANDWIDTH))
		return 0;
	if (!ferry_session_is_source(s))
		return ferry_because(why, -ENOTTY, "final_bandwidth is set at the source, this is a sink: it sends no pages");
	if (l->final_bandwidth != KVM_FERRY_BANDWIDTH_SAME && !ferry_bandwidth_ok(l->final_bandwidth))
		return ferry_because(why, -EINVAL, "final_bandwidth is %llu bytes/s: use 0 for none, 65536 to 2^50, or KVM_FERRY_BANDWIDTH_SAME",
				     l->final_bandwidth);
	return 0;
}

static bool is_page_rate(u64 rate)
{
	return rate >= MIN_THROTTLE && rate <= MAX_THROTTLE;
}

static int check_throttle(struct ferry_session *s, const struct kvm_ferry_limits *l,
			  struct ferry_reason *why)
{
	u32 both = KVM_FERRY_LIMIT_THROTTLE | KVM_FERRY_LIMIT_THROTTLE_FLOOR;

	if (!(l->flags & both))
		return 0;
	if (!ferry_session_is_source(s) || !s->vm_file)
		return ferry_because(why, -ENOTTY, "throttle is set at a source with rings: vCPUs wait at theirs");
	if ((l->flags & KVM_FERRY_LIMIT_THROTTLE) && l->throttle != KVM_FERRY_THROTTLE_NEVER &&
	    l->throttle != KVM_FERRY_THROTTLE_AUTO && !is_page_rate(l->throttle))
		return ferry_because(why, -EINVAL, "throttle is %llu: use never, auto, or 64 to 2^32 pages a second for each vCPU",
				     l->throttle);
	if ((l->flags & KVM_FERRY_LIMIT_THROTTLE_FLOOR) && l->throttle_floor && !is_page_rate(l->throttle_floor))
		return ferry_because(why, -EINVAL, "throttle_floor is %llu: use 0 for what suits the link, or 64 to 2^32 pages a second for each vCPU",
				     l->throttle_floor);
	return 0;
}

static int check_limits(struct ferry_session *s, const struct kvm_ferry_limits *l,
			struct ferry_reason *why)
{
	if (l->flags & ~ALL_LIMITS)
		return ferry_because(why, -EOPNOTSUPP, "limit flags 0x%x are unknown to this module",
				     (u32)(l->flags & ~ALL_LIMITS));
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
	if ((l->flags & KVM_FERRY_LIMIT_PINNED) && ferry_session_is_source(s))
		return ferry_because(why, -ENOTTY, "max_pinned is set at the sink, this is a source: it pins nothing");
	if ((l->flags & KVM_FERRY_LIMIT_PINNED) && l->max_pinned < MIN_PINNED)
		return ferry_because(why, -EINVAL, "max_pinned is %llu: use at least 4 MiB for each RDMA channel, or KVM_FERRY_PINNED_ALL",
				     l->max_pinned);
	if ((l->flags & KVM_FERRY_LIMIT_STATE_TIME) && !ferry_session_is_source(s))
		return ferry_because(why, -ENOTTY, "state_time_ns is set at the source, which predicts the downtime: this is a sink");
	if ((l->flags & KVM_FERRY_LIMIT_STATE_TIME) && l->state_time_ns > MAX_DOWNTIME_NS)
		return ferry_because(why, -EINVAL, "state_time_ns is %llu: use 2000 s at the most",
				     l->state_time_ns);
	return check_bandwidth(s, l, why) ?: check_throttle(s, l, why);
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

static u64 final_limit(const struct ferry_session *s)
{
	u64 rate = READ_ONCE(s->final_bandwidth);

	return rate == KVM_FERRY_BANDWIDTH_SAME ? READ_ONCE(s->max_bandwidth) : rate;
}

/*
 * Whoever changes the state or a limit comes here afterwards: the one that comes last
 * sees both.
 */
void ferry_limits_apply(struct ferry_session *s)
{
	u64 rate;

	spin_lock(&s->pace_lock);
	rate = ferry_session_state(s) < KVM_FERRY_STATE_FINAL ? READ_ONCE(s->max_bandwidth) :
								final_limit(s);
	ferry_pace_set_rate(&s->pace, rate, ktime_get_ns());
	ferry_host_own_limit(s, rate);
	spin_unlock(&s->pace_lock);
	wake_up_all(&s->wait);
}

static int set_limits_locked(struct ferry_session *s, const struct kvm_ferry_limits *l,
			     struct ferry_reason *why)
{
	u32 before_start = KVM_FERRY_LIMIT_INFLIGHT | KVM_FERRY_LIMIT_VERIFY |
			   KVM_FERRY_LIMIT_PEER_TIMEOUT | KVM_FERRY_LIMIT_PINNED;

	lockdep_assert_held(&s->setup_lock);
	if ((l->flags & before_start) && ferry_session_state(s) != KVM_FERRY_STATE_SETUP)
		return ferry_because(why, -EBUSY, "inflight_bytes, peer_timeout_ns, verify and max_pinned can be set before START only");
	if (l->flags & KVM_FERRY_LIMIT_BANDWIDTH)
		WRITE_ONCE(s->max_bandwidth, l->max_bandwidth);
	if (l->flags & KVM_FERRY_LIMIT_FINAL_BANDWIDTH)
		WRITE_ONCE(s->final_bandwidth, l->final_bandwidth);
	if (l->flags & (KVM_FERRY_LIMIT_BANDWIDTH | KVM_FERRY_LIMIT_FINAL_BANDWIDTH))
		ferry_limits_apply(s);
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
	if (l->flags & KVM_FERRY_LIMIT_PINNED)
		s->max_pinned = l->max_pinned;
	if (l->flags & KVM_FERRY_LIMIT_STATE_TIME)
		WRITE_ONCE(s->state_time_ns, l->state_time_ns);
	/* The main task sets the vCPUs' limits within 100 ms. */
	if (l->flags & KVM_FERRY_LIMIT_THROTTLE)
		WRITE_ONCE(s->dirty.brake.policy, l->throttle);
	if (l->flags & KVM_FERRY_LIMIT_THROTTLE_FLOOR)
		WRITE_ONCE(s->dirty.brake.floor, l->throttle_floor);
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
		l->max_bandwidth = s->max_bandwidth;
		l->downtime_limit_ns = s->downtime_limit_ns;
		l->inflight_bytes = s->inflight_bytes;
		l->peer_timeout_ns = s->peer_timeout_ns;
		l->verify = s->verify;
		l->max_pinned = s->max_pinned;
		l->throttle = s->dirty.brake.policy;
		l->throttle_floor = s->dirty.brake.floor;
		l->state_time_ns = s->state_time_ns;
		l->final_bandwidth = s->final_bandwidth;
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

u64 ferry_send_rate(const struct ferry_session *s)
{
	u64 own = READ_ONCE(s->pace.rate), host = ferry_host_rate();

	return own && host ? min(own, host) : own ?: host;
}

u64 ferry_final_rate(const struct ferry_session *s)
{
	u64 own = final_limit(s) ?: FERRY_PLAN_UNKNOWN, host = ferry_host_share(s);

	return host ? min(own, host) : own;
}

/*
 * The debt is taken first, so that senders that wait at the same time wait one
 * behind the other. A limit that changes lets those go that wait for the old
 * one: what is left of the debt is the next batch's.
 */
static void wait_own(struct ferry_session *s, u64 bytes)
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

void ferry_pace_wait(struct ferry_session *s, u64 bytes)
{
	wait_own(s, bytes);
	ferry_host_wait(s, bytes);
}
