// SPDX-License-Identifier: GPL-2.0
/* A VMM with a guest, as a process of its own (no test itself). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bad_call.h"
#include "fault_guest.h"
#include "fault_guest_vmm.h"
#include "tap.h"

#define LIMIT_MS	(20000 * lab_slow())
#define SLOW_BANDWIDTH	65536		/* the least there is */
#define LAST_BYTES	SLOW_BANDWIDTH	/* a second's worth, and less than a word of pages */
#define LASTS_BYTES	(GUEST_COLD_END - GUEST_COLD)	/* half a minute of that */
#define DOWNTIME_NS	2000000000000ULL	/* any will do: passes come with a rest between */

/**
 * struct call - a call that waits in a thread of its own
 * @thread: the thread
 * @begun: it was called
 * @over: it has returned
 * @err: what it has returned
 */
struct call {
	pthread_t thread;
	bool begun;
	bool over;
	int err;
};

/**
 * struct gvmm - the VMM
 * @role: of it
 * @s: its session
 * @id: of the session
 * @guest: its VM
 * @state: of the vCPU, saved or received
 * @final: source: FINAL
 * @commit: COMMIT
 * @closed: the fd of @s was closed
 * @doubt: the guest is paused and nobody knows whose it is
 */
struct gvmm {
	enum kvm_ferry_role role;
	struct ferry_session *s;
	uint64_t id;
	struct guest guest;
	struct guest_state state;
	struct call final;
	struct call commit;
	bool closed;
	bool doubt;
};

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f))
		tap_bail("%s: %s", path, strerror(errno));
}

static void set_up(struct gvmm *v, const struct vmm_seat *seat, const struct guest_plan *plan)
{
	bool source = seat->role == KVM_FERRY_SOURCE;
	struct kvm_ferry_limits l = {
		.size = sizeof(l),
		.flags = KVM_FERRY_LIMIT_PEER_TIMEOUT | KVM_FERRY_LIMIT_DOWNTIME |
			 (source ? KVM_FERRY_LIMIT_VERIFY : 0),
		.peer_timeout_ns = plan->timeout_ms * 1000000ULL,
		.downtime_limit_ns = DOWNTIME_NS,
		.verify = plan->verify,
	};
	struct ferry_device *dev;

	v->role = seat->role;
	/* Guests that never rest shall not keep the others from being heard. */
	if (nice(10) < 0)
		tap_bail("nice");
	if (plan->cgroup)
		write_file(source ? "/sys/fs/cgroup/ferry-source/cgroup.procs" :
				    "/sys/fs/cgroup/ferry-sink/cgroup.procs", "0");
	if (plan->unkillable && !source)
		write_file("/proc/self/oom_score_adj", "-1000");
	guest_open(&v->guest, !source);
	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	if (source ? ferry_source_create(dev, v->guest.vm.fd, "fault", &v->s) :
		     ferry_sink_create(dev, "fault", &v->s))
		tap_bail("session: %s", ferry_error());
	ferry_device_close(dev);
	if (ferry_session_add_region(v->s, 0, "ram", v->guest.vm.mem, GUEST_BYTES) ||
	    ferry_session_limits(v->s, &l, sizeof(l)) ||
	    ferry_session_add_socket(v->s, KVM_FERRY_CHANNEL_CONTROL, seat->fds[0]) ||
	    ferry_session_add_socket(v->s, KVM_FERRY_CHANNEL_DATA, seat->fds[1]))
		tap_bail("set-up: %s", ferry_session_error(v->s));
	close(seat->fds[0]);
	close(seat->fds[1]);
	v->id = ferry_session_id(v->s);
	if (!source)
		return;
	vm_hand_over(&v->guest.vm, v->s, GUEST_BYTES);
	guest_run(&v->guest);
}

static void *call_final(void *arg)
{
	struct gvmm *v = arg;

	v->final.err = ferry_session_final(v->s);
	__atomic_store_n(&v->final.over, true, __ATOMIC_RELEASE);
	return NULL;
}

