// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_wire.c,bad_call.c,pair.c,tap.c timeout=180 leak=8192
 *
 * A peer that speaks well up to a point, and then says any message with any field
 * wrong: every type, in every state, from both sides, each field of its header and its
 * body in turn. Garbage follows, and then the connection is cut, so that every case ends.
 * What must hold: the session ends, with an errno and a sentence; nothing around the
 * region is touched, nor anything of a source's memory; a guest changes its owner only
 * by the one message that says so, said rightly and at its time; after COMMIT nobody
 * guesses.
 *
 * There are more cases than there is time: as many are tried as fit, in an order that
 * mixes types, states and fields, and is the same every time on one kernel and another on
 * the next. With an argument all are tried.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bad_call.h"
#include "bad_wire.h"
#include "tap.h"

#define PATIENT		8000	/* ms: no case waits for it */
#define TIME_MS		8000
#define GARBAGE		(48 << 10)
#define NR_STATES	5
#define HEADER_FIELDS	5
#define TYPE_FIELD	2	/* the second one; 0 is none */
#define MAX_FIELDS	9
#define LEAST		60	/* cases that are tried however long they take */
#define STRIDE		61	/* shares no factor with the number of cases */
#define FILLED		(8 * PAGE)	/* of the region; the rest is a hole, for speed */

struct field {
	uint8_t at;
	uint8_t size;	/* 0: none */
};

static const struct field header[HEADER_FIELDS] = { { 0, 4 }, { 4, 2 }, { 6, 2 }, { 8, 4 }, { 12, 4 } };

/* A message with a good body of this length, and the fields of that. */
static const struct type {
	const char *name;
	uint16_t length;
	struct field fields[MAX_FIELDS];
} types[] = {
	[W_HELLO] = { "HELLO", 136, { { 0, 2 }, { 2, 2 }, { 4, 4 }, { 8, 8 }, { 32, 2 }, { 34, 2 },
				      { 36, 4 }, { 80, 8 }, { 88, 8 } } },
	[W_HELLO_ACK] = { "HELLO_ACK", 16, { { 0, 2 }, { 2, 2 }, { 8, 8 } } },
	[W_CHANNEL] = { "CHANNEL", 24, { { 0, 8 }, { 16, 2 }, { 18, 2 }, { 20, 4 } } },
	[W_BATCH] = { "BATCH", 24, { { 0, 4 }, { 4, 4 }, { 8, 8 }, { 16, 4 }, { 20, 2 }, { 22, 2 } } },
	[W_FENCE] = { "FENCE", 16, { { 0, 4 }, { 4, 2 }, { 6, 2 }, { 8, 8 } } },
	[W_FENCE_ACK] = { "FENCE_ACK", 16, { { 0, 4 }, { 4, 2 }, { 6, 2 }, { 8, 8 } } },
	[W_PASS] = { "PASS", 16, { { 0, 4 }, { 4, 2 }, { 6, 2 }, { 8, 8 } } },
	[W_FINAL] = { "FINAL", 16, { { 0, 4 }, { 4, 2 }, { 6, 2 }, { 8, 8 } } },
	[W_DIGEST] = { "DIGEST", 24, { { 0, 2 }, { 2, 2 }, { 4, 4 }, { 8, 8 }, { 16, 8 } } },
	[W_DIGEST_END] = { "DIGEST_END", 0, {} },
	[W_VERIFY_RESULT] = { "VERIFY_RESULT", 16, { { 0, 4 }, { 4, 4 }, { 8, 8 } } },
	[W_PAUSED] = { "PAUSED", 0, {} },
	[W_STATE] = { "STATE", 12, { { 0, 4 }, { 4, 4 } } },
	[W_READY] = { "READY", 0, {} },
	[W_COMMIT] = { "COMMIT", 0, {} },
	[W_COMMIT_ACK] = { "COMMIT_ACK", 0, {} },
	[W_ABORT] = { "ABORT", 12, { { 0, 4 }, { 4, 4 } } },
	[W_PING] = { "PING", 0, {} },
	[W_ECHO] = { "ECHO", 8, { { 0, 4 }, { 4, 4 } } },
};

#define NR_TYPES	(sizeof(types) / sizeof(types[0]))

/* What is put into a field: its bits inverted, the largest number, one more, a huge count. */
static const uint64_t wrongs[] = { ~0ULL, 0x7fffffff, 1, 0x10000001 };

#define NR_WRONGS	(sizeof(wrongs) / sizeof(wrongs[0]))
/* Field 0 is none: the message is right. */
#define NR_CASES	(2 * NR_STATES * NR_TYPES * (1 + HEADER_FIELDS + MAX_FIELDS) * NR_WRONGS)

