// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=rdma_peer.c,rdma_link.c,bad_wire.c,bad_call.c,pair.c,tap.c libs=rdmacm,ibverbs timeout=180 leak=8192 kernels=6.1,6.12 asked=debug
 *
 * A hostile source against a sink over RDMA: who may connect, what it may ask
 * for, and where it may write. Nothing outside its windows, nothing in windows
 * that it gave up, nothing once memory is complete.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bad_call.h"
#include "rdma_link.h"
#include "rdma_peer.h"
#include "tap.h"

#define WAITING	64	/* requests that may wait for HELLO, a listener */

enum { REFUSED_FORM = 1, REFUSED_TOKEN, REFUSED_INDEX, REFUSED_TAKEN, REFUSED_ENDED };

static const uint8_t token[16] = { [0 ... 15] = 0x77 };
static struct peer p;
static struct sockaddr_in at;

/* A sink that listens, started, and not told HELLO. */
static void begin(void)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_PINNED,
				      .max_pinned = 4 * MIB };

	memset(&p, 0, sizeof(p));
	at = rdma_address();
	/* Longer than the device takes to find out that nobody answers it. */
	peer_open(&p, KVM_FERRY_SINK, 0, 30000 * lab_slow(), false);
	if (ferry_session_limits(p.s, &l, sizeof(l)) ||
	    ferry_session_listen_rdma(p.s, (struct sockaddr *)&at, sizeof(at), -1))
		tap_bail("listen: %s", ferry_session_error(p.s));
	p.nr_data = 1;
	p.data[0].fd = -1;
	peer_start(&p);
}

static void hello(void)
{
	uint8_t body[WIRE_MAX_BODY];

	wire_send(&p.control, W_HELLO, body, body_hello(&p, body, 1));
}

/* The message of wire.h @type, as it goes over RDMA. */
static void stream(struct rpeer *r, uint16_t type, const void *body, uint32_t length)
{
	uint8_t whole[RP_MSG_LEN];
	size_t n = wire_head(whole, type, length, p.data[0].tx++);

	memcpy(whole + n, body, length);
	rp_send(r, R_STREAM, whole, n + length);
}

/* As a good source, until the session is live. */
static void live(struct rpeer *r)
{
	uint8_t body[64];

	begin();
	hello();
	if (!rp_connect(r, &at, body, rp_put_request(body, token, 0, 1)))
		tap_bail("a good request was refused: %u", r->refusal);
	stream(r, W_CHANNEL, body, body_channel(&p, body, 0));
	if (wire_recv(&p.control) != W_HELLO_ACK)
		tap_bail("no HELLO_ACK came: %s", ferry_session_error(p.s));
}

static void end(struct rpeer *r)
{
	rp_close(r);
	peer_close(&p);
}

static void try_refused(const char *what, const void *data, size_t len, uint32_t why)
{
	struct rpeer r;
	bool in = rp_connect(&r, &at, data, len);

	tap_check(!in && r.refusal == why, "%s: %s, for reason %u", what, in ? "let in" : "refused",
		  r.refusal);
	rp_close(&r);
}

static void requests(void)
{
	uint8_t data[56] = {}, bad[56];
	struct rpeer r;
	size_t n = rp_put_request(data, token, 0, 1);

	begin();
	hello();
	try_refused("no private data", NULL, 0, REFUSED_FORM);
	/* The connection manager fills it up with zeroes. */
	try_refused("half of it", data, n / 2, REFUSED_TOKEN);
	memset(bad, 0xff, sizeof(bad));
	try_refused("as much of it as there can be", bad, sizeof(bad), REFUSED_FORM);
	memcpy(bad, data, sizeof(bad));
	put16(bad + 4, 2);
	try_refused("another version", bad, n, REFUSED_FORM);
	try_refused("another channel", bad, rp_put_request(bad, token, 1, 1), REFUSED_INDEX);
	try_refused("no channel", bad, rp_put_request(bad, token, 65535, 1), REFUSED_INDEX);
	try_refused("another number of channels", bad, rp_put_request(bad, token, 0, 2), REFUSED_INDEX);
	rp_put_request(bad, token, 0, 1);
	bad[27] ^= 1;
	try_refused("another token", bad, n, REFUSED_TOKEN);
	tap_check(rp_connect(&r, &at, data, sizeof(data)), "the right one is let in, the rest of its private data is not looked at");
	try_refused("the same again", data, n, REFUSED_TAKEN);
	stream(&r, W_CHANNEL, bad, body_channel(&p, bad, 0));
	tap_check(wire_recv(&p.control) == W_HELLO_ACK, "and the session goes on");
	end(&r);
}

