// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_call.c,pair.c,tap.c timeout=60
 *
 * Channels that cannot be right: not sockets, not TCP, not connected, used
 * twice, too many, TLS that needs pages that do not change. Software TLS works,
 * hides what passes, and notices who changes it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bad_call.h"
#include "pair.h"
#include "tap.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#ifndef TLS_TX_ZEROCOPY_RO
#define TLS_TX_ZEROCOPY_RO 3
#endif

static struct ferry_device *dev;

static int fresh(uint32_t role)
{
	struct kvm_ferry_create c = { .size = sizeof(c), .vm_fd = -1, .role = role,
				      .dirty_source = role == KVM_FERRY_SOURCE ?
						      KVM_FERRY_DIRTY_REPORT : 0 };

	if (ioctl(ferry_device_fd(dev), KVM_FERRY_CREATE, &c))
		tap_bail("no session: %s", strerror(errno));
	return c.out_fd;
}

static struct kvm_ferry_channel_add tcp(uint32_t kind, int fd)
{
	return (struct kvm_ferry_channel_add){ .size = sizeof(struct kvm_ferry_channel_add),
					       .kind = kind, .fd = fd };
}

static void bad_fd(int s, int fd, int error, const char *words, const char *what)
{
	struct kvm_ferry_channel_add a = tcp(KVM_FERRY_CHANNEL_DATA, fd);

	refused(s, KVM_FERRY_CHANNEL_ADD, &a, error, words, "%s", what);
	if (fd >= 0)
		close(fd);
}

static int listener(int family)
{
	struct sockaddr_in6 addr = { .sin6_family = family };
	int fd = socket(family, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&addr, family == AF_INET ? sizeof(struct sockaddr_in) :
								   sizeof(addr)) || listen(fd, 1))
		tap_bail("cannot listen: %s", strerror(errno));
	return fd;
}

static void not_tcp(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(9),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = fresh(KVM_FERRY_SOURCE), fds[2], udp;

	bad_fd(s, -1, EBADF, "not open", "no fd");
	bad_fd(s, 999, EBADF, "not open", "an fd that is not open");
	bad_fd(s, open("/dev/null", O_RDWR), ENOTSOCK, "not a socket", "/dev/null");
	if (pipe(fds))
		tap_bail("pipe");
	close(fds[1]);
	bad_fd(s, fds[0], ENOTSOCK, "not a socket", "a pipe");
	bad_fd(s, dup(s), ENOTSOCK, "not a socket", "the session itself");
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
		tap_bail("socketpair");
	bad_fd(s, fds[0], EPROTONOSUPPORT, "not TCP", "a unix socket");
	close(fds[1]);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	if (connect(udp, (struct sockaddr *)&addr, sizeof(addr)))
		tap_bail("udp");
	bad_fd(s, udp, EPROTONOSUPPORT, "not TCP", "a connected UDP socket");
	bad_fd(s, socket(AF_NETLINK, SOCK_RAW, 0), EPROTONOSUPPORT, "not TCP", "a netlink socket");
	bad_fd(s, socket(AF_INET, SOCK_RAW, IPPROTO_TCP), EPROTONOSUPPORT, "not TCP", "a raw socket");
	bad_fd(s, socket(AF_INET, SOCK_STREAM, 0), ENOTCONN, "not connected", "a socket that never connected");
	bad_fd(s, listener(AF_INET), ENOTCONN, "not connected", "a listening socket");
	bad_fd(s, listener(AF_INET6), ENOTCONN, "not connected", "a listening socket of IPv6");
	pair_sockets(fds);
	close(fds[1]);
	poll_until(recv(fds[0], &addr, 1, MSG_DONTWAIT) == 0);
	bad_fd(s, fds[0], ENOTCONN, "not connected", "a socket whose peer has closed");
	close(s);
}

static void fields(void)
{
	int s = fresh(KVM_FERRY_SOURCE), fds[2];
	struct kvm_ferry_channel_add a;

	pair_sockets(fds);
	a = tcp(2, fds[0]);
	refused(s, KVM_FERRY_CHANNEL_ADD, &a, EOPNOTSUPP, "neither control nor data", "a kind that there is not");
	a = tcp(KVM_FERRY_CHANNEL_DATA, fds[0]);
	a.transport = 9;
	refused(s, KVM_FERRY_CHANNEL_ADD, &a, EOPNOTSUPP, "not at hand", "a transport that there is not");
	a.transport = KVM_FERRY_TRANSPORT_RDMA;
	refused(s, KVM_FERRY_CHANNEL_ADD, &a, EOPNOTSUPP, "not at hand", "RDMA, which is not here");
	a.transport = KVM_FERRY_TRANSPORT_TCP;
	a.key = 5;
	refused(s, KVM_FERRY_CHANNEL_ADD, &a, EINVAL, "key must be 0", "TCP with a key");
	a.transport = KVM_FERRY_TRANSPORT_LOOP;
	refused(s, KVM_FERRY_CHANNEL_ADD, &a, EINVAL, "fd must be -1", "loop with an fd");
	close(fds[0]);
	close(fds[1]);
	close(s);
}

