/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A migration's timeline in a file, for 'ferryctl plot' and other programs: the
 * lines that 'watch --json' prints.
 */
#ifndef RECORD_H
#define RECORD_H

#include "print.h"

struct record;

/*
 * Makes the file, or empties it. @path NULL: no record, for which all of these do nothing.
 * @every_ns: how far apart its lines are at most; 0: as it thinks best. Returns CTL_OK, or
 * complains and returns an exit code.
 */
int record_open(struct record **out, const char *path, uint64_t every_ns);
/* A reading, which is written if the line before is old enough or something has changed. */
void record_sample(struct record *record, const struct timeline *tl, unsigned int saw);
void record_result(struct record *record, enum outcome outcome, const char *reason,
		   const struct session_view *view);
/* Complains if not all of it could be written. */
void record_close(struct record *record);

#endif /* RECORD_H */
