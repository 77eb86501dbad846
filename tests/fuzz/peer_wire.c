// SPDX-License-Identifier: GPL-2.0-only
/* The transport of the fuzzed session: see peer_wire.h. It does as tcp.c does. */
#include "peer_wire.h"

struct fuzz_channel {
	struct ferry_channel ch;
	struct link *link;
};

struct link links[LINKS];
struct ferry_session *session;

/* Of a link whose input was freed already: kept, since a run has thousands of inputs. */
static u8 *spare[LINKS];
static size_t spare_room[LINKS];

static struct link *to_link(struct ferry_channel *ch)
{
	return container_of(ch, struct fuzz_channel, ch)->link;
}

void wire_begin(void)
{
	int i;

	memset(links, 0, sizeof(links));
	for (i = 0; i < LINKS; i++) {
		links[i].in = spare[i];
		links[i].in_room = spare_room[i];
	}
}

void wire_end(void)
{
	int i;

	for (i = 0; i < LINKS; i++) {
		MUST(!links[i].ch);
		spare[i] = links[i].in;
		spare_room[i] = links[i].in_room;
	}
}

static u16 get16(const u8 *p)
{
	return p[0] | p[1] << 8;
}

static u32 get32(const u8 *p)
{
	return get16(p) | (u32)get16(p + 2) << 16;
}

static u64 get64(const u8 *p)
{
	return get32(p) | (u64)get32(p + 4) << 32;
}

/* --- the peer ------------------------------------------------------------ */

void link_bytes(struct link *l, const void *bytes, size_t n)
{
	if (!n)
		return;
	if (l->in_len + n > l->in_room) {
		l->in_room = 2 * (l->in_len + n);
		l->in = realloc(l->in, l->in_room);
		MUST(l->in);
	}
	memcpy(l->in + l->in_len, bytes, n);
	l->in_len += n;
	wake_up_all(&l->wait);
}

void link_message(struct link *l, u16 type, const void *body, u32 n)
{
	struct ferry_msg_header h = { .type = type, .length = n, .seq = l->tx++ };
	u8 head[FERRY_WIRE_HEADER_LEN];

	l->last_said = l->in_len;
	l->last_said_len = sizeof(head) + n;
	ferry_wire_put_header(head, &h);
	link_bytes(l, head, sizeof(head));
	if (n)
		link_bytes(l, body, n);
}

void link_again(struct link *l, bool next)
{
	size_t n = l->last_said_len;
	u8 *copy = malloc(n ? n : 1);

	MUST(copy);
	if (n) {
		memcpy(copy, l->in + l->last_said, n);
		if (next) {
			memcpy(copy + 12, &l->tx, 4);
			l->tx++;
		}
		link_bytes(l, copy, n);
	}
	free(copy);
}

/* --- what the module has read -------------------------------------------- */

/* Bytes of page data behind a BATCH, or -1: it must be refused. */
static long batch_data(const u8 *body, u32 len)
{
	u32 nr = get32(body), i;
	u64 pages = 0;

	if (len < 24 || nr > 256 || len != 8 + 16 * nr)
		return -1;
	for (i = 0; i < nr; i++) {
		const u8 *e = body + 8 + 16 * i;
		u64 pfn = get64(e), count = get32(e + 8);
		u32 region = get16(e + 12), kind = get16(e + 14);

		if (kind > 1 || region >= session->nr_regions || !count ||
		    pfn >= fuzz_region_pages[region] || count > fuzz_region_pages[region] - pfn)
			return -1;
		pages += kind ? 0 : count;
	}
	return pages > 512 ? -1 : (long)(pages * PAGE_SIZE);
}

/* What the last message answers, if it is an answer, has not even begun to be asked. */
static bool heard_early(const struct link *l)
{
	switch (l->heard) {
	case FERRY_MSG_HELLO_ACK:
		return !l->begun[FERRY_MSG_HELLO];
	case FERRY_MSG_VERIFY_RESULT:
		return !l->begun[FERRY_MSG_DIGEST_END];
	case FERRY_MSG_READY:
		return !l->begun_state_last;
	case FERRY_MSG_COMMIT_ACK:
		return !l->begun[FERRY_MSG_COMMIT];
	case FERRY_MSG_ECHO:
		return get32(l->in + l->message + FERRY_WIRE_HEADER_LEN) != l->echo;
	default:
		return false;
	}
}

/* The bytes up to in_at were read. */
static void note_heard(struct link *l)
{
	for (;;) {
		const u8 *head = l->in + l->message;
		size_t have = l->in_at - l->message;
		u32 len;

		if (l->end) {
			if (l->in_at < l->end)
				return;
			l->message = l->end;
			l->end = 0;
			continue;
		}
		if (have < FERRY_WIRE_HEADER_LEN)
			return;
		len = get32(head + 8);
		if (have < FERRY_WIRE_HEADER_LEN + (size_t)len)
			return;
		l->heard = get16(head + 4);
		l->end = l->message + FERRY_WIRE_HEADER_LEN + len;
		l->early |= heard_early(l);
		if (l->heard == FERRY_MSG_FENCE && len == 16)
			l->fence = get32(head + 16);
		if (l->heard == FERRY_MSG_BATCH)
			l->end += max(batch_data(head + 16, len), 0L);
		/* Zero bytes may follow: look again only when more was read. */
		if (l->in_at <= l->end)
			return;
	}
}

