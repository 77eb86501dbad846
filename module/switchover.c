// SPDX-License-Identifier: GPL-2.0-only
/*
 * The switchover.
 *
 * source: FINAL (the VMM has paused the guest) -> rings empty twice over ->
 * final pass, acknowledged on every channel -> verify -> PAUSED -> VMM state ->
 * READY from the sink -> COMMIT -> COMMIT_ACK. The main task does all of it;
 * the ioctls ask and wait.
 *
 * One owner: until COMMIT is sent the source alone may run the guest, from its
 * acknowledgement on the sink alone. If the answer does not come, the source
 * is in doubt, and nobody guesses.
 */
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "control.h"
#include "limits.h"
#include "pass.h"
#include "session.h"
#include "switchover.h"
#include "trace.h"
#include "verify.h"

/* How much slower than this host the sink may digest. */
#define VERIFY_PATIENCE	16

/* Waits in a main task that is stopped, or whose session has ended, are over. */
#define main_wait(s, condition) \
	wait_event_idle((s)->wait, (condition) || ferry_session_ended(s) || kthread_should_stop())

static bool over(struct ferry_session *s)
{
	return ferry_session_ended(s) || kthread_should_stop();
}

/* No vCPU runs: two empty rounds in a row show that nothing is on its way. */
static int drain_rings(struct ferry_session *s)
{
	int empty = 0;

	while (empty < 2 && !over(s)) {
		long entries = ferry_dirty_round(s, true);

		if (entries < 0)
			return entries;
		empty = entries ? 0 : empty + 1;
	}
	return over(s) ? -ESHUTDOWN : 0;
}

static int one_pass(struct ferry_session *s)
{
	int ret = ferry_pass_begin(s, true);

	if (ret)
		return ret;
	main_wait(s, ferry_pass_done(s));
	if (over(s))
		return -ESHUTDOWN;
	ferry_pass_end(s, true);
	return 0;
}

/*
 * At least one pass after FINAL, and until nothing is left: the rings are looked
 * at once more when all is acknowledged.
 */
static int final_passes(struct ferry_session *s)
{
	int ret;

	ferry_dirty_feed_end(s);
	main_wait(s, ferry_pass_done(s));	/* the one that was under way */
	ret = over(s) ? -ESHUTDOWN : drain_rings(s);
	if (ret)
		return ret;
	trace_ferry_switchover(s->id, s->role, FERRY_PHASE_DRAINED);
	ret = ferry_control_pass(s, FERRY_MSG_FINAL, s->pass + 1, 0, 0);
	do {
		if (!ret)
			ret = one_pass(s);
		if (!ret)
			ret = drain_rings(s);
	} while (!ret && atomic64_read(&s->stats.pending));
	return ret;
}

/*
 * The sink digests as much as we did, perhaps on a slower host: it has our time
 * many times over, and the peer timeout.
 */
static int verify(struct ferry_session *s)
{
	u64 begin = ktime_get_ns(), limit;
	int ret;

	if (!(s->features & FERRY_WIRE_FEATURE_VERIFY))
		return 0;
	ret = ferry_verify_send(s);
	if (ret)
		return ret;
	limit = VERIFY_PATIENCE * (ktime_get_ns() - begin) + s->peer_silence_ns;
	if (!wait_event_idle_timeout(s->wait, READ_ONCE(s->verified) == FERRY_VERIFY_EQUAL || over(s),
				     nsecs_to_jiffies(limit)))
		ferry_session_fail(s, -ETIMEDOUT, "the peer lives, but has not told within %llu ms what its digests came to",
				   limit / NSEC_PER_MSEC);
	return over(s) ? -ESHUTDOWN : 0;
}

static int send_state(struct ferry_session *s)
{
	int last = 0;

	while (!last) {
		main_wait(s, ferry_pipe_readable(&s->pipe));
		if (over(s))
			return -ESHUTDOWN;
		last = ferry_control_state(s);
		if (last < 0)
			return last;
	}
	trace_ferry_switchover(s->id, s->role, FERRY_PHASE_STATE_LAST);
	return 0;
}

