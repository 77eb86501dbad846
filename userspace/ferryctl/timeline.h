/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a session has done so far, as far as it shows to somebody who reads its
 * figures again and again: the module keeps no history.
 */
#ifndef TIMELINE_H
#define TIMELINE_H

#include <stddef.h>

#include "ctl.h"

/* What has changed since the reading before. */
#define SAW_BEGIN	(1U << 0)	/* there was none */
#define SAW_STATE	(1U << 1)
#define SAW_PASS	(1U << 2)
#define SAW_LIMITS	(1U << 3)

#define TIMELINE_PASSES	64
#define TIMELINE_STATES	12
#define TIMELINE_POINTS	256	/* even */
#define TIMELINE_RECENT	16

/**
 * struct timeline_pass - what was so when a pass was first seen
 * @number: from 1
 * @at_ns: since START
 * @sent: bytes on the data channels
 * @left: bytes that were left to send
 * @dirtied: pages that had become dirty since START
 */
struct timeline_pass {
	uint64_t number;
	uint64_t at_ns;
	uint64_t sent;
	uint64_t left;
	uint64_t dirtied;
};

struct timeline_state {
	uint32_t state;
	uint64_t at_ns;
};

/* The mean over a while; rates in bytes a second. */
struct timeline_point {
	uint64_t at_ns;		/* its begin */
	double link;
	double dirty;
	double left;
	unsigned int readings;
};

/**
 * struct timeline - a session's history
 * @nr_passes: passes seen; of them the last TIMELINE_PASSES are in @passes, at their
 *	index modulo that
 * @states: states in the order in which they were seen
 * @points: all of the time since START; when it is full, pairs of them become one
 * @point_ns: how long a point is
 * @link_rate: bytes a second now. A sink's module measures none, so that it is
 *	taken from what came
 * @recent: the last readings, at least 100 ms apart, for that
 * @last: the reading before, if @any
 */
struct timeline {
	struct timeline_pass passes[TIMELINE_PASSES];
	size_t nr_passes;
	struct timeline_state states[TIMELINE_STATES];
	size_t nr_states;
	struct timeline_point points[TIMELINE_POINTS];
	size_t nr_points;
	uint64_t point_ns;
	double link_rate;
	struct {
		uint64_t at_ns;
		uint64_t sent;
	} recent[TIMELINE_RECENT];
	size_t nr_recent;
	struct session_view last;
	bool any;
};

/* Takes a reading. Returns SAW_* bits. A timeline that is all zero is an empty one. */
unsigned int timeline_observe(struct timeline *tl, const struct session_view *view);

/* Bytes a second. A guest that is paused writes nothing, whatever was measured last. */
uint64_t timeline_dirty_rate(const struct kvm_ferry_stats *st);

/* Whether vCPUs are held back: a guest that is paused, or over, is not. */
bool timeline_throttled(const struct kvm_ferry_stats *st);

/* Pass @nr from the last one (0) back; NULL: not known (any more). */
const struct timeline_pass *timeline_pass(const struct timeline *tl, size_t nr);

/*
 * How long the session was in @state, in ns, up to now if it still is; false: it was not
 * seen in it.
 */
bool timeline_time_in(const struct timeline *tl, uint32_t state, uint64_t *ns);

#endif /* TIMELINE_H */