static void twice(void)
{
	int s = fresh(KVM_FERRY_SOURCE), other = fresh(KVM_FERRY_SINK), fds[2], i, good = 0, more[34];
	struct kvm_ferry_channel_add a, copy;

	pair_sockets(fds);
	a = tcp(KVM_FERRY_CHANNEL_CONTROL, fds[0]);
	taken(s, KVM_FERRY_CHANNEL_ADD, &a, "a control channel");
	a.kind = KVM_FERRY_CHANNEL_DATA;
	refused(s, KVM_FERRY_CHANNEL_ADD, &a, EEXIST, "added to a session", "its socket as data too");
	refused(other, KVM_FERRY_CHANNEL_ADD, &a, EEXIST, "added to a session", "its socket in another session");
	copy = tcp(KVM_FERRY_CHANNEL_DATA, dup(fds[0]));
	refused(s, KVM_FERRY_CHANNEL_ADD, &copy, EEXIST, "added to a session", "its socket by another fd");
	close(copy.fd);
	a = tcp(KVM_FERRY_CHANNEL_CONTROL, fds[1]);
	refused(s, KVM_FERRY_CHANNEL_ADD, &a, EEXIST, "control channel already", "a second control channel");
	taken(other, KVM_FERRY_CHANNEL_ADD, &a, "the other end, in another session");
	for (i = 0; i < 17; i++) {
		pair_sockets(more + 2 * i);
		a = tcp(KVM_FERRY_CHANNEL_DATA, more[2 * i]);
		if (i < 16)
			good += !ioctl(s, KVM_FERRY_CHANNEL_ADD, &a);
	}
	tap_check(good == 16, "%d data channels", good);
	refused(s, KVM_FERRY_CHANNEL_ADD, &a, ENOSPC, "at most 16", "one more");
	for (i = 0; i < 34; i++)
		close(more[i]);
	close(s);
	a = tcp(KVM_FERRY_CHANNEL_DATA, fds[0]);
	s = fresh(KVM_FERRY_SOURCE);
	refused(s, KVM_FERRY_CHANNEL_ADD, &a, ENOTCONN, "not connected",
		"the socket again, once its session is closed: it is shut down");
	close(s);
	close(other);
	close(fds[0]);
	close(fds[1]);
}

/* Both directions, with keys that both ends know: a handshake's result. */
static int tls(int fd, bool client)
{
	struct tls12_crypto_info_aes_gcm_128 a = {
		.info = { .version = TLS_1_3_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128 },
		.iv = { 1 }, .key = { 2 }, .salt = { 3 },
	}, b = a;

	b.key[0] = 4;
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4))
		return -errno;
	if (setsockopt(fd, SOL_TLS, TLS_TX, client ? &a : &b, sizeof(a)) ||
	    setsockopt(fd, SOL_TLS, TLS_RX, client ? &b : &a, sizeof(a)))
		return -errno;
	return 0;
}

static void add_tls(struct pair *p, enum kvm_ferry_channel_kind kind)
{
	int fds[2], err;

	pair_sockets(fds);
	err = tls(fds[0], true);
	if (!err)
		err = tls(fds[1], false);
	if (err)
		tap_bail("kTLS: %s", strerror(-err));
	if (ferry_session_add_socket(p->source, kind, fds[0]) ||
	    ferry_session_add_socket(p->sink, kind, fds[1]))
		tap_bail("TLS channel: %s", ferry_error());
	close(fds[0]);
	close(fds[1]);
}

static void moves_by_tls(void)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_VERIFY, .verify = 1 };
	struct pair p = { .bytes = 16 * MIB, .channels = 2 };

	p.dev = NULL;
	p.from = pair_memory(p.bytes, false);
	p.to = pair_memory(p.bytes, false);
	fill(p.from, 8 * MIB, 7);
	if (ferry_device_open(&p.dev) || ferry_source_create_reporting(p.dev, "tls", &p.source) ||
	    ferry_sink_create(p.dev, "tls", &p.sink) ||
	    ferry_session_add_region(p.source, 0, "ram", p.from, p.bytes) ||
	    ferry_session_add_region(p.sink, 0, "ram", p.to, p.bytes) ||
	    ferry_session_limits(p.source, &l, sizeof(l)))
		tap_bail("sessions: %s", ferry_error());
	add_tls(&p, KVM_FERRY_CHANNEL_CONTROL);
	add_tls(&p, KVM_FERRY_CHANNEL_DATA);
	add_tls(&p, KVM_FERRY_CHANNEL_DATA);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	fill(p.from + 9 * MIB, 5 * PAGE, 8);
	ferry_session_report_range(p.source, 0, 9 * MIB, 5 * PAGE);
	tap_check(!pair_switch(&p, "secret", 6), "memory moves over TLS in software");
	tap_check(!memcmp(p.from, p.to, p.bytes), "and is equal");
	pair_close(&p);
	munmap(p.from, p.bytes);
	munmap(p.to, p.bytes);
}

