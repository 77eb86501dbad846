/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The session's state machine as a pure function: what happens to whom in which
 * state. session.c holds the state and is the only place that changes it.
 */
#ifndef FERRY_STATE_H
#define FERRY_STATE_H

#include <linux/types.h>
#include <linux/kvm_ferry.h>

/**
 * enum ferry_step - what drives a session on
 * @FERRY_STEP_START: START was called: SETUP to CONNECTING
 * @FERRY_STEP_AGREED: both ends agreed: CONNECTING to LIVE
 * @FERRY_STEP_FINAL: source: FINAL was called; sink: FINAL was heard: LIVE to FINAL
 * @FERRY_STEP_PLACED: the sink holds (source: has acknowledged) every byte,
 *	and verify, if asked for, passed: FINAL to PAUSED
 * @FERRY_STEP_COMMIT: source: about to send COMMIT; sink: told the source
 *	that it is ready: PAUSED to COMMITTING
 * @FERRY_STEP_OWNED: source: COMMIT_ACK was heard; sink: COMMIT was heard:
 *	COMMITTING to DONE
 * @FERRY_STEP_ERROR: a failure of any kind: to FAILED, but at a source that is
 *	COMMITTING to IN_DOUBT
 * @FERRY_STEP_REFUSED: the peer said ABORT: to FAILED, at a source that is
 *	COMMITTING too: a sink that aborts has not taken COMMIT and never
 *	will, so this is an answer and no doubt
 * @FERRY_STEP_ABORT: this side's VMM or operator aborted: to ABORTED, but a
 *	source that is COMMITTING refuses (-EBUSY)
 * @FERRY_STEP_CLOSE: the last fd was closed: as ABORT, but a source that is
 *	COMMITTING goes to IN_DOUBT
 *
 * Terminal states (DONE, FAILED, ABORTED, IN_DOUBT) take ERROR, REFUSED, ABORT
 * and CLOSE without a change; all that is not listed is -EBUSY, in terminal states
 * -ESHUTDOWN.
 */
enum ferry_step {
	FERRY_STEP_START,
	FERRY_STEP_AGREED,
	FERRY_STEP_FINAL,
	FERRY_STEP_PLACED,
	FERRY_STEP_COMMIT,
	FERRY_STEP_OWNED,
	FERRY_STEP_ERROR,
	FERRY_STEP_REFUSED,
	FERRY_STEP_ABORT,
	FERRY_STEP_CLOSE,
	FERRY_NR_STEPS,
};

#define FERRY_NR_STATES (KVM_FERRY_STATE_IN_DOUBT + 1)

/* The next state (which may be the same), or -EBUSY or -ESHUTDOWN. */
int ferry_state_next(u32 role, u32 state, enum ferry_step step);
static inline bool ferry_state_ended(u32 state)
{
	switch (state) {
	case KVM_FERRY_STATE_DONE:
	case KVM_FERRY_STATE_FAILED:
	case KVM_FERRY_STATE_ABORTED:
	case KVM_FERRY_STATE_IN_DOUBT:
		return true;
	default:
		return false;
	}
}
const char *ferry_state_name(u32 state);

#endif /* FERRY_STATE_H */
