// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_wire.c,bad_call.c,pair.c,tap.c timeout=90
 *
 * A sink whose source is bad: of another version, with other regions or another
 * token, that sends garbage, stops half way, stalls, closes, is out of step.
 * Each ends the session with its errno and a sentence; nothing outside of the
 * regions is touched, and nothing inside either by what was refused.
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

#define PATIENT	8000	/* ms: no test waits for it */
#define HASTY	(300 * lab_slow())	/* ms: the peer timeout of tests that stall */
#define PAGES	(PEER_BYTES / PAGE)

static uint8_t body[WIRE_MAX_BODY];

/* --- agreeing ------------------------------------------------------------ */

static void hello(struct peer *p, size_t length)
{
	wire_send(&p->control, W_HELLO, body, length);
}

static void newer(struct peer *p)
{
	size_t n = body_hello(p, body, 1);

	put16(body, 2);
	put16(body + 2, 3);
	hello(p, n);
}

static void smaller_region(struct peer *p)
{
	size_t n = body_hello(p, body, 1);

	body_region(body + 80, 0, MIB, "ram");
	hello(p, n);
}

static void renamed_region(struct peer *p)
{
	size_t n = body_hello(p, body, 1);

	body_region(body + 80, 0, PEER_BYTES, "rom");
	hello(p, n);
}

static void other_id(struct peer *p)
{
	size_t n = body_hello(p, body, 1);

	body_region(body + 80, 9, PEER_BYTES, "ram");
	hello(p, n);
}

static void more_regions(struct peer *p)
{
	hello(p, body_hello(p, body, 2));
}

static void fewer_regions(struct peer *p)
{
	hello(p, body_hello(p, body, 1));
}

static void more_channels(struct peer *p)
{
	size_t n = body_hello(p, body, 1);

	put16(body + 32, 2);
	hello(p, n);
}

static void odd_pages(struct peer *p)
{
	size_t n = body_hello(p, body, 1);

	put32(body + 4, 16);
	hello(p, n);
}

static void second_hello(struct peer *p)
{
	source_connect(p);
	hello(p, body_hello(p, body, 1));
}

static void other_token(struct peer *p)
{
	size_t n;

	hello(p, body_hello(p, body, 1));
	n = body_channel(p, body, 0);
	body[15] ^= 1;
	wire_send(&p->data[0], W_CHANNEL, body, n);
}

static void other_index(struct peer *p)
{
	size_t n;

	hello(p, body_hello(p, body, 1));
	n = body_channel(p, body, 1);
	put16(body + 18, 2);
	wire_send(&p->data[0], W_CHANNEL, body, n);
}

static void second_channel(struct peer *p)
{
	source_connect(p);
	wire_send(&p->data[0], W_CHANNEL, body, body_channel(p, body, 0));
}

static void batch_first(struct peer *p)
{
	source_batch(p, 1, 0, 1, 0xee);
}

/* --- broken streams ------------------------------------------------------ */

static void garbage(struct wire *w)
{
	memset(body, 0xa5, 4096);
	wire_bytes(w, body, 4096);
}

static void garbage_control(struct peer *p)
{
	garbage(&p->control);
}

static void garbage_data(struct peer *p)
{
	garbage(&p->data[0]);
}

static void garbage_live(struct peer *p)
{
	source_connect(p);
	garbage(&p->data[0]);
}

static void huge_length(struct peer *p)
{
	wire_bytes(&p->control, body, wire_head(body, W_HELLO, 0xfffffff0, 0));
}

static void wrong_seq(struct peer *p)
{
	source_connect(p);
	p->control.tx++;
	wire_send(&p->control, W_PASS, body, body_pass(body, 1, 0));
}

static void wrong_seq_data(struct peer *p)
{
	source_connect(p);
	p->data[0].tx++;
	source_batch(p, 1, 0, 1, 0xee);
}

static void closes(struct peer *p)
{
	shutdown(p->control.fd, SHUT_RDWR);
	shutdown(p->data[0].fd, SHUT_RDWR);
}

static void half_header_closes(struct peer *p)
{
	wire_bytes(&p->control, body, wire_head(body, W_HELLO, 136, 0) / 2);
	closes(p);
}

static void half_hello_closes(struct peer *p)
{
	uint8_t head[16];

	wire_bytes(&p->control, head, wire_head(head, W_HELLO, body_hello(p, body, 1), 0));
	wire_bytes(&p->control, body, 40);
	closes(p);
}

static void data_closes(struct peer *p)
{
	source_connect(p);
	shutdown(p->data[0].fd, SHUT_RDWR);
}

