// SPDX-License-Identifier: GPL-2.0-only
/* The codec of rdma_wire.h. All integers are little-endian. */
#include <linux/kernel.h>
#include <linux/string.h>

#include "../wire_le.h"
#include "rdma_wire.h"

size_t ferry_rdma_put_header(u8 *p, const struct ferry_rdma_header *h)
{
	put32(p, h->kind);
	put32(p + 4, h->length);
	return FERRY_RDMA_HEADER_LEN;
}

static bool expected(u32 kind, bool to_sink)
{
	switch (kind) {
	case FERRY_RDMA_STREAM:
	case FERRY_RDMA_WANT:
	case FERRY_RDMA_DROP:
		return to_sink;
	case FERRY_RDMA_GRANT:
	case FERRY_RDMA_CREDIT:
	case FERRY_RDMA_SEALED:
		return !to_sink;
	default:
		return false;
	}
}

int ferry_rdma_get_header(const u8 *p, size_t len, bool to_sink, struct ferry_rdma_header *h,
			  const char **why)
{
	if (len < FERRY_RDMA_HEADER_LEN)
		return bad(why, "RDMA message is shorter than a header");
	h->kind = get32(p);
	h->length = get32(p + 4);
	if (!expected(h->kind, to_sink))
		return bad(why, "RDMA message is of an unknown kind, or the wrong way");
	if (h->length != len - FERRY_RDMA_HEADER_LEN)
		return bad(why, "RDMA message has a wrong length");
	return 0;
}

size_t ferry_rdma_put_window(u8 *p, const struct ferry_rdma_window *w)
{
	put32(p, w->id);
	put32(p + 4, w->nr_runs);
	return FERRY_RDMA_WINDOW_LEN;
}

size_t ferry_rdma_put_run(u8 *p, const struct ferry_extent *e)
{
	put64(p, e->pfn);
	put32(p + 8, e->nr_pages);
	put16(p + 12, e->region);
	put16(p + 14, 0);
	return FERRY_RDMA_RUN_LEN;
}

int ferry_rdma_get_window(const u8 *p, size_t len, struct ferry_rdma_window *w, const char **why)
{
	if (len < FERRY_RDMA_WINDOW_LEN)
		return bad(why, "WANT is too short");
	w->id = get32(p);
	w->nr_runs = get32(p + 4);
	if (!w->id || w->id > FERRY_RDMA_MAX_WINDOW)
		return bad(why, "WANT's window has a number that none may have");
	if (!w->nr_runs || w->nr_runs > FERRY_RDMA_MAX_RUNS ||
	    len != FERRY_RDMA_WINDOW_LEN + w->nr_runs * FERRY_RDMA_RUN_LEN)
		return bad(why, "WANT's length does not match its number of runs");
	return 0;
}

int ferry_rdma_get_run(const u8 *p, u32 i, struct ferry_extent *e, const char **why)
{
	p += FERRY_RDMA_WINDOW_LEN + i * FERRY_RDMA_RUN_LEN;
	e->pfn = get64(p);
	e->nr_pages = get32(p + 8);
	e->region = get16(p + 12);
	e->kind = FERRY_EXTENT_DATA;
	if (get16(p + 14))
		return bad(why, "WANT has a run that is no data");
	if (!e->nr_pages || e->nr_pages > FERRY_RDMA_WINDOW_PAGES)
		return bad(why, "WANT has a run that is empty or too long");
	/* Against the region, which bounds them, it is checked by who knows it. */
	return 0;
}

size_t ferry_rdma_put_number(u8 *p, u32 number)
{
	put32(p, number);
	put32(p + 4, 0);
	return 8;
}

int ferry_rdma_get_number(const u8 *p, size_t len, u32 max, u32 *number, const char **why)
{
	if (len != 8 || get32(p + 4))
		return bad(why, "DROP or CREDIT has a wrong length or form");
	*number = get32(p);
	if (!*number || *number > max)
		return bad(why, "DROP or CREDIT has a number that none may have");
	return 0;
}

size_t ferry_rdma_put_grant(u8 *p, const struct ferry_rdma_grant *g)
{
	put32(p, g->id);
	put32(p + 4, g->rkey);
	put64(p + 8, g->addr);
	return 16;
}

