// SPDX-License-Identifier: GPL-2.0-only
/*
 * check: TCP's buffers, and whether interfaces can send pages without a copy.
 */
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

/* 10 Gbit/s over a round trip of 3 ms are as many bytes in flight. */
#define GOOD_TCP_MAX	(4ULL << 20)

static void check_tcp_memory(struct check_list *list, const char *name, const char *advice)
{
	unsigned long long min, def, max;
	char path[64], line[128];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	if (!read_line(path, line, sizeof(line)) ||
	    sscanf(line, "%llu %llu %llu", &min, &def, &max) != 3)
		return;
	if (max >= GOOD_TCP_MAX)
		check_add(list, CHECK_OK, name, NULL, "up to %llu KiB a socket", max / 1024);
	else
		check_add(list, CHECK_WARN, name, advice,
			  "only up to %llu KiB a socket: too little for a fast link", max / 1024);
}

/* An ethtool feature: 1 on, 0 off, -1 the driver does not tell. */
static int offload(int sock, const char *ifname, unsigned int cmd)
{
	struct ethtool_value value = { .cmd = cmd };
	struct ifreq ifr;

	memset(&ifr, 0, sizeof(ifr));
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	ifr.ifr_data = (char *)&value;
	if (ioctl(sock, SIOCETHTOOL, &ifr))
		return -1;
	return value.data != 0;
}

static int read_number(const char *ifname, const char *file)
{
	char path[64 + IFNAMSIZ], line[32];

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", ifname, file);
	return read_line(path, line, sizeof(line)) ? atoi(line) : -1;
}

static void check_interface(struct check_list *list, int sock, const char *ifname)
{
	int sg = offload(sock, ifname, ETHTOOL_GSG);
	int gso = offload(sock, ifname, ETHTOOL_GGSO);
	int tso = offload(sock, ifname, ETHTOOL_GTSO);
	int mtu = read_number(ifname, "mtu"), speed = read_number(ifname, "speed");
	char advice[200] = "", name[32], rate[32] = "";

	snprintf(name, sizeof(name), "net-%s", ifname);
	if (speed > 0)
		snprintf(rate, sizeof(rate), ", %d Mbit/s", speed);
	if (!sg || !gso)
		snprintf(advice, sizeof(advice), "run 'ethtool -K %s sg on gso on'; without them "
			 "every page is copied, and packets are built one by one", ifname);
	check_add(list, advice[0] ? CHECK_WARN : CHECK_OK, name, advice,
		  "MTU %d%s; sg %s, gso %s, tso %s", mtu, rate,
		  sg < 0 ? "not told" : sg ? "on" : "off",
		  gso < 0 ? "not told" : gso ? "on" : "off",
		  tso < 0 ? "not told" : tso ? "on" : "off");
}

/* A tap is a guest's, not a link between hosts. */
static bool is_tap(const char *ifname)
{
	char path[64 + IFNAMSIZ];

	snprintf(path, sizeof(path), "/sys/class/net/%s/tun_flags", ifname);
	return !access(path, F_OK);
}

void check_network(struct check_list *list)
{
	struct if_nameindex *all, *i;
	unsigned int found = 0;
	struct ifreq ifr;
	int sock;

	check_tcp_memory(list, "tcp_wmem",
			 "sysctl -w net.ipv4.tcp_wmem='4096 65536 16777216'");
	check_tcp_memory(list, "tcp_rmem",
			 "sysctl -w net.ipv4.tcp_rmem='4096 131072 16777216'");
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return;
	all = if_nameindex();
	for (i = all; i && i->if_index; i++) {
		memset(&ifr, 0, sizeof(ifr));
		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", i->if_name);
		if (ioctl(sock, SIOCGIFFLAGS, &ifr) || ifr.ifr_flags & IFF_LOOPBACK ||
		    (ifr.ifr_flags & (IFF_UP | IFF_RUNNING)) != (IFF_UP | IFF_RUNNING) ||
		    is_tap(i->if_name))
			continue;
		check_interface(list, sock, i->if_name);
		found++;
	}
	if (!found)
		check_add(list, CHECK_WARN, "network", "bring the interface up that leads to the "
			  "other hosts", "no network interface is up but the loopback");
	if (all)
		if_freenameindex(all);
	close(sock);
}
