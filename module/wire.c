// SPDX-License-Identifier: GPL-2.0-only
/*
 * The wire codec: little-endian bytes to structs and back, and nothing else.
 * docs/protocol.md has the layout. Here: what messages there are, headers, and
 * the bodies that set a session up and end it; wire_ram.c has the bodies that
 * speak of memory.
 *
 * Decoders are total: whatever the bytes and the length, they return a struct
 * in which every field has been checked against every bound that does not need
 * the session, or -EPROTO. They check the length first, then read, and they
 * read only below the length.
 */
#include <linux/string.h>

#include "wire.h"
#include "wire_le.h"

#define MAX_REGION_ID		65535
#define MAX_ERROR		4095

/*
 * What a header may claim of a type: a body of @fixed bytes, and then
 * @min to @max items of @item bytes each.
 */
static const struct {
	const char *name;
	u16 fixed;
	u16 item;
	u16 min;
	u16 max;
	bool control;
	bool to_sink;
	bool to_source;
} types[] = {
	[FERRY_MSG_HELLO] = {
		.name = "HELLO", .control = true, .to_sink = true,
		.fixed = FERRY_WIRE_HELLO_LEN,
		.item = FERRY_WIRE_REGION_LEN, .min = 1, .max = FERRY_WIRE_MAX_REGIONS,
	},
	[FERRY_MSG_HELLO_ACK] = {
		.name = "HELLO_ACK", .control = true, .to_source = true,
		.fixed = HELLO_ACK_LEN,
	},
	[FERRY_MSG_CHANNEL] = {
		.name = "CHANNEL", .to_sink = true,
		.fixed = CHANNEL_LEN,
	},
	[FERRY_MSG_BATCH] = {
		.name = "BATCH", .to_sink = true,
		.fixed = BATCH_LEN,
		.item = FERRY_WIRE_EXTENT_LEN, .min = 1, .max = FERRY_WIRE_MAX_EXTENTS,
	},
	[FERRY_MSG_FENCE] = {
		.name = "FENCE", .to_sink = true,
		.fixed = PASS_LEN,
	},
	[FERRY_MSG_FENCE_ACK] = {
		.name = "FENCE_ACK", .control = true, .to_source = true,
		.fixed = PASS_LEN,
	},
	[FERRY_MSG_PASS] = {
		.name = "PASS", .control = true, .to_sink = true,
		.fixed = PASS_LEN,
	},
	[FERRY_MSG_FINAL] = {
		.name = "FINAL", .control = true, .to_sink = true,
		.fixed = PASS_LEN,
	},
	[FERRY_MSG_DIGEST] = {
		.name = "DIGEST", .control = true, .to_sink = true,
		.fixed = DIGEST_LEN,
		.item = 8, .min = 1, .max = FERRY_WIRE_MAX_DIGESTS,
	},
	[FERRY_MSG_DIGEST_END] = {
		.name = "DIGEST_END", .control = true, .to_sink = true,
	},
	[FERRY_MSG_VERIFY_RESULT] = {
		.name = "VERIFY_RESULT", .control = true, .to_source = true,
		.fixed = VERIFY_RESULT_LEN,
		.item = FERRY_WIRE_EXTENT_LEN, .max = FERRY_WIRE_MAX_MISMATCH,
	},
	[FERRY_MSG_PAUSED] = {
		.name = "PAUSED", .control = true, .to_sink = true,
	},
	[FERRY_MSG_STATE] = {
		.name = "STATE", .control = true, .to_sink = true,
		.fixed = STATE_LEN,
		.item = 1, .max = FERRY_WIRE_MAX_STATE_CHUNK,
	},
	[FERRY_MSG_READY] = {
		.name = "READY", .control = true, .to_source = true,
	},
	[FERRY_MSG_COMMIT] = {
		.name = "COMMIT", .control = true, .to_sink = true,
	},
	[FERRY_MSG_COMMIT_ACK] = {
		.name = "COMMIT_ACK", .control = true, .to_source = true,
	},
	[FERRY_MSG_ABORT] = {
		.name = "ABORT", .control = true, .to_sink = true, .to_source = true,
		.fixed = ABORT_LEN,
		.item = 1, .max = FERRY_WIRE_REASON_MAX,
	},
	[FERRY_MSG_PING] = {
		.name = "PING", .control = true, .to_sink = true, .to_source = true,
	},
	[FERRY_MSG_ECHO] = {
		.name = "ECHO", .control = true, .to_sink = true, .to_source = true,
		.fixed = ECHO_LEN,
	},
};

