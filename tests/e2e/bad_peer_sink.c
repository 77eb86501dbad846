// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_wire.c,bad_call.c,pair.c,tap.c timeout=90
 *
 * A source whose sink is bad: of another version, silent, takes nothing, never
 * acknowledges, is out of step, finds differences that there are not, does not
 * answer COMMIT. Each ends the session with its errno and a sentence; the
 * source's memory is whole, and after COMMIT nothing is guessed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bad_call.h"
#include "bad_wire.h"
#include "tap.h"

#define PATIENT	8000
#define HASTY	(400 * lab_slow())

static uint8_t body[WIRE_MAX_BODY];

static void ack(struct peer *p, uint16_t version, uint64_t features)
{
	if (wire_recv(&p->control) != W_HELLO)
		tap_bail("no HELLO came");
	memset(body, 0, 16);
	put16(body, version);
	put64(body + 8, features);
	wire_send(&p->control, W_HELLO_ACK, body, 16);
}

static void newer(struct peer *p)
{
	ack(p, 2, 0);
}

static void cannot_verify(struct peer *p)
{
	ack(p, 1, 0);
}

static void second_ack(struct peer *p)
{
	sink_connect(p, 0);
	memset(body, 0, 16);
	put16(body, 1);
	wire_send(&p->control, W_HELLO_ACK, body, 16);
}

static void garbage(struct peer *p)
{
	memset(body, 0xa5, 4096);
	wire_bytes(&p->control, body, 4096);
}

static void garbage_live(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_LIVE);
	garbage(p);
}

static void closes(struct peer *p)
{
	shutdown(p->control.fd, SHUT_RDWR);
	shutdown(p->data[0].fd, SHUT_RDWR);
}

static void closes_live(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_LIVE);
	closes(p);
}

static void data_closes(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_LIVE);
	shutdown(p->data[0].fd, SHUT_RDWR);
	/* The source does not listen there: it notices when it sends. */
	poll_until(ferry_session_report_range(p->s, 0, 0, PAGE));
}

static void half_ack_closes(struct peer *p)
{
	wire_bytes(&p->control, body, wire_head(body, W_HELLO_ACK, 16, 0));
	closes(p);
}

static void half_ack_stalls(struct peer *p)
{
	wire_bytes(&p->control, body, wire_head(body, W_HELLO_ACK, 16, 0));
}

static void silent(struct peer *p)
{
	(void)p;
}

static void silent_live(struct peer *p)
{
	sink_connect(p, 0);
	sink_serve(p, W_PASS);
}

static void silent_paused(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_PAUSED);
}

static void pings(struct peer *p)
{
	uint64_t end = now_ms() + 20 * HASTY;

	while (now_ms() < end && !ferry_state_ended(pair_stats(p->s).out_state)) {
		wire_send(&p->control, W_PING, NULL, 0);
		usleep(20000);
	}
}

static void takes_nothing(struct peer *p)
{
	sink_connect(p, 0);
	pings(p);
}

static void never_acks(struct peer *p)
{
	p->acks = false;
	sink_connect(p, 0);
	sink_serve(p, W_PASS);
}

static void wrong_seq(struct peer *p)
{
	sink_connect(p, 0);
	p->control.tx += 5;
	wire_send(&p->control, W_PING, NULL, 0);
}

static void ack_of_no_channel(struct peer *p)
{
	p->acks = false;
	sink_until(p, KVM_FERRY_STATE_LIVE);
	wire_send(&p->control, W_FENCE_ACK, body, body_pass(body, 1, 3));
}

static void ack_of_no_fence(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_LIVE);
	wire_send(&p->control, W_FENCE_ACK, body, body_pass(body, 77, 0));
}

static void ack_twice(struct peer *p)
{
	p->acks = false;
	sink_until(p, KVM_FERRY_STATE_LIVE);
	sink_take(p, W_FENCE);
	wire_send(&p->control, W_FENCE_ACK, body, body_pass(body, 1, 0));
	wire_send(&p->control, W_FENCE_ACK, body, body_pass(body, 1, 0));
}

static void echo_unasked(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_LIVE);
	wire_send(&p->control, W_ECHO, body, body_echo(body, 1));
}

/* What was asked is told by the control channel, which nobody else reads meanwhile. */
static void take_echo(struct peer *p)
{
	sink_connect(p, W_FEATURE_ECHO);
	if (!sink_serve(p, W_ECHO))
		tap_bail("no ECHO came: %s", ferry_session_error(p->s));
}

static void echo_of_another(struct peer *p)
{
	take_echo(p);
	wire_send(&p->control, W_ECHO, body, body_echo(body, get32(p->control.body) + 1));
}

static void echo_twice(struct peer *p)
{
	take_echo(p);
	memcpy(body, p->control.body, 8);
	wire_send(&p->control, W_ECHO, body, 8);
	wire_send(&p->control, W_ECHO, body, 8);
}

static void message(struct peer *p, uint16_t type, const void *b, uint32_t n)
{
	sink_until(p, KVM_FERRY_STATE_LIVE);
	wire_send(&p->control, type, b, n);
}

