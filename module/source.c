// SPDX-License-Identifier: GPL-2.0-only
/*
 * The source's main task: harvest rounds and passes, one loop from CREATE until
 * the session has ended and the rings are handed back.
 *
 * A pass is a sweep of all senders over the published pages, and one more for each
 * portion that is rearmed meanwhile (dirty.c). It begins when the pass before it
 * was acknowledged on every channel, so at most one is under way. Pages that are
 * published while it runs are sent by it if they lie ahead of the sender, by the
 * next sweep otherwise.
 */
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/random.h>
#include <linux/sched/task.h>

#include "control.h"
#include "session.h"
#include "sink.h"
#include "source.h"
#include "switchover.h"
#include "trace.h"

/* While the guest would fit the downtime limit, sending hot pages anew gains little. */
#define REST_NS		(50ULL * NSEC_PER_MSEC)
#define SAMPLE_NS	(100ULL * NSEC_PER_MSEC)
#define LINK_SAMPLE_BYTES (256 << 10)

/**
 * struct pass_clock - what the main task remembers between rounds
 * @begun: a pass is under way
 * @rested_at: ns: when the next pass may begin
 * @sampled_at: ns: when the dirty rate was last sampled
 * @dirty: pages that had become dirty by then
 * @bytes_at: ns: when the link's rate was last sampled, or the pass began
 * @bytes: acknowledged by then
 */
struct pass_clock {
	bool begun;
	u64 rested_at;
	u64 sampled_at;
	u64 dirty;
	u64 bytes_at;
	u64 bytes;
};

static int check_start_locked(struct ferry_session *s, struct ferry_reason *why)
{
	lockdep_assert_held(&s->setup_lock);
	if (ferry_session_ended(s))
		return ferry_because(why, -ESHUTDOWN, "the session has ended");
	if (ferry_session_state(s) != KVM_FERRY_STATE_SETUP)
		return ferry_because(why, -EBUSY, "the session was started already");
	if (!s->nr_regions)
		return ferry_because(why, -EINVAL, "there is no region: add guest memory first");
	if (!s->control)
		return ferry_because(why, -EINVAL, "there is no control channel");
	if (!s->nr_data)
		return ferry_because(why, -EINVAL, "there is no data channel: add one to sixteen");
	if (s->vm_file && !READ_ONCE(s->dirty.nr_rings))
		return ferry_because(why, -EINVAL, "there is no ring: add those of all vCPUs");
	return 0;
}

/* Makes the channels' tasks; they run once all are there. */
static int make_tasks_locked(struct ferry_session *s)
{
	bool source = ferry_session_is_source(s);
	int (*fn)(void *) = source ? ferry_sender : ferry_sink_rx;
	struct task_struct *task;
	u32 i;

	lockdep_assert_held(&s->setup_lock);
	for (i = 0; i <= s->nr_data; i++) {
		struct ferry_channel *ch = i < s->nr_data ? s->data[i] : s->control;

		if (ch->task)	/* of a START that ran out of memory */
			continue;
		if (ch == s->control)
			task = kthread_create(ferry_control_rx, ch, "ferry-ctl-%llu", s->id);
		else
			task = kthread_create(fn, ch, "ferry-%s-%llu/%u", source ? "tx" : "rx", s->id, i);
		if (IS_ERR(task))
			return PTR_ERR(task);
		ch->task = get_task_struct(task);
	}
	return 0;
}

int ferry_start(struct ferry_session *s, struct ferry_reason *why)
{
	u32 i;
	int ret;

	mutex_lock(&s->setup_lock);
	ret = check_start_locked(s, why);
	if (!ret) {
		ret = make_tasks_locked(s);
		if (ret)
			ferry_because(why, ret, "no kernel thread could be made");
	}
	if (ret)
		goto out;
	get_random_bytes(s->token, ferry_session_is_source(s) ? sizeof(s->token) : 0);
	for (i = 0; i < s->nr_data; i++) {
		s->data[i]->ops->start(s->data[i]);
		s->data[i]->taken_before = s->data[i]->ops->taken(s->data[i]);
	}
	s->control->ops->start(s->control);
	if (ferry_session_is_source(s))
		ferry_dirty_publish_all(s);
	ret = ferry_session_step(s, FERRY_STEP_START);
	if (ret)
		goto out;
	for (i = 0; i < s->nr_data; i++)
		wake_up_process(s->data[i]->task);
	wake_up_process(s->control->task);
	queue_delayed_work(system_unbound_wq, &s->ping_work,
			   nsecs_to_jiffies(s->ping_ns) ?: 1);
out:
	mutex_unlock(&s->setup_lock);
	return ret;
}

static u32 running_data(struct ferry_session *s)
{
	/* Pairs with ferry_channel_add(): the channels below it are there. */
	return smp_load_acquire(&s->nr_data);
}

