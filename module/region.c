// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regions. What is checked when one is added can change later, since the memory
 * is the VMM's; everything that touches pages looks again. The checks here
 * are for telling a person early what cannot work.
 */
#include <linux/bitmap.h>
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/userfaultfd_k.h>

#include "estimate.h"
#include "session.h"

/* Of a guest_memfd inode where it can be mapped at all (6.18 and later). */
#define FERRY_GUEST_MEMFD_MAGIC 0x474d454d

int ferry_name_check(const u8 *name, bool may_be_empty, const char *what,
		     struct ferry_reason *why)
{
	int i;

	for (i = 0; i < KVM_FERRY_NAME_LEN && name[i]; i++)
		if (!isascii(name[i]) || !isprint(name[i]))
			return ferry_because(why, -EINVAL, "%s has a byte that is not printable ASCII", what);
	if (i == KVM_FERRY_NAME_LEN)
		return ferry_because(why, -EINVAL, "%s does not end in the 32 bytes that it may have", what);
	if (!i && !may_be_empty)
		return ferry_because(why, -EINVAL, "%s is empty", what);
	if (memchr_inv(name + i, 0, KVM_FERRY_NAME_LEN - i))
		return ferry_because(why, -EINVAL, "%s has bytes behind its end that are not zero", what);
	return 0;
}

static int check_vma(struct ferry_session *s, struct vm_area_struct *vma, const char *name,
		     struct ferry_reason *why)
{
	/* A sink looks whether a page is clear before it clears it. */
	unsigned long want = ferry_session_is_source(s) ? VM_READ : VM_READ | VM_WRITE;
	unsigned long magic = vma->vm_file ? file_inode(vma->vm_file)->i_sb->s_magic : 0;

	if ((vma->vm_flags & want) != want)
		return ferry_because(why, -EFAULT, "region '%s' is not %s at 0x%lx: change its protection",
				     name, want == VM_READ ? "readable" : "readable and writable",
				     vma->vm_start);
	if (vma->vm_flags & (VM_PFNMAP | VM_IO))
		return ferry_because(why, -EOPNOTSUPP, "region '%s' maps a device at 0x%lx: leave device memory out",
				     name, vma->vm_start);
	if (magic == SECRETMEM_MAGIC)
		return ferry_because(why, -EOPNOTSUPP, "region '%s' is memfd_secret() memory, which the kernel may not read",
				     name);
	if (magic == FERRY_GUEST_MEMFD_MAGIC)
		return ferry_because(why, -EOPNOTSUPP, "region '%s' is guest_memfd memory, whose changes KVM does not log",
				     name);
	if (userfaultfd_armed(vma))
		return ferry_because(why, -EOPNOTSUPP, "region '%s' is registered with userfaultfd: unregister it first",
				     name);
	return 0;
}

static int check_mapped(struct ferry_session *s, const struct kvm_ferry_region_add *arg,
			struct ferry_reason *why)
{
	unsigned long at = arg->addr, end = arg->addr + arg->length;
	struct vm_area_struct *vma;
	int ret = 0;

	mmap_read_lock(current->mm);
	while (at < end && !ret) {
		vma = find_vma(current->mm, at);
		if (!vma || vma->vm_start > at) {
			ret = ferry_because(why, -EFAULT, "region '%s' is not mapped at 0x%lx: map all of it first",
					    arg->name, at);
			break;
		}
		ret = check_vma(s, vma, arg->name, why);
		at = vma->vm_end;
	}
	mmap_read_unlock(current->mm);
	return ret;
}

static int check_region(struct ferry_session *s, const struct kvm_ferry_region_add *arg,
			struct ferry_reason *why)
{
	u64 end;
	u32 i;
	int ret;

	ret = ferry_name_check(arg->name, false, "the region's name", why);
	if (ret)
		return ret;
	if (arg->region_id > U16_MAX)
		return ferry_because(why, -EINVAL, "region id %u is above 65535", arg->region_id);
	if (!arg->length)
		return ferry_because(why, -EINVAL, "region '%s' is empty", arg->name);
	if (!IS_ALIGNED(arg->addr, PAGE_SIZE) || !IS_ALIGNED(arg->length, PAGE_SIZE))
		return ferry_because(why, -EINVAL, "region '%s' is not aligned to pages of 4096 bytes",
				     arg->name);
	if (check_add_overflow(arg->addr, arg->length, &end) || end > TASK_SIZE_MAX)
		return ferry_because(why, -EINVAL, "region '%s' reaches beyond user space", arg->name);
	for (i = 0; i < s->nr_regions; i++) {
		const struct ferry_region *r = s->regions[i];

		if (r->id == arg->region_id)
			return ferry_because(why, -EEXIST, "region id %u is taken by '%s'", r->id, r->name);
		if (!strcmp(r->name, arg->name))
			return ferry_because(why, -EEXIST, "there is a region '%s' already", r->name);
		if (arg->addr < r->addr + r->nr_pages * PAGE_SIZE && r->addr < end)
			return ferry_because(why, -EEXIST, "region '%s' overlaps region '%s'", arg->name,
					     r->name);
	}
	return check_mapped(s, arg, why);
}

