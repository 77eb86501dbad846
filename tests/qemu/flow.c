// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=ping.c,../guest/stream.c
 *
 * What somebody has who talks with the guest while it moves: a connection with an
 * endless stream of counters both ways (tests/guest/net.c is the other end), every
 * one of which is checked, and a ping ten times a second.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../guest/stream.h"
#include "ping.h"

#define LINE_NS		500000000ULL
#define TRY_MS		3000	/* for one attempt to connect */
#define AGAIN_MS	100	/* until the next */
#define DRAIN_NS	30000000000ULL

static const char usage_text[] =
"usage: flow [options] ADDRESS\n"
"\n"
"Connects to the test guest at ADDRESS, exchanges counters with it and checks\n"
"them, pings it, and prints twice a second:\n"
"\n"
"  flow in=BYTES out=BYTES gap_ms=F gap_max_ms=F errors=N\n"
"       ping_sent=N ping_lost=N ping_gap_max_ms=F\n"
"\n"
"gap is the longest time in which nothing came, since the last line and since the\n"
"beginning; ping_gap the longest time without an answer to a ping. A ping counts as\n"
"lost after two seconds without an answer, until it comes. SIGTERM ends the\n"
"connection properly.\n"
"\n"
"  -p, --port=N       of the guest (7100)\n"
"  -r, --rate=KIB     a second that are sent (256); \"max\": as fast as it goes\n"
"  -c, --connect=S    for how many seconds it tries to connect (30)\n"
"      --no-ping      there is nothing that answers pings\n"
"  -h, --help         show this text\n"
"\n"
"Status: 0 after SIGTERM, if all was right; 1 if a counter was wrong or the\n"
"connection broke, ended early, or could not be made; 2 for wrong usage.\n";

static struct stream stream;
static struct ping ping;
static struct sockaddr_in peer = { .sin_family = AF_INET };
static uint64_t kib = STREAM_KIB, connect_s = 30;
static bool pings = true;
static int signals;

/* When something came last, and the longest time in which nothing did. */
static uint64_t last_ns, recent_ns, max_ns;
static unsigned int errors;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static int until_ms(uint64_t then, uint64_t now)
{
	return then > now ? (then - now) / 1000000 + 1 : 0;
}

static void note_gap(uint64_t now)
{
	if (now - last_ns > recent_ns)
		recent_ns = now - last_ns;
	if (recent_ns > max_ns)
		max_ns = recent_ns;
}

static void print_line(uint64_t now)
{
	note_gap(now);
	printf("flow in=%llu out=%llu gap_ms=%.1f gap_max_ms=%.1f errors=%u ping_sent=%llu ping_lost=%llu ping_gap_max_ms=%.1f\n",
	       (unsigned long long)stream.in, (unsigned long long)stream.out, recent_ns / 1e6,
	       max_ns / 1e6, errors, (unsigned long long)ping.sent, (unsigned long long)ping.lost,
	       pings ? ping_gap(&ping, now) / 1e6 : 0);
	recent_ns = 0;
}

static void fail(enum stream_result r)
{
	int why = errno;

	errors++;
	print_line(now_ns());
	if (r == STREAM_WRONG)
		errx(1, "after %llu bytes a counter was %#llx, and had to be %#llx",
		     (unsigned long long)stream.in, (unsigned long long)stream.wrong,
		     (unsigned long long)stream.right);
	if (r == STREAM_END)
		errx(1, "the guest ended the connection after %llu bytes",
		     (unsigned long long)stream.in);
	errno = why;
	err(1, "the connection broke after %llu bytes", (unsigned long long)stream.in);
}

/* Waits, or ends the program if it is told to end before there was a connection. */
static short wait_early(int fd, short events, int ms)
{
	struct pollfd p[] = { { .fd = fd, .events = events },
			      { .fd = signals, .events = POLLIN } };

	poll(p, 2, ms);
	if (p[1].revents)
		errx(1, "told to end before there was a connection");
	return p[0].revents;
}