bool ferry_pass_done(struct ferry_session *s)
{
	u32 i;

	for (i = 0; i < running_data(s); i++)
		if (READ_ONCE(s->data[i]->acked_pass) != s->pass)
			return false;
	return true;
}

int ferry_pass_begin(struct ferry_session *s, bool final)
{
	u64 pages = ferry_stats_left(&s->stats);
	int ret;

	ret = ferry_control_pass(s, FERRY_MSG_PASS, s->pass + 1, 0, pages);
	if (ret)
		return ret;
	/* Senders wait for this; what they must see was written before. */
	smp_store_release(&s->pass, s->pass + 1);
	trace_ferry_pass_begin(s->id, s->pass, pages, final);
	wake_up_all(&s->wait);
	return 0;
}

void ferry_pass_end(struct ferry_session *s, bool final)
{
	trace_ferry_pass_end(s->id, s->pass, atomic64_read(&s->stats.pending), final);
	ferry_session_event(s, KVM_FERRY_EVENT_PASS);
}

/*
 * Rates, from what the counters did since the last sample. A pass's end is a
 * sample however short the pass was: a small VM may have but one.
 */
static void sample(struct ferry_session *s, struct pass_clock *c, u64 now, bool pass_end)
{
	struct ferry_stats *st = &s->stats;
	u64 dirty = atomic64_read(&st->dirty_pages), ns = now - c->sampled_at, bytes;

	/* What the link carried: what a channel took and holds is still to come. */
	ferry_stats_channels(s);
	bytes = st->acked;
	if (c->begun && (pass_end || ns >= SAMPLE_NS)) {
		/* A link that had little to carry says nothing about its rate. */
		if (bytes - c->bytes >= LINK_SAMPLE_BYTES)
			ferry_rate_add(&st->link_rate, bytes - c->bytes, now - c->bytes_at);
		c->bytes = bytes;
		c->bytes_at = now;
	}
	if (ns < SAMPLE_NS)
		return;
	ferry_rate_add(&st->dirty_rate, dirty - c->dirty, ns);
	c->sampled_at = now;
	c->dirty = dirty;
}

/*
 * Beside the bytes, a switchover costs a fence and its acknowledgement, the
 * state and READY, COMMIT and its acknowledgement: three times what a fence took
 * to come back that had hardly anything before it. Without a page left the link's rate does not matter.
 */
static void predict(struct ferry_session *s)
{
	struct ferry_stats *st = &s->stats;
	u64 bytes = ferry_stats_left(st) * PAGE_SIZE + st->queued;
	u64 fixed = 3 * READ_ONCE(st->fence_ns);
	u64 expected = bytes ? ferry_plan_downtime(bytes, READ_ONCE(st->link_rate.value), fixed) :
			       fixed;

	WRITE_ONCE(st->expected_downtime, expected);
}

static bool fits(struct ferry_session *s)
{
	return ferry_plan_converged(s->stats.expected_downtime, READ_ONCE(s->downtime_limit_ns));
}

static void finish_pass(struct ferry_session *s, struct pass_clock *c, u64 now)
{
	c->begun = false;
	ferry_pass_end(s, false);
	predict(s);
	c->rested_at = now;
	if (fits(s)) {
		c->rested_at += REST_NS;
		ferry_session_event(s, KVM_FERRY_EVENT_CONVERGED);
	}
}

/* Whether the next pass would find something, or has to measure something. */
static bool pass_wanted(struct ferry_session *s, const struct pass_clock *c)
{
	/* An empty pass shows how long a fence takes when nothing is before it. */
	return (atomic64_read(&s->stats.pending) || s->dirty.held || !READ_ONCE(s->stats.fence_ns)) &&
	       ktime_get_ns() >= c->rested_at;
}

/*
 * What the guest dirtied since the last pass is made ready only now: rearmed
 * before, it would have had to fault for the pages that it keeps writing again
 * and again, and none of them would have been sent sooner.
 */
static int begin_pass(struct ferry_session *s, struct pass_clock *c)
{
	int ret = ferry_dirty_begin(s);

	if (ret)
		return ret;
	c->bytes_at = ktime_get_ns();
	c->bytes = s->stats.acked;
	ret = ferry_pass_begin(s, false);
	c->begun = !ret;
	return ret;
}

/* What the live session's loop does each time it wakes. */
static int live(struct ferry_session *s, struct pass_clock *c)
{
	bool done = c->begun && ferry_pass_done(s);
	u64 now = ktime_get_ns();
	long ret;

	sample(s, c, now, done);
	if (done) {
		/* What is left is told by what the rings hold now. */
		ret = ferry_dirty_round(s, false);
		if (ret < 0)
			return ret;
		finish_pass(s, c, now);
	}
	if (c->begun)
		return ferry_dirty_hungry(s) ? ferry_dirty_feed(s) : 0;
	return pass_wanted(s, c) ? begin_pass(s, c) : 0;
}

