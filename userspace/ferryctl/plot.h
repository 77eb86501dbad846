/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A recorded timeline, and the script that draws it.
 */
#ifndef PLOT_H
#define PLOT_H

#include <stdio.h>

#include "print.h"

/* Figures that are not known are NAN. */
struct plot_sample {
	double seconds;		/* since START */
	double sent;		/* bytes */
	double left;		/* bytes; a sink does not know */
	double link;		/* bytes a second */
	double dirty;		/* bytes a second; a sink does not know */
	double expected;	/* downtime, in seconds */
	double limit;		/* of it, in seconds */
	double throttle;	/* bytes a second that a vCPU held back may dirty */
	uint32_t state;
	uint64_t pass;
};

/**
 * struct plot_phase - a part of the switchover
 * @state: the session's state in it
 * @begin: in seconds since START
 * @end: the same
 */
struct plot_phase {
	uint32_t state;
	double begin;
	double end;
};

#define PLOT_PHASES 3

/**
 * struct plot - what a file holds
 * @samples: in order of time
 * @nr: of them
 * @last: the session as it was seen last
 * @when: when that was, as the file has it; ""
 * @outcome: of the migration; "": the file has none
 * @reason: for it, if it has not moved
 * @phases: those of the switchover that were seen
 * @nr_phases: of them
 */
struct plot {
	struct plot_sample *samples;
	size_t nr;
	struct session_view last;
	char when[40];
	char outcome[16];
	char reason[KVM_FERRY_REASON_LEN];
	struct plot_phase phases[PLOT_PHASES];
	unsigned int nr_phases;
};

/* Reads what --record and 'watch --json' write. CTL_OK, or complains: an exit code. */
int plot_read(struct plot *plot, const char *path);
void plot_free(struct plot *plot);

/* Gnuplot's script, which draws to its standard output. @svg: else PNG. */
void plot_script(FILE *to, const struct plot *plot, bool svg);

/* Name of a switchover's phase, for people. */
const char *plot_phase_name(uint32_t state);

#endif /* PLOT_H */
