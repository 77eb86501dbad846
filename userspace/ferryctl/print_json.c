// SPDX-License-Identifier: GPL-2.0-only
/*
 * Output for programs: one JSON object, with "version"; progress is an object a
 * line. Numbers that are not known are null. Byte counts, nanoseconds and rates
 * are plain integers.
 */
#include <stdio.h>
#include <string.h>

#include "print.h"

#define FIELD(f) { #f, offsetof(struct kvm_ferry_stats, out_##f), \
		   sizeof(((struct kvm_ferry_stats *)0)->out_##f) }

const struct stats_field stats_fields[] = {
	FIELD(session_id), FIELD(name), FIELD(role), FIELD(state), FIELD(error),
	FIELD(nr_channels), FIELD(total_time_ns), FIELD(setup_time_ns), FIELD(downtime_ns),
	FIELD(expected_downtime_ns), FIELD(ram_total), FIELD(ram_transferred),
	FIELD(ram_remaining), FIELD(ram_normal), FIELD(ram_duplicate), FIELD(ram_hole),
	FIELD(ram_skipped_clear), FIELD(dirty_sync_count), FIELD(dirty_pages_rate),
	FIELD(link_rate), FIELD(ram_acked), FIELD(ram_queued), FIELD(dirty_pages),
	FIELD(ring_entries), FIELD(ring_resets),
	FIELD(ring_full), FIELD(ring_full_ns), FIELD(harvest_ns), FIELD(reset_ns),
	FIELD(extents), FIELD(batches), FIELD(batch_pages_spliced), FIELD(pacing_ns),
	FIELD(state_bytes), FIELD(digest), FIELD(bookkeeping_bytes),
};

const size_t nr_stats_fields = sizeof(stats_fields) / sizeof(stats_fields[0]);

static void put_u64(struct json_object *obj, const char *key, uint64_t value)
{
	json_object_object_add(obj, key, json_object_new_uint64(value));
}

static void put_text(struct json_object *obj, const char *key, const char *value)
{
	json_object_object_add(obj, key, json_object_new_string(value));
}

static struct json_object *limits_to_json(const struct kvm_ferry_limits *limits)
{
	struct json_object *obj = json_object_new_object();

	put_u64(obj, "max_bandwidth", limits->max_bandwidth);
	put_u64(obj, "downtime_limit_ns", limits->downtime_limit_ns);
	put_u64(obj, "inflight_bytes", limits->inflight_bytes);
	put_u64(obj, "peer_timeout_ns", limits->peer_timeout_ns);
	json_object_object_add(obj, "verify", json_object_new_boolean(limits->verify));
	return obj;
}

struct json_object *session_to_json(const struct session_view *view)
{
	struct json_object *obj = json_object_new_object();
	const struct kvm_ferry_stats *st = &view->stats;
	const struct stats_field *f;
	char text[64];
	uint64_t value;
	uint32_t small;

	for (f = stats_fields; f < stats_fields + nr_stats_fields; f++) {
		const char *at = (const char *)st + f->offset;

		if (f->size == 4) {
			memcpy(&small, at, sizeof(small));
			put_u64(obj, f->name, small);
		} else if (f->size == 8) {
			memcpy(&value, at, sizeof(value));
			/* ~0 is how the module says that it does not know. */
			if (value == UINT64_MAX && strcmp(f->name, "digest"))
				json_object_object_add(obj, f->name, NULL);
			else
				put_u64(obj, f->name, value);
		} else {
			snprintf(text, sizeof(text), "%.*s", (int)f->size, at);
			put_text(obj, f->name, text);
		}
	}
	put_text(obj, "role_name", ferry_role_name(st->out_role));
	put_text(obj, "state_name", ferry_state_name(st->out_state));
	put_u64(obj, "pass", st->out_dirty_sync_count);
	put_text(obj, "error_name", st->out_error ? ferry_errno_name(st->out_error) : "");
	put_text(obj, "reason", view->reason[0] ? view->reason :
					    session_error_text(st->out_error));
	json_object_object_add(obj, "limits",
			       view->has_limits ? limits_to_json(&view->limits) : NULL);
	return obj;
}

void session_from_json(struct json_object *obj, struct session_view *view)
{
	const struct stats_field *f;
	struct json_object *item;
	const char *text;
	uint64_t value;
	uint32_t small;

	memset(view, 0, sizeof(*view));
	for (f = stats_fields; f < stats_fields + nr_stats_fields; f++) {
		char *at = (char *)&view->stats + f->offset;

		if (!json_object_object_get_ex(obj, f->name, &item))
			continue;
		if (f->size > 8) {
			text = json_object_get_string(item);
			snprintf(at, f->size, "%s", text ? text : "");
		} else if (json_object_is_type(item, json_type_int)) {
			value = json_object_get_uint64(item);
			/* A VMM that prints it as signed means the same number. */
			if (json_object_get_int64(item) < 0)
				value = json_object_get_int64(item);
			small = value;
			memcpy(at, f->size == 4 ? (void *)&small : (void *)&value, f->size);
		} else if (!item && f->size == 8) {
			value = UINT64_MAX;
			memcpy(at, &value, sizeof(value));
		}
	}
	if (json_object_object_get_ex(obj, "reason", &item) && item)
		snprintf(view->reason, sizeof(view->reason), "%s", json_object_get_string(item));
}

static struct json_object *new_output(void)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "version", json_object_new_int(JSON_VERSION));
	return obj;
}

