// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves the guest with libferry: this file is what a VMM has to do.
 *
 * Source:  create the session, tell it of regions, slots and rings, add the
 *	channels, switch dirty logging on, start. The guest runs on while the
 *	module copies. When it says CONVERGED: pause the vCPUs, save their state,
 *	FINAL, send the state, COMMIT.
 * Sink:    create the session, tell it of the same regions, add the channels,
 *	start. When state comes: load it, COMMIT, run.
 *
 * Whatever fails at the source before COMMIT was sent: the session is aborted,
 * the rings come back, logging is switched off and the guest runs on. When the
 * answer to COMMIT does not come, the VM stays paused until a person decides.
 * Whatever fails at the sink: it waits for another guest.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "migrate.h"

/* An ended session is kept open so long: who watches it looks once a second or so. */
#define LINGER_NS	2000000000ULL

void migration_init(struct vm *vm)
{
	struct migration *m = calloc(1, sizeof(*m));

	if (!m)
		err(1, "migration");
	m->vm = vm;
	pthread_mutex_init(&m->lock, NULL);
	vm->migration = m;
}

/*
 * How long the sink will take to load the state nobody here can know; what this host takes
 * is the nearest there is. While the guest runs it could not be measured without stopping
 * it. Once, and cold: a sink loads once, too. Who waits for a guest only saves, and learns
 * from the guest's state what loading takes.
 */
void migration_try_state(struct vm *vm, bool incoming)
{
	uint64_t begin = mv_now_ns();
	struct state_buf state;
	struct mv_error e;
	int ret;

	ret = state_save(vm, &state, &e);
	if (!ret && !incoming) {
		state_stamp(&state);
		ret = state_load(vm, state.data, state.len, mv_now_ns(), &e);
	}
	if (ret)
		warnx("%s", e.text);
	else
		vm->state_ns = mv_now_ns() - begin;
	state_free(&state);
}

bool migration_active(struct vm *vm)
{
	struct migration *m = vm->migration;
	bool active;

	pthread_mutex_lock(&m->lock);
	active = m->active;
	pthread_mutex_unlock(&m->lock);
	return active;
}

/* --- set-up ------------------------------------------------------------- */

int migration_add_memory(struct vm *vm, struct ferry_session *s, bool source, struct mv_error *e)
{
	unsigned int i;
	int ret;

	for (i = 0; i < vm->nr_regions; i++) {
		struct mv_region *r = &vm->regions[i];

		ret = ferry_session_add_region(s, i, r->name, r->hva, r->size);
		/* Region i is memslot i, as a whole. */
		if (!ret && source)
			ret = ferry_session_add_slot(s, FERRY_SLOT(0, i), i, 0, r->size);
		if (ret)
			return migration_ferry_fail(e, ret, r->name);
	}
	return 0;
}

static int tell_state_time(struct vm *vm, struct ferry_session *s, struct mv_error *e)
{
	struct kvm_ferry_limits limits = {
		.flags = KVM_FERRY_LIMIT_STATE_TIME, .state_time_ns = vm->state_ns,
	};
	int ret = ferry_session_limits(s, &limits, sizeof(limits));

	return ret ? migration_ferry_fail(e, ret, "limits") : 0;
}

int migration_hand_over_rings(struct vm *vm, struct ferry_session *s, struct mv_error *e)
{
	unsigned int i;
	int ret;

	ret = vm_reap_rings(vm);
	if (ret)
		return mv_fail(e, -ret, "the dirty rings cannot be emptied");
	pthread_mutex_lock(&vm->ring_lock);
	for (i = 0; i < vm->nr_vcpus && !ret; i++)
		ret = ferry_ring_hand_over(vm->vcpus[i].ring, s);
	pthread_mutex_unlock(&vm->ring_lock);
	return ret ? migration_ferry_fail(e, ret, "dirty rings") : 0;
}

static int add_channels(struct ferry_session *s, const struct migration_channels *c,
			struct mv_error *e)
{
	unsigned int i;
	int ret = 0;

	if (!c->loop)
		ret = ferry_session_add_sockets(s, &c->socks);
	for (i = 0; c->loop && !ret && i <= c->socks.nr_data; i++)
		ret = ferry_session_add_loop(s, i ? KVM_FERRY_CHANNEL_DATA :
						    KVM_FERRY_CHANNEL_CONTROL, c->key + i);
	return ret ? migration_ferry_fail(e, ret, "channels") : 0;
}

/* --- the end of a session ----------------------------------------------- */

static void remember(struct migration *m, const struct mv_error *e)
{
	struct kvm_ferry_stats stats = { 0 };

	pthread_mutex_lock(&m->lock);
	if (!ferry_session_stats(m->session, &stats, sizeof(stats))) {
		m->stats = stats;
		m->known = true;
	}
	if (e)
		m->error = *e;
	pthread_mutex_unlock(&m->lock);
}

