// SPDX-License-Identifier: LGPL-2.1-only
/*
 * The sink's side of connecting: accept, peek, sort.
 *
 * Connections wait in a table until a set is complete: a HELLO, and a CHANNEL of
 * every index with the same token. Whoever can reach the port can fill the
 * table, so it is bounded, and the oldest connection that has not shown a right
 * first message makes room for a new one. Nothing is read from a socket: the
 * module needs every byte. Offers of RDMA, and the sockets that may come with one,
 * take their place; the module knows nothing of those, so they are read.
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
/* Header and CHANNEL, or an offer of RDMA: the shortest right first messages. */
#define FIRST_NEED	FERRY_RDMA_OFFER_LEN

/* What is taken. */
#define BY_TCP	1
#define BY_RDMA	2	/* offers; with BY_TCP also such with sockets to fall back to */

struct pending {
	int fd;
	bool known;	/* all below holds */
	bool offer;	/* it is one, or a socket that belongs to one */
	bool alone;	/* an offer that is all of its set */
	struct ferry_first_message first;
};

struct acceptor {
	int listen_fd;
	unsigned int nr_data;	/* asked for; 0: any */
	unsigned int by;
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

static const char wrong_number[] =
	"the peer has another number of data channels than was asked for";

/* Why an offer that is right is not taken, NULL: it is. The peer is told. */
static const char *offer_unwanted(const struct acceptor *a, const struct pending *p,
				  const char **here)
{
	if (!(a->by & BY_RDMA)) {
		*here = "the peer comes by RDMA: give it a tcp: address, or listen with rdma: here";
		return "it listens with tcp: there, not with rdma:";
	}
	if (!(a->by & BY_TCP) && !p->alone) {
		*here = "the peer comes by RDMA or TCP: give it an rdma: address, or listen with rdma+tcp: here";
		return "it listens with rdma: there, not with rdma+tcp:";
	}
	if (a->nr_data && p->first.nr_data != a->nr_data) {
		*here = wrong_number;
		return wrong_number;
	}
	return NULL;
}

/* 0: @p holds, -EAGAIN: right so far, else why it is turned away. */
static int understand(const struct acceptor *a, struct pending *p, const uint8_t *bytes,
		      size_t length, const char **why)
{
	struct ferry_offer offer;
	const char *words;
	int ret;

	ret = ferry_rdma_offer(bytes, length, &offer, why);
	p->offer = ret != -ENOMSG;
	if (p->offer) {
		if (ret)
			return ret;
		p->first = offer.first;
		p->alone = !offer.fallback;
		words = offer_unwanted(a, p, why);
		if (words)
			ferry_rdma_refuse(p->fd, words);
		return words ? -ENOMSG : 0;
	}
	if (!(a->by & BY_TCP)) {
		*why = "the peer does not come by RDMA: give it an rdma: address, or listen with tcp: here";
		return -ENOMSG;
	}
	ret = ferry_classify(bytes, length, &p->first, why);
	if (!ret && a->nr_data && p->first.nr_data != a->nr_data) {
		*why = wrong_number;
		return -ENOMSG;
	}
	return ret;
}

static bool same_set(const struct pending *a, const struct pending *b)
{
	return a->offer == b->offer && a->first.nr_data == b->first.nr_data &&
	       !memcmp(a->first.token, b->first.token, sizeof(a->first.token));
}

/* Returns NULL if the connection stays, else why it is turned away. */
static const char *look(struct acceptor *a, struct pending *p, short revents)
{
	uint8_t bytes[FERRY_PEEK_LEN];
	const char *why = "";
	unsigned int i;
	ssize_t got;
	int ret;

	if (p->known)
		return revents & (POLLERR | POLLHUP | POLLRDHUP) ? "the peer closed" : NULL;
	got = recv(p->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? NULL : strerror(errno);
	ret = understand(a, p, bytes, got, &why);
	if (ret == -EAGAIN) {
		if (revents & (POLLERR | POLLHUP | POLLRDHUP))
			return "the peer closed before its first message was whole";
		/* 40 bytes are all of CHANNEL, so it must be a HELLO that is cut. */
		set_low_water(p->fd, got < FIRST_NEED ? FIRST_NEED : FERRY_PEEK_LEN);
		return NULL;
	}
	if (ret)
		return why;
	/* Offers that stand alone have no token, and are complete at once. */
	for (i = 0; i < a->count && !p->alone; i++)
		if (a->conns[i].known && a->conns[i].first.kind == p->first.kind &&
		    a->conns[i].first.index == p->first.index && same_set(&a->conns[i], p))
			return "the same channel came twice";
	p->known = true;
	set_low_water(p->fd, 1);
	return NULL;
}

/* What was peeked at; what follows is the module's. */
static void read_offer(int fd)
{
	uint8_t bytes[FERRY_RDMA_OFFER_LEN];

	recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
}

/* The connections of @hello, if all are there. */
static bool gather(struct acceptor *a, const struct pending *hello, struct ferry_sockets *out)
{
	unsigned int i, found = 0;

	ferry_sockets_init(out);
	for (i = 0; i < a->count && !hello->alone; i++) {
		const struct pending *p = &a->conns[i];

		if (!p->known || p->first.kind != KVM_FERRY_CHANNEL_DATA || !same_set(p, hello))
			continue;
		/* look() lets each index of a token in once. */
		out->data[p->first.index] = p->fd;
		found++;
	}
	if (!hello->alone && found < hello->first.nr_data)
		return false;
	out->control = hello->fd;
	out->nr_data = hello->first.nr_data;
	return true;
}

/* Moves a complete set to @out; returns whether there was one. */
static bool take_set(struct acceptor *a, struct ferry_sockets *out)
{
	const struct pending *hello;
	unsigned int c, i;

	for (c = 0; c < a->count; c++) {
		hello = &a->conns[c];
		if (!hello->known || hello->first.kind != KVM_FERRY_CHANNEL_CONTROL ||
		    !gather(a, hello, out))
			continue;
		if (!hello->offer)
			return true;
		read_offer(out->control);
		for (i = 0; i < out->nr_data && !hello->alone; i++)
			read_offer(out->data[i]);
		ferry_rdma_taken(out);
		return true;
	}
	ferry_sockets_init(out);
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

static int accept_migration(struct ferry_sockets *out, int listen_fd, unsigned int nr_data,
			    int timeout_ms, unsigned int by)
{
	struct ferry_deadline deadline = ferry_deadline_in(timeout_ms);
	struct acceptor *a;
	unsigned int i;
	int flags, ret;

	ferry_sockets_init(out);
	if (nr_data > KVM_FERRY_MAX_DATA_CHANNELS)
		return ferry_fail(EINVAL, "%u data channels: at most %u are possible", nr_data,
				  KVM_FERRY_MAX_DATA_CHANNELS);
	a = calloc(1, sizeof(*a));
	if (!a)
		return ferry_fail(ENOMEM, "out of memory");
	a->listen_fd = listen_fd;
	a->nr_data = nr_data;
	a->by = by;
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

int ferry_accept(struct ferry_sockets *out, int listen_fd, unsigned int nr_data, int timeout_ms)
{
	return accept_migration(out, listen_fd, nr_data, timeout_ms, BY_TCP);
}

int ferry_accept_rdma(struct ferry_sockets *out, int listen_fd, unsigned int nr_data,
		      int timeout_ms)
{
	return accept_migration(out, listen_fd, nr_data, timeout_ms, BY_RDMA);
}

int ferry_accept_rdma_or_tcp(struct ferry_sockets *out, int listen_fd, unsigned int nr_data,
			     int timeout_ms)
{
	return accept_migration(out, listen_fd, nr_data, timeout_ms, BY_TCP | BY_RDMA);
}
