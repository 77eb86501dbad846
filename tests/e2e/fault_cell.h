/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A cell of docs/faults.md: a migration with a guest gets to a step, a fault
 * happens, and what came of it is judged.
 */
#ifndef FAULT_CELL_H
#define FAULT_CELL_H

#include "fault_guest_vmm.h"

/* Steps of a migration, each one a place where it can be held. */
enum step {
	STEP_SETUP,		/* neither side was started */
	STEP_CONNECTING,	/* one side was started */
	STEP_FIRST_PASS,	/* the first pass is under way */
	STEP_LATER_PASS,	/* several passes are over, the guest writes on */
	STEP_FINAL,		/* the guest is paused, the final pass is under way */
	STEP_PAUSED,		/* the sink has all of memory, no state yet */
	STEP_STATE_SENT,	/* and all of the state */
	STEP_READY,		/* the sink has called COMMIT: READY was sent */
	STEP_COMMIT_SENT,	/* COMMIT is on its way */
	STEP_ACK_SENT,		/* the sink runs the guest, COMMIT_ACK is on its way */
	STEP_DONE,		/* both sides are done */
	NR_STEPS,
};

/* What a fault is done to. */
enum side { AT_SOURCE, AT_SINK, AT_LINK, AT_BOTH };

/* What may come of it. Bits: where two are right, a race decides. */
enum outcome {
	STAYS = 1,		/* the guest runs on at the source */
	MOVES = 2,		/* it runs at the sink, and the source knows it, or has gone */
	DOUBT_STAYS = 4,	/* the source is in doubt; the sink does not run it and never will */
	DOUBT_MOVES = 8,	/* the source is in doubt; the sink runs it */
	GONE = 16,		/* its only owner was taken away with it; the other side knows */
};

/**
 * struct cell - one of them
 * @fault: its name
 * @side: where it happens
 * @step: where it begins
 * @p: both VMMs
 * @at: the step that the migration has got to
 * @started: START was called, by role
 * @held: what is sent that way is held, so that COMMIT or its answer is on its way
 * @relayed: the connections go through relays
 * @relay: number of the control channel's; the data channel's is the next one
 * @plan: how the VMMs begin
 */
struct cell {
	const char *fault;
	enum side side;
	enum step step;
	struct vmm_pair p;
	enum step at;
	bool started[2];
	bool held[2];
	bool relayed;
	unsigned int relay;
	struct guest_plan plan;
};

/* Peer timeout of cells in which nobody may time out. */
#define PATIENT_MS	(20000 * lab_slow())

/* Starts both VMMs and takes them to @c->step. fault, side, step, relayed, plan are set. */
void cell_begin(struct cell *c);
/* Goes on to @step, and no further. */
void cell_go(struct cell *c, enum step step);
/* START on both sides, where it was not called yet; no limit, and nothing is awaited. */
void cell_start_all(struct cell *c);
/* Lets pass what was held so that COMMIT or its answer is on its way. */
void cell_release(struct cell *c);
/*
 * Waits until the session of a VMM that was killed has ended. The VMM itself may stay for a
 * peer timeout, if it is a sink that was ready and the network holds its ABORT.
 */
void cell_ended(struct cell *c, enum kvm_ferry_role role);
/* The VMM of that role was killed: waits until it is gone; it is not asked any more. */
void cell_lost(struct cell *c, enum kvm_ferry_role role);
/*
 * Waits for the end on both sides and checks that it is one of @expected, that one
 * guest runs at most, and at the owner, that it goes on and is well, and that
 * nothing stays of the sessions. Prints the cell.
 */
void cell_end(struct cell *c, unsigned int expected);

#endif
