// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads a recorded timeline: JSON objects one behind the other, of which those
 * that are samples or results count. A last one that is cut off is passed over: the
 * program that wrote it was killed, or writes it just now.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plot.h"

#define MAX_SAMPLES	4000	/* more than a picture has columns */
#define MAX_FILE	(1UL << 30)

static double number(struct json_object *session, const char *key)
{
	struct json_object *item;

	if (!json_object_object_get_ex(session, key, &item) ||
	    (!json_object_is_type(item, json_type_int) &&
	     !json_object_is_type(item, json_type_double)))
		return NAN;
	return json_object_get_double(item);
}

static const char *text(struct json_object *obj, const char *key)
{
	struct json_object *item;

	if (!json_object_object_get_ex(obj, key, &item) ||
	    !json_object_is_type(item, json_type_string))
		return "";
	return json_object_get_string(item);
}

static int not_ours(const char *path, const char *why)
{
	complain("'%s' is no timeline of ferryctl's: %s", path, why);
	return CTL_ERROR;
}

static bool add_sample(struct plot *plot, struct json_object *session)
{
	const struct kvm_ferry_stats *st = &plot->last.stats;
	struct json_object *limits;
	struct plot_sample *s;

	/* Room for twice as many, each time that it is used up. */
	if (!(plot->nr & (plot->nr - 1))) {
		s = realloc(plot->samples, (plot->nr ? 2 * plot->nr : 1) * sizeof(*s));
		if (!s)
			return false;
		plot->samples = s;
	}
	s = &plot->samples[plot->nr];
	*s = (struct plot_sample) {
		.seconds = (double)st->out_total_time_ns / 1e9,
		.sent = number(session, "ram_transferred"),
		.left = number(session, "ram_remaining"),
		.link = number(session, "link_rate"),
		.dirty = number(session, "dirty_pages_rate") * KVM_FERRY_PAGE_SIZE,
		.expected = number(session, "expected_downtime_ns") / 1e9,
		.limit = NAN,
		.throttle = number(session, "throttle_rate") * KVM_FERRY_PAGE_SIZE,
		.state = st->out_state,
		.pass = st->out_dirty_sync_count,
	};
	if (json_object_object_get_ex(session, "limits", &limits) &&
	    json_object_is_type(limits, json_type_object))
		s->limit = number(limits, "downtime_limit_ns") / 1e9;
	if (st->out_role == KVM_FERRY_SINK)
		s->left = s->dirty = s->expected = s->limit = NAN;
	/* Before the first measurement the module says 0, and behind the last one that. */
	if (s->state < KVM_FERRY_STATE_LIVE)
		s->left = s->link = s->dirty = NAN;
	if (s->state >= KVM_FERRY_STATE_FINAL)
		s->dirty = s->expected = NAN;
	/* 0: nobody is held back. */
	if (!timeline_throttled(st) || !(s->throttle > 0))
		s->throttle = NAN;
	plot->nr++;
	return true;
}

/* CTL_OK, or an exit code. */
static int take(struct plot *plot, struct json_object *obj, const char *path)
{
	struct json_object *version, *session;
	struct session_view view;

	if (!json_object_is_type(obj, json_type_object) ||
	    !json_object_object_get_ex(obj, "version", &version))
		return not_ours(path, "it holds JSON without a version");
	if (json_object_get_int(version) != JSON_VERSION) {
		complain("'%s' has version %d of ferryctl's output; this ferryctl reads version %d",
			 path, json_object_get_int(version), JSON_VERSION);
		return CTL_ERROR;
	}
	if (!json_object_object_get_ex(obj, "session", &session))
		return not_ours(path, "it is other output, without a session's samples");
	if (*text(obj, "outcome")) {
		snprintf(plot->outcome, sizeof(plot->outcome), "%s", text(obj, "outcome"));
		snprintf(plot->reason, sizeof(plot->reason), "%s", text(obj, "reason"));
	}
	if (!json_object_is_type(session, json_type_object))
		return CTL_OK;
	session_from_json(session, &view);
	if (plot->nr && view.stats.out_session_id != plot->last.stats.out_session_id) {
		complain("'%s' holds samples of session %llu and of session %llu; one can be drawn",
			 path, (unsigned long long)plot->last.stats.out_session_id,
			 (unsigned long long)view.stats.out_session_id);
		return CTL_ERROR;
	}
	plot->last = view;
	snprintf(plot->when, sizeof(plot->when), "%s", text(obj, "time"));
	if (!add_sample(plot, session)) {
		complain("out of memory");
		return CTL_ERROR;
	}
	return CTL_OK;
}

