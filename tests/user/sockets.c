// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connecting and sorting connections over the loopback, with strangers among
 * them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ferry.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "message.h"
#include "tap.h"

#define TIMEOUT_MS 20000

static char port[16];

static int listen_somewhere(void)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	int fd = ferry_listen("127.0.0.1", "0");

	if (fd < 0 || getsockname(fd, (struct sockaddr *)&addr, &len)) {
		fprintf(stderr, "listen: %s\n", ferry_error());
		exit(EXIT_FAILURE);
	}
	snprintf(port, sizeof(port), "%u", ntohs(addr.sin_port));
	return fd;
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

static void say(int fd, const void *bytes, size_t length)
{
	if (send(fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length)
		perror("send");
}

static void say_hello(int fd, uint8_t token, unsigned int nr)
{
	uint8_t buf[HELLO_BYTES];

	make_hello(buf, token, nr);
	say(fd, buf, sizeof(buf));
}

static void say_channel(int fd, uint8_t token, unsigned int index, unsigned int nr)
{
	uint8_t buf[CHANNEL_BYTES];

	make_channel(buf, token, index, nr);
	say(fd, buf, sizeof(buf));
}

/* Whether every socket has its whole first message still to be read, in order. */
static bool intact(const struct ferry_sockets *socks, uint8_t token)
{
	uint8_t want[HELLO_BYTES], got[HELLO_BYTES];
	unsigned int i;
	int lowat;
	socklen_t len = sizeof(lowat);

	make_hello(want, token, socks->nr_data);
	if (recv(socks->control, got, sizeof(got), MSG_WAITALL) != HELLO_BYTES ||
	    memcmp(want, got, HELLO_BYTES) ||
	    fcntl(socks->control, F_GETFL) & O_NONBLOCK ||
	    getsockopt(socks->control, SOL_SOCKET, SO_RCVLOWAT, &lowat, &len) || lowat != 1)
		return false;
	for (i = 0; i < socks->nr_data; i++) {
		make_channel(want, token, i, socks->nr_data);
		if (recv(socks->data[i], got, CHANNEL_BYTES, MSG_WAITALL) != CHANNEL_BYTES ||
		    memcmp(want, got, CHANNEL_BYTES))
			return false;
	}
	return true;
}

static void connecting(void)
{
	struct ferry_sockets socks;
	int fd = listen_somewhere(), one = 0;
	socklen_t len = sizeof(one);

	ok(!ferry_connect(&socks, "localhost", port, 3, TIMEOUT_MS) && socks.nr_data == 3 &&
	   socks.control >= 0 && socks.data[2] >= 0 && socks.data[3] == -1,
	   "a control and three data connections, by name");
	ok(!getsockopt(socks.data[2], IPPROTO_TCP, TCP_NODELAY, &one, &len) && one &&
	   !(fcntl(socks.data[2], F_GETFL) & O_NONBLOCK) &&
	   fcntl(socks.data[2], F_GETFD) & FD_CLOEXEC, "no delay, blocking, close-on-exec");
	ferry_sockets_close(&socks);
	ok(socks.control == -1 && !socks.nr_data, "closed");
	ok(ferry_connect(&socks, "127.0.0.1", port, 0, TIMEOUT_MS) == -EINVAL, "no data channel");
	ok(ferry_connect(&socks, "127.0.0.1", port, 17, TIMEOUT_MS) == -EINVAL, "17 of them");
	close(fd);
	ok(ferry_connect(&socks, "127.0.0.1", port, 1, TIMEOUT_MS) == -ECONNREFUSED &&
	   socks.control == -1 && strstr(ferry_error(), "listen"), "nobody there: %s",
	   ferry_error());
	ok(ferry_connect(&socks, "host.invalid", port, 1, TIMEOUT_MS) == -EHOSTUNREACH,
	   "no such host: %s", ferry_error());
	ok(ferry_listen("192.0.2.1", "0") == -EADDRNOTAVAIL, "not our address: %s",
	   ferry_error());
}

/* The data connections speak before the control connection, and in disorder. */
static void sorting(void)
{
	struct ferry_sockets socks;
	int fd = listen_somewhere(), conns[5];
	unsigned int i;

	for (i = 0; i < 5; i++)
		conns[i] = dial();
	say_channel(conns[0], 9, 2, 4);
	say_channel(conns[1], 9, 0, 4);
	say_channel(conns[2], 9, 3, 4);
	say_hello(conns[3], 9, 4);
	say_channel(conns[4], 9, 1, 4);
	ok(!ferry_accept(&socks, fd, 0, TIMEOUT_MS) && socks.nr_data == 4 && intact(&socks, 9),
	   "five connections in disorder are sorted, and nothing is read from them");
	ferry_sockets_close(&socks);
	for (i = 0; i < 5; i++)
		close(conns[i]);
	ok(!(fcntl(fd, F_GETFL) & O_NONBLOCK), "the listening socket is as it was");
	close(fd);
}

/* Writes a message a few bytes at a time, each after the reader had its chance. */
static void *slow_peer(void *arg)
{
	uint8_t hello[HELLO_BYTES], channel[CHANNEL_BYTES];
	int *conns = arg, one = 1;
	unsigned int i;

	make_hello(hello, 5, 1);
	make_channel(channel, 5, 0, 1);
	setsockopt(conns[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(conns[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (i = 0; i < HELLO_BYTES; i += 8) {
		say(conns[0], hello + i, 8);
		if (i < CHANNEL_BYTES)
			say(conns[1], channel + i, 8);
		poll(NULL, 0, 2);
	}
	return NULL;
}

static void in_pieces(void)
{
	struct rusage before, after;
	struct ferry_sockets socks;
	int fd = listen_somewhere(), conns[2];
	pthread_t peer;
	int ret;

	conns[0] = dial();
	conns[1] = dial();
	pthread_create(&peer, NULL, slow_peer, conns);
	ret = ferry_accept(&socks, fd, 1, TIMEOUT_MS);
	pthread_join(peer, NULL);
	ok(!ret && intact(&socks, 5), "messages that come in pieces of eight bytes");
	ferry_sockets_close(&socks);
	close(conns[0]);
	close(conns[1]);

	/* Half a message and then nothing must not spin. */
	conns[0] = dial();
	say(conns[0], "FrY1", 4);
	getrusage(RUSAGE_SELF, &before);
	ret = ferry_accept(&socks, fd, 0, 400);
	getrusage(RUSAGE_SELF, &after);
	ok(ret == -ETIMEDOUT, "half a message: %s", ferry_error());
	ok((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 + after.ru_utime.tv_usec -
	   before.ru_utime.tv_usec + (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
	   after.ru_stime.tv_usec - before.ru_stime.tv_usec < 200000,
	   "waiting for the other half takes no processor time");
	close(conns[0]);
	close(fd);
}

enum { STRANGERS = 90 };	/* more than the table of pending ones holds */

struct crowd {
	int strangers[STRANGERS];
	int real[3];
};

/* In a thread of its own: a full backlog makes connect() wait for accept(). */
static void *come_in_a_crowd(void *arg)
{
	struct crowd *c = arg;
	unsigned int i;
	int fd;

	for (i = 0; i < STRANGERS; i++) {
		fd = dial();
		c->strangers[i] = fd;
		switch (i % 6) {
		case 0:
			say(fd, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", 37);
			break;
		case 1:
			break;
		case 2:
			say(fd, "FrY1", 4);
			break;
		case 3:
			say_channel(fd, (uint8_t)i, 0, 1);
			break;
		case 4:
			say_hello(fd, (uint8_t)i, 16);
			break;
		default:
			shutdown(fd, SHUT_WR);
			break;
		}
	}
	for (i = 0; i < 3; i++)
		c->real[i] = dial();
	say_hello(c->real[1], 0xee, 2);
	say_channel(c->real[2], 0xee, 0, 2);
	say_channel(c->real[0], 0xee, 1, 2);
	return NULL;
}

static void strangers(void)
{
	struct ferry_sockets socks;
	int fd = listen_somewhere(), closed = 0, ret;
	struct crowd crowd;
	pthread_t thread;
	unsigned int i;
	char byte;

	pthread_create(&thread, NULL, come_in_a_crowd, &crowd);
	ret = ferry_accept(&socks, fd, 2, TIMEOUT_MS);
	pthread_join(thread, NULL);
	ok(!ret && socks.nr_data == 2 && intact(&socks, 0xee),
	   "a migration among %d strangers", STRANGERS);
	for (i = 0; i < STRANGERS; i++) {
		/* Closed with bytes unread is a reset. */
		closed += recv(crowd.strangers[i], &byte, 1, 0) <= 0;
		close(crowd.strangers[i]);
	}
	ok(closed == STRANGERS, "the strangers are all closed");
	ferry_sockets_close(&socks);
	for (i = 0; i < 3; i++)
		close(crowd.real[i]);
	close(fd);
}

static void odd_peers(void)
{
	struct ferry_sockets socks;
	int fd = listen_somewhere(), conns[6];
	unsigned int i;

	for (i = 0; i < 4; i++)
		conns[i] = dial();
	say_hello(conns[0], 1, 2);
	say_channel(conns[1], 1, 0, 2);
	say_channel(conns[2], 1, 0, 2);
	say_channel(conns[3], 2, 1, 2);
	ok(ferry_accept(&socks, fd, 0, 300) == -ETIMEDOUT && socks.control == -1,
	   "an index twice, and another token: %s", ferry_error());
	for (i = 0; i < 4; i++)
		close(conns[i]);

	conns[0] = dial();
	conns[1] = dial();
	say_hello(conns[0], 1, 1);
	say_channel(conns[1], 1, 0, 1);
	ok(ferry_accept(&socks, fd, 2, 300) == -ETIMEDOUT, "another number of channels: %s",
	   ferry_error());
	close(conns[0]);
	close(conns[1]);

	/* Two migrations at once: one is taken whole, never a mixture. */
	for (i = 0; i < 6; i++)
		conns[i] = dial();
	say_hello(conns[0], 3, 2);
	say_hello(conns[1], 4, 2);
	say_channel(conns[2], 3, 0, 2);
	say_channel(conns[3], 4, 0, 2);
	say_channel(conns[4], 4, 1, 2);
	ok(!ferry_accept(&socks, fd, 0, TIMEOUT_MS) && intact(&socks, 4),
	   "of two migrations the complete one is taken");
	ferry_sockets_close(&socks);
	for (i = 0; i < 6; i++)
		close(conns[i]);
	ok(ferry_accept(&socks, fd, 0, 0) == -ETIMEDOUT, "nobody comes: %s", ferry_error());
	ok(ferry_accept(&socks, fd, 17, 0) == -EINVAL, "17 channels are impossible");
	close(fd);
}

int main(void)
{
	connecting();
	sorting();
	in_pieces();
	strangers();
	odd_peers();
	return tap_done();
}
