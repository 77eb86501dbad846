// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=ring_vm.c,bad_call.c,pair.c,tap.c timeout=60 leak=4096
 *
 * A vCPU thread that waits for room in its ring is let go by a signal, by an
 * abort, by the peer's end. To make it wait, the harvester is held up: it sends
 * a HELLO of 256 regions over a connection that is too small for it and that
 * nobody reads.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bad_call.h"
#include "ring_vm.h"
#include "tap.h"

#define BYTES (4 * MIB)

static struct vm vm;

/**
 * struct held - a source whose main task is stuck in HELLO
 * @dev: the device
 * @s: the session
 * @peer: ends of the sockets that nobody reads, control and data
 */
struct held {
	struct ferry_device *dev;
	struct ferry_session *s;
	int peer[2];
};

static void small_sockets(int fds[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0), small = 1024;

	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	/* Before they are connected: the window is told then. */
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	if (bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) ||
	    connect(fds[0], (struct sockaddr *)&addr, len))
		tap_bail("no loopback: %s", strerror(errno));
	fds[1] = accept(listener, NULL, NULL);
	close(listener);
}

static void hold(struct held *h)
{
	char name[KVM_FERRY_NAME_LEN];
	int fds[2], waiting = 0;
	unsigned int i;

	if (ferry_device_open(&h->dev) || ferry_source_create(h->dev, vm.fd, "held", &h->s))
		tap_bail("session: %s", ferry_error());
	for (i = 0; i < KVM_FERRY_MAX_REGIONS; i++) {
		snprintf(name, sizeof(name), "region-%u", i);
		if (ferry_session_add_region(h->s, i, name, vm.mem + i * 4 * PAGE, 4 * PAGE))
			tap_bail("region %u: %s", i, ferry_session_error(h->s));
	}
	small_sockets(fds);
	h->peer[0] = fds[1];
	if (ferry_session_add_socket(h->s, KVM_FERRY_CHANNEL_CONTROL, fds[0]))
		tap_bail("control: %s", ferry_session_error(h->s));
	close(fds[0]);
	pair_sockets(fds);
	h->peer[1] = fds[1];
	if (ferry_session_add_socket(h->s, KVM_FERRY_CHANNEL_DATA, fds[0]))
		tap_bail("data: %s", ferry_session_error(h->s));
	close(fds[0]);
	for (i = 0; i < vm.nr_cpus; i++)
		if (ferry_ring_hand_over(vm.cpus[i].ring, h->s))
			tap_bail("ring: %s", ferry_session_error(h->s));
	if (ferry_session_start(h->s))
		tap_bail("start: %s", ferry_session_error(h->s));
	if (!poll_until(!ioctl(h->peer[0], FIONREAD, &waiting) && waiting > 16))
		tap_bail("no HELLO came");
}

static void let_go(struct held *h)
{
	ferry_session_close(h->s);
	ferry_device_close(h->dev);
	close(h->peer[0]);
	close(h->peer[1]);
	vm_reap_all(&vm);
}

/**
 * struct waiter - a thread in KVM_FERRY_RING_WAIT
 * @fd: of the session
 * @thread: its handle
 * @tid: its number
 * @err: what the command gave
 * @back: it has returned
 */
struct waiter {
	int fd;
	pthread_t thread;
	volatile pid_t tid;
	int err;
	volatile bool back;
};

static void *wait_for_room(void *arg)
{
	struct kvm_ferry_ring_wait w = { .size = sizeof(w) };
	struct waiter *t = arg;

	t->tid = syscall(SYS_gettid);
	t->err = ioctl(t->fd, KVM_FERRY_RING_WAIT, &w) ? errno : 0;
	__atomic_store_n(&t->back, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool asleep(pid_t tid)
{
	char path[64], stat[256] = "", *state;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	if (read(fd, stat, sizeof(stat) - 1) < 0)
		stat[0] = '\0';
	close(fd);
	state = strrchr(stat, ')');
	return state && state[2] == 'S';
}

static void begin_wait(struct held *h, struct waiter *t)
{
	uint64_t before = pair_stats(h->s).out_ring_full;

	*t = (struct waiter){ .fd = ferry_session_fd(h->s) };
	pthread_create(&t->thread, NULL, wait_for_room, t);
	tap_check(poll_until((pair_stats(h->s).out_ring_full > before && asleep(t->tid)) || t->back) &&
		  !t->back, "a thread waits for room");
}

static void end_wait(struct waiter *t, int want, const char *why)
{
	uint64_t begin = now_ms(), took;

	if (!poll_until(t->back))
		tap_bail("%s does not let it go", why);
	took = now_ms() - begin;
	pthread_join(t->thread, NULL);
	tap_check(t->err == want && took < 2000, "%s lets it go with %s, after %llu ms", why,
		  strerror(t->err), (unsigned long long)took);
}

int main(void)
{
	struct waiter a, b;
	struct held h;

	vm_open(&vm, BYTES, BYTES, VM_SMALL_RING);
	vm_add_cpu(&vm);

	hold(&h);
	begin_wait(&h, &a);
	pthread_kill(a.thread, SIGUSR1);
	end_wait(&a, EINTR, "a signal");
	begin_wait(&h, &a);
	begin_wait(&h, &b);
	tap_check(!ferry_session_abort(h.s), "abort returns");
	end_wait(&a, ESHUTDOWN, "an abort");
	end_wait(&b, ESHUTDOWN, "the same abort");
	vm_take_back(&vm, "abort");
	let_go(&h);

	hold(&h);
	begin_wait(&h, &a);
	close(h.peer[0]);
	h.peer[0] = -1;
	end_wait(&a, ESHUTDOWN, "the peer's end");
	failed_with(ferry_session_fd(h.s), EPIPE, "control channel", "the session");
	vm_take_back(&vm, "peer closed");
	let_go(&h);

	/* A vCPU whose ring really is full: it goes on once the VMM reaps again. */
	hold(&h);
	cpu_program(&vm.cpus[0], MIB, 600, 0);
	cpu_start(&vm.cpus[0]);
	tap_check(poll_until(pair_stats(h.s).out_ring_full), "a vCPU leaves with a full ring and waits");
	tap_check(!ferry_session_abort(h.s), "abort returns");
	tap_check(poll_until(vm.cpus[0].reaps >= 2), "the vCPU goes on, the VMM reaps");
	cpu_stop(&vm.cpus[0]);
	vm_reap_all(&vm);
	vm_check_reaps_on(&vm, "abort with a full ring");
	let_go(&h);
	vm_close(&vm);
	return tap_done();
}
