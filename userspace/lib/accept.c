// SPDX-License-Identifier: LGPL-2.1-only
/*
 * The sink's side of connecting: accept, peek, sort.
 *
 * Connections wait in a table until a set is complete: a HELLO, and a CHANNEL of
 * every index with the same token. Whoever can reach the port can fill the
 * table, so it is bounded, and the oldest connection that has not shown a right
 * first message makes room for a new one. Nothing is read from a socket: the
 * module needs every byte.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

#define MAX_PENDING	64
#define FIRST_NEED	40	/* header and CHANNEL, the shortest right first message */

struct pending {
	int fd;
	bool known;	/* @first holds */
	struct ferry_first_message first;
};

struct acceptor {
	int listen_fd;
	unsigned int nr_data;	/* asked for; 0: any */
	unsigned int count;
	struct pending conns[MAX_PENDING];	/* oldest first */
	char turned_away[256];	/* why the last one was */
};

static void set_low_water(int fd, int bytes)
{
	/* So that poll() sleeps until enough is here; without it, poll() spins. */
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

static void drop(struct acceptor *a, unsigned int i, const char *why)
{
	if (why) {
		strncpy(a->turned_away, why, sizeof(a->turned_away) - 1);
		a->turned_away[sizeof(a->turned_away) - 1] = 0;
	}
	close(a->conns[i].fd);
	a->count--;
	memmove(&a->conns[i], &a->conns[i + 1], (a->count - i) * sizeof(a->conns[0]));
}

static void make_room(struct acceptor *a)
{
	unsigned int i;

	for (i = 0; i < a->count; i++)
		if (!a->conns[i].known)
			break;
	drop(a, i < a->count ? i : 0, "too many connections at once; the oldest had to go");
}

static int accept_new(struct acceptor *a)
{
	int fd, one = 1;

	fd = accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		/* Errors of the one connection, see accept(2). */
		switch (errno) {
		case EAGAIN:
		case EINTR:
		case ECONNABORTED:
		case EPROTO:
		case EPERM:
		case ENETDOWN:
		case ENETUNREACH:
		case EHOSTUNREACH:
			return 0;
		default:
			return ferry_fail(errno, "accept a connection: %s", strerror(errno));
		}
	}
	if (a->count == MAX_PENDING)
		make_room(a);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	set_low_water(fd, FIRST_NEED);
	memset(&a->conns[a->count], 0, sizeof(a->conns[0]));
	a->conns[a->count++].fd = fd;
	return 0;
}

