// SPDX-License-Identifier: LGPL-2.1-only
/*
 * The source's connections, and the sink's listening socket.
 */
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

void ferry_sockets_init(struct ferry_sockets *socks)
{
	unsigned int i;

	socks->control = -1;
	for (i = 0; i < KVM_FERRY_MAX_DATA_CHANNELS; i++)
		socks->data[i] = -1;
	socks->nr_data = 0;
	socks->rdma_port = 0;
}

void ferry_sockets_close(struct ferry_sockets *socks)
{
	unsigned int i;

	if (socks->control >= 0)
		close(socks->control);
	for (i = 0; i < socks->nr_data; i++)
		if (socks->data[i] >= 0)
			close(socks->data[i]);
	ferry_sockets_init(socks);
}

static int resolve(const char *host, const char *port, int flags, struct addrinfo **list)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_protocol = IPPROTO_TCP,
		.ai_flags = flags,
	};
	int ret = getaddrinfo(host, port, &hints, list);

	if (!ret)
		return 0;
	if (ret == EAI_SYSTEM)
		return ferry_fail(errno, "look up '%s' port '%s': %s", host ? host : "any", port,
				  strerror(errno));
	return ferry_fail(EHOSTUNREACH, "look up '%s' port '%s': %s", host ? host : "any", port,
			  gai_strerror(ret));
}

/* Returns a connected, blocking socket, or a negative errno without a sentence. */
static int connect_one(const struct sockaddr *addr, socklen_t addr_len,
		       struct ferry_deadline deadline)
{
	struct pollfd pfd = { .events = POLLOUT };
	socklen_t len = sizeof(int);
	int fd, error = 0, ret, one = 1;

	fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, addr, addr_len) && errno != EINPROGRESS) {
		error = errno;
		goto err_close;
	}
	pfd.fd = fd;
	/* A signal is for the caller: it may not want to wait any more. */
	ret = poll(&pfd, 1, ferry_deadline_left(deadline));
	if (ret < 0)
		error = errno;
	else if (!ret)
		error = ETIMEDOUT;
	else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
		error = errno;
	if (error)
		goto err_close;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK)) {
		error = errno;
		goto err_close;
	}
	return fd;

err_close:
	close(fd);
	return -error;
}

/* The sentence for a connection that could not be made; closes those there are. */
static int not_connected(struct ferry_sockets *out, int error, const char *host, const char *port)
{
	ferry_sockets_close(out);
	return ferry_fail(error, "connect to %s port %s: %s%s", host, port, strerror(error),
			  error == ECONNREFUSED ? " (does the receiver listen there?)" : "");
}

/* The control connection, and where it led to: the others go there, too. */
static int connect_control(struct ferry_sockets *out, const char *host, const char *port,
			   unsigned int nr_data, struct ferry_deadline deadline,
			   struct sockaddr_storage *to, socklen_t *to_len)
{
	struct addrinfo *list, *ai;
	int fd = -EHOSTUNREACH, ret;

	ferry_sockets_init(out);
	if (!nr_data || nr_data > KVM_FERRY_MAX_DATA_CHANNELS)
		return ferry_fail(EINVAL, "%u data channels: 1 to %u are possible", nr_data,
				  KVM_FERRY_MAX_DATA_CHANNELS);
	ret = resolve(host, port, 0, &list);
	if (ret)
		return ret;
	for (ai = list; ai && fd < 0 && fd != -EINTR; ai = ai->ai_next) {
		fd = connect_one(ai->ai_addr, ai->ai_addrlen, deadline);
		memcpy(to, ai->ai_addr, ai->ai_addrlen);
		*to_len = ai->ai_addrlen;
	}
	freeaddrinfo(list);
	if (fd < 0)
		return not_connected(out, -fd, host, port);
	out->control = fd;
	return 0;
}

