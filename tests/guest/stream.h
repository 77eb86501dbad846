/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An endless stream of 64-bit counters over a connection, in both directions:
 * what the guest and tests/qemu/flow share. What a byte must be follows from how
 * many came before it, so one that is lost, twice there or changed is noticed.
 */
#ifndef GUEST_STREAM_H
#define GUEST_STREAM_H

#include <stddef.h>
#include <stdint.h>

#define STREAM_PORT	7100
#define STREAM_KIB	256		/* a second each way, unless told otherwise */
#define STREAM_UNLIMITED (~0ULL)
#define STREAM_WORDS	8192		/* that are sent or taken at a time */

struct stream {
	int fd;			/* does not block */
	/* pacing */
	uint64_t rate;		/* bytes a second that are sent */
	uint64_t since_ns;
	uint64_t paced;		/* bytes sent since then */
	/* what came, and what went */
	uint64_t in, out;	/* bytes */
	uint64_t wrong;		/* the first wrong counter that came ... */
	uint64_t right;		/* ... and what it had to be */
	uint64_t in_words[STREAM_WORDS + 1], out_words[STREAM_WORDS + 1];
};

enum stream_result {
	STREAM_GOOD,
	STREAM_END,		/* the peer says that nothing more will come */
	STREAM_BROKEN,		/* errno says why */
	STREAM_WRONG,		/* see @wrong and @right */
};

void stream_begin(struct stream *s, int fd, uint64_t kib, uint64_t now_ns);
/* Takes what is there, and checks it. */
enum stream_result stream_receive(struct stream *s);
/* Sends what is due, or as much of it as the connection takes. */
enum stream_result stream_send(struct stream *s, uint64_t now_ns);
/* How many bytes are to be sent now. */
size_t stream_due(struct stream *s, uint64_t now_ns);

#define STREAM_TICK_MS	20	/* how often something becomes due */

#endif /* GUEST_STREAM_H */