static void half_batch(struct peer *p)
{
	put32(body, 1);
	put32(body + 4, 1);
	put_extent(body + 8, 8, 4, 0, 0);
	wire_send(&p->data[0], W_BATCH, body, 24);
	memset(body, 0xee, PAGE);
	wire_bytes(&p->data[0], body, PAGE + 100);
}

static void half_batch_closes(struct peer *p)
{
	source_connect(p);
	half_batch(p);
	closes(p);
}

static void half_batch_stalls(struct peer *p)
{
	uint64_t end = now_ms() + 10 * HASTY;

	source_connect(p);
	half_batch(p);
	/* Alive on the control channel: it is the data channel that stalls. */
	while (now_ms() < end && !ferry_state_ended(pair_stats(p->s).out_state)) {
		wire_send(&p->control, W_PING, NULL, 0);
		usleep(20000);
	}
}

static void half_header_stalls(struct peer *p)
{
	wire_bytes(&p->control, body, wire_head(body, W_HELLO, 136, 0) / 2);
}

static void silent(struct peer *p)
{
	(void)p;
}

static void silent_live(struct peer *p)
{
	source_connect(p);
	source_pass(p, 1);
}

static void never_binds(struct peer *p)
{
	uint64_t end = now_ms() + 10 * HASTY;

	hello(p, body_hello(p, body, 1));
	while (now_ms() < end && !ferry_state_ended(pair_stats(p->s).out_state)) {
		wire_send(&p->control, W_PING, NULL, 0);
		usleep(20000);
	}
}

static void aborts(struct peer *p)
{
	static const char why[] = "no\nmore";

	put32(body, ECANCELED);
	put32(body + 4, strlen(why));
	memcpy(body + 8, why, strlen(why));
	source_connect(p);
	wire_send(&p->control, W_ABORT, body, 8 + strlen(why));
}

/* --- batches ------------------------------------------------------------- */

/* A batch of a good extent and one that is not; its pages follow. */
static void bad_extent(struct peer *p, uint64_t pfn, uint32_t pages, uint16_t region, uint16_t kind)
{
	source_connect(p);
	put32(body, 2);
	put32(body + 4, 1);
	put_extent(body + 8, 3, 1, 0, 0);
	put_extent(body + 24, pfn, pages, region, kind);
	wire_send(&p->data[0], W_BATCH, body, 40);
	memset(body, 0xee, 4 * PAGE);
	wire_bytes(&p->data[0], body, 4 * PAGE);
}

static void beyond(struct peer *p)
{
	bad_extent(p, PAGES, 1, 0, 0);
}

static void reaches_out(struct peer *p)
{
	bad_extent(p, PAGES - 1, 2, 0, 0);
}

static void far_beyond(struct peer *p)
{
	bad_extent(p, (1ULL << 52) - 1, 1, 0, 0);
}

static void wraps(struct peer *p)
{
	bad_extent(p, ~0ULL, 2, 0, 0);
}

static void zero_reaches_out(struct peer *p)
{
	bad_extent(p, PAGES - 1, 100, 0, 1);
}

static void unknown_region(struct peer *p)
{
	bad_extent(p, 0, 1, 1, 0);
}

static void unknown_kind(struct peer *p)
{
	bad_extent(p, 0, 1, 0, 2);
}

static void empty_extent(struct peer *p)
{
	bad_extent(p, 0, 0, 0, 0);
}

static void too_much_data(struct peer *p)
{
	bad_extent(p, 0, 512, 0, 0);
}

static void wrong_pass(struct peer *p)
{
	source_connect(p);
	source_batch(p, 2, 0, 1, 0xee);
}

/* --- out of step --------------------------------------------------------- */

static void fence_skips(struct peer *p)
{
	source_connect(p);
	wire_send(&p->data[0], W_FENCE, body, body_pass(body, 2, 0));
}

static void echo_unasked(struct peer *p)
{
	source_connect(p);
	wire_send(&p->control, W_ECHO, body, body_echo(body, 1));
}

/* It is answered as long as the guest runs, and not once it is paused. */
static void echo_late(struct peer *p)
{
	p->features = W_FEATURE_ECHO;
	source_connect(p);
	wire_send(&p->control, W_ECHO, body, body_echo(body, 77));
	if (wire_recv(&p->control) != W_ECHO || get32(p->control.body) != 77)
		tap_bail("no ECHO came back: %s", ferry_session_error(p->s));
	wire_send(&p->control, W_FINAL, body, body_pass(body, 1, 0));
	wire_send(&p->control, W_ECHO, body, body_echo(body, 78));
}

