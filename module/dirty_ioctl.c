// SPDX-License-Identifier: GPL-2.0-only
/* What the VMM tells about dirty pages, asks about them, and waits for. */
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "bits.h"
#include "session.h"

/* Of a bitmap, between looks whether the caller is being killed. */
#define CHECK_PAGES (1U << 20)

static bool may_report(struct ferry_session *s)
{
	u32 state = ferry_session_state(s);

	return state == KVM_FERRY_STATE_CONNECTING || state == KVM_FERRY_STATE_LIVE;
}

/*
 * Asked before and after: a report that came while FINAL began may have missed
 * the last pass, and the VMM must hear so.
 */
static int check_report(struct ferry_session *s, struct ferry_reason *why)
{
	if (may_report(s))
		return 0;
	if (ferry_session_ended(s))
		return ferry_because(why, -ESHUTDOWN, "the session has ended");
	return ferry_because(why, -EBUSY, "dirty pages can be reported and fetched after START and before FINAL");
}

/* Who asks for much must not become unkillable. Nobody is left to hear of the rest. */
static int killed(struct ferry_reason *why)
{
	cond_resched();
	return fatal_signal_pending(current) ? ferry_because(why, -EINTR, "a signal came") : 0;
}

int ferry_report_dirty(struct ferry_session *s, struct kvm_ferry_report_dirty *arg,
		       struct ferry_reason *why)
{
	struct kvm_ferry_range __user *from = u64_to_user_ptr(arg->ranges);
	struct kvm_ferry_range *ranges;
	struct ferry_region *r;
	u64 first, count;
	u32 i;
	int ret;

	ret = check_report(s, why);
	if (ret)
		return ret;
	if (!arg->count || arg->count > KVM_FERRY_MAX_RANGES)
		return ferry_because(why, -EINVAL, "count is %u: report 1 to %u ranges at once", arg->count,
				     KVM_FERRY_MAX_RANGES);
	ranges = vmemdup_user(from, array_size(arg->count, sizeof(*ranges)));
	if (IS_ERR(ranges))
		return ferry_because(why, PTR_ERR(ranges), "the array of ranges cannot be read");
	for (i = 0; i < arg->count && !ret; i++) {
		if (ranges[i].__reserved)
			ret = ferry_because(why, -EINVAL, "the reserved field of range %u must be zero", i);
		else
			ret = ferry_region_range(s, ranges[i].region_id, ranges[i].offset,
						 ranges[i].length, &r, &first, &count, why);
	}
	for (i = 0; i < arg->count && !ret; i++) {
		ret = killed(why);
		if (!ret)
			ret = ferry_region_range(s, ranges[i].region_id, ranges[i].offset,
						 ranges[i].length, &r, &first, &count, why);
		if (!ret)
			ferry_dirty_publish(s, r, first, count);
	}
	kvfree(ranges);
	wake_up_all(&s->wait);
	return ret ? ret : check_report(s, why);
}

static int bitmap_range(struct ferry_session *s, const struct kvm_ferry_bitmap *arg,
			struct ferry_region **r, u64 *first, u64 *count, struct ferry_reason *why)
{
	int ret = check_report(s, why);

	if (ret)
		return ret;
	if (arg->offset % (BITS_PER_LONG * PAGE_SIZE))
		return ferry_because(why, -EINVAL, "offset 0x%llx is not a multiple of 64 pages", arg->offset);
	return ferry_region_range(s, arg->region_id, arg->offset, arg->length, r, first, count, why);
}

static u64 word_mask(u64 bits_left)
{
	return bits_left >= 64 ? ~0ULL : (1ULL << bits_left) - 1;
}

/* All or nothing would take a copy of the whole map; a map read half is half reported. */
int ferry_report_bitmap(struct ferry_session *s, struct kvm_ferry_bitmap *arg,
			struct ferry_reason *why)
{
	u64 __user *from = u64_to_user_ptr(arg->bitmap);
	u64 first, count, i, total = 0;
	struct ferry_region *r;
	int ret;

