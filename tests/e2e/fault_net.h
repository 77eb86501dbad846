/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A link between two network namespaces (netns_pair of lib.sh), and what can
 * happen to it; and a relay in a connection's way, for what no link does.
 */
#ifndef FAULT_NET_H
#define FAULT_NET_H

#include <stdbool.h>

/* Directions of a link. */
enum way { TO_SINK, TO_SOURCE };

__attribute__((format(printf, 1, 2))) void run(const char *fmt, ...);
/* Makes both namespaces and the link, which has netem on both ends and harms nothing yet. */
void link_make(void);
/* Connected sockets, the source's in one namespace, the sink's in the other. */
void link_connect(int fds[2]);
/* What is sent this way is lost, or arrives. */
void link_cut(enum way way, bool cut);
/* netem's words for both ways; "" for nothing. */
void link_netem(const char *words);
/* A counter of both namespaces' /proc/net/snmp, such as "Tcp" "InCsumErrors"; bails out without it. */
long link_counter(const char *protocol, const char *name);

enum relay_order {
	RELAY_HOLD,	/* what is sent this way waits */
	RELAY_PASS,	/* it goes on */
	RELAY_RESET,	/* both ends get a TCP reset */
	RELAY_FLIP,	/* one bit of the next cold page is turned over; the checksums are right */
};

/* As link_connect(), through a relay, whose number is relays_made() before the call. */
void relay_connect(int fds[2]);
unsigned int relays_made(void);
void relay_do(unsigned int number, enum relay_order order, enum way way);
/* Ends the relays; their connections are closed, if they are not yet. */
void relays_end(void);

#endif