void migration_take_back(struct vm *vm)
{
	struct mv_error e;
	int ret;

	if (vm_log_dirty(vm, false, &e))
		warnx("%s", e.text);
	/* Also what came between the session's last harvest and now. */
	ret = vm_reap_rings(vm);
	if (ret)
		warnx("the dirty rings cannot be emptied: %s", strerror(-ret));
}

static void end_session(struct migration *m)
{
	pthread_mutex_lock(&m->lock);
	m->active = false;
	m->ended_ns = mv_now_ns();
	pthread_mutex_unlock(&m->lock);
	vm_wake(m->vm);
}

/* The main thread's: of a session that has ended. */
static void close_session(struct migration *m)
{
	struct ferry_session *s;

	if (m->thread_valid)
		pthread_join(m->thread, NULL);
	m->thread_valid = false;
	pthread_mutex_lock(&m->lock);
	s = m->session;
	m->session = NULL;
	pthread_mutex_unlock(&m->lock);
	ferry_session_close(s);
}

bool migration_settled(struct vm *vm)
{
	struct migration *m = vm->migration;
	bool open, due;

	pthread_mutex_lock(&m->lock);
	open = m->session;
	due = open && !m->active && mv_now_ns() - m->ended_ns > LINGER_NS;
	pthread_mutex_unlock(&m->lock);
	if (due)
		close_session(m);
	return !open || due;
}

int migration_session_fail(struct ferry_session *s, int ret, const char *what, struct mv_error *e)
{
	char why[KVM_FERRY_REASON_LEN];
	int code = ferry_session_reason(s, why, sizeof(why));

	if (code > 0 && why[0])
		return mv_fail(e, code, "%s", why);
	return mv_fail(e, -ret, "%s: %s", what, strerror(-ret));
}

/*
 * Waits for any event of @want. An error when the session ends before that.
 */
static int wait_for(struct migration *m, uint32_t want, struct mv_error *e)
{
	for (;;) {
		struct kvm_ferry_event event = { 0 };
		int ret = ferry_session_wait_event(m->session, &event, sizeof(event), -1);

		if (ret == -EINTR)
			continue;
		if (ret < 0)
			return migration_session_fail(m->session, ret, "waiting for the session",
						      e);
		pthread_mutex_lock(&m->lock);
		m->pass = event.out_pass;
		pthread_mutex_unlock(&m->lock);
		if (ferry_state_ended(event.out_state))
			return migration_session_fail(m->session, -(int)event.out_error,
						      "the session ended", e);
		if (event.out_events & want)
			return 0;
	}
}

/* --- source ------------------------------------------------------------- */

/* The guest is paused. -EINPROGRESS: in doubt. */
static int switch_over(struct migration *m, struct mv_error *e)
{
	struct ferry_session *s = m->session;
	struct state_buf state;
	int ret;

	if (m->vm->stopped)
		return mv_fail(e, ECANCELED, "the guest has shut down");
	/* Before FINAL: asking a vCPU for its state may write guest memory. */
	ret = state_save(m->vm, &state, e);
	if (ret)
		goto out;
	ret = ferry_session_final(s);
	if (ret) {
		migration_session_fail(s, ret, "final pass", e);
		goto out;
	}
	state_stamp(&state);
	ret = ferry_session_send_state(s, state.data, state.len, true);
	if (ret) {
		migration_session_fail(s, ret, "sending the VM's state", e);
		goto out;
	}
	ret = ferry_session_commit(s);
	if (ret)
		migration_session_fail(s, ret, "commit", e);
out:
	state_free(&state);
	return ret;
}

static void *source_main(void *arg)
{
	struct migration *m = arg;
	struct vm *vm = m->vm;
	struct mv_error e = { 0 };
	bool paused = false;
	int ret;

	ret = wait_for(m, KVM_FERRY_EVENT_CONVERGED, &e);
	if (!ret) {
		vm_pause(vm);
		vm_set_run_state(vm, MV_PAUSED);
		paused = true;
		ret = switch_over(m, &e);
	}
	if (!ret) {
		/* The sink runs the guest: from here on it must not run here. */
		serial_forget(vm);
		vm_set_run_state(vm, MV_GONE);
	} else if (ret == -EINPROGRESS) {
		vm_set_run_state(vm, MV_IN_DOUBT);
	} else {
		ferry_session_abort(m->session);
	}
	remember(m, ret ? &e : NULL);
	migration_take_back(vm);
	if (ret && ret != -EINPROGRESS && paused)
		vm_resume(vm);
	if (ret)
		warnx("migration failed: %s", e.text);
	end_session(m);
	return NULL;
}

/* --- sink --------------------------------------------------------------- */

