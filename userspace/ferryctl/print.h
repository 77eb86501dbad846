/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Output, for people and for programs. Commands call the ops and do not know
 * which of the two they have.
 */
#ifndef PRINT_H
#define PRINT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "check.h"
#include "ctl.h"
#include "timeline.h"

/* Raised when a key goes or changes its meaning; docs/json.md has the rules. */
#define JSON_VERSION 1

/**
 * enum outcome - how a migration ended, for the one who asked for it
 * @OUTCOME_STARTED: it was started and not waited for
 * @OUTCOME_MOVED: the sink's guest runs; the source's never will again
 * @OUTCOME_FAILED: the source's guest is whole; the sink's must not run
 * @OUTCOME_IN_DOUBT: COMMIT was sent and not answered
 * @OUTCOME_UNKNOWN: whoever could tell went away
 */
enum outcome {
	OUTCOME_STARTED,
	OUTCOME_MOVED,
	OUTCOME_FAILED,
	OUTCOME_IN_DOUBT,
	OUTCOME_UNKNOWN,
};

const char *outcome_name(enum outcome outcome);
int outcome_exit_code(enum outcome outcome);

/**
 * struct print_ops - one form of output
 * @sessions: a table of sessions
 * @status: what people want to know of each session
 * @stats: every figure of each session, and of its rings
 * @checks: what 'check' found
 * @limits: the limits that hold after 'set'
 * @host: what all sources of this host share
 * @history: what became of sessions; @follow: one of several calls, more may come
 * @unloaded: the module is not in the kernel; @was: it was until now
 * @shows: SAW_* bits: what is worth a @progress before it is due
 * @progress_begin: before the first @progress
 * @progress: a session under way, called again and again; @saw: what has changed since
 *	the call before
 * @progress_end: after the last
 * @result: how a migration ended. @view may be NULL: no figures are known
 */
struct print_ops {
	void (*sessions)(const struct session_view *views, size_t count);
	void (*status)(const struct session_view *views, size_t count);
	void (*stats)(const struct session_view *views, size_t count);
	void (*checks)(const struct check_list *list);
	void (*limits)(uint64_t id, const struct kvm_ferry_limits *limits);
	void (*host)(const struct kvm_ferry_host_limits *limits);
	void (*unloaded)(bool was);
	void (*history)(const struct kvm_ferry_history *records, size_t count, bool follow);
	unsigned int shows;
	void (*progress_begin)(void);
	void (*progress)(const struct timeline *tl, unsigned int saw);
	void (*progress_end)(void);
	void (*result)(enum outcome outcome, const char *reason, const struct session_view *view);
};

/* print_screen is for watch alone: of the others it has only @result. */
extern const struct print_ops print_text, print_json, print_screen;

/**
 * struct stats_field - a field of struct kvm_ferry_stats, as programs see it
 * @name: the field's, without out_
 * @offset: in the struct
 * @size: 4 or 8 for a number; else a NUL-terminated text of that room
 */
struct stats_field {
	const char *name;
	size_t offset;
	size_t size;
};

extern const struct stats_field stats_fields[];
extern const size_t nr_stats_fields;

/* The fields of struct kvm_ferry_ring_stats, by their names there, without out_. */
extern const struct stats_field ring_fields[];
extern const size_t nr_ring_fields;
/* One of them, as a number. */
uint64_t ring_field(const struct kvm_ferry_ring_stats *ring, const struct stats_field *f);

/* The history as text. */
void print_history(const struct kvm_ferry_history *records, size_t count, bool follow);
/* The session object that ferryctl and a VMM's control socket both use. */
struct json_object *session_to_json(const struct session_view *view);
/* Takes what is there and has the right type; the rest stays 0. */
void session_from_json(struct json_object *obj, struct session_view *view);
/* The lines of a record: a reading, and how it ended. */
void json_sample(FILE *to, const struct timeline *tl, unsigned int saw);
void json_result(FILE *to, enum outcome outcome, const char *reason,
		 const struct session_view *view);
/* A new object of ferryctl's output: its version, and which kind it is. */
struct json_object *json_output(const char *kind);
/* Prints it, as a line or for people too, and puts it. */
void json_finish(FILE *to, struct json_object *obj, bool pretty);

/* "1.50 GiB", "941 Mbit/s", "12.3 ms": numbers for people, in a static ring of buffers. */
const char *human_bytes(uint64_t bytes);
const char *human_rate(uint64_t bytes_per_second);
const char *human_time(uint64_t ns);
/* Digits in groups of three. */
const char *human_count(uint64_t n);
/* What the errno that ended a session means. */
const char *session_error_text(uint32_t error);

#endif /* PRINT_H */