int ferry_rdma_get_grant(const u8 *p, size_t len, struct ferry_rdma_grant *g, const char **why)
{
	if (len != 16)
		return bad(why, "GRANT has a wrong length");
	g->id = get32(p);
	g->rkey = get32(p + 4);
	g->addr = get64(p + 8);
	if (!g->id || g->id > FERRY_RDMA_MAX_WINDOW)
		return bad(why, "GRANT's window has a number that none may have");
	return 0;
}

size_t ferry_rdma_put_request(u8 *p, const struct ferry_rdma_request *r)
{
	put32(p, FERRY_RDMA_MAGIC);
	put16(p + 4, r->version);
	put16(p + 6, r->index);
	put16(p + 8, r->nr_channels);
	put16(p + 10, 0);
	memcpy(p + 12, r->token, FERRY_WIRE_TOKEN_LEN);
	return FERRY_RDMA_REQUEST_LEN;
}

int ferry_rdma_get_request(const u8 *p, size_t len, struct ferry_rdma_request *r, const char **why)
{
	if (!p || len < FERRY_RDMA_REQUEST_LEN || get32(p) != FERRY_RDMA_MAGIC || get16(p + 10))
		return bad(why, "the connection request is not kvm-ferry's");
	r->version = get16(p + 4);
	r->index = get16(p + 6);
	r->nr_channels = get16(p + 8);
	memcpy(r->token, p + 12, FERRY_WIRE_TOKEN_LEN);
	if (r->version != FERRY_RDMA_VERSION)
		return bad(why, "the connection request is of another version");
	return 0;
}

size_t ferry_rdma_put_reply(u8 *p, const struct ferry_rdma_reply *r)
{
	put32(p, FERRY_RDMA_MAGIC);
	put16(p + 4, r->version);
	put16(p + 6, r->whole);
	put32(p + 8, r->window_pages);
	put32(p + 12, 0);
	put64(p + 16, r->pinned_pages);
	return FERRY_RDMA_REPLY_LEN;
}

int ferry_rdma_get_reply(const u8 *p, size_t len, struct ferry_rdma_reply *r, const char **why)
{
	if (!p || len < FERRY_RDMA_REPLY_LEN || get32(p) != FERRY_RDMA_MAGIC ||
	    get16(p + 6) > 1 || get32(p + 12))
		return bad(why, "the answer to the connection request is not kvm-ferry's");
	r->version = get16(p + 4);
	r->whole = get16(p + 6);
	r->window_pages = get32(p + 8);
	r->pinned_pages = get64(p + 16);
	if (r->version != FERRY_RDMA_VERSION)
		return bad(why, "the answer to the connection request is of another version");
	if (!r->window_pages || r->pinned_pages < FERRY_RDMA_MIN_PINNED)
		return bad(why, "the sink offers windows that are too small");
	return 0;
}

size_t ferry_rdma_put_refusal(u8 *p, u32 why)
{
	put32(p, FERRY_RDMA_MAGIC);
	put32(p + 4, why);
	return FERRY_RDMA_REFUSAL_LEN;
}

u32 ferry_rdma_get_refusal(const u8 *p, size_t len)
{
	if (!p || len < FERRY_RDMA_REFUSAL_LEN || get32(p) != FERRY_RDMA_MAGIC)
		return 0;
	return get32(p + 4);
}

const char *ferry_rdma_refusal_text(u32 why)
{
	static const char *const text[] = {
		[FERRY_RDMA_REFUSED_FORM] = "it speaks another version of this protocol",
		[FERRY_RDMA_REFUSED_TOKEN] = "it belongs to another migration: its token is not ours",
		[FERRY_RDMA_REFUSED_INDEX] = "its data channels are not ours in number or order",
		[FERRY_RDMA_REFUSED_TAKEN] = "it has that data channel already",
		[FERRY_RDMA_REFUSED_ENDED] = "its session has ended, or may not pin or set up what it takes",
	};

	return why < ARRAY_SIZE(text) && text[why] ? text[why] : "it gave no reason of ours";
}
