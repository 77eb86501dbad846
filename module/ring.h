/* SPDX-License-Identifier: GPL-2.0-only */
/* What dirty_ring.c and ring.c share. */
#ifndef FERRY_RING_H
#define FERRY_RING_H

#include <linux/types.h>

struct ferry_ring;
struct file;

/* Its session has ended: another session may have the ring. */
void ferry_ring_release(struct ferry_ring *ring);
/* Whether the file's ioctl is just this function of kvm.ko. */
bool ferry_ioctl_is(const struct file *file, const char *function);

#endif /* FERRY_RING_H */
