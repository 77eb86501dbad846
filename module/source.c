// SPDX-License-Identifier: GPL-2.0-only
/*
 * The source's main task: harvest rounds and passes, one loop from CREATE until
 * the session has ended and the rings are handed back.
 */
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/random.h>
#include <linux/sched/task.h>

#include "control.h"
#include "estimate.h"
#include "host.h"
#include "pass.h"
#include "session.h"
#include "sink.h"
#include "source.h"
#include "switchover.h"
#include "trace.h"

/* Nothing is sent, so nothing may be there that waits for it. */
static int check_measure_locked(struct ferry_session *s, struct ferry_reason *why)
{
	lockdep_assert_held(&s->setup_lock);
	if (!ferry_session_is_source(s))
		return ferry_because(why, -ENOTTY, "a sink measures nothing: start a source with KVM_FERRY_START_MEASURE");
	if (s->control || s->nr_data)
		return ferry_because(why, -EINVAL, "a session that measures moves nothing: it must have no channel");
	return 0;
}

static int check_start_locked(struct ferry_session *s, bool measure, struct ferry_reason *why)
{
	lockdep_assert_held(&s->setup_lock);
	if (ferry_session_ended(s))
		return ferry_because(why, -ESHUTDOWN, "the session has ended");
	if (ferry_session_state(s) != KVM_FERRY_STATE_SETUP)
		return ferry_because(why, -EBUSY, "the session was started already");
	if (!s->nr_regions)
		return ferry_because(why, -EINVAL, "there is no region: add guest memory first");
	if (measure && check_measure_locked(s, why))
		return why->error;
	if (!measure && !s->control)
		return ferry_because(why, -EINVAL, "there is no control channel");
	if (!measure && !s->nr_data)
		return ferry_because(why, -EINVAL, "there is no data channel: add one to sixteen");
	if (s->vm_file && !READ_ONCE(s->dirty.nr_rings))
		return ferry_because(why, -EINVAL, "there is no ring: add those of all vCPUs");
	return 0;
}

static int make_task(struct ferry_channel *ch, int (*fn)(void *), const char *what)
{
	struct task_struct *task;

	if (ch->task)	/* of a START that ran out of memory */
		return 0;
	if (ch->kind == KVM_FERRY_CHANNEL_CONTROL)
		task = kthread_create(fn, ch, "ferry-%s-%llu", what, ch->session->id);
	else
		task = kthread_create(fn, ch, "ferry-%s-%llu/%u", what, ch->session->id, ch->index);
	if (IS_ERR(task))
		return PTR_ERR(task);
	ch->task = get_task_struct(task);
	return 0;
}

/* Makes the channels' tasks; they run once all are there. */
static int make_tasks_locked(struct ferry_session *s)
{
	bool source = ferry_session_is_source(s);
	int (*fn)(void *) = source ? ferry_sender : ferry_sink_rx;
	int ret = 0;
	u32 i;

	lockdep_assert_held(&s->setup_lock);
	for (i = 0; i < s->nr_data && !ret; i++) {
		ret = make_task(s->data[i], fn, source ? "tx" : "rx");
		/* Who shows the token on which of two is seen by who receives there. */
		if (!ret && !source && s->data[i]->other)
			ret = make_task(s->data[i]->other, fn, "rx");
	}
	return ret ?: make_task(s->control, ferry_control_rx, "ctl");
}

int ferry_start(struct ferry_session *s, bool measure, struct ferry_reason *why)
{
	u32 i;
	int ret;

	mutex_lock(&s->setup_lock);
	ret = check_start_locked(s, measure, why);
	if (!ret && measure) {
		WRITE_ONCE(s->measures, true);
		ret = ferry_session_step(s, FERRY_STEP_START);
		goto out;
	}
	if (!ret) {
		ret = make_tasks_locked(s);
		if (ret)
			ferry_because(why, ret, "no kernel thread could be made");
	}
	if (ret)
		goto out;
	get_random_bytes(s->token, ferry_session_is_source(s) ? sizeof(s->token) : 0);
	for (i = 0; i < s->nr_data; i++) {
		struct ferry_channel *ch = s->data[i];

		ch->ops->start(ch);
		ch->taken_before = ch->ops->taken(ch);
		if (ch->other)
			ch->other->ops->start(ch->other);
	}
	s->control->ops->start(s->control);
	if (ferry_session_is_source(s))
		ferry_dirty_publish_all(s);
	ret = ferry_session_step(s, FERRY_STEP_START);
	if (ret)
		goto out;
	if (ferry_session_is_source(s))
		ferry_host_join(s);
	/* Whoever runs may put the other one of two in its place. */
	for (i = 0; i < s->nr_data; i++) {
		struct ferry_channel *ch = s->data[i], *other = ch->other;

		if (other && other->task)
			wake_up_process(other->task);
		wake_up_process(ch->task);
	}
	wake_up_process(s->control->task);
	queue_delayed_work(system_unbound_wq, &s->ping_work,
			   nsecs_to_jiffies(s->ping_ns) ?: 1);
out:
	mutex_unlock(&s->setup_lock);
	return ret;
}