static bool known(u16 type)
{
	return type && type <= FERRY_MSG_MAX;
}

bool ferry_wire_length_fits(u16 type, size_t len)
{
	size_t fixed = types[type].fixed, item = types[type].item, n;

	if (!item)
		return len == fixed;
	if (len < fixed || (len - fixed) % item)
		return false;
	n = (len - fixed) / item;
	return n >= types[type].min && n <= types[type].max;
}

/* A name is printable ASCII, and after its first NUL there are only NULs. */
static bool get_name(const u8 *p, char *name)
{
	size_t i, len = 0;

	for (i = 0; i < FERRY_WIRE_NAME_LEN; i++) {
		if (p[i] && (p[i] < 0x20 || p[i] > 0x7e || len < i))
			return false;
		if (p[i])
			len = i + 1;
	}
	if (len == FERRY_WIRE_NAME_LEN)
		return false;
	memcpy(name, p, FERRY_WIRE_NAME_LEN);
	return true;
}

static void put_name(u8 *p, const char *name)
{
	size_t len = strnlen(name, FERRY_WIRE_NAME_LEN - 1);

	memcpy(p, name, len);
	memset(p + len, 0, FERRY_WIRE_NAME_LEN - len);
}

const char *ferry_msg_name(u16 type)
{
	return known(type) ? types[type].name : "unknown";
}

bool ferry_wire_expected(u16 type, bool control, bool to_sink)
{
	if (!known(type) || types[type].control != control)
		return false;
	return to_sink ? types[type].to_sink : types[type].to_source;
}

size_t ferry_wire_put_header(u8 *buf, const struct ferry_msg_header *h)
{
	put32(buf, FERRY_WIRE_MAGIC);
	put16(buf + 4, h->type);
	put16(buf + 6, 0);
	put32(buf + 8, h->length);
	put32(buf + 12, h->seq);
	return FERRY_WIRE_HEADER_LEN;
}

int ferry_wire_get_header(const u8 buf[FERRY_WIRE_HEADER_LEN], struct ferry_msg_header *h,
			  const char **why)
{
	if (get32(buf) != FERRY_WIRE_MAGIC)
		return bad(why, "header has another magic number");
	h->type = get16(buf + 4);
	if (!known(h->type))
		return bad(why, "header has an unknown message type");
	if (get16(buf + 6))
		return bad(why, "header has a reserved field set");
	h->length = get32(buf + 8);
	if (h->length > FERRY_WIRE_MAX_BODY)
		return bad(why, "header announces a body that is too long");
	if (!ferry_wire_length_fits(h->type, h->length))
		return bad(why, "header announces a length that its type cannot have");
	h->seq = get32(buf + 12);
	return 0;
}

size_t ferry_wire_put_region(u8 *p, const struct ferry_msg_region *r)
{
	put64(p, r->id);
	put64(p + 8, r->length);
	put64(p + 16, 0);
	put_name(p + 24, r->name);
	return FERRY_WIRE_REGION_LEN;
}

