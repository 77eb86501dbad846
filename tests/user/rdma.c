// SPDX-License-Identifier: GPL-2.0-only
/*
 * How two ends agree on RDMA before their sessions speak: offers and answers as
 * docs/rdma.md has them, strangers, refusals, and what the sessions are told to
 * listen and connect to; against a fake module.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake.h"
#include "message.h"
#include "tap.h"

#define OFFER_BYTES	40
#define ANSWER_BYTES	16
#define TIMEOUT_MS	20000
#define OTHER_PORT	4711	/* that the fake module finds when it is asked for any */

static char port[16];

/* What the fake module was told: the sink's channels, then the source's. */
static struct {
	struct kvm_ferry_channel_add add;
	struct sockaddr_in6 addr, peer;
} told[40];
static unsigned int nr_told;
static int refusal, busy_port;	/* what it answers to a sink that listens */
static int no_device;		/* and to a source that connects */

static int module(unsigned long cmd, void *arg)
{
	struct kvm_ferry_channel_add *add = arg;
	struct sockaddr_in *addr = (void *)(uintptr_t)add->addr;

	if (cmd != KVM_FERRY_CHANNEL_ADD || nr_told == 40)
		return -ENOTTY;
	if (add->transport == KVM_FERRY_TRANSPORT_RDMA && !add->peer_len) {
		if (refusal)
			return refusal;
		if (busy_port && addr->sin_port == htons((uint16_t)busy_port))
			return -EADDRINUSE;
		if (!addr->sin_port)
			addr->sin_port = htons(OTHER_PORT);
	}
	if (add->transport == KVM_FERRY_TRANSPORT_RDMA && add->peer_len && no_device)
		return no_device;
	told[nr_told].add = *add;
	if (add->addr_len)
		memcpy(&told[nr_told].addr, addr, add->addr_len);
	if (add->peer_len)
		memcpy(&told[nr_told].peer, (void *)(uintptr_t)add->peer, add->peer_len);
	nr_told++;
	return 0;
}

static int listen_at(const char *host)
{
	struct sockaddr_in6 addr;
	socklen_t len = sizeof(addr);
	int fd = ferry_listen(host, "0");

	if (fd < 0 || getsockname(fd, (struct sockaddr *)&addr, &len)) {
		fprintf(stderr, "listen: %s\n", ferry_error());
		exit(EXIT_FAILURE);
	}
	/* At the same place for both families. */
	snprintf(port, sizeof(port), "%u", ntohs(addr.sin6_port));
	return fd;
}

typedef int (*accept_fn)(struct ferry_sockets *out, int listen_fd, unsigned int nr_data,
			 int timeout_ms);
typedef int (*connect_fn)(struct ferry_sockets *out, const char *host, const char *to,
			  unsigned int nr_data, int timeout_ms);

struct sink {
	pthread_t thread;
	accept_fn accept;	/* NULL: ferry_accept_rdma() */
	int fd, nr, ret;
	struct ferry_sockets socks;
	char error[512];
};

static void *take(void *arg)
{
	struct sink *k = arg;
	struct ferry_session *s = fake_session(KVM_FERRY_SINK);

	k->ret = (k->accept ? k->accept : ferry_accept_rdma)(&k->socks, k->fd, k->nr, TIMEOUT_MS);
	if (!k->ret)
		k->ret = ferry_session_add_sockets(s, &k->socks);
	snprintf(k->error, sizeof(k->error), "%s", ferry_error());
	ferry_sockets_close(&k->socks);
	ferry_session_close(s);
	return NULL;
}

static void start(struct sink *k, const char *host, int nr)
{
	nr_told = 0;
	k->fd = listen_at(host);
	k->nr = nr;
	pthread_create(&k->thread, NULL, take, k);
}

static void stop(struct sink *k)
{
	pthread_join(k->thread, NULL);
	close(k->fd);
}

static bool is_v4(const void *addr, unsigned int len, unsigned int number)
{
	const struct sockaddr_in *in = addr;

	return len == sizeof(*in) && in->sin_family == AF_INET &&
	       in->sin_addr.s_addr == htonl(INADDR_LOOPBACK) && in->sin_port == htons(number);
}

