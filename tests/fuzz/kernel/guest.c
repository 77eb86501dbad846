// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMM's memory, in place of pages.c, and small things that the module takes
 * from the kernel. A page can be touched only while a reference, a pin or a
 * mapping of it is held: the rest of memory is poisoned for the sanitizer, and
 * so is what lies around the regions, always.
 */
#include <sanitizer/asan_interface.h>

#include "fuzz.h"
#include "pages.h"
#include "region.h"
#include "session.h"

#define GUARD		16UL
#define LARGE		8UL	/* pages of a compound page */

const u64 fuzz_region_pages[FUZZ_REGIONS] = { 700, 3 };
#define ARENA		(700 + 3 + 3 * GUARD)

struct mm_struct fuzz_mm;

static u8 arena[ARENA][PAGE_SIZE] __attribute__((aligned(4096)));
static struct page pages[ARENA];
static int open_count[ARENA];
static u8 value[ARENA];		/* source: of every byte of the page */
static bool is_source;
static enum guest_trouble trouble;

static u64 first_page(u32 region)
{
	return GUARD + (region ? fuzz_region_pages[0] + GUARD : 0);
}

unsigned long guest_addr(u32 region)
{
	return (unsigned long)arena[first_page(region)];
}

static u64 index_of(const struct page *page)
{
	return page - pages;
}

static struct page *page_of(const struct ferry_region *r, u64 pfn)
{
	return &pages[(r->addr - (unsigned long)arena) / PAGE_SIZE + pfn];
}

static void page_open(struct page *page)
{
	if (!open_count[index_of(page)]++)
		__asan_unpoison_memory_region(arena[index_of(page)], PAGE_SIZE);
}

static void page_close(struct page *page)
{
	MUST(open_count[index_of(page)] > 0);
	if (!--open_count[index_of(page)])
		__asan_poison_memory_region(arena[index_of(page)], PAGE_SIZE);
}

static void page_fill(struct page *page, int byte)
{
	page_open(page);
	memset(arena[index_of(page)], byte, PAGE_SIZE);
	page_close(page);
	page->present = page->touched = true;
}

void guest_touch(u32 region, u64 pfn)
{
	struct page *page = &pages[first_page(region) + pfn % fuzz_region_pages[region]];

	value[index_of(page)] = value[index_of(page)] % 255 + 1;
	page_fill(page, value[index_of(page)]);
}

void guest_trouble(enum guest_trouble what)
{
	trouble = what;
	/* The VMM's own use of its memory ends. */
	if (what == GUEST_EXITED && fuzz_mm.users)
		fuzz_mm.users--;
}

void guest_begin(bool source)
{
	static const u16 there[] = { 0, 1, 2, 3, 511, 512, 699 };
	u32 i;

	for (i = 0; i < ARENA && !pages[0].touched; i++)
		__asan_poison_memory_region(arena[i], PAGE_SIZE);
	pages[0].touched = true;	/* once is enough: a guard page is nobody's */
	is_source = source;
	trouble = GUEST_WELL;
	fuzz_mm = (struct mm_struct){ .users = 1, .count = 1 };
	for (i = 0; source && i < ARRAY_SIZE(there); i++)
		guest_touch(0, there[i]);
	if (source)
		guest_touch(1, 1);
}

static bool has_value(const u8 *bytes, u8 v)
{
	return bytes[0] == v && !memcmp(bytes, bytes + 1, PAGE_SIZE - 1);
}

void guest_end(void)
{
	u32 i;

	for (i = 1; i < ARENA; i++) {
		struct page *page = &pages[i];

		MUST(!page->refs && !page->pins && !open_count[i]);
		if (!page->touched)
			continue;
		/* A source only reads. */
		page_open(page);
		MUST(!is_source || has_value(arena[i], value[i]));
		page_close(page);
		*page = (struct page){};
		value[i] = 0;
	}
}

/* --- pages.h ------------------------------------------------------------- */

static void check_range(const struct ferry_region *r, u64 pfn, u64 count)
{
	u32 region = r->addr == guest_addr(1);

	MUST(r->addr == guest_addr(region) && pfn < fuzz_region_pages[region]);
	MUST(count && count <= fuzz_region_pages[region] - pfn);
}

