/* SPDX-License-Identifier: GPL-2.0 */
/* Pings an address ten times a second, beside something else that polls. */
#ifndef PING_H
#define PING_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define PING_MS		100
#define PING_LOST_MS	2000	/* without an answer for so long, a ping counts as lost */
#define PING_RING	1024	/* pings whose answer may still come */

struct ping {
	int fd;
	bool raw;		/* answers come with their IP header */
	uint16_t id;
	/* what was sent */
	uint64_t next_ns;
	uint64_t sent, judged, lost;
	struct {
		uint64_t ns;
		bool answered;
	} ring[PING_RING];
	/* what came */
	uint64_t answer_ns;	/* the last answer; before it: the first ping */
	uint64_t gap_max_ns;
};

/* Ends the program with a sentence if it may not ping. */
void ping_begin(struct ping *p, struct in_addr addr, uint64_t now_ns);
/* Sends a ping if it is time; returns when it is time for the next one. */
uint64_t ping_send(struct ping *p, uint64_t now_ns);
/* Takes answers that came. */
void ping_receive(struct ping *p, uint64_t now_ns);
/* The longest time without an answer, with the one that lasts. */
uint64_t ping_gap(const struct ping *p, uint64_t now_ns);

#endif