static bool is_v6(const void *addr, unsigned int len, unsigned int number)
{
	const struct sockaddr_in6 *in = addr;

	return len == sizeof(*in) && in->sin6_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&in->sin6_addr) && in->sin6_port == htons(number);
}

static void meeting(const char *listen, const char *host,
		    bool (*is)(const void *addr, unsigned int len, unsigned int number), int busy)
{
	struct ferry_session *s = fake_session(KVM_FERRY_SOURCE);
	struct ferry_sockets socks;
	unsigned int want, i, good = 0;
	struct sink sink = { .accept = NULL };

	busy_port = 0;
	start(&sink, listen, 0);
	want = busy ? OTHER_PORT : atoi(port);
	busy_port = busy ? atoi(port) : 0;
	ok(!ferry_connect_rdma(&socks, host, port, 3, TIMEOUT_MS) && socks.nr_data == 3 &&
	   socks.data[0] == -1 && socks.rdma_port == want, "%s to '%s': port %u%s", host, listen,
	   socks.rdma_port, busy ? ", since its own is taken" : "");
	stop(&sink);
	ok(!sink.ret && nr_told == 4 && !ferry_session_add_sockets(s, &socks) && nr_told == 8,
	   "both ends add three channels and a control channel");
	for (i = 0; i < 8; i++) {
		const struct kvm_ferry_channel_add *add = &told[i].add;

		if (i % 4 == 3)
			good += add->kind == KVM_FERRY_CHANNEL_CONTROL && add->fd >= 0 &&
				add->transport == KVM_FERRY_TRANSPORT_TCP;
		else
			good += add->kind == KVM_FERRY_CHANNEL_DATA && add->fd == -1 &&
				add->transport == KVM_FERRY_TRANSPORT_RDMA &&
				is(&told[i].addr, add->addr_len, i < 4 ? want : 0) &&
				(i < 4 ? !add->peer_len : is(&told[i].peer, add->peer_len, want));
	}
	ok(good == 8, "the sink where it was found, the source from where it came: %u of 8", good);
	ferry_sockets_close(&socks);
	ferry_session_close(s);
	busy_port = 0;
}

static int dial(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		perror("connect");
		exit(EXIT_FAILURE);
	}
	return fd;
}

static void make_offer(uint8_t *p, unsigned int nr)
{
	memset(p, 0, OFFER_BYTES);
	memcpy(p, "FrR1", 4);
	put16(p + 4, 1);
	put16(p + 6, nr);
}

/* By hand, among others, with what the module is to read right behind. */
static void by_hand(void)
{
	static const struct {
		unsigned int at, value;
	} wrong[] = { { 0, 0 }, { 4, 2 }, { 6, 0 }, { 6, 17 }, { 8, 3 },
		      { 10, 1 }, { 12, 1 }, { 16, 1 }, { 38, 1 } };
	uint8_t offer[OFFER_BYTES + 7], got[ANSWER_BYTES];
	unsigned int i, n = sizeof(wrong) / sizeof(wrong[0]), closed = 0;
	struct sink sink = { .accept = NULL };
	int fds[20];

	start(&sink, "127.0.0.1", 0);
	for (i = 0; i < n; i++) {
		make_offer(offer, 2);
		put16(offer + wrong[i].at, wrong[i].value);
		fds[i] = dial();
		send(fds[i], offer, OFFER_BYTES, MSG_NOSIGNAL);
	}
	for (i = 0; i < n; i++) {
		closed += recv(fds[i], got, sizeof(got), 0) <= 0;
		close(fds[i]);
	}
	ok(closed == n, "%u wrong offers are turned away", closed);
	fds[0] = dial();
	make_offer(offer, 2);
	memcpy(offer + OFFER_BYTES, "HELLO..", 7);
	send(fds[0], offer, 20, MSG_NOSIGNAL);
	usleep(20000);
	send(fds[0], offer + 20, sizeof(offer) - 20, MSG_NOSIGNAL);
	ok(recv(fds[0], got, sizeof(got), MSG_WAITALL) == ANSWER_BYTES &&
	   !memcmp(got, "FrR1\1\0", 6) && (got[6] | got[7] << 8) == atoi(port) &&
	   !memcmp(got + 8, "\0\0\0\0\0\0\0", 8), "one that comes in pieces is answered");
	stop(&sink);
	ok(!sink.ret && nr_told == 3, "and taken: %d", sink.ret);
	close(fds[0]);
}