static void ready_early(struct peer *p)
{
	message(p, W_READY, NULL, 0);
}

static void ready_before_last(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_PAUSED);
	wire_send(&p->control, W_READY, NULL, 0);
}

static void commit_ack_early(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_PAUSED);
	wire_send(&p->control, W_COMMIT_ACK, NULL, 0);
}

static void source_message(struct peer *p)
{
	message(p, W_PAUSED, NULL, 0);
}

static void hello(struct peer *p)
{
	message(p, W_HELLO, body, body_hello(p, body, 1));
}

static void result_unasked(struct peer *p)
{
	memset(body, 0, 16);
	message(p, W_VERIFY_RESULT, body, 16);
}

static void aborts(struct peer *p)
{
	put32(body, EFAULT);
	put32(body + 4, 8);
	memcpy(body + 8, "no\x1b room", 8);
	message(p, W_ABORT, body, 16);
}

static void *ask_final(void *arg)
{
	return (void *)(long)ferry_session_final(((struct peer *)arg)->s);
}

/* Verify: the sink's answer. */
static void result(struct peer *p, uint32_t nr_bad, uint32_t total, uint16_t region, uint64_t pfn)
{
	sink_connect(p, 1);
	sink_serve(p, W_PASS);
	pthread_create(&p->final, NULL, ask_final, p);
	if (!sink_serve(p, W_DIGEST_END))
		tap_bail("no DIGEST_END came: %s", ferry_session_error(p->s));
	memset(body, 0, 32);
	put32(body, nr_bad);
	put32(body + 4, total);
	put_extent(body + 16, pfn, 512, region, 0);
	wire_send(&p->control, W_VERIFY_RESULT, body, 16 + 16 * nr_bad);
}

static void finds_difference(struct peer *p)
{
	result(p, 1, 1, 0, 0);
}

static void differs_nowhere(struct peer *p)
{
	result(p, 1, 1, 9, 0);
}

static void other_digest(struct peer *p)
{
	result(p, 0, 0, 0, 0);
}

static void counts_wrong(struct peer *p)
{
	result(p, 1, 0, 0, 0);
}

static const struct row {
	const char *what;
	int error;
	const char *words;
	void (*fn)(struct peer *p);
} rows[] = {
	{ "another version", EPROTONOSUPPORT, "version 2", newer },
	{ "cannot verify", EPROTONOSUPPORT, "verify", cannot_verify },
	{ "HELLO_ACK twice", EPROTO, "HELLO_ACK", second_ack },
	{ "garbage at once", EPROTO, "broke the protocol", garbage },
	{ "garbage while live", EPROTO, "broke the protocol", garbage_live },
	{ "closes at once", EPIPE, "closed", closes },
	{ "closes while live", EPIPE, "closed", closes_live },
	{ "closes a data channel", EPIPE, "data channel 0", data_closes },
	{ "closes in HELLO_ACK", EPIPE, "closed", half_ack_closes },
	{ "stalls in HELLO_ACK", ETIMEDOUT, "control channel", half_ack_stalls },
	{ "says nothing", ETIMEDOUT, "control channel", silent },
	{ "says nothing more", ETIMEDOUT, "control channel", silent_live },
	{ "says nothing once paused", ETIMEDOUT, "control channel", silent_paused },
	{ "takes no data", ETIMEDOUT, "sent to the peer on data channel 0", takes_nothing },
	{ "never acknowledges", ETIMEDOUT, "control channel", never_acks },
	{ "a wrong number", EPROTO, "out of order", wrong_seq },
	{ "FENCE_ACK of no channel", EPROTO, "unknown channel", ack_of_no_channel },
	{ "FENCE_ACK of no fence", EPROTO, "not sent", ack_of_no_fence },
	{ "FENCE_ACK twice", EPROTO, "not sent", ack_twice },
	{ "ECHO that was not agreed on", EPROTO, "ECHO while this side is live", echo_unasked },
	{ "ECHO of another number", EPROTO, "ECHO that was not sent", echo_of_another },
	{ "ECHO twice", EPROTO, "ECHO that was not sent", echo_twice },
	{ "READY while live", EPROTO, "READY", ready_early },
	{ "READY before the last state", EPROTO, "READY", ready_before_last },
	{ "COMMIT_ACK before COMMIT", EPROTO, "COMMIT_ACK", commit_ack_early },
	{ "a source's message", EPROTO, "broke the protocol", source_message },
	{ "HELLO", EPROTO, "broke the protocol", hello },
	{ "VERIFY_RESULT that nobody asked for", EPROTO, "VERIFY_RESULT", result_unasked },
	{ "aborts", EPIPE, "ended the migration: no? room", aborts },
	{ "a difference", EBADE, "'ram' 0x0-0x1fffff", finds_difference },
	{ "a difference in no region", EPROTO, "unknown region", differs_nowhere },
	{ "another digest", EPROTO, "digest", other_digest },
	{ "differences that do not add up", EPROTO, "broke the protocol", counts_wrong },
};

