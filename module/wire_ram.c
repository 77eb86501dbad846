// SPDX-License-Identifier: GPL-2.0-only
/*
 * The wire codec, continued from wire.c: messages that speak of memory. Extents
 * are what a peer steers placement by, so their sums are checked here as well
 * as each of them: a batch that was accepted announces at most 2 MiB of data.
 */
#include "wire.h"
#include "wire_le.h"

#define MAX_PFN			(MAX_REGION_LEN / PAGE_LEN)
#define MAX_BLOCK		(MAX_REGION_LEN >> 21)
#define MAX_ZERO_PAGES		(1U << 30)

size_t ferry_wire_put_extent(u8 *p, const struct ferry_extent *e)
{
	put64(p, e->pfn);
	put32(p + 8, e->nr_pages);
	put16(p + 12, e->region);
	put16(p + 14, e->kind);
	return FERRY_WIRE_EXTENT_LEN;
}

static int get_extent(const u8 *p, struct ferry_extent *e, u32 max_data, const char **why)
{
	e->pfn = get64(p);
	e->nr_pages = get32(p + 8);
	e->region = get16(p + 12);
	e->kind = get16(p + 14);
	if (e->kind > FERRY_EXTENT_KIND_MAX)
		return bad(why, "extent is of an unknown kind");
	if (e->region >= FERRY_WIRE_MAX_REGIONS)
		return bad(why, "extent's region is too large");
	if (!e->nr_pages)
		return bad(why, "extent is empty");
	if (e->nr_pages > (e->kind == FERRY_EXTENT_DATA ? max_data : MAX_ZERO_PAGES))
		return bad(why, "extent is too long");
	if (e->pfn > MAX_PFN || e->nr_pages > MAX_PFN - e->pfn)
		return bad(why, "extent ends beyond any region");
	return 0;
}

size_t ferry_wire_put_batch(u8 *body, const struct ferry_msg_batch *m)
{
	put32(body, m->nr_extents);
	put32(body + 4, m->pass);
	return BATCH_LEN;
}

int ferry_wire_get_batch(const u8 *body, size_t len, struct ferry_msg_batch *m, const char **why)
{
	u32 i, pages = 0;

	if (!ferry_wire_length_fits(FERRY_MSG_BATCH, len))
		return bad(why, "BATCH has a wrong length");
	m->nr_extents = get32(body);
	if (m->nr_extents != (len - BATCH_LEN) / FERRY_WIRE_EXTENT_LEN)
		return bad(why, "BATCH's length does not match its number of extents");
	m->pass = get32(body + 4);
	if (!m->pass)
		return bad(why, "BATCH has no pass number");
	for (i = 0; i < m->nr_extents; i++) {
		struct ferry_extent e;
		int err = ferry_wire_get_extent(body, len, i, &e, why);

		if (err)
			return err;
		/* At most 256 times 512: no overflow. */
		if (e.kind == FERRY_EXTENT_DATA)
			pages += e.nr_pages;
	}
	if (pages > FERRY_WIRE_MAX_BATCH_PAGES)
		return bad(why, "BATCH has too many data pages");
	return 0;
}

int ferry_wire_get_extent(const u8 *body, size_t len, u32 i, struct ferry_extent *e,
			  const char **why)
{
	if (!ferry_wire_length_fits(FERRY_MSG_BATCH, len) ||
	    i >= (len - BATCH_LEN) / FERRY_WIRE_EXTENT_LEN)
		return bad(why, "BATCH is too short for its extents");
	return get_extent(body + BATCH_LEN + (size_t)i * FERRY_WIRE_EXTENT_LEN, e,
			  FERRY_WIRE_MAX_BATCH_PAGES, why);
}

size_t ferry_wire_put_pass(u8 *body, const struct ferry_msg_pass *m)
{
	put32(body, m->pass);
	put16(body + 4, m->channel);
	put16(body + 6, 0);
	put64(body + 8, m->pages);
	return PASS_LEN;
}

