/* SPDX-License-Identifier: GPL-2.0-only */
/* An errno and the sentence that goes with it. */
#ifndef FERRY_REASON_H
#define FERRY_REASON_H

#include <linux/kvm_ferry.h>
#include <linux/spinlock.h>
#include <linux/types.h>

/**
 * struct ferry_reason - why something failed
 * @error: negative errno, 0: nothing failed
 * @text: a sentence, NUL-terminated
 */
struct ferry_reason {
	int error;
	char text[KVM_FERRY_REASON_LEN];
};

/* Notes error (negative) and sentence; returns @error, so it can end a function. */
__printf(3, 4)
int ferry_because(struct ferry_reason *why, int error, const char *fmt, ...);
__printf(3, 0)
void ferry_reason_vset(struct ferry_reason *why, int error, const char *fmt, va_list args);

/* Appends what is to be done, in a clause of its own. It is what stays if both are too long. */
void ferry_reason_append(struct ferry_reason *why, const char *what);

/* @text of a size in bytes for people, as "512 MiB"; @buf of at least 24 bytes. */
const char *ferry_size_text(char *buf, size_t room, u64 bytes);

struct ferry_session;

/**
 * struct ferry_file - what an open fd of ours remembers
 * @lock: protects @last
 * @last: why the last failing command on this fd failed
 * @session: NULL on /dev/kvm_ferry
 */
struct ferry_file {
	spinlock_t lock;
	struct ferry_reason last;
	struct ferry_session *session;
};

#endif /* FERRY_REASON_H */
