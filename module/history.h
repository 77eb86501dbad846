/* SPDX-License-Identifier: GPL-2.0-only */
/* The sessions that have ended, the last few of them. */
#ifndef FERRY_HISTORY_H
#define FERRY_HISTORY_H

struct ferry_reason;
struct ferry_session;
struct kvm_ferry_history;

/* Once, when it has ended for good: what it came to. One that was never started is left out. */
void ferry_history_add(struct ferry_session *s);
/* The oldest record behind @h->after; -ENOENT: there is none. */
int ferry_history_read(struct kvm_ferry_history *h, struct ferry_reason *why);

#endif /* FERRY_HISTORY_H */
