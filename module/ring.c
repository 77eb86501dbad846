// SPDX-License-Identifier: GPL-2.0-only
/*
 * Adding rings: proof that a mapping is just one whole dirty ring of a vCPU of
 * the session's VM, then pin and map it.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "ring.h"
#include "session.h"

/*
 * Rings by their first page's number, each once for all sessions: of two that
 * harvest it, each would miss what the other took.
 */
static DEFINE_XARRAY(used);

/*
 * KVM's vCPU begins with the pointer to its VM, in every release so far; no user
 * interface tells which VM a vCPU fd belongs to. Were this ever to change, the
 * comparison would fail: rings would be refused, never taken by mistake.
 */
static bool vcpu_of_vm(struct file *vcpu, struct file *vm)
{
	void *owner;

	if (copy_from_kernel_nofault(&owner, vcpu->private_data, sizeof(owner)))
		return false;
	return owner == vm->private_data;
}

/* The vCPU's file, or what is wrong with the mapping. */
static struct file *vcpu_mapped(struct ferry_session *s, const struct kvm_ferry_ring_add *arg,
				struct ferry_reason *why)
{
	struct vm_area_struct *vma;
	int err = 0;

	mmap_assert_locked(current->mm);
	vma = find_vma(current->mm, arg->addr);
	if (!vma || vma->vm_start > arg->addr || arg->length > vma->vm_end - arg->addr)
		err = ferry_because(why, -EFAULT, "ring %u is not mapped as a whole at 0x%llx", arg->ring_id,
				    arg->addr);
	else if (!vma->vm_file || !ferry_ioctl_is(vma->vm_file, "kvm_vcpu_ioctl"))
		err = ferry_because(why, -ENOTTY, "0x%llx is not a mapping of a vCPU fd", arg->addr);
	else if (!vcpu_of_vm(vma->vm_file, s->vm_file))
		err = ferry_because(why, -EPERM, "ring %u belongs to a vCPU of another VM", arg->ring_id);
	else if (!(vma->vm_flags & VM_SHARED) || !(vma->vm_flags & VM_WRITE))
		err = ferry_because(why, -EFAULT, "ring %u must be mapped shared and writable", arg->ring_id);
	else if (vma->vm_pgoff + ((arg->addr - vma->vm_start) >> PAGE_SHIFT) != KVM_DIRTY_LOG_PAGE_OFFSET)
		err = ferry_because(why, -EINVAL, "ring %u is not mapped from its first page on (page %u of the vCPU fd)",
				    arg->ring_id, KVM_DIRTY_LOG_PAGE_OFFSET);
	return err ? ERR_PTR(err) : vma->vm_file;
}

/* The same with a reference. */
static struct file *find_vcpu(struct ferry_session *s, const struct kvm_ferry_ring_add *arg,
			      struct ferry_reason *why)
{
	struct file *file;

	mmap_read_lock(current->mm);
	file = vcpu_mapped(s, arg, why);
	if (!IS_ERR(file))
		get_file(file);
	mmap_read_unlock(current->mm);
	return file;
}

/*
 * Is there a page of the ring at @page? KVM answers by letting it be mapped and
 * touched, or not.
 */
static bool ring_has_page(struct file *vcpu, unsigned long page)
{
	unsigned long addr;
	struct page *found;
	bool has;

	addr = vm_mmap(vcpu, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		       (KVM_DIRTY_LOG_PAGE_OFFSET + page) << PAGE_SHIFT);
	if (IS_ERR_VALUE(addr))
		return false;
	has = get_user_pages_fast(addr, 1, 0, &found) == 1;
	if (has)
		put_page(found);
	vm_munmap(addr, PAGE_SIZE);
	return has;
}

/* The vCPU's file, with a reference, if the ring has just this size. */
static struct file *check_ring(struct ferry_session *s, const struct kvm_ferry_ring_add *arg,
			       struct ferry_reason *why)
{
	u64 entries = arg->length / sizeof(struct kvm_dirty_gfn);
	struct file *vcpu;
	int ret = 0;

	if (!IS_ALIGNED(arg->addr, PAGE_SIZE))
		return ERR_PTR(ferry_because(why, -EINVAL, "ring %u is not aligned to pages at 0x%llx",
					     arg->ring_id, arg->addr));
	if (!IS_ALIGNED(arg->length, PAGE_SIZE) || !arg->length || !is_power_of_2(entries) ||
	    arg->length > (64 << 20))
		return ERR_PTR(ferry_because(why, -EINVAL, "ring %u: %llu bytes are not the size of a ring: a power of two, whole pages, at most 64 MiB",
					     arg->ring_id, arg->length));
	vcpu = find_vcpu(s, arg, why);
	if (IS_ERR(vcpu))
		return vcpu;
	if (!ring_has_page(vcpu, arg->length / PAGE_SIZE - 1))
		ret = ferry_because(why, -EINVAL, "ring %u is smaller than %llu bytes: pass what KVM_CAP_DIRTY_LOG_RING was enabled with",
				    arg->ring_id, arg->length);
	else if (ring_has_page(vcpu, arg->length / PAGE_SIZE))
		ret = ferry_because(why, -EINVAL, "ring %u is larger than %llu bytes: pass what KVM_CAP_DIRTY_LOG_RING was enabled with",
				    arg->ring_id, arg->length);
	if (!ret)
		return vcpu;
	fput(vcpu);
	return ERR_PTR(ret);
}

void ferry_ring_release(struct ferry_ring *ring)
{
	if (ring->nr_pages)
		xa_cmpxchg(&used, page_to_pfn(ring->pages[0]), ring, NULL, GFP_KERNEL);
}

