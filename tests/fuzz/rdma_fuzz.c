// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a hostile peer can send to the decoders of an RDMA channel: SENDs to
 * either end, and the private data of a connection. The first byte says which;
 * a SEND is its length (le16) and so many bytes, one behind the other.
 *
 * What is decoded lies in memory of just its length, so that a sanitizer sees
 * whoever reads beyond it. What a decoder accepts must keep its promises:
 *  - every bound that docs/rdma.md gives holds,
 *  - encoding it again gives the same bytes, but for padding of private data: no
 *    byte of an accepted message is without a meaning.
 * What is one SEND's is not another's: an id or a number is looked up by who
 * knows the channel.
 */
#include <stdint.h>

#include "rdma/rdma_wire.h"

#define MUST(condition) do { if (!(condition)) broken(#condition, __LINE__); } while (0)

enum { TO_SINK, TO_SOURCE, REQUEST, REPLY, REFUSAL };

__attribute__((noreturn)) static void broken(const char *what, int line)
{
	fprintf(stderr, "rdma_fuzz.c:%d: not so: %s\n", line, what);
	abort();
}

static u8 again[FERRY_RDMA_MSG_LEN];

static void same(const u8 *data, size_t length, size_t written)
{
	MUST(written == length);
	MUST(!memcmp(data, again, length));
}

static void want(const u8 *body, size_t len)
{
	struct ferry_rdma_window m;
	const char *why = NULL;
	struct ferry_extent e;
	bool good = true;
	size_t n;
	u32 i;

	if (ferry_rdma_get_window(body, len, &m, &why)) {
		MUST(why);
		return;
	}
	MUST(m.id && m.id <= FERRY_RDMA_MAX_WINDOW);
	MUST(m.nr_runs && m.nr_runs <= FERRY_RDMA_MAX_RUNS);
	n = ferry_rdma_put_window(again, &m);
	for (i = 0; i < m.nr_runs; i++) {
		if (ferry_rdma_get_run(body, i, &e, &why)) {
			MUST(why);
			good = false;
			continue;
		}
		MUST(e.nr_pages && e.nr_pages <= FERRY_RDMA_WINDOW_PAGES);
		MUST(e.kind == FERRY_EXTENT_DATA);
		n += ferry_rdma_put_run(again + n, &e);
	}
	if (good)
		same(body, len, n);
}

static void number(const u8 *body, size_t len, u32 max)
{
	const char *why = NULL;
	u32 number;

	if (ferry_rdma_get_number(body, len, max, &number, &why)) {
		MUST(why);
		return;
	}
	MUST(number && number <= max);
	same(body, len, ferry_rdma_put_number(again, number));
}

static void grant(const u8 *body, size_t len)
{
	struct ferry_rdma_grant m;
	const char *why = NULL;

	if (ferry_rdma_get_grant(body, len, &m, &why)) {
		MUST(why);
		return;
	}
	MUST(m.id && m.id <= FERRY_RDMA_MAX_WINDOW);
	same(body, len, ferry_rdma_put_grant(again, &m));
}

/* As rdma_source_heard() and rdma_sink_recv() take it apart. */
static void heard(const u8 *data, size_t len, bool to_sink)
{
	const u8 *body = data + FERRY_RDMA_HEADER_LEN;
	struct ferry_rdma_header h;
	const char *why = NULL;
	u32 credits;

	if (ferry_rdma_get_header(data, len, to_sink, &h, &why)) {
		MUST(why);
		return;
	}
	MUST(h.length == len - FERRY_RDMA_HEADER_LEN);
	MUST(ferry_rdma_put_header(again, &h) == FERRY_RDMA_HEADER_LEN);
	MUST(!memcmp(again, data, FERRY_RDMA_HEADER_LEN));
	switch (h.kind) {
	case FERRY_RDMA_STREAM:
		MUST(to_sink);
		break;
	case FERRY_RDMA_WANT:
		MUST(to_sink);
		want(body, h.length);
		break;
	case FERRY_RDMA_DROP:
		MUST(to_sink);
		number(body, h.length, FERRY_RDMA_MAX_WINDOW);
		break;
	case FERRY_RDMA_GRANT:
		MUST(!to_sink);
		grant(body, h.length);
		break;
	case FERRY_RDMA_CREDIT:
		MUST(!to_sink);
		for (credits = 0; credits <= FERRY_RDMA_DEPTH; credits++)
			number(body, h.length, FERRY_RDMA_DEPTH - credits);
		break;
	default:
		MUST(h.kind == FERRY_RDMA_SEALED && !to_sink);
	}
}

static void request(const u8 *data, size_t len)
{
	struct ferry_rdma_request m;
	const char *why = NULL;

	if (ferry_rdma_get_request(data, len, &m, &why)) {
		MUST(why);
		return;
	}
	MUST(len >= FERRY_RDMA_REQUEST_LEN && m.version == FERRY_RDMA_VERSION);
	same(data, FERRY_RDMA_REQUEST_LEN, ferry_rdma_put_request(again, &m));
}

static void reply(const u8 *data, size_t len)
{
	struct ferry_rdma_reply m;
	const char *why = NULL;

	if (ferry_rdma_get_reply(data, len, &m, &why)) {
		MUST(why);
		return;
	}
	MUST(len >= FERRY_RDMA_REPLY_LEN && m.version == FERRY_RDMA_VERSION);
	MUST(m.window_pages && m.pinned_pages >= FERRY_RDMA_MIN_PINNED);
	same(data, FERRY_RDMA_REPLY_LEN, ferry_rdma_put_reply(again, &m));
}

static void refusal(const u8 *data, size_t len)
{
	u32 why = ferry_rdma_get_refusal(data, len);
	const char *text = ferry_rdma_refusal_text(why);

	MUST(text && *text);
	if (why)
		same(data, FERRY_RDMA_REFUSAL_LEN, ferry_rdma_put_refusal(again, why));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	u8 what, *copy;
	size_t len;

	if (!size)
		return 0;
	what = *data++;
	size--;
	if (what > REFUSAL)
		return 0;
	while (size) {
		len = size;
		if (what <= TO_SOURCE) {
			if (size < 2)
				return 0;
			len = data[0] | data[1] << 8;
			data += 2;
			size -= 2;
			/* No more has room in a receive buffer, else the connection breaks. */
			if (len > size || len > FERRY_RDMA_MSG_LEN)
				return 0;
		}
		copy = malloc(len ? len : 1);
		if (!copy)
			return 0;
		memcpy(copy, data, len);
		if (what == REQUEST)
			request(copy, len);
		else if (what == REPLY)
			reply(copy, len);
		else if (what == REFUSAL)
			refusal(copy, len);
		else
			heard(copy, len, what == TO_SINK);
		free(copy);
		data += len;
		size -= len;
	}
	return 0;
}
