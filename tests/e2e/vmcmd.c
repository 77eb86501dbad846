// SPDX-License-Identifier: GPL-2.0
/*
 * vmcmd SOCKET JSON: says one command to a VMM's control socket and prints the
 * answer. Not a test: a tool for scripts in emulated hosts.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_LIMIT_S 30

int main(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = ANSWER_LIMIT_S };
	static char answer[65537];	/* a status has a line for each vCPU */
	ssize_t len;
	int fd;

	if (argc != 3 || strlen(argv[1]) >= sizeof(addr.sun_path))
		errx(2, "usage: vmcmd SOCKET JSON");
	strcpy(addr.sun_path, argv[1]);
	fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		err(1, "%s", argv[1]);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(fd, argv[2], strlen(argv[2]), MSG_NOSIGNAL) < 0)
		err(1, "send");
	len = recv(fd, answer, sizeof(answer) - 1, 0);
	if (len < 0)
		err(1, "no answer");
	if (!len)
		errx(1, "the VMM closed the connection without an answer");
	answer[len] = '\0';
	puts(answer);
	return strncmp(answer, "{\"ok\":true", 10) && strncmp(answer, "{ \"ok\": true", 12);
}
