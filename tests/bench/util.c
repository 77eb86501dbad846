// SPDX-License-Identifier: GPL-2.0
/* Time, memory and sockets of the benchmark. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define CONNECT_LIMIT_NS	(30ULL * 1000000000)

void die(const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "ferrybench: ");
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n");
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/*
 * Without idle ticks the idle columns are exact, the busy ones are sampled: so
 * busy is what is not idle. The rest of the line only tells how many processors
 * there are.
 */
uint64_t busy_ns(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), hz = sysconf(_SC_CLK_TCK);
	unsigned long long user, nice, sys, idle, iowait;
	FILE *f = fopen("/proc/stat", "r");

	if (!f || fscanf(f, "cpu %llu %llu %llu %llu %llu", &user, &nice, &sys, &idle, &iowait) != 5)
		die("/proc/stat cannot be read");
	fclose(f);
	return now_ns() * cpus - (idle + iowait) * (1000000000ULL / hz);
}

void *memory(size_t bytes)
{
	char *p = mmap(NULL, bytes + 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *aligned = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));

	if (p == MAP_FAILED ||
	    mmap(aligned, bytes, PROT_READ | PROT_WRITE,
		 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		die("no %zu bytes of memory: %s", bytes, strerror(errno));
	return aligned;
}

void fill(void *addr, size_t bytes, uint64_t seed)
{
	uint64_t *p = addr, x = seed * 0x9e3779b97f4a7c15ULL + 1;
	size_t i;

	for (i = 0; i < bytes / sizeof(*p); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
}

uint64_t checksum(const void *addr, size_t bytes, uint64_t sum)
{
	const uint64_t *p = addr;
	size_t i;

	for (i = 0; i < bytes / sizeof(*p); i++)
		sum = (sum << 1 | sum >> 63) + p[i];
	return sum;
}

int tcp_listen(int port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 32))
		die("port %d: %s", port, strerror(errno));
	return fd;
}

static void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int tcp_accept(int listener)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		die("accept: %s", strerror(errno));
	no_delay(fd);
	return fd;
}

int tcp_connect(const char *host, int port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port) };
	uint64_t end = now_ns() + CONNECT_LIMIT_NS;

	if (inet_pton(AF_INET, host, &addr.sin_addr) != 1)
		die("\"%s\" is no IPv4 address", host);
	while (now_ns() < end) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
			no_delay(fd);
			return fd;
		}
		close(fd);
		if (errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != ENETUNREACH)
			break;
		usleep(50000);
	}
	die("%s port %d: %s", host, port, strerror(errno));
}

void send_all(int fd, const void *data, size_t length)
{
	while (length) {
		ssize_t n = send(fd, data, length, MSG_NOSIGNAL);

		if (n < 0)
			die("send: %s", strerror(errno));
		data = (const char *)data + n;
		length -= n;
	}
}

void recv_all(int fd, void *data, size_t length)
{
	while (length) {
		ssize_t n = recv(fd, data, length, MSG_WAITALL);

		if (n <= 0)
			die("recv: %s", n ? strerror(errno) : "the other end closed the connection");
		data = (char *)data + n;
		length -= n;
	}
}
