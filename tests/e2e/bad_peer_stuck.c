// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_wire.c,bad_call.c,pair.c,tap.c timeout=90
 *
 * A source whose sink lives (it says PING for ever and takes all that comes) but
 * does not answer: no HELLO_ACK, no FENCE_ACK while the guest runs or after
 * FINAL, no VERIFY_RESULT. Each ends with ETIMEDOUT, a sentence, and the
 * source's memory whole. A sink that is only slow is waited for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bad_call.h"
#include "bad_wire.h"
#include "tap.h"

#define TIMEOUT	(400 * lab_slow())	/* ms, of the session */
/* Of a pass that is taken slowly: bytes at a time, and the ms between them. */
#define SIP	(16 << 10)
#define SIP_MS	(40 * lab_slow())

static void drink(int fd)
{
	char bytes[4096];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

/* Takes all and says PING, until the session has ended. */
static void live(struct peer *p)
{
	uint64_t end = now_ms() + 20000;

	while (now_ms() < end && !ferry_state_ended(pair_stats(p->s).out_state)) {
		wire_send(&p->control, W_PING, NULL, 0);
		drink(p->control.fd);
		drink(p->data[0].fd);
		usleep(TIMEOUT * 1000 / 20);
	}
}

static void no_hello_ack(struct peer *p)
{
	live(p);
}

static void no_fence_ack(struct peer *p)
{
	sink_connect(p, 0);
	live(p);
}

static void *ask_final(void *arg)
{
	return (void *)(long)ferry_session_final(((struct peer *)arg)->s);
}

static void no_final_fence_ack(struct peer *p)
{
	sink_connect(p, 0);
	/* A slow host takes longer than the timeout to take it all: PING meanwhile. */
	do {
		if (!sink_serve(p, W_PING))
			tap_bail("no fence came: %s", ferry_session_error(p->s));
	} while (p->data[0].type != W_FENCE);
	p->acks = false;
	pthread_create(&p->final, NULL, ask_final, p);
	if (!sink_serve(p, W_FINAL))
		tap_bail("no FINAL came: %s", ferry_session_error(p->s));
	live(p);
}

static void no_verify_result(struct peer *p)
{
	sink_connect(p, 1);
	sink_serve(p, W_PASS);
	pthread_create(&p->final, NULL, ask_final, p);
	if (!sink_serve(p, W_DIGEST_END))
		tap_bail("no DIGEST_END came: %s", ferry_session_error(p->s));
	live(p);
}

static const struct row {
	const char *what;
	const char *words;
	bool verify;
	void (*fn)(struct peer *p);
} rows[] = {
	{ "no HELLO_ACK", "did not answer HELLO", false, no_hello_ack },
	{ "no FENCE_ACK", "has not acknowledged pass 1 on data channel 0", false, no_fence_ack },
	{ "no FENCE_ACK after FINAL", "has not acknowledged pass", false, no_final_fence_ack },
	{ "no VERIFY_RESULT", "its digests", true, no_verify_result },
};

static uint8_t *before;

static void try(const struct row *r)
{
	static struct peer p;
	void *err = NULL;

	memset(&p, 0, sizeof(p));
	peer_open(&p, KVM_FERRY_SOURCE, 1, TIMEOUT, r->verify);
	peer_start(&p);
	r->fn(&p);
	failed_with(ferry_session_fd(p.s), ETIMEDOUT, r->words, "%s", r->what);
	if (p.final) {
		pthread_join(p.final, &err);
		tap_check((long)err == -ESHUTDOWN, "%s: FINAL returns ESHUTDOWN", r->what);
	}
	tap_check(!memcmp(p.mem, before, PEER_BYTES), "%s: the source's memory is whole", r->what);
	peer_close(&p);
}

/* Reads by sips; notes when the source had handed all to its socket. */
static bool sip(struct peer *p, size_t n, uint64_t *handed_over)
{
	uint8_t bytes[SIP];

	while (n) {
		size_t part = n < SIP ? n : SIP;

		if (!wire_read(&p->data[0], bytes, part))
			return false;
		n -= part;
		wire_send(&p->control, W_PING, NULL, 0);
		drink(p->control.fd);
		if (!*handed_over && !pair_stats(p->s).out_ram_remaining)
			*handed_over = now_ms();
		usleep(SIP_MS * 1000);
	}
	return true;
}

static uint32_t data_pages(const struct wire *w)
{
	uint32_t nr = get32(w->body), pages = 0, i;

	for (i = 0; i < nr; i++)
		if (!w->body[8 + 16 * i + 14])
			pages += get32(w->body + 8 + 16 * i + 8);
	return pages;
}

/* The fence is in the queue for longer than the timeout, but the queue moves. */
static void slow(void)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_INFLIGHT,
				      .inflight_bytes = 1 << 20 };
	static struct peer p;
	uint64_t handed_over = 0;
	uint8_t body[16];
	uint64_t waited;

	memset(&p, 0, sizeof(p));
	peer_open(&p, KVM_FERRY_SOURCE, 1, TIMEOUT, false);
	ferry_session_limits(p.s, &l, sizeof(l));
	peer_start(&p);
	sink_connect(&p, 0);
	while (wire_next(&p.data[0]) == W_BATCH)
		if (!sip(&p, (size_t)data_pages(&p.data[0]) * PAGE, &handed_over))
			break;
	waited = handed_over ? now_ms() - handed_over : 0;
	tap_check(p.data[0].type == W_FENCE, "a sink that takes a little now and then gets all: %s",
		  ferry_session_error(p.s));
	tap_check(waited > 3 * TIMEOUT / 2, "its fence was out for longer than the timeout: %llu ms",
		  (unsigned long long)waited);
	wire_send(&p.control, W_FENCE_ACK, body, body_pass(body, 1, 0));
	ferry_session_report_range(p.s, 0, 0, PAGE);
	tap_check(poll_until(pair_stats(p.s).out_dirty_sync_count == 2 ||
			     ferry_state_ended(pair_stats(p.s).out_state)) &&
		  pair_stats(p.s).out_state == KVM_FERRY_STATE_LIVE, "and the next pass begins");
	peer_close(&p);
}

int main(void)
{
	size_t i;

	before = pair_memory(PEER_BYTES, false);
	fill(before, PEER_BYTES, KVM_FERRY_SOURCE + 1);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		try(&rows[i]);
	slow();
	return tap_done();
}