static int take_guest(struct migration *m, struct mv_error *e)
{
	struct ferry_session *s = m->session;
	uint64_t received_ns, begin;
	size_t len = 0;
	void *data = NULL;
	int ret;

	ret = wait_for(m, KVM_FERRY_EVENT_STATE_DATA, e);
	if (ret)
		return ret;
	received_ns = mv_now_ns();
	ret = ferry_session_recv_state_all(s, &data, &len);
	if (ret)
		return migration_session_fail(s, ret, "receiving the VM's state", e);
	m->spoilt = true;
	begin = mv_now_ns();
	ret = state_load(m->vm, data, len, received_ns, e);
	m->vm->state_ns += mv_now_ns() - begin;
	free(data);
	if (ret)
		return ret;
	ret = ferry_session_commit(s);
	return ret ? migration_session_fail(s, ret, "commit", e) : 0;
}

static void *sink_main(void *arg)
{
	struct migration *m = arg;
	struct mv_error e = { 0 };
	int ret = take_guest(m, &e);

	if (!ret) {
		m->spoilt = false;
		vm_resume(m->vm);
		vm_wake(m->vm);
	} else {
		ferry_session_abort(m->session);
	}
	remember(m, ret ? &e : NULL);
	if (ret)
		warnx("receiving failed: %s", e.text);
	end_session(m);
	return NULL;
}

int migration_device(struct migration *m, struct mv_error *e)
{
	int ret = m->dev ? 0 : ferry_device_open(&m->dev);

	return ret ? migration_ferry_fail(e, ret, "kvm_ferry") : 0;
}

/* --- what the control socket asks for ----------------------------------- */

static int check_begin(struct vm *vm, bool source, struct mv_error *e)
{
	if (migration_active(vm))
		return mv_fail(e, EBUSY, "a migration is under way");
	if (source && vm_run_state(vm) != MV_RUNNING)
		return mv_fail(e, EBUSY, "the guest does not run here");
	if (!source && vm_run_state(vm) != MV_INCOMING)
		return mv_fail(e, EBUSY, "this VM does not wait for a guest: start one with --incoming");
	return 0;
}

int migration_begin(struct vm *vm, bool source, struct json_object *request, const int *fds,
		    unsigned int nr_fds, struct mv_error *e)
{
	struct migration *m = vm->migration;
	struct migration_channels channels;
	struct ferry_session *s = NULL;
	sigset_t all, old;
	int ret;

	ret = check_begin(vm, source, e);
	if (!ret)
		ret = migration_channels(&channels, request, fds, nr_fds, e);
	if (ret)
		return ret;
	/* Nobody is planned for any more, and the rings are needed. */
	measure_end(vm, -1);
	close_session(m);
	if (m->spoilt)
		vm_renew(vm);
	m->spoilt = false;
	ret = migration_device(m, e);
	if (ret)
		return ret;
	if (source)
		ret = ferry_source_create(m->dev, vm->fd, vm->opt->name, &s);
	else
		ret = ferry_sink_create(m->dev, vm->opt->name, &s);
	if (ret)
		return migration_ferry_fail(e, ret, "session");

	ret = source ? tell_state_time(vm, s, e) : 0;
	if (!ret)
		ret = migration_limits(s, source, request, e);
	if (!ret)
		ret = migration_add_memory(vm, s, source, e);
	if (!ret)
		ret = add_channels(s, &channels, e);
	if (!ret && source)
		ret = migration_hand_over_rings(vm, s, e);
	/* Logging last, so that a busy guest does not fill its rings before START. */
	if (!ret && source)
		ret = vm_log_dirty(vm, true, e);
	if (!ret) {
		ret = ferry_session_start(s);
		if (ret)
			migration_ferry_fail(e, ret, "start");
	}
	if (ret)
		goto err_abort;

	m->source = source;
	m->session = s;
	m->active = true;
	m->known = false;
	m->pass = 0;
	m->error.code = 0;
	/* Signals are the main loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&m->thread, NULL, source ? source_main : sink_main, m);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!ret) {
		m->thread_valid = true;
		return 0;
	}
	m->active = false;
	m->session = NULL;
	mv_fail(e, -ret, "no thread for the migration");
err_abort:
	ferry_session_abort(s);
	if (source)
		migration_take_back(vm);
	ferry_session_close(s);
	return ret;
}

int migration_cancel(struct vm *vm, struct mv_error *e)
{
	struct migration *m = vm->migration;
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	if (!m->active) {
		ret = mv_fail(e, ENOENT, "no migration is under way");
	} else {
		ret = ferry_session_abort(m->session);
		if (ret)
			migration_ferry_fail(e, ret, "cancel");
	}
	pthread_mutex_unlock(&m->lock);
	return ret;
}

void migration_fail(struct vm *vm, const char *why)
{
	struct mv_error e;

	warnx("%s: %s", why, ferry_error());
	measure_abort(vm);
	migration_cancel(vm, &e);
}

void migration_free(struct vm *vm)
{
	struct migration *m = vm->migration;
	struct mv_error e;

	measure_end(vm, -1);
	/* Refused once COMMIT was sent: then the answer, or its absence, ends it. */
	migration_cancel(vm, &e);
	close_session(m);
	ferry_device_close(m->dev);
	pthread_mutex_destroy(&m->lock);
	free(m);
	vm->migration = NULL;
}
