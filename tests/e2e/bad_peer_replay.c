// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_wire.c,bad_call.c,pair.c,tap.c timeout=90
 *
 * A peer that says again what it said, or answers before it was asked, or goes on
 * behind the end: each ends the session with its errno and a sentence. Extents that
 * overlap are the source's affair: they spoil nothing but what they name.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "bad_call.h"
#include "bad_wire.h"
#include "tap.h"

#define PATIENT	8000	/* ms: no test waits for it */

static uint8_t body[WIRE_MAX_BODY];
static uint8_t page[PAGE];

static void *ask_final(void *arg)
{
	return (void *)(long)ferry_session_final(((struct peer *)arg)->s);
}

/* --- the peer is the source ---------------------------------------------- */

/* One number back: what is sent next has the number of what was sent last. */
static void batch_again(struct peer *p)
{
	source_connect(p);
	source_batch(p, 1, 0, 2, 0x11);
	p->data[0].tx--;
	source_batch(p, 1, 0, 2, 0x11);
}

static void batch_of_old_pass(struct peer *p)
{
	source_connect(p);
	source_batch(p, 1, 0, 2, 0x11);
	source_pass(p, 1);
	source_batch(p, 1, 0, 2, 0x22);
}

static void fence_again(struct peer *p)
{
	source_connect(p);
	source_pass(p, 1);
	wire_send(&p->data[0], W_FENCE, body, body_pass(body, 1, 0));
}

static void pass_again(struct peer *p)
{
	source_connect(p);
	source_pass(p, 1);
	wire_send(&p->control, W_PASS, body, body_pass(body, 1, 0));
}

static void ping_again(struct peer *p)
{
	source_connect(p);
	wire_send(&p->control, W_PING, NULL, 0);
	p->control.tx--;
	wire_send(&p->control, W_PING, NULL, 0);
}

/* A batch is begun behind the last fence, and not ended. */
static void to_late_batch(struct peer *p, bool verify)
{
	if (verify) {
		size_t n = body_hello(p, body, 1);

		put64(body + 8, 1);
		wire_send(&p->control, W_HELLO, body, n);
		wire_send(&p->data[0], W_CHANNEL, body, body_channel(p, body, 0));
		if (wire_recv(&p->control) != W_HELLO_ACK)
			tap_bail("no HELLO_ACK came: %s", ferry_session_error(p->s));
	} else {
		source_connect(p);
	}
	wire_send(&p->control, W_FINAL, body, body_pass(body, 1, 0));
	source_pass(p, 1);
	put32(body, 1);
	put32(body + 4, 2);
	put_extent(body + 8, 4, 4, 0, 0);
	wire_send(&p->data[0], W_BATCH, body, 24);
	memset(page, 0xee, PAGE);
	wire_bytes(&p->data[0], page, PAGE);
	/* Its first page is there: the batch is being placed. */
	if (!poll_until(p->mem[5 * PAGE - 1] == 0xee))
		tap_bail("a batch behind the fence is not begun");
}

static void paused_in_batch(struct peer *p)
{
	to_late_batch(p, false);
	wire_send(&p->control, W_PAUSED, NULL, 0);
}

static void digest_in_batch(struct peer *p)
{
	to_late_batch(p, true);
	memset(body, 0, 24);
	put32(body + 4, 1);
	wire_send(&p->control, W_DIGEST, body, 24);
}

static void paused_again(struct peer *p)
{
	source_connect(p);
	wire_send(&p->control, W_FINAL, body, body_pass(body, 1, 0));
	source_pass(p, 1);
	wire_send(&p->control, W_PAUSED, NULL, 0);
	wire_send(&p->control, W_PAUSED, NULL, 0);
}

/* --- the peer is the sink ------------------------------------------------ */

static void fence_ack_again(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_LIVE);
	p->acks = false;
	sink_take(p, W_FENCE);
	wire_send(&p->control, W_FENCE_ACK, body, body_pass(body, 1, 0));
	p->control.tx--;
	wire_send(&p->control, W_FENCE_ACK, body, body_pass(body, 1, 0));
}

