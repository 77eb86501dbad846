// SPDX-License-Identifier: GPL-2.0-only
/*
 * check: RDMA devices, the module for them, and how much memory may be pinned.
 *
 * A host without RDMA is a good host: guests move over TCP. So what is missing is
 * a warning only where there is a device.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"

#define DEVICES		"/sys/class/infiniband"
/* What a sink pins at the most, a session (docs/rdma.md). */
#define PINNED_BYTES	(256ULL << 20)
#define CAP_IPC_LOCK	14

/**
 * struct port - a port of an RDMA device, as sysfs tells of it
 * @path: of its directory
 * @active: it can be used
 * @state: "4: ACTIVE"
 * @link: "5: LinkUp"
 * @rate: "100 Gb/sec (4X EDR)"
 * @layer: "Ethernet", "InfiniBand"
 * @netdev: the interface that has its addresses; "": none
 */
struct port {
	char path[192];
	bool active;
	char state[32];
	char link[32];
	char rate[48];
	char layer[32];
	char netdev[IF_NAMESIZE];
};

/* The next entry of a directory but "." and ".."; NULL: there are no more. */
static const char *next_entry(DIR *dir)
{
	struct dirent *d;

	do {
		d = readdir(dir);
	} while (d && d->d_name[0] == '.');
	return d ? d->d_name : NULL;
}

static bool read_file(const char *dir, const char *name, char *to, unsigned int room)
{
	char path[512];

	to[0] = 0;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return read_line(path, to, room);
}

/* By the table of addresses (RoCE), or the device itself (IP over InfiniBand). */
static void find_netdev(struct port *p, const char *device)
{
	char path[256];
	const char *name;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/gid_attrs/ndevs", p->path);
	dir = opendir(path);
	/* Most places of the table are empty, and cannot be read. */
	while (dir && !p->netdev[0] && (name = next_entry(dir)))
		read_file(path, name, p->netdev, sizeof(p->netdev));
	if (dir)
		closedir(dir);
	if (p->netdev[0])
		return;
	snprintf(path, sizeof(path), DEVICES "/%.64s/device/net", device);
	dir = opendir(path);
	name = dir ? next_entry(dir) : NULL;
	if (name)
		snprintf(p->netdev, sizeof(p->netdev), "%.15s", name);
	if (dir)
		closedir(dir);
}

/* The addresses that an rdma: address can name, as "10.0.0.1, fd00::1". */
static void list_addresses(const char *netdev, char *to, size_t room)
{
	struct ifaddrs *all = NULL, *i;
	char text[INET6_ADDRSTRLEN];
	size_t at = 0;

	to[0] = 0;
	getifaddrs(&all);
	for (i = all; i; i = i->ifa_next) {
		const struct sockaddr_in6 *v6 = (void *)i->ifa_addr;
		const struct sockaddr_in *v4 = (void *)i->ifa_addr;
		int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;

		if (strcmp(i->ifa_name, netdev) || (family != AF_INET && family != AF_INET6) ||
		    (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)))
			continue;
		inet_ntop(family, family == AF_INET ? (const void *)&v4->sin_addr :
						      &v6->sin6_addr, text, sizeof(text));
		if (at + strlen(text) + 3 < room)
			at += snprintf(to + at, room - at, "%s%s", at ? ", " : "", text);
	}
	freeifaddrs(all);
}

static void judge_port(struct check_list *list, const char *name, const struct port *p)
{
	char addresses[100], advice[300] = "";

	list_addresses(p->netdev, addresses, sizeof(addresses));
	if (!p->active && p->netdev[0])
		snprintf(advice, sizeof(advice), "run 'ip link set %s up', and look at the cable "
			 "and the switch; as long as it is down, use tcp:", p->netdev);
	else if (!p->active)
		snprintf(advice, sizeof(advice), "look at the cable and the switch (and, with "
			 "InfiniBand, whether a subnet manager runs); as long as it is down, use tcp:");
	else if (!p->netdev[0])
		snprintf(advice, sizeof(advice), "rdma: addresses are IP addresses: with "
			 "InfiniBand load ib_ipoib, and give its interface one");
	else if (!addresses[0])
		snprintf(advice, sizeof(advice), "rdma: addresses are IP addresses: give one to "
			 "%s ('ip addr add ADDRESS/LENGTH dev %s')", p->netdev, p->netdev);
	check_add(list, advice[0] ? CHECK_WARN : CHECK_OK, name, advice,
		  "port %s, link %s, %s, %s; interface %s, address %s", p->state, p->link, p->rate,
		  p->layer, p->netdev[0] ? p->netdev : "none", addresses[0] ? addresses : "none");
}

