// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages: framing on every channel, and what each side says on the control
 * channel. Only kernel tasks of ours send: a caller's signal could tear a
 * message in two.
 */
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/sched/mm.h>

#include "control.h"
#include "session.h"
#include "sink.h"
#include "source.h"
#include "verify.h"

/* How long an ABORT that only tells why waits for a peer that takes nothing. */
#define ABORT_PATIENCE_NS	(20ULL * NSEC_PER_MSEC)
/* And for a message that is being sent, while there is room for it: see ferry_channel_broke(). */
#define SENDER_PATIENCE_NS	(1ULL * NSEC_PER_SEC)
/* And one that may be an answer at most, however long the peer timeout is. */
#define ANSWER_PATIENCE_NS	(60ULL * NSEC_PER_SEC)

static u8 *body_of(struct ferry_channel *ch)
{
	return ch->tx_buf + FERRY_WIRE_HEADER_LEN;
}

int ferry_msg_send_locked(struct ferry_channel *ch, u16 type, u32 len,
			  struct bio_vec *bv, unsigned int nr, size_t bytes)
{
	struct ferry_msg_header h = { .type = type, .length = len, .seq = ch->tx_seq };
	int ret;

	if (ch->kind == KVM_FERRY_CHANNEL_CONTROL)
		lockdep_assert_held(&ch->tx_lock);
	/* A part of the last one may be out: what came behind it would be taken for its rest. */
	if (ch->tx_error)
		return ch->tx_error;
	ferry_wire_put_header(ch->tx_buf, &h);
	ret = ch->ops->send(ch, ch->tx_buf, FERRY_WIRE_HEADER_LEN + len, bv, nr, bytes);
	ch->tx_error = ret;
	ch->tx_seq++;
	WRITE_ONCE(ch->tx_activity, true);
	return ret;
}

int ferry_msg_recv(struct ferry_channel *ch, struct ferry_msg_header *h, bool idle)
{
	struct ferry_session *s = ch->session;
	bool control = ch->kind == KVM_FERRY_CHANNEL_CONTROL;
	u8 head[FERRY_WIRE_HEADER_LEN];
	const char *why = NULL;
	int ret;

	ret = ferry_channel_recv(ch, head, sizeof(head), idle);
	if (!ret && ferry_wire_get_header(head, h, &why))
		ret = -EPROTO;
	if (!ret && h->seq != ch->rx_seq) {
		why = "message number is out of order";
		ret = -EPROTO;
	}
	if (!ret && !ferry_wire_expected(h->type, control, !ferry_session_is_source(s))) {
		why = "message does not belong on this channel";
		ret = -EPROTO;
	}
	if (!ret && h->length)
		ret = ferry_channel_recv(ch, ch->rx_buf, h->length, false);
	if (why)
		ferry_session_fail(s, -EPROTO, "the peer broke the protocol: %s", why);
	else if (ret)
		ferry_channel_broke(ch, ret, "received from");
	ch->rx_seq++;
	return ret;
}

void ferry_channel_broke(struct ferry_channel *ch, int error, const char *doing)
{
	struct ferry_session *s = ch->session;
	char name[24];

	if (READ_ONCE(ch->tentative))
		return;
	/*
	 * A peer that aborts closes its channels right after saying why on the
	 * control channel: let the reason arrive first. It may even be the answer
	 * to a COMMIT that could not be sent.
	 */
	if (current != READ_ONCE(s->control->task))
		wait_event_timeout(s->wait, ferry_session_ended(s), HZ);
	if (ch->kind == KVM_FERRY_CHANNEL_DATA)
		scnprintf(name, sizeof(name), "data channel %u", ch->index);
	else
		strscpy(name, "the control channel", sizeof(name));
	switch (error) {
	case -EPIPE:
	case -ECONNRESET:
	case -ECONNABORTED:
	case -ENOTCONN:
		ferry_session_fail(s, -EPIPE, "the peer closed %s (%s %d)", name, doing, error);
		break;
	case -ETIMEDOUT:
		ferry_session_fail(s, -ETIMEDOUT, "nothing was %s the peer on %s for %llu ms: is it alive, and the link up?",
				   doing, name, s->peer_silence_ns / NSEC_PER_MSEC);
		break;
	case -EACCES:
		ferry_session_fail(s, error, ferry_session_is_source(s) ?
				   "the peer's RDMA device refused what was written on %s: its window is not there" :
				   "the peer wrote on %s, by RDMA, where it may not", name);
		break;
	case -EREMOTEIO:
		ferry_session_fail(s, error, "%s: its RDMA queue pair failed: the kernel's log may say why, here or at the peer",
				   name);
		break;
	case -EBADMSG:
		ferry_session_fail(s, error, "what came on %s is not what the peer sent: TLS could not authenticate it",
				   name);
		break;
	default:
		ferry_session_fail(s, error, "%s failed (%s %d)", name, doing, error);
	}
}