static void ring_free(struct ferry_ring *ring)
{
	ferry_ring_release(ring);
	if (ring->gfns)
		vunmap(ring->gfns);
	if (ring->pages) {
		unpin_user_pages(ring->pages, ring->nr_pages);
		kvfree(ring->pages);
	}
	kfree(ring);
}

/*
 * Another thread of the VMM may have mapped something else there since it was
 * checked: what is pinned must be the ring, and no other memory for as long as
 * the session lives. So both are done under one hold of mmap_lock.
 */
static int ring_pin(struct ferry_session *s, struct ferry_ring *ring, struct file *vcpu,
		    const struct kvm_ferry_ring_add *arg, struct ferry_reason *why)
{
	unsigned long want = arg->length / PAGE_SIZE;
	struct file *now;
	long got = 0;

	mmap_read_lock(current->mm);
	now = vcpu_mapped(s, arg, why);
	if (now == vcpu)
		got = pin_user_pages_remote(current->mm, arg->addr, want,
					    FOLL_WRITE | FOLL_LONGTERM, ring->pages, NULL);
	mmap_read_unlock(current->mm);
	if (got > 0)
		ring->nr_pages = got;
	if (got == want)
		return 0;
	if (IS_ERR(now))
		return PTR_ERR(now);
	return ferry_because(why, got < 0 ? got : -EFAULT, "ring %u could not be pinned: leave its mapping alone",
			     arg->ring_id);
}

static struct ferry_ring *ring_map(struct ferry_session *s, struct file *vcpu,
				   const struct kvm_ferry_ring_add *arg, struct ferry_reason *why)
{
	struct ferry_ring *ring = kzalloc(sizeof(*ring), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!ring)
		return ERR_PTR(-ENOMEM);
	ring->id = arg->ring_id;
	ring->entries = arg->length / sizeof(struct kvm_dirty_gfn);
	ring->fetch = arg->fetch_index;
	ferry_vcpu_init(&ring->vcpu);
	ret = -ENOMEM;
	ring->pages = kvcalloc(arg->length / PAGE_SIZE, sizeof(*ring->pages), GFP_KERNEL_ACCOUNT);
	if (!ring->pages)
		goto err;
	ret = ring_pin(s, ring, vcpu, arg, why);
	if (ret)
		goto err;
	ret = -ENOMEM;
	ring->gfns = vmap(ring->pages, ring->nr_pages, VM_MAP, PAGE_KERNEL);
	if (!ring->gfns)
		goto err;
	return ring;
err:
	ring_free(ring);
	return ERR_PTR(ret);
}

static int ring_insert(struct ferry_session *s, struct ferry_ring *ring, struct ferry_reason *why)
{
	struct ferry_dirty *d = &s->dirty;
	struct ferry_ring *other;
	unsigned long id;
	int ret;

	mutex_lock(&d->map_lock);
	ret = -ESHUTDOWN;
	if (ferry_session_ended(s)) {
		ferry_because(why, ret, "the session has ended");
		goto out;
	}
	ret = -ENOMEM;
	if (!d->pages)
		d->pages = kvmalloc_array(FERRY_PORTION_MAX, sizeof(*d->pages), GFP_KERNEL_ACCOUNT);
	if (!d->pages)
		goto out;
	ret = -ENOSPC;
	if (d->nr_rings == KVM_FERRY_MAX_RINGS) {
		ferry_because(why, ret, "a session has at most %u rings", KVM_FERRY_MAX_RINGS);
		goto out;
	}
	ret = -EEXIST;
	xa_for_each(&d->rings, id, other) {
		if (other->id == ring->id || other->pages[0] == ring->pages[0]) {
			ferry_because(why, ret, "ring %u was added already, as ring %u", ring->id, other->id);
			goto out;
		}
	}
	ret = xa_insert(&used, page_to_pfn(ring->pages[0]), ring, GFP_KERNEL_ACCOUNT);
	if (ret == -EBUSY)
		ret = ferry_because(why, -EEXIST, "ring %u was added to another session, which has not ended",
				    ring->id);
	if (ret)
		goto out;
	ret = xa_err(xa_store(&d->rings, ring->id, ring, GFP_KERNEL_ACCOUNT));
	if (ret)
		goto out;
	WRITE_ONCE(d->nr_rings, d->nr_rings + 1);
	/* Set before the ring is first harvested: the harvester takes map_lock. */
	WRITE_ONCE(d->fresh, true);
out:
	mutex_unlock(&d->map_lock);
	return ret;
}

int ferry_ring_add(struct ferry_session *s, struct kvm_ferry_ring_add *arg,
		   struct ferry_reason *why)
{
	struct ferry_ring *ring;
	struct file *vcpu;
	int ret;

	if (s->dirty_source != KVM_FERRY_DIRTY_RING)
		return ferry_because(why, -EOPNOTSUPP, "the session's dirty source is not the ring");
	vcpu = check_ring(s, arg, why);
	if (IS_ERR(vcpu))
		return PTR_ERR(vcpu);
	ring = ring_map(s, vcpu, arg, why);
	fput(vcpu);
	if (IS_ERR(ring))
		return PTR_ERR(ring);
	ret = ring_insert(s, ring, why);
	if (ret)
		ring_free(ring);
	return ret;
}

void ferry_rings_free(struct ferry_session *s)
{
	struct ferry_ring *ring;
	unsigned long id;

	/* An operator may be looking at them. */
	mutex_lock(&s->dirty.map_lock);
	xa_for_each(&s->dirty.rings, id, ring)
		ring_free(ring);
	xa_destroy(&s->dirty.rings);
	mutex_unlock(&s->dirty.map_lock);
	kvfree(s->dirty.pages);
}
