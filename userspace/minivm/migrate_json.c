// SPDX-License-Identifier: GPL-2.0-only
/*
 * Between the control socket's JSON and a migration: its limits, its figures.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include "migrate.h"

int migration_ferry_fail(struct mv_error *e, int ret, const char *what)
{
	char why[KVM_FERRY_REASON_LEN];

	snprintf(why, sizeof(why), "%s", ferry_error());
	return mv_fail(e, -ret, "%s: %s", what, why);
}

int migration_number(struct json_object *request, const char *key, uint64_t *value,
		     struct mv_error *e)
{
	struct json_object *o;

	if (!json_object_object_get_ex(request, key, &o))
		return 0;
	if (!json_object_is_type(o, json_type_int) || json_object_get_int64(o) < 0)
		return mv_fail(e, EINVAL, "\"%s\" must be a number that is not negative", key);
	*value = json_object_get_int64(o);
	return 1;
}

int migration_channels(struct migration_channels *c, struct json_object *request, const int *fds,
		       unsigned int nr_fds, struct mv_error *e)
{
	uint64_t channels = nr_fds ? nr_fds - 1 : 0, port = 0;
	unsigned int i;
	bool possible;
	int ret, rdma;

	memset(c, 0, sizeof(*c));
	ret = migration_number(request, "loop", &c->key, e);
	if (ret < 0)
		return ret;
	c->loop = ret;
	rdma = migration_number(request, "rdma", &port, e);
	if (rdma < 0)
		return rdma;
	ret = migration_number(request, "data_channels", &channels, e);
	if (ret < 0)
		return ret;
	possible = channels && channels <= KVM_FERRY_MAX_DATA_CHANNELS;
	if (c->loop && (!possible || nr_fds))
		return mv_fail(e, EINVAL,
			       "with \"loop\" say in \"data_channels\" how many there are, 1 to %u, and pass no sockets",
			       KVM_FERRY_MAX_DATA_CHANNELS);
	if (c->loop && rdma)
		return mv_fail(e, EINVAL, "\"loop\" and \"rdma\" do not go together: leave one out");
	if (rdma && (!possible || (nr_fds != 1 && nr_fds != channels + 1) || !port || port > UINT16_MAX))
		return mv_fail(e, EINVAL,
			       "with \"rdma\" (a port, 1 to 65535) say in \"data_channels\" how many there are, 1 to %u, and pass the control channel's socket, alone or with one for each data channel to fall back to",
			       KVM_FERRY_MAX_DATA_CHANNELS);
	if (!c->loop && !rdma && (!possible || nr_fds != channels + 1))
		return mv_fail(e, EINVAL,
			       "pass the control channel's socket and those of 1 to %u data channels, as many as \"data_channels\" says",
			       KVM_FERRY_MAX_DATA_CHANNELS);
	c->socks.control = nr_fds ? fds[0] : -1;
	c->socks.nr_data = channels;
	c->socks.rdma_port = port;
	for (i = 0; !c->loop && i < channels; i++)
		c->socks.data[i] = nr_fds == 1 ? -1 : fds[i + 1];
	return 0;
}

/* A word of a request that stands for a number. */
struct word {
	const char *text;
	uint64_t value;
};

/* As migration_number(), of a key that may also be one of some words; @what: of numbers. */
static int number_or_word(struct json_object *request, const char *key, const char *what,
			  const struct word *words, uint64_t *value, struct mv_error *e)
{
	struct json_object *o;

	if (!json_object_object_get_ex(request, key, &o))
		return 0;
	if (!json_object_is_type(o, json_type_string))
		return migration_number(request, key, value, e);
	for (; words->text; words++) {
		if (strcmp(json_object_get_string(o), words->text))
			continue;
		*value = words->value;
		return 1;
	}
	return mv_fail(e, EINVAL, "\"%s\" must be %s", key, what);
}