/* The answer of a sink that has compared nothing yet. */
static void result_early(struct peer *p)
{
	sink_connect(p, 1);
	sink_serve(p, W_PASS);
	sink_take(p, W_FENCE);
	p->acks = false;
	pthread_create(&p->final, NULL, ask_final, p);
	if (!sink_serve(p, W_FINAL))
		tap_bail("no FINAL came: %s", ferry_session_error(p->s));
	memset(body, 0, 16);
	wire_send(&p->control, W_VERIFY_RESULT, body, 16);
}

static void ready_again(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_PAUSED);
	if (ferry_session_send_state(p->s, "state", 5, true))
		tap_bail("state: %s", ferry_session_error(p->s));
	do {
		if (!sink_serve(p, W_STATE))
			tap_bail("no state came");
	} while (!p->control.body[0]);
	wire_send(&p->control, W_READY, NULL, 0);
	wire_send(&p->control, W_READY, NULL, 0);
}

static void state_back(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_PAUSED);
	ferry_session_send_state(p->s, "state", 5, true);
	sink_serve(p, W_STATE);
	/* The source's own message, sent back to it. */
	wire_send(&p->control, W_STATE, p->control.body, p->control.length);
}

static const struct row {
	const char *what;
	enum kvm_ferry_role role;
	bool verify;
	const char *words;
	void (*fn)(struct peer *p);
} rows[] = {
	{ "a batch again", KVM_FERRY_SINK, false, "out of order", batch_again },
	{ "a batch of an old pass", KVM_FERRY_SINK, false, "behind the fence", batch_of_old_pass },
	{ "a fence again", KVM_FERRY_SINK, false, "fences out of order", fence_again },
	{ "a pass again", KVM_FERRY_SINK, false, "PASS", pass_again },
	{ "PING again", KVM_FERRY_SINK, false, "out of order", ping_again },
	{ "PAUSED again", KVM_FERRY_SINK, false, "PAUSED", paused_again },
	{ "PAUSED in a batch", KVM_FERRY_SINK, false, "PAUSED", paused_in_batch },
	{ "a digest in a batch", KVM_FERRY_SINK, false, "DIGEST", digest_in_batch },
	{ "FENCE_ACK again", KVM_FERRY_SOURCE, false, "out of order", fence_ack_again },
	{ "VERIFY_RESULT before DIGEST_END", KVM_FERRY_SOURCE, true, "VERIFY_RESULT", result_early },
	{ "READY again", KVM_FERRY_SOURCE, false, "READY", ready_again },
	{ "STATE sent back", KVM_FERRY_SOURCE, false, "does not belong", state_back },
};

static void try(const struct row *r)
{
	static struct peer p;
	void *err;

	memset(&p, 0, sizeof(p));
	peer_open(&p, r->role, 1, PATIENT, r->verify);
	peer_start(&p);
	r->fn(&p);
	failed_with(ferry_session_fd(p.s), EPROTO, r->words, "%s", r->what);
	if (r->verify)
		pthread_join(p.final, &err);
	peer_close(&p);
}

/* --- twice at the end ---------------------------------------------------- */

static void commit_twice(void)
{
	static struct peer p;

	memset(&p, 0, sizeof(p));
	peer_open(&p, KVM_FERRY_SINK, 1, PATIENT, false);
	peer_start(&p);
	source_until_ready(&p);
	wire_send(&p.control, W_COMMIT, NULL, 0);
	wire_send(&p.control, W_COMMIT, NULL, 0);
	tap_check(!peer_commit(&p) && pair_stats(p.s).out_state == KVM_FERRY_STATE_DONE,
		  "COMMIT twice: the sink owns the guest, once");
	tap_check(wire_recv(&p.control) == W_COMMIT_ACK && !wire_recv(&p.control),
		  "and answers once, and says nothing behind it");
	peer_close(&p);
}