/* Before it leaves: the answer may be here at once. */
static void note_said(struct ferry_session *s, u16 type)
{
	lockdep_assert_held(&s->control->tx_lock);
	/* Pairs with ferry_session_said(). */
	smp_store_release(&s->said, type);
}

/* Ends the session if @ret is an error. */
static int finish_send(struct ferry_session *s, int ret)
{
	mutex_unlock(&s->control->tx_lock);
	if (ret)
		ferry_channel_broke(s->control, ret, "sent to");
	return ret;
}

int ferry_control_hello(struct ferry_session *s)
{
	struct ferry_msg_hello hello = {
		.version_min = FERRY_WIRE_VERSION_MIN,
		.version = FERRY_WIRE_VERSION,
		.page_shift = PAGE_SHIFT,
		.features = FERRY_WIRE_FEATURE_ECHO | (s->verify ? FERRY_WIRE_FEATURE_VERIFY : 0),
		.nr_channels = s->nr_data,
		.nr_regions = s->nr_regions,
		.peer_timeout_ms = div_u64(s->peer_timeout_ns, NSEC_PER_MSEC),
	};
	u8 *body = body_of(s->control);
	size_t len;
	u32 i;

	memcpy(hello.token, s->token, sizeof(hello.token));
	memcpy(hello.name, s->name, sizeof(hello.name));
	mutex_lock(&s->control->tx_lock);
	len = ferry_wire_put_hello(body, &hello);
	for (i = 0; i < s->nr_regions; i++) {
		struct ferry_msg_region r = {
			.id = s->regions[i]->id,
			.length = s->regions[i]->nr_pages * PAGE_SIZE,
		};

		memcpy(r.name, s->regions[i]->name, sizeof(r.name));
		len += ferry_wire_put_region(body + len, &r);
	}
	note_said(s, FERRY_MSG_HELLO);
	return finish_send(s, ferry_msg_send_locked(s->control, FERRY_MSG_HELLO, len, NULL, 0, 0));
}

int ferry_control_hello_ack(struct ferry_session *s)
{
	struct ferry_msg_hello_ack ack = {
		.version = s->wire_version,
		.features = s->features,
	};
	size_t len;

	mutex_lock(&s->control->tx_lock);
	len = ferry_wire_put_hello_ack(body_of(s->control), &ack);
	return finish_send(s, ferry_msg_send_locked(s->control, FERRY_MSG_HELLO_ACK, len, NULL, 0, 0));
}

int ferry_control_pass(struct ferry_session *s, u16 type, u32 pass, u16 channel, u64 pages)
{
	struct ferry_msg_pass m = { .pass = pass, .channel = channel, .pages = pages };
	size_t len;

	mutex_lock(&s->control->tx_lock);
	len = ferry_wire_put_pass(body_of(s->control), &m);
	return finish_send(s, ferry_msg_send_locked(s->control, type, len, NULL, 0, 0));
}

int ferry_control_echo(struct ferry_session *s, u32 number)
{
	struct ferry_msg_echo m = { .number = number };
	size_t len;

	mutex_lock(&s->control->tx_lock);
	len = ferry_wire_put_echo(body_of(s->control), &m);
	if (ferry_session_is_source(s)) {
		WRITE_ONCE(s->echo_at, ktime_get_ns());
		/* Pairs with hear_echo(); before it leaves, as it may be back at once. */
		smp_store_release(&s->echo_sent, number);
	}
	return finish_send(s, ferry_msg_send_locked(s->control, FERRY_MSG_ECHO, len, NULL, 0, 0));
}

