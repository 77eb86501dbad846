// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile peer of a whole session: the files of the module that agree, place,
 * send, switch over and end, compiled for user space on the kernel of
 * tests/fuzz/kernel. The input is a script: what the peer says and does, what
 * the VMM calls, what goes wrong. Whatever it is, these hold:
 *
 *  - nothing is written outside of the regions, nor into them but by a batch that
 *    is right, and nothing once memory is told to be complete (guest.c, peer_wire.c);
 *  - what the module says keeps to docs/protocol.md (peer_wire.c);
 *  - states change as docs/architecture.md says; a sink owns the guest only after it
 *    said READY and heard COMMIT, a source gives it away only after it said COMMIT
 *    and heard COMMIT_ACK, and is in doubt only in between;
 *  - a call that fails has a sentence, and so has a session that failed;
 *  - no allocation is larger, and there are never more, than a session needs;
 *  - a peer that says nothing more ends the session in time, and whatever the peer
 *    does, a signal ends the VMM's calls at once and a close soon;
 *  - then everything is freed, and no task or reference is left.
 */
#include <stdint.h>

#include "peer_vmm.h"
#include "peer_wire.h"

#define MAX_OPS		300
#define MAX_TIME	(600ULL * NSEC_PER_SEC)

enum op {
	OP_MESSAGE,	/* type, 16-bit length, body: with a header that is right */
	OP_BYTES,	/* 16-bit length, bytes */
	OP_PAGES,	/* 16-bit count, a byte: page data */
	OP_AGAIN,	/* bit 0: with the next number */
	OP_CLOSE,	/* bit 0: reset */
	OP_CLOCK,	/* 16-bit milliseconds */
	OP_CALL,	/* what, 16-bit argument */
	OP_SIGNAL,
	OP_STALL,	/* bit 0: takes nothing */
	OP_ORDER,	/* seed */
	OP_NOMEM,	/* which allocation */
	OP_TROUBLE,	/* enum guest_trouble */
	OP_ANSWER,	/* bits: what a good peer would answer now */
	OP_HEAD,	/* type, 32-bit length, number's distance, magic's and zero's xor */
	OP_RELEASE,	/* the VMM closes */
	OP_STATE,	/* 16-bit length, how often: much VMM state in a short script */
};

struct input {
	const u8 *at;
	size_t left;
};

static const u32 timeouts_ms[] = { 100, 1000, 10000, 3600000 };

static u32 take(struct input *in, unsigned int bytes)
{
	u32 v = 0, i;

	for (i = 0; i < bytes && in->left; i++, in->left--)
		v |= (u32)*in->at++ << 8 * i;
	return v;
}

/* --- states -------------------------------------------------------------- */

static u32 seen_state;

void fuzz_state_changed(u32 role, u32 from, u32 to)
{
	const struct link *l = links;
	bool source = role == KVM_FERRY_SOURCE;

	MUST(from == seen_state);
	seen_state = to;
	switch (to) {
	case KVM_FERRY_STATE_CONNECTING:
	case KVM_FERRY_STATE_LIVE:
	case KVM_FERRY_STATE_FINAL:
	case KVM_FERRY_STATE_PAUSED:
	case KVM_FERRY_STATE_COMMITTING:
		MUST(from == to - 1);
		break;
	case KVM_FERRY_STATE_DONE:
		MUST(from == KVM_FERRY_STATE_COMMITTING && asked_commit);
		if (source)
			MUST(l->begun[FERRY_MSG_COMMIT] && l->heard == FERRY_MSG_COMMIT_ACK);
		else
			MUST(l->begun[FERRY_MSG_READY] && l->heard == FERRY_MSG_COMMIT);
		break;
	case KVM_FERRY_STATE_FAILED:
		if (from == KVM_FERRY_STATE_DONE)	/* COMMIT_ACK could not be said */
			MUST(!source && !l->told[FERRY_MSG_COMMIT_ACK]);
		else if (source && from == KVM_FERRY_STATE_COMMITTING)
			MUST(l->heard == FERRY_MSG_ABORT);
		else
			MUST(!ferry_state_ended(from));
		break;
	case KVM_FERRY_STATE_ABORTED:
		MUST(!ferry_state_ended(from) && !(source && from == KVM_FERRY_STATE_COMMITTING));
		break;
	case KVM_FERRY_STATE_IN_DOUBT:
		MUST(source && from == KVM_FERRY_STATE_COMMITTING);
		break;
	default:
		MUST(!"a state that there is not");
	}
	/* An answer before its question ends the session: nothing is built on it. */
	if (source && to < KVM_FERRY_STATE_FAILED)
		MUST(!l->early);
	if (source && to == KVM_FERRY_STATE_PAUSED)
		MUST(l->told[FERRY_MSG_PAUSED]);
	if (source && to == KVM_FERRY_STATE_COMMITTING)
		MUST(asked_commit && l->told_state_last);
	if (!source && to == KVM_FERRY_STATE_COMMITTING)
		MUST(asked_commit);
}