/* Requests before HELLO wait, and not for ever, and not without number. */
static void crowd(void)
{
	static struct rpeer r[WAITING + 2];
	uint8_t data[RP_REQUEST_LEN], other[16] = { 1 };
	unsigned int i, ended = 0;
	size_t n;

	begin();
	n = rp_put_request(data, other, 0, 1);
	for (i = 0; i < WAITING; i++)
		rp_ask(&r[i], &at, data, n);
	for (; i < WAITING + 2; i++)
		tap_check(!rp_connect(&r[i], &at, data, n) && r[i].refusal == REFUSED_ENDED,
			  "one more request than may wait is refused");
	peer_close(&p);
	for (i = 0; i < WAITING; i++)
		ended += !rp_answer(&r[i]) && r[i].refusal == REFUSED_ENDED;
	tap_check(ended == WAITING, "all %u that waited are told that the session has ended", ended);
	for (i = 0; i < WAITING + 2; i++)
		rp_close(&r[i]);
}

/* The session fails; by what, cards differ. */
static void fails(const char *what)
{
	bool failed = await_state(ferry_session_fd(p.s), KVM_FERRY_STATE_DONE) == KVM_FERRY_STATE_FAILED;
	char reason[KVM_FERRY_REASON_LEN];

	ferry_session_reason(p.s, reason, sizeof(reason));
	tap_check(failed, "%s: %s", what, reason);
}

/* A message that ends the session, in these words. */
static void try_message(const char *what, uint32_t kind, const void *body, size_t len, const char *words)
{
	struct rpeer r;

	live(&r);
	rp_send(&r, kind, body, len);
	failed_with(ferry_session_fd(p.s), EPROTO, words, "%s", what);
	end(&r);
}

static void messages(void)
{
	uint8_t body[RP_MSG_LEN] = {};
	struct rpeer r;

	try_message("kind 0", 0, body, 8, "unknown kind");
	try_message("kind 99", 99, body, 8, "unknown kind");
	try_message("GRANT to a sink", R_GRANT, body, 16, "wrong way");
	try_message("SEALED to a sink", R_SEALED, body, 0, "wrong way");
	try_message("CREDIT to a sink", R_CREDIT, body, 8, "wrong way");
	try_message("WANT of nothing", R_WANT, body, 0, "WANT is too short");
	try_message("WANT with id 0", R_WANT, body, rp_put_want(body, 0, 0, 1), "number that none may have");
	try_message("WANT with id 65536", R_WANT, body, rp_put_want(body, 65536, 0, 1), "number that none may have");
	try_message("WANT with a run missing", R_WANT, body, rp_put_want(body, 1, 0, 1) - 16, "number of runs");
	try_message("WANT of an empty run", R_WANT, body, rp_put_want(body, 1, 0, 0), "empty or too long");
	try_message("WANT behind the region", R_WANT, body, rp_put_want(body, 1, PEER_BYTES / PAGE, 1), "beyond its region");
	try_message("WANT across its end", R_WANT, body, rp_put_want(body, 1, PEER_BYTES / PAGE - 1, 2), "beyond its region");
	try_message("WANT that wraps", R_WANT, body, rp_put_want(body, 1, ~0ULL, 2), "beyond its region");
	rp_put_want(body, 1, 0, 1);
	put16(body + 20, 1);
	try_message("WANT of another region", R_WANT, body, 24, "beyond its region");
	put32(body, 1);
	put32(body + 4, 2);
	put_extent(body + 8, 0, 512, 0, 0);
	put_extent(body + 24, 0, 1, 0, 0);
	try_message("WANT larger than a window", R_WANT, body, 40, "more pages than a window");
	memset(body, 0, sizeof(body));
	put32(body, 7);
	try_message("DROP of what is not open", R_DROP, body, 8, "not open");
	put32(body, 0);
	try_message("DROP of 0", R_DROP, body, 8, "none may have");
	memset(body, 0xee, 40);
	try_message("a message that is none", R_STREAM, body, 40, "broke the protocol");

	live(&r);
	put32(body, R_WANT);
	put32(body + 4, 4096);
	rp_bytes(&r, body, 24);
	failed_with(ferry_session_fd(p.s), EPROTO, "wrong length", "a length that is not its own");
	end(&r);
	live(&r);
	rp_bytes(&r, body, 4);
	failed_with(ferry_session_fd(p.s), EPROTO, "shorter than a header", "half a header");
	end(&r);
	live(&r);
	memset(body, 0, sizeof(body));
	rp_bytes(&r, r.room, RP_MSG_LEN + 1);
	fails("a message longer than any");
	end(&r);
}

