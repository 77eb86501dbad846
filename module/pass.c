// SPDX-License-Identifier: GPL-2.0-only
/*
 * Passes of a live source, by its main task.
 *
 * A pass is a sweep of all senders over the published pages, and one more for each
 * portion that is rearmed meanwhile (dirty.c). It begins when the pass before it
 * was acknowledged on every channel, so at most one is under way. Pages that are
 * published while it runs are sent by it if they lie ahead of the sender, by the
 * next sweep otherwise. When one ends, what pausing the guest would cost is predicted
 * from it (estimate.c), and the VMM is told when that is little enough.
 */
#include <linux/ktime.h>

#include "control.h"
#include "estimate.h"
#include "limits.h"
#include "pass.h"
#include "session.h"
#include "trace.h"

/* While the guest would fit the downtime limit, sending hot pages anew gains little. */
#define REST_NS		(50ULL * NSEC_PER_MSEC)
#define ROUND_TRIPS_TRIED 3
#define SAMPLE_NS	(100ULL * NSEC_PER_MSEC)
/* So many in a row when the session begins to move memory, and at the end of a pass. */
#define ECHOES		8U
#define ECHOES_PASS	2U

void ferry_pass_clock_init(struct ferry_pass_clock *c)
{
	*c = (struct ferry_pass_clock) { .sampled_at = ktime_get_ns(), .echoes = ECHOES };
}

bool ferry_pass_done(struct ferry_session *s)
{
	u32 i;

	for (i = 0; i < ferry_session_nr_data(s); i++)
		if (READ_ONCE(s->data[i]->acked_pass) != s->pass)
			return false;
	return true;
}

int ferry_pass_begin(struct ferry_session *s, bool final)
{
	u64 pages = ferry_stats_left(&s->stats);
	int ret;

	ret = ferry_control_pass(s, FERRY_MSG_PASS, s->pass + 1, 0, pages);
	if (!ret)
		ret = ferry_session_pass(s, s->pass + 1);
	if (ret)
		return ret;
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
static void sample(struct ferry_session *s, struct ferry_pass_clock *c, u64 now, bool pass_end)
{
	struct ferry_stats *st = &s->stats;
	u64 dirty = atomic64_read(&st->dirty_pages), ns = now - c->sampled_at, bytes;

	/* What the link carried: what a channel took and holds is still to come. */
	ferry_stats_channels(s);
	ferry_estimate_downtime(s);
	bytes = st->acked;
	/*
	 * What says too little goes into the next sample of the pass. A guest that is all but
	 * empty has nothing better to go by: its link is no slower.
	 */
	if (c->begun && (pass_end || ns >= SAMPLE_NS) &&
	    (ferry_plan_link_sample(bytes - c->bytes, now - c->bytes_at, st->queued) ||
	     (pass_end && bytes != c->bytes && st->link_rate.value == FERRY_PLAN_UNKNOWN))) {
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

static void converged(struct ferry_session *s, struct ferry_pass_clock *c)
{
	c->told = true;
	ferry_session_event(s, KVM_FERRY_EVENT_CONVERGED);
}

static void finish_pass(struct ferry_session *s, struct ferry_pass_clock *c, u64 now)
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
static bool echo_wanted(struct ferry_session *s, const struct ferry_pass_clock *c)
{
	return (s->features & FERRY_WIRE_FEATURE_ECHO) &&
	       READ_ONCE(s->echo_heard) == s->echo_sent &&
	       (c->echoes || ktime_get_ns() >= c->echo_due);
}

static int echo(struct ferry_session *s, struct ferry_pass_clock *c)
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

static bool pass_wanted(struct ferry_session *s, const struct ferry_pass_clock *c)
{
	return pass_useful(s) && ktime_get_ns() >= c->rested_at;
}

/*
 * A moment beside a pass's end that may be told, too. Within passes that do not shrink
 * there are better ones. And where no pass will come nothing will be better: what did not
 * fit when the last one ended, or was let go, may fit by now (a limit was raised, a round
 * trip was shorter), and nobody else would look again.
 */
static bool fits_now(struct ferry_session *s, const struct ferry_pass_clock *c)
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
static int begin_pass(struct ferry_session *s, struct ferry_pass_clock *c)
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

int ferry_live(struct ferry_session *s, struct ferry_pass_clock *c)
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

bool ferry_live_due(struct ferry_session *s, const struct ferry_pass_clock *c)
{
	if (ferry_session_state(s) != KVM_FERRY_STATE_LIVE || s->measures)
		return false;
	if (echo_wanted(s, c))
		return true;
	return c->begun ? ferry_pass_done(s) || ferry_dirty_hungry(s) : pass_wanted(s, c);
}