static void refusals(void)
{
	struct ferry_sockets socks;
	struct sink sink = { .accept = NULL };
	int ret;

	refusal = -ENODEV;
	fake_reason.out_error = ENODEV;
	strcpy((char *)fake_reason.out_reason, "no RDMA device has\033 it");
	start(&sink, "127.0.0.1", 0);
	ret = ferry_connect_rdma(&socks, "127.0.0.1", port, 1, TIMEOUT_MS);
	ok(ret == -ECONNREFUSED && socks.control == -1 &&
	   strstr(ferry_error(), "refuses RDMA: no RDMA device has? it"), "no device: %s",
	   ferry_error());
	stop(&sink);
	ok(sink.ret == -ENODEV, "and its own end knows: %s", sink.error);
	refusal = -EOPNOTSUPP;
	fake_reason.out_error = EOPNOTSUPP;
	strcpy((char *)fake_reason.out_reason, "RDMA is not at hand");
	start(&sink, "127.0.0.1", 0);
	ret = ferry_connect_rdma(&socks, "127.0.0.1", port, 1, TIMEOUT_MS);
	stop(&sink);
	ok(ret == -ECONNREFUSED && strstr(ferry_error(), "modprobe kvm_ferry_rdma"),
	   "no module: %s", ferry_error());
	refusal = 0;
	start(&sink, "127.0.0.1", 2);
	ret = ferry_connect_rdma(&socks, "127.0.0.1", port, 1, TIMEOUT_MS);
	ok(ret == -ECONNREFUSED && strstr(ferry_error(), "another number"), "two, not one: %s",
	   ferry_error());
	ret = ferry_connect_rdma(&socks, "127.0.0.1", port, 2, TIMEOUT_MS);
	ok(!ret, "the next one has two");
	stop(&sink);
	ferry_sockets_close(&socks);
	ok(ferry_connect_rdma(&socks, "127.0.0.1", port, 2, TIMEOUT_MS) == -ECONNREFUSED &&
	   strstr(ferry_error(), "does the receiver listen"), "nobody: %s", ferry_error());
	ok(ferry_connect_rdma(&socks, "127.0.0.1", port, 17, TIMEOUT_MS) == -EINVAL, "17 channels");
}

/*
 * With sockets to fall back to. @want_sink, @want: of the three data channels, how many
 * are RDMA at the sink and at the source.
 */
static void fallback(const char *what, connect_fn connect, unsigned int want_sink, unsigned int want,
		     const char *words)
{
	struct ferry_session *s = fake_session(KVM_FERRY_SOURCE);
	struct sink sink = { .accept = ferry_accept_rdma_or_tcp };
	unsigned int i, rdma[2] = { 0 }, with[2] = { 0 }, tcp[2] = { 0 };
	struct ferry_sockets socks;
	int ret;

	start(&sink, "127.0.0.1", 0);
	ret = connect(&socks, "127.0.0.1", port, 3, TIMEOUT_MS);
	ok(!ret && socks.nr_data == 3 && !!socks.rdma_port == !!want_sink &&
	   (!words || strstr(ferry_error(), words)), "%s: port %u, %s", what, socks.rdma_port,
	   ret || words ? ferry_error() : "connected");
	stop(&sink);
	ok(!sink.ret && nr_told == 4 && !ferry_session_add_sockets(s, &socks) && nr_told == 8,
	   "both ends add three channels and a control channel: %s", sink.error);
	for (i = 0; i < 8; i++) {
		const struct kvm_ferry_channel_add *add = &told[i].add;

		if (add->kind != KVM_FERRY_CHANNEL_DATA)
			continue;
		rdma[i / 4] += add->transport == KVM_FERRY_TRANSPORT_RDMA;
		with[i / 4] += add->transport == KVM_FERRY_TRANSPORT_RDMA && add->fd >= 0;
		tcp[i / 4] += add->transport == KVM_FERRY_TRANSPORT_TCP && add->fd >= 0;
	}
	ok(rdma[0] == want_sink && rdma[1] == want && rdma[0] + tcp[0] == 3 && rdma[1] + tcp[1] == 3,
	   "%u channels by RDMA at the sink, %u at the source, the others by TCP", rdma[0], rdma[1]);
	ok(connect == ferry_connect_rdma ? !with[0] && !with[1] : with[0] == rdma[0] && with[1] == rdma[1],
	   "%u and %u of these have a socket to fall back to", with[0], with[1]);
	ferry_sockets_close(&socks);
	ferry_session_close(s);
}

