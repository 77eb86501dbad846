// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_wire.c,bad_call.c,pair.c,tap.c timeout=120
 *
 * A peer that never stops: PING, ECHO, passes, fences, batches of nothing, VMM state that
 * nobody takes or more than there may be. The host's memory does not grow, the VMM's
 * calls are answered meanwhile, and an abort and a close are done at once, though the
 * peer goes on.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bad_call.h"
#include "bad_wire.h"
#include "tap.h"

#define PATIENT		60000	/* ms: what waits for the peer waits too long */
#define FLOOD_MS	300
#define SECOND		1000	/* ms */
#define GROWTH_KB	(32 << 10)	/* more than all buffers of three connections */
#define LARGE		(64 * MIB)	/* of a region that is named again and again */

/**
 * struct flood - a peer that goes on until it is told to stop
 * @p: whose
 * @w: where
 * @say: says something once more
 * @n: how often it did
 * @stop: it stops
 */
struct flood {
	struct peer *p;
	struct wire *w;
	void (*say)(struct flood *f);
	uint32_t n;
	volatile bool stop;
};

static void *go_on(void *arg)
{
	struct flood *f = arg;

	while (!f->stop) {
		f->say(f);
		f->n++;
	}
	return NULL;
}

static long available_kb(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long kb = -1;

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "MemAvailable: %ld", &kb) != 1)
		;
	if (f)
		fclose(f);
	if (kb < 0)
		tap_bail("/proc/meminfo does not tell what is available");
	return kb;
}