static void region_free(struct ferry_region *r)
{
	kvfree(r->staged);
	kvfree(r->staged_blocks);
	kvfree(r->published);
	kvfree(r->log);
	kvfree(r->seen);
	kfree(r);
}

/*
 * The caller chooses the size: a region of 64 TiB that nothing is allocated in
 * is easily mapped. That there is no memory for it is the caller's error to
 * hear of, not the kernel log's.
 */
static bool bits_alloc(unsigned long **map, u64 bits)
{
	*map = kvcalloc(BITS_TO_LONGS(bits), sizeof(long), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	return *map;
}

static struct ferry_region *region_alloc(struct ferry_session *s,
					 const struct kvm_ferry_region_add *arg)
{
	u64 nr_groups = DIV_ROUND_UP_ULL(arg->length / PAGE_SIZE, FERRY_SEEN_PAGES);
	struct ferry_region *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return NULL;
	r->id = arg->region_id;
	r->addr = arg->addr;
	r->nr_pages = arg->length / PAGE_SIZE;
	r->nr_blocks = DIV_ROUND_UP_ULL(r->nr_pages, FERRY_BLOCK_PAGES);
	memcpy(r->name, arg->name, sizeof(r->name));
	ferry_rate_init(&r->dirty_rate);
	if (!ferry_session_is_source(s))
		return r;
	if (bits_alloc(&r->staged, r->nr_pages) && bits_alloc(&r->staged_blocks, r->nr_blocks) &&
	    bits_alloc(&r->published, r->nr_pages) && bits_alloc(&r->log, r->nr_pages) &&
	    bits_alloc(&r->seen, nr_groups)) {
		s->stats.bookkeeping += sizeof(long) * (3 * BITS_TO_LONGS(r->nr_pages) +
							BITS_TO_LONGS(r->nr_blocks) +
							BITS_TO_LONGS(nr_groups));
		return r;
	}
	region_free(r);
	return NULL;
}

int ferry_region_add(struct ferry_session *s, struct kvm_ferry_region_add *arg,
		     struct ferry_reason *why)
{
	struct ferry_region *r;
	int ret;

	mutex_lock(&s->setup_lock);
	ret = -ESHUTDOWN;
	if (ferry_session_ended(s)) {
		ferry_because(why, ret, "the session has ended");
		goto out;
	}
	ret = -EBUSY;
	if (ferry_session_state(s) != KVM_FERRY_STATE_SETUP) {
		ferry_because(why, ret, "regions can be added before START only");
		goto out;
	}
	ret = -ENOSPC;
	if (s->nr_regions == KVM_FERRY_MAX_REGIONS) {
		ferry_because(why, ret, "a session has at most %u regions", KVM_FERRY_MAX_REGIONS);
		goto out;
	}
	ret = check_region(s, arg, why);
	if (ret)
		goto out;
	ret = -ENOMEM;
	r = region_alloc(s, arg);
	if (!r) {
		ferry_because(why, ret, "no memory for the bitmaps of region '%s'", arg->name);
		goto out;
	}
	r->index = s->nr_regions;
	s->regions[s->nr_regions++] = r;
	s->stats.ram_total += r->nr_pages * PAGE_SIZE;
	ret = 0;
out:
	mutex_unlock(&s->setup_lock);
	return ret;
}

struct ferry_region *ferry_region_find(struct ferry_session *s, u32 id)
{
	u32 i;

	for (i = 0; i < s->nr_regions; i++)
		if (s->regions[i]->id == id)
			return s->regions[i];
	return NULL;
}

int ferry_region_range(struct ferry_session *s, u32 id, u64 offset, u64 length,
		       struct ferry_region **rp, u64 *first, u64 *count,
		       struct ferry_reason *why)
{
	struct ferry_region *r = ferry_region_find(s, id);
	u64 bytes;

	if (!r)
		return ferry_because(why, -ENOENT, "there is no region %u", id);
	bytes = r->nr_pages * PAGE_SIZE;
	if (!length || !IS_ALIGNED(offset, PAGE_SIZE) || !IS_ALIGNED(length, PAGE_SIZE))
		return ferry_because(why, -EINVAL, "the range of region '%s' is empty or not aligned to pages",
				     r->name);
	if (offset >= bytes || length > bytes - offset)
		return ferry_because(why, -EINVAL, "the range ends at 0x%llx, region '%s' ends at 0x%llx",
				     offset + length, r->name, bytes);
	*rp = r;
	*first = offset / PAGE_SIZE;
	*count = length / PAGE_SIZE;
	return 0;
}

void ferry_regions_free(struct ferry_session *s)
{
	/* An operator may be reading their figures. */
	mutex_lock(&s->setup_lock);
	while (s->nr_regions)
		region_free(s->regions[--s->nr_regions]);
	mutex_unlock(&s->setup_lock);
}