int ferry_wire_get_pass(const u8 *body, size_t len, u16 type, struct ferry_msg_pass *m,
			const char **why)
{
	if (len != PASS_LEN)
		return bad(why, "pass message has a wrong length");
	m->pass = get32(body);
	if (!m->pass)
		return bad(why, "pass message has no pass number");
	m->channel = get16(body + 4);
	if (type == FERRY_MSG_FENCE_ACK ? m->channel >= FERRY_WIRE_MAX_CHANNELS : m->channel != 0)
		return bad(why, "pass message has a wrong channel");
	if (get16(body + 6))
		return bad(why, "pass message has a reserved field set");
	m->pages = get64(body + 8);
	if (type != FERRY_MSG_PASS && m->pages)
		return bad(why, "pass message counts pages where it must not");
	return 0;
}

size_t ferry_wire_put_digest(u8 *body, const struct ferry_msg_digest *m)
{
	put16(body, m->region);
	put16(body + 2, 0);
	put32(body + 4, m->count);
	put64(body + 8, m->first);
	return DIGEST_LEN;
}

size_t ferry_wire_put_digest_value(u8 *body, u32 i, u64 digest)
{
	put64(body + DIGEST_LEN + (size_t)i * 8, digest);
	return 8;
}

int ferry_wire_get_digest(const u8 *body, size_t len, struct ferry_msg_digest *m,
			  const char **why)
{
	if (!ferry_wire_length_fits(FERRY_MSG_DIGEST, len))
		return bad(why, "DIGEST has a wrong length");
	m->region = get16(body);
	if (m->region >= FERRY_WIRE_MAX_REGIONS)
		return bad(why, "DIGEST's region is too large");
	if (get16(body + 2))
		return bad(why, "DIGEST has a reserved field set");
	m->count = get32(body + 4);
	if (m->count != (len - DIGEST_LEN) / 8)
		return bad(why, "DIGEST's length does not match its count");
	m->first = get64(body + 8);
	if (m->first >= MAX_BLOCK || m->count > MAX_BLOCK - m->first)
		return bad(why, "DIGEST ends beyond any region");
	return 0;
}

u64 ferry_wire_get_digest_value(const u8 *body, u32 i)
{
	return get64(body + DIGEST_LEN + (size_t)i * 8);
}

size_t ferry_wire_put_verify_result(u8 *body, const struct ferry_msg_verify_result *m)
{
	put32(body, m->nr_bad);
	put32(body + 4, m->total_bad);
	put64(body + 8, m->digest);
	return VERIFY_RESULT_LEN;
}

int ferry_wire_get_verify_result(const u8 *body, size_t len, struct ferry_msg_verify_result *m,
				 const char **why)
{
	if (!ferry_wire_length_fits(FERRY_MSG_VERIFY_RESULT, len))
		return bad(why, "VERIFY_RESULT has a wrong length");
	m->nr_bad = get32(body);
	if (m->nr_bad != (len - VERIFY_RESULT_LEN) / FERRY_WIRE_EXTENT_LEN)
		return bad(why, "VERIFY_RESULT's length does not match its number of ranges");
	m->total_bad = get32(body + 4);
	if (!m->nr_bad != !m->total_bad || m->total_bad < m->nr_bad)
		return bad(why, "VERIFY_RESULT's counts contradict each other");
	m->digest = get64(body + 8);
	return 0;
}

int ferry_wire_get_mismatch(const u8 *body, size_t len, u32 i, struct ferry_extent *e,
			    const char **why)
{
	int err;

	if (!ferry_wire_length_fits(FERRY_MSG_VERIFY_RESULT, len) ||
	    i >= (len - VERIFY_RESULT_LEN) / FERRY_WIRE_EXTENT_LEN)
		return bad(why, "VERIFY_RESULT is too short for its ranges");
	err = get_extent(body + VERIFY_RESULT_LEN + (size_t)i * FERRY_WIRE_EXTENT_LEN, e,
			 MAX_ZERO_PAGES, why);
	if (err)
		return err;
	if (e->kind != FERRY_EXTENT_DATA)
		return bad(why, "VERIFY_RESULT has a range of another kind than data");
	return 0;
}
