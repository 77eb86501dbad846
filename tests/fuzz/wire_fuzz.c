// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a hostile peer can send to the decoders: a stream of messages, as on one
 * channel. The pure files are compiled for user space (tests/kunit/host/shim.h).
 *
 * A body lies in memory of just its length, so that a sanitizer sees whoever
 * reads beyond it. What a decoder accepts must keep its promises:
 *  - every bound that docs/protocol.md gives holds,
 *  - encoding it again gives the same bytes: no byte of an accepted message is
 *    without a meaning, so nothing can be smuggled in one.
 */
#include <stdint.h>

#include "wire.h"

#define MUST(condition) do { if (!(condition)) broken(#condition, __LINE__); } while (0)

__attribute__((noreturn)) static void broken(const char *what, int line)
{
	fprintf(stderr, "wire_fuzz.c:%d: not so: %s\n", line, what);
	abort();
}

static u8 again[FERRY_WIRE_HEADER_LEN + FERRY_WIRE_MAX_BODY];

static void same(const u8 *body, size_t length, size_t written)
{
	MUST(written == length);
	MUST(!memcmp(body, again, length));
}

static void name_ends(const char *name)
{
	MUST(memchr(name, 0, FERRY_WIRE_NAME_LEN));
}

static void hello(const u8 *body, size_t len)
{
	struct ferry_msg_region r;
	struct ferry_msg_hello m;
	const char *why = NULL;
	bool good = true;
	size_t n;
	u32 i;

	if (ferry_wire_get_hello(body, len, &m, &why)) {
		MUST(why);
		return;
	}
	MUST(m.nr_regions && m.nr_regions <= FERRY_WIRE_MAX_REGIONS);
	MUST(m.nr_channels && m.nr_channels <= FERRY_WIRE_MAX_CHANNELS);
	MUST(m.version_min && m.version_min <= m.version && m.page_shift == 12);
	MUST(m.peer_timeout_ms >= 100 && m.peer_timeout_ms <= 3600000);
	name_ends(m.name);
	n = ferry_wire_put_hello(again, &m);
	for (i = 0; i < m.nr_regions; i++) {
		if (ferry_wire_get_region(body, len, i, &r, &why)) {
			good = false;
			continue;
		}
		MUST(r.length && !(r.length % 4096) && r.length <= 1ULL << 52 && r.id < 65536);
		MUST(r.name[0]);
		name_ends(r.name);
		n += ferry_wire_put_region(again + n, &r);
	}
	if (good)
		same(body, len, n);
}

static void hello_ack(const u8 *body, size_t len)
{
	struct ferry_msg_hello_ack m;

	if (ferry_wire_get_hello_ack(body, len, &m, NULL))
		return;
	MUST(m.version);
	same(body, len, ferry_wire_put_hello_ack(again, &m));
}

static void channel(const u8 *body, size_t len)
{
	struct ferry_msg_channel m;

	if (ferry_wire_get_channel(body, len, &m, NULL))
		return;
	MUST(m.index < m.nr_channels && m.nr_channels <= FERRY_WIRE_MAX_CHANNELS);
	same(body, len, ferry_wire_put_channel(again, &m));
}

static void batch(const u8 *body, size_t len)
{
	struct ferry_msg_batch m;
	struct ferry_extent e;
	u64 pages = 0;
	size_t n;
	u32 i;

	if (ferry_wire_get_batch(body, len, &m, NULL))
		return;
	MUST(m.nr_extents && m.nr_extents <= FERRY_WIRE_MAX_EXTENTS && m.pass);
	n = ferry_wire_put_batch(again, &m);
	for (i = 0; i < m.nr_extents; i++) {
		/* Were checked with the whole. */
		MUST(!ferry_wire_get_extent(body, len, i, &e, NULL));
		MUST(e.nr_pages && e.region < FERRY_WIRE_MAX_REGIONS);
		MUST(e.pfn + e.nr_pages <= 1ULL << 40);
		if (e.kind == FERRY_EXTENT_DATA)
			pages += e.nr_pages;
		n += ferry_wire_put_extent(again + n, &e);
	}
	MUST(pages <= FERRY_WIRE_MAX_BATCH_PAGES);
	same(body, len, n);
}

static void pass(const u8 *body, size_t len, u16 type)
{
	struct ferry_msg_pass m;

	if (ferry_wire_get_pass(body, len, type, &m, NULL))
		return;
	MUST(m.pass && m.channel < FERRY_WIRE_MAX_CHANNELS);
	MUST(type == FERRY_MSG_FENCE_ACK || !m.channel);
	MUST(type == FERRY_MSG_PASS || !m.pages);
	same(body, len, ferry_wire_put_pass(again, &m));
}

