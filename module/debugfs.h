/* SPDX-License-Identifier: GPL-2.0-only */
/* Files for kernel people: /sys/kernel/debug/kvm_ferry, where the kernel has debugfs. */
#ifndef FERRY_DEBUGFS_H
#define FERRY_DEBUGFS_H

struct ferry_session;

#ifdef CONFIG_DEBUG_FS
void ferry_debugfs_init(void);
void ferry_debugfs_exit(void);
/* A session's files, which readers may open from now on. */
void ferry_debugfs_add(struct ferry_session *s);
/*
 * And no more: waits for whoever is reading. Readers take setup_lock, map_lock and
 * state_lock, so none of them may be held. What is still open reads as EIO.
 */
void ferry_debugfs_remove(struct ferry_session *s);
#else
static inline void ferry_debugfs_init(void)
{
}

static inline void ferry_debugfs_exit(void)
{
}

static inline void ferry_debugfs_add(struct ferry_session *s)
{
}

static inline void ferry_debugfs_remove(struct ferry_session *s)
{
}
#endif

#endif /* FERRY_DEBUGFS_H */
