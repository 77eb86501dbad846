// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page references, holes and zero pages.
 *
 * To look at a page must not allocate it. What "not allocated" means depends on
 * the mapping:
 *
 *  - anonymous memory and hugetlbfs: FOLL_DUMP fails with EFAULT where nothing
 *    is allocated, and faults in what is swapped out;
 *  - shared files (memfd, tmpfs): FOLL_DUMP would allocate. The file is asked
 *    by SEEK_DATA, on a file of our own, since the VMM's position is its own;
 *  - everything else (a private file mapping): a fault never finds a hole.
 *
 * A page that is read while the guest runs may be a stale copy after COW or
 * swap: that is as good as the page itself, because later writes are logged.
 *
 * References at the source are FOLL_GET: a pin would unshare KSM and COW pages.
 * The sink writes, and pins.
 */
#include <linux/cred.h>
#include <linux/export.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/string.h>
#include <linux/userfaultfd_k.h>

#include "compat.h"
#include "pages.h"
#include "region.h"
#include "session.h"

enum page_class { CLASS_NONE, CLASS_ANON, CLASS_SHARED_FILE, CLASS_OTHER };

static enum page_class classify(const struct vm_area_struct *vma)
{
	if (!vma || !(vma->vm_flags & VM_READ) || (vma->vm_flags & (VM_PFNMAP | VM_IO)) ||
	    userfaultfd_armed((struct vm_area_struct *)vma))
		return CLASS_NONE;
	if (vma_is_anonymous((struct vm_area_struct *)vma) ||
	    is_vm_hugetlb_page((struct vm_area_struct *)vma))
		return CLASS_ANON;
	/* Whatever else can be mapped is not asked: opening a device may do things. */
	if (vma->vm_file && (vma->vm_flags & VM_SHARED) &&
	    S_ISREG(file_inode(vma->vm_file)->i_mode))
		return CLASS_SHARED_FILE;
	return CLASS_OTHER;
}

static struct vm_area_struct *vma_at(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	return vma && vma->vm_start <= addr ? vma : NULL;
}

/*
 * Bytes from @addr to @end that no page-table entry of the higher levels covers.
 * Tables above the PTE level go away under mmap_lock for writing only, and no
 * PTE table is looked into.
 */
static unsigned long anon_hole(struct mm_struct *mm, unsigned long addr, unsigned long end)
{
	unsigned long at = addr;

	mmap_assert_locked(mm);
	while (at < end) {
		pgd_t *pgd = pgd_offset(mm, at);
		unsigned long next = pgd_addr_end(at, end);

		if (!pgd_none(READ_ONCE(*pgd))) {
			p4d_t *p4d = p4d_offset(pgd, at);

			next = p4d_addr_end(at, end);
			if (!p4d_none(READ_ONCE(*p4d))) {
				pud_t *pud = pud_offset(p4d, at);
				pud_t val = READ_ONCE(*pud);

				next = pud_addr_end(at, end);
				if (!pud_none(val)) {
					if (pud_leaf(val) || pud_bad(val))
						break;
					next = pmd_addr_end(at, end);
					if (!pmd_none(READ_ONCE(*pmd_offset(pud, at))))
						break;
				}
			}
		}
		at = next;
	}
	return at - addr;
}

/*
 * Bytes from @pos on that the VMM's file does not hold. Asked of a file of our
 * own, since SEEK_DATA moves a file's position. mmap_lock is not held: a file
 * system may make both wait, for user space too.
 */
static s64 file_hole(struct file *mapped, loff_t pos, u64 len)
{
	struct file *file = dentry_open(&mapped->f_path, O_RDONLY | O_LARGEFILE, mapped->f_cred);
	loff_t data;

	if (IS_ERR(file))
		return 0;
	data = vfs_llseek(file, pos, SEEK_DATA);
	fput(file);
	if (data == -ENXIO)
		return len;	/* no data up to the end of the file */
	if (data < 0)
		return 0;
	return min_t(u64, data - pos, len);
}

s64 ferry_pages_hole(struct ferry_session *s, const struct ferry_region *r, u64 pfn, u64 count)
{
	unsigned long addr = r->addr + pfn * PAGE_SIZE;
	struct mm_struct *mm = s->mm;
	struct vm_area_struct *vma;
	struct file *file;
	unsigned long end;
	loff_t pos;
	s64 ret;

	mmap_read_lock(mm);
	vma = vma_at(mm, addr);
	switch (classify(vma)) {
	case CLASS_NONE:
		ret = -EFAULT;
		break;
	case CLASS_ANON:
		end = min_t(u64, vma->vm_end, addr + count * PAGE_SIZE);
		ret = is_vm_hugetlb_page(vma) ? 0 : anon_hole(mm, addr, end) / PAGE_SIZE;
		break;
	case CLASS_SHARED_FILE:
		end = min_t(u64, vma->vm_end, addr + count * PAGE_SIZE);
		pos = (loff_t)vma->vm_pgoff * PAGE_SIZE + (addr - vma->vm_start);
		file = get_file(vma->vm_file);
		mmap_read_unlock(mm);
		ret = file_hole(file, pos, end - addr) / PAGE_SIZE;
		fput(file);
		return ret;
	default:
		ret = 0;
	}
	mmap_read_unlock(mm);
	return ret;
}

/*
 * One page that the fast path did not find: not there, or not mapped right now.
 * 1: got it, 0: nothing is allocated there, negative: it cannot be had.
 */