	ret = bitmap_range(s, arg, &r, &first, &count, why);
	if (ret)
		return ret;
	for (i = 0; i < count; i += 64) {
		u64 word;

		ret = i % CHECK_PAGES ? 0 : killed(why);
		if (!ret && get_user(word, from + i / 64))
			ret = ferry_because(why, -EFAULT, "the bitmap cannot be read");
		if (ret)
			break;
		word &= word_mask(count - i);
		total += hweight64(word);
		while (word) {
			u32 at = __ffs64(word);
			u32 run = word >> at == ~0ULL ? 64 : __ffs64(~(word >> at));

			ferry_dirty_publish(s, r, first + i + at, run);
			if (at + run >= 64)
				break;
			word &= ~0ULL << (at + run);
		}
	}
	arg->out_pages = total;
	wake_up_all(&s->wait);
	return ret ? ret : check_report(s, why);
}

/*
 * After a harvest, pages of the range that are staged are missing in the log, and
 * so will be what is written to them until they are write-protected again. If
 * there is none, the others of the guest can be spared that.
 */
static int sync_range(struct ferry_session *s, const struct ferry_region *r, u64 first, u64 count,
		      struct ferry_reason *why)
{
	int ret = ferry_dirty_sync(s, FERRY_REARM_NOTHING, NULL, why);

	if (ret || find_next_bit(r->staged, first + count, first) >= first + count)
		return ret;
	return ferry_dirty_sync(s, FERRY_REARM_ALL, NULL, why);
}

/* A word that cannot be written goes back: nothing is forgotten untold. */
int ferry_fetch_dirty(struct ferry_session *s, struct kvm_ferry_bitmap *arg,
		      struct ferry_reason *why)
{
	u64 __user *to = u64_to_user_ptr(arg->bitmap);
	u64 first, count, i, total = 0;
	struct ferry_region *r;
	int ret;

	ret = bitmap_range(s, arg, &r, &first, &count, why);
	if (!ret && (arg->flags & KVM_FERRY_FETCH_SYNC))
		ret = sync_range(s, r, first, count, why);
	if (ret)
		return ret;
	/* Who published what is staged no more wrote the log first: publish_block(). */
	smp_rmb();
	for (i = 0; i < count; i += 64) {
		u32 n = min_t(u64, 64, count - i);
		u64 word;

		ret = i % CHECK_PAGES ? 0 : killed(why);
		if (ret)
			break;
		word = ferry_bits_take(r->log, first + i, n);
		if (put_user(word, to + i / 64)) {
			atomic_long_or(word, (atomic_long_t *)&r->log[(first + i) / 64]);
			ret = ferry_because(why, -EFAULT, "the bitmap cannot be written");
			break;
		}
		total += hweight64(word);
	}
	arg->out_pages = total;
	return ret;
}

static struct ferry_ring *find_ring(struct ferry_session *s, u32 id, struct ferry_reason *why)
{
	struct ferry_ring *ring = xa_load(&s->dirty.rings, id);

	if (!ring)
		ferry_because(why, -ENOENT, "there is no ring %u", id);
	return ring;
}

int ferry_ring_wait(struct ferry_session *s, struct kvm_ferry_ring_wait *arg,
		    struct ferry_reason *why)
{
	struct ferry_ring *ring = find_ring(s, arg->ring_id, why);

	if (!ring)
		return -ENOENT;
	if (ferry_session_ended(s))
		return ferry_because(why, -ESHUTDOWN, "the session has ended");
	return ferry_vcpu_wait(s, ring, why);
}

int ferry_ring_index(struct ferry_session *s, struct kvm_ferry_ring_index *arg,
		     struct ferry_reason *why)
{
	struct ferry_ring *ring = find_ring(s, arg->ring_id, why);

	if (!ring)
		return -ENOENT;
	if (!ferry_session_ended(s))
		return ferry_because(why, -EBUSY, "the ring belongs to the session until it has ended: abort it first");
	if (wait_for_completion_interruptible(&s->drained))
		return ferry_because(why, -EINTR, "a signal came");
	arg->out_fetch_index = ring->fetch;
	return 0;
}