/* What came to the sink's socket for channel @i of an offer, and nothing else. */
static void fallback_sockets(void)
{
	struct sink sink = { .accept = ferry_accept_rdma_or_tcp };
	uint8_t offer[OFFER_BYTES + 1];
	unsigned int i, order[] = { 1, 9, 0 };
	struct ferry_sockets socks;
	int fds[5], ret, good = 0;
	char got[8];

	/* Of two migrations at once, in no order, with a strange one in between. */
	sink.fd = listen_at("127.0.0.1");
	for (i = 0; i < 3; i++) {
		fds[i] = dial();
		make_offer(offer, 2);
		put16(offer + 8, 2);
		put16(offer + 10, order[i] % 9);
		memset(offer + 16, order[i] == 9 ? 'b' : 'a', 16);
		offer[OFFER_BYTES] = '0' + order[i];
		send(fds[i], offer, sizeof(offer), MSG_NOSIGNAL);
	}
	fds[3] = dial();
	put16(offer + 8, 1);
	memset(offer + 16, 'a', 16);
	offer[OFFER_BYTES] = 'c';
	send(fds[3], offer, sizeof(offer), MSG_NOSIGNAL);
	ret = ferry_accept_rdma_or_tcp(&socks, sink.fd, 0, TIMEOUT_MS);
	ok(!ret && socks.nr_data == 2 && socks.rdma_port == (unsigned int)atoi(port),
	   "offers of two migrations: one is whole");
	for (i = 0; !ret && i < 3; i++)
		good += recv(i == 2 ? socks.control : socks.data[i], got, sizeof(got), MSG_DONTWAIT) == 1 &&
			got[0] == "01c"[i];
	ok(good == 3, "its sockets are in order, with what follows on them");
	ok(recv(fds[1], got, sizeof(got), 0) <= 0, "and the other's is closed");
	for (i = 0; i < 4; i++)
		close(fds[i]);
	if (!ret)
		ferry_sockets_close(&socks);
	ret = ferry_connect_rdma_or_tcp(&socks, "127.0.0.1", "1", 2, TIMEOUT_MS);
	ok(ret == -ECONNREFUSED && socks.control == -1, "nobody: %s", ferry_error());
	close(sink.fd);
}

static void falling_back(void)
{
	struct sink sink = { .accept = NULL };
	struct ferry_sockets socks;
	int ret;

	fallback("RDMA or TCP", ferry_connect_rdma_or_tcp, 3, 3, NULL);
	fallback("RDMA alone, to a sink that takes all", ferry_connect_rdma, 3, 3, NULL);
	no_device = -ENODEV;
	fallback("no device at the source", ferry_connect_rdma_or_tcp, 3, 0, NULL);
	no_device = 0;
	refusal = -ENODEV;
	fake_reason.out_error = ENODEV;
	strcpy((char *)fake_reason.out_reason, "no RDMA device has it");
	fallback("no device at the sink", ferry_connect_rdma_or_tcp, 0, 0,
		 "goes on by TCP: no RDMA device has it");
	refusal = 0;
	fallback_sockets();

	start(&sink, "127.0.0.1", 0);
	ret = ferry_connect_rdma_or_tcp(&socks, "127.0.0.1", port, 2, TIMEOUT_MS);
	ok(ret < 0 && socks.control == -1 && strstr(ferry_error(), "not with rdma+tcp:"),
	   "to a sink that takes RDMA alone: %s", ferry_error());
	ret = ferry_connect_rdma(&socks, "127.0.0.1", port, 2, TIMEOUT_MS);
	ok(!ret, "which goes on waiting");
	stop(&sink);
	ferry_sockets_close(&socks);
}

