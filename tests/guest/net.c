// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's network. The first Ethernet interface gets the address that
 * ferry.net=ADDR/PREFIX tells; the kernel answers pings, and a thread serves TCP
 * on port 7100, one connection after another: a stream of counters both ways
 * (stream.h), at ferry.stream=KiB a second ("max": as fast as it goes). Whoever
 * connects ends it by closing its side. What else ends it is an error, and so is
 * a wrong counter.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "guest.h"
#include "stream.h"

#define DEVICE_MS	10000	/* until there is an interface */
#define STUCK_MS	180000	/* until a peer that says nothing is given up */

static struct {
	_Atomic uint64_t in, out;
	struct in_addr addr, mask;
	uint64_t kib;		/* a second that are sent */
	bool on;
} net;

static struct stream stream;

/* The first interface that is an Ethernet. */
static bool find_ethernet(void *arg)
{
	struct if_nameindex *list = if_nameindex(), *i;
	struct ifreq *found = arg;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool is = false;

	for (i = list; i && i->if_name && !is; i++) {
		memset(found, 0, sizeof(*found));
		snprintf(found->ifr_name, sizeof(found->ifr_name), "%s", i->if_name);
		is = !ioctl(fd, SIOCGIFHWADDR, found) &&
		     found->ifr_hwaddr.sa_family == ARPHRD_ETHER;
	}
	if_freenameindex(list);
	close(fd);
	return is;
}

static void set_address(int fd, struct ifreq *r, unsigned long request, struct in_addr addr)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = addr };

	memcpy(&r->ifr_addr, &sin, sizeof(sin));
	if (ioctl(fd, request, r))
		die("cannot give %s an address: %s", r->ifr_name, strerror(errno));
}

static void bring_up(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r;

	if (!wait_until(find_ethernet, &r, DEVICE_MS))
		die("ferry.net: there is no Ethernet interface");
	set_address(fd, &r, SIOCSIFADDR, net.addr);
	set_address(fd, &r, SIOCSIFNETMASK, net.mask);
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &r))
		die("cannot bring %s up: %s", r.ifr_name, strerror(errno));
	close(fd);
}

static int listen_there(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(STREAM_PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) || listen(fd, 8))
		die("cannot listen on port %u: %s", STREAM_PORT, strerror(errno));
	return fd;
}

static enum stream_result talk(void)
{
	enum stream_result r = STREAM_GOOD;

	while (r == STREAM_GOOD) {
		struct pollfd p = { .fd = stream.fd, .events = POLLIN };
		uint64_t in = stream.in, out = stream.out;

		if (stream_due(&stream, now_ns()))
			p.events |= POLLOUT;
		poll(&p, 1, STREAM_TICK_MS);
		if (p.revents & (POLLIN | POLLHUP | POLLERR))
			r = stream_receive(&stream);
		if (r == STREAM_GOOD && p.revents & POLLOUT)
			r = stream_send(&stream, now_ns());
		net.in += stream.in - in;
		net.out += stream.out - out;
	}
	return r;
}

static void *net_main(void *arg)
{
	unsigned int stuck = STUCK_MS;
	int listener = listen_there(), fd;

	(void)arg;
	for (;;) {
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno != EINTR && errno != ECONNABORTED)
				die("cannot accept a connection: %s", strerror(errno));
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &stuck, sizeof(stuck));
		stream_begin(&stream, fd, net.kib, now_ns());
		switch (talk()) {
		case STREAM_BROKEN:
			shout("kind=connection after in=%llu out=%llu bytes: %s",
			      (unsigned long long)stream.in, (unsigned long long)stream.out,
			      strerror(errno));
			break;
		case STREAM_WRONG:
			shout("kind=counter after %llu bytes: it was %llx, and had to be %llx",
			      (unsigned long long)stream.in, (unsigned long long)stream.wrong,
			      (unsigned long long)stream.right);
			break;
		default:
			say("net connection ended in=%llu out=%llu",
			    (unsigned long long)stream.in, (unsigned long long)stream.out);
		}
		close(fd);
	}
	return NULL;
}

void net_start(void)
{
	char text[40], *slash, *end;
	unsigned long prefix;

	if (!find_param("net", text, sizeof(text)))
		return;
	slash = strchr(text, '/');
	if (!slash)
		die("ferry.net must be ADDRESS/PREFIX");
	*slash = '\0';
	prefix = strtoul(slash + 1, &end, 10);
	if (end == slash + 1 || *end || !prefix || prefix > 32 ||
	    inet_pton(AF_INET, text, &net.addr) != 1)
		die("ferry.net=%s/%s is no IPv4 address with a prefix", text, slash + 1);
	net.mask.s_addr = htonl(~0U << (32 - prefix));
	net.kib = number_param("stream", STREAM_KIB);
	if (!net.kib || (net.kib != GUEST_UNLIMITED && net.kib > 1 << 24))
		die("ferry.stream must be 1 to 16777216 KiB a second, or max");
	bring_up();
	net.on = true;
	start_thread(net_main, 0, "net", 0);
}

int net_report(char *text, size_t size)
{
	if (!net.on)
		return 0;
	return snprintf(text, size, "net_in=%llu net_out=%llu ", (unsigned long long)net.in,
			(unsigned long long)net.out);
}
