/* SPDX-License-Identifier: GPL-2.0-only */
/* Page references, holes and zero pages. */
#ifndef FERRY_PAGES_H
#define FERRY_PAGES_H

#include <linux/types.h>

struct ferry_region;
struct ferry_session;
struct page;

/**
 * ferry_pages_hole - how far a hole reaches
 * @s: the session, its mm entered
 * @r: the region
 * @pfn: first page
 * @count: how many are of interest
 *
 * Return: the number of pages from @pfn on that are surely not allocated (and
 * so read as zero); 0: cannot tell; negative errno: not mapped any more.
 */
s64 ferry_pages_hole(struct ferry_session *s, const struct ferry_region *r, u64 pfn, u64 count);

/**
 * ferry_pages_get - take references of pages, without allocating any
 * @s: the session, its mm entered
 * @r: the region
 * @pfn: first page
 * @count: how many
 * @pages: out: a page with a reference held, or NULL: not allocated
 *
 * Return: 0 or a negative errno, with no reference held.
 */
int ferry_pages_get(struct ferry_session *s, const struct ferry_region *r, u64 pfn,
		    unsigned int count, struct page **pages);
void ferry_pages_put(struct page **pages, unsigned int count);

/*
 * Pins pages for writing, allocating them; all or a negative errno. mm held or
 * entered. @flags: FOLL_LONGTERM for a device that writes them, or 0.
 */
int ferry_pages_pin(struct ferry_session *s, const struct ferry_region *r, u64 pfn,
		    unsigned int count, unsigned int flags, struct page **pages);

bool ferry_page_is_zero(struct page *page);

/*
 * sink: makes pages read as zero, allocating nothing and touching nothing that
 * reads so already. Adds to *@clear the pages that were. mm entered.
 */
int ferry_pages_clear(struct ferry_session *s, const struct ferry_region *r, u64 pfn, u64 count,
		      u64 *clear);

#endif /* FERRY_PAGES_H */
