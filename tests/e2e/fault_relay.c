// SPDX-License-Identifier: GPL-2.0
/*
 * Relays (no test themselves): a process in a connection's way, which passes
 * bytes on, and can hold them, reset both connections, or turn a bit over where no
 * checksum sees it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_guest.h"
#include "fault_net.h"
#include "tap.h"

#define MAX_RELAYS	32
#define CHUNK		65536

/**
 * struct relay - one of them, as who gives orders sees it
 * @pid: its process
 * @orders: a socket
 */
struct relay {
	pid_t pid;
	int orders;
};

/**
 * struct middle - a relay, in its own process
 * @end: its connections: to the source, to the sink
 * @open: bytes may still come from there
 * @held: what is sent this way waits
 * @flip: turn bits over
 * @orders: what it is told, and its answers
 */
struct middle {
	int end[2];
	bool open[2];
	bool held[2];
	bool flip;
	int orders;
};

static struct relay relays[MAX_RELAYS];
static unsigned int nr_relays;

static void reset(struct middle *m)
{
	struct linger now = { .l_onoff = 1 };
	int i;

	for (i = 0; i < 2; i++) {
		if (m->end[i] < 0)
			continue;
		setsockopt(m->end[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(m->end[i]);
		m->end[i] = -1;
		m->open[i] = false;
	}
}

/*
 * A word of a cold page: its tag is in the upper half, which no message looks like.
 * One in each piece that has any: KVM logs pages that were only read once, so a page
 * may be sent again, but the last piece with a cold page is not.
 */
static void flip(struct middle *m, uint8_t *bytes, ssize_t n)
{
	ssize_t i;

	for (i = 1; m->flip && i + 1 < n; i++) {
		if (bytes[i] != (GUEST_COLD_TAG >> 16 & 0xff) || bytes[i + 1] != GUEST_COLD_TAG >> 24)
			continue;
		bytes[i - 1] ^= 1;
		break;
	}
}

/* From end @i to the other one. What breaks on one side is broken on the other. */
static void pass(struct middle *m, int i)
{
	static uint8_t bytes[CHUNK];
	ssize_t n = recv(m->end[i], bytes, sizeof(bytes), 0), done = 0, ret;

	if (n < 0) {
		reset(m);
		return;
	}
	if (!n) {
		m->open[i] = false;
		shutdown(m->end[!i], SHUT_WR);
		return;
	}
	flip(m, bytes, n);
	while (done < n) {
		ret = send(m->end[!i], bytes + done, n - done, MSG_NOSIGNAL);
		if (ret < 0) {
			reset(m);
			return;
		}
		done += ret;
	}
}

/* False: nobody gives orders any more. */
static bool obey(struct middle *m)
{
	uint8_t order[2];

	if (recv(m->orders, order, sizeof(order), 0) != sizeof(order))
		return false;
	switch (order[0]) {
	case RELAY_HOLD:
	case RELAY_PASS:
		m->held[order[1]] = order[0] == RELAY_HOLD;
		break;
	case RELAY_RESET:
		reset(m);
		break;
	default:
		m->flip = true;
	}
	return send(m->orders, order, 1, MSG_NOSIGNAL) == 1;
}

static void live(struct middle *m)
{
	struct pollfd fds[3];
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		for (i = 0; i < 2; i++)
			fds[i] = (struct pollfd){ .fd = m->open[i] && !m->held[i] ? m->end[i] : -1,
						  .events = POLLIN };
		fds[2] = (struct pollfd){ .fd = m->orders, .events = POLLIN };
		if (poll(fds, 3, -1) < 0)
			_exit(1);
		/* An order first: what it holds has not passed when it is answered. */
		if (fds[2].revents) {
			if (!obey(m))
				_exit(0);
			continue;
		}
		for (i = 0; i < 2; i++)
			if (fds[i].revents && m->end[i] >= 0)
				pass(m, i);
	}
}

unsigned int relays_made(void)
{
	return nr_relays;
}

void relay_connect(int fds[2])
{
	struct relay *r = &relays[nr_relays];
	struct middle m = { .open = { true, true } };
	int near[2], far[2], orders[2];

	if (++nr_relays > MAX_RELAYS)
		tap_bail("too many relays");
	link_connect(near);
	link_connect(far);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, orders))
		tap_bail("socketpair: %s", strerror(errno));
	fds[0] = near[0];
	fds[1] = far[1];
	m.end[0] = near[1];
	m.end[1] = far[0];
	m.orders = orders[1];
	fflush(stdout);
	r->orders = orders[0];
	r->pid = fork();
	if (!r->pid) {
		close(fds[0]);
		close(fds[1]);
		close(orders[0]);
		live(&m);
	}
	close(m.end[0]);
	close(m.end[1]);
	close(m.orders);
}

void relay_do(unsigned int number, enum relay_order order, enum way way)
{
	uint8_t bytes[2] = { order, way };

	if (send(relays[number].orders, bytes, 2, MSG_NOSIGNAL) != 2 ||
	    recv(relays[number].orders, bytes, 1, 0) != 1)
		tap_bail("relay %u is gone", number);
}

void relays_end(void)
{
	while (nr_relays) {
		struct relay *r = &relays[--nr_relays];

		close(r->orders);
		waitpid(r->pid, NULL, 0);
	}
}