static void *call_commit(void *arg)
{
	struct gvmm *v = arg;

	v->commit.err = ferry_session_commit(v->s);
	if (!v->commit.err && v->role == KVM_FERRY_SINK)
		guest_run(&v->guest);
	__atomic_store_n(&v->commit.over, true, __ATOMIC_RELEASE);
	return NULL;
}

static int begin(struct gvmm *v, struct call *c, void *(*fn)(void *))
{
	if (c->begun)
		return -EBUSY;
	c->begun = true;
	return -pthread_create(&c->thread, NULL, fn, v);
}

static bool is_over(const struct call *c)
{
	return !c->begun || __atomic_load_n(&c->over, __ATOMIC_ACQUIRE);
}

static int set_bandwidth(struct gvmm *v, uint64_t limit)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_BANDWIDTH,
				      .max_bandwidth = limit };

	return ferry_session_limits(v->s, &l, sizeof(l));
}

/* Senders have taken all that is dirty, and are at the last of it. */
static bool all_taken(struct gvmm *v)
{
	struct kvm_ferry_stats st = { .size = sizeof(st) };

	return poll_until(!ferry_session_stats(v->s, &st, sizeof(st)) && !st.out_ram_remaining);
}

/*
 * What is reported behind the place where a pass is waits for the next one, which will be
 * the final pass: FINAL comes while that pass sends its last few pages, for a second.
 */
static int leave_for_final(struct gvmm *v)
{
	int err = ferry_session_sync_rings(v->s, NULL);

	if (!err && !all_taken(v))
		tap_bail("a guest that stands still goes on getting dirty");
	err = err ?: set_bandwidth(v, SLOW_BANDWIDTH);
	err = err ?: ferry_session_report_range(v->s, 0, GUEST_COLD_END - LAST_BYTES, LAST_BYTES);
	if (!err && !all_taken(v))
		tap_bail("the pass before the final one does not begin");
	return err ?: ferry_session_report_range(v->s, 0, GUEST_COLD, LASTS_BYTES);
}

static int begin_final(struct gvmm *v, bool lasts)
{
	int err;

	guest_pause(&v->guest);
	guest_save(&v->guest, &v->state);
	err = lasts ? leave_for_final(v) : 0;
	return err ? err : begin(v, &v->final, call_final);
}

static int receive(struct gvmm *v)
{
	struct guest_state *state;
	size_t length;
	int err = ferry_session_recv_state_all(v->s, (void **)&state, &length);

	if (err)
		return err;
	if (length != sizeof(*state))
		tap_bail("%zu bytes of state", length);
	guest_load(&v->guest, state);
	free(state);
	return 0;
}

/*
 * The fd goes while calls on it wait: a signal gets them out, and they find no
 * session any more. The rings were not taken back, and nobody is left to ask.
 */
static int close_session(struct gvmm *v)
{
	struct call *calls[] = { &v->final, &v->commit };
	bool ran = v->role == KVM_FERRY_SOURCE && guest_runs(&v->guest);
	unsigned int i;

	if (ran)
		guest_pause(&v->guest);
	close(ferry_session_fd(v->s));
	v->closed = true;
	for (i = 0; i < 2; i++) {
		while (!is_over(calls[i])) {
			pthread_kill(calls[i]->thread, SIGUSR1);
			poll_pause();
		}
	}
	return 0;
}

/* At the source, once the guest is known to be here and nowhere else. */
static void keep_guest(struct gvmm *v)
{
	guest_pause(&v->guest);
	if (!v->closed && ferry_ring_take_back(v->guest.cpu->ring))
		tap_bail("the ring is not handed back: %s", ferry_error());
	guest_log_off(&v->guest);
	guest_run(&v->guest);
}

/* What struct kvm_ferry_commit and enum kvm_ferry_state say that a VMM may do. */
static int settle(struct gvmm *v)
{
	uint32_t state = KVM_FERRY_STATE_ABORTED;

	if (!v->closed) {
		if (pair_stats(v->s).out_state == KVM_FERRY_STATE_SETUP)
			ferry_session_abort(v->s);	/* it has no peer any more */
		state = await_state(ferry_session_fd(v->s), KVM_FERRY_STATE_DONE);
	}
	if (!poll_until(is_over(&v->final) && is_over(&v->commit)))
		tap_bail("a call waits on a session that has ended");
	if (v->role == KVM_FERRY_SINK)
		return 0;
	v->doubt = v->commit.begun && (v->commit.err == -EINPROGRESS ||
				       (v->closed && v->commit.err));
	/* A guest that was not handed over may run, and all that was before COMMIT. */
	if (!v->doubt && !(v->commit.begun && !v->commit.err) && state != KVM_FERRY_STATE_DONE)
		keep_guest(v);
	return 0;
}

