// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_wire.c,bad_call.c,pair.c,tap.c timeout=90
 *
 * A peer that lives by single bytes: it says, or takes, one at a time, always
 * before the peer timeout is over. It cannot hold a session that has not connected;
 * one that has is the VMM's to end, and whatever it is in the middle of, an abort and
 * a close are done at once.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bad_call.h"
#include "bad_wire.h"
#include "tap.h"

#define TIMEOUT	(400 * lab_slow())	/* ms, of the session */
#define BYTE_MS	(50 * lab_slow())	/* between two bytes */
#define SECOND	1000	/* ms: an abort and a close are faster, or they wait for the peer */

static uint8_t body[WIRE_MAX_BODY];

static bool over(struct peer *p)
{
	return ferry_state_ended(pair_stats(p->s).out_state);
}

/*
 * Says a message a byte at a time, until it is said or the session has ended, or
 * until so many ms are over. PING in between, on the other channel, if it may.
 */
static void trickle(struct peer *p, struct wire *w, const uint8_t *bytes, size_t n, uint64_t ms)
{
	uint64_t end = now_ms() + ms;

	for (; n && now_ms() < end && !over(p); n--) {
		wire_bytes(w, bytes++, 1);
		if (w != &p->control)
			wire_send(&p->control, W_PING, NULL, 0);
		usleep(BYTE_MS * 1000);
	}
}

static size_t whole(struct wire *w, uint8_t *to, uint16_t type, const uint8_t *b, uint32_t n)
{
	size_t head = wire_head(to, type, n, w->tx++);

	memcpy(to + head, b, n);
	return head + n;
}

/* --- before it has connected --------------------------------------------- */

static void slow_hello(struct peer *p)
{
	uint8_t bytes[256];
	size_t n = body_hello(p, body, 1);

	n = whole(&p->control, bytes, W_HELLO, body, n);
	wire_send(&p->data[0], W_CHANNEL, body, body_channel(p, body, 0));
	trickle(p, &p->control, bytes, n, 10 * TIMEOUT);
}

static void slow_channel(struct peer *p)
{
	uint8_t bytes[64];
	size_t n = body_hello(p, body, 1);

	wire_send(&p->control, W_HELLO, body, n);
	n = whole(&p->data[0], bytes, W_CHANNEL, body, body_channel(p, body, 0));
	trickle(p, &p->data[0], bytes, n, 10 * TIMEOUT);
}

static void slow_hello_ack(struct peer *p)
{
	uint8_t bytes[64];
	size_t n;

	if (wire_recv(&p->control) != W_HELLO)
		tap_bail("no HELLO came");
	memset(body, 0, 16);
	put16(body, 1);
	n = whole(&p->control, bytes, W_HELLO_ACK, body, 16);
	/* Nothing is left to say before the time is over. */
	trickle(p, &p->control, bytes, n - 1, 10 * TIMEOUT);
}

static const struct row {
	const char *what;
	enum kvm_ferry_role role;
	const char *words;
	void (*fn)(struct peer *p);
} rows[] = {
	{ "HELLO by single bytes", KVM_FERRY_SINK, "all of its HELLO", slow_hello },
	{ "CHANNEL by single bytes", KVM_FERRY_SINK, "showed the token", slow_channel },
	{ "HELLO_ACK by single bytes", KVM_FERRY_SOURCE, "did not answer HELLO", slow_hello_ack },
};

static void try(const struct row *r)
{
	static struct peer p;
	uint64_t begin;

	memset(&p, 0, sizeof(p));
	peer_open(&p, r->role, 1, TIMEOUT, false);
	peer_start(&p);
	begin = now_ms();
	r->fn(&p);
	failed_with(ferry_session_fd(p.s), ETIMEDOUT, r->words, "%s", r->what);
	begin = now_ms() - begin;
	tap_check(begin < 5 * TIMEOUT, "%s: it was not waited for: %llu ms", r->what,
		  (unsigned long long)begin);
	peer_close(&p);
}

/* --- then ---------------------------------------------------------------- */

/* A thread that goes on while the main one aborts. */
struct trickler {
	struct peer *p;
	struct wire *w;
	const uint8_t *bytes;
	size_t n;
	bool takes;
	volatile bool stop;
};

static void *trickle_on(void *arg)
{
	struct trickler *t = arg;
	uint8_t byte;

	while (!t->stop) {
		if (t->takes)
			recv(t->w->fd, &byte, 1, MSG_DONTWAIT);
		else if (t->n && t->n--)
			wire_bytes(t->w, t->bytes++, 1);
		if (t->w != &t->p->control)
			wire_send(&t->p->control, W_PING, NULL, 0);
		usleep(BYTE_MS * 1000);
	}
	return NULL;
}

/* The session lives for longer than the timeout, and then ends at once. */
static void ends_at_once(struct peer *p, struct trickler *t, const char *what)
{
	uint64_t begin = now_ms(), aborted, closed;
	pthread_t thread;
	bool lived = true;

	pthread_create(&thread, NULL, trickle_on, t);
	while (now_ms() < begin + 2 * TIMEOUT && lived) {
		lived = !over(p);
		usleep(BYTE_MS * 1000);
	}
	tap_check(lived, "%s: the session lives: %s", what, ferry_session_error(p->s));
	begin = now_ms();
	ferry_session_abort(p->s);
	aborted = now_ms() - begin;
	t->stop = true;
	pthread_join(thread, NULL);
	begin = now_ms();
	peer_close(p);
	closed = now_ms() - begin;
	tap_check(aborted < SECOND && closed < SECOND, "%s: aborted in %llu ms, closed in %llu ms", what,
		  (unsigned long long)aborted, (unsigned long long)closed);
}

static void in_pass(void)
{
	uint8_t bytes[64];
	static struct peer p;
	struct trickler t = { .p = &p, .w = &p.control, .bytes = bytes };

	peer_open(&p, KVM_FERRY_SINK, 1, TIMEOUT, false);
	peer_start(&p);
	source_connect(&p);
	t.n = whole(&p.control, bytes, W_PASS, body, body_pass(body, 1, 0)) - 1;
	ends_at_once(&p, &t, "PASS by single bytes");
}

static void in_batch(void)
{
	static const uint8_t zeroes[PAGE];
	static struct peer p;
	struct trickler t = { .p = &p, .w = &p.data[0], .bytes = zeroes, .n = PAGE };

	peer_open(&p, KVM_FERRY_SINK, 1, TIMEOUT, false);
	peer_start(&p);
	source_connect(&p);
	put32(body, 1);
	put32(body + 4, 1);
	put_extent(body + 8, 0, 512, 0, 0);
	wire_send(&p.data[0], W_BATCH, body, 24);
	ends_at_once(&p, &t, "page data by single bytes");
}

/* The source's batches are taken a byte at a time. */
static void taking(void)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_INFLIGHT,
				      .inflight_bytes = 256 << 10 };
	int little = 4096;
	static struct peer p;
	struct trickler t = { .p = &p, .w = &p.data[0], .takes = true };

	peer_open(&p, KVM_FERRY_SOURCE, 1, 4 * TIMEOUT, false);
	setsockopt(p.data[0].fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
	ferry_session_limits(p.s, &l, sizeof(l));
	peer_start(&p);
	sink_connect(&p, 0);
	ends_at_once(&p, &t, "batches taken by single bytes");
}

int main(void)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		try(&rows[i]);
	in_pass();
	in_batch();
	taking();
	return tap_done();
}