struct one {
	enum kvm_ferry_role role;	/* the module's */
	enum kvm_ferry_state state;
	uint16_t type;
	unsigned int field;
	uint64_t wrong;
};

static uint8_t body[WIRE_MAX_BODY];
static uint8_t garbage[GARBAGE];
static uint8_t *before;

static size_t good_body(const struct peer *p, uint16_t type)
{
	memset(body, 0, 64);
	switch (type) {
	case W_HELLO:
		return body_hello(p, body, 1);
	case W_HELLO_ACK:
		put16(body, 1);
		break;
	case W_CHANNEL:
		return body_channel(p, body, 0);
	case W_BATCH:
		put32(body, 1);
		put32(body + 4, 1);
		put_extent(body + 8, 1, 1, 0, 0);
		break;
	case W_FENCE:
	case W_FENCE_ACK:
	case W_PASS:
	case W_FINAL:
		return body_pass(body, 1, 0);
	case W_ECHO:
		return body_echo(body, 1);
	case W_DIGEST:
		put32(body + 4, 1);
		break;
	case W_STATE:
	case W_ABORT:
		put32(body, 1);
		put32(body + 4, 4);
		memcpy(body + 8, "text", 4);
	}
	return types[type].length;
}

static void spoil(uint8_t *at, const struct field *f, uint64_t wrong)
{
	unsigned int i;

	for (i = 0; i < f->size && i < 8; i++)
		at[f->at + i] ^= wrong >> 8 * i;
}

static const struct field *field_of(const struct one *c)
{
	return c->field > HEADER_FIELDS ? &types[c->type].fields[c->field - 1 - HEADER_FIELDS] :
	       c->field ? &header[c->field - 1] : NULL;
}