int ferry_control_plain(struct ferry_session *s, u16 type)
{
	mutex_lock(&s->control->tx_lock);
	/* ABORT may have been said, and COMMIT must not come behind it. */
	if (type == FERRY_MSG_COMMIT && ferry_session_ended(s)) {
		mutex_unlock(&s->control->tx_lock);
		return -ESHUTDOWN;
	}
	note_said(s, type);
	return finish_send(s, ferry_msg_send_locked(s->control, type, 0, NULL, 0, 0));
}

int ferry_control_state(struct ferry_session *s)
{
	u8 *body = body_of(s->control);
	struct ferry_msg_state m = {};
	bool last;
	size_t len;
	long n;

	mutex_lock(&s->control->tx_lock);
	n = ferry_pipe_read(&s->pipe, body + 8, FERRY_WIRE_MAX_STATE_CHUNK, &last);
	if (n < 0 || (!n && !last)) {
		mutex_unlock(&s->control->tx_lock);
		return n;
	}
	m.length = n;
	m.flags = last ? FERRY_WIRE_STATE_LAST : 0;
	len = ferry_wire_put_state(body, &m);
	if (last)
		note_said(s, FERRY_MSG_STATE);
	wake_up_all(&s->wait);
	n = finish_send(s, ferry_msg_send_locked(s->control, FERRY_MSG_STATE, len + m.length, NULL, 0, 0));
	return n ? n : last;
}

int ferry_control_digest(struct ferry_session *s, u16 region, u64 first, const u64 *d, u32 count)
{
	struct ferry_msg_digest m = { .region = region, .first = first, .count = count };
	u8 *body = body_of(s->control);
	size_t len;
	u32 i;

	mutex_lock(&s->control->tx_lock);
	len = ferry_wire_put_digest(body, &m);
	for (i = 0; i < count; i++)
		len += ferry_wire_put_digest_value(body, i, d[i]);
	return finish_send(s, ferry_msg_send_locked(s->control, FERRY_MSG_DIGEST, len, NULL, 0, 0));
}

int ferry_control_verify_result(struct ferry_session *s)
{
	struct ferry_msg_verify_result m = {
		.nr_bad = s->check->nr_bad,
		.total_bad = s->check->total_bad,
		.digest = s->stats.digest,
	};
	u8 *body = body_of(s->control);
	size_t len;
	u32 i;

	mutex_lock(&s->control->tx_lock);
	len = ferry_wire_put_verify_result(body, &m);
	for (i = 0; i < m.nr_bad; i++)
		len += ferry_wire_put_extent(body + len, &s->check->bad[i]);
	return finish_send(s, ferry_msg_send_locked(s->control, FERRY_MSG_VERIFY_RESULT, len, NULL, 0, 0));
}

/*
 * Behind READY the peer may have sent COMMIT, and is in doubt if it hears nothing:
 * then ABORT is an answer, and worth waiting for as long as the peer does. Before it,
 * ABORT only tells why the connection goes.
 */
static u64 abort_patience(struct ferry_session *s)
{
	if (!ferry_session_said(s, FERRY_MSG_READY))
		return ABORT_PATIENCE_NS;
	return min_t(u64, s->peer_silence_ns, ANSWER_PATIENCE_NS);
}

/*
 * Somebody may be sending: for as long as the peer takes nothing, or, where there is
 * room, until a busy host lets that task run.
 */
static bool lock_for_abort(struct ferry_session *s, struct ferry_channel *ch, u64 begin)
{
	u64 full_since = begin;

	while (!mutex_trylock(&ch->tx_lock)) {
		u64 now = ktime_get_ns(), patience = abort_patience(s);

		if (!ch->ops->full(ch))
			full_since = now;
		if (now - full_since > patience || now - begin > max(patience, SENDER_PATIENCE_NS))
			return false;
		usleep_range(1000, 2000);
	}
	return true;
}

