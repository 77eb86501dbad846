// SPDX-License-Identifier: GPL-2.0
/*
 * relay FROM TO answer|commit: passes on what comes to port FROM of this host to port TO,
 * and back, until the source says COMMIT on the module's control connection, which is the
 * second one. From then on it swallows what the destination answers there ("answer"), or
 * COMMIT itself and all that follows on either side ("commit"), and holds the connection.
 * It says "ready" when it listens, and then "COMMIT".
 */
#include <arpa/inet.h>
#include <endian.h>
#include <err.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAGIC		0x31597246	/* docs/protocol.md: the header of a message */
#define COMMIT		15
#define MAX_PAIRS	18
#define CONTROL		1		/* the second connection */

struct header {
	uint32_t magic;
	uint16_t type, zero;
	uint32_t length, seq;
};

static struct pair {
	int fd[2];		/* to the source, to the destination */
	bool open[2];		/* bytes may still come from there */
} pairs[MAX_PAIRS];

static int nr_pairs;
static bool before;		/* "commit": not even that arrives */
static bool committed;

static int tcp(int port, bool listens)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || (listens ? bind(fd, (void *)&addr, sizeof(addr)) || listen(fd, MAX_PAIRS) :
				 connect(fd, (void *)&addr, sizeof(addr))))
		err(1, "port %d", port);
	return fd;
}

/*
 * Looks for COMMIT in what the source says; returns how many of the bytes come before what
 * is to be swallowed. Messages may come in pieces.
 */
static ssize_t look(const uint8_t *bytes, ssize_t n)
{
	static union {
		struct header header;
		uint8_t bytes[sizeof(struct header)];
	} h;
	static size_t have, body;
	ssize_t i;

	for (i = 0; i < n; i++) {
		if (body) {
			body--;
			continue;
		}
		h.bytes[have++] = bytes[i];
		if (have < sizeof(h))
			continue;
		have = 0;
		if (le32toh(h.header.magic) != MAGIC)
			errx(1, "the second connection is not the module's");
		body = le32toh(h.header.length);
		if (le16toh(h.header.type) != COMMIT)
			continue;
		committed = true;
		puts("COMMIT");
		/* Nothing else is on its way when the source says it. */
		return before ? i + 1 - (ssize_t)sizeof(h) : i + 1;
	}
	return n;
}

/* What end I of pair P said */
static void pass(int p, int i)
{
	static uint8_t bytes[65536];
	struct pair *pair = &pairs[p];
	ssize_t n = recv(pair->fd[i], bytes, sizeof(bytes), 0), done = 0, ret;
	bool swallow = p == CONTROL && committed && (i || before);

	if (n <= 0) {
		pair->open[i] = false;
		if (!swallow)
			shutdown(pair->fd[!i], SHUT_WR);
		return;
	}
	if (swallow)
		return;
	if (p == CONTROL && !i && !committed)
		n = look(bytes, n);
	for (; done < n; done += ret) {
		ret = send(pair->fd[!i], bytes + done, n - done, MSG_NOSIGNAL);
		if (ret < 0)
			return;
	}
}

int main(int argc, char **argv)
{
	struct pollfd fds[1 + 2 * MAX_PAIRS];
	int listener, i;

	if (argc != 4)
		errx(2, "usage: relay FROM TO answer|commit");
	setlinebuf(stdout);
	before = !strcmp(argv[3], "commit");
	listener = tcp(atoi(argv[1]), true);
	puts("ready");
	for (;;) {
		fds[0] = (struct pollfd){ .fd = nr_pairs < MAX_PAIRS ? listener : -1, .events = POLLIN };
		for (i = 0; i < 2 * nr_pairs; i++)
			fds[1 + i] = (struct pollfd){ .events = POLLIN,
				.fd = pairs[i / 2].open[i % 2] ? pairs[i / 2].fd[i % 2] : -1 };
		if (poll(fds, 1 + 2 * nr_pairs, -1) < 0)
			err(1, "poll");
		for (i = 0; i < 2 * nr_pairs; i++)
			if (fds[1 + i].revents)
				pass(i / 2, i % 2);
		if (fds[0].revents) {
			pairs[nr_pairs] = (struct pair){ .open = { true, true } };
			pairs[nr_pairs].fd[0] = accept(listener, NULL, NULL);
			pairs[nr_pairs++].fd[1] = tcp(atoi(argv[2]), false);
		}
	}
}
