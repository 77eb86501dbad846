// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where lines go, and commands come from: the kernel's console, or a port of a virtio
 * serial device (ferry.console=/dev/vport0p1). A serial port takes an exit to the VMM for
 * each character and more: where those are emulated, too, a few long lines a second keep a
 * vCPU in the driver's interrupt and nothing else. A port takes one for a line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "guest.h"

#define MAX_SHOUTS	20
#define PORT_LIMIT_MS	20000
#define STUCK_MS	30000	/* nobody reads at the other end */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* a line is whole */
static int in = STDIN_FILENO, out = STDOUT_FILENO;
static struct {
	char bytes[256];
	size_t len;
	bool ended;
} input;

static bool put_all(const char *bytes, size_t len)
{
	struct pollfd pfd = { .fd = out, .events = POLLOUT };

	while (len) {
		ssize_t n = write(out, bytes, len);

		if (n > 0) {
			bytes += n;
			len -= n;
		} else if (n < 0 && errno == EAGAIN) {
			if (poll(&pfd, 1, STUCK_MS) <= 0)
				return false;
		} else if (n == 0 || errno != EINTR) {
			return false;
		}
	}
	return true;
}

void console_put(const char *prefix, const char *fmt, va_list args)
{
	char line[400];
	int n = snprintf(line, sizeof(line), "%s", prefix), more;

	more = vsnprintf(line + n, sizeof(line) - n - 1, fmt, args);
	n += more < (int)sizeof(line) - n - 1 ? more : (int)sizeof(line) - n - 2;
	line[n++] = '\n';
	pthread_mutex_lock(&lock);
	if (!put_all(line, n))
		totals.errors++;	/* a line was lost: the reader must know */
	pthread_mutex_unlock(&lock);
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	console_put("FERRY-GUEST ", fmt, args);
	va_end(args);
}

void shout(const char *fmt, ...)
{
	va_list args;

	if (totals.errors++ >= MAX_SHOUTS)
		return;
	va_start(args, fmt);
	console_put("FERRY-GUEST FAIL ", fmt, args);
	va_end(args);
}

/* Puts the first line of what came into LINE, if it is whole. */
static bool take_line(char *line, size_t size)
{
	char *end = memchr(input.bytes, '\n', input.len);
	size_t len, used;

	if (!end && input.len < sizeof(input.bytes))
		return false;
	used = end ? (size_t)(end - input.bytes) + 1 : input.len;
	len = used < size ? used : size - 1;
	memcpy(line, input.bytes, len);
	line[len] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	input.len -= used;
	memmove(input.bytes, input.bytes + used, input.len);
	return true;
}

bool console_line(char *line, size_t size, int ms)
{
	struct pollfd pfd = { .fd = input.ended ? -1 : in, .events = POLLIN };
	ssize_t n;

	if (take_line(line, size))
		return true;
	if (poll(&pfd, 1, ms) <= 0 || !pfd.revents)
		return false;
	n = read(in, input.bytes + input.len, sizeof(input.bytes) - input.len);
	if (n > 0)
		input.len += n;
	else if (!n || (errno != EINTR && errno != EAGAIN))
		input.ended = true;
	return take_line(line, size);
}

/* Waits until what was said has left. */
void console_drain(void)
{
	if (in == STDIN_FILENO) {
		tcdrain(out);
		return;
	}
	/* A port that may block takes nothing before the other end has all of it. */
	fcntl(out, F_SETFL, 0);
	put_all("\n", 1);
}

static bool open_port(void *name)
{
	/* Waiting for the other end is turning round in the kernel: rather be told to wait. */
	in = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	return in >= 0;
}

void console_open(void)
{
	struct termios t;
	char name[64];

	/* Commands shall not come back as an echo between the lines. */
	if (!tcgetattr(STDIN_FILENO, &t)) {
		t.c_lflag &= ~ECHO;
		tcsetattr(STDIN_FILENO, TCSANOW, &t);
	}
	if (!find_param("console", name, sizeof(name)))
		return;
	if (!wait_until(open_port, name, PORT_LIMIT_MS)) {
		in = STDIN_FILENO;
		die("ferry.console=%s is not there", name);
	}
	out = in;
}