/* The task that places is the one that reads this link; its message must name the range. */
void wire_may_place(u32 region, u64 pfn, u64 count, bool zero)
{
	struct link *l = NULL;
	const u8 *body;
	u32 i, state = session->state;

	for (i = 1; i < LINKS; i++)
		if (links[i].ch && links[i].ch->task == current)
			l = &links[i];
	MUST(l && l->heard == FERRY_MSG_BATCH && l->end);
	body = l->in + l->message + FERRY_WIRE_HEADER_LEN;
	MUST(batch_data(body, get32(body - 8)) >= 0);
	MUST(get32(body + 4) == l->fence + 1);
	for (i = 0; i < get32(body); i++) {
		const u8 *e = body + 8 + 16 * i;

		if (get64(e) == pfn && get32(e + 8) == count && get16(e + 12) == region &&
		    get16(e + 14) == zero)
			break;
	}
	MUST(i < get32(body));
	/* A session that has just failed may end what it was at. */
	MUST(state == KVM_FERRY_STATE_LIVE || state == KVM_FERRY_STATE_FINAL ||
	     state == KVM_FERRY_STATE_FAILED || state == KVM_FERRY_STATE_ABORTED);
}

/* Memory changes: nobody may count on it yet. */
static void may_write(void)
{
	u32 state = session->state;

	MUST(session->role == KVM_FERRY_SINK);
	MUST(state == KVM_FERRY_STATE_LIVE || state == KVM_FERRY_STATE_FINAL ||
	     state == KVM_FERRY_STATE_FAILED || state == KVM_FERRY_STATE_ABORTED);
	if (state == KVM_FERRY_STATE_FINAL)
		MUST(!links[0].told[FERRY_MSG_VERIFY_RESULT]);
}

/* --- what the module says ------------------------------------------------ */

static const u8 to_sink_control[] = {
	FERRY_MSG_HELLO, FERRY_MSG_PASS, FERRY_MSG_FINAL, FERRY_MSG_DIGEST, FERRY_MSG_DIGEST_END,
	FERRY_MSG_PAUSED, FERRY_MSG_STATE, FERRY_MSG_COMMIT, FERRY_MSG_ABORT, FERRY_MSG_PING,
	FERRY_MSG_ECHO, 0
};
static const u8 to_sink_data[] = { FERRY_MSG_CHANNEL, FERRY_MSG_BATCH, FERRY_MSG_FENCE, 0 };
static const u8 to_source[] = {
	FERRY_MSG_HELLO_ACK, FERRY_MSG_FENCE_ACK, FERRY_MSG_VERIFY_RESULT, FERRY_MSG_READY,
	FERRY_MSG_COMMIT_ACK, FERRY_MSG_ABORT, FERRY_MSG_PING, FERRY_MSG_ECHO, 0
};

static void check_told(struct link *l, const u8 *head, size_t len, size_t bytes)
{
	bool source = session->role == KVM_FERRY_SOURCE, control = l == links;
	const u8 *may = !source ? to_source : control ? to_sink_control : to_sink_data;
	const u8 *body = head + FERRY_WIRE_HEADER_LEN;
	u16 type = get16(head + 4);

	MUST(get32(head) == FERRY_WIRE_MAGIC && !get16(head + 6));
	MUST(get32(head + 8) == len - FERRY_WIRE_HEADER_LEN && len <= 16 + FERRY_WIRE_MAX_BODY);
	MUST(get32(head + 12) == l->rx++);
	MUST(type && (source || control) && strchr((const char *)may, type));
	MUST(type == FERRY_MSG_BATCH ? batch_data(body, len - 16) == (long)bytes : !bytes);
	/* Behind these nothing may be said, and no answer to COMMIT behind ABORT. */
	MUST(!l->told[FERRY_MSG_COMMIT] && !l->told[FERRY_MSG_COMMIT_ACK]);
	if (type == FERRY_MSG_COMMIT || type == FERRY_MSG_COMMIT_ACK)
		MUST(!l->told[FERRY_MSG_ABORT]);
	/* A source asks while the guest runs, a sink answers what it has just heard. */
	if (type == FERRY_MSG_ECHO) {
		MUST(session->features & FERRY_WIRE_FEATURE_ECHO);
		MUST(source ? !l->told[FERRY_MSG_FINAL] :
		     l->heard == FERRY_MSG_ECHO && !memcmp(body, l->in + l->message + FERRY_WIRE_HEADER_LEN, 8));
	}
	if (type == FERRY_MSG_FENCE) {
		MUST(get32(body) == l->told_fence + 1);
		l->told_fence++;
	}
	if (type == FERRY_MSG_BATCH)
		MUST(get32(body + 4) == l->told_fence + 1);
	if (type == FERRY_MSG_STATE && (body[0] & FERRY_WIRE_STATE_LAST))
		l->told_state_last = true;
	l->told[type] = true;
	l->told_last = type;
}

