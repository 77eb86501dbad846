/* SPDX-License-Identifier: GPL-2.0-only */
/* A bounded pipe between a VMM's ioctl and the control channel. */
#ifndef FERRY_PIPE_H
#define FERRY_PIPE_H

#include <linux/mutex.h>
#include <linux/types.h>

#define FERRY_PIPE_SIZE (256 * 1024)	/* a power of two */

/**
 * struct ferry_pipe - one writer, one reader, bytes in order
 * @lock: protects: everything here
 * @buf: FERRY_PIPE_SIZE bytes, allocated by the first write
 * @head: bytes ever written
 * @tail: bytes ever read
 * @last: no more will be written
 *
 * Whoever waits for room or data waits on the session's wait queue.
 */
struct ferry_pipe {
	struct mutex lock;
	u8 *buf;
	u64 head;
	u64 tail;
	bool last;
};

void ferry_pipe_init(struct ferry_pipe *p);
void ferry_pipe_free(struct ferry_pipe *p);
u32 ferry_pipe_room(struct ferry_pipe *p);
bool ferry_pipe_readable(struct ferry_pipe *p);	/* data, or the end */
/* Both return how many bytes they moved (0: no room, nothing there), or -errno. */
long ferry_pipe_write_user(struct ferry_pipe *p, const void __user *from, u64 len);
long ferry_pipe_read_user(struct ferry_pipe *p, void __user *to, u64 len, bool *last);
long ferry_pipe_write(struct ferry_pipe *p, const void *from, u32 len);
long ferry_pipe_read(struct ferry_pipe *p, void *to, u32 len, bool *last);
void ferry_pipe_finish(struct ferry_pipe *p);

#endif /* FERRY_PIPE_H */
