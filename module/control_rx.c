// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control channel's receiving task: one message after the other, each
 * checked against the state that the session is in. What does not belong there
 * ends the session: a peer that is out of step cannot be trusted with a guest.
 */
#include <linux/ktime.h>

#include "control.h"
#include "session.h"
#include "sink.h"
#include "switchover.h"
#include "trace.h"
#include "verify.h"

static int broken(struct ferry_session *s, const char *why)
{
	ferry_session_fail(s, -EPROTO, "the peer broke the protocol: %s", why);
	return -EPROTO;
}

static int unexpected(struct ferry_session *s, u16 type)
{
	ferry_session_fail(s, -EPROTO, "the peer broke the protocol: %s while this side is %s",
			   ferry_msg_name(type), ferry_state_name(ferry_session_state(s)));
	return -EPROTO;
}

static int hear_hello_ack(struct ferry_session *s, const u8 *body, const struct ferry_msg_header *h)
{
	struct ferry_msg_hello_ack m;
	const char *why;

	if (ferry_session_state(s) != KVM_FERRY_STATE_CONNECTING ||
	    !ferry_session_said(s, FERRY_MSG_HELLO))
		return unexpected(s, h->type);
	if (ferry_wire_get_hello_ack(body, h->length, &m, &why))
		return broken(s, why);
	if (m.version < FERRY_WIRE_VERSION_MIN || m.version > FERRY_WIRE_VERSION) {
		ferry_session_fail(s, -EPROTONOSUPPORT, "the peer chose protocol version %u, this module speaks %u to %u",
				   m.version, FERRY_WIRE_VERSION_MIN, FERRY_WIRE_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (s->verify && !(m.features & FERRY_WIRE_FEATURE_VERIFY)) {
		ferry_session_fail(s, -EPROTONOSUPPORT, "the peer cannot verify: load a newer kvm_ferry there, or turn verify off");
		return -EPROTONOSUPPORT;
	}
	s->features = m.features & (FERRY_WIRE_FEATURE_ECHO | (s->verify ? FERRY_WIRE_FEATURE_VERIFY : 0));
	return ferry_session_step(s, FERRY_STEP_AGREED);
}

static void note_round_trip(struct ferry_session *s, u64 since)
{
	u64 now = ktime_get_ns();

	ferry_shortest_add(&s->stats.trip, now - since, now);
}

static int hear_fence_ack(struct ferry_session *s, const u8 *body, const struct ferry_msg_header *h)
{
	struct ferry_channel *ch;
	struct ferry_msg_pass m;
	const char *why;

	if (ferry_wire_get_pass(body, h->length, h->type, &m, &why))
		return broken(s, why);
	if (m.channel >= s->nr_data)
		return broken(s, "fence of an unknown channel");
	ch = s->data[m.channel];
	if (m.pass != READ_ONCE(ch->tx_pass) || m.pass == ch->acked_pass)
		return broken(s, "fence that was not sent");
	if (READ_ONCE(ch->fence_light)) {
		note_round_trip(s, READ_ONCE(ch->fence_at));
		WRITE_ONCE(s->stats.fences, s->stats.fences + 1);
	}
	WRITE_ONCE(ch->acked_pass, m.pass);
	trace_ferry_fence(s->id, ch->index, m.pass, true);
	wake_up_all(&s->wait);
	return 0;
}

/*
 * A sink answers in order, so that an ECHO is back before the sink has heard PAUSED:
 * it is never among what may answer COMMIT.
 */
static int hear_echo(struct ferry_session *s, const u8 *body, const struct ferry_msg_header *h)
{
	struct ferry_msg_echo m;
	const char *why;

	if (!(s->features & FERRY_WIRE_FEATURE_ECHO) ||
	    ferry_session_state(s) > KVM_FERRY_STATE_PAUSED)
		return unexpected(s, h->type);
	if (ferry_wire_get_echo(body, h->length, &m, &why))
		return broken(s, why);
	/* Pairs with ferry_control_echo(). */
	if (m.number != smp_load_acquire(&s->echo_sent) || m.number == s->echo_heard)
		return broken(s, "an ECHO that was not sent");
	note_round_trip(s, READ_ONCE(s->echo_at));
	WRITE_ONCE(s->echo_heard, m.number);
	wake_up_all(&s->wait);
	return 0;
}

static int hear_verify_result(struct ferry_session *s, const u8 *body,
			      const struct ferry_msg_header *h)
{
	const char *why = NULL;
	int ret;

	if (!ferry_session_said(s, FERRY_MSG_DIGEST_END) || s->verified != FERRY_VERIFY_NONE)
		return unexpected(s, h->type);
	ret = ferry_verify_result(s, body, h->length, &why);
	return ret == -EPROTO ? broken(s, why) : ret;
}

static int hear_ready(struct ferry_session *s, const struct ferry_msg_header *h)
{
	if (!ferry_session_said(s, FERRY_MSG_STATE) || s->peer_ready)
		return unexpected(s, h->type);
	trace_ferry_switchover(s->id, s->role, FERRY_PHASE_READY);
	spin_lock(&s->state_lock);
	s->ready_at = ktime_get();
	spin_unlock(&s->state_lock);
	WRITE_ONCE(s->peer_ready, true);
	wake_up_all(&s->wait);
	return 0;
}

static int hear_commit_ack(struct ferry_session *s, const struct ferry_msg_header *h)
{
	if (!ferry_session_said(s, FERRY_MSG_COMMIT))
		return unexpected(s, h->type);
	trace_ferry_switchover(s->id, s->role, FERRY_PHASE_COMMIT_ACK);
	WRITE_ONCE(s->stats.downtime_ns, ktime_to_ns(ktime_sub(ktime_get(), s->final_at)));
	return ferry_session_step(s, FERRY_STEP_OWNED);
}

static int hear_at_source(struct ferry_session *s, const u8 *body, const struct ferry_msg_header *h)
{
	switch (h->type) {
	case FERRY_MSG_HELLO_ACK:
		return hear_hello_ack(s, body, h);
	case FERRY_MSG_FENCE_ACK:
		return hear_fence_ack(s, body, h);
	case FERRY_MSG_ECHO:
		return hear_echo(s, body, h);
	case FERRY_MSG_VERIFY_RESULT:
		return hear_verify_result(s, body, h);
	case FERRY_MSG_READY:
		return hear_ready(s, h);
	case FERRY_MSG_COMMIT_ACK:
		return hear_commit_ack(s, h);
	default:
		return unexpected(s, h->type);
	}
}

static int hear_pass(struct ferry_session *s, const u8 *body, const struct ferry_msg_header *h)
{
	u32 state = ferry_session_state(s);
	struct ferry_msg_pass m;
	const char *why;
	int ret;

	if (ferry_wire_get_pass(body, h->length, h->type, &m, &why))
		return broken(s, why);
	if (h->type == FERRY_MSG_FINAL) {
		if (state != KVM_FERRY_STATE_LIVE || m.pass != s->pass + 1)
			return unexpected(s, h->type);
		WRITE_ONCE(s->final_pass, m.pass);
		return ferry_session_step(s, FERRY_STEP_FINAL);
	}
	if ((state != KVM_FERRY_STATE_LIVE && state != KVM_FERRY_STATE_FINAL) || s->sealed ||
	    m.pass != s->pass + 1)
		return unexpected(s, h->type);
	ret = ferry_session_pass(s, m.pass);
	if (!ret)
		ferry_session_event(s, KVM_FERRY_EVENT_PASS);
	return ret;
}

static int hear_digest(struct ferry_session *s, const u8 *body, const struct ferry_msg_header *h)
{
	struct ferry_msg_digest m;
	const char *why;

	if (ferry_session_state(s) != KVM_FERRY_STATE_FINAL || !ferry_sink_seal(s) ||
	    !(s->features & FERRY_WIRE_FEATURE_VERIFY) || s->verified != FERRY_VERIFY_NONE)
		return unexpected(s, h->type);
	if (h->type == FERRY_MSG_DIGEST_END)
		return ferry_verify_end(s);
	if (ferry_wire_get_digest(body, h->length, &m, &why))
		return broken(s, why);
	return ferry_verify_digest(s, body, &m);
}

/* All of memory is here, and equal if that was asked for. */
static int hear_paused(struct ferry_session *s, const struct ferry_msg_header *h)
{
	bool verify = s->features & FERRY_WIRE_FEATURE_VERIFY;

	if (ferry_session_state(s) != KVM_FERRY_STATE_FINAL || !ferry_sink_seal(s) ||
	    (verify && s->verified != FERRY_VERIFY_EQUAL))
		return unexpected(s, h->type);
	trace_ferry_switchover(s->id, s->role, FERRY_PHASE_PLACED);
	return ferry_session_step(s, FERRY_STEP_PLACED);
}

static int hear_state(struct ferry_session *s, const u8 *body, const struct ferry_msg_header *h)
{
	struct ferry_msg_state m;
	const char *why;
	u32 done = 0;

	if (ferry_session_state(s) != KVM_FERRY_STATE_PAUSED || READ_ONCE(s->pipe.last))
		return unexpected(s, h->type);
	if (ferry_wire_get_state(body, h->length, &m, &why))
		return broken(s, why);
	if (s->stats.state_bytes + m.length > KVM_FERRY_MAX_STATE_BYTES)
		return broken(s, "more VMM state than 256 MiB");
	WRITE_ONCE(s->stats.state_bytes, s->stats.state_bytes + m.length);
	while (done < m.length) {
		long n = ferry_pipe_write(&s->pipe, body + 8 + done, m.length - done);

		if (n < 0) {
			ferry_session_fail(s, n, "no memory for VMM state");
			return n;
		}
		done += n;
		if (n)
			ferry_session_event(s, KVM_FERRY_EVENT_STATE_DATA);
		/* The VMM takes its time: let the source wait, not our memory grow. */
		wait_event_idle(s->wait, ferry_pipe_room(&s->pipe) || ferry_session_ended(s));
		if (ferry_session_ended(s))
			return -ESHUTDOWN;
	}
	if (m.flags & FERRY_WIRE_STATE_LAST) {
		ferry_pipe_finish(&s->pipe);
		trace_ferry_switchover(s->id, s->role, FERRY_PHASE_STATE_LAST);
		ferry_session_event(s, KVM_FERRY_EVENT_STATE_DATA);
	}
	return 0;
}

/* A peer that asks and does not read waits for itself. */
static int answer_echo(struct ferry_session *s, const u8 *body, const struct ferry_msg_header *h)
{
	struct ferry_msg_echo m;
	const char *why;

	if (!(s->features & FERRY_WIRE_FEATURE_ECHO) ||
	    ferry_session_state(s) != KVM_FERRY_STATE_LIVE)
		return unexpected(s, h->type);
	if (ferry_wire_get_echo(body, h->length, &m, &why))
		return broken(s, why);
	return ferry_control_echo(s, m.number);
}

static int hear_at_sink(struct ferry_session *s, const u8 *body, const struct ferry_msg_header *h)
{
	switch (h->type) {
	case FERRY_MSG_HELLO:
		return ferry_sink_hello(s, body, h->length);
	case FERRY_MSG_PASS:
	case FERRY_MSG_FINAL:
		return hear_pass(s, body, h);
	case FERRY_MSG_ECHO:
		return answer_echo(s, body, h);
	case FERRY_MSG_DIGEST:
	case FERRY_MSG_DIGEST_END:
		return hear_digest(s, body, h);
	case FERRY_MSG_PAUSED:
		return hear_paused(s, h);
	case FERRY_MSG_STATE:
		return hear_state(s, body, h);
	case FERRY_MSG_COMMIT:
		return ferry_sink_commit(s);
	default:
		return unexpected(s, h->type);
	}
}

static int hear_abort(struct ferry_session *s, const u8 *body, const struct ferry_msg_header *h)
{
	struct ferry_msg_abort m;
	const char *why;

	if (ferry_wire_get_abort(body, h->length, &m, &why))
		return broken(s, why);
	/* Also an answer to COMMIT: a sink that aborts has not taken the guest and never will. */
	ferry_session_end(s, FERRY_STEP_REFUSED, -EPIPE, "the peer ended the migration: %s", m.reason);
	return -EPIPE;
}

/* kthread. It outlives what it serves: channel_destroy() stops it. */
int ferry_control_rx(void *channel)
{
	struct ferry_channel *ch = channel;
	struct ferry_session *s = ch->session;
	struct ferry_msg_header h;
	int ret = 0;

	while (!ret && !ferry_session_ended(s)) {
		ret = ferry_msg_recv(ch, &h, false);
		if (ret)
			break;
		/* A peer that talks without a break must not keep the processor. */
		cond_resched();
		if (h.type == FERRY_MSG_PING)
			continue;
		if (h.type == FERRY_MSG_ABORT)
			ret = hear_abort(s, ch->rx_buf, &h);
		else if (ferry_session_is_source(s))
			ret = hear_at_source(s, ch->rx_buf, &h);
		else
			ret = hear_at_sink(s, ch->rx_buf, &h);
	}
	/* A handler that fails has ended the session; this is for the one that did not. */
	if (ret)
		ferry_session_fail(s, ret, "the control channel failed (%d)", ret);
	ferry_thread_rest();
	return 0;
}