int ferry_wire_get_region(const u8 *body, size_t len, u32 i, struct ferry_msg_region *r,
			  const char **why)
{
	const u8 *p = body + FERRY_WIRE_HELLO_LEN + (size_t)i * FERRY_WIRE_REGION_LEN;

	if (!ferry_wire_length_fits(FERRY_MSG_HELLO, len) ||
	    i >= (len - FERRY_WIRE_HELLO_LEN) / FERRY_WIRE_REGION_LEN)
		return bad(why, "HELLO is too short for its regions");
	r->id = get64(p);
	if (r->id > MAX_REGION_ID)
		return bad(why, "region's id is too large");
	r->length = get64(p + 8);
	if (!r->length)
		return bad(why, "region is empty");
	if (r->length % PAGE_LEN)
		return bad(why, "region's length is not a multiple of the page size");
	if (r->length > MAX_REGION_LEN)
		return bad(why, "region is too long");
	if (get64(p + 16))
		return bad(why, "region has a reserved field set");
	if (!get_name(p + 24, r->name))
		return bad(why, "region's name is not a name");
	if (!r->name[0])
		return bad(why, "region has no name");
	return 0;
}

size_t ferry_wire_put_hello(u8 *body, const struct ferry_msg_hello *m)
{
	put16(body, m->version_min);
	put16(body + 2, m->version);
	put32(body + 4, m->page_shift);
	put64(body + 8, m->features);
	memcpy(body + 16, m->token, FERRY_WIRE_TOKEN_LEN);
	put16(body + 32, m->nr_channels);
	put16(body + 34, m->nr_regions);
	put32(body + 36, m->peer_timeout_ms);
	put64(body + 40, 0);
	put_name(body + 48, m->name);
	return FERRY_WIRE_HELLO_LEN;
}

int ferry_wire_get_hello(const u8 *body, size_t len, struct ferry_msg_hello *m, const char **why)
{
	if (!ferry_wire_length_fits(FERRY_MSG_HELLO, len))
		return bad(why, "HELLO has a wrong length");
	m->version_min = get16(body);
	m->version = get16(body + 2);
	if (!m->version_min || m->version < m->version_min)
		return bad(why, "HELLO's versions are not a range");
	m->page_shift = get32(body + 4);
	if (m->page_shift != 12)
		return bad(why, "HELLO has another page size");
	m->features = get64(body + 8);
	memcpy(m->token, body + 16, FERRY_WIRE_TOKEN_LEN);
	m->nr_channels = get16(body + 32);
	if (!m->nr_channels || m->nr_channels > FERRY_WIRE_MAX_CHANNELS)
		return bad(why, "HELLO's number of channels is not 1 to 16");
	/* The length has room for 1 to 256 of them. */
	m->nr_regions = get16(body + 34);
	if (len != FERRY_WIRE_HELLO_LEN + (size_t)m->nr_regions * FERRY_WIRE_REGION_LEN)
		return bad(why, "HELLO's length does not match its number of regions");
	m->peer_timeout_ms = get32(body + 36);
	if (m->peer_timeout_ms < 100 || m->peer_timeout_ms > 3600000)
		return bad(why, "HELLO's peer timeout is not 100 ms to one hour");
	if (get64(body + 40))
		return bad(why, "HELLO has a reserved field set");
	if (!get_name(body + 48, m->name))
		return bad(why, "HELLO's name is not a name");
	return 0;
}

size_t ferry_wire_put_hello_ack(u8 *body, const struct ferry_msg_hello_ack *m)
{
	put16(body, m->version);
	memset(body + 2, 0, 6);
	put64(body + 8, m->features);
	return HELLO_ACK_LEN;
}

int ferry_wire_get_hello_ack(const u8 *body, size_t len, struct ferry_msg_hello_ack *m,
			     const char **why)
{
	if (!ferry_wire_length_fits(FERRY_MSG_HELLO_ACK, len))
		return bad(why, "HELLO_ACK has a wrong length");
	m->version = get16(body);
	if (!m->version)
		return bad(why, "HELLO_ACK has no version");
	if (get16(body + 2) || get32(body + 4))
		return bad(why, "HELLO_ACK has a reserved field set");
	m->features = get64(body + 8);
	return 0;
}