/* From here on an error leaves the session in doubt: the state machine knows. */
static int commit(struct ferry_session *s)
{
	int ret;

	main_wait(s, READ_ONCE(s->peer_ready) && READ_ONCE(s->commit_requested));
	if (over(s))
		return -ESHUTDOWN;
	ret = ferry_session_step(s, FERRY_STEP_COMMIT);
	if (ret)
		return ret;
	ret = ferry_control_plain(s, FERRY_MSG_COMMIT);
	if (ret)
		return ret;
	trace_ferry_switchover(s->id, s->role, FERRY_PHASE_COMMIT);
	if (!wait_event_idle_timeout(s->wait, over(s), nsecs_to_jiffies(s->peer_timeout_ns)))
		ferry_session_fail(s, -ETIMEDOUT, "no answer came within %llu ms",
				   s->peer_timeout_ns / NSEC_PER_MSEC);
	return 0;
}

void ferry_switchover(struct ferry_session *s)
{
	int ret = final_passes(s);

	if (!ret) {
		trace_ferry_switchover(s->id, s->role, FERRY_PHASE_PLACED);
		ret = verify(s);
	}
	if (!ret)
		ret = ferry_control_plain(s, FERRY_MSG_PAUSED);
	if (!ret)
		ret = ferry_session_step(s, FERRY_STEP_PLACED);
	if (!ret)
		ret = send_state(s);
	if (!ret)
		commit(s);
	main_wait(s, false);
}

static int why_ended(struct ferry_session *s, struct ferry_reason *why)
{
	spin_lock(&s->state_lock);
	if (s->failure.error)
		strscpy(why->text, s->failure.text, sizeof(why->text));
	else
		strscpy(why->text, "the session has ended", sizeof(why->text));
	spin_unlock(&s->state_lock);
	why->error = -ESHUTDOWN;
	return -ESHUTDOWN;
}

static int interrupted(struct ferry_reason *why)
{
	return ferry_because(why, -EINTR, "a signal came: call again");
}

int ferry_final(struct ferry_session *s, struct ferry_reason *why)
{
	u32 state;
	int ret;

	if (READ_ONCE(s->measures) && !ferry_session_ended(s))
		return ferry_because(why, -EBUSY, "this session only measures: migrate by another one");
	ret = ferry_session_step(s, FERRY_STEP_FINAL);
	state = ferry_session_state(s);
	if (!ret)
		ferry_limits_apply(s);
	if (ret == -EBUSY && (state == KVM_FERRY_STATE_FINAL || state == KVM_FERRY_STATE_PAUSED))
		ret = 0;	/* called again after a signal */
	if (ret == -EBUSY)
		return ferry_because(why, ret, "the session is %s: FINAL is for a live one",
				     ferry_state_name(state));
	if (wait_event_interruptible(s->wait, ferry_session_state(s) != KVM_FERRY_STATE_FINAL))
		return interrupted(why);
	return ferry_session_state(s) == KVM_FERRY_STATE_PAUSED ? 0 : why_ended(s, why);
}

int ferry_state_send(struct ferry_session *s, struct kvm_ferry_state_io *io,
		     struct ferry_reason *why)
{
	bool last = io->flags & KVM_FERRY_STATE_LAST;
	long n;

	io->out_length = 0;
	if (ferry_session_ended(s))
		return why_ended(s, why);
	if (ferry_session_state(s) != KVM_FERRY_STATE_PAUSED || READ_ONCE(s->pipe.last))
		return ferry_because(why, -EBUSY, "state can be sent after FINAL and before its last piece");
	if (!io->length && !last)
		return ferry_because(why, -EINVAL, "length is 0 without KVM_FERRY_STATE_LAST");
	if (io->length > KVM_FERRY_MAX_STATE_BYTES - s->stats.state_bytes)
		return ferry_because(why, -EFBIG, "VMM state may have 256 MiB at most");
	while (io->out_length < io->length) {
		if (wait_event_interruptible(s->wait, ferry_pipe_room(&s->pipe) ||
					     ferry_session_ended(s)))
			return interrupted(why);
		if (ferry_session_ended(s))
			return why_ended(s, why);
		n = ferry_pipe_write_user(&s->pipe, u64_to_user_ptr(io->data) + io->out_length,
					  io->length - io->out_length);
		if (n < 0)
			return ferry_because(why, n, "the state cannot be read");
		io->out_length += n;
		WRITE_ONCE(s->stats.state_bytes, s->stats.state_bytes + n);
		wake_up_all(&s->wait);
	}
	if (last) {
		ferry_pipe_finish(&s->pipe);
		wake_up_all(&s->wait);
	}
	return 0;
}