int ferry_source_show_token(struct ferry_channel *ch)
{
	struct ferry_session *s = ch->session;
	struct ferry_msg_channel m = { .index = ch->index, .nr_channels = s->nr_data };
	size_t len;
	int ret;

	memcpy(m.token, s->token, sizeof(m.token));
	len = ferry_wire_put_channel(ch->tx_buf + FERRY_WIRE_HEADER_LEN, &m);
	ret = ferry_msg_send_locked(ch, FERRY_MSG_CHANNEL, len, NULL, 0, 0);
	if (ret)
		ferry_channel_broke(ch, ret, "sent to");
	return ret;
}

/*
 * Shows the token on every channel, and says what we have. Channels that have to
 * be connected come behind HELLO: the peer must know whom to let in. Their senders
 * do it, so that meanwhile rings are harvested.
 */
static int connect(struct ferry_session *s)
{
	int ret = 0;
	u32 i;

	for (i = 0; i < s->nr_data && !ret; i++)
		if (!s->data[i]->ops->connect)
			ret = ferry_source_show_token(s->data[i]);
	if (!ret)
		ret = ferry_control_hello(s);
	if (ret)
		return ret;
	/* Pairs with ferry_sender(). */
	smp_store_release(&s->hello_seen, true);
	wake_up_all(&s->wait);
	return 0;
}

/*
 * From here on it is told what the guest writes: what it wrote before must not show up,
 * and what it writes meanwhile may.
 */
static int begin_measuring(struct ferry_session *s)
{
	long entries;

	atomic_or(FERRY_REARM_WINDOW, &s->dirty.rearm_wanted);
	entries = ferry_dirty_round(s, true);
	return entries < 0 ? entries : ferry_session_step(s, FERRY_STEP_AGREED);
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
	for (i = 0; i < ferry_session_nr_data(s); i++) {
		struct ferry_channel *ch = s->data[i];

		if (!fence_overdue(s, ch, now))
			continue;
		ferry_session_fail(s, -ETIMEDOUT, "the peer lives, but has not acknowledged pass %u on data channel %u for %llu ms: is its host out of memory, or swapping?",
				   READ_ONCE(ch->tx_pass), i, s->peer_silence_ns / NSEC_PER_MSEC);
		return true;
	}
	return false;
}

/* Harvests come by the clock, too, and not only when somebody asks. */
static bool is_polled(struct ferry_session *s)
{
	return READ_ONCE(s->dirty.nr_rings) || s->dirty.ops->polled;
}

static bool round_due(struct ferry_session *s)
{
	struct ferry_dirty *d = &s->dirty;

	return atomic_read(&d->sync_wanted) != d->sync_done ||
	       (is_polled(s) && ktime_get_ns() >= d->harvested_at + d->interval_ns);
}

/* Sleeps until there is something to do; without rings that may be never. */
static void sleep_until_due(struct ferry_session *s, const struct ferry_pass_clock *c)
{
	u64 now = ktime_get_ns(), until = now + NSEC_PER_SEC;
	u32 state = ferry_session_state(s);

	if (is_polled(s))
		until = min(until, s->dirty.harvested_at + s->dirty.interval_ns);
	if (!c->begun && c->rested_at > now)
		until = min(until, c->rested_at);
	if (until <= now)
		return;
	wait_event_interruptible_hrtimeout(s->wait, kthread_should_stop() || ferry_session_ended(s) ||
					   ferry_session_state(s) != state || round_due(s) ||
					   ferry_live_due(s, c), ns_to_ktime(until - now));
}

static bool go_on(struct ferry_session *s)
{
	return !kthread_should_stop() && !ferry_session_ended(s);
}

int ferry_source_main(void *session)
{
	struct ferry_session *s = session;
	struct ferry_pass_clock clock;
	bool connected = false;
	int ret = 0;

	ferry_pass_clock_init(&clock);
	while (go_on(s) && ret >= 0) {
		u32 state = ferry_session_state(s);

		if (state == KVM_FERRY_STATE_CONNECTING && !connected) {
			connected = true;
			ret = s->measures ? begin_measuring(s) : connect(s);
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
			ret = ferry_live(s, &clock);
		if (ret >= 0)
			sleep_until_due(s, &clock);
	}
	ferry_dirty_drain(s);
	ferry_thread_rest();
	return 0;
}