s64 ferry_pages_hole(struct ferry_session *s, const struct ferry_region *r, u64 pfn, u64 count)
{
	u64 n = 0;

	(void)s;
	check_range(r, pfn, count);
	MUST(current->mm == &fuzz_mm);
	if (trouble == GUEST_UNMAPPED)
		return -EFAULT;
	while (n < count && !page_of(r, pfn + n)->present)
		n++;
	return n;
}

int ferry_pages_get(struct ferry_session *s, const struct ferry_region *r, u64 pfn,
		    unsigned int count, struct page **to)
{
	unsigned int i;

	(void)s;
	check_range(r, pfn, count);
	MUST(current->mm == &fuzz_mm);
	fuzz_preempt();
	if (trouble == GUEST_UNMAPPED)
		return -EFAULT;
	for (i = 0; i < count; i++) {
		struct page *page = page_of(r, pfn + i);

		to[i] = page->present ? page : NULL;
		if (!to[i])
			continue;
		compound_head(page)->refs++;
		page_open(page);
	}
	return 0;
}

void ferry_pages_put(struct page **from, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (from[i])
			put_page(from[i]);
}

int ferry_pages_pin(struct ferry_session *s, const struct ferry_region *r, u64 pfn,
		    unsigned int count, unsigned int flags, struct page **to)
{
	unsigned int i;

	MUST(s->mm == &fuzz_mm && fuzz_mm.users > 0);
	check_range(r, pfn, count);
	wire_may_place(r->index, pfn, count, false);
	fuzz_preempt();
	if (trouble == GUEST_UNMAPPED)
		return -EFAULT;
	for (i = 0; i < count; i++) {
		to[i] = page_of(r, pfn + i);
		if (!to[i]->present)
			page_fill(to[i], 0);
		to[i]->pins++;
		page_open(to[i]);
	}
	return 0;
}

int ferry_pages_clear(struct ferry_session *s, const struct ferry_region *r, u64 pfn, u64 count,
		      u64 *clear)
{
	u64 i;

	(void)s;
	MUST(current->mm == &fuzz_mm);
	check_range(r, pfn, count);
	wire_may_place(r->index, pfn, count, true);
	fuzz_preempt();
	if (trouble == GUEST_UNMAPPED)
		return -EFAULT;
	for (i = 0; i < count; i++) {
		struct page *page = page_of(r, pfn + i);

		if (page->present)
			page_fill(page, 0);
		else
			(*clear)++;
	}
	return 0;
}

bool ferry_page_is_zero(struct page *page)
{
	const u8 *bytes = arena[index_of(page)];

	return !bytes[0] && !memchr_inv(bytes, 0, PAGE_SIZE);
}

void unpin_user_pages_dirty_lock(struct page **from, unsigned long n, bool dirty)
{
	unsigned long i;

	MUST(dirty);
	for (i = 0; i < n; i++) {
		MUST(from[i]->pins > 0);
		from[i]->pins--;
		page_close(from[i]);
	}
}

struct page *compound_head(struct page *page)
{
	return &pages[index_of(page) & ~(LARGE - 1)];
}

unsigned long page_to_pfn(const struct page *page)
{
	return index_of(page);
}

void put_page(struct page *page)
{
	MUST(compound_head(page)->refs > 0);
	compound_head(page)->refs--;
	page_close(page);
}

void *kmap_local_page(struct page *page)
{
	page_open(page);
	return arena[index_of(page)];
}

void kunmap_local(const void *bytes)
{
	page_close(&pages[((const u8 *)bytes - arena[0]) / PAGE_SIZE]);
}

u64 xxh64(const void *bytes, size_t n, u64 seed)
{
	MUST(n == PAGE_SIZE);
	return ((const u8 *)bytes)[0] + 256 * seed;
}

u64 guest_digest(void)
{
	u64 sum = 0, pfn;
	u32 i;

	for (i = 0; i < FUZZ_REGIONS; i++)
		for (pfn = 0; pfn < fuzz_region_pages[i]; pfn++)
			if (value[first_page(i) + pfn])
				sum += value[first_page(i) + pfn] + 256 * pfn;
	return sum;
}

