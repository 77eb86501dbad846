// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=rdma_peer.c,rdma_link.c,bad_wire.c,bad_call.c,pair.c,tap.c libs=rdmacm,ibverbs timeout=180 leak=8192 kernels=6.1,6.12 asked=debug
 *
 * A hostile or broken sink against a source over RDMA: each ends the session
 * with its errno and sentence, and the source's guest stays whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bad_call.h"
#include "rdma_link.h"
#include "rdma_peer.h"
#include "tap.h"

#define TIMEOUT_MS 2000

static struct peer p;
static struct rpeer r;
static struct sockaddr_in at;
static uint8_t before[PEER_BYTES];

/* A source that wants to connect, and HELLO heard. */
static void begin(bool listens)
{
	memset(&p, 0, sizeof(p));
	at = rdma_address();
	if (listens)
		rp_listen(&r, &at);
	else
		at.sin_port = htons(9);
	peer_open(&p, KVM_FERRY_SOURCE, 0, TIMEOUT_MS * lab_slow(), false);
	memcpy(before, p.mem, PEER_BYTES);
	if (ferry_session_connect_rdma(p.s, (struct sockaddr *)&at, sizeof(at), NULL, 0, -1))
		tap_bail("channel: %s", ferry_session_error(p.s));
	p.nr_data = 1;
	p.data[0].fd = -1;	/* which poll() and close() leave alone */
	peer_start(&p);
	if (wire_recv(&p.control) != W_HELLO)
		tap_bail("no HELLO came: %s", ferry_session_error(p.s));
	memcpy(p.token, p.control.body + 16, 16);
}

static void end(bool listens, int error, const char *words, const char *what)
{
	failed_with(ferry_session_fd(p.s), error, words, "%s", what);
	if (memcmp(before, p.mem, PEER_BYTES))
		tap_check(false, "%s: the source's memory has changed", what);
	if (listens)
		rp_close(&r);
	peer_close(&p);
}

/* Connects, hears CHANNEL, and says HELLO_ACK. */
static void live(void)
{
	uint8_t data[RP_REPLY_LEN], body[16] = { 1 };

	begin(true);
	if (memcmp(rp_request(&r) + 12, p.token, 16))
		tap_check(false, "the request shows another token");
	rp_accept(&r, data, rp_put_reply(data, 512, 1024));
	if (rp_recv(&r) != R_STREAM || memcmp(r.body + 16, p.token, 16))
		tap_bail("no CHANNEL came: %s", ferry_session_error(p.s));
	memset(body + 1, 0, sizeof(body) - 1);
	wire_send(&p.control, W_HELLO_ACK, body, sizeof(body));
}

static void try_reply(const char *what, const uint8_t *data, size_t len, const char *words)
{
	begin(true);
	rp_request(&r);
	rp_accept(&r, data, len);
	end(true, EPROTO, words, what);
}

static void try_reject(uint32_t why, const char *words)
{
	uint8_t data[8];

	begin(true);
	rp_request(&r);
	put32(data, 0x31417246);
	put32(data + 4, why);
	rp_reject(&r, data, why ? sizeof(data) : 0);
	end(true, ECONNREFUSED, words, "a refusal");
}

static void connecting(void)
{
	uint8_t data[56] = {};

	begin(false);
	end(false, ECONNREFUSED, "refused", "nobody listens");
	try_reject(0, "no reason");
	try_reject(2, "another migration");
	try_reject(4, "already");
	try_reject(77, "no reason");
	try_reply("no private data", NULL, 0, "not kvm-ferry's");
	memset(data, 0xff, sizeof(data));
	try_reply("foreign private data", data, sizeof(data), "not kvm-ferry's");
	rp_put_reply(data, 512, 1024);
	data[4] = 2;
	try_reply("another version", data, RP_REPLY_LEN, "another version");
	rp_put_reply(data, 512, 1024);
	put16(data + 6, 2);
	try_reply("a flag that is none", data, RP_REPLY_LEN, "not kvm-ferry's");
	try_reply("windows of nothing", data, rp_put_reply(data, 0, 1024), "too small");
	try_reply("room for less than a batch", data, rp_put_reply(data, 512, 1023), "too small");
	begin(true);
	rp_request(&r);
	sink_serve(&p, 0);
	end(true, ETIMEDOUT, "within the timeout", "no answer");
}

/* What it says when the source asks for its first window. */
static void try_message(const char *what, uint32_t kind, const void *body, size_t len, int error,
			const char *words)
{
	live();
	if (rp_recv(&r) != R_WANT)
		tap_bail("no WANT came: %s", ferry_session_error(p.s));
	rp_send(&r, kind, body, len);
	end(true, error, words, what);
}

static void messages(void)
{
	uint8_t body[64] = {};

	try_message("WANT to a source", R_WANT, body, 24, EPROTO, "wrong way");
	try_message("a message of the stream to a source", R_STREAM, body, 24, EPROTO, "wrong way");
	try_message("GRANT that is too short", R_GRANT, body, 12, EPROTO, "wrong length");
	try_message("GRANT of 0", R_GRANT, body, 16, EPROTO, "none may have");
	put32(body, 999);
	try_message("GRANT of what was not asked for", R_GRANT, body, 16, EPROTO, "not asked for");
	put32(body, 0);
	try_message("CREDIT of nothing", R_CREDIT, body, 8, EPROTO, "none may have");
	put32(body, 33);
	try_message("CREDIT of more than was sent", R_CREDIT, body, 8, EPROTO, "none may have");
	put32(body, 1);
	put32(body + 4, 0xdead);
	try_message("GRANT with a key of nothing", R_GRANT, body, 16, EACCES, "refused what was written");

	live();
	if (rp_recv(&r) != R_WANT)
		tap_bail("no WANT came: %s", ferry_session_error(p.s));
	rdma_disconnect(r.id);
	end(true, EPIPE, "closed data channel 0", "the peer hangs up");
}

/* A sink that never grants: the control channel is alive, so only the wait can tell. */
static void never(bool seals)
{
	live();
	if (rp_recv(&r) != R_WANT)
		tap_bail("no WANT came: %s", ferry_session_error(p.s));
	if (seals)
		rp_send(&r, R_SEALED, NULL, 0);
	sink_serve(&p, 0);
	end(true, ETIMEDOUT, "", seals ? "SEALED long before" : "a window that is never granted");
}

static int tests(void)
{
	connecting();
	messages();
	never(false);
	never(true);
	return tap_done();
}

int main(void)
{
	return rp_run(tests);
}
