// SPDX-License-Identifier: GPL-2.0
/* VMMs that are processes of their own (no test itself). */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bad_call.h"
#include "fault_vmm.h"
#include "tap.h"

#define HEAR_MS (30000 * lab_slow())
/* So slow that FINAL lasts as long as a test needs it. */
#define SLOW 65536

/**
 * struct self - a VMM, in its own process
 * @role: of it
 * @target: where it goes
 * @s: its session
 * @mem: its memory
 * @fds: its ends of the control and the data channel
 */
struct self {
	enum kvm_ferry_role role;
	enum kvm_ferry_state target;
	struct ferry_session *s;
	uint8_t *mem;
	int fds[2];
};

/**
 * struct journey - how far a pair goes
 * @role: one of this role goes to @state, and the other one as far as that takes
 * @state: see @role
 * @timeout_ms: of both sessions
 */
struct journey {
	enum kvm_ferry_role role;
	enum kvm_ferry_state state;
	unsigned int timeout_ms;
};

/* Where the sink's data channel listens by RDMA; AF_UNSPEC: they are sockets. */
static struct sockaddr_in rdma;
static int listening[2];	/* a pipe: the sink listens */

void vmms_use_rdma(struct sockaddr_in addr)
{
	rdma = addr;
}

const char *vmm_state_name(enum kvm_ferry_state state)
{
	return ferry_state_name(state);
}

static uint8_t tag(size_t page)
{
	return page % 251 + 1;
}

static int add_data(struct self *v)
{
	int err;

	if (!rdma.sin_family)
		return ferry_session_add_socket(v->s, KVM_FERRY_CHANNEL_DATA, v->fds[1]);
	if (v->role == KVM_FERRY_SOURCE)
		return ferry_session_connect_rdma(v->s, (struct sockaddr *)&rdma, sizeof(rdma), NULL, 0, -1);
	err = ferry_session_listen_rdma(v->s, (struct sockaddr *)&rdma, sizeof(rdma), -1);
	if (!err && write(listening[1], "", 1) != 1)
		tap_bail("pipe: %s", strerror(errno));
	return err;
}

static void set_up(struct self *v, unsigned int timeout_ms)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_PEER_TIMEOUT,
				      .peer_timeout_ns = timeout_ms * 1000000ULL };
	struct ferry_device *dev;
	size_t i;

	v->mem = pair_memory(VMM_BYTES, false);
	for (i = 0; i < VMM_BYTES / PAGE; i++)
		memset(v->mem + i * PAGE, v->role == KVM_FERRY_SOURCE ? tag(i) : 0xff, PAGE);
	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	if (v->role == KVM_FERRY_SOURCE ? ferry_source_create_reporting(dev, "fault", &v->s) :
					  ferry_sink_create(dev, "fault", &v->s))
		tap_bail("session: %s", ferry_error());
	if (ferry_session_add_region(v->s, 0, "ram", v->mem, VMM_BYTES) ||
	    ferry_session_limits(v->s, &l, sizeof(l)) ||
	    ferry_session_add_socket(v->s, KVM_FERRY_CHANNEL_CONTROL, v->fds[0]) ||
	    add_data(v))
		tap_bail("set-up: %s", ferry_session_error(v->s));
	close(v->fds[0]);
	close(v->fds[1]);
}

static void *ask_final(void *s)
{
	ferry_session_final(s);
	return NULL;
}

static void *ask_commit(void *s)
{
	ferry_session_commit(s);
	return NULL;
}

/* FINAL that lasts: half a MiB to send, at 64 KiB a second. */
static void creep(struct self *v)
{
	struct kvm_ferry_limits slow = { .size = sizeof(slow), .flags = KVM_FERRY_LIMIT_BANDWIDTH,
					 .max_bandwidth = SLOW };

	if (ferry_session_limits(v->s, &slow, sizeof(slow)) ||
	    ferry_session_report_range(v->s, 0, 4 * MIB, MIB / 2))
		tap_bail("creep: %s", ferry_session_error(v->s));
}

