/* SPDX-License-Identifier: GPL-2.0-only */
/* Sessions of the fake module that go on by themselves. */
#ifndef FAKE_MOVING_H
#define FAKE_MOVING_H

#include <linux/kvm_ferry.h>

/* Fills in the figures of @st->session_id, as KVM_FERRY_STATS; -ENOENT: none of these. */
int moving_stats(struct kvm_ferry_stats *st);
/* Where that session's limits are not the usual ones. */
void moving_limits(__u64 id, struct kvm_ferry_limits *limits);
/* Their ids, at most @room of them; returns how many there are. */
unsigned int moving_ids(__u64 *ids, unsigned int room);

#endif /* FAKE_MOVING_H */
