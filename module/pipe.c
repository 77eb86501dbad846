// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMM state in transit: at most FERRY_PIPE_SIZE bytes of it are held here, the
 * rest waits in the VMM (source) or in the network (sink).
 */
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "pipe.h"

void ferry_pipe_init(struct ferry_pipe *p)
{
	mutex_init(&p->lock);
}

void ferry_pipe_free(struct ferry_pipe *p)
{
	vfree(p->buf);
	p->buf = NULL;
}

static int pipe_alloc_locked(struct ferry_pipe *p)
{
	lockdep_assert_held(&p->lock);
	if (!p->buf)
		p->buf = __vmalloc(FERRY_PIPE_SIZE, GFP_KERNEL_ACCOUNT);
	return p->buf ? 0 : -ENOMEM;
}

/*
 * Both are asked in wait conditions, so they take no lock: a stale answer is
 * followed by the wake-up of whoever made it stale.
 */
u32 ferry_pipe_room(struct ferry_pipe *p)
{
	return FERRY_PIPE_SIZE - (u32)(READ_ONCE(p->head) - READ_ONCE(p->tail));
}

bool ferry_pipe_readable(struct ferry_pipe *p)
{
	return READ_ONCE(p->head) != READ_ONCE(p->tail) || READ_ONCE(p->last);
}

/* The longest piece at @pos that does not wrap. */
static u32 piece(u64 pos, u64 len)
{
	u32 at = pos & (FERRY_PIPE_SIZE - 1);

	return min_t(u64, len, FERRY_PIPE_SIZE - at);
}

static long pipe_write(struct ferry_pipe *p, const void *from, const void __user *ufrom, u64 len)
{
	long done = 0, ret;

	mutex_lock(&p->lock);
	ret = pipe_alloc_locked(p);
	if (ret)
		goto out;
	len = min_t(u64, len, FERRY_PIPE_SIZE - (p->head - p->tail));
	while (done < len) {
		u32 n = piece(p->head, len - done);
		u8 *to = p->buf + (p->head & (FERRY_PIPE_SIZE - 1));

		if (from) {
			memcpy(to, from + done, n);
		} else if (copy_from_user(to, ufrom + done, n)) {
			ret = -EFAULT;
			goto out;
		}
		WRITE_ONCE(p->head, p->head + n);
		done += n;
	}
	ret = done;
out:
	mutex_unlock(&p->lock);
	return ret < 0 && done ? done : ret;
}

static long pipe_read(struct ferry_pipe *p, void *to, void __user *uto, u64 len, bool *last)
{
	long done = 0, ret = 0;

	mutex_lock(&p->lock);
	len = min_t(u64, len, p->head - p->tail);
	while (done < len) {
		u32 n = piece(p->tail, len - done);
		u8 *from = p->buf + (p->tail & (FERRY_PIPE_SIZE - 1));

		if (to) {
			memcpy(to + done, from, n);
		} else if (copy_to_user(uto + done, from, n)) {
			ret = -EFAULT;
			break;
		}
		WRITE_ONCE(p->tail, p->tail + n);
		done += n;
	}
	*last = p->last && p->head == p->tail;
	mutex_unlock(&p->lock);
	return done ? done : ret;
}

long ferry_pipe_write_user(struct ferry_pipe *p, const void __user *from, u64 len)
{
	return pipe_write(p, NULL, from, len);
}

long ferry_pipe_write(struct ferry_pipe *p, const void *from, u32 len)
{
	return pipe_write(p, from, NULL, len);
}

long ferry_pipe_read_user(struct ferry_pipe *p, void __user *to, u64 len, bool *last)
{
	return pipe_read(p, NULL, to, len, last);
}

long ferry_pipe_read(struct ferry_pipe *p, void *to, u32 len, bool *last)
{
	return pipe_read(p, to, NULL, len, last);
}

void ferry_pipe_finish(struct ferry_pipe *p)
{
	mutex_lock(&p->lock);
	WRITE_ONCE(p->last, true);
	mutex_unlock(&p->lock);
}