void iter_fill(struct iov_iter *to, const void *from, size_t n)
{
	while (n) {
		const struct bio_vec *bv = to->bvec;
		size_t room = (bv ? bv->bv_len : to->kvec->iov_len) - to->at;
		size_t part = min(room, n);

		if (bv)
			MUST(bv->bv_page->pins > 0);
		memcpy((bv ? arena[index_of(bv->bv_page)] + bv->bv_offset :
			     (u8 *)to->kvec->iov_base) + to->at, from, part);
		from = (const u8 *)from + part;
		n -= part;
		to->count -= part;
		to->at += part;
		if (part < room)
			continue;
		to->at = 0;
		if (bv)
			to->bvec++;
		else
			to->kvec++;
	}
}

/* --- the address space --------------------------------------------------- */

struct vm_area_struct *find_vma(struct mm_struct *mm, unsigned long addr)
{
	static struct vm_area_struct all = { .vm_flags = VM_READ | VM_WRITE };

	MUST(mm == &fuzz_mm);
	(void)addr;
	all.vm_start = (unsigned long)arena;
	all.vm_end = (unsigned long)arena + sizeof(arena);
	return &all;
}

void mmgrab(struct mm_struct *mm)
{
	mm->count++;
}

void mmdrop(struct mm_struct *mm)
{
	mm->count--;
}

/* --- text, bits, tables -------------------------------------------------- */

int vscnprintf(char *to, size_t room, const char *fmt, va_list args)
{
	int n = vsnprintf(to, room, fmt, args);

	return min(n, (int)room - 1);
}

int scnprintf(char *to, size_t room, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vscnprintf(to, room, fmt, args);
	va_end(args);
	return n;
}

long strscpy(char *to, const char *from, size_t room)
{
	size_t n = strnlen(from, room - 1);

	memcpy(to, from, n);
	to[n] = '\0';
	return n;
}

void *memchr_inv(const void *p, int c, size_t n)
{
	const u8 *bytes = p;

	for (; n; n--, bytes++)
		if (*bytes != (u8)c)
			return (void *)bytes;
	return NULL;
}

static unsigned long find_from(const unsigned long *map, unsigned long size, unsigned long from,
			       unsigned long flip)
{
	while (from < size) {
		unsigned long word = (map[from / 64] ^ flip) >> from % 64;

		if (word)
			return min(from + __builtin_ctzl(word), size);
		from = round_down(from, 64UL) + 64;
	}
	return size;
}

unsigned long find_next_bit(const unsigned long *map, unsigned long size, unsigned long from)
{
	return find_from(map, size, from, 0);
}

unsigned long find_next_zero_bit(const unsigned long *map, unsigned long size, unsigned long from)
{
	return find_from(map, size, from, ~0UL);
}

void *fuzz_xa_from(struct xarray *x, unsigned long *index)
{
	int i, best = -1;

	for (i = 0; i < FUZZ_XA_ENTRIES; i++)
		if (x->entry[i] && x->index[i] >= *index && (best < 0 || x->index[i] < x->index[best]))
			best = i;
	if (best < 0)
		return NULL;
	*index = x->index[best];
	return x->entry[best];
}

void *xa_load(struct xarray *x, unsigned long index)
{
	unsigned long at = index;
	void *entry = fuzz_xa_from(x, &at);

	return at == index ? entry : NULL;
}

void *xa_store(struct xarray *x, unsigned long index, void *entry, int flags)
{
	void *memory = fuzz_alloc(1);
	int i;

	(void)flags;
	fuzz_free(memory);
	if (!memory)
		return ERR_PTR(-ENOMEM);
	for (i = 0; x->entry[i]; i++)
		MUST(i < FUZZ_XA_ENTRIES - 1);
	x->index[i] = index;
	x->entry[i] = entry;
	return NULL;
}

void xa_erase(struct xarray *x, unsigned long index)
{
	int i;

	for (i = 0; i < FUZZ_XA_ENTRIES; i++)
		if (x->index[i] == index)
			x->entry[i] = NULL;
}

unsigned long copy_from_user(void *to, const void *from, unsigned long n)
{
	if (trouble == GUEST_UNMAPPED)
		return n;
	memcpy(to, from, n);
	return 0;
}

unsigned long copy_to_user(void *to, const void *from, unsigned long n)
{
	return copy_from_user(to, from, n);
}

/* The same every time: an input means one thing. */
void get_random_bytes(void *to, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		((u8 *)to)[i] = i;
}