static void pass_skips(struct peer *p)
{
	source_connect(p);
	wire_send(&p->control, W_PASS, body, body_pass(body, 2, 0));
}

static void final_skips(struct peer *p)
{
	source_connect(p);
	wire_send(&p->control, W_FINAL, body, body_pass(body, 2, 0));
}

static void final_twice(struct peer *p)
{
	source_connect(p);
	wire_send(&p->control, W_FINAL, body, body_pass(body, 1, 0));
	wire_send(&p->control, W_FINAL, body, body_pass(body, 1, 0));
}

static void paused_early(struct peer *p)
{
	source_connect(p);
	wire_send(&p->control, W_PAUSED, NULL, 0);
}

static void paused_before_fence(struct peer *p)
{
	source_connect(p);
	wire_send(&p->control, W_FINAL, body, body_pass(body, 1, 0));
	wire_send(&p->control, W_PASS, body, body_pass(body, 1, 0));
	wire_send(&p->control, W_PAUSED, NULL, 0);
}

static void digest_unasked(struct peer *p)
{
	source_connect(p);
	memset(body, 0, 24);
	put32(body + 4, 1);
	wire_send(&p->control, W_DIGEST, body, 24);
}

static void state_early(struct peer *p)
{
	source_connect(p);
	put32(body, 1);
	put32(body + 4, 0);
	wire_send(&p->control, W_STATE, body, 8);
}

static void to_paused(struct peer *p)
{
	source_connect(p);
	wire_send(&p->control, W_FINAL, body, body_pass(body, 1, 0));
	source_pass(p, 1);
	wire_send(&p->control, W_PAUSED, NULL, 0);
	await_state(ferry_session_fd(p->s), KVM_FERRY_STATE_PAUSED);
}

static void batch_after_paused(struct peer *p)
{
	to_paused(p);
	source_batch(p, 2, 0, 1, 0xee);
}

static void pass_after_paused(struct peer *p)
{
	to_paused(p);
	wire_send(&p->control, W_PASS, body, body_pass(body, 2, 0));
}

static void state_after_last(struct peer *p)
{
	to_paused(p);
	put32(body, 1);
	put32(body + 4, 0);
	wire_send(&p->control, W_STATE, body, 8);
	wire_send(&p->control, W_STATE, body, 8);
}

static void commit_early(struct peer *p)
{
	to_paused(p);
	wire_send(&p->control, W_COMMIT, NULL, 0);
}

static void source_message(struct peer *p)
{
	source_connect(p);
	wire_send(&p->control, W_READY, NULL, 0);
}

static void fence_on_control(struct peer *p)
{
	source_connect(p);
	wire_send(&p->control, W_FENCE, body, body_pass(body, 1, 0));
}

