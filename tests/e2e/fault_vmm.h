/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VMMs that are processes of their own: each goes to a state of a migration,
 * stays there, and does what it is told. For tests that take one of them away.
 */
#ifndef FAULT_VMM_H
#define FAULT_VMM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pair.h"

#define VMM_BYTES	(16 * MIB)

/* What a VMM can be asked. Those with a guest know more orders (fault_guest_vmm.h). */
enum vmm_order {
	VMM_ABORT = 'a',	/* ferry_session_abort() */
	VMM_COMMIT = 'c',	/* ferry_session_commit() */
	VMM_WAIT = 'w',		/* until the session has ended */
	VMM_QUIT = 'q',		/* exit, the session still open */
};

/**
 * struct vmm_answer - what it tells, after its way there and after each order
 * @err: of the call, negative
 * @state: of the session
 * @error: that ended it, positive
 * @id: of the session
 * @whole: source: its memory is what it was. With a guest: it found no page that
 *	is not what it must be
 * @runs: with a guest: it runs here
 * @doubt: with a guest: nobody knows whether it may run here
 * @passes: begun
 * @sent: bytes on data channels
 * @reason: why the session ended
 */
struct vmm_answer {
	int32_t err;
	uint32_t state;
	uint32_t error;
	uint64_t id;
	bool whole;
	bool runs;
	bool doubt;
	uint64_t passes;
	uint64_t sent;
	char reason[KVM_FERRY_REASON_LEN];
};

struct vmm {
	pid_t pid;
	int socket;
	uint64_t id;
	enum kvm_ferry_role role;
};

/**
 * struct vmm_pair - both VMMs of a migration
 * @end: by role
 */
struct vmm_pair {
	struct vmm end[2];
};

/* How to make connected sockets; pair_sockets() is one. */
typedef void (*vmm_connect_fn)(int fds[2]);

/**
 * struct vmm_seat - what a VMM begins with, in its own process
 * @role: of it
 * @fds: its ends of the control and the data channel
 * @orders: where they come from, and where answers go
 * @arg: as passed to vmms_spawn()
 */
struct vmm_seat {
	enum kvm_ferry_role role;
	int fds[2];
	int orders;
	void *arg;
};

/* Starts both as processes. @live answers once it is there, then obeys, and never returns. */
void vmms_spawn(struct vmm_pair *p, vmm_connect_fn connect,
		void (*live)(const struct vmm_seat *seat), void *arg);

/* From here on the data channel is RDMA, and the sink listens on this address. */
void vmms_use_rdma(struct sockaddr_in addr);
/*
 * Starts both, and lets the one of @role get to @state and the other one as far
 * as that takes. A source that is asked to be COMMITTING has sent its state and
 * waits for VMM_COMMIT: its session is PAUSED.
 */
void vmms_start(struct vmm_pair *p, enum kvm_ferry_role role, enum kvm_ferry_state state,
		unsigned int timeout_ms, vmm_connect_fn connect);
/* Tells it to do something; the answer is to be heard. */
void vmm_tell(struct vmm *v, enum vmm_order order);
/* Waits for its answer; bails out after 30 s. */
struct vmm_answer vmm_hear(struct vmm *v);
struct vmm_answer vmm_ask(struct vmm *v, enum vmm_order order);
/* Waits until it is gone, and its session's tasks too; false: they stay. */
bool vmm_gone(struct vmm *v);
void vmms_stop(struct vmm_pair *p);
const char *vmm_state_name(enum kvm_ferry_state state);

#endif