static uint32_t window(struct rpeer *r, uint32_t id, uint64_t pfn, uint32_t pages, uint64_t *addr)
{
	uint8_t body[24];

	rp_send(r, R_WANT, body, rp_put_want(body, id, pfn, pages));
	if (rp_recv(r) != R_GRANT || get32(r->body) != id)
		tap_bail("no GRANT came: %s", ferry_session_error(p.s));
	*addr = get64(r->body + 8);
	return get32(r->body + 4);
}

static bool untouched(const uint8_t *before)
{
	return !memcmp(before, p.mem, PEER_BYTES);
}

/* A write, or a read, that must not be. */
static void try_access(const char *what, int which)
{
	static uint8_t before[PEER_BYTES];
	enum ibv_wc_status status;
	uint64_t addr, other;
	struct rpeer r;
	uint8_t body[8] = {};
	uint32_t rkey;

	live(&r);
	rkey = window(&r, 1, 8, 8, &addr);
	tap_check(!rp_write(&r, rkey, addr + PAGE, 0xab) && p.mem[9 * PAGE] == 0xab,
		  "%s: what is allowed is written", what);
	memcpy(before, p.mem, PEER_BYTES);
	switch (which) {
	case 0:
		status = rp_write(&r, rkey ^ 0x100, addr, 0xcd);
		break;
	case 1:
		status = rp_write(&r, rkey, addr + 8 * PAGE, 0xcd);
		break;
	case 2:
		status = rp_write(&r, rkey, addr - PAGE, 0xcd);
		break;
	case 3:
		status = rp_read(&r, rkey, addr);
		break;
	default:
		put32(body, 1);
		rp_send(&r, R_DROP, body, sizeof(body));
		/* It is closed before the next one is opened: the bound has no room for both. */
		window(&r, 2, 0, 512, &other);
		status = rp_write(&r, rkey, addr, 0xcd);
	}
	/* A read does not even leave: the module's end serves none. */
	tap_check(status && (which == 3 || status != IBV_WC_GENERAL_ERR) && untouched(before),
		  "%s: %s, and memory is untouched", what, ibv_wc_status_str(status));
	if (which != 3)
		fails(what);
	end(&r);
}

static void bounds(void)
{
	uint8_t body[24];
	struct rpeer r;
	uint64_t addr;

	live(&r);
	window(&r, 1, 0, 512, &addr);
	window(&r, 2, 0, 512, &addr);
	rp_send(&r, R_WANT, body, rp_put_want(body, 3, 0, 1));
	failed_with(ferry_session_fd(p.s), EPROTO, "all windows may have", "more than may be pinned");
	end(&r);
	live(&r);
	window(&r, 1, 0, 1, &addr);
	rp_send(&r, R_WANT, body, rp_put_want(body, 1, 1, 1));
	failed_with(ferry_session_fd(p.s), EPROTO, "is open", "a window twice");
	end(&r);
}

/* When memory is complete nothing may be written, although the window was never given up. */
static void sealed(void)
{
	static uint8_t before[PEER_BYTES];
	enum ibv_wc_status status;
	struct rpeer r;
	uint8_t body[16];
	uint64_t addr;
	uint32_t rkey;

	live(&r);
	rkey = window(&r, 1, 0, 16, &addr);
	wire_send(&p.control, W_FINAL, body, body_pass(body, 1, 0));
	wire_send(&p.control, W_PASS, body, body_pass(body, 1, 0));
	stream(&r, W_FENCE, body, body_pass(body, 1, 0));
	if (wire_recv(&p.control) != W_FENCE_ACK)
		tap_bail("no FENCE_ACK came: %s", ferry_session_error(p.s));
	wire_send(&p.control, W_PAUSED, NULL, 0);
	tap_check(rp_recv(&r) == R_SEALED, "the sink says that it has all");
	await_state(ferry_session_fd(p.s), KVM_FERRY_STATE_PAUSED);
	memcpy(before, p.mem, PEER_BYTES);
	status = rp_write(&r, rkey, addr, 0xcd);
	tap_check(status && status != IBV_WC_GENERAL_ERR && untouched(before),
		  "a write behind the seal: %s, and memory is untouched", ibv_wc_status_str(status));
	tap_check(await_state(ferry_session_fd(p.s), KVM_FERRY_STATE_PAUSED) == KVM_FERRY_STATE_PAUSED,
		  "and the session goes on");
	end(&r);
}

static int tests(void)
{
	requests();
	crowd();
	messages();
	try_access("a key that is not ours", 0);
	try_access("behind the window", 1);
	try_access("before the window", 2);
	try_access("reading", 3);
	try_access("a window that was given up", 4);
	bounds();
	sealed();
	return tap_done();
}

int main(void)
{
	return rp_run(tests);
}