static void finish(struct json_object *obj, int flags)
{
	puts(json_object_to_json_string_ext(obj, flags | JSON_C_TO_STRING_NOSLASHESCAPE));
	fflush(stdout);
	json_object_put(obj);
}

static void sessions(const struct session_view *views, size_t count)
{
	struct json_object *obj = new_output(), *array = json_object_new_array();
	size_t i;

	for (i = 0; i < count; i++)
		json_object_array_add(array, session_to_json(&views[i]));
	json_object_object_add(obj, "sessions", array);
	finish(obj, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED);
}

static void checks(const struct check_list *list)
{
	static const char *const names[] = { "ok", "warn", "fail" };
	struct json_object *obj = new_output(), *array = json_object_new_array(), *item;
	unsigned int i;

	for (i = 0; i < list->count; i++) {
		item = json_object_new_object();
		put_text(item, "name", list->checks[i].name);
		put_text(item, "status", names[list->checks[i].status]);
		put_text(item, "detail", list->checks[i].detail);
		put_text(item, "advice", list->checks[i].advice);
		json_object_array_add(array, item);
	}
	json_object_object_add(obj, "ready",
			       json_object_new_boolean(check_worst(list) != CHECK_FAIL));
	json_object_object_add(obj, "checks", array);
	finish(obj, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED);
}

static void limits(uint64_t id, const struct kvm_ferry_limits *lim)
{
	struct json_object *obj = new_output();

	put_u64(obj, "session_id", id);
	json_object_object_add(obj, "limits", limits_to_json(lim));
	finish(obj, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED);
}

static void progress_mark(void)
{
}

static void progress(const struct session_view *view)
{
	struct json_object *obj = new_output();

	json_object_object_add(obj, "session", session_to_json(view));
	finish(obj, JSON_C_TO_STRING_PLAIN);
}

static void result(enum outcome outcome, const char *reason, const struct session_view *view)
{
	struct json_object *obj = new_output();

	put_text(obj, "outcome", outcome_name(outcome));
	put_u64(obj, "exit_code", outcome_exit_code(outcome));
	put_text(obj, "reason", reason);
	json_object_object_add(obj, "session", view ? session_to_json(view) : NULL);
	finish(obj, JSON_C_TO_STRING_PLAIN);
}

const struct print_ops print_json = {
	.sessions = sessions,
	.status = sessions,
	.stats = sessions,
	.checks = checks,
	.limits = limits,
	.progress_begin = progress_mark,
	.progress = progress,
	.progress_end = progress_mark,
	.result = result,
};
