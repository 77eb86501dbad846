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
#include "estimate.h"
#include "host.h"
#include "session.h"
#include "sink.h"
#include "source.h"
#include "switchover.h"
#include "trace.h"

/* While the guest would fit the downtime limit, sending hot pages anew gains little. */
#define REST_NS		(50ULL * NSEC_PER_MSEC)
#define ROUND_TRIPS_TRIED 3
#define SAMPLE_NS	(100ULL * NSEC_PER_MSEC)
#define LINK_SAMPLE_BYTES (256 << 10)
/* So many in a row when the session begins to move memory, and at the end of a pass. */
#define ECHOES		8U
#define ECHOES_PASS	2U

/**
 * struct pass_clock - what the main task remembers between rounds
 * @begun: a pass is under way
 * @told: that the guest may be paused, since it began
 * @rested_at: ns: when the next pass may begin
 * @sampled_at: ns: when the dirty rate was last sampled
 * @dirty: pages that had become dirty by then
 * @bytes_at: ns: when the link's rate was last sampled, or the pass began
 * @bytes: acknowledged by then
 * @echoes: that are to be sent one behind the other
 * @echo_due: ns: when the next one is sent if there are none
 */
struct pass_clock {
	bool begun;
	bool told;
	u64 rested_at;
	u64 sampled_at;
	u64 dirty;
	u64 bytes_at;
	u64 bytes;
	u32 echoes;
	u64 echo_due;
};

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
	ferry_estimate_downtime(s);
	bytes = st->acked;
	if (c->begun && (pass_end || ns >= SAMPLE_NS)) {
		/*
		 * A link that had little to carry says nothing about its rate, but that it is
		 * no less: a guest that is all but empty has nothing better to go by.
		 */
		if (bytes - c->bytes >= LINK_SAMPLE_BYTES ||
		    (pass_end && bytes != c->bytes && st->link_rate.value == FERRY_PLAN_UNKNOWN))
			ferry_rate_add(&st->link_rate, bytes - c->bytes, now - c->bytes_at);
		c->bytes = bytes;
		c->bytes_at = now;
	}
	if (ns < SAMPLE_NS)
		return;
	ferry_rate_add(&st->dirty_rate, dirty - c->dirty, ns);
	ferry_brake_sample(s, ns);
	ferry_estimate_sample(s, ns);
	c->sampled_at = now;
	c->dirty = dirty;
}

static void converged(struct ferry_session *s, struct pass_clock *c)
{
	c->told = true;
	ferry_session_event(s, KVM_FERRY_EVENT_CONVERGED);
}

static void finish_pass(struct ferry_session *s, struct pass_clock *c, u64 now)
{
	c->begun = false;
	ferry_pass_end(s, false);
	/* All is placed. Whoever counts what the link took may hear of it only later. */
	WRITE_ONCE(s->stats.queued, 0);
	ferry_estimate_downtime(s);
	c->rested_at = now;
	c->echoes = max(c->echoes, ECHOES_PASS);
	if (ferry_estimate_pass(s)) {
		c->rested_at += REST_NS;
		c->echoes = ECHOES;
		converged(s, c);
	}
}

/*
 * What a round trip takes is part of the downtime. Fences are few, and while the guest
 * has the processors most of them wait for one: of many echoes one did not.
 */
static bool echo_wanted(struct ferry_session *s, const struct pass_clock *c)
{
	return (s->features & FERRY_WIRE_FEATURE_ECHO) &&
	       READ_ONCE(s->echo_heard) == s->echo_sent &&
	       (c->echoes || ktime_get_ns() >= c->echo_due);
}

static int echo(struct ferry_session *s, struct pass_clock *c)
{
	if (c->echoes)
		c->echoes--;
	c->echo_due = ktime_get_ns() + SAMPLE_NS;
	/* Their number is never 0. */
	return ferry_control_echo(s, s->echo_sent + 1 ?: 1);
}

/* Whether the next pass would find something, or has to measure something. */
static bool pass_useful(struct ferry_session *s)
{
	/* An empty pass shows how long a fence takes when nothing is before it; one may be held up. */
	return atomic64_read(&s->stats.pending) || ferry_dirty_ready(&s->dirty) ||
	       READ_ONCE(s->stats.fences) < ROUND_TRIPS_TRIED;
}

static bool pass_wanted(struct ferry_session *s, const struct pass_clock *c)
{
	return pass_useful(s) && ktime_get_ns() >= c->rested_at;
}

/*
 * A moment beside a pass's end that may be told, too. Within passes that do not shrink
 * there are better ones. And where no pass will come nothing will be better: what did not
 * fit when the last one ended, or was let go, may fit by now (a limit was raised, a round
 * trip was shorter), and nobody else would look again.
 */
static bool fits_now(struct ferry_session *s, const struct pass_clock *c)
{
	if (c->told || !(c->begun ? s->dirty.brake.stalled : !pass_useful(s)))
		return false;
	return ferry_estimate_fits(s);
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
	c->told = false;
	return ret;
}

/* What the live session's loop does each time it wakes. */
static int live(struct ferry_session *s, struct pass_clock *c)
{
	bool done = c->begun && ferry_pass_done(s);
	u64 now = ktime_get_ns();
	long ret;

	sample(s, c, now, done);
	if (s->measures)
		return 0;
	if (done) {
		/* What is left is told by what the rings hold now. */
		ret = ferry_dirty_round(s, false);
		if (ret < 0)
			return ret;
		finish_pass(s, c, now);
	}
	if (fits_now(s, c))
		converged(s, c);
	/* Ahead of the next pass: what that sends would have to leave first. */
	if (echo_wanted(s, c)) {
		ret = echo(s, c);
		if (ret)
			return ret;
	}
	if (c->begun)
		return ferry_dirty_hungry(s) ? ferry_dirty_feed(s) : 0;
	return pass_wanted(s, c) ? begin_pass(s, c) : 0;
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

static bool pass_due(struct ferry_session *s, const struct pass_clock *c)
{
	if (ferry_session_state(s) != KVM_FERRY_STATE_LIVE || s->measures)
		return false;
	if (echo_wanted(s, c))
		return true;
	return c->begun ? ferry_pass_done(s) || ferry_dirty_hungry(s) : pass_wanted(s, c);
}

/* Sleeps until there is something to do; without rings that may be never. */
static void sleep_until_due(struct ferry_session *s, const struct pass_clock *c)
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
					   pass_due(s, c), ns_to_ktime(until - now));
}

static bool go_on(struct ferry_session *s)
{
	return !kthread_should_stop() && !ferry_session_ended(s);
}

int ferry_source_main(void *session)
{
	struct ferry_session *s = session;
	struct pass_clock clock = { .sampled_at = ktime_get_ns(), .echoes = ECHOES };
	bool connected = false;
	int ret = 0;

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
			ret = live(s, &clock);
		if (ret >= 0)
			sleep_until_due(s, &clock);
	}
	ferry_dirty_drain(s);
	ferry_thread_rest();
	return 0;
}