size_t ferry_wire_put_channel(u8 *body, const struct ferry_msg_channel *m)
{
	memcpy(body, m->token, FERRY_WIRE_TOKEN_LEN);
	put16(body + 16, m->index);
	put16(body + 18, m->nr_channels);
	put32(body + 20, 0);
	return CHANNEL_LEN;
}

int ferry_wire_get_channel(const u8 *body, size_t len, struct ferry_msg_channel *m,
			   const char **why)
{
	if (!ferry_wire_length_fits(FERRY_MSG_CHANNEL, len))
		return bad(why, "CHANNEL has a wrong length");
	memcpy(m->token, body, FERRY_WIRE_TOKEN_LEN);
	m->index = get16(body + 16);
	m->nr_channels = get16(body + 18);
	if (!m->nr_channels || m->nr_channels > FERRY_WIRE_MAX_CHANNELS)
		return bad(why, "CHANNEL's number of channels is not 1 to 16");
	if (m->index >= m->nr_channels)
		return bad(why, "CHANNEL's index is not below its number of channels");
	if (get32(body + 20))
		return bad(why, "CHANNEL has a reserved field set");
	return 0;
}

size_t ferry_wire_put_state(u8 *body, const struct ferry_msg_state *m)
{
	put32(body, m->flags);
	put32(body + 4, m->length);
	return STATE_LEN;
}

int ferry_wire_get_state(const u8 *body, size_t len, struct ferry_msg_state *m, const char **why)
{
	if (!ferry_wire_length_fits(FERRY_MSG_STATE, len))
		return bad(why, "STATE has a wrong length");
	m->flags = get32(body);
	if (m->flags & ~FERRY_WIRE_STATE_LAST)
		return bad(why, "STATE has an unknown flag");
	m->length = get32(body + 4);
	if (m->length != len - STATE_LEN)
		return bad(why, "STATE's length does not match its body");
	if (!m->length && !(m->flags & FERRY_WIRE_STATE_LAST))
		return bad(why, "STATE is empty but not the last");
	return 0;
}

size_t ferry_wire_put_abort(u8 *body, const struct ferry_msg_abort *m)
{
	put32(body, m->error);
	put32(body + 4, m->length);
	memcpy(body + ABORT_LEN, m->reason, m->length);
	return ABORT_LEN + m->length;
}

int ferry_wire_get_abort(const u8 *body, size_t len, struct ferry_msg_abort *m, const char **why)
{
	u32 i;

	if (!ferry_wire_length_fits(FERRY_MSG_ABORT, len))
		return bad(why, "ABORT has a wrong length");
	m->error = get32(body);
	if (!m->error || m->error > MAX_ERROR)
		return bad(why, "ABORT's error is not an errno");
	m->length = get32(body + 4);
	if (m->length != len - ABORT_LEN)
		return bad(why, "ABORT's length does not match its body");
	for (i = 0; i < m->length; i++) {
		u8 c = body[ABORT_LEN + i];

		m->reason[i] = c < 0x20 || c > 0x7e ? '?' : c;
	}
	m->reason[i] = '\0';
	return 0;
}

size_t ferry_wire_put_echo(u8 *body, const struct ferry_msg_echo *m)
{
	put32(body, m->number);
	put32(body + 4, 0);
	return ECHO_LEN;
}

int ferry_wire_get_echo(const u8 *body, size_t len, struct ferry_msg_echo *m, const char **why)
{
	if (!ferry_wire_length_fits(FERRY_MSG_ECHO, len))
		return bad(why, "ECHO has a wrong length");
	m->number = get32(body);
	if (!m->number)
		return bad(why, "ECHO has no number");
	if (get32(body + 4))
		return bad(why, "ECHO has a reserved field set");
	return 0;
}
