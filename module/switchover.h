/* SPDX-License-Identifier: GPL-2.0-only */
/* The switchover: final pass, verify, VMM state, commit. */
#ifndef FERRY_SWITCHOVER_H
#define FERRY_SWITCHOVER_H

struct ferry_reason;
struct ferry_session;
struct kvm_ferry_state_io;

/* ioctls, in the VMM's thread. */
int ferry_final(struct ferry_session *s, struct ferry_reason *why);
int ferry_state_send(struct ferry_session *s, struct kvm_ferry_state_io *io,
		     struct ferry_reason *why);
int ferry_state_recv(struct ferry_session *s, struct kvm_ferry_state_io *io,
		     struct ferry_reason *why);
int ferry_commit(struct ferry_session *s, struct ferry_reason *why);

struct work_struct;
void ferry_ready_work(struct work_struct *work);

/* source, main task: from FINAL to the end. */
void ferry_switchover(struct ferry_session *s);

#endif /* FERRY_SWITCHOVER_H */