/* What follows the number in "4: ACTIVE". */
static void drop_number(char *text)
{
	char *word = strchr(text, ' ');

	if (word)
		memmove(text, word + 1, strlen(word));
}

static void check_port(struct check_list *list, const char *device, const char *number)
{
	struct port p = { .netdev = "" };
	char name[32];

	snprintf(p.path, sizeof(p.path), DEVICES "/%.64s/ports/%.16s", device, number);
	snprintf(name, sizeof(name), "rdma-%.20s/%.4s", device, number);
	read_file(p.path, "state", p.state, sizeof(p.state));
	read_file(p.path, "phys_state", p.link, sizeof(p.link));
	read_file(p.path, "rate", p.rate, sizeof(p.rate));
	read_file(p.path, "link_layer", p.layer, sizeof(p.layer));
	p.active = strstr(p.state, "ACTIVE");
	drop_number(p.state);
	drop_number(p.link);
	find_netdev(&p, device);
	judge_port(list, name, &p);
}

/* Returns how many devices there are. */
static unsigned int check_devices(struct check_list *list)
{
	DIR *devices = opendir(DEVICES), *ports;
	const char *device, *number;
	unsigned int found = 0;
	char path[192];

	while (devices && (device = next_entry(devices))) {
		found++;
		snprintf(path, sizeof(path), DEVICES "/%.64s/ports", device);
		ports = opendir(path);
		while (ports && (number = next_entry(ports)))
			check_port(list, device, number);
		if (ports)
			closedir(ports);
	}
	if (devices)
		closedir(devices);
	return found;
}

static void check_rdma_module(struct check_list *list)
{
	if (!access("/sys/module/kvm_ferry_rdma", F_OK))
		check_add(list, CHECK_OK, "rdma", NULL, "kvm_ferry_rdma is loaded");
	else if (module_installed("kvm_ferry_rdma"))
		check_add(list, CHECK_OK, "rdma", NULL, "kvm_ferry_rdma is installed for this "
			  "kernel, and loads when a migration asks for it");
	else
		check_add(list, CHECK_WARN, "rdma", "to use it, build and install kvm-ferry anew "
			  "for a kernel with InfiniBand (CONFIG_INFINIBAND_ADDR_TRANS), with its "
			  "headers installed; tcp: works without",
			  "there are RDMA devices, but kvm_ferry_rdma is neither loaded nor "
			  "installed for this kernel");
}

static bool may_pin_all(void)
{
	unsigned long long caps = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	if (f)
		fclose(f);
	return caps >> CAP_IPC_LOCK & 1;
}

/* Ours, which a VMM of the same user has, too, if nobody gave it another. */
static void check_memlock(struct check_list *list)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return;
	if (may_pin_all())
		check_add(list, CHECK_OK, "rdma-memlock", NULL, "no limit for this user "
			  "(CAP_IPC_LOCK); a VMM of another user needs RLIMIT_MEMLOCK of %llu MiB",
			  PINNED_BYTES >> 20);
	else if (limit.rlim_cur == RLIM_INFINITY)
		check_add(list, CHECK_OK, "rdma-memlock", NULL, "RLIMIT_MEMLOCK is unlimited");
	else if (limit.rlim_cur >= PINNED_BYTES)
		check_add(list, CHECK_OK, "rdma-memlock", NULL, "RLIMIT_MEMLOCK is %llu MiB",
			  (unsigned long long)limit.rlim_cur >> 20);
	else
		check_add(list, CHECK_WARN, "rdma-memlock", "raise it for VMMs that receive guests "
			  "by RDMA: 'ulimit -l 262144', 'memlock' in /etc/security/limits.conf, or "
			  "LimitMEMLOCK= of their systemd unit",
			  "RLIMIT_MEMLOCK is %llu KiB, and a migration pins up to %llu MiB where "
			  "the guest arrives", (unsigned long long)limit.rlim_cur >> 10,
			  PINNED_BYTES >> 20);
}

void check_rdma(struct check_list *list)
{
	if (!check_devices(list)) {
		check_add(list, CHECK_OK, "rdma", NULL, "no RDMA device: guests move over TCP");
		return;
	}
	check_rdma_module(list);
	check_memlock(list);
}