static void go_as_source(struct self *v)
{
	pthread_t thread;
	char byte;

	if (v->target == KVM_FERRY_STATE_SETUP)
		return;
	if (rdma.sin_family && read(listening[0], &byte, 1) != 1)
		tap_bail("the sink does not listen");
	if (ferry_session_start(v->s))
		tap_bail("start: %s", ferry_session_error(v->s));
	if (v->target == KVM_FERRY_STATE_CONNECTING)
		return;
	pair_wait(v->s, KVM_FERRY_EVENT_CONVERGED);
	if (v->target == KVM_FERRY_STATE_LIVE)
		return;
	if (v->target == KVM_FERRY_STATE_FINAL) {
		creep(v);
		pthread_create(&thread, NULL, ask_final, v->s);
		await_state(ferry_session_fd(v->s), KVM_FERRY_STATE_FINAL);
		return;
	}
	if (ferry_session_final(v->s))
		tap_bail("final: %s", ferry_session_error(v->s));
	if (v->target == KVM_FERRY_STATE_COMMITTING && ferry_session_send_state(v->s, "state", 5, true))
		tap_bail("state: %s", ferry_session_error(v->s));
}

static void go_as_sink(struct self *v)
{
	pthread_t thread;
	size_t length;
	void *state;

	if (v->target == KVM_FERRY_STATE_SETUP)
		return;
	if (ferry_session_start(v->s))
		tap_bail("start: %s", ferry_session_error(v->s));
	if (v->target != KVM_FERRY_STATE_COMMITTING) {
		await_state(ferry_session_fd(v->s), v->target);
		return;
	}
	await_state(ferry_session_fd(v->s), KVM_FERRY_STATE_PAUSED);
	if (ferry_session_recv_state_all(v->s, &state, &length))
		tap_bail("state: %s", ferry_session_error(v->s));
	free(state);
	pthread_create(&thread, NULL, ask_commit, v->s);
	await_state(ferry_session_fd(v->s), KVM_FERRY_STATE_COMMITTING);
}

static bool whole(const struct self *v)
{
	size_t i;

	if (v->role != KVM_FERRY_SOURCE)
		return true;
	for (i = 0; i < VMM_BYTES / PAGE; i++)
		if (v->mem[i * PAGE] != tag(i) || v->mem[i * PAGE + PAGE - 1] != tag(i))
			return false;
	return true;
}

static void answer(struct self *v, int socket, int err)
{
	struct kvm_ferry_stats st = pair_stats(v->s);
	struct vmm_answer a = { .err = err, .state = st.out_state, .error = st.out_error,
				.id = st.out_session_id, .whole = whole(v) };

	ferry_session_reason(v->s, a.reason, sizeof(a.reason));
	if (send(socket, &a, sizeof(a), MSG_NOSIGNAL) != sizeof(a))
		_exit(1);
}

/* How far the other end goes, so that one of @role gets to @state. */
static enum kvm_ferry_state partner(enum kvm_ferry_state state)
{
	/* An end is CONNECTING for as long as the other one was not started. */
	return state == KVM_FERRY_STATE_CONNECTING ? KVM_FERRY_STATE_SETUP : state;
}

static void live(const struct vmm_seat *seat)
{
	const struct journey *j = seat->arg;
	struct self self = { .role = seat->role, .fds = { seat->fds[0], seat->fds[1] },
			     .target = j->role == seat->role ? j->state : partner(j->state) };
	struct self *v = &self;
	int socket = seat->orders;
	char order;

	set_up(v, j->timeout_ms);
	if (v->role == KVM_FERRY_SOURCE)
		go_as_source(v);
	else
		go_as_sink(v);
	answer(v, socket, 0);
	while (recv(socket, &order, 1, 0) == 1) {
		switch (order) {
		case VMM_ABORT:
			answer(v, socket, ferry_session_abort(v->s));
			break;
		case VMM_COMMIT:
			answer(v, socket, ferry_session_commit(v->s));
			break;
		case VMM_WAIT:
			await_state(ferry_session_fd(v->s), KVM_FERRY_STATE_DONE);
			answer(v, socket, 0);
			break;
		default:
			_exit(0);
		}
	}
	_exit(0);
}

