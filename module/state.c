// SPDX-License-Identifier: GPL-2.0-only
/*
 * The session's state machine. The forward edges are the same for both roles
 * and stand in a table; what the roles do differently is only how a session
 * ends, and of that only one case: a source that has sent COMMIT no longer
 * knows who owns the guest until it is told: COMMIT_ACK, or ABORT.
 */
#include <linux/errno.h>

#include "state.h"

/* The one state that a step of progress leads from, and the one it leads to. */
static const struct {
	u8 from;
	u8 to;
} forward[] = {
	[FERRY_STEP_START] = { KVM_FERRY_STATE_SETUP, KVM_FERRY_STATE_CONNECTING },
	[FERRY_STEP_AGREED] = { KVM_FERRY_STATE_CONNECTING, KVM_FERRY_STATE_LIVE },
	[FERRY_STEP_FINAL] = { KVM_FERRY_STATE_LIVE, KVM_FERRY_STATE_FINAL },
	[FERRY_STEP_PLACED] = { KVM_FERRY_STATE_FINAL, KVM_FERRY_STATE_PAUSED },
	[FERRY_STEP_COMMIT] = { KVM_FERRY_STATE_PAUSED, KVM_FERRY_STATE_COMMITTING },
	[FERRY_STEP_OWNED] = { KVM_FERRY_STATE_COMMITTING, KVM_FERRY_STATE_DONE },
};

static const char * const names[FERRY_NR_STATES] = {
	[KVM_FERRY_STATE_SETUP] = "setup",
	[KVM_FERRY_STATE_CONNECTING] = "connecting",
	[KVM_FERRY_STATE_LIVE] = "live",
	[KVM_FERRY_STATE_FINAL] = "final",
	[KVM_FERRY_STATE_PAUSED] = "paused",
	[KVM_FERRY_STATE_COMMITTING] = "committing",
	[KVM_FERRY_STATE_DONE] = "done",
	[KVM_FERRY_STATE_FAILED] = "failed",
	[KVM_FERRY_STATE_ABORTED] = "aborted",
	[KVM_FERRY_STATE_IN_DOUBT] = "in-doubt",
};

const char *ferry_state_name(u32 state)
{
	return state < FERRY_NR_STATES ? names[state] : "unknown";
}

int ferry_state_next(u32 role, u32 state, enum ferry_step step)
{
	const bool committed = role == KVM_FERRY_SOURCE && state == KVM_FERRY_STATE_COMMITTING;

	switch (step) {
	case FERRY_STEP_START:
	case FERRY_STEP_AGREED:
	case FERRY_STEP_FINAL:
	case FERRY_STEP_PLACED:
	case FERRY_STEP_COMMIT:
	case FERRY_STEP_OWNED:
		if (ferry_state_ended(state))
			return -ESHUTDOWN;
		return state == forward[step].from ? forward[step].to : -EBUSY;
	case FERRY_STEP_ERROR:
		if (ferry_state_ended(state))
			return state;
		return committed ? KVM_FERRY_STATE_IN_DOUBT : KVM_FERRY_STATE_FAILED;
	case FERRY_STEP_REFUSED:
		return ferry_state_ended(state) ? state : KVM_FERRY_STATE_FAILED;
	case FERRY_STEP_ABORT:
		if (ferry_state_ended(state))
			return state;
		return committed ? -EBUSY : KVM_FERRY_STATE_ABORTED;
	case FERRY_STEP_CLOSE:
		if (ferry_state_ended(state))
			return state;
		return committed ? KVM_FERRY_STATE_IN_DOUBT : KVM_FERRY_STATE_ABORTED;
	default:
		return -EBUSY;
	}
}