/*
 * TCP forgets what it has not delivered when bytes come to an end that is shut down,
 * or is closed with bytes unread; and COMMIT may come at any moment. So the channel
 * stays until the peer's end has taken the answer.
 */
static void await_delivery(struct ferry_session *s, struct ferry_channel *ch, u64 begin)
{
	while (!ch->ops->broken(ch) && ch->ops->untaken(ch) &&
	       ktime_get_ns() - begin < abort_patience(s))
		usleep_range(500, 2000);
}

void ferry_control_abort(struct ferry_session *s)
{
	struct ferry_channel *ch = READ_ONCE(s->control);
	struct ferry_msg_abort m = {};
	u64 begin = ktime_get_ns();
	bool answers;
	size_t len;
	int ret;

	/* Behind COMMIT it would be no abort any more. */
	if (!ch || !READ_ONCE(s->started_at) || ferry_session_said(s, FERRY_MSG_COMMIT))
		return;
	if (!lock_for_abort(s, ch, begin))
		return;
	/* Who had the lock may have said COMMIT. */
	if (ferry_session_said(s, FERRY_MSG_COMMIT)) {
		mutex_unlock(&ch->tx_lock);
		return;
	}
	spin_lock(&s->state_lock);
	m.error = -s->failure.error;
	strscpy(m.reason, s->failure.text, sizeof(m.reason));
	spin_unlock(&s->state_lock);
	m.length = strlen(m.reason);
	answers = ferry_session_said(s, FERRY_MSG_READY);
	/* So that there is room for it: the transport's own timeout may be an hour. */
	if (answers)
		await_delivery(s, ch, begin);
	/* A peer that takes nothing must not keep our memory. */
	WRITE_ONCE(ch->hurry, true);
	len = ferry_wire_put_abort(body_of(ch), &m);
	ret = ferry_msg_send_locked(ch, FERRY_MSG_ABORT, len, NULL, 0, 0);
	mutex_unlock(&ch->tx_lock);
	if (!ret && answers)
		await_delivery(s, ch, begin);
}

/*
 * A source reads nothing from its data channels, and a fence that is out already
 * is never missed on them: somebody must look whether the peer has closed one.
 */
static struct ferry_channel *broken_channel(struct ferry_session *s, int *error)
{
	u32 i;

	for (i = 0; i < s->nr_data; i++) {
		struct ferry_channel *ch = READ_ONCE(s->data[i]);

		*error = READ_ONCE(ch->tentative) ? 0 : ch->ops->broken(ch);
		if (*error)
			return ch;
	}
	return NULL;
}

/* A peer that hears nothing for its timeout takes us for dead. */
void ferry_control_ping(struct work_struct *work)
{
	struct ferry_session *s = container_of(to_delayed_work(work), struct ferry_session, ping_work);
	struct ferry_channel *ch = s->control, *broken;
	int ret = 0, error;

	if (ferry_session_ended(s) || ferry_session_said(s, FERRY_MSG_COMMIT))
		return;
	broken = ferry_session_is_source(s) ? broken_channel(s, &error) : NULL;
	if (broken) {
		ferry_channel_broke(broken, error, "seen");
		return;
	}
	if (ferry_session_is_source(s) ? ferry_source_overdue(s) : ferry_sink_overdue(s))
		return;
	/* Somebody else may hold the fd of a VMM that was killed: nobody would close it. */
	if (!ferry_mm_get(s)) {
		ferry_session_fail(s, -ESRCH, "the VMM has exited");
		return;
	}
	ferry_mm_put(s);
	if (!xchg(&ch->tx_activity, false) && mutex_trylock(&ch->tx_lock)) {
		if (!ferry_session_said(s, FERRY_MSG_COMMIT))
			ret = ferry_msg_send_locked(ch, FERRY_MSG_PING, 0, NULL, 0, 0);
		WRITE_ONCE(ch->tx_activity, false);
		mutex_unlock(&ch->tx_lock);
	}
	if (ret)
		ferry_channel_broke(ch, ret, "sent to");
	else
		queue_delayed_work(system_unbound_wq, &s->ping_work,
				   nsecs_to_jiffies(s->ping_ns) ?: 1);
}
