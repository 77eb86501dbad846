// SPDX-License-Identifier: GPL-2.0
/*
 * See ping.h. A raw socket is root's; where that is refused, the kernel's own ping
 * sockets do, which set the identifier themselves.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "ping.h"

struct message {
	struct icmphdr icmp;
	uint64_t number;
};

static uint16_t checksum(const void *data, size_t size)
{
	const uint16_t *p = data;
	uint32_t sum = 0;

	for (; size > 1; size -= 2)
		sum += *p++;
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

void ping_begin(struct ping *p, struct in_addr addr, uint64_t now_ns)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = addr };
	int type = SOCK_CLOEXEC | SOCK_NONBLOCK;

	memset(p, 0, sizeof(*p));
	p->id = getpid();
	p->raw = true;
	p->fd = socket(AF_INET, SOCK_RAW | type, IPPROTO_ICMP);
	if (p->fd < 0) {
		p->raw = false;
		p->fd = socket(AF_INET, SOCK_DGRAM | type, IPPROTO_ICMP);
	}
	if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&sin, sizeof(sin)))
		err(1, "cannot ping: root may, and groups in net.ipv4.ping_group_range");
	p->next_ns = p->answer_ns = now_ns;
}

static void judge(struct ping *p, uint64_t now_ns)
{
	for (; p->judged < p->sent; p->judged++) {
		if (now_ns - p->ring[p->judged % PING_RING].ns < PING_LOST_MS * 1000000ULL)
			break;
		if (!p->ring[p->judged % PING_RING].answered)
			p->lost++;
	}
}

uint64_t ping_send(struct ping *p, uint64_t now_ns)
{
	struct message m = { .icmp = { .type = ICMP_ECHO, .un.echo.id = htons(p->id) } };

	judge(p, now_ns);
	if (now_ns < p->next_ns)
		return p->next_ns;
	m.number = p->sent;
	m.icmp.un.echo.sequence = htons(p->sent);
	m.icmp.checksum = checksum(&m, sizeof(m));
	p->ring[p->sent % PING_RING].ns = now_ns;
	p->ring[p->sent % PING_RING].answered = false;
	p->sent++;
	/* If it cannot be sent now, it is one that was lost. */
	if (send(p->fd, &m, sizeof(m), MSG_NOSIGNAL) < 0)
		warn("a ping could not be sent");
	p->next_ns += PING_MS * 1000000ULL;
	if (p->next_ns < now_ns)
		p->next_ns = now_ns + PING_MS * 1000000ULL;
	return p->next_ns;
}

void ping_receive(struct ping *p, uint64_t now_ns)
{
	char packet[256];
	ssize_t n;

	while ((n = recv(p->fd, packet, sizeof(packet), 0)) >= 0) {
		size_t skip = p->raw && n ? (packet[0] & 15) * 4 : 0;
		struct message m;

		if ((size_t)n < skip + sizeof(m))
			continue;
		memcpy(&m, packet + skip, sizeof(m));
		if (m.icmp.type != ICMP_ECHOREPLY ||
		    (p->raw && m.icmp.un.echo.id != htons(p->id)) || m.number >= p->sent ||
		    m.number + PING_RING <= p->sent || p->ring[m.number % PING_RING].answered)
			continue;
		p->ring[m.number % PING_RING].answered = true;
		if (m.number < p->judged)
			p->lost--;	/* it was late */
		p->gap_max_ns = ping_gap(p, now_ns);
		p->answer_ns = now_ns;
	}
}

uint64_t ping_gap(const struct ping *p, uint64_t now_ns)
{
	return now_ns - p->answer_ns > p->gap_max_ns ? now_ns - p->answer_ns : p->gap_max_ns;
}
