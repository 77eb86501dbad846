// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=rdma_link.c,bad_call.c,pair.c,tap.c timeout=60 leak=8192 kernels=6.1,6.12
 *
 * RDMA addresses are those of the caller's network namespace: in another one the
 * device's address is nobody's, or somebody else's, though sessions connect in tasks
 * of the kernel's, which live in the first. A session outlives the namespace that it
 * was made in.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bad_call.h"
#include "pair.h"
#include "rdma_link.h"
#include "tap.h"

#define BYTES (4 * MIB)

static int home, away;	/* the first namespace, and one without an RDMA device */

static void enter(int ns)
{
	if (setns(ns, CLONE_NEWNET))
		tap_bail("setns: %s", strerror(errno));
}

static int current_ns(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		tap_bail("/proc/self/ns/net: %s", strerror(errno));
	return fd;
}

static void set_up(struct pair *p)
{
	*p = (struct pair){ .bytes = BYTES, .rdma = rdma_address() };
	p->from = pair_memory(BYTES, false);
	p->to = pair_memory(BYTES, false);
	fill(p->from, BYTES, 1);
	pair_open(p, -1);
}

static void put_away(struct pair *p)
{
	pair_close(p);
	munmap(p->from, BYTES);
	munmap(p->to, BYTES);
}

static void listens_at_home_only(const char *what, int error)
{
	struct sockaddr_in at = rdma_address();
	struct kvm_ferry_channel_add add = { .size = sizeof(add), .kind = KVM_FERRY_CHANNEL_DATA,
					     .transport = KVM_FERRY_TRANSPORT_RDMA, .addr = (uintptr_t)&at,
					     .addr_len = sizeof(at), .fd = -1 };
	struct pair p;

	set_up(&p);
	enter(away);
	refused(ferry_session_fd(p.sink), KVM_FERRY_CHANNEL_ADD, &add, error, "no RDMA device has the address",
		"the device's address, in another namespace, where it is %s", what);
	enter(home);
	taken(ferry_session_fd(p.sink), KVM_FERRY_CHANNEL_ADD, &add, "and in its own");
	put_away(&p);
}

/* @ns: of the source, and of its caller only: the task that connects has another. */
static void connects(int ns, bool there)
{
	char why[KVM_FERRY_REASON_LEN];
	static char state[4096];
	struct pair p;
	int err;

	set_up(&p);
	if (ferry_session_listen_rdma(p.sink, (struct sockaddr *)&p.rdma, sizeof(p.rdma), -1))
		tap_bail("listen: %s", ferry_session_error(p.sink));
	enter(ns);
	err = ferry_session_connect_rdma(p.source, (struct sockaddr *)&p.rdma, sizeof(p.rdma), NULL, 0, -1);
	enter(home);
	if (err)
		tap_bail("connect: %s", ferry_error());
	pair_start(&p);
	if (there) {
		pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
		tap_check(!pair_switch(&p, state, sizeof(state)) && !memcmp(p.from, p.to, BYTES),
			  "from the device's own namespace it moves");
	} else {
		tap_check(await_state(ferry_session_fd(p.source), KVM_FERRY_STATE_DONE) == KVM_FERRY_STATE_FAILED,
			  "from another one it does not");
		err = ferry_session_reason(p.source, why, sizeof(why));
		tap_check(err == ENODEV || err == ENETUNREACH || err == EADDRNOTAVAIL || err == EHOSTUNREACH,
			  "and is told: %s: %s", strerror(err), why);
	}
	put_away(&p);
}

/* The last process in it is gone, the session is not. */
static void outlives(void)
{
	uint32_t state;
	struct pair p;

	set_up(&p);
	if (unshare(CLONE_NEWNET))
		tap_bail("unshare: %s", strerror(errno));
	must("ip link set lo up");
	if (ferry_session_connect_rdma(p.source, (struct sockaddr *)&p.rdma, sizeof(p.rdma), NULL, 0, -1))
		tap_bail("connect: %s", ferry_error());
	enter(home);
	if (ferry_session_start(p.source))
		tap_bail("start: %s", ferry_session_error(p.source));
	state = await_state(ferry_session_fd(p.source), KVM_FERRY_STATE_DONE);
	tap_check(state == KVM_FERRY_STATE_FAILED, "a session whose namespace nobody is in: %s", ferry_session_error(p.source));
	put_away(&p);
}

int main(void)
{
	rdma_up();
	home = current_ns();
	if (unshare(CLONE_NEWNET))
		tap_bail("unshare: %s", strerror(errno));
	away = current_ns();
	enter(home);
	listens_at_home_only("nobody's", EADDRNOTAVAIL);
	enter(away);
	must("modprobe dummy && ip link add own0 type dummy && ip addr add 10.99.0.1/24 dev own0 && "
	     "ip link set own0 up");
	enter(home);
	listens_at_home_only("another device's", ENODEV);
	connects(home, true);
	connects(away, false);
	outlives();
	close(away);
	rdma_down();
	return tap_done();
}