static const struct row {
	const char *what;
	int error;
	const char *words;
	void (*fn)(struct peer *p);
} rows[] = {
	{ "another version", EPROTONOSUPPORT, "protocol versions 2 to 3", newer },
	{ "a smaller region", EREMCHG, "peer's region 'ram' is 1 MiB, ours is 2 MiB", smaller_region },
	{ "a region of another name", EREMCHG, "'rom' with id 0, ours is 'ram' with id 0", renamed_region },
	{ "a region of another id", EREMCHG, "'ram' with id 9, ours is 'ram' with id 0", other_id },
	{ "more regions", EREMCHG, "'ram1' is one more than ours", more_regions },
	{ "more channels", EPROTO, "data channels", more_channels },
	{ "other pages", EPROTO, "page", odd_pages },
	{ "a second HELLO", EPROTO, "HELLO", second_hello },
	{ "another token", EKEYREJECTED, "token", other_token },
	{ "a channel of another index", EPROTO, "data channel 1 of 2", other_index },
	{ "a second CHANNEL", EPROTO, "CHANNEL", second_channel },
	{ "BATCH before CHANNEL", EPROTO, "CHANNEL", batch_first },
	{ "garbage on control", EPROTO, "broke the protocol", garbage_control },
	{ "garbage on data", EPROTO, "broke the protocol", garbage_data },
	{ "garbage while live", EPROTO, "broke the protocol", garbage_live },
	{ "a length of 4 GiB", EPROTO, "broke the protocol", huge_length },
	{ "a wrong number on control", EPROTO, "out of order", wrong_seq },
	{ "a wrong number on data", EPROTO, "out of order", wrong_seq_data },
	{ "closes at once", EPIPE, "closed", closes },
	{ "closes in a header", EPIPE, "closed", half_header_closes },
	{ "closes in HELLO", EPIPE, "closed", half_hello_closes },
	{ "closes a data channel", EPIPE, "data channel 0", data_closes },
	{ "closes in a batch", EPIPE, "closed", half_batch_closes },
	{ "stalls in a batch", ETIMEDOUT, "data channel 0", half_batch_stalls },
	{ "stalls in a header", ETIMEDOUT, "control channel", half_header_stalls },
	{ "says nothing", ETIMEDOUT, "control channel", silent },
	{ "says nothing more", ETIMEDOUT, "control channel", silent_live },
	{ "shows no token", ETIMEDOUT, "token", never_binds },
	{ "aborts", EPIPE, "ended the migration: no?more", aborts },
	{ "an extent beyond the region", EPROTO, "beyond its region", beyond },
	{ "an extent that reaches out", EPROTO, "beyond its region", reaches_out },
	{ "an extent far beyond", EPROTO, "broke the protocol", far_beyond },
	{ "an extent that wraps", EPROTO, "broke the protocol", wraps },
	{ "a zero extent that reaches out", EPROTO, "beyond its region", zero_reaches_out },
	{ "an extent of no region", EPROTO, "unknown region", unknown_region },
	{ "an extent of no kind", EPROTO, "broke the protocol", unknown_kind },
	{ "an empty extent", EPROTO, "empty", empty_extent },
	{ "more than 2 MiB in a batch", EPROTO, "too many data pages", too_much_data },
	{ "a batch of another pass", EPROTO, "pass", wrong_pass },
	{ "a fence that skips", EPROTO, "fence", fence_skips },
	{ "ECHO that was not agreed on", EPROTO, "ECHO while this side is live", echo_unasked },
	{ "ECHO behind FINAL", EPROTO, "ECHO while this side is", echo_late },
	{ "a pass that skips", EPROTO, "PASS", pass_skips },
	{ "FINAL that skips", EPROTO, "FINAL", final_skips },
	{ "FINAL twice", EPROTO, "FINAL", final_twice },
	{ "PAUSED before FINAL", EPROTO, "PAUSED", paused_early },
	{ "PAUSED before its fence", EPROTO, "PAUSED", paused_before_fence },
	{ "a digest that nobody asked for", EPROTO, "DIGEST", digest_unasked },
	{ "STATE before PAUSED", EPROTO, "STATE", state_early },
	{ "a batch after PAUSED", EPROTO, "BATCH", batch_after_paused },
	{ "a pass after PAUSED", EPROTO, "PASS", pass_after_paused },
	{ "STATE after the last", EPROTO, "STATE", state_after_last },
	{ "COMMIT before READY", EPROTO, "COMMIT", commit_early },
	{ "a sink's message", EPROTO, "broke the protocol", source_message },
	{ "a data message on control", EPROTO, "broke the protocol", fence_on_control },
};

static uint8_t *before;

/* The peer must be told why, unless it stopped listening. */
static bool told(struct peer *p, const struct row *r)
{
	while (wire_recv(&p->control))
		if (p->control.type == W_ABORT)
			return get32(p->control.body) == (uint32_t)r->error;
	return r->error == EPIPE || r->fn == half_batch_stalls;
}

static void try(const struct row *r)
{
	static struct peer p;
	size_t first;

	peer_open(&p, KVM_FERRY_SINK, 1, r->error == ETIMEDOUT ? HASTY : PATIENT, false);
	if (r->fn == fewer_regions &&
	    ferry_session_add_region(p.s, 1, "ram1", p.shadow, PEER_BYTES))
		tap_bail("region: %s", ferry_session_error(p.s));
	peer_start(&p);
	r->fn(&p);
	failed_with(ferry_session_fd(p.s), r->error, r->words, "%s", r->what);
	if (!told(&p, r))
		tap_check(false, "%s: the peer is not told why", r->what);
	/* half_batch() writes pages 8 to 11; nothing else was right. */
	first = r->fn == half_batch_closes || r->fn == half_batch_stalls ? 12 * PAGE : 0;
	if (memcmp(p.mem + first, before + first, PEER_BYTES - first))
		tap_check(false, "%s: memory was written", r->what);
	peer_close(&p);
}

int main(void)
{
	static const struct row fewer = { "fewer regions", EREMCHG, "no region 'ram1'", fewer_regions };
	size_t i;

	before = pair_memory(PEER_BYTES, false);
	fill(before, PEER_BYTES, KVM_FERRY_SINK + 1);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		try(&rows[i]);
	try(&fewer);
	return tap_done();
}
