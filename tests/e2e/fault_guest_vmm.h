/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A VMM with a guest, as a process of its own: it does each step of a migration when
 * it is told to, and when the session has ended, what the rules of the user
 * ABI say.
 */
#ifndef FAULT_GUEST_VMM_H
#define FAULT_GUEST_VMM_H

#include "fault_vmm.h"

/* Orders beside VMM_ABORT and VMM_QUIT. All are answered, FINAL and HAND_OVER before they are done. */
enum guest_vmm_order {
	VMM_REPORT = 'r',	/* just answer */
	VMM_START = 's',
	VMM_SLOW = 'l',		/* source: a bandwidth limit, so that a pass lasts */
	VMM_FAST = 'L',		/* source: no limit */
	VMM_FINAL = 'f',	/* source: pause the guest, save it, FINAL */
	VMM_FINAL_LASTS = 'F',	/* source: the same, with all cold pages to send and a limit */
	VMM_SEND = 'd',		/* source: the state */
	VMM_RECV = 'v',		/* sink: the state, into its vCPU */
	VMM_HAND_OVER = 'h',	/* COMMIT; a sink that is told to run the guest does */
	VMM_CLOSE = 'x',	/* the session's fd, while calls on it wait */
	VMM_SETTLE = 'e',	/* wait for the end, and do what it asks for */
	VMM_RESUME = 'u',	/* source in doubt: a person says that the sink does not run the guest */
	VMM_CHECK = 'k',	/* the guest goes on for some rounds, and is well */
	VMM_PAGE_OUT = 'p',	/* swap out half of the guest, or as much of it as there is */
};

/**
 * struct guest_plan - how both VMMs begin
 * @timeout_ms: peer timeout
 * @verify: digest both memories before the state is sent
 * @cgroup: join /sys/fs/cgroup/ferry-source or ferry-sink first
 * @unkillable: the sink is, for the out-of-memory killer
 */
struct guest_plan {
	unsigned int timeout_ms;
	bool verify;
	bool cgroup;
	bool unkillable;
};

/* For vmms_spawn(); its arg is a struct guest_plan. */
void guest_vmm_live(const struct vmm_seat *seat);

#endif
