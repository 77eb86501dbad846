// SPDX-License-Identifier: GPL-2.0-only
/*
 * Output for programs: one JSON object, with "version" and "kind"; progress is an
 * object a line. Numbers that are not known are null. Byte counts, nanoseconds and
 * rates are plain integers. ferryctl.schema.json has all of it.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

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
	FIELD(pinned_bytes), FIELD(pinned_most_bytes), FIELD(windows), FIELD(rdma_channels),
	FIELD(throttled_rings), FIELD(throttle_rate), FIELD(throttle_ns),
	FIELD(expected_ram_ns), FIELD(expected_trips_ns), FIELD(expected_fixed_ns),
	FIELD(expected_state_ns), FIELD(predicted_downtime_ns), FIELD(downtime_ram_ns),
	FIELD(downtime_state_ns), FIELD(downtime_commit_ns), FIELD(working_set),
	FIELD(stalled_passes),
};

const size_t nr_stats_fields = sizeof(stats_fields) / sizeof(stats_fields[0]);

#define RING_FIELD(f) { #f, offsetof(struct kvm_ferry_ring_stats, out_##f), \
			sizeof(((struct kvm_ferry_ring_stats *)0)->out_##f) }

const struct stats_field ring_fields[] = {
	RING_FIELD(ring_id), RING_FIELD(ring_entries), RING_FIELD(dirty_pages),
	RING_FIELD(dirty_rate), RING_FIELD(throttle_rate), RING_FIELD(waits),
	RING_FIELD(wait_ns), RING_FIELD(throttle_ns),
};

const size_t nr_ring_fields = sizeof(ring_fields) / sizeof(ring_fields[0]);

uint64_t ring_field(const struct kvm_ferry_ring_stats *ring, const struct stats_field *f)
{
	const char *at = (const char *)ring + f->offset;
	uint64_t value;
	uint32_t small;

	if (f->size == sizeof(small)) {
		memcpy(&small, at, sizeof(small));
		return small;
	}
	memcpy(&value, at, sizeof(value));
	return value;
}

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
	if (limits->final_bandwidth == KVM_FERRY_BANDWIDTH_SAME)
		put_text(obj, "final_bandwidth", "same");
	else
		put_u64(obj, "final_bandwidth", limits->final_bandwidth);
	put_u64(obj, "downtime_limit_ns", limits->downtime_limit_ns);
	put_u64(obj, "inflight_bytes", limits->inflight_bytes);
	put_u64(obj, "peer_timeout_ns", limits->peer_timeout_ns);
	json_object_object_add(obj, "verify", json_object_new_boolean(limits->verify));
	/* These as a VMM's command has them. */
	if (limits->throttle == KVM_FERRY_THROTTLE_AUTO)
		put_text(obj, "throttle", "auto");
	else if (limits->throttle == KVM_FERRY_THROTTLE_NEVER)
		put_text(obj, "throttle", "never");
	else
		put_u64(obj, "throttle", limits->throttle);
	put_u64(obj, "throttle_floor", limits->throttle_floor);
	put_u64(obj, "state_time_ns", limits->state_time_ns);
	if (limits->max_pinned == KVM_FERRY_PINNED_ALL)
		put_text(obj, "max_pinned", "all");
	else
		put_u64(obj, "max_pinned", limits->max_pinned);
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

struct json_object *json_output(const char *kind)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "version", json_object_new_int(JSON_VERSION));
	put_text(obj, "kind", kind);
	return obj;
}

void json_finish(FILE *to, struct json_object *obj, bool pretty)
{
	int flags = pretty ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED :
			     JSON_C_TO_STRING_PLAIN;

	fprintf(to, "%s\n",
		json_object_to_json_string_ext(obj, flags | JSON_C_TO_STRING_NOSLASHESCAPE));
	fflush(to);
	json_object_put(obj);
}

static void sessions(const struct session_view *views, size_t count)
{
	struct json_object *obj = json_output("sessions"), *array = json_object_new_array();
	size_t i;

	for (i = 0; i < count; i++)
		json_object_array_add(array, session_to_json(&views[i]));
	json_object_object_add(obj, "sessions", array);
	json_finish(stdout, obj, true);
}

/* What the other commands do not read: a session may have hundreds of rings. */
static struct json_object *rings_to_json(const struct session_view *view)
{
	struct json_object *array = json_object_new_array(), *item;
	size_t i, n;

	for (i = 0; i < view->nr_rings; i++) {
		item = json_object_new_object();
		for (n = 0; n < nr_ring_fields; n++)
			put_u64(item, ring_fields[n].name,
				ring_field(&view->rings[i], &ring_fields[n]));
		json_object_array_add(array, item);
	}
	return array;
}

static struct json_object *regions_to_json(const struct session_view *view)
{
	struct json_object *array = json_object_new_array(), *item;
	size_t i;

	for (i = 0; i < view->nr_regions; i++) {
		const struct kvm_ferry_region_stats *r = &view->regions[i];

		item = json_object_new_object();
		put_u64(item, "region_id", r->out_region_id);
		json_object_object_add(item, "name", json_object_new_string_len((const char *)r->out_name,
				       strnlen((const char *)r->out_name, sizeof(r->out_name))));
		put_u64(item, "pages", r->out_pages);
		put_u64(item, "dirty_pages", r->out_dirty_pages);
		put_u64(item, "dirty_rate", r->out_dirty_rate);
		put_u64(item, "working_set", r->out_working_set);
		json_object_array_add(array, item);
	}
	return array;
}