static void *accept_tcp(void *arg)
{
	struct sink *k = arg;

	k->ret = ferry_accept(&k->socks, k->fd, 0, 1000);
	snprintf(k->error, sizeof(k->error), "%s", ferry_error());
	return NULL;
}

/* A receiver that answers with these bytes, and then closes or is silent. */
static void *answer(void *arg)
{
	struct sink *k = arg;
	int fd = accept(k->fd, NULL, NULL);

	if (k->nr)
		send(fd, k->error, k->nr, MSG_NOSIGNAL);
	shutdown(fd, k->ret ? SHUT_RD : SHUT_WR);
	k->socks.control = fd;
	return NULL;
}

static void strange_receiver(const char *what, const char *bytes, int nr, bool stays, int want)
{
	struct sink k = { .nr = nr, .ret = stays };
	struct ferry_sockets socks;
	int ret;

	memcpy(k.error, bytes, nr);
	k.fd = listen_at("127.0.0.1");
	pthread_create(&k.thread, NULL, answer, &k);
	ret = ferry_connect_rdma(&socks, "127.0.0.1", port, 1, stays ? 300 : TIMEOUT_MS);
	ok(ret == want && socks.control == -1, "%s: %s", what, ferry_error());
	stop(&k);
	close(k.socks.control);
}

static void tcp_and_rdma(void)
{
	struct ferry_sockets socks;
	struct sink k = { .fd = listen_at("127.0.0.1") };
	uint8_t hello[HELLO_BYTES];
	int fd, ret;

	pthread_create(&k.thread, NULL, accept_tcp, &k);
	ret = ferry_connect_rdma(&socks, "127.0.0.1", port, 1, TIMEOUT_MS);
	ok(ret == -ECONNREFUSED && strstr(ferry_error(), "listens with tcp:"), "RDMA to TCP: %s",
	   ferry_error());
	stop(&k);
	ok(k.ret == -ETIMEDOUT && strstr(k.error, "comes by RDMA"), "and its own end knows: %s",
	   k.error);
	k.fd = listen_at("127.0.0.1");
	fd = dial();
	make_hello(hello, 1, 1);
	send(fd, hello, sizeof(hello), MSG_NOSIGNAL);
	ret = ferry_accept_rdma(&socks, k.fd, 0, 300);
	ok(ret == -ETIMEDOUT && strstr(ferry_error(), "does not come by RDMA"), "TCP to RDMA: %s",
	   ferry_error());
	close(fd);
	close(k.fd);
}