/* What the module does not measure, from what it does: a sink's rate. */
static void fill_in(struct plot *plot)
{
	struct plot_sample *s = plot->samples, *from;
	size_t i, back = 0;

	for (i = 0; i < plot->nr; i++) {
		if (plot->last.stats.out_role == KVM_FERRY_SOURCE)
			break;
		/* Over a quarter of a second, at least. */
		while (back + 1 < i && s[i].seconds - s[back + 1].seconds >= 0.25)
			back++;
		from = &s[back];
		s[i].link = s[i].seconds > from->seconds ?
			    (s[i].sent - from->sent) / (s[i].seconds - from->seconds) : NAN;
	}
}

static void find_phases(struct plot *plot)
{
	static const uint32_t states[PLOT_PHASES] = {
		KVM_FERRY_STATE_FINAL, KVM_FERRY_STATE_PAUSED, KVM_FERRY_STATE_COMMITTING,
	};
	const struct plot_sample *s = plot->samples;
	double end = s[plot->nr - 1].seconds, downtime = plot->last.stats.out_downtime_ns / 1e9;
	unsigned int n;
	size_t i;

	for (n = 0; n < PLOT_PHASES; n++) {
		struct plot_phase *p = &plot->phases[plot->nr_phases];

		for (i = 0; i < plot->nr && s[i].state != states[n]; i++)
			;
		if (i == plot->nr)
			continue;
		p->state = states[n];
		p->begin = s[i].seconds;
		/* How long the guest was down is known, and so when that began. */
		if (!plot->nr_phases && downtime > 0 && downtime <= end)
			p->begin = end - downtime;
		else if (plot->nr_phases)
			p[-1].end = p->begin;
		p->end = end;
		plot->nr_phases++;
	}
}

/* Every so manieth, but all at which something changes. */
static void thin_out(struct plot *plot)
{
	size_t every = plot->nr / MAX_SAMPLES + 1, i, to = 0;
	const struct plot_sample *s = plot->samples;

	for (i = 0; i < plot->nr; i++)
		if (i % every == 0 || i + 1 == plot->nr || s[i].pass != s[i - 1].pass ||
		    s[i].state != s[i - 1].state)
			plot->samples[to++] = plot->samples[i];
	plot->nr = to;
}

static char *slurp(const char *path, size_t *length)
{
	size_t room = 65536, got;
	char *data = NULL, *more;
	FILE *file = fopen(path, "re");
	int error;

	*length = 0;
	for (error = file ? 0 : errno; !error; room *= 2) {
		more = realloc(data, room);
		if (!more || room > MAX_FILE) {
			error = more ? EFBIG : ENOMEM;
			data = more ? more : data;
			break;
		}
		data = more;
		got = fread(data + *length, 1, room - *length, file);
		*length += got;
		if (ferror(file))
			error = errno;
		if (*length < room)
			break;
	}
	if (file)
		fclose(file);
	if (!error)
		return data;
	complain("read '%s': %s", path, strerror(error));
	free(data);
	return NULL;
}

int plot_read(struct plot *plot, const char *path)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *obj;
	size_t length, at = 0;
	int ret = CTL_ERROR;
	char *data;

	memset(plot, 0, sizeof(*plot));
	data = slurp(path, &length);
	if (!data || !tokener)
		goto out;
	ret = CTL_OK;
	while (!ret) {
		while (at < length && strchr(" \t\r\n", data[at]) && data[at])
			at++;
		if (at == length)
			break;
		obj = json_tokener_parse_ex(tokener, data + at, (int)(length - at));
		if (json_tokener_get_error(tokener) == json_tokener_continue && plot->nr)
			break;
		if (json_tokener_get_error(tokener) != json_tokener_success) {
			ret = not_ours(path, "it is not JSON");
			break;
		}
		at += json_tokener_get_parse_end(tokener);
		ret = take(plot, obj, path);
		json_object_put(obj);
		json_tokener_reset(tokener);
	}
	if (!ret && plot->nr < 2)
		ret = not_ours(path, plot->nr ? "it has a single sample" : "it has no samples");
	if (!ret) {
		fill_in(plot);
		find_phases(plot);
		thin_out(plot);
	}
out:
	if (ret)
		plot_free(plot);
	if (tokener)
		json_tokener_free(tokener);
	free(data);
	return ret;
}

void plot_free(struct plot *plot)
{
	free(plot->samples);
	plot->samples = NULL;
}