static int read_words(struct json_object *request, struct kvm_ferry_limits *limits,
		      struct mv_error *e)
{
	static const struct word pinned[] = { { "all", KVM_FERRY_PINNED_ALL }, { NULL, 0 } };
	static const struct word throttle[] = {
		{ "never", KVM_FERRY_THROTTLE_NEVER }, { "auto", KVM_FERRY_THROTTLE_AUTO }, { NULL, 0 },
	};
	static const struct word same[] = { { "same", KVM_FERRY_BANDWIDTH_SAME }, { NULL, 0 } };
	uint64_t value;
	int ret;

	ret = number_or_word(request, "max_pinned", "bytes or \"all\"", pinned, &value, e);
	if (ret > 0) {
		limits->max_pinned = value;
		limits->flags |= KVM_FERRY_LIMIT_PINNED;
	}
	if (ret < 0)
		return ret;
	ret = number_or_word(request, "final_bandwidth", "bytes a second or \"same\"", same, &value, e);
	if (ret > 0) {
		limits->final_bandwidth = value;
		limits->flags |= KVM_FERRY_LIMIT_FINAL_BANDWIDTH;
	}
	if (ret < 0)
		return ret;
	ret = number_or_word(request, "throttle", "\"never\", \"auto\" or pages a second", throttle,
			     &value, e);
	if (ret > 0) {
		limits->throttle = value;
		limits->flags |= KVM_FERRY_LIMIT_THROTTLE;
	}
	return ret;
}

int migration_limits(struct ferry_session *s, bool source, struct json_object *request,
		     struct mv_error *e)
{
	struct kvm_ferry_limits limits = { 0 };
	struct json_object *verify;
	const struct {
		const char *key;
		uint32_t flag;
		uint64_t unit;
		__u64 *field;
	} keys[] = {
		{ "bandwidth", KVM_FERRY_LIMIT_BANDWIDTH, 1, &limits.max_bandwidth },
		{ "downtime_ms", KVM_FERRY_LIMIT_DOWNTIME, 1000000, &limits.downtime_limit_ns },
		{ "inflight_bytes", KVM_FERRY_LIMIT_INFLIGHT, 1, &limits.inflight_bytes },
		{ "state_time_ms", KVM_FERRY_LIMIT_STATE_TIME, 1000000, &limits.state_time_ns },
		{ "throttle_floor", KVM_FERRY_LIMIT_THROTTLE_FLOOR, 1, &limits.throttle_floor },
		{ "peer_timeout_ms", KVM_FERRY_LIMIT_PEER_TIMEOUT, 1000000,
		  &limits.peer_timeout_ns },
	};
	unsigned int i;
	int ret;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		uint64_t value;

		ret = migration_number(request, keys[i].key, &value, e);
		if (ret < 0)
			return ret;
		if (!ret)
			continue;
		if (value > UINT64_MAX / keys[i].unit)
			return mv_fail(e, EINVAL, "\"%s\" is too large", keys[i].key);
		*keys[i].field = value * keys[i].unit;
		limits.flags |= keys[i].flag;
	}
	ret = read_words(request, &limits, e);
	if (ret < 0)
		return ret;
	/* Whether to verify is the source's word; a sink does as it is told. */
	if (source && json_object_object_get_ex(request, "verify", &verify)) {
		limits.verify = json_object_get_boolean(verify);
		limits.flags |= KVM_FERRY_LIMIT_VERIFY;
	}
	if (!limits.flags)
		return 0;
	ret = ferry_session_limits(s, &limits, sizeof(limits));
	return ret ? migration_ferry_fail(e, ret, "limits") : 0;
}

int migration_set(struct vm *vm, struct json_object *request, struct mv_error *e)
{
	struct migration *m = vm->migration;
	int ret;

	pthread_mutex_lock(&m->lock);
	if (m->active)
		ret = migration_limits(m->session, m->source, request, e);
	else
		ret = mv_fail(e, ENOENT, "no migration is under way");
	pthread_mutex_unlock(&m->lock);
	return ret;
}

