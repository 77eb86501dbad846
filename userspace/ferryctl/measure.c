// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measuring how guests dirty memory.
 *
 * What is wanted is a curve: how many different pages after 20 ms, after 40 ms, ...
 * A pass may be as long as all of the time that there is, or as short as a pause may
 * be, so there are some short windows, which tell about the beginning several times,
 * and a long one, each read at times that are spread evenly by their logarithm.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "follow.h"
#include "measure.h"

#define EIGHTHS		8	/* of the time: the short windows take one each, */
#define SHORT_WINDOWS	3	/* and the long one what is left */
#define HALVES		6	/* readings of a short window: at its end, at a half, ... */

#define SHORTEST_NS	500000000ULL	/* the first reading is 1/256 of it */
#define LONGEST_NS	3600000000000ULL

int measure_seconds(const char *text, uint64_t *ns)
{
	uint64_t value;

	/* What has no unit is no milliseconds here. */
	if (!parse_number(text, LONGEST_NS / 1000000000, &value))
		value *= 1000000000;
	else if (text[strspn(text, "0123456789.")] == 0 || parse_duration(text, &value))
		return -EINVAL;
	if (value < SHORTEST_NS || value > LONGEST_NS)
		return -EINVAL;
	*ns = value;
	return 0;
}

static void get(struct json_object *obj, const char *key, uint64_t *value)
{
	struct json_object *item;

	*value = 0;
	if (json_object_object_get_ex(obj, key, &item) && json_object_is_type(item, json_type_int) &&
	    json_object_get_int64(item) > 0)
		*value = json_object_get_uint64(item);
}

/* Older VMMs do not say, and one that saved nothing yet says 0. */
static void get_part(struct json_object *obj, const char *key, uint64_t *value)
{
	get(obj, key, value);
	if (!*value)
		*value = PLANNER_UNTOLD_NS;
}

static void get_demand(struct measured *m, struct json_object *reply)
{
	struct json_object *rings;
	size_t i;

	m->nr_demand = 0;
	if (!json_object_object_get_ex(reply, "rings", &rings) ||
	    !json_object_is_type(rings, json_type_array))
		return;
	for (i = 0; i < json_object_array_length(rings) && i < MEASURE_MAX_VCPUS; i++)
		get(json_object_array_get_idx(rings, i), "dirty_rate", &m->demand[m->nr_demand++]);
}

int measure_read(struct measured *m, bool window)
{
	struct json_object *request = json_object_new_object(), *reply;
	int ret;

	json_object_object_add(request, "cmd", json_object_new_string("measure"));
	if (window)
		json_object_object_add(request, "window", json_object_new_boolean(true));
	ret = vmm_call(m->vmm, request, NULL, 0, &reply);
	if (ret) {
		m->failed = true;
		return ret;
	}
	get(reply, "memory", &m->memory);
	get(reply, "present", &m->present);
	get(reply, "window_ns", &m->window_ns);
	get(reply, "dirty", &m->dirty);
	get_part(reply, "rings_ns", &m->rings_ns);
	get_part(reply, "state_ns", &m->state_ns);
	get_demand(m, reply);
	json_object_put(reply);
	return 0;
}

void measure_stop(struct measured *m)
{
	struct json_object *request;

	if (m->failed)
		return;
	request = json_object_new_object();
	json_object_object_add(request, "cmd", json_object_new_string("measure"));
	json_object_object_add(request, "stop", json_object_new_boolean(true));
	/* If it has ended by itself, all the better. */
	vmm_call(m->vmm, request, NULL, 0, NULL);
}

static void sleep_until(const struct timespec *begin, uint64_t ns)
{
	struct timespec until = *begin;

	ns += until.tv_nsec;
	until.tv_sec += ns / 1000000000;
	until.tv_nsec = ns % 1000000000;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* All of them, at the @place'th point; or, with @window, at none: a window begins. */
static void read_all(struct measured *m, size_t count, bool window, unsigned int place)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (m[i].failed || measure_read(&m[i], window) || window)
			continue;
		m[i].sum[place].ns += m[i].window_ns;
		m[i].sum[place].bytes += m[i].dirty;
		m[i].times[place]++;
	}
}

/* A window of all of them, read @places times: the first HALVES of these are parts of @ns. */
static int read_window(struct measured *m, size_t count, uint64_t ns, unsigned int places)
{
	struct timespec begin;
	unsigned int place;

	read_all(m, count, true, 0);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (place = 0; place < places; place++) {
		sleep_until(&begin, place < HALVES ? ns >> (HALVES - 1 - place) :
						     ns * (place - HALVES + 2));
		if (interrupts_seen())
			return -EINTR;
		read_all(m, count, false, place);
	}
	return 0;
}

int measure_all(struct measured *m, size_t count, uint64_t ns)
{
	unsigned int window;
	int ret = 0;

	for (window = 0; window < SHORT_WINDOWS && !ret; window++)
		ret = read_window(m, count, ns / EIGHTHS, HALVES);
	if (!ret)
		ret = read_window(m, count, ns / EIGHTHS, HALVES + EIGHTHS - SHORT_WINDOWS - 1);
	return ret;
}

int measure_window(struct measured *m, uint64_t ns)
{
	memset(m->sum, 0, sizeof(m->sum));
	memset(m->times, 0, sizeof(m->times));
	return read_window(m, 1, ns, HALVES);
}

void measure_input(const struct measured *m, uint64_t round_trip_ns, struct planner_input *in)
{
	struct planner_point *to;
	unsigned int i;

	memset(in, 0, sizeof(*in));
	in->ram_bytes = m->memory;
	/* A VMM that does not know has all of it carried. */
	in->carried_bytes = m->present ? m->present : m->memory;
	in->fixed_ns = planner_fixed_ns(m->rings_ns, m->state_ns, round_trip_ns);
	in->demand = m->demand;
	in->nr_demand = m->nr_demand;
	for (i = 0; i < PLANNER_MAX_POINTS && m->times[i]; i++) {
		to = &in->points[in->nr_points];
		to->ns = m->sum[i].ns / m->times[i];
		to->bytes = m->sum[i].bytes / m->times[i];
		/* Readings that a busy machine made late may have come at one time. */
		if (to->ns > (in->nr_points ? to[-1].ns : 0))
			in->nr_points++;
	}
}
