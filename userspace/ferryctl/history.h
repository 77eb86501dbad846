/* SPDX-License-Identifier: GPL-2.0-only */
/* The module's record of a session that has ended, where the session itself is gone. */
#ifndef HISTORY_H
#define HISTORY_H

#include "ctl.h"

/* The session's record: 0, -ENOENT: there is none, or why it cannot be read. */
int history_find(struct ferry_device *dev, uint64_t id, struct kvm_ferry_history *record);
/* As history_find(), of one that is being closed: its record comes with the close. */
int history_await(struct ferry_device *dev, uint64_t id, struct kvm_ferry_history *record);

#endif /* HISTORY_H */
