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
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

static void sockets_init(struct ferry_sockets *socks)
{
	unsigned int i;

	socks->control = -1;
	for (i = 0; i < KVM_FERRY_MAX_DATA_CHANNELS; i++)
		socks->data[i] = -1;
	socks->nr_data = 0;
}

void ferry_sockets_close(struct ferry_sockets *socks)
{
	unsigned int i;

	if (socks->control >= 0)
		close(socks->control);
	for (i = 0; i < socks->nr_data; i++)
		if (socks->data[i] >= 0)
			close(socks->data[i]);
	sockets_init(socks);
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
	do {
		ret = poll(&pfd, 1, ferry_deadline_left(deadline));
	} while (ret < 0 && errno == EINTR);
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

int ferry_connect(struct ferry_sockets *out, const char *host, const char *port,
		  unsigned int nr_data, int timeout_ms)
{
	struct ferry_deadline deadline = ferry_deadline_in(timeout_ms);
	struct addrinfo *list, *ai;
	int fd = -EHOSTUNREACH, ret;

	sockets_init(out);
	if (!nr_data || nr_data > KVM_FERRY_MAX_DATA_CHANNELS)
		return ferry_fail(EINVAL, "%u data channels: 1 to %u are possible", nr_data,
				  KVM_FERRY_MAX_DATA_CHANNELS);
	ret = resolve(host, port, 0, &list);
	if (ret)
		return ret;
	for (ai = list; ai; ai = ai->ai_next) {
		fd = connect_one(ai->ai_addr, ai->ai_addrlen, deadline);
		if (fd >= 0)
			break;
	}
	if (fd < 0)
		goto err_fail;
	out->control = fd;
	/* The data connections go where the control connection went. */
	while (out->nr_data < nr_data) {
		fd = connect_one(ai->ai_addr, ai->ai_addrlen, deadline);
		if (fd < 0)
			goto err_fail;
		out->data[out->nr_data++] = fd;
	}
	freeaddrinfo(list);
	return 0;

err_fail:
	freeaddrinfo(list);
	ret = ferry_fail(-fd, "connect to %s port %s: %s%s", host, port, strerror(-fd),
			 fd == -ECONNREFUSED ? " (does the receiver listen there?)" : "");
	ferry_sockets_close(out);
	return ret;
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
