// SPDX-License-Identifier: LGPL-2.1-only
/*
 * How the two ends of a migration by RDMA find each other, before their
 * sessions speak: docs/rdma.md has it to the byte.
 *
 * A source's session connects its RDMA channels as soon as it is started, so the
 * sink's has to listen by then, for as many channels as the source has. So over
 * the control connection the source offers (how many channels), and the sink
 * answers once it listens (at which port), or says why it does not, and whether it
 * goes on by the TCP sockets to fall back to, if the source brought some. The
 * addresses are those of the control connection: nobody has to know more than
 * where that goes. Neither end reads more than these bytes: what follows is the
 * module's.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "internal.h"

#define MAGIC		"FrR1"
#define VERSION		1
#define ANSWER_LEN	16
#define MAX_WORDS	255	/* of a refusal */

/* What an offer is for. */
enum {
	OFFER_ALONE,		/* RDMA, or nothing */
	OFFER_FALLBACK,		/* a socket for each channel comes, too */
	OFFER_SOCKET,		/* that socket */
};

static void put16(uint8_t *p, unsigned int v)
{
	p[0] = v & 0xff;
	p[1] = v >> 8 & 0xff;
}

static unsigned int get16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	while (len--)
		if (*p++)
			return false;
	return true;
}

int ferry_rdma_offer(const uint8_t *bytes, size_t length, struct ferry_offer *offer,
		     const char **why)
{
	struct ferry_first_message *first = &offer->first;
	unsigned int what;

	if (memcmp(bytes, MAGIC, length < 4 ? length : 4)) {
		*why = "the peer does not come by RDMA";
		return -ENOMSG;
	}
	if (length < FERRY_RDMA_OFFER_LEN)
		return -EAGAIN;
	*why = "the peer offers RDMA in another version of kvm-ferry";
	what = get16(bytes + 8);
	if (get16(bytes + 4) != VERSION || what > OFFER_SOCKET || !all_zero(bytes + 12, 4) ||
	    !all_zero(bytes + 32, 8) || (what == OFFER_ALONE && !all_zero(bytes + 16, 16)))
		return -EPROTO;
	memset(offer, 0, sizeof(*offer));
	first->kind = what == OFFER_SOCKET ? KVM_FERRY_CHANNEL_DATA : KVM_FERRY_CHANNEL_CONTROL;
	first->nr_data = get16(bytes + 6);
	first->index = get16(bytes + 10);
	memcpy(first->token, bytes + 16, sizeof(first->token));
	offer->fallback = what != OFFER_ALONE;
	*why = "the peer offers an impossible number of channels";
	if (!first->nr_data || first->nr_data > KVM_FERRY_MAX_DATA_CHANNELS ||
	    first->index >= (what == OFFER_SOCKET ? first->nr_data : 1))
		return -EPROTO;
	return 0;
}

int ferry_rdma_say(int fd, const struct ferry_offer *offer)
{
	uint8_t bytes[FERRY_RDMA_OFFER_LEN] = MAGIC;

	put16(bytes + 4, VERSION);
	put16(bytes + 6, offer->first.nr_data);
	put16(bytes + 8, offer->first.kind == KVM_FERRY_CHANNEL_DATA ? OFFER_SOCKET :
			 offer->fallback ? OFFER_FALLBACK : OFFER_ALONE);
	put16(bytes + 10, offer->first.index);
	memcpy(bytes + 16, offer->first.token, sizeof(offer->first.token));
	if (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != sizeof(bytes))
		return ferry_fail(EPIPE, "the receiver has closed the connection");
	return 0;
}

/* Whoever does not read it has gone; there is nothing to do about that. */
static void answer(int fd, unsigned int port, bool goes_on, const char *words)
{
	uint8_t buf[ANSWER_LEN + MAX_WORDS] = MAGIC;
	size_t len = strnlen(words, MAX_WORDS);

	put16(buf + 4, VERSION);
	put16(buf + 6, port);
	put16(buf + 8, len);
	put16(buf + 10, goes_on);
	memcpy(buf + ANSWER_LEN, words, len);
	send(fd, buf, ANSWER_LEN + len, MSG_NOSIGNAL);
}

void ferry_rdma_refuse(int fd, const char *words)
{
	uint8_t offer[FERRY_RDMA_OFFER_LEN];

	answer(fd, 0, false, words);
	/* Bytes that nobody has read make close() a reset, which may overtake the words. */
	recv(fd, offer, sizeof(offer), MSG_DONTWAIT);
}

