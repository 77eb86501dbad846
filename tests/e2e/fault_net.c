// SPDX-License-Identifier: GPL-2.0
/* A link between two namespaces, and relays (no test itself). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault_net.h"
#include "tap.h"

#define LIMIT 20000	/* packets that netem keeps: more than there are */
#define DELIMITERS " \t\r\n"

static const char * const sides[] = { [TO_SINK] = "src", [TO_SOURCE] = "snk" };

void run(const char *fmt, ...)
{
	char command[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	if (system(command))
		tap_bail("%s failed", command);
}

void link_make(void)
{
	run(". /tests/lib.sh; netns_pair netem limit %d", LIMIT);
}

static void enter(const char *name)
{
	char path[64];
	int fd;

	/* iproute2 has used both, in its time. */
	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		snprintf(path, sizeof(path), "/var/run/netns/%s", name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		tap_bail("cannot enter %s: %s", path, strerror(errno));
	close(fd);
}

/*
 * What was sent while the link was cut had to ask for the other side's address, too: who
 * connects as that gives up is told that there is no route. Then it is asked anew.
 */
static int connect_to(const struct sockaddr_in *addr)
{
	int fd, try;

	for (try = 0; try < 5; try++) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)))
			return fd;
		if (errno != EHOSTUNREACH)
			break;
		close(fd);
	}
	tap_bail("cannot connect: %s", strerror(errno));
}

/* A socket belongs to the namespace that it was made in. */
void link_connect(int fds[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	int listener;

	inet_aton("10.78.0.2", &addr.sin_addr);
	enter("snk");
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len))
		tap_bail("cannot listen: %s", strerror(errno));
	enter("src");
	fds[0] = connect_to(&addr);
	fds[1] = accept(listener, NULL, NULL);
	close(listener);
}

/* What "tc qdisc change dev cable root netem loss 100%" does, a hundred times as fast. */
void link_cut(enum way way, bool cut)
{
	struct {
		struct nlmsghdr head;
		struct tcmsg tc;
		struct rtattr kind;
		char name[8];
		struct rtattr options;
		struct tc_netem_qopt netem;
	} m = {
		.head = { .nlmsg_len = sizeof(m), .nlmsg_type = RTM_NEWQDISC,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.tc = { .tcm_parent = TC_H_ROOT },
		.kind = { .rta_len = RTA_LENGTH(sizeof("netem")), .rta_type = TCA_KIND },
		.name = "netem",
		.options = { .rta_len = RTA_LENGTH(sizeof(m.netem)), .rta_type = TCA_OPTIONS },
		.netem = { .limit = LIMIT, .loss = cut ? UINT32_MAX : 0 },
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr err;
	} answer = {};
	int fd;

	enter(sides[way]);
	m.tc.tcm_ifindex = if_nametoindex("cable");
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (send(fd, &m, sizeof(m), 0) != sizeof(m) || recv(fd, &answer, sizeof(answer), 0) <= 0 ||
	    answer.head.nlmsg_type != NLMSG_ERROR || answer.err.error)
		tap_bail("netem cannot be set: %s", strerror(answer.err.error ? -answer.err.error : errno));
	close(fd);
}

void link_netem(const char *words)
{
	enum way way;

	/* "change" would keep what is not named. */
	for (way = TO_SINK; way <= TO_SOURCE; way++)
		run("tc -n %s qdisc replace dev cable root netem limit %d %s", sides[way], LIMIT, words);
}

static long counter_here(const char *protocol, const char *name)
{
	char names[1024], values[1024], *n, *v, *next_n, *next_v;
	size_t len = strlen(protocol);
	FILE *f = fopen("/proc/thread-self/net/snmp", "r");
	long found = -1;

	while (f && found < 0 && fgets(names, sizeof(names), f) && fgets(values, sizeof(values), f)) {
		if (strncmp(names, protocol, len) || names[len] != ':')
			continue;
		n = strtok_r(names, DELIMITERS, &next_n);
		v = strtok_r(values, DELIMITERS, &next_v);
		while (n && v && strcmp(n, name)) {
			n = strtok_r(NULL, DELIMITERS, &next_n);
			v = strtok_r(NULL, DELIMITERS, &next_v);
		}
		if (n && v)
			found = atol(v);
	}
	if (f)
		fclose(f);
	return found;
}

long link_counter(const char *protocol, const char *name)
{
	long sum = 0, here;
	enum way way;

	for (way = TO_SINK; way <= TO_SOURCE; way++) {
		enter(sides[way]);
		here = counter_here(protocol, name);
		if (here < 0)
			tap_bail("no counter %s %s", protocol, name);
		sum += here;
	}
	return sum;
}
