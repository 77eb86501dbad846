// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the guest dirties memory, for whoever plans a migration: a source session
 * without channels watches it, in windows, while the guest runs on.
 *
 * Measuring belongs to the client of the control socket that asked for it, and ends
 * with its connection: a client that was killed leaves nothing behind. A migration
 * that is asked for meanwhile needs the rings, and ends it, too.
 *
 * All of this is the main thread's, but measure_abort().
 */
#include <err.h>
#include <errno.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/mman.h>
#include "migrate.h"

#define LIVE_MS		5000	/* to reset the rings once */
#define SAMPLES		8192	/* pages that are looked at */

/*
 * About how many bytes of memory a first pass would carry: neither holes nor zero
 * pages. Of a large memory only some pages are looked at, in steps that are odd,
 * since guests like powers of two.
 */
static uint64_t present_bytes(const struct vm *vm)
{
	static const uint8_t zero[MINIVM_PAGE];
	uint64_t pages = vm->opt->memory / MINIVM_PAGE, at, found = 0;
	uint64_t step = pages > SAMPLES ? pages / SAMPLES | 1 : 1;
	unsigned int i;

	for (i = 0; i < vm->nr_regions; i++) {
		const struct mv_region *r = &vm->regions[i];

		for (at = 0; at < r->size / MINIVM_PAGE; at += step) {
			uint8_t *page = r->hva + at * MINIVM_PAGE;
			unsigned char there;

			if (!mincore(page, MINIVM_PAGE, &there) && there & 1 &&
			    memcmp(page, zero, MINIVM_PAGE))
				found++;
		}
	}
	return found * step * MINIVM_PAGE;
}

/* Before that the session knows of no windows. */
static int wait_live(struct ferry_session *s, struct mv_error *e)
{
	const uint64_t end = mv_now_ns() + LIVE_MS * 1000000ULL;
	struct kvm_ferry_event event = { 0 };
	int ret;

	while (mv_now_ns() < end) {
		ret = ferry_session_wait_event(s, &event, sizeof(event), 100);
		if (ret < 0 && ret != -EINTR && ret != -ETIMEDOUT)
			return migration_ferry_fail(e, ret, "measuring");
		if (event.out_state == KVM_FERRY_STATE_LIVE)
			return 0;
		if (ferry_state_ended(event.out_state))
			return migration_session_fail(s, -ECANCELED, "measuring ended", e);
	}
	return mv_fail(e, ETIMEDOUT, "the dirty rings were not reset within %d ms", LIVE_MS);
}

static int begin(struct vm *vm, int client, struct mv_error *e)
{
	struct migration *m = vm->migration;
	struct ferry_session *s;
	int ret;

	if (migration_active(vm))
		return mv_fail(e, EBUSY, "a migration is under way: nothing is measured beside it");
	if (vm_run_state(vm) != MV_RUNNING)
		return mv_fail(e, EBUSY, "the guest does not run here, so it dirties nothing");
	ret = migration_device(m, e);
	if (ret)
		return ret;
	ret = ferry_source_create(m->dev, vm->fd, vm->opt->name, &s);
	if (ret)
		return migration_ferry_fail(e, ret, "session");
	m->present = present_bytes(vm);
	ret = migration_add_memory(vm, s, true, e);
	if (!ret)
		ret = migration_hand_over_rings(vm, s, e);
	if (!ret)
		ret = vm_log_dirty(vm, true, e);
	if (!ret) {
		ret = ferry_session_measure(s);
		if (ret)
			migration_ferry_fail(e, ret, "start");
	}
	if (!ret)
		ret = wait_live(s, e);
	if (ret) {
		ferry_session_abort(s);
		migration_take_back(vm);
		ferry_session_close(s);
		return ret;
	}
	m->measurer = client;
	m->window_ns = mv_now_ns();
	pthread_mutex_lock(&m->lock);
	m->measured = s;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

void measure_end(struct vm *vm, int client)
{
	struct migration *m = vm->migration;
	struct ferry_session *s = m->measured;

	if (!s || (client >= 0 && client != m->measurer))
		return;
	pthread_mutex_lock(&m->lock);
	m->measured = NULL;
	pthread_mutex_unlock(&m->lock);
	ferry_session_abort(s);
	migration_take_back(vm);
	ferry_session_close(s);
}

void measure_abort(struct vm *vm)
{
	struct migration *m = vm->migration;

	pthread_mutex_lock(&m->lock);
	if (m->measured)
		ferry_session_abort(m->measured);
	pthread_mutex_unlock(&m->lock);
}

static int tell(struct vm *vm, struct json_object *reply, bool window, struct mv_error *e)
{
	struct migration *m = vm->migration;
	struct kvm_ferry_stats s = { 0 };
	uint64_t now;
	int ret;

	/* What the guest has dirtied until now counts, whether or not it was harvested. */
	ret = ferry_session_harvest_rings(m->measured, NULL);
	now = mv_now_ns();
	if (!ret)
		ret = ferry_session_stats(m->measured, &s, sizeof(s));
	if (ret)
		return migration_session_fail(m->measured, ret, "measuring", e);
#define PUT(name, value) json_object_object_add(reply, name, json_object_new_uint64(value))
	json_object_object_add(reply, "version", json_object_new_int(1));
	PUT("session_id", s.out_session_id);
	PUT("memory", s.out_ram_total);
	PUT("present", m->present);
	PUT("window_ns", now - m->window_ns);
	PUT("dirty", s.out_ram_remaining);
	PUT("dirty_pages_rate", s.out_dirty_pages_rate);
	/* Of a pause, what is known here beside its pages. */
	PUT("rings_ns", s.out_expected_fixed_ns);
	PUT("state_ns", vm->state_ns);
#undef PUT
	json_object_object_add(reply, "rings", migration_rings(m->measured));
	if (!window)
		return 0;
	ret = ferry_session_begin_window(m->measured);
	m->window_ns = mv_now_ns();
	return ret ? migration_session_fail(m->measured, ret, "measuring", e) : 0;
}

static bool said(struct json_object *request, const char *key)
{
	struct json_object *o;

	return json_object_object_get_ex(request, key, &o) && json_object_get_boolean(o);
}

int measure(struct vm *vm, int client, struct json_object *request, struct json_object *reply,
	    struct mv_error *e)
{
	struct migration *m = vm->migration;
	int ret;

	if (m->measured && client != m->measurer)
		return mv_fail(e, EBUSY, "another client measures: wait until it has ended");
	if (said(request, "stop")) {
		if (!m->measured)
			return mv_fail(e, ENOENT, "nothing is measured");
		measure_end(vm, client);
		return 0;
	}
	if (!m->measured) {
		ret = begin(vm, client, e);
		if (ret)
			return ret;
	}
	ret = tell(vm, reply, said(request, "window"), e);
	if (ret)
		measure_end(vm, client);
	return ret;
}