/* Sends that the module does not take any more end by themselves. */
static void impatient(struct wire *w)
{
	struct timeval t = { .tv_usec = 200000 };

	setsockopt(w->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

static void flooded(struct peer *p, struct flood *f, bool lives, const char *what)
{
	long before = available_kb(), least = before;
	uint64_t begin = now_ms(), call = 0, aborted, closed;
	pthread_t thread;

	impatient(f->w);
	pthread_create(&thread, NULL, go_on, f);
	while (now_ms() < begin + FLOOD_MS) {
		uint64_t at = now_ms();
		uint32_t state = pair_stats(p->s).out_state;
		long kb = available_kb();

		call = now_ms() - at > call ? now_ms() - at : call;
		least = kb < least ? kb : least;
		if (ferry_state_ended(state) == lives)
			break;
		usleep(10000);
	}
	tap_check(ferry_state_ended(pair_stats(p->s).out_state) != lives, "%s: the session %s: %s", what,
		  lives ? "lives" : "ends", ferry_session_error(p->s));
	tap_check(before - least < GROWTH_KB && call < SECOND,
		  "%s: the host's memory shrinks by %ld KiB, a call took up to %llu ms", what,
		  before - least, (unsigned long long)call);
	begin = now_ms();
	ferry_session_abort(p->s);
	aborted = now_ms() - begin;
	begin = now_ms();
	ferry_session_close(p->s);
	closed = now_ms() - begin;
	f->stop = true;
	pthread_join(thread, NULL);
	tap_check(f->n && aborted < SECOND && closed < SECOND,
		  "%s: aborted in %llu ms, closed in %llu ms, after %u", what,
		  (unsigned long long)aborted, (unsigned long long)closed, f->n);
	p->s = NULL;
	peer_close(p);
}

static uint8_t body[WIRE_MAX_BODY];

static void say_ping(struct flood *f)
{
	wire_send(f->w, W_PING, NULL, 0);
}

static void say_echo(struct flood *f)
{
	wire_send(f->w, W_ECHO, body, body_echo(body, f->n + 1));
}

static void say_pass(struct flood *f)
{
	wire_send(f->w, W_PASS, body, body_pass(body, f->n + 1, 0));
}

static void say_fence(struct flood *f)
{
	wire_send(f->w, W_FENCE, body, body_pass(body, f->n + 1, 0));
}

static void say_zero(struct flood *f)
{
	put32(body, 1);
	put32(body + 4, 1);
	put_extent(body + 8, f->n % 512, 1, 0, 1);
	wire_send(f->w, W_BATCH, body, 24);
}

/* All of a large region, as often as a batch has extents. */
static void say_all_zero(struct flood *f)
{
	unsigned int i;

	put32(body, 256);
	put32(body + 4, 1);
	for (i = 0; i < 256; i++)
		put_extent(body + 8 + 16 * i, 0, LARGE / PAGE, 1, 1);
	wire_send(f->w, W_BATCH, body, 8 + 16 * 256);
}

static void say_state(struct flood *f)
{
	put32(body, 0);
	put32(body + 4, WIRE_MAX_BODY - 8);
	wire_send(f->w, W_STATE, body, WIRE_MAX_BODY);
}

static void open_sink(struct peer *p)
{
	memset(p, 0, sizeof(*p));
	peer_open(p, KVM_FERRY_SINK, 1, PATIENT, false);
	p->features = W_FEATURE_ECHO;
	peer_start(p);
	source_connect(p);
}

static void to_paused(struct peer *p)
{
	wire_send(&p->control, W_FINAL, body, body_pass(body, 1, 0));
	source_pass(p, 1);
	wire_send(&p->control, W_PAUSED, NULL, 0);
	await_state(ferry_session_fd(p->s), KVM_FERRY_STATE_PAUSED);
}

static void at_sink(void (*say)(struct flood *f), bool data, const char *what)
{
	static struct peer p;
	struct flood f = { .p = &p, .w = data ? &p.data[0] : &p.control, .say = say };

	open_sink(&p);
	if (say == say_state)
		to_paused(&p);
	flooded(&p, &f, true, what);
}

static void all_zero(void)
{
	static struct peer p;
	struct flood f = { .p = &p, .w = &p.data[0], .say = say_all_zero };
	uint8_t *large = pair_memory(LARGE, false);
	size_t n;

	memset(large, 1, LARGE);
	memset(&p, 0, sizeof(p));
	peer_open(&p, KVM_FERRY_SINK, 1, PATIENT, false);
	if (ferry_session_add_region(p.s, 1, "large", large, LARGE))
		tap_bail("region: %s", ferry_session_error(p.s));
	peer_start(&p);
	n = body_hello(&p, body, 2);
	body_region(body + 80 + 56, 1, LARGE, "large");
	wire_send(&p.control, W_HELLO, body, n);
	wire_send(&p.data[0], W_CHANNEL, body, body_channel(&p, body, 0));
	if (wire_recv(&p.control) != W_HELLO_ACK)
		tap_bail("no HELLO_ACK came: %s", ferry_session_error(p.s));
	flooded(&p, &f, true, "all of memory as zero");
	munmap(large, LARGE);
}

static void at_source(void)
{
	static struct peer p;
	struct flood f = { .p = &p, .w = &p.control, .say = say_ping };

	memset(&p, 0, sizeof(p));
	peer_open(&p, KVM_FERRY_SOURCE, 1, PATIENT, false);
	peer_start(&p);
	sink_until(&p, KVM_FERRY_STATE_LIVE);
	flooded(&p, &f, true, "PING to a source");
}

static void *take_all(void *arg)
{
	struct peer *p = arg;
	static uint8_t room[MIB];
	bool last = false;

	while (!last && ferry_session_recv_state(p->s, room, sizeof(room), &last) > 0)
		;
	return NULL;
}

/* A byte more than the 256 MiB that there may be. */
static void too_much_state(void)
{
	static struct peer p;
	struct flood f = { .p = &p, .w = &p.control };
	const uint32_t chunk = WIRE_MAX_BODY - 8;
	pthread_t thread;

	open_sink(&p);
	to_paused(&p);
	pthread_create(&thread, NULL, take_all, &p);
	for (f.n = 0; f.n < KVM_FERRY_MAX_STATE_BYTES / chunk; f.n++)
		say_state(&f);
	put32(body, 0);
	put32(body + 4, 1);
	wire_send(&p.control, W_STATE, body, 9);
	failed_with(ferry_session_fd(p.s), EPROTO, "256 MiB", "more state than there may be");
	pthread_join(thread, NULL);
	peer_close(&p);
}

int main(void)
{
	at_sink(say_ping, false, "PING");
	at_sink(say_pass, false, "passes");
	/* Nobody reads the answers. */
	at_sink(say_echo, false, "ECHO");
	at_sink(say_fence, true, "fences");
	at_sink(say_zero, true, "batches of nothing");
	at_sink(say_state, false, "state that nobody takes");
	all_zero();
	at_source();
	/* It takes seconds on a stock kernel. */
	if (lab_slow() == 1)
		too_much_state();
	return tap_done();
}