struct json_object *migration_rings(struct ferry_session *s)
{
	struct json_object *list = json_object_new_array(), *o;
	struct kvm_ferry_ring_stats r;
	unsigned int i;

	for (i = 0; !ferry_session_ring_stats(s, i, &r, sizeof(r)); i++) {
		o = json_object_new_object();
#define PUT(field) json_object_object_add(o, #field, json_object_new_uint64(r.out_##field))
		PUT(ring_id);
		PUT(ring_entries);
		PUT(dirty_pages);
		PUT(dirty_rate);
		PUT(throttle_rate);
		PUT(waits);
		PUT(wait_ns);
		PUT(throttle_ns);
#undef PUT
		json_object_array_add(list, o);
	}
	return list;
}

struct json_object *migration_status(struct vm *vm)
{
	struct migration *m = vm->migration;
	struct kvm_ferry_stats s = { 0 };
	struct json_object *o = NULL;
	char why[KVM_FERRY_REASON_LEN] = "";

	pthread_mutex_lock(&m->lock);
	if (m->session && !ferry_session_stats(m->session, &s, sizeof(s))) {
		m->stats = s;
		m->known = true;
		ferry_session_reason(m->session, why, sizeof(why));
	}
	if (!m->known)
		goto out;
	s = m->stats;
	o = json_object_new_object();
#define PUT(field) json_object_object_add(o, #field, json_object_new_uint64(s.out_##field))
	PUT(session_id);
	PUT(role);
	PUT(state);
	PUT(error);
	PUT(nr_channels);
	PUT(total_time_ns);
	PUT(setup_time_ns);
	PUT(downtime_ns);
	PUT(expected_downtime_ns);
	PUT(ram_total);
	PUT(ram_transferred);
	PUT(ram_remaining);
	PUT(ram_acked);
	PUT(ram_queued);
	PUT(ram_normal);
	PUT(ram_duplicate);
	PUT(ram_hole);
	PUT(ram_skipped_clear);
	PUT(dirty_sync_count);
	PUT(dirty_pages_rate);
	PUT(link_rate);
	PUT(dirty_pages);
	PUT(ring_entries);
	PUT(ring_resets);
	PUT(ring_full);
	PUT(ring_full_ns);
	PUT(harvest_ns);
	PUT(reset_ns);
	PUT(extents);
	PUT(batches);
	PUT(batch_pages_spliced);
	PUT(pacing_ns);
	PUT(state_bytes);
	PUT(digest);
	PUT(bookkeeping_bytes);
	PUT(pinned_bytes);
	PUT(pinned_most_bytes);
	PUT(windows);
	PUT(rdma_channels);
	PUT(throttled_rings);
	PUT(throttle_rate);
	PUT(throttle_ns);
	PUT(expected_ram_ns);
	PUT(expected_trips_ns);
	PUT(expected_fixed_ns);
	PUT(expected_state_ns);
	PUT(predicted_downtime_ns);
	PUT(downtime_ram_ns);
	PUT(downtime_state_ns);
	PUT(downtime_commit_ns);
	PUT(working_set);
	PUT(stalled_passes);
#undef PUT
	if (m->session && m->source)
		json_object_object_add(o, "rings", migration_rings(m->session));
	json_object_object_add(o, "name", json_object_new_string_len((char *)s.out_name,
			       strnlen((char *)s.out_name, sizeof(s.out_name))));
	json_object_object_add(o, "state_name",
			       json_object_new_string(ferry_state_name(s.out_state)));
	json_object_object_add(o, "role_name",
			       json_object_new_string(ferry_role_name(s.out_role)));
	json_object_object_add(o, "pass", json_object_new_int(m->pass));
	json_object_object_add(o, "reason",
			       json_object_new_string(m->error.code ? m->error.text : why));
out:
	pthread_mutex_unlock(&m->lock);
	return o;
}