static void say(struct peer *p, const struct one *c)
{
	bool data = c->type == W_CHANNEL || c->type == W_BATCH || c->type == W_FENCE;
	struct timeval t = { .tv_usec = 500000 };
	struct wire *w = data ? &p->data[0] : &p->control;
	const struct field *f = field_of(c);
	uint8_t whole[16 + 256];
	size_t n = good_body(p, c->type);

	setsockopt(w->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	wire_head(whole, c->type, n, w->tx++);
	memcpy(whole + 16, body, n);
	if (f)
		spoil(whole + (c->field > HEADER_FIELDS ? 16 : 0), f, c->wrong);
	wire_bytes(w, whole, 16 + n);
	/* The page data of a batch, or of what became one; then what no message is. */
	wire_bytes(w, garbage, sizeof(garbage));
	shutdown(w->fd, SHUT_WR);
	/* A batch may be longer than the garbage: then the control channel ends it. */
	if (data)
		shutdown(p->control.fd, SHUT_WR);
}

/* --- up to a state ------------------------------------------------------- */

static void *ask_commit(void *arg)
{
	return (void *)(long)ferry_session_commit(((struct peer *)arg)->s);
}

static void sink_up_to(struct peer *p, enum kvm_ferry_state state, pthread_t *commit)
{
	uint8_t bytes[64];
	bool last;

	if (state == KVM_FERRY_STATE_CONNECTING)
		return;
	source_connect(p);
	if (state >= KVM_FERRY_STATE_FINAL) {
		wire_send(&p->control, W_FINAL, body, body_pass(body, 1, 0));
		source_pass(p, 1);
	}
	if (state < KVM_FERRY_STATE_PAUSED)
		return;
	wire_send(&p->control, W_PAUSED, NULL, 0);
	await_state(ferry_session_fd(p->s), KVM_FERRY_STATE_PAUSED);
	if (state < KVM_FERRY_STATE_COMMITTING)
		return;
	good_body(p, W_STATE);
	wire_send(&p->control, W_STATE, body, 12);
	/* The bytes may be there a moment before the mark of the last. */
	do {
		if (ferry_session_recv_state(p->s, bytes, sizeof(bytes), &last) < 0)
			tap_bail("state: %s", ferry_session_error(p->s));
	} while (!last);
	pthread_create(commit, NULL, ask_commit, p);
	if (wire_recv(&p->control) != W_READY)
		tap_bail("no READY came: %s", ferry_session_error(p->s));
}

static void source_up_to(struct peer *p, enum kvm_ferry_state state, pthread_t *commit)
{
	if (state == KVM_FERRY_STATE_CONNECTING) {
		if (wire_recv(&p->control) != W_HELLO)
			tap_bail("no HELLO came: %s", ferry_session_error(p->s));
		return;
	}
	if (state < KVM_FERRY_STATE_COMMITTING) {
		sink_until(p, state);
		return;
	}
	sink_until_commit(p);
	*commit = p->commit;
}

/* --- a case -------------------------------------------------------------- */

/* The one message that moves the guest, as it must be: also READY whose type has become COMMIT. */
static bool moves(const struct one *c)
{
	uint16_t type = c->field == TYPE_FIELD ? c->type ^ c->wrong : c->type;

	return c->state == KVM_FERRY_STATE_COMMITTING && (!c->field || c->field == TYPE_FIELD) &&
	       !types[c->type].length &&
	       type == (c->role == KVM_FERRY_SINK ? W_COMMIT : W_COMMIT_ACK);
}

static bool right_end(const struct one *c, uint32_t state)
{
	if (moves(c))
		return state == KVM_FERRY_STATE_DONE;
	/* ABORT whose errno alone was changed is one still. */
	if (c->role == KVM_FERRY_SOURCE && c->state == KVM_FERRY_STATE_COMMITTING)
		return state == KVM_FERRY_STATE_IN_DOUBT ||
		       (c->type == W_ABORT && state == KVM_FERRY_STATE_FAILED);
	return state == KVM_FERRY_STATE_FAILED;
}

static bool try(const struct one *c)
{
	struct kvm_ferry_reason why = { .size = sizeof(why), .flags = KVM_FERRY_REASON_SESSION };
	static struct peer p;
	pthread_t commit = 0;
	uint32_t state;
	bool good;
	void *err;

	memset(&p, 0, sizeof(p));
	p.filled = FILLED;
	peer_open(&p, c->role, 1, PATIENT, false);
	peer_start(&p);
	if (c->role == KVM_FERRY_SINK)
		sink_up_to(&p, c->state, &commit);
	else
		source_up_to(&p, c->state, &commit);
	say(&p, c);
	state = await_state(ferry_session_fd(p.s), KVM_FERRY_STATE_DONE);
	if (commit)
		pthread_join(commit, &err);
	if (c->role == KVM_FERRY_SOURCE && c->state == KVM_FERRY_STATE_FINAL)
		pthread_join(p.final, &err);
	/* Taking the guest can still fail while it is said: then the state is another. */
	state = pair_stats(p.s).out_state;
	good = right_end(c, state);
	ioctl(ferry_session_fd(p.s), KVM_FERRY_REASON, &why);
	if (state != KVM_FERRY_STATE_DONE)
		good &= why.out_error && why.out_reason[0];
	if (c->role == KVM_FERRY_SOURCE)
		good &= !memcmp(p.mem, before, PEER_BYTES);
	if (!good)
		tap_check(false, "%s in state %u of the %s, field %u, 0x%llx: ended %s, %u, \"%s\"",
			  types[c->type].name, c->state, ferry_role_name(c->role), c->field,
			  (unsigned long long)c->wrong, ferry_state_name(state), why.out_error,
			  why.out_reason);
	peer_close(&p);
	return good;
}

/* The case of this number; false: there is none, since its type has not so many fields. */
static bool case_of(unsigned int n, struct one *c)
{
	c->role = n % 2 ? KVM_FERRY_SINK : KVM_FERRY_SOURCE;
	n /= 2;
	c->state = KVM_FERRY_STATE_CONNECTING + n % NR_STATES;
	n /= NR_STATES;
	c->type = n % NR_TYPES;
	n /= NR_TYPES;
	c->field = n % (1 + HEADER_FIELDS + MAX_FIELDS);
	n /= 1 + HEADER_FIELDS + MAX_FIELDS;
	c->wrong = wrongs[n];
	if (!types[c->type].name || (!c->field && n))
		return false;
	return !c->field || field_of(c)->size;
}

static unsigned int first_case(void)
{
	struct utsname u;
	unsigned int sum = 0;
	const char *c;

	uname(&u);
	for (c = u.release; *c; c++)
		sum = 31 * sum + *c;
	return sum % NR_CASES;
}

int main(int argc, char **argv)
{
	uint64_t end = now_ms() + TIME_MS * lab_slow();
	unsigned int i, n = first_case(), tried = 0, good = 0, all = 0;
	struct one c;

	(void)argv;
	if (argc > 1)
		end = ~0ULL;
	before = pair_memory(PEER_BYTES, false);
	fill(before, FILLED, KVM_FERRY_SOURCE + 1);
	memset(garbage, 0xa5, sizeof(garbage));
	for (i = 0; i < NR_CASES; i++) {
		n = (n + STRIDE) % NR_CASES;
		if (!case_of(n, &c))
			continue;
		all++;
		/* What moves a guest is always tried, whatever the time. */
		if (tried >= LEAST && now_ms() >= end && !moves(&c))
			continue;
		tried++;
		good += try(&c);
	}
	tap_check(good == tried && tried >= LEAST, "%u of %u cases, %u of them as they must", tried, all, good);
	return tap_done();
}
