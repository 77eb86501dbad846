// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify: both sides digest every region while the guest is paused, and the
 * sink compares.
 *
 * A 2 MiB block's digest is the sum of xxh64(page, seed = page number) over its
 * pages that are not zero: a hole costs nothing and is not allocated, and it
 * does not matter which zero page is a hole on which side. Pages may not move
 * while this runs: the final pass has been placed, and nobody writes.
 */
#include <linux/highmem.h>
#include <linux/slab.h>
#include <linux/xxhash.h>

#include "control.h"
#include "pages.h"
#include "session.h"
#include "trace.h"
#include "verify.h"

#define DIGESTS_A_MESSAGE 256

static u64 page_digest(struct page *page, u64 pfn)
{
	const void *bytes = kmap_local_page(page);
	u64 digest = xxh64(bytes, PAGE_SIZE, pfn);

	kunmap_local(bytes);
	return digest;
}

static int block_digest(struct ferry_session *s, const struct ferry_region *r, u64 block, u64 *out)
{
	u64 pfn = block * FERRY_BLOCK_PAGES, end = min(pfn + FERRY_BLOCK_PAGES, r->nr_pages);
	struct page *pages[32];
	u64 digest = 0;
	s64 hole;
	int ret;

	if (!ferry_mm_enter(s))
		return -ESRCH;
	hole = ferry_pages_hole(s, r, pfn, end - pfn);
	ret = hole < 0 ? hole : 0;
	pfn += max_t(s64, hole, 0);
	while (pfn < end && !ret) {
		u32 n = min_t(u64, end - pfn, ARRAY_SIZE(pages)), i;

		ret = ferry_pages_get(s, r, pfn, n, pages);
		if (ret)
			break;
		for (i = 0; i < n; i++)
			if (pages[i] && !ferry_page_is_zero(pages[i]))
				digest += page_digest(pages[i], pfn + i);
		ferry_pages_put(pages, n);
		pfn += n;
	}
	ferry_mm_leave(s);
	*out = digest;
	return ret;
}

static int cannot_read(struct ferry_session *s, const struct ferry_region *r, u64 block, int error)
{
	if (error == -ESRCH)
		ferry_session_fail(s, -ESRCH, "the VMM has exited");
	else
		ferry_session_fail(s, -EFAULT, "verify cannot read region '%s' at block %llu (%d)", r->name,
				   block, error);
	return error;
}

int ferry_verify_send(struct ferry_session *s)
{
	u64 *digests = kcalloc(DIGESTS_A_MESSAGE, sizeof(u64), GFP_KERNEL_ACCOUNT);
	u64 block, first, total = 0;
	int ret = 0;
	u32 i, n;

	if (!digests) {
		ferry_session_fail(s, -ENOMEM, "no memory for digests");
		return -ENOMEM;
	}
	for (i = 0; i < s->nr_regions && !ret; i++) {
		const struct ferry_region *r = s->regions[i];

		for (first = 0; first < r->nr_blocks && !ret; first += n) {
			n = min_t(u64, DIGESTS_A_MESSAGE, r->nr_blocks - first);
			for (block = 0; block < n && !ret && !ferry_session_ended(s); block++) {
				ret = block_digest(s, r, first + block, &digests[block]);
				total += digests[block];
				cond_resched();
			}
			if (ret)
				cannot_read(s, r, first + block, ret);
			else if (ferry_session_ended(s))
				ret = -ESHUTDOWN;
			else
				ret = ferry_control_digest(s, i, first, digests, n);
		}
	}
	kfree(digests);
	WRITE_ONCE(s->stats.digest, total);
	return ret ? ret : ferry_control_plain(s, FERRY_MSG_DIGEST_END);
}

static void note_bad(struct ferry_verify *v, const struct ferry_region *r, u64 block)
{
	struct ferry_extent *last = v->nr_bad ? &v->bad[v->nr_bad - 1] : NULL;
	u64 pfn = block * FERRY_BLOCK_PAGES;
	u32 pages = min_t(u64, FERRY_BLOCK_PAGES, r->nr_pages - pfn);

	v->total_bad++;
	if (last && last->region == r->index && last->pfn + last->nr_pages == pfn)
		last->nr_pages += pages;
	else if (v->nr_bad < ARRAY_SIZE(v->bad))
		v->bad[v->nr_bad++] = (struct ferry_extent) {
			.pfn = pfn, .nr_pages = pages, .region = r->index, .kind = FERRY_EXTENT_DATA,
		};
}