/* The data connections; where they may come behind an offer, each says what it is. */
static int connect_data(struct ferry_sockets *out, const char *host, const char *port,
			unsigned int nr_data, struct ferry_deadline deadline,
			const struct sockaddr_storage *to, socklen_t to_len, struct ferry_offer *offer)
{
	int fd, ret = 0;

	while (!ret && out->nr_data < nr_data) {
		fd = connect_one((struct sockaddr *)to, to_len, deadline);
		if (fd < 0)
			return not_connected(out, -fd, host, port);
		if (offer) {
			offer->first.kind = KVM_FERRY_CHANNEL_DATA;
			offer->first.index = out->nr_data;
			ret = ferry_rdma_say(fd, offer);
		}
		out->data[out->nr_data++] = fd;
	}
	return ret;
}

int ferry_connect(struct ferry_sockets *out, const char *host, const char *port,
		  unsigned int nr_data, int timeout_ms)
{
	struct ferry_deadline deadline = ferry_deadline_in(timeout_ms);
	struct sockaddr_storage to;
	socklen_t to_len;
	int ret;

	ret = connect_control(out, host, port, nr_data, deadline, &to, &to_len);
	return ret ?: connect_data(out, host, port, nr_data, deadline, &to, to_len, NULL);
}

static int connect_rdma(struct ferry_sockets *out, const char *host, const char *port,
			unsigned int nr_data, int timeout_ms, bool fallback)
{
	struct ferry_deadline deadline = ferry_deadline_in(timeout_ms);
	struct ferry_offer offer = {
		.first = { .kind = KVM_FERRY_CHANNEL_CONTROL, .nr_data = nr_data },
		.fallback = fallback,
	};
	struct sockaddr_storage to;
	socklen_t to_len;
	int ret;

	ferry_sockets_init(out);
	/* Nothing secret: it keeps migrations that come at once apart. */
	if (fallback && getrandom(offer.first.token, sizeof(offer.first.token), 0) < 0)
		return ferry_fail(errno, "random bytes: %s", strerror(errno));
	ret = connect_control(out, host, port, nr_data, deadline, &to, &to_len);
	if (ret)
		return ret;
	ret = ferry_rdma_say(out->control, &offer);
	if (!ret && fallback)
		ret = connect_data(out, host, port, nr_data, deadline, &to, to_len, &offer);
	if (!ret)
		ret = ferry_rdma_answer(out->control, fallback, true, deadline);
	if (ret < 0) {
		if (out->control >= 0)
			ferry_fail(-ret, "%s port %s: %s", host, port, ferry_error());
		ferry_sockets_close(out);
		return ret;
	}
	out->rdma_port = ret;
	out->nr_data = nr_data;
	return 0;
}

int ferry_connect_rdma(struct ferry_sockets *out, const char *host, const char *port,
		       unsigned int nr_data, int timeout_ms)
{
	return connect_rdma(out, host, port, nr_data, timeout_ms, false);
}

int ferry_connect_rdma_or_tcp(struct ferry_sockets *out, const char *host, const char *port,
			      unsigned int nr_data, int timeout_ms)
{
	return connect_rdma(out, host, port, nr_data, timeout_ms, true);
}

int ferry_listen(const char *host, const char *port)
{
	struct addrinfo *list, *ai;
	int fd = -1, error = EADDRNOTAVAIL, one = 1, zero = 0, pass, ret;
	bool any = !host || !*host;

	ret = resolve(any ? NULL : host, port, AI_PASSIVE, &list);
	if (ret)
		return ret;
	/* IPv6 first: one such socket takes IPv4 connections too. */
	for (pass = 0; pass < 2 && fd < 0; pass++) {
		for (ai = list; ai && fd < 0; ai = ai->ai_next) {
			if ((ai->ai_family == AF_INET6) != (pass == 0))
				continue;
			fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
			if (fd < 0) {
				error = errno;
				continue;
			}
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
			if (any && ai->ai_family == AF_INET6)
				setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
			if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, 64)) {
				error = errno;
				close(fd);
				fd = -1;
			}
		}
	}
	freeaddrinfo(list);
	if (fd < 0)
		return ferry_fail(error, "listen at %s port %s: %s", any ? "any address" : host,
				  port, strerror(error));
	return fd;
}
