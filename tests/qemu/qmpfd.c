// SPDX-License-Identifier: GPL-2.0
/*
 * qmpfd MONITOR KIND [ADDRESS:]PORT COMMAND: passes a descriptor named "passed" to QEMU's monitor, a
 * unix socket, as libvirt does, then sends COMMAND, and prints the answer to that. KIND says
 * what the descriptor is: connected or listening, TCP to or at that port, of 127.0.0.1 if
 * nothing is said; or a pair of unix sockets.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int tcp(int listens, const char *where)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	const char *port = strchr(where, ':');
	char host[INET_ADDRSTRLEN] = "";

	if (port) {
		strncat(host, where, port - where < INET_ADDRSTRLEN ? port - where : 0);
		if (!inet_aton(host, &addr.sin_addr))
			errx(2, "%s: no address", where);
	}
	addr.sin_port = htons(atoi(port ? port + 1 : where));
	if (fd < 0)
		err(1, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listens ? bind(fd, (void *)&addr, sizeof(addr)) || listen(fd, 4) :
		      connect(fd, (void *)&addr, sizeof(addr)))
		err(1, "%s", where);
	return fd;
}

static int descriptor(const char *kind, const char *where)
{
	int pair[2];

	if (strcmp(kind, "pair"))
		return tcp(!strcmp(kind, "listening"), where);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		err(1, "socketpair");
	return pair[0];
}

static FILE *monitor(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	FILE *stream;

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	if (fd < 0 || connect(fd, (void *)&addr, sizeof(addr)))
		err(1, "%s", path);
	stream = fdopen(fd, "r");
	if (!stream)
		err(1, "fdopen");
	return stream;
}

/* Sends @text, with @pass if that is not -1; prints the answer if @show. */
static void ask(FILE *stream, const char *text, int pass, int show)
{
	char control[CMSG_SPACE(sizeof(int))] = "", *line = NULL;
	struct iovec iov = { (void *)text, strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t size = 0;

	if (pass >= 0) {
		struct cmsghdr *cmsg = (struct cmsghdr *)control;

		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &pass, sizeof(int));
	}
	if (sendmsg(fileno(stream), &msg, 0) != (ssize_t)iov.iov_len)
		err(1, "sendmsg");
	do {
		if (getline(&line, &size, stream) <= 0)
			errx(1, "the monitor has hung up");
	} while (!strstr(line, "\"return\"") && !strstr(line, "\"error\""));
	if (show)
		fputs(line, stdout);
	else if (strstr(line, "\"error\""))
		errx(1, "%s", line);
	free(line);
}

int main(int argc, char **argv)
{
	FILE *stream;
	int fd;

	if (argc != 5)
		errx(2, "usage: qmpfd MONITOR connected|listening|pair [ADDRESS:]PORT COMMAND");
	fd = descriptor(argv[2], argv[3]);
	stream = monitor(argv[1]);
	ask(stream, "{\"execute\":\"qmp_capabilities\"}", -1, 0);
	ask(stream, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"passed\"}}", fd, 0);
	ask(stream, argv[4], -1, 1);
	return 0;
}