static void check_state(void)
{
	struct ferry_session *s = session;
	const u32 state = s->state;

	MUST(state == seen_state);
	MUST(!s->state_lock.owner && !s->pace_lock.owner);
	/* The rest of the VMM's state waits in the network. */
	MUST(s->pipe.head - s->pipe.tail <= FERRY_PIPE_SIZE);
	MUST(memchr(s->failure.text, 0, sizeof(s->failure.text)));
	if (state == KVM_FERRY_STATE_FAILED || state == KVM_FERRY_STATE_ABORTED ||
	    state == KVM_FERRY_STATE_IN_DOUBT)
		MUST(s->failure.error < 0 && s->failure.text[0]);
	else
		MUST(!s->failure.error);
}

/* --- the peer ------------------------------------------------------------ */

static void answer_fences(void)
{
	u8 body[16] = {};
	u32 i;

	for (i = 1; i <= setup.channels; i++) {
		struct link *l = &links[i];

		if (l->told_fence == l->answered_fence)
			continue;
		l->answered_fence = l->told_fence;
		memcpy(body, &l->told_fence, 4);
		body[4] = i - 1;
		link_message(&links[0], FERRY_MSG_FENCE_ACK, body, 16);
	}
}

/* What a good sink would say; a bit each, so that a script can leave one out. */
static void answer(u32 bits)
{
	struct link *l = &links[0];
	u8 body[16] = { 1 };
	u64 digest = guest_digest();

	if (!setup.source || !l->ch)
		return;
	if ((bits & 1) && l->told_last == FERRY_MSG_HELLO) {
		body[8] = setup.verify | (bits & 128 ? FERRY_WIRE_FEATURE_ECHO : 0);
		link_message(l, FERRY_MSG_HELLO_ACK, body, 16);
	}
	if (bits & 2)
		answer_fences();
	if ((bits & 4) && l->told_last == FERRY_MSG_DIGEST_END) {
		memset(body, 0, 8);
		memcpy(body + 8, &digest, 8);
		link_message(l, FERRY_MSG_VERIFY_RESULT, body, 16);
	}
	if ((bits & 8) && l->told_state_last)
		link_message(l, FERRY_MSG_READY, NULL, 0);
	if ((bits & 16) && l->told[FERRY_MSG_COMMIT])
		link_message(l, FERRY_MSG_COMMIT_ACK, NULL, 0);
	if (bits & 32)
		link_message(l, FERRY_MSG_PING, NULL, 0);
	if ((bits & 64) && l->told[FERRY_MSG_ECHO] && l->answered_echo != l->echo) {
		l->answered_echo = l->echo;
		memset(body, 0, 8);
		memcpy(body, &l->echo, 4);
		link_message(l, FERRY_MSG_ECHO, body, 8);
	}
}

static void say_pages(struct link *l, u32 count, u8 byte)
{
	u8 page[PAGE_SIZE];

	memset(page, byte, sizeof(page));
	while (count--)
		link_bytes(l, page, sizeof(page));
}

static void say_state(u32 length, u32 times)
{
	static u8 body[FERRY_WIRE_MAX_BODY];
	struct ferry_msg_state m = { .length = min(length, (u32)FERRY_WIRE_MAX_STATE_CHUNK) };
	size_t n = ferry_wire_put_state(body, &m);

	while (times--)
		link_message(&links[0], FERRY_MSG_STATE, body, n + m.length);
}

static void say_head(struct link *l, struct input *in)
{
	u8 type = take(in, 1);
	struct ferry_msg_header h = { .type = type, .length = take(in, 4), .seq = l->tx + take(in, 1) };
	u8 head[FERRY_WIRE_HEADER_LEN];

	ferry_wire_put_header(head, &h);
	head[1] ^= take(in, 1);
	head[6] ^= take(in, 1);
	link_bytes(l, head, sizeof(head));
}