void vmms_spawn(struct vmm_pair *p, vmm_connect_fn connect,
		void (*live)(const struct vmm_seat *seat), void *arg)
{
	int control[2], data[2], orders[2], i;

	connect(control);
	connect(data);
	for (i = 0; i < 2; i++) {
		struct vmm_seat seat = { .role = i, .fds = { control[i], data[i] }, .arg = arg };

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, orders))
			tap_bail("socketpair: %s", strerror(errno));
		p->end[i] = (struct vmm){ .role = i, .socket = orders[0] };
		fflush(stdout);
		p->end[i].pid = fork();
		if (!p->end[i].pid) {
			/* Whoever holds a copy of a socket keeps it open. */
			close(control[!i]);
			close(data[!i]);
			close(orders[0]);
			if (i)
				close(p->end[0].socket);
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			seat.orders = orders[1];
			live(&seat);
			_exit(1);
		}
		close(orders[1]);
	}
	for (i = 0; i < 2; i++) {
		close(control[i]);
		close(data[i]);
	}
	for (i = 0; i < 2; i++)
		p->end[i].id = vmm_hear(&p->end[i]).id;
}

void vmms_start(struct vmm_pair *p, enum kvm_ferry_role role, enum kvm_ferry_state state,
		unsigned int timeout_ms, vmm_connect_fn connect)
{
	struct journey j = { .role = role, .state = state, .timeout_ms = timeout_ms };
	static uint16_t port = 20000;

	/* A port of its own: the one before may linger. */
	rdma.sin_port = htons(port++);
	if (pipe(listening))
		tap_bail("pipe: %s", strerror(errno));
	vmms_spawn(p, connect, live, &j);
	close(listening[0]);
	close(listening[1]);
}

void vmm_tell(struct vmm *v, enum vmm_order order)
{
	char byte = order;

	send(v->socket, &byte, 1, MSG_NOSIGNAL);
}

struct vmm_answer vmm_hear(struct vmm *v)
{
	struct pollfd pfd = { .fd = v->socket, .events = POLLIN };
	struct vmm_answer a;

	if (poll(&pfd, 1, HEAR_MS) <= 0 || recv(v->socket, &a, sizeof(a), 0) != sizeof(a))
		tap_bail("the %s does not answer", ferry_role_name(v->role));
	return a;
}

struct vmm_answer vmm_ask(struct vmm *v, enum vmm_order order)
{
	vmm_tell(v, order);
	return vmm_hear(v);
}

/* Is there a kernel task of this session? They are called ferry-what-ID, and are younger than we. */
static bool has_tasks(uint64_t id)
{
	char path[300], comm[32], kind[16];
	unsigned long long number;
	struct dirent *e;
	bool found = false;
	DIR *proc = opendir("/proc");
	FILE *f;

	while (proc && (e = readdir(proc)) && !found) {
		if (atoi(e->d_name) <= getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(comm, sizeof(comm), f) && sscanf(comm, "ferry-%15[a-z]-%llu", kind, &number) == 2)
			found = number == id;
		fclose(f);
	}
	closedir(proc);
	return found;
}

bool vmm_gone(struct vmm *v)
{
	if (!v->pid)
		return true;
	if (!poll_until(waitpid(v->pid, NULL, WNOHANG) == v->pid))
		return false;
	v->pid = 0;
	return poll_until(!has_tasks(v->id));
}

void vmms_stop(struct vmm_pair *p)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (p->end[i].pid)
			vmm_tell(&p->end[i], VMM_QUIT);
		if (!vmm_gone(&p->end[i]))
			tap_check(false, "the %s does not go", ferry_role_name(p->end[i].role));
		close(p->end[i].socket);
	}
}
