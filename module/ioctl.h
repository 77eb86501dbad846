/* SPDX-License-Identifier: GPL-2.0-only */
/* The two kinds of fd and their commands. */
#ifndef FERRY_IOCTL_H
#define FERRY_IOCTL_H

struct file;

#define FERRY_RELEASE "0.1.0"

long ferry_device_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long ferry_session_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

#endif /* FERRY_IOCTL_H */