static void stats(const struct session_view *views, size_t count)
{
	struct json_object *obj = json_output("sessions"), *array = json_object_new_array(), *item;
	size_t i;

	for (i = 0; i < count; i++) {
		item = session_to_json(&views[i]);
		json_object_object_add(item, "rings",
				       views[i].has_rings ? rings_to_json(&views[i]) : NULL);
		json_object_object_add(item, "regions", regions_to_json(&views[i]));
		json_object_array_add(array, item);
	}
	json_object_object_add(obj, "sessions", array);
	json_finish(stdout, obj, true);
}

static void checks(const struct check_list *list)
{
	static const char *const names[] = { "ok", "warn", "fail" };
	struct json_object *obj = json_output("checks"), *array = json_object_new_array(), *item;
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
	json_finish(stdout, obj, true);
}

static void limits(uint64_t id, const struct kvm_ferry_limits *lim)
{
	struct json_object *obj = json_output("limits");

	put_u64(obj, "session_id", id);
	json_object_object_add(obj, "limits", limits_to_json(lim));
	json_finish(stdout, obj, true);
}

static void host(const struct kvm_ferry_host_limits *lim)
{
	struct json_object *obj = json_output("host");

	put_u64(obj, "max_bandwidth", lim->max_bandwidth);
	put_u64(obj, "share", lim->out_share);
	put_u64(obj, "sessions", lim->out_sessions);
	put_u64(obj, "transferred", lim->out_transferred);
	json_finish(stdout, obj, true);
}

static void unloaded(bool was)
{
	struct json_object *obj = json_output("module");

	json_object_object_add(obj, "was_loaded", json_object_new_boolean(was));
	json_object_object_add(obj, "loaded", json_object_new_boolean(false));
	json_finish(stdout, obj, true);
}

static void put_timespec(struct json_object *obj, const char *key, const struct timespec *ts)
{
	struct tm tm;
	char text[40] = "", whole[80];

	if (gmtime_r(&ts->tv_sec, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(whole, sizeof(whole), "%s.%03ldZ", text, ts->tv_nsec / 1000000);
	put_text(obj, key, whole);
}

/* When it was read, for people and for whoever puts two records side by side. */
static void put_time(struct json_object *obj)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	put_timespec(obj, "time", &ts);
}

static struct json_object *record_to_json(const struct kvm_ferry_history *r)
{
	struct timespec started = { .tv_sec = r->out_started_ns / 1000000000,
				    .tv_nsec = r->out_started_ns % 1000000000 };
	struct json_object *obj = json_object_new_object();

	put_u64(obj, "number", r->out_number);
	put_u64(obj, "session_id", r->out_session_id);
	put_text(obj, "name", (const char *)r->out_name);
	put_u64(obj, "role", r->out_role);
	put_text(obj, "role_name", ferry_role_name(r->out_role));
	put_u64(obj, "owner_uid", r->out_owner_uid);
	put_timespec(obj, "started", &started);
	put_u64(obj, "started_ns", r->out_started_ns);
	put_u64(obj, "total_time_ns", r->out_total_time_ns);
	put_u64(obj, "downtime_ns", r->out_downtime_ns);
	put_u64(obj, "ram_transferred", r->out_ram_transferred);
	put_u64(obj, "dirty_sync_count", r->out_dirty_sync_count);
	put_u64(obj, "state", r->out_state);
	put_text(obj, "state_name", ferry_state_name(r->out_state));
	put_u64(obj, "error", r->out_error);
	put_text(obj, "error_name", r->out_error ? ferry_errno_name((int)r->out_error) : "");
	put_text(obj, "reason", (const char *)r->out_reason);
	return obj;
}

static void history(const struct kvm_ferry_history *records, size_t count, bool follow)
{
	struct json_object *obj, *array;
	size_t i = 0;

	do {
		obj = json_output("history");
		array = json_object_new_array();
		for (; i < count; i++) {
			json_object_array_add(array, record_to_json(&records[i]));
			if (follow) {
				i++;
				break;
			}
		}
		json_object_object_add(obj, "records", array);
		json_finish(stdout, obj, !follow);
	} while (i < count);
}

void json_sample(FILE *to, const struct timeline *tl, unsigned int saw)
{
	static const struct {
		unsigned int bit;
		const char *name;
	} events[] = {
		{ SAW_BEGIN, "begin" }, { SAW_STATE, "state" }, { SAW_PASS, "pass" },
		{ SAW_LIMITS, "limits" },
	};
	struct json_object *obj = json_output("sample"), *array = json_object_new_array();
	size_t i;

	put_time(obj);
	for (i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (saw & events[i].bit)
			json_object_array_add(array, json_object_new_string(events[i].name));
	json_object_object_add(obj, "events", array);
	json_object_object_add(obj, "session", session_to_json(&tl->last));
	json_finish(to, obj, false);
}

void json_result(FILE *to, enum outcome outcome, const char *reason,
		 const struct session_view *view)
{
	struct json_object *obj = json_output("result");

	put_time(obj);
	put_text(obj, "outcome", outcome_name(outcome));
	put_u64(obj, "exit_code", outcome_exit_code(outcome));
	put_text(obj, "reason", reason);
	json_object_object_add(obj, "session", view ? session_to_json(view) : NULL);
	json_finish(to, obj, false);
}

static void progress_mark(void)
{
}

static void progress(const struct timeline *tl, unsigned int saw)
{
	json_sample(stdout, tl, saw);
}

static void result(enum outcome outcome, const char *reason, const struct session_view *view)
{
	json_result(stdout, outcome, reason, view);
}

const struct print_ops print_json = {
	.sessions = sessions,
	.status = sessions,
	.stats = stats,
	.checks = checks,
	.limits = limits,
	.host = host,
	.unloaded = unloaded,
	.history = history,
	.shows = SAW_BEGIN | SAW_STATE | SAW_PASS | SAW_LIMITS,
	.progress_begin = progress_mark,
	.progress = progress,
	.progress_end = progress_mark,
	.result = result,
};