/* The two ends of a connection that a VMM has made. */
static void connected(int *near, int *far)
{
	int fd = listen_at("127.0.0.1"), one = 1;

	*near = dial();
	/* What comes in pieces is not to wait for the acknowledgement of the first. */
	setsockopt(*near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	*far = accept(fd, NULL, NULL);
	close(fd);
}

static void *offer(void *arg)
{
	struct sink *k = arg;

	k->ret = ferry_offer_rdma(&k->socks, k->fd, k->nr, TIMEOUT_MS);
	snprintf(k->error, sizeof(k->error), "%s", ferry_error());
	return NULL;
}

static void made_by_the_vmm(void)
{
	struct ferry_session *s = fake_session(KVM_FERRY_SINK);
	struct ferry_sockets socks;
	uint8_t bytes[OFFER_BYTES + 7], hello[HELLO_BYTES];
	struct sink source = { .nr = 3 };
	char rest[8] = "";
	int fd, ret;

	connected(&source.fd, &fd);
	pthread_create(&source.thread, NULL, offer, &source);
	nr_told = 0;
	ret = ferry_take_offer(&socks, fd, TIMEOUT_MS);
	ok(!ret && socks.control == fd && socks.nr_data == 3 && socks.data[0] == -1 &&
	   socks.rdma_port == (unsigned int)atoi(port), "an offer on a connection of one's own");
	ok(!ferry_session_add_sockets(s, &socks) && nr_told == 4, "the sink adds it");
	pthread_join(source.thread, NULL);
	ok(!source.ret && source.socks.control == source.fd && source.socks.nr_data == 3 &&
	   source.socks.rdma_port == (unsigned int)atoi(port), "and the source has its answer");
	pthread_create(&source.thread, NULL, offer, &source);
	ret = ferry_take_offer(&socks, fd, TIMEOUT_MS);
	ferry_refuse_offer(fd, "not here");
	pthread_join(source.thread, NULL);
	ok(!ret && source.ret == -ECONNREFUSED && source.socks.control == -1 &&
	   strstr(source.error, "refuses RDMA: not here"), "or is refused: %s", source.error);
	source.nr = 17;
	offer(&source);
	ok(source.ret == -EINVAL, "17 channels are not offered");

	ret = ferry_take_offer(&socks, fd, 0);
	ok(ret == -ETIMEDOUT && socks.control == -1, "a look finds no offer: %s", ferry_error());
	make_offer(bytes, 2);
	memcpy(bytes + OFFER_BYTES, "HELLO..", 7);
	send(source.fd, bytes, 20, MSG_NOSIGNAL);
	usleep(20000);
	ok(ferry_take_offer(&socks, fd, 0) == -ETIMEDOUT, "nor does one that finds half of it");
	send(source.fd, bytes + 20, sizeof(bytes) - 20, MSG_NOSIGNAL);
	usleep(20000);
	ret = ferry_take_offer(&socks, fd, 0);
	ok(!ret && socks.nr_data == 2 && recv(fd, rest, sizeof(rest), MSG_DONTWAIT) == 7 &&
	   !strcmp(rest, "HELLO.."), "it takes what is whole, and leaves what follows: %s", rest);
	make_hello(hello, 1, 1);
	send(source.fd, hello, OFFER_BYTES, MSG_NOSIGNAL);
	usleep(20000);
	ok(ferry_take_offer(&socks, fd, TIMEOUT_MS) == -EPROTO &&
	   recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) == OFFER_BYTES,
	   "what is no offer stays to be read: %s", ferry_error());
	make_offer(bytes, 2);
	put16(bytes + 8, 1);
	send(source.fd, bytes, OFFER_BYTES, MSG_NOSIGNAL);
	ok(ferry_take_offer(&socks, fd, TIMEOUT_MS) == -EPROTO && strstr(ferry_error(), "fall back"),
	   "with sockets: %s", ferry_error());
	recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	make_offer(bytes, 17);
	send(source.fd, bytes, OFFER_BYTES, MSG_NOSIGNAL);
	ok(ferry_take_offer(&socks, fd, TIMEOUT_MS) == -EPROTO, "17 channels: %s", ferry_error());
	recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	send(source.fd, bytes, 20, MSG_NOSIGNAL);
	close(source.fd);
	ok(ferry_take_offer(&socks, fd, TIMEOUT_MS) == -EPIPE, "half of one: %s", ferry_error());
	close(fd);
	ferry_session_close(s);
}

int main(void)
{
	fake_module = module;
	meeting("127.0.0.1", "127.0.0.1", is_v4, 0);
	meeting("", "127.0.0.1", is_v4, 0);
	meeting("", "127.0.0.1", is_v4, 1);
	meeting("::1", "::1", is_v6, 0);
	by_hand();
	refusals();
	falling_back();
	tcp_and_rdma();
	made_by_the_vmm();
	strange_receiver("it closes", "", 0, false, -EPIPE);
	strange_receiver("it is silent", "", 0, true, -ETIMEDOUT);
	strange_receiver("half an answer", "FrR1\1\0\0\0", 8, true, -ETIMEDOUT);
	strange_receiver("a web server", "HTTP/1.1 400 Bad", 16, false, -EPROTO);
	strange_receiver("neither a port nor words", "FrR1\1\0\0\0\0\0\0\0\0\0\0\0", 16, false,
			 -EPROTO);
	strange_receiver("a port and words", "FrR1\1\0\1\1\1\0\0\0\0\0\0\0x", 17, false, -EPROTO);
	strange_receiver("by TCP, unasked", "FrR1\1\0\0\0\1\0\1\0\0\0\0\0x", 17, false, -EPROTO);
	strange_receiver("more words than there may be", "FrR1\1\0\0\0\0\1\0\0\0\0\0\0x", 17, false,
			 -EPROTO);
	strange_receiver("another version", "FrR1\2\0\1\1\0\0\0\0\0\0\0\0", 16, false, -EPROTO);
	return tap_done();
}