int ferry_verify_digest(struct ferry_session *s, const u8 *body, const struct ferry_msg_digest *m)
{
	const struct ferry_region *r;
	u64 ours;
	u32 i;
	int ret;

	if (!s->check)
		s->check = kzalloc(sizeof(*s->check), GFP_KERNEL_ACCOUNT);
	if (!s->check) {
		ferry_session_fail(s, -ENOMEM, "no memory for digests");
		return -ENOMEM;
	}
	/* In order and without a gap, so that nothing is left uncompared. */
	if (m->region != s->check->region || m->first != s->check->block || m->region >= s->nr_regions ||
	    m->count > s->regions[m->region]->nr_blocks - m->first) {
		ferry_session_fail(s, -EPROTO, "the peer broke the protocol: digests out of order");
		return -EPROTO;
	}
	r = s->regions[m->region];
	for (i = 0; i < m->count; i++) {
		ret = block_digest(s, r, m->first + i, &ours);
		if (ret)
			return cannot_read(s, r, m->first + i, ret);
		if (ferry_session_ended(s))
			return -ESHUTDOWN;
		WRITE_ONCE(s->stats.digest, s->stats.digest + ours);
		if (ours != ferry_wire_get_digest_value(body, i))
			note_bad(s->check, r, m->first + i);
		cond_resched();
	}
	s->check->block += m->count;
	if (s->check->block == r->nr_blocks) {
		s->check->region++;
		s->check->block = 0;
	}
	return 0;
}

static void name_bad(struct ferry_session *s, const struct ferry_extent *bad, u32 nr, u32 total)
{
	char text[160];
	size_t at = 0;
	u32 i;

	text[0] = '\0';
	for (i = 0; i < nr && at < sizeof(text) - 60; i++)
		at += scnprintf(text + at, sizeof(text) - at, "%s'%s' 0x%llx-0x%llx", i ? ", " : "",
				s->regions[bad[i].region]->name, bad[i].pfn * PAGE_SIZE,
				(bad[i].pfn + bad[i].nr_pages) * PAGE_SIZE - 1);
	ferry_session_fail(s, -EBADE, "verify: %u blocks of 2 MiB differ between source and sink: %s%s",
			   total, text, i < nr ? ", ..." : "");
}

int ferry_verify_end(struct ferry_session *s)
{
	struct ferry_verify *v = s->check;
	int ret;

	if (!v || v->region != s->nr_regions) {
		ferry_session_fail(s, -EPROTO, "the peer broke the protocol: digests are missing");
		return -EPROTO;
	}
	ret = ferry_control_verify_result(s);
	if (ret)
		return ret;
	trace_ferry_switchover(s->id, s->role, FERRY_PHASE_VERIFIED);
	s->verified = v->total_bad ? FERRY_VERIFY_DIFFERS : FERRY_VERIFY_EQUAL;
	if (!v->total_bad)
		return 0;
	name_bad(s, v->bad, v->nr_bad, v->total_bad);
	return -EBADE;
}

int ferry_verify_result(struct ferry_session *s, const u8 *body, size_t len, const char **why)
{
	struct ferry_extent bad[FERRY_WIRE_MAX_MISMATCH];
	struct ferry_msg_verify_result m;
	u32 i;
	int ret;

	ret = ferry_wire_get_verify_result(body, len, &m, why);
	for (i = 0; !ret && i < m.nr_bad; i++) {
		ret = ferry_wire_get_mismatch(body, len, i, &bad[i], why);
		if (!ret && bad[i].region >= s->nr_regions) {
			*why = "mismatch names an unknown region";
			ret = -EPROTO;
		}
	}
	if (ret)
		return ret;
	if (m.total_bad) {
		name_bad(s, bad, m.nr_bad, m.total_bad);
		return -EBADE;
	}
	if (m.digest != s->stats.digest) {
		*why = "the sink found no difference, but another digest";
		return -EPROTO;
	}
	trace_ferry_switchover(s->id, s->role, FERRY_PHASE_VERIFIED);
	WRITE_ONCE(s->verified, FERRY_VERIFY_EQUAL);
	wake_up_all(&s->wait);
	return 0;
}

void ferry_verify_free(struct ferry_session *s)
{
	kfree(s->check);
	s->check = NULL;
}