/* One attempt: true when there is a connection, and the first bytes are waiting. */
static bool try_connect(int *why)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = sizeof(*why);
	char byte;

	*why = ETIMEDOUT;
	if (fd < 0)
		err(1, "no socket");
	if (connect(fd, (struct sockaddr *)&peer, sizeof(peer)) && errno != EINPROGRESS) {
		*why = errno;
		close(fd);
		return false;
	}
	/* A relay may take a connection before the guest does: only its bytes tell. */
	if (wait_early(fd, POLLIN, TRY_MS)) {
		getsockopt(fd, SOL_SOCKET, SO_ERROR, why, &size);
		if (!*why && recv(fd, &byte, 1, MSG_PEEK) == 1) {
			stream_begin(&stream, fd, kib, now_ns());
			return true;
		}
		*why = *why ? *why : ECONNRESET;
	}
	close(fd);
	return false;
}

static void connect_in_time(void)
{
	uint64_t end = now_ns() + connect_s * 1000000000ULL;
	int why;

	while (!try_connect(&why)) {
		if (now_ns() > end) {
			errno = why;
			err(1, "no connection within %llu s", (unsigned long long)connect_s);
		}
		wait_early(-1, 0, AGAIN_MS);
	}
}

/* Until SIGTERM, and then until the guest has closed its side as well. */
static void flow(void)
{
	uint64_t line = now_ns() + LINE_NS, end = 0, now;
	enum stream_result r = STREAM_GOOD;

	last_ns = now_ns();
	for (;;) {
		struct pollfd p[] = { { .fd = stream.fd, .events = POLLIN },
				      { .fd = pings ? ping.fd : -1, .events = POLLIN },
				      { .fd = end ? -1 : signals, .events = POLLIN } };
		int ms = STREAM_TICK_MS, left;

		now = now_ns();
		if (now >= line) {
			print_line(now);
			line = now + LINE_NS;
		}
		if (end && now > end) {
			errors++;
			print_line(now);
			errx(1, "the guest did not close its side");
		}
		if (!end && stream_due(&stream, now))
			p[0].events |= POLLOUT;
		if (pings) {
			left = until_ms(ping_send(&ping, now), now);
			ms = left < ms ? left : ms;
		}
		poll(p, 3, ms);
		now = now_ns();
		if (p[1].revents)
			ping_receive(&ping, now);
		if (p[0].revents & (POLLIN | POLLHUP | POLLERR)) {
			uint64_t in = stream.in;

			r = stream_receive(&stream);
			if (stream.in != in) {
				note_gap(now);
				last_ns = now;
			}
		}
		if (r == STREAM_GOOD && !end && p[0].revents & POLLOUT)
			r = stream_send(&stream, now);
		if (r == STREAM_END && end)
			return;
		if (r != STREAM_GOOD)
			fail(r);
		if (p[2].revents) {
			end = now + DRAIN_NS;
			shutdown(stream.fd, SHUT_WR);
		}
	}
}

static uint64_t number(const char *text, uint64_t max)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (end == text || *end || !n || n > max)
		errx(2, "\"%s\" is no number from 1 to %llu", text, (unsigned long long)max);
	return n;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "rate", required_argument, NULL, 'r' },
		{ "connect", required_argument, NULL, 'c' },
		{ "no-ping", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int c;

	peer.sin_port = htons(STREAM_PORT);
	while ((c = getopt_long(argc, argv, "p:r:c:h", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			peer.sin_port = htons(number(optarg, 65535));
			break;
		case 'r':
			kib = strcmp(optarg, "max") ? number(optarg, 1 << 24) : STREAM_UNLIMITED;
			break;
		case 'c':
			connect_s = number(optarg, 86400);
			break;
		case 'n':
			pings = false;
			break;
		case 'h':
			fputs(usage_text, stdout);
			exit(0);
		default:
			errx(2, "try --help");
		}
	}
	if (optind + 1 != argc || inet_pton(AF_INET, argv[optind], &peer.sin_addr) != 1)
		errx(2, "give one IPv4 address: try --help");
}

int main(int argc, char **argv)
{
	sigset_t set;

	parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	connect_in_time();
	if (pings)
		ping_begin(&ping, peer.sin_addr, now_ns());
	flow();
	print_line(now_ns());
	return errors != 0;
}