/**
 * struct middle - somebody on the way between source and sink
 * @from: socket to the source
 * @to: socket to the sink
 * @saw: guest memory as it is in the source
 * @bytes: passed on
 */
struct middle {
	int from;
	int to;
	bool saw;
	size_t bytes;
};

#define SECRET		"no word of this is on the wire! "
#define SPOILED_AT	MIB

/* Looks at all that passes, and changes one bit of it. */
static void *pass_on(void *arg)
{
	static char buf[64 << 10];
	struct middle *m = arg;
	ssize_t n;

	while ((n = recv(m->from, buf, sizeof(buf), 0)) > 0) {
		m->saw |= !!memmem(buf, n, SECRET, 16);
		if (m->bytes <= SPOILED_AT && m->bytes + n > SPOILED_AT)
			buf[SPOILED_AT - m->bytes] ^= 1;
		m->bytes += n;
		if (send(m->to, buf, n, MSG_NOSIGNAL) != n)
			break;
	}
	shutdown(m->from, SHUT_RDWR);
	shutdown(m->to, SHUT_RDWR);
	return NULL;
}

static void tampered(void)
{
	struct pair p = { .bytes = 4 * MIB, .channels = 1 };
	int left[2], right[2];
	struct middle m = {};
	pthread_t thread;
	size_t i;

	p.from = pair_memory(p.bytes, false);
	p.to = pair_memory(p.bytes, false);
	for (i = 0; i < p.bytes; i += 32)
		memcpy(p.from + i, SECRET, 32);
	if (ferry_device_open(&p.dev) || ferry_source_create_reporting(p.dev, "tls", &p.source) ||
	    ferry_sink_create(p.dev, "tls", &p.sink) ||
	    ferry_session_add_region(p.source, 0, "ram", p.from, p.bytes) ||
	    ferry_session_add_region(p.sink, 0, "ram", p.to, p.bytes))
		tap_bail("sessions: %s", ferry_error());
	add_tls(&p, KVM_FERRY_CHANNEL_CONTROL);
	pair_sockets(left);
	pair_sockets(right);
	if (tls(left[0], true) || tls(right[1], false) ||
	    ferry_session_add_socket(p.source, KVM_FERRY_CHANNEL_DATA, left[0]) ||
	    ferry_session_add_socket(p.sink, KVM_FERRY_CHANNEL_DATA, right[1]))
		tap_bail("TLS channel: %s", ferry_error());
	close(left[0]);
	close(right[1]);
	m.from = left[1];
	m.to = right[0];
	if (pthread_create(&thread, NULL, pass_on, &m))
		tap_bail("no thread");
	pair_start(&p);
	failed_with(ferry_session_fd(p.sink), EBADMSG, "TLS could not authenticate it", "a bit that changes on the way");
	failed_with(ferry_session_fd(p.source), EPIPE, "not what the peer sent", "the source is told");
	pthread_join(thread, NULL);
	tap_check(m.bytes > SPOILED_AT && !m.saw, "%zu bytes passed by, none of them readable", m.bytes);
	close(m.from);
	close(m.to);
	pair_close(&p);
	munmap(p.from, p.bytes);
	munmap(p.to, p.bytes);
}

static void constant_pages(void)
{
	int s = fresh(KVM_FERRY_SOURCE), fds[2], one = 1, err;

	pair_sockets(fds);
	err = tls(fds[0], true);
	if (err)
		tap_bail("kTLS: %s", strerror(-err));
	if (setsockopt(fds[0], SOL_TLS, TLS_TX_ZEROCOPY_RO, &one, sizeof(one))) {
		tap_note("TLS_TX_ZEROCOPY_RO: %s: not tried", strerror(errno));
		close(fds[0]);
	} else {
		bad_fd(s, fds[0], EOPNOTSUPP, "TLS_TX_ZEROCOPY_RO", "TLS that needs constant pages");
	}
	close(fds[1]);
	close(s);
}

int main(void)
{
	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	not_tcp();
	fields();
	twice();
	constant_pages();
	moves_by_tls();
	tampered();
	ferry_device_close(dev);
	return tap_done();
}