static uint8_t *before;

static void try(const struct row *r)
{
	bool verify = r->fn == cannot_verify || r->fn == finds_difference ||
		      r->fn == differs_nowhere || r->fn == other_digest || r->fn == counts_wrong;
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_INFLIGHT,
				      .inflight_bytes = 256 << 10 };
	unsigned int timeout = r->error != ETIMEDOUT ? PATIENT :
			       r->fn == silent_paused ? 4 * HASTY : HASTY;
	static struct peer p;
	void *err = NULL;

	memset(&p, 0, sizeof(p));
	peer_open(&p, KVM_FERRY_SOURCE, 1, timeout, verify);
	ferry_session_limits(p.s, &l, sizeof(l));
	peer_start(&p);
	r->fn(&p);
	failed_with(ferry_session_fd(p.s), r->error, r->words, "%s", r->what);
	if (p.final && r->error != ETIMEDOUT && verify) {
		pthread_join(p.final, &err);
		tap_check((long)err == -ESHUTDOWN, "%s: FINAL returns ESHUTDOWN", r->what);
	}
	if (memcmp(p.mem, before, PEER_BYTES))
		tap_check(false, "%s: the source's memory has changed", r->what);
	peer_close(&p);
}

static void *ask_commit(void *arg)
{
	return (void *)(long)ferry_session_commit(((struct peer *)arg)->s);
}

enum silence { SAYS_NOTHING, CLOSES, RESETS, SPEAKS_NONSENSE, ABORTS, NR_SILENCES };
static const char * const silences[] = {
	"silence", "a close", "a reset", "nonsense", "ABORT",
};

/* COMMIT was sent and no answer came: nobody may guess. */
static void in_doubt(enum silence how)
{
	struct kvm_ferry_abort abort = { .size = sizeof(abort) };
	struct linger linger = { .l_onoff = 1 };
	struct kvm_ferry_reason why = { .size = sizeof(why), .flags = KVM_FERRY_REASON_SESSION };
	static struct peer p;
	pthread_t thread;
	void *err;

	memset(&p, 0, sizeof(p));
	peer_open(&p, KVM_FERRY_SOURCE, 1, how == SAYS_NOTHING ? 1000 : PATIENT, false);
	peer_start(&p);
	sink_until(&p, KVM_FERRY_STATE_PAUSED);
	if (ferry_session_send_state(p.s, "state", 5, true))
		tap_bail("state: %s", ferry_session_error(p.s));
	do {
		if (!sink_serve(&p, W_STATE))
			tap_bail("no state came");
	} while (!p.control.body[0]);
	wire_send(&p.control, W_READY, NULL, 0);
	pthread_create(&thread, NULL, ask_commit, &p);
	if (wire_recv(&p.control) != W_COMMIT)
		tap_bail("no COMMIT came: %s", ferry_session_error(p.s));
	if (how != SAYS_NOTHING)
		refused(ferry_session_fd(p.s), KVM_FERRY_ABORT, &abort, EBUSY, "COMMIT was sent",
			"abort after COMMIT");
	if (how == RESETS)
		setsockopt(p.control.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (how == CLOSES || how == RESETS) {
		close(p.control.fd);
		p.control.fd = -1;
	} else if (how == SPEAKS_NONSENSE) {
		wire_send(&p.control, W_READY, NULL, 0);
	} else if (how == ABORTS) {
		put32(body, EFAULT);
		put32(body + 4, 0);
		wire_send(&p.control, W_ABORT, body, 8);
	}
	pthread_join(thread, &err);
	ioctl(ferry_session_fd(p.s), KVM_FERRY_REASON, &why);
	if (how == ABORTS) {
		/* A sink that aborts never takes the guest: that is an answer. */
		tap_check((long)err == -ESHUTDOWN && why.out_error == EPIPE &&
			  pair_stats(p.s).out_state == KVM_FERRY_STATE_FAILED,
			  "ABORT after COMMIT: the guest is the source's: %s", why.out_reason);
	} else {
		tap_check((long)err == -EINPROGRESS && why.out_error &&
			  strstr((char *)why.out_reason, "COMMIT was sent: ask at the sink") > (char *)why.out_reason &&
			  pair_stats(p.s).out_state == KVM_FERRY_STATE_IN_DOUBT,
			  "%s after COMMIT: in doubt: %s", silences[how], why.out_reason);
		tap_check(!ioctl(ferry_session_fd(p.s), KVM_FERRY_ABORT, &abort) &&
			  ferry_session_commit(p.s) == -EINPROGRESS, "an abort does not resolve it");
	}
	peer_close(&p);
}

int main(void)
{
	enum silence how;
	size_t i;

	before = pair_memory(PEER_BYTES, false);
	fill(before, PEER_BYTES, KVM_FERRY_SOURCE + 1);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		try(&rows[i]);
	for (how = SAYS_NOTHING; how < NR_SILENCES; how++)
		in_doubt(how);
	return tap_done();
}
