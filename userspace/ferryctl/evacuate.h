/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Moving several VMMs' guests away, a few at a time over one link.
 */
#ifndef EVACUATE_H
#define EVACUATE_H

#include "follow.h"

enum evacuee_stage {
	EVACUEE_WAITS,
	EVACUEE_RUNS,
	EVACUEE_OVER,
};

/**
 * enum evacuee_need - what a guest needs to converge
 * @EVACUEE_SHARES: no more than its part of the bandwidth, or that is not known
 * @EVACUEE_ALONE: all of the bandwidth
 * @EVACUEE_MORE: more than there is
 */
enum evacuee_need {
	EVACUEE_SHARES,
	EVACUEE_ALONE,
	EVACUEE_MORE,
};

/**
 * struct evacuee - a VMM and its guest
 * @index: its place on the command line
 * @path: its control socket
 * @where: the address that its guest goes to, as typed
 * @to: the same
 * @vmm: the connection, which stays open from the beginning to its end
 * @status: what it said last; @has_session also of one that has ended
 * @expected_ns: how long it is expected to take
 * @need: what it was measured to need
 * @stage: where it stands
 * @cancelled: it was told to cancel
 * @outcome: how it ended, once it is over
 * @reason: why, if it has not moved
 * @begun_ms: when it was started; 0: never
 * @over_ms: when it was seen to have ended
 */
struct evacuee {
	size_t index;
	const char *path;
	char where[320];
	struct address to;
	struct vmm vmm;
	struct vmm_status status;
	uint64_t expected_ns;
	enum evacuee_need need;
	enum evacuee_stage stage;
	bool cancelled;
	enum outcome outcome;
	char reason[KVM_FERRY_REASON_LEN];
	uint64_t begun_ms;
	uint64_t over_ms;
};

/**
 * struct evacuation - all of them
 * @opt: of each migration
 * @vms: in the order in which they go, once evacuation_order() has sorted them
 * @count: of them
 * @measure_ns: for how long to measure them first; 0: not at all
 * @jobs: how many go at a time, 1 or more
 * @bandwidth: of all of them together, bytes a second; 0: no limit
 * @told: one has been started, or has ended
 */
struct evacuation {
	struct migrate_options *opt;
	struct evacuee *vms;
	size_t count;
	uint64_t measure_ns;
	size_t jobs;
	uint64_t bandwidth;
	void (*told)(const struct evacuee *vm);
};

/* Connects to all of them; those that cannot go are over. */
void evacuation_meet(struct evacuation *ev);
/* Measures those that wait, if that is asked for, and decides which goes first. */
void evacuation_order(struct evacuation *ev);
/* Moves them. An interrupt cancels those under way and starts no more, a second one leaves. */
void evacuation_run(struct evacuation *ev);

#endif /* EVACUATE_H */