/* All of @len bytes, and not one more. -EINTR only if @interruptible. */
static int read_whole(int fd, uint8_t *to, size_t len, bool interruptible,
		      struct ferry_deadline deadline)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	ssize_t got;
	int ret;

	while (len) {
		ret = poll(&pfd, 1, ferry_deadline_left(deadline));
		if (ret < 0 && (errno != EINTR || interruptible))
			return -errno;
		if (!ret)
			return -ETIMEDOUT;
		if (ret < 0)
			continue;
		got = recv(fd, to, len, MSG_DONTWAIT);
		if (!got || (got < 0 && errno == ECONNRESET))
			return -EPIPE;
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (got > 0) {
			to += got;
			len -= got;
		}
	}
	return 0;
}

/* Words of the peer's go to a terminal: no control characters. */
static void only_printable(char *words)
{
	for (; *words; words++)
		if (*words < ' ' || *words > '~')
			*words = '?';
}

int ferry_rdma_answer(int fd, bool fallback, bool interruptible, struct ferry_deadline deadline)
{
	unsigned int port = 0, len = 0, goes_on = 0;
	char words[MAX_WORDS + 1] = "";
	uint8_t buf[ANSWER_LEN];
	int ret;

	ret = read_whole(fd, buf, sizeof(buf), interruptible, deadline);
	if (!ret) {
		port = get16(buf + 6);
		len = get16(buf + 8);
		goes_on = get16(buf + 10);
		if (memcmp(buf, MAGIC, 4) || get16(buf + 4) != VERSION || len > MAX_WORDS ||
		    !!port == !!len || goes_on > (fallback && !port) ||
		    !all_zero(buf + 12, ANSWER_LEN - 12))
			return ferry_fail(EPROTO, "what listens there does not answer as a kvm-ferry receiver does");
		ret = read_whole(fd, (uint8_t *)words, len, interruptible, deadline);
	}
	switch (ret) {
	case 0:
		break;
	case -EPIPE:
		return ferry_fail(EPIPE, "the receiver closed the connection without a word: does it listen for RDMA? What does it say there?");
	case -ETIMEDOUT:
		return ferry_fail(ETIMEDOUT, "the receiver does not say in time where it listens for RDMA: is it one of kvm-ferry's that does?");
	default:
		return ferry_fail(-ret, "wait for the receiver's answer: %s", strerror(-ret));
	}
	if (port)
		return port;
	only_printable(words);
	if (goes_on) {
		ferry_fail(EOPNOTSUPP, "the receiver goes on by TCP: %s", words);
		return 0;
	}
	return ferry_fail(ECONNREFUSED, "the receiver refuses RDMA: %s", words);
}

/* --- connections that the VMM has made ----------------------------------- */

int ferry_offer_rdma(struct ferry_sockets *out, int fd, unsigned int nr_data, int timeout_ms)
{
	struct ferry_deadline deadline = ferry_deadline_in(timeout_ms);
	struct ferry_offer offer = { .first = { .kind = KVM_FERRY_CHANNEL_CONTROL, .nr_data = nr_data } };
	int ret;

	ferry_sockets_init(out);
	if (!nr_data || nr_data > KVM_FERRY_MAX_DATA_CHANNELS)
		return ferry_fail(EINVAL, "%u data channels: 1 to %u are possible", nr_data,
				  KVM_FERRY_MAX_DATA_CHANNELS);
	ret = ferry_rdma_say(fd, &offer) ?: ferry_rdma_answer(fd, false, false, deadline);
	if (ret < 0)
		return ret;
	out->control = fd;
	out->nr_data = nr_data;
	out->rdma_port = ret;
	return 0;
}

/* As ferry_rdma_offer(), of what @fd has for us so far; nothing is read. */
static int peek_offer(int fd, struct ferry_offer *offer, const char **why)
{
	uint8_t bytes[FERRY_RDMA_OFFER_LEN];
	ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	int ret;

	if (got > 0) {
		ret = ferry_rdma_offer(bytes, got, offer, why);
		if (ret || !offer->fallback)
			return ret;
		*why = "the peer brings sockets to fall back to, which this end cannot take";
		return -EPROTO;
	}
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	*why = got ? strerror(errno) : "the peer closed before its offer was whole";
	return -EPIPE;
}

int ferry_take_offer(struct ferry_sockets *out, int fd, int timeout_ms)
{
	struct ferry_deadline deadline = ferry_deadline_in(timeout_ms);
	struct pollfd pfd = { .fd = fd, .events = POLLIN | POLLRDHUP };
	int low = FERRY_RDMA_OFFER_LEN, one = 1, ret, polled;
	uint8_t bytes[FERRY_RDMA_OFFER_LEN];
	struct ferry_offer offer;
	const char *why = "";

	ferry_sockets_init(out);
	/* So that poll() sleeps until all of it is here. */
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
	do {
		polled = poll(&pfd, 1, ferry_deadline_left(deadline));
		ret = polled > 0 ? peek_offer(fd, &offer, &why) : -EAGAIN;
		if (ret == -EAGAIN && polled > 0 && pfd.revents & (POLLERR | POLLHUP | POLLRDHUP)) {
			why = "the peer closed before its offer was whole";
			ret = -EPIPE;
		}
	} while (ret == -EAGAIN && polled && (polled > 0 || errno == EINTR));
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	if (ret == -EAGAIN)
		return ferry_fail(ETIMEDOUT, "no offer of RDMA came in time");
	if (ret)
		return ferry_fail(ret == -ENOMSG ? EPROTO : -ret, "%s", why);
	/* What follows is the module's. */
	recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	out->control = fd;
	out->nr_data = offer.first.nr_data;
	ferry_rdma_taken(out);
	return 0;
}