int ferry_state_recv(struct ferry_session *s, struct kvm_ferry_state_io *io,
		     struct ferry_reason *why)
{
	bool last = false;
	u32 state;
	long n;

	io->out_length = 0;
	io->out_flags = 0;
	state = ferry_session_state(s);
	if (!ferry_session_ended(s) && state != KVM_FERRY_STATE_PAUSED)
		return ferry_because(why, -EBUSY, "the session is %s: state comes when it is paused",
				     ferry_state_name(state));
	if (!io->length)
		return ferry_because(why, -EINVAL, "length is 0: give room for at least a byte");
	if (wait_event_interruptible(s->wait, ferry_pipe_readable(&s->pipe) || ferry_session_ended(s)))
		return interrupted(why);
	if (ferry_session_ended(s))
		return why_ended(s, why);
	n = ferry_pipe_read_user(&s->pipe, u64_to_user_ptr(io->data), io->length, &last);
	if (n < 0)
		return ferry_because(why, n, "the buffer for state cannot be written");
	io->out_length = n;
	io->out_flags = last ? KVM_FERRY_STATE_LAST : 0;
	wake_up_all(&s->wait);
	return 0;
}

static int commit_source(struct ferry_session *s, struct ferry_reason *why)
{
	u32 state = ferry_session_state(s);

	if (!ferry_session_ended(s)) {
		if ((state != KVM_FERRY_STATE_PAUSED && state != KVM_FERRY_STATE_COMMITTING) ||
		    !READ_ONCE(s->pipe.last))
			return ferry_because(why, -EBUSY, "all of the VMM's state must have been sent before COMMIT");
		WRITE_ONCE(s->commit_requested, true);
		wake_up_all(&s->wait);
		if (wait_event_interruptible(s->wait, ferry_session_ended(s)))
			return interrupted(why);
	}
	switch (ferry_session_state(s)) {
	case KVM_FERRY_STATE_DONE:
		return 0;
	case KVM_FERRY_STATE_IN_DOUBT:
		why_ended(s, why);
		why->error = -EINPROGRESS;
		return -EINPROGRESS;
	default:
		return why_ended(s, why);
	}
}

static int commit_sink(struct ferry_session *s, struct ferry_reason *why)
{
	u32 state = ferry_session_state(s);
	int ret;

	if (state == KVM_FERRY_STATE_PAUSED) {
		if (!READ_ONCE(s->pipe.last) || s->pipe.head != s->pipe.tail)
			return ferry_because(why, -EBUSY, "all of the VMM's state must have been received before COMMIT");
		ret = ferry_session_step(s, FERRY_STEP_COMMIT);
		if (!ret)
			queue_work(system_unbound_wq, &s->ready_work);
	} else if (state != KVM_FERRY_STATE_COMMITTING && !ferry_session_ended(s)) {
		return ferry_because(why, -EBUSY, "the session is %s: COMMIT is for one that is paused",
				     ferry_state_name(state));
	}
	if (wait_event_interruptible(s->wait, READ_ONCE(s->commit_settled) ||
				     (ferry_session_ended(s) &&
				      ferry_session_state(s) != KVM_FERRY_STATE_DONE)))
		return interrupted(why);
	return ferry_session_state(s) == KVM_FERRY_STATE_DONE ? 0 : why_ended(s, why);
}

int ferry_commit(struct ferry_session *s, struct ferry_reason *why)
{
	return ferry_session_is_source(s) ? commit_source(s, why) : commit_sink(s, why);
}

/* The VMM's thread may have a signal pending: READY is sent by a worker. */
void ferry_ready_work(struct work_struct *work)
{
	struct ferry_session *s = container_of(work, struct ferry_session, ready_work);

	if (!ferry_control_plain(s, FERRY_MSG_READY))
		trace_ferry_switchover(s->id, s->role, FERRY_PHASE_READY);
}