/* --- the transport ------------------------------------------------------- */

static int link_open(struct ferry_channel *ch, const struct kvm_ferry_channel_add *arg,
		     struct ferry_reason *why)
{
	struct link *l = &links[arg->fd];

	(void)why;
	container_of(ch, struct fuzz_channel, ch)->link = l;
	l->ch = ch;
	return 0;
}

static void link_start(struct ferry_channel *ch)
{
	to_link(ch)->timeout = ch->session->peer_silence_ns;
}

static int link_send(struct ferry_channel *ch, const void *head, size_t len,
		     struct bio_vec *bv, unsigned int nr, size_t bytes)
{
	struct link *l = to_link(ch);
	size_t sum = 0;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr; i++)
		sum += bv[i].bv_len;
	MUST(sum == bytes && !l->telling);
	l->telling = get16((const u8 *)head + 4);
	l->begun[l->telling] = true;
	if (l->telling == FERRY_MSG_STATE && (((const u8 *)head)[FERRY_WIRE_HEADER_LEN] & FERRY_WIRE_STATE_LAST))
		l->begun_state_last = true;
	if (l->telling == FERRY_MSG_ECHO)
		l->echo = get32((const u8 *)head + FERRY_WIRE_HEADER_LEN);
	fuzz_preempt();
	if (l->stalled && !l->shut && READ_ONCE(ch->hurry)) {
		ret = -ETIMEDOUT;
	} else if (l->stalled && !l->shut) {
		fuzz_waits_for_peer();
		if (!fuzz_wait(l->wait, !l->stalled || l->shut || l->reset, fuzz_after(l->timeout), false))
			ret = -ETIMEDOUT;
	}
	if (l->shut || l->reset)
		ret = l->shut ? -EPIPE : -ECONNRESET;
	l->telling = 0;
	if (ret)
		return ret;
	check_told(l, head, len, bytes);
	l->taken += len + bytes;
	return 0;
}

static int link_recv(struct ferry_channel *ch, struct iov_iter *to, bool idle)
{
	struct link *l = to_link(ch);

	while (iov_iter_count(to)) {
		size_t n = min(iov_iter_count(to), l->in_len - l->in_at);

		if (l->reset)
			return -ECONNRESET;
		if (n && !l->purged) {
			if (to->bvec)
				may_write();
			iter_fill(to, l->in + l->in_at, n);
			l->in_at += n;
			note_heard(l);
			idle = false;
			continue;
		}
		if (l->eof || l->shut)
			return -EPIPE;
		fuzz_waits_for_peer();
		if (!fuzz_wait(l->wait, l->in_at < l->in_len || l->eof || l->shut || l->reset,
			       fuzz_after(l->timeout), false)) {
			if (idle && !ferry_session_ended(ch->session))
				continue;
			return -ETIMEDOUT;
		}
	}
	return 0;
}

static int link_broken(struct ferry_channel *ch)
{
	struct link *l = to_link(ch);

	return l->eof || l->reset || l->shut ? -EPIPE : 0;
}

static u64 link_taken(struct ferry_channel *ch)
{
	return to_link(ch)->taken;
}

/* What was taken is there at once; what is not taken was not sent. */
static u64 link_queued(struct ferry_channel *ch)
{
	(void)ch;
	return 0;
}

static bool link_untaken(struct ferry_channel *ch)
{
	return to_link(ch)->stalled;
}

static bool link_full(struct ferry_channel *ch)
{
	return to_link(ch)->stalled;
}

static void link_shutdown(struct ferry_channel *ch, bool purge)
{
	struct link *l = to_link(ch);

	l->shut = true;
	l->purged |= purge;
	wake_up_all(&l->wait);
}

static void link_free(struct ferry_channel *ch)
{
	to_link(ch)->ch = NULL;
}

const struct ferry_transport_ops ferry_tcp_ops = {
	.name = "fuzz",
	.type = KVM_FERRY_TRANSPORT_TCP,
	.channel_size = sizeof(struct fuzz_channel),
	.open = link_open,
	.start = link_start,
	.send = link_send,
	.recv = link_recv,
	.broken = link_broken,
	.taken = link_taken,
	.queued = link_queued,
	.untaken = link_untaken,
	.full = link_full,
	.shutdown = link_shutdown,
	.free = link_free,
};

/* Never opened. */
const struct ferry_transport_ops ferry_loop_ops = { .name = "none" };
