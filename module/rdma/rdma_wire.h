/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the two ends of an RDMA data channel say to each other below the
 * protocol of wire.h: who connects, where pages may be written, and how many
 * messages the other end has room for. docs/rdma.md has it to the byte.
 *
 * Pure: no kernel service but memory.
 */
#ifndef FERRY_RDMA_WIRE_H
#define FERRY_RDMA_WIRE_H

#include "../wire.h"

#define FERRY_RDMA_MAGIC	0x31417246	/* the bytes "F r A 1" */
#define FERRY_RDMA_VERSION	1

#define FERRY_RDMA_HEADER_LEN	8
/* Room of a receive buffer: the longest message of a data channel, or of ours. */
#define FERRY_RDMA_MSG_LEN	8192
#define FERRY_RDMA_WINDOW_LEN	8		/* of WANT, before its runs */
#define FERRY_RDMA_RUN_LEN	16
#define FERRY_RDMA_MAX_RUNS	\
	((FERRY_RDMA_MSG_LEN - FERRY_RDMA_HEADER_LEN - FERRY_RDMA_WINDOW_LEN) / FERRY_RDMA_RUN_LEN)
/* Messages that an end has room for at once; what the other may have sent unacknowledged. */
#define FERRY_RDMA_DEPTH	32
/* Ids of windows are 1 to this. */
#define FERRY_RDMA_MAX_WINDOW	65535
/*
 * Pages of a window, 32 MiB: at 100 Gbit/s that is 2.7 ms of writing, in which the
 * next one is registered.
 */
#define FERRY_RDMA_WINDOW_PAGES	8192

/**
 * enum ferry_rdma_kind - what a SEND carries
 * @FERRY_RDMA_STREAM: to the sink: a whole message of wire.h, without its page data
 * @FERRY_RDMA_WANT: to the sink: a window over these pages, which will come
 * @FERRY_RDMA_DROP: to the sink: nothing more comes through this window
 * @FERRY_RDMA_GRANT: to the source: the window is open
 * @FERRY_RDMA_CREDIT: to the source: so many more messages have room
 * @FERRY_RDMA_SEALED: to the source: the sink has all, and closes all windows
 */
enum ferry_rdma_kind {
	FERRY_RDMA_STREAM = 1,
	FERRY_RDMA_WANT = 2,
	FERRY_RDMA_DROP = 3,
	FERRY_RDMA_GRANT = 4,
	FERRY_RDMA_CREDIT = 5,
	FERRY_RDMA_SEALED = 6,
};

/**
 * struct ferry_rdma_header - before each message
 * @kind: enum ferry_rdma_kind
 * @length: of what follows
 */
struct ferry_rdma_header {
	u32 kind;
	u32 length;
};

size_t ferry_rdma_put_header(u8 *p, const struct ferry_rdma_header *h);
/* @len: of the whole message. @to_sink: who reads it. */
int ferry_rdma_get_header(const u8 *p, size_t len, bool to_sink, struct ferry_rdma_header *h,
			  const char **why);

/**
 * struct ferry_rdma_window - WANT: a window
 * @id: chosen by the source, 1 to FERRY_RDMA_MAX_WINDOW, not in use
 * @nr_runs: extents of kind DATA that follow, 1 to FERRY_RDMA_MAX_RUNS. The
 *	window is their pages one behind the other
 */
struct ferry_rdma_window {
	u32 id;
	u32 nr_runs;
};

size_t ferry_rdma_put_window(u8 *p, const struct ferry_rdma_window *w);
int ferry_rdma_get_window(const u8 *p, size_t len, struct ferry_rdma_window *w, const char **why);
size_t ferry_rdma_put_run(u8 *p, const struct ferry_extent *e);
/* Run @i of a body that ferry_rdma_get_window() has accepted. */
int ferry_rdma_get_run(const u8 *p, u32 i, struct ferry_extent *e, const char **why);

/* DROP: the window's id. CREDIT: how many. */
size_t ferry_rdma_put_number(u8 *p, u32 number);
int ferry_rdma_get_number(const u8 *p, size_t len, u32 max, u32 *number, const char **why);

/**
 * struct ferry_rdma_grant - GRANT: where a window is
 * @id: of the WANT
 * @rkey: the sink's key of it
 * @addr: of its first page, for the source's writes
 */
struct ferry_rdma_grant {
	u32 id;
	u32 rkey;
	u64 addr;
};

size_t ferry_rdma_put_grant(u8 *p, const struct ferry_rdma_grant *g);
int ferry_rdma_get_grant(const u8 *p, size_t len, struct ferry_rdma_grant *g, const char **why);

/**
 * struct ferry_rdma_request - private data of a connection request
 * @version: FERRY_RDMA_VERSION
 * @index: which data channel
 * @nr_channels: of them
 * @token: the session's
 */
struct ferry_rdma_request {
	u16 version;
	u16 index;
	u16 nr_channels;
	u8 token[FERRY_WIRE_TOKEN_LEN];
};

#define FERRY_RDMA_REQUEST_LEN	28	/* the CM has room for 56 */

size_t ferry_rdma_put_request(u8 *p, const struct ferry_rdma_request *r);
/* @len may be more: the CM pads. */
int ferry_rdma_get_request(const u8 *p, size_t len, struct ferry_rdma_request *r, const char **why);

/**
 * struct ferry_rdma_reply - private data of the answer
 * @version: FERRY_RDMA_VERSION
 * @window_pages: the most that one window may have, at least 1
 * @whole: the sink pins all of its memory: windows may be asked for ahead
 * @pinned_pages: the most that all windows of this channel may have, at least
 *	twice FERRY_WIRE_MAX_BATCH_PAGES
 */
struct ferry_rdma_reply {
	u16 version;
	bool whole;
	u32 window_pages;
	u64 pinned_pages;
};

#define FERRY_RDMA_REPLY_LEN	24
#define FERRY_RDMA_MIN_PINNED	(2 * FERRY_WIRE_MAX_BATCH_PAGES)

size_t ferry_rdma_put_reply(u8 *p, const struct ferry_rdma_reply *r);
int ferry_rdma_get_reply(const u8 *p, size_t len, struct ferry_rdma_reply *r, const char **why);

/**
 * enum ferry_rdma_refusal - why a connection request was refused
 * @FERRY_RDMA_REFUSED_FORM: private data that is not ours, or of another version
 * @FERRY_RDMA_REFUSED_TOKEN: not this session's token
 * @FERRY_RDMA_REFUSED_INDEX: no such data channel, or another number of them
 * @FERRY_RDMA_REFUSED_TAKEN: the data channel is connected already
 * @FERRY_RDMA_REFUSED_ENDED: the session has ended, or cannot set the connection up
 */
enum ferry_rdma_refusal {
	FERRY_RDMA_REFUSED_FORM = 1,
	FERRY_RDMA_REFUSED_TOKEN = 2,
	FERRY_RDMA_REFUSED_INDEX = 3,
	FERRY_RDMA_REFUSED_TAKEN = 4,
	FERRY_RDMA_REFUSED_ENDED = 5,
};

#define FERRY_RDMA_REFUSAL_LEN	8

size_t ferry_rdma_put_refusal(u8 *p, u32 why);
/* 0: not one of ours. */
u32 ferry_rdma_get_refusal(const u8 *p, size_t len);
const char *ferry_rdma_refusal_text(u32 why);

#endif /* FERRY_RDMA_WIRE_H */