/* Returns NULL if the connection stays, else why it is turned away. */
static const char *look(struct acceptor *a, struct pending *p, short revents)
{
	uint8_t bytes[FERRY_PEEK_LEN];
	struct ferry_first_message first;
	const char *why = "";
	unsigned int i;
	ssize_t got;
	int ret;

	if (p->known)
		return revents & (POLLERR | POLLHUP | POLLRDHUP) ? "the peer closed" : NULL;
	got = recv(p->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? NULL : strerror(errno);
	ret = ferry_classify(bytes, got, &first, &why);
	if (ret == -EAGAIN) {
		if (revents & (POLLERR | POLLHUP | POLLRDHUP))
			return "the peer closed before its first message was whole";
		/* 40 bytes are all of CHANNEL, so it must be a HELLO that is cut. */
		set_low_water(p->fd, got < FIRST_NEED ? FIRST_NEED : FERRY_PEEK_LEN);
		return NULL;
	}
	if (ret)
		return why;
	if (a->nr_data && first.nr_data != a->nr_data)
		return "the peer has another number of data channels than was asked for";
	for (i = 0; i < a->count; i++)
		if (a->conns[i].known && a->conns[i].first.kind == first.kind &&
		    a->conns[i].first.index == first.index &&
		    !memcmp(a->conns[i].first.token, first.token, sizeof(first.token)))
			return "the same channel came twice";
	p->first = first;
	p->known = true;
	set_low_water(p->fd, 1);
	return NULL;
}

/* Moves a complete set to @out; returns whether there was one. */
static bool take_set(struct acceptor *a, struct ferry_sockets *out)
{
	const struct ferry_first_message *hello;
	unsigned int c, i, found;
	struct pending *p;

	for (c = 0; c < a->count; c++) {
		if (!a->conns[c].known || a->conns[c].first.kind != KVM_FERRY_CHANNEL_CONTROL)
			continue;
		hello = &a->conns[c].first;
		found = 0;
		for (i = 0; i < a->count; i++) {
			p = &a->conns[i];
			if (!p->known || p->first.kind != KVM_FERRY_CHANNEL_DATA ||
			    p->first.nr_data != hello->nr_data ||
			    memcmp(p->first.token, hello->token, sizeof(hello->token)))
				continue;
			/* look() lets each index of a token in once. */
			out->data[p->first.index] = p->fd;
			found++;
		}
		if (found < hello->nr_data)
			continue;
		out->control = a->conns[c].fd;
		out->nr_data = hello->nr_data;
		return true;
	}
	for (i = 0; i < KVM_FERRY_MAX_DATA_CHANNELS; i++)
		out->data[i] = -1;
	return false;
}

static bool in_set(const struct ferry_sockets *socks, int fd)
{
	unsigned int i;

	for (i = 0; i < socks->nr_data; i++)
		if (socks->data[i] == fd)
			return true;
	return socks->control == fd;
}

static int accept_set(struct acceptor *a, struct ferry_sockets *out,
		      struct ferry_deadline deadline)
{
	struct pollfd pfds[MAX_PENDING + 1];
	const char *why;
	unsigned int i, polled;
	int ret;

	for (;;) {
		pfds[0] = (struct pollfd){ .fd = a->listen_fd, .events = POLLIN };
		for (i = 0; i < a->count; i++)
			pfds[i + 1] = (struct pollfd){
				.fd = a->conns[i].fd,
				.events = (a->conns[i].known ? 0 : POLLIN) | POLLRDHUP,
			};
		polled = a->count;
		ret = poll(pfds, polled + 1, ferry_deadline_left(deadline));
		if (ret < 0)
			return ferry_fail(errno, "wait for connections: %s", strerror(errno));
		if (!ret)
			return ferry_fail(ETIMEDOUT, "no migration came in time%s%s",
					  a->turned_away[0] ? "; the last connection that was "
					  "turned away: " : "", a->turned_away);
		/* From the end, so that a drop moves none that is still to come. */
		for (i = polled; i-- > 0;) {
			if (!pfds[i + 1].revents)
				continue;
			why = look(a, &a->conns[i], pfds[i + 1].revents);
			if (why)
				drop(a, i, why);
		}
		if (take_set(a, out))
			return 0;
		if (pfds[0].revents) {
			ret = accept_new(a);
			if (ret)
				return ret;
		}
	}
}

int ferry_accept(struct ferry_sockets *out, int listen_fd, unsigned int nr_data, int timeout_ms)
{
	struct ferry_deadline deadline = ferry_deadline_in(timeout_ms);
	struct acceptor *a;
	unsigned int i;
	int flags, ret;

	out->control = -1;
	out->nr_data = 0;
	for (i = 0; i < KVM_FERRY_MAX_DATA_CHANNELS; i++)
		out->data[i] = -1;
	if (nr_data > KVM_FERRY_MAX_DATA_CHANNELS)
		return ferry_fail(EINVAL, "%u data channels: at most %u are possible", nr_data,
				  KVM_FERRY_MAX_DATA_CHANNELS);
	a = calloc(1, sizeof(*a));
	if (!a)
		return ferry_fail(ENOMEM, "out of memory");
	a->listen_fd = listen_fd;
	a->nr_data = nr_data;
	/* A connection may be gone between poll() and accept(), which then waits. */
	flags = fcntl(listen_fd, F_GETFL);
	if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK)) {
		ret = ferry_fail(errno, "listening socket: %s", strerror(errno));
		goto out_free;
	}
	ret = accept_set(a, out, deadline);
	fcntl(listen_fd, F_SETFL, flags);
	for (i = 0; i < a->count; i++)
		if (ret || !in_set(out, a->conns[i].fd))
			close(a->conns[i].fd);
out_free:
	free(a);
	return ret;
}
