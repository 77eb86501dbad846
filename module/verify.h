/* SPDX-License-Identifier: GPL-2.0-only */
/* Digests of memory, taken with both sides paused. */
#ifndef FERRY_VERIFY_H
#define FERRY_VERIFY_H

#include <linux/types.h>

#include "wire.h"

struct ferry_msg_digest;
struct ferry_session;

/**
 * struct ferry_verify - sink: a comparison under way
 * @region: the next digest must be for this region
 * @block: and this block
 * @nr_bad: ranges in @bad
 * @total_bad: blocks that differ
 * @bad: the first ranges that differ
 */
struct ferry_verify {
	u32 region;
	u64 block;
	u32 nr_bad;
	u32 total_bad;
	struct ferry_extent bad[FERRY_WIRE_MAX_MISMATCH];
};

/* source, main task: sends all digests. Ends the session on an error. */
int ferry_verify_send(struct ferry_session *s);
/* sink, control task: compares what DIGEST brought, in ch->rx_buf. */
int ferry_verify_digest(struct ferry_session *s, const u8 *body, const struct ferry_msg_digest *m);
/* sink, control task: all digests came; sends the result. */
int ferry_verify_end(struct ferry_session *s);
/* source, control task: reads the result in @body. */
int ferry_verify_result(struct ferry_session *s, const u8 *body, size_t len, const char **why);
void ferry_verify_free(struct ferry_session *s);

#endif /* FERRY_VERIFY_H */