/* Shows the token on every channel, and says what we have. */
static int connect(struct ferry_session *s)
{
	u32 i;
	int ret;

	for (i = 0; i < s->nr_data; i++) {
		struct ferry_channel *ch = s->data[i];
		struct ferry_msg_channel m = { .index = i, .nr_channels = s->nr_data };
		size_t len;

		memcpy(m.token, s->token, sizeof(m.token));
		len = ferry_wire_put_channel(ch->tx_buf + FERRY_WIRE_HEADER_LEN, &m);
		ret = ferry_msg_send_locked(ch, FERRY_MSG_CHANNEL, len, NULL, 0, 0);
		if (ret) {
			ferry_channel_broke(ch, ret, "sent to");
			return ret;
		}
	}
	return ferry_control_hello(s);
}

/* Its fence is out, and neither an acknowledgement nor the queue before it has moved. */
static bool fence_overdue(struct ferry_session *s, struct ferry_channel *ch, u64 now)
{
	u64 taken = ch->ops->taken(ch);

	if (taken != ch->taken) {
		ch->taken = taken;
		ch->taken_at = now;
	}
	if (READ_ONCE(ch->tx_pass) == READ_ONCE(ch->acked_pass))
		return false;
	return now > max(READ_ONCE(ch->fence_at), ch->taken_at) + s->peer_silence_ns;
}

bool ferry_source_overdue(struct ferry_session *s)
{
	u64 now = ktime_get_ns();
	u32 i;

	/* The sink gives its data channels a timeout to show their token: that, and one more. */
	if (ferry_session_state(s) == KVM_FERRY_STATE_CONNECTING &&
	    now > ktime_to_ns(s->started_at) + 2 * s->peer_silence_ns) {
		ferry_session_fail(s, -ETIMEDOUT, "the peer lives, but did not answer HELLO within %llu ms: do all channels lead to one session there?",
				   2 * s->peer_silence_ns / NSEC_PER_MSEC);
		return true;
	}
	for (i = 0; i < running_data(s); i++) {
		struct ferry_channel *ch = s->data[i];

		if (!fence_overdue(s, ch, now))
			continue;
		ferry_session_fail(s, -ETIMEDOUT, "the peer lives, but has not acknowledged pass %u on data channel %u for %llu ms: is its host out of memory, or swapping?",
				   READ_ONCE(ch->tx_pass), i, s->peer_silence_ns / NSEC_PER_MSEC);
		return true;
	}
	return false;
}

static bool round_due(struct ferry_session *s)
{
	struct ferry_dirty *d = &s->dirty;

	return atomic_read(&d->sync_wanted) != d->sync_done ||
	       (READ_ONCE(d->nr_rings) && ktime_get_ns() >= d->harvested_at + d->interval_ns);
}

static bool pass_due(struct ferry_session *s, const struct pass_clock *c)
{
	if (ferry_session_state(s) != KVM_FERRY_STATE_LIVE)
		return false;
	return c->begun ? ferry_pass_done(s) || ferry_dirty_hungry(s) : pass_wanted(s, c);
}

/* Sleeps until there is something to do; without rings that may be never. */
static void sleep_until_due(struct ferry_session *s, const struct pass_clock *c)
{
	u64 now = ktime_get_ns(), until = now + NSEC_PER_SEC;
	u32 state = ferry_session_state(s);

	if (READ_ONCE(s->dirty.nr_rings))
		until = min(until, s->dirty.harvested_at + s->dirty.interval_ns);
	if (!c->begun && c->rested_at > now)
		until = min(until, c->rested_at);
	if (until <= now)
		return;
	wait_event_interruptible_hrtimeout(s->wait, kthread_should_stop() || ferry_session_ended(s) ||
					   ferry_session_state(s) != state || round_due(s) ||
					   pass_due(s, c), ns_to_ktime(until - now));
}

static bool go_on(struct ferry_session *s)
{
	return !kthread_should_stop() && !ferry_session_ended(s);
}

int ferry_source_main(void *session)
{
	struct ferry_session *s = session;
	struct pass_clock clock = { .sampled_at = ktime_get_ns() };
	bool connected = false;
	int ret = 0;

	while (go_on(s) && ret >= 0) {
		u32 state = ferry_session_state(s);

		if (state == KVM_FERRY_STATE_CONNECTING && !connected) {
			connected = true;
			ret = connect(s);
			continue;
		}
		if (round_due(s)) {
			ret = min_t(long, ferry_dirty_round(s, false), 0);
			continue;
		}
		if (state == KVM_FERRY_STATE_FINAL) {
			ferry_switchover(s);
			break;
		}
		if (state == KVM_FERRY_STATE_LIVE)
			ret = live(s, &clock);
		if (ret >= 0)
			sleep_until_due(s, &clock);
	}
	ferry_dirty_drain(s);
	ferry_thread_rest();
	return 0;
}
