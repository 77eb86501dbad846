/* SPDX-License-Identifier: GPL-2.0-only */
/* The VMM of the fuzzed session. */
#ifndef FERRY_PEER_VMM_H
#define FERRY_PEER_VMM_H

#include "kernel/fuzz.h"
#include "reason.h"

enum call { CALL_FINAL, CALL_SEND, CALL_RECV, CALL_COMMIT, CALL_ABORT, CALL_REPORT, CALL_LIMIT,
	    NR_CALLS };

/**
 * struct vmm_setup - what session there is
 * @source: the module's role
 * @verify: source: asks for it
 * @two_regions: not one
 * @channels: data channels
 * @timeout_ms: the peer timeout
 * @ret: out: of the last call of the setup
 * @why: out: its sentence
 */
struct vmm_setup {
	bool source, verify, two_regions;
	u32 channels, timeout_ms;
	int ret;
	struct ferry_reason why;
};

extern struct vmm_setup setup;
extern bool asked_commit;	/* the VMM has called COMMIT */

/* Makes the session and starts it; it may fail half way, or altogether. */
void vmm_set_up(void);
/* A thread of the VMM calls, if one is free. */
void vmm_call(enum call what, u32 arg);
void vmm_signal(void);		/* to all threads that are in a call */
void vmm_reap(void);		/* looks at the calls that have ended */
/* In the order of a kill: the calls end, then the file is released. */
void vmm_release(void);

#endif /* FERRY_PEER_VMM_H */