static void digest(const u8 *body, size_t len)
{
	struct ferry_msg_digest m;
	size_t n;
	u32 i;

	if (ferry_wire_get_digest(body, len, &m, NULL))
		return;
	MUST(m.count && m.count <= FERRY_WIRE_MAX_DIGESTS && m.first + m.count <= 1ULL << 31);
	n = ferry_wire_put_digest(again, &m);
	for (i = 0; i < m.count; i++)
		n += ferry_wire_put_digest_value(again, i, ferry_wire_get_digest_value(body, i));
	same(body, len, n);
}

static void verify_result(const u8 *body, size_t len)
{
	struct ferry_msg_verify_result m;
	struct ferry_extent e;
	bool good = true;
	size_t n;
	u32 i;

	if (ferry_wire_get_verify_result(body, len, &m, NULL))
		return;
	MUST(m.nr_bad <= FERRY_WIRE_MAX_MISMATCH && m.total_bad >= m.nr_bad);
	MUST(!m.nr_bad == !m.total_bad);
	n = ferry_wire_put_verify_result(again, &m);
	for (i = 0; i < m.nr_bad; i++) {
		if (ferry_wire_get_mismatch(body, len, i, &e, NULL))
			good = false;
		else
			n += ferry_wire_put_extent(again + n, &e);
	}
	if (good)
		same(body, len, n);
}

static void state(const u8 *body, size_t len)
{
	struct ferry_msg_state m;

	if (ferry_wire_get_state(body, len, &m, NULL))
		return;
	MUST(m.length <= FERRY_WIRE_MAX_STATE_CHUNK && len == 8 + (size_t)m.length);
	MUST(m.length || (m.flags & FERRY_WIRE_STATE_LAST));
	MUST(!(m.flags & ~FERRY_WIRE_STATE_LAST));
	MUST(ferry_wire_put_state(again, &m) == 8 && !memcmp(again, body, 8));
}

static void peer_aborts(const u8 *body, size_t len)
{
	struct ferry_msg_abort m;
	u32 i;

	if (ferry_wire_get_abort(body, len, &m, NULL))
		return;
	MUST(m.error && m.error < 4096 && m.length <= FERRY_WIRE_REASON_MAX);
	for (i = 0; i < m.length; i++)
		MUST(m.reason[i] >= 0x20 && m.reason[i] < 0x7f);
	MUST(!m.reason[m.length]);
}

static void echo(const u8 *body, size_t len)
{
	struct ferry_msg_echo m;

	if (ferry_wire_get_echo(body, len, &m, NULL))
		return;
	MUST(m.number);
	same(body, len, ferry_wire_put_echo(again, &m));
}

static void decode(u16 type, const u8 *body, size_t len)
{
	switch (type) {
	case FERRY_MSG_HELLO:
		hello(body, len);
		break;
	case FERRY_MSG_HELLO_ACK:
		hello_ack(body, len);
		break;
	case FERRY_MSG_CHANNEL:
		channel(body, len);
		break;
	case FERRY_MSG_BATCH:
		batch(body, len);
		break;
	case FERRY_MSG_FENCE:
	case FERRY_MSG_FENCE_ACK:
	case FERRY_MSG_PASS:
	case FERRY_MSG_FINAL:
		pass(body, len, type);
		break;
	case FERRY_MSG_DIGEST:
		digest(body, len);
		break;
	case FERRY_MSG_VERIFY_RESULT:
		verify_result(body, len);
		break;
	case FERRY_MSG_STATE:
		state(body, len);
		break;
	case FERRY_MSG_ABORT:
		peer_aborts(body, len);
		break;
	case FERRY_MSG_ECHO:
		echo(body, len);
		break;
	default:
		MUST(!len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ferry_msg_header h;
	const char *why = NULL;
	u8 *body;

	while (size >= FERRY_WIRE_HEADER_LEN) {
		if (ferry_wire_get_header(data, &h, &why)) {
			MUST(why);
			return 0;
		}
		MUST(h.length <= FERRY_WIRE_MAX_BODY && h.type && h.type <= FERRY_MSG_MAX);
		MUST(ferry_wire_put_header(again, &h) == FERRY_WIRE_HEADER_LEN);
		MUST(!memcmp(again, data, FERRY_WIRE_HEADER_LEN));
		MUST(ferry_msg_name(h.type));
		data += FERRY_WIRE_HEADER_LEN;
		size -= FERRY_WIRE_HEADER_LEN;
		/* Cut off: the module waits for the rest, and decodes nothing. */
		if (size < h.length)
			return 0;
		body = malloc(h.length ? h.length : 1);
		if (!body)
			return 0;
		memcpy(body, data, h.length);
		decode(h.type, body, h.length);
		free(body);
		data += h.length;
		size -= h.length;
	}
	return 0;
}