static void commit_ack_twice(void)
{
	static struct peer p;

	memset(&p, 0, sizeof(p));
	peer_open(&p, KVM_FERRY_SOURCE, 1, PATIENT, false);
	peer_start(&p);
	sink_until_commit(&p);
	wire_send(&p.control, W_COMMIT_ACK, NULL, 0);
	wire_send(&p.control, W_COMMIT_ACK, NULL, 0);
	tap_check(!peer_commit(&p) && pair_stats(p.s).out_state == KVM_FERRY_STATE_DONE && !wire_recv(&p.control),
		  "COMMIT_ACK twice: the source has given the guest away");
	peer_close(&p);
}

/* --- extents that overlap ------------------------------------------------ */

static bool filled(const struct peer *p, uint64_t pfn, uint64_t pages, uint8_t byte)
{
	const uint8_t *at = p->mem + pfn * PAGE;

	return at[0] == byte && !memcmp(at, at + 1, pages * PAGE - 1);
}

static void data(struct peer *p, uint8_t byte, unsigned int pages)
{
	memset(page, byte, PAGE);
	while (pages--)
		wire_bytes(&p->data[0], page, PAGE);
}

static void overlapping(void)
{
	static struct peer p;
	unsigned int i;

	memset(&p, 0, sizeof(p));
	peer_open(&p, KVM_FERRY_SINK, 2, PATIENT, false);
	peer_start(&p);
	source_connect(&p);
	/* DATA on DATA: pages 10 to 13, and 12 to 15. */
	put32(body, 2);
	put32(body + 4, 1);
	put_extent(body + 8, 10, 4, 0, 0);
	put_extent(body + 24, 12, 4, 0, 0);
	wire_send(&p.data[0], W_BATCH, body, 40);
	data(&p, 0x31, 4);
	data(&p, 0x32, 4);
	/* ZERO behind and before DATA: the DATA holds. */
	put32(body, 3);
	put_extent(body + 8, 20, 2, 0, 0);
	put_extent(body + 24, 20, 4, 0, 1);
	put_extent(body + 40, 23, 1, 0, 0);
	wire_send(&p.data[0], W_BATCH, body, 56);
	data(&p, 0x33, 3);
	/* One page as often as a batch has extents. */
	put32(body, 256);
	for (i = 0; i < 256; i++)
		put_extent(body + 8 + 16 * i, 30, 1, 0, 0);
	wire_send(&p.data[0], W_BATCH, body, 8 + 16 * 256);
	data(&p, 0x34, 256);
	/* Over batches, and over channels. */
	source_batch(&p, 1, 40, 4, 0x35);
	source_batch(&p, 1, 42, 4, 0x36);
	put32(body, 1);
	put_extent(body + 8, 50, 8, 0, 0);
	wire_send(&p.data[1], W_BATCH, body, 24);
	memset(page, 0x37, PAGE);
	for (i = 0; i < 8; i++)
		wire_bytes(&p.data[1], page, PAGE);
	source_batch(&p, 1, 50, 8, 0x37);
	source_pass(&p, 1);
	tap_check(filled(&p, 10, 2, 0x31) && filled(&p, 12, 4, 0x32), "DATA on DATA: the later holds");
	tap_check(filled(&p, 20, 2, 0x33) && filled(&p, 22, 1, 0) && filled(&p, 23, 1, 0x33),
		  "ZERO and DATA: the DATA holds");
	tap_check(filled(&p, 30, 1, 0x34), "a page in all extents of a batch");
	tap_check(filled(&p, 40, 2, 0x35) && filled(&p, 42, 4, 0x36) && filled(&p, 50, 8, 0x37),
		  "pages in several batches");
	tap_check(pair_stats(p.s).out_state == KVM_FERRY_STATE_LIVE, "and the session lives");
	peer_close(&p);
}

int main(void)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		try(&rows[i]);
	commit_twice();
	commit_ack_twice();
	overlapping();
	return tap_done();
}