static int get_slow(struct ferry_session *s, const struct ferry_region *r, u64 pfn,
		    struct page **page)
{
	unsigned long addr = r->addr + pfn * PAGE_SIZE;
	struct mm_struct *mm = s->mm;
	enum page_class class;
	long ret;

	mmap_read_lock(mm);
	class = classify(vma_at(mm, addr));
	if (class == CLASS_NONE)
		ret = -EFAULT;
	else
		ret = get_user_pages_remote(mm, addr, 1,
					    FOLL_HWPOISON | (class == CLASS_ANON ? FOLL_DUMP : 0),
					    page, NULL);
	mmap_read_unlock(mm);
	if (ret == -EFAULT && class == CLASS_ANON)
		return 0;
	if (ret == 1)
		return 1;
	return ret < 0 ? ret : -EFAULT;
}

int ferry_pages_get(struct ferry_session *s, const struct ferry_region *r, u64 pfn,
		    unsigned int count, struct page **pages)
{
	unsigned int done = 0;
	s64 hole;
	int ret;

	while (done < count) {
		ret = get_user_pages_fast_only(r->addr + (pfn + done) * PAGE_SIZE, count - done, 0,
					       pages + done);
		if (ret > 0)
			done += ret;
		if (done == count)
			break;
		hole = ferry_pages_hole(s, r, pfn + done, count - done);
		if (hole < 0) {
			ret = hole;
			goto err;
		}
		if (hole) {
			memset(pages + done, 0, hole * sizeof(*pages));
			done += hole;
			continue;
		}
		pages[done] = NULL;
		ret = get_slow(s, r, pfn + done, &pages[done]);
		if (ret < 0)
			goto err;
		done++;
	}
	return 0;
err:
	ferry_pages_put(pages, done);
	return ret;
}
EXPORT_SYMBOL_NS_GPL(ferry_pages_get, FERRY_NS);

void ferry_pages_put(struct page **pages, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (pages[i])
			put_page(pages[i]);
}
EXPORT_SYMBOL_NS_GPL(ferry_pages_put, FERRY_NS);

/* A fault there would ask user space: not even tried, it would be refused and logged. */
static bool asks_user_space(struct mm_struct *mm, unsigned long addr, unsigned long end)
{
	struct vm_area_struct *vma;

	for (vma = find_vma(mm, addr); vma && vma->vm_start < end; vma = find_vma(mm, vma->vm_end))
		if (userfaultfd_armed(vma))
			return true;
	return false;
}

int ferry_pages_pin(struct ferry_session *s, const struct ferry_region *r, u64 pfn,
		    unsigned int count, unsigned int flags, struct page **pages)
{
	unsigned long addr = r->addr + pfn * PAGE_SIZE;
	struct mm_struct *mm = s->mm;
	unsigned int done = 0;
	long ret = -EFAULT;
	bool asks;

	mmap_read_lock(mm);
	asks = asks_user_space(mm, addr, addr + count * PAGE_SIZE);
	/* No "locked" argument: a fault that would let go of the lock fails instead. */
	while (!asks && done < count) {
		ret = pin_user_pages_remote(mm, addr + done * PAGE_SIZE, count - done,
					    FOLL_WRITE | flags, pages + done, NULL);
		if (ret <= 0)
			break;
		done += ret;
	}
	mmap_read_unlock(mm);
	if (done == count)
		return 0;
	unpin_user_pages(pages, done);
	return ret < 0 ? ret : -EFAULT;
}
EXPORT_SYMBOL_NS_GPL(ferry_pages_pin, FERRY_NS);

bool ferry_page_is_zero(struct page *page)
{
	const u64 *words;
	bool zero;

	if (is_zero_pfn(page_to_pfn(page)))
		return true;
	words = kmap_local_page(page);

	/* Three looks tell nearly every page that is not zero from one that may be. */
	zero = !words[0] && !words[255] && !words[511] && !memchr_inv(words, 0, PAGE_SIZE);
	kunmap_local(words);
	return zero;
}

static int clear_one(struct ferry_session *s, const struct ferry_region *r, u64 pfn)
{
	struct page *page;
	int ret = ferry_pages_pin(s, r, pfn, 1, 0, &page);

	if (ret)
		return ret;
	clear_highpage(page);
	unpin_user_pages_dirty_lock(&page, 1, true);
	return 0;
}

int ferry_pages_clear(struct ferry_session *s, const struct ferry_region *r, u64 pfn, u64 count,
		      u64 *clear)
{
	u64 end = pfn + count;
	struct page *pages[16];
	unsigned int n, i;
	s64 hole;
	int ret;

	while (pfn < end) {
		/* The peer may name all of a large region many times: a close must not wait for it. */
		if (ferry_session_ended(s))
			return -ESHUTDOWN;
		hole = ferry_pages_hole(s, r, pfn, end - pfn);
		if (hole < 0)
			return hole;
		if (hole) {
			pfn += hole;
			*clear += hole;
			continue;
		}
		n = min_t(u64, end - pfn, ARRAY_SIZE(pages));
		ret = ferry_pages_get(s, r, pfn, n, pages);
		if (ret)
			return ret;
		for (i = 0; i < n && !ret; i++) {
			if (!pages[i] || ferry_page_is_zero(pages[i]))
				(*clear)++;
			else
				ret = clear_one(s, r, pfn + i);
		}
		ferry_pages_put(pages, n);
		if (ret)
			return ret;
		pfn += n;
		cond_resched();
	}
	return 0;
}