void ferry_refuse_offer(int fd, const char *words)
{
	answer(fd, 0, false, words);
}

/* --- the sessions' channels --------------------------------------------- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_storage room;
};

static unsigned int address_len(const union address *a)
{
	return a->any.sa_family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
}

static in_port_t *port_of(union address *a)
{
	return a->any.sa_family == AF_INET ? &a->v4.sin_port : &a->v6.sin6_port;
}

/* An end of the control connection, as an RDMA address with port @port. */
static int end_of(int fd, bool peer, unsigned int port, union address *a)
{
	socklen_t len = sizeof(*a);
	struct sockaddr_in v4;

	memset(a, 0, sizeof(*a));
	if (peer ? getpeername(fd, &a->any, &len) : getsockname(fd, &a->any, &len))
		return ferry_fail(errno, "the control channel's socket: %s", strerror(errno));
	if (a->any.sa_family != AF_INET && a->any.sa_family != AF_INET6)
		return ferry_fail(EPROTONOSUPPORT, "RDMA goes where the control channel goes, which must be TCP over IPv4 or IPv6");
	/* A socket that listens for both hides an IPv4 address in an IPv6 one; RDMA does not. */
	if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr)) {
		memset(&v4, 0, sizeof(v4));
		v4.sin_family = AF_INET;
		memcpy(&v4.sin_addr, a->v6.sin6_addr.s6_addr + 12, sizeof(v4.sin_addr));
		memset(a, 0, sizeof(*a));
		a->v4 = v4;
	}
	*port_of(a) = htons(port);
	return 0;
}

void ferry_rdma_taken(struct ferry_sockets *out)
{
	union address a;
	socklen_t len = sizeof(a);

	out->rdma_port = getsockname(out->control, &a.any, &len) ? 0 : ntohs(*port_of(&a));
}

/* What RDMA cannot do, as @ret says, TCP does, if there is a socket for it. */
static int or_tcp(struct ferry_session *s, int ret, int fd)
{
	return ret && fd >= 0 ? ferry_session_add_socket(s, KVM_FERRY_CHANNEL_DATA, fd) : ret;
}

/* @listens: whether one of them does; then @a is where. */
static int listen_all(struct ferry_session *s, const struct ferry_sockets *socks, union address *a,
		      bool *listens)
{
	unsigned int i;
	int ret;

	*listens = false;
	ret = end_of(socks->control, false, socks->rdma_port, a);
	for (i = 0; !ret && i < socks->nr_data; i++) {
		ret = ferry_session_listen_rdma(s, &a->any, address_len(a), socks->data[i]);
		/* Another migration may still have it; the answer tells which it is. */
		if (ret == -EADDRINUSE && !*listens) {
			*port_of(a) = 0;
			ret = ferry_session_listen_rdma(s, &a->any, address_len(a), socks->data[i]);
		}
		*listens |= !ret;
		ret = or_tcp(s, ret, socks->data[i]);
	}
	return ret;
}

static int connect_all(struct ferry_session *s, const struct ferry_sockets *socks)
{
	union address peer, from;
	unsigned int i;
	int ret;

	ret = end_of(socks->control, true, socks->rdma_port, &peer);
	/* By the device that the control channel leaves by. */
	if (!ret)
		ret = end_of(socks->control, false, 0, &from);
	for (i = 0; !ret && i < socks->nr_data; i++) {
		ret = ferry_session_connect_rdma(s, &peer.any, address_len(&peer), &from.any,
						 address_len(&from), socks->data[i]);
		ret = or_tcp(s, ret, socks->data[i]);
	}
	return ret;
}

int ferry_rdma_add(struct ferry_session *s, const struct ferry_sockets *socks)
{
	union address a;
	bool listens;
	int ret;

	if (s->role == KVM_FERRY_SOURCE) {
		ret = connect_all(s, socks);
	} else {
		ret = listen_all(s, socks, &a, &listens);
		if (ret || !listens)
			answer(socks->control, 0, !ret, ferry_error());
		else
			answer(socks->control, ntohs(*port_of(&a)), false, "");
	}
	/* Last: from there on the socket is the session's. */
	return ret ?: ferry_session_add_socket(s, KVM_FERRY_CHANNEL_CONTROL, socks->control);
}
