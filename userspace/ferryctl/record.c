// SPDX-License-Identifier: GPL-2.0-only
/*
 * A migration's timeline in a file.
 *
 * Line by line, so that what was seen is there whatever ends the program, and can
 * be drawn while the migration runs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "record.h"

#define EVERY_NS	(100 * 1000000ULL)
#define EVERY_END_NS	(10 * 1000000ULL)	/* from the final pass on, which is soon over */

struct record {
	FILE *file;
	const char *path;
	uint64_t every_ns;
	uint64_t next_ns;
	int error;
};

int record_open(struct record **out, const char *path, uint64_t every_ns)
{
	struct record *record;

	*out = NULL;
	if (!path)
		return CTL_OK;
	record = calloc(1, sizeof(*record));
	if (!record) {
		complain("out of memory");
		return CTL_ERROR;
	}
	record->file = fopen(path, "we");
	if (!record->file) {
		complain("record to '%s': %s", path, strerror(errno));
		free(record);
		return CTL_ERROR;
	}
	record->path = path;
	record->every_ns = every_ns;
	*out = record;
	return CTL_OK;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void look_for_error(struct record *record)
{
	if (ferror(record->file) && !record->error)
		record->error = errno ? errno : EIO;
}

void record_sample(struct record *record, const struct timeline *tl, unsigned int saw)
{
	uint64_t now = now_ns(), every;

	if (!record || record->error || (!saw && now < record->next_ns))
		return;
	every = record->every_ns ? record->every_ns :
		tl->last.stats.out_state >= KVM_FERRY_STATE_FINAL ? EVERY_END_NS : EVERY_NS;
	record->next_ns = now + every;
	errno = 0;
	json_sample(record->file, tl, saw);
	look_for_error(record);
}

void record_result(struct record *record, enum outcome outcome, const char *reason,
		   const struct session_view *view)
{
	if (!record || record->error)
		return;
	errno = 0;
	json_result(record->file, outcome, reason, view);
	look_for_error(record);
}

void record_close(struct record *record)
{
	if (!record)
		return;
	if (fclose(record->file) && !record->error)
		record->error = errno;
	if (record->error)
		complain("the record in '%s' is not whole: %s", record->path,
			 strerror(record->error));
	free(record);
}
