// SPDX-License-Identifier: GPL-2.0-only
/*
 * A dirty source: the VMM's own page tables, without any help of KVM's log.
 *
 * For sources that ask for "report", with guest memory in small pages of a shared file (memfd,
 * tmpfs). folio_mkclean() takes the right to write a page out of all page tables that map it, KVM's
 * too, and says whether one of them had it: it had if the page was written since. Whoever writes
 * next faults, and has the right again: vCPUs, the VMM, vhost, other processes. What writes to
 * pinned pages (VFIO) does not fault, and is to be reported, as are holes that are punched.
 *
 * A page that comes back into a shared mapping comes writable, and so counts as written: never
 * too few pages are sent, at times too many. Each page costs a walk through the tables.
 */
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "own.h"
#include "pages.h"
#include "session.h"

#define AT_ONCE	64	/* pages */

/* 1: written since the last time, or that cannot be told; 0: not. */
static int protect(struct ferry_session *s, const struct ferry_region *r, u64 pfn, struct page *page)
{
	struct folio *folio = page_folio(page);
	int written;

	if (folio_test_anon(folio) || folio_test_large(folio)) {
		ferry_session_fail(s, -EOPNOTSUPP, "region '%s' has a page at 0x%llx that is private or huge: map a memfd or a file in tmpfs without huge pages, and shared",
				   r->name, pfn * PAGE_SIZE);
		return -EOPNOTSUPP;
	}
	folio_lock(folio);
	/* Truncated, or unmapped to be swapped out: then the tables have forgotten. */
	written = !folio->mapping || !folio_mapped(folio) || folio_mkclean(folio);
	folio_unlock(folio);
	return written;
}

/* Pages that were published, or -errno. The VMM's mm is in use. */
static long scan(struct ferry_session *s, struct ferry_region *r, u64 pfn, u32 count)
{
	struct page *pages[AT_ONCE];
	long found = 0;
	int ret;
	u32 i;

	ret = ferry_pages_get(s, r, pfn, count, pages);
	if (ret) {
		ferry_session_fail(s, -EFAULT, "region '%s' cannot be read at 0x%llx (%d)", r->name,
				   pfn * PAGE_SIZE, ret);
		return ret;
	}
	for (i = 0; i < count && ret >= 0; i++) {
		/* Where nothing is allocated, nothing was written. */
		ret = pages[i] ? protect(s, r, pfn + i, pages[i]) : 0;
		if (ret <= 0)
			continue;
		/* It may be read from now on: the next write will be seen. */
		ferry_dirty_publish(s, r, pfn + i, 1);
		found++;
	}
	ferry_pages_put(pages, count);
	return ret < 0 ? ret : found;
}

static long mkclean_harvest(struct ferry_session *s)
{
	u32 i, state = ferry_session_state(s);
	u64 begin = ktime_get_ns();
	long found = 0;

	/* Until the first pass everything is dirty, and after the end nothing matters. */
	if (state < KVM_FERRY_STATE_LIVE || ferry_session_ended(s))
		return 0;
	for (i = 0; i < s->nr_regions; i++) {
		struct ferry_region *r = s->regions[i];
		u64 pfn;

		for (pfn = 0; pfn < r->nr_pages; pfn += AT_ONCE) {
			long ret;

			/* For a moment each: a VMM that is killed shall free its memory. */
			if (!ferry_mm_enter(s)) {
				ferry_session_fail(s, -ESRCH, "the VMM has exited");
				return -ESRCH;
			}
			ret = scan(s, r, pfn, min_t(u64, AT_ONCE, r->nr_pages - pfn));
			ferry_mm_leave(s);
			if (ret < 0)
				return ret;
			found += ret;
			if (ferry_session_ended(s))
				return -ESHUTDOWN;
			cond_resched();
		}
	}
	/* A tenth of a processor at most. */
	s->dirty.interval_ns = max(10 * (ktime_get_ns() - begin), FERRY_HARVEST_MAX_NS);
	return found;
}

/* Pages are protected again before they are published: nothing is ever held. */
static int mkclean_rearm(struct ferry_session *s, u64 most)
{
	return 0;
}

static void mkclean_stop(struct ferry_session *s)
{
}

static const struct ferry_dirty_ops mkclean_ops = {
	.owner = THIS_MODULE,
	.name = "mkclean",
	.polled = true,
	.harvest = mkclean_harvest,
	.rearm = mkclean_rearm,
	.stop = mkclean_stop,
};

static int __init mkclean_init(void)
{
	return ferry_dirty_register(&mkclean_ops);
}

static void __exit mkclean_exit(void)
{
	ferry_dirty_unregister(&mkclean_ops);
}

module_init(mkclean_init);
module_exit(mkclean_exit);

MODULE_DESCRIPTION("kvm-ferry example: a dirty source that asks the VMM's page tables");
MODULE_AUTHOR("The kvm-ferry developers");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(FERRY_NS);
