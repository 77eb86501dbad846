// SPDX-License-Identifier: GPL-2.0
/*
 * The soak test's network: two namespaces joined by a cable that can be slow,
 * lossy or down, and sockets across it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "soak.h"
#include "tap.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif

static const char *const spaces[2] = { "src", "snk" };
static int space_fds[2];	/* the namespaces */
static int if_fds[2];		/* a socket in each, to ask for its devices */

static void enter(unsigned int side)
{
	if (setns(space_fds[side], CLONE_NEWNET))
		tap_bail("cannot enter %s: %s", spaces[side], strerror(errno));
}

static void run(const char *command)
{
	if (system(command))
		tap_bail("%s failed", command);
}

void net_begin(void)
{
	unsigned int side;
	char path[64];

	/* What one migration learns about the path must not slow the next one down. */
	run(". /tests/lib.sh; netns_pair; for ns in src snk; do "
	    "ip netns exec $ns sysctl -q -w net.ipv4.tcp_no_metrics_save=1 || exit 1; done");
	for (side = 0; side < 2; side++) {
		/* iproute2 has used both, in its time. */
		snprintf(path, sizeof(path), "/run/netns/%s", spaces[side]);
		space_fds[side] = open(path, O_RDONLY | O_CLOEXEC);
		if (space_fds[side] < 0) {
			snprintf(path, sizeof(path), "/var/run/netns/%s", spaces[side]);
			space_fds[side] = open(path, O_RDONLY | O_CLOEXEC);
		}
		enter(side);
		if_fds[side] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (if_fds[side] < 0)
			tap_bail("no socket in %s: %s", spaces[side], strerror(errno));
	}
}

/* Both directions, with keys that both ends know: what a handshake ends with. */
static void start_tls(int fd, const struct tls12_crypto_info_aes_gcm_128 *tx,
		      const struct tls12_crypto_info_aes_gcm_128 *rx)
{
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4) ||
	    setsockopt(fd, SOL_TLS, TLS_TX, tx, sizeof(*tx)) ||
	    setsockopt(fd, SOL_TLS, TLS_RX, rx, sizeof(*rx)))
		tap_bail("kTLS: %s", strerror(errno));
}

static void secure(const int fds[2])
{
	struct tls12_crypto_info_aes_gcm_128 keys[2];
	unsigned int i;

	if (getrandom(keys, sizeof(keys), 0) != sizeof(keys))
		tap_bail("no random keys");
	for (i = 0; i < 2; i++) {
		keys[i].info = (struct tls_crypto_info){ .version = TLS_1_3_VERSION,
							 .cipher_type = TLS_CIPHER_AES_GCM_128 };
		memset(keys[i].rec_seq, 0, sizeof(keys[i].rec_seq));
	}
	start_tls(fds[0], &keys[0], &keys[1]);
	start_tls(fds[1], &keys[1], &keys[0]);
}

void net_connect(struct soak_connection *c, unsigned int channels, bool tls)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	unsigned int i;
	int listener;

	inet_aton("10.78.0.2", &addr.sin_addr);
	enter(1);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len))
		tap_bail("cannot listen: %s", strerror(errno));
	enter(0);
	/* One at a time, so that the two ends are the same connection's. */
	for (i = 0; i <= channels; i++) {
		c[i].end[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(c[i].end[0], (struct sockaddr *)&addr, len))
			tap_bail("cannot connect: %s", strerror(errno));
		c[i].end[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (c[i].end[1] < 0)
			tap_bail("cannot accept: %s", strerror(errno));
		if (tls)
			secure(c[i].end);
	}
	close(listener);
}

/* netem computes the checksum that the device would have, and then spoils the packet. */
void net_kind(enum soak_net kind)
{
	static const char *const words[] = {
		[NET_DELAY] = "delay 10ms 5ms",
		[NET_REORDER] = "delay 5ms reorder 75% 50%",
		[NET_LOSS] = "loss 0.5%",
		[NET_CORRUPT] = "corrupt 0.5%",
		[NET_SLOW] = "rate 200mbit",
	};
	static enum soak_net now;
	unsigned int side;
	char command[128];

	if (kind == now)
		return;
	for (side = 0; side < 2; side++) {
		if (kind == NET_CLEAN)
			snprintf(command, sizeof(command), "tc -n %s qdisc del dev cable root",
				 spaces[side]);
		else
			snprintf(command, sizeof(command),
				 "tc -n %s qdisc replace dev cable root netem limit 20000 %s",
				 spaces[side], words[kind]);
		run(command);
	}
	now = kind;
}

void net_link(bool up)
{
	struct ifreq ifr = { .ifr_name = "cable" };
	unsigned int side;

	/* Both ends: what is down loses its routes, and both come back with them. */
	for (side = 0; side < 2; side++) {
		if (ioctl(if_fds[side], SIOCGIFFLAGS, &ifr))
			tap_bail("no cable: %s", strerror(errno));
		if (up)
			ifr.ifr_flags |= IFF_UP;
		else
			ifr.ifr_flags &= ~IFF_UP;
		if (ioctl(if_fds[side], SIOCSIFFLAGS, &ifr))
			tap_bail("the cable does not go %s: %s", up ? "up" : "down",
				 strerror(errno));
	}
}