static size_t swapped(const uint8_t *from, size_t bytes)
{
	size_t i, count = 0;
	uint64_t entry;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	for (i = 0; i < bytes / PAGE; i++) {
		off_t at = ((uintptr_t)from / PAGE + i) * sizeof(entry);

		if (pread(fd, &entry, sizeof(entry), at) != sizeof(entry))
			tap_bail("no pagemap");
		count += entry >> 62 & 1;
	}
	close(fd);
	return count;
}

/*
 * Half of it: the cold pages, which stay there for longer. A kernel that minds the
 * guest's accesses (6.1) only forgets them the first time, and what the network holds
 * stays: so ask again.
 */
static int page_out(struct gvmm *v)
{
	uint8_t *cold = v->guest.vm.mem + GUEST_COLD;
	size_t bytes = GUEST_COLD_END - GUEST_COLD;
	int tries;

	for (tries = 0; tries < 10 && swapped(cold, bytes) < bytes / PAGE / 2; tries++)
		if (madvise(cold, bytes, MADV_PAGEOUT))
			return -errno;
	return 0;
}

static int obey(struct gvmm *v, char order)
{
	switch (order) {
	case VMM_START:
		return ferry_session_start(v->s);
	case VMM_SLOW:
		return set_bandwidth(v, SLOW_BANDWIDTH);
	case VMM_FAST:
		return set_bandwidth(v, 0);
	case VMM_FINAL:
	case VMM_FINAL_LASTS:
		return begin_final(v, order == VMM_FINAL_LASTS);
	case VMM_SEND:
		return ferry_session_send_state(v->s, &v->state, sizeof(v->state), true);
	case VMM_RECV:
		return receive(v);
	case VMM_HAND_OVER:
		return begin(v, &v->commit, call_commit);
	case VMM_ABORT:
		return ferry_session_abort(v->s);
	case VMM_CLOSE:
		return close_session(v);
	case VMM_SETTLE:
		return settle(v);
	case VMM_RESUME:
		if (!v->doubt)
			return -EINVAL;
		v->doubt = false;
		keep_guest(v);
		return 0;
	case VMM_CHECK:
		return guest_goes_on(&v->guest, GUEST_ROUNDS, LIMIT_MS) ? 0 : -EIO;
	case VMM_PAGE_OUT:
		return page_out(v);
	default:
		return 0;
	}
}

static void answer(struct gvmm *v, int socket, int err)
{
	struct vmm_answer a = { .err = err, .id = v->id, .doubt = v->doubt,
				.runs = guest_runs(&v->guest),
				.whole = !__atomic_load_n(&v->guest.unwell, __ATOMIC_ACQUIRE) };

	if (v->closed) {
		a.state = KVM_FERRY_STATE_ABORTED;
		snprintf(a.reason, sizeof(a.reason), "closed here");
	} else {
		struct kvm_ferry_stats st = pair_stats(v->s);

		a.state = st.out_state;
		a.error = st.out_error;
		a.passes = st.out_dirty_sync_count;
		a.sent = st.out_ram_transferred;
		ferry_session_reason(v->s, a.reason, sizeof(a.reason));
	}
	if (send(socket, &a, sizeof(a), MSG_NOSIGNAL) != sizeof(a))
		_exit(1);
}

void guest_vmm_live(const struct vmm_seat *seat)
{
	static struct gvmm v;
	char order;

	set_up(&v, seat, seat->arg);
	answer(&v, seat->orders, 0);
	while (recv(seat->orders, &order, 1, 0) == 1 && order != VMM_QUIT)
		answer(&v, seat->orders, obey(&v, order));
	_exit(0);
}