static void say(struct link *l, enum op op, struct input *in)
{
	u8 type = op == OP_MESSAGE ? take(in, 1) : 0;
	size_t n = take(in, 2);

	n = min(n, in->left);
	if (op == OP_MESSAGE)
		link_message(l, type, in->at, n);
	else
		link_bytes(l, in->at, n);
	in->at += n;
	in->left -= n;
}

/* --- the script ---------------------------------------------------------- */

/* False: the VMM closes. */
static bool step(struct input *in)
{
	u32 first = take(in, 1), arg;
	struct link *l = &links[(first >> 4 & 7) % (setup.channels + 1)];
	enum op op = first & 15;

	switch (op) {
	case OP_MESSAGE:
	case OP_BYTES:
		say(l, op, in);
		break;
	case OP_PAGES:
		arg = take(in, 2);
		say_pages(l, arg % 520, take(in, 1));
		break;
	case OP_AGAIN:
		link_again(l, take(in, 1) & 1);
		break;
	case OP_CLOSE:
		if (take(in, 1) & 1)
			l->reset = true;
		else
			l->eof = true;
		wake_up_all(&l->wait);
		break;
	case OP_CLOCK:
		fuzz_clock(take(in, 2) * 1000000ULL);
		break;
	case OP_CALL:
		arg = take(in, 1) % NR_CALLS;
		vmm_call(arg, take(in, 2));
		break;
	case OP_SIGNAL:
		vmm_signal();
		break;
	case OP_STALL:
		l->stalled = take(in, 1) & 1;
		wake_up_all(&l->wait);
		break;
	case OP_ORDER:
		fuzz_order(take(in, 1));
		break;
	case OP_NOMEM:
		fuzz_nomem(take(in, 1));
		break;
	case OP_TROUBLE:
		arg = take(in, 1) % 3;
		guest_trouble(arg);
		break;
	case OP_ANSWER:
		answer(take(in, 1));
		break;
	case OP_HEAD:
		say_head(l, in);
		break;
	case OP_STATE:
		arg = take(in, 2);
		say_state(arg, take(in, 1) % 20);
		break;
	case OP_RELEASE:
		return false;
	}
	/* Bit 7: more comes before anybody looks. */
	if (!(first & 0x80)) {
		fuzz_run();
		vmm_reap();
		check_state();
	}
	return true;
}

/* A peer that says nothing more, and takes nothing or all. */
static void fall_silent(void)
{
	struct ferry_session *s = session;

	if (setup.ret || ferry_session_ended(s) || s->peer_silence_ns > 20 * NSEC_PER_SEC)
		return;
	/* The source waits for what the sink's VMM makes of its state, as it must. */
	if (!setup.source && s->state == KVM_FERRY_STATE_PAUSED && !ferry_pipe_room(&s->pipe))
		return;
	fuzz_clock(4 * s->peer_silence_ns + 3ULL * NSEC_PER_SEC);
	vmm_reap();
	check_state();
	MUST(ferry_session_ended(s));
}

static void set_up(struct input *in)
{
	u32 bits = take(in, 1);

	setup.source = bits & 1;
	setup.verify = bits & 2;
	setup.two_regions = bits & 4;
	setup.channels = 1 + (bits >> 3 & 3) % 3;
	setup.timeout_ms = timeouts_ms[bits >> 6];
	seen_state = KVM_FERRY_STATE_SETUP;
	fuzz_kernel_begin();
	wire_begin();
	guest_begin(setup.source);
	fuzz_nomem(take(in, 1));
	vmm_set_up();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .at = data, .left = size };
	u64 begin;
	int ops;

	if (size < 2)
		return 0;
	set_up(&in);
	begin = ktime_get_ns();
	if (session) {
		bool open = true;

		for (ops = 0; ops < MAX_OPS && in.left && open; ops++)
			open = ktime_get_ns() - begin < MAX_TIME && step(&in);
		fuzz_run();
		vmm_reap();
		check_state();
		fuzz_nomem(0);
		if (open)
			fall_silent();
		vmm_release();
	}
	wire_end();
	guest_end();
	fuzz_kernel_end();
	return 0;
}
