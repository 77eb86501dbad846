/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The wire protocol: constants, decoded forms, codec. docs/protocol.md has it
 * to the byte.
 *
 * Everything here is pure: bytes in, structs out, no kernel service. Nothing
 * that a decoder returns needs another range check that could be done without
 * knowing the session; what needs the session (is the region known, does the
 * extent lie in it) is done by the caller before a byte is placed.
 *
 * All integers are little-endian. A message is a 16-byte header and a body of
 * @length bytes. BATCH is followed by page data, which @length leaves out: its
 * size follows from the extents.
 */
#ifndef FERRY_WIRE_H
#define FERRY_WIRE_H

#include <linux/types.h>

#define FERRY_WIRE_MAGIC	0x31597246u	/* "FrY1" as bytes on the wire */
#define FERRY_WIRE_VERSION	1
#define FERRY_WIRE_VERSION_MIN	1

#define FERRY_WIRE_HEADER_LEN	16
#define FERRY_WIRE_TOKEN_LEN	16
#define FERRY_WIRE_NAME_LEN	32
#define FERRY_WIRE_REGION_LEN	56
#define FERRY_WIRE_EXTENT_LEN	16
#define FERRY_WIRE_HELLO_LEN	80	/* without its regions */
#define FERRY_WIRE_REASON_MAX	255

/* Bounds that a decoder enforces before anybody sizes anything by a number. */
#define FERRY_WIRE_MAX_REGIONS	256
#define FERRY_WIRE_MAX_CHANNELS	16
#define FERRY_WIRE_MAX_EXTENTS	256
#define FERRY_WIRE_MAX_BATCH_PAGES 512	/* data pages: 2 MiB */
#define FERRY_WIRE_MAX_STATE_CHUNK 32768
#define FERRY_WIRE_MAX_DIGESTS	2048
#define FERRY_WIRE_MAX_MISMATCH	16
/* The largest body: DIGEST, 16 + 2048 * 8; STATE, 8 + 32768; HELLO, 80 + 256 * 56. */
#define FERRY_WIRE_MAX_BODY	(8 + FERRY_WIRE_MAX_STATE_CHUNK)

/* Feature bits of HELLO: what both sides have set holds. */
#define FERRY_WIRE_FEATURE_VERIFY	(1ULL << 0)
#define FERRY_WIRE_FEATURE_ECHO		(1ULL << 1)
#define FERRY_WIRE_FEATURES_KNOWN	(FERRY_WIRE_FEATURE_VERIFY | FERRY_WIRE_FEATURE_ECHO)

enum ferry_msg_type {
	FERRY_MSG_HELLO = 1,		/* control, to the sink, first */
	FERRY_MSG_HELLO_ACK = 2,	/* control, to the source, first */
	FERRY_MSG_CHANNEL = 3,		/* data, to the sink, first */
	FERRY_MSG_BATCH = 4,		/* data, to the sink */
	FERRY_MSG_FENCE = 5,		/* data, to the sink */
	FERRY_MSG_FENCE_ACK = 6,	/* control, to the source */
	FERRY_MSG_PASS = 7,		/* control, to the sink: a pass began */
	FERRY_MSG_FINAL = 8,		/* control, to the sink: the guest is paused */
	FERRY_MSG_DIGEST = 9,		/* control, to the sink */
	FERRY_MSG_DIGEST_END = 10,	/* control, to the sink */
	FERRY_MSG_VERIFY_RESULT = 11,	/* control, to the source */
	FERRY_MSG_PAUSED = 12,		/* control, to the sink: all of RAM is yours, state follows */
	FERRY_MSG_STATE = 13,		/* control, to the sink */
	FERRY_MSG_READY = 14,		/* control, to the source */
	FERRY_MSG_COMMIT = 15,		/* control, to the sink */
	FERRY_MSG_COMMIT_ACK = 16,	/* control, to the source */
	FERRY_MSG_ABORT = 17,		/* control, both ways, last */
	FERRY_MSG_PING = 18,		/* control, both ways */
	FERRY_MSG_ECHO = 19,		/* control, both ways: comes back as it is */
	FERRY_MSG_MAX = 19,
};

/**
 * struct ferry_msg_header - the 16 bytes before every body
 * @type: enum ferry_msg_type; wire offset 4, le16
 * @length: bytes of the body; wire offset 8, le32
 * @seq: counts the messages of this channel and direction from 0; wire
 *	offset 12, le32
 *
 * Wire offset 0: le32 FERRY_WIRE_MAGIC. Offset 6: le16, must be 0.
 */
struct ferry_msg_header {
	u16 type;
	u32 length;
	u32 seq;
};

/**
 * struct ferry_msg_region - one region as HELLO tells it
 * @id: le64 at 0 (must be below 65536)
 * @length: le64 at 8, bytes; multiple of 4096, not 0, at most 2^52
 * Offset 16: le64, must be 0.
 * @name: 32 bytes at 24: 1 to 31 printable ASCII bytes, then NULs to the end
 */
struct ferry_msg_region {
	u64 id;
	u64 length;
	char name[FERRY_WIRE_NAME_LEN];
};

/**
 * struct ferry_msg_hello - the fixed part of HELLO
 * @version_min: le16 at 0: oldest version the source speaks
 * @version: le16 at 2: newest one; not below @version_min; neither is 0
 * @page_shift: le32 at 4; must be 12
 * @features: le64 at 8: bits the source can do and wants. Unknown bits are
 *	fine: they are what a later version adds
 * @token: 16 bytes at 16
 * @nr_channels: le16 at 32: data channels, 1 to 16
 * @nr_regions: le16 at 34: 1 to 256; that many regions follow the 80 bytes
 * @peer_timeout_ms: le32 at 36: how long the source waits; 100 to 3600000
 * Offset 40: le64, must be 0.
 * @name: 32 bytes at 48: as a region's name, may be empty
 */
struct ferry_msg_hello {
	u16 version_min;
	u16 version;
	u32 page_shift;
	u64 features;
	u8 token[FERRY_WIRE_TOKEN_LEN];
	u16 nr_channels;
	u16 nr_regions;
	u32 peer_timeout_ms;
	char name[FERRY_WIRE_NAME_LEN];
};

/**
 * struct ferry_msg_hello_ack - body of HELLO_ACK, 16 bytes
 * @version: le16 at 0: the version that holds, not 0
 * Offset 2: 6 bytes, must be 0.
 * @features: le64 at 8: the features that hold
 */
struct ferry_msg_hello_ack {
	u16 version;
	u64 features;
};

/**
 * struct ferry_msg_channel - body of CHANNEL, 24 bytes
 * @token: 16 bytes at 0: of the HELLO
 * @index: le16 at 16: which data channel, from 0, below 16
 * @nr_channels: le16 at 18: how many there are, 1 to 16, above @index
 * Offset 20: le32, must be 0.
 */
struct ferry_msg_channel {
	u8 token[FERRY_WIRE_TOKEN_LEN];
	u16 index;
	u16 nr_channels;
};

enum ferry_extent_kind {
	FERRY_EXTENT_DATA = 0,		/* the pages follow the body */
	FERRY_EXTENT_ZERO = 1,		/* the pages are zero: nothing follows */
	FERRY_EXTENT_KIND_MAX = 1,
};

/**
 * struct ferry_extent - contiguous pages of one region, 16 bytes
 * @pfn: le64 at 0: index of the first page in the region; @pfn + @nr_pages is
 *	at most 2^40
 * @nr_pages: le32 at 8: 1 and up; DATA: at most FERRY_WIRE_MAX_BATCH_PAGES;
 *	ZERO: at most 2^30
 * @region: le16 at 12: index of the region in HELLO, below 256
 * @kind: le16 at 14: enum ferry_extent_kind
 */
struct ferry_extent {
	u64 pfn;
	u32 nr_pages;
	u16 region;
	u16 kind;
};

/**
 * struct ferry_msg_batch - fixed part of BATCH, 8 bytes, before its extents
 * @nr_extents: le32 at 0: 1 to FERRY_WIRE_MAX_EXTENTS; the body's length is
 *	just 8 + 16 * nr_extents
 * @pass: le32 at 4, from 1
 *
 * The data pages of all its extents are at most FERRY_WIRE_MAX_BATCH_PAGES.
 */
struct ferry_msg_batch {
	u32 nr_extents;
	u32 pass;
};

/**
 * struct ferry_msg_pass - body of FENCE, FENCE_ACK, PASS, FINAL, 16 bytes
 * @pass: le32 at 0, from 1
 * @channel: le16 at 4: FENCE_ACK: which data channel, below 16. Others: 0
 * Offset 6: le16, must be 0.
 * @pages: le64 at 8: PASS: pages left at its beginning. Others: 0
 */
struct ferry_msg_pass {
	u32 pass;
	u16 channel;
	u64 pages;
};

/**
 * struct ferry_msg_digest - fixed part of DIGEST, 16 bytes, before le64 digests
 * @region: le16 at 0: index of the region in HELLO, below 256
 * Offset 2: le16, must be 0.
 * @count: le32 at 4: 1 to FERRY_WIRE_MAX_DIGESTS; body length is 16 + 8 * count
 * @first: le64 at 8: number of the first 2 MiB block; @first + @count is at
 *	most 2^31
 */
struct ferry_msg_digest {
	u16 region;
	u32 count;
	u64 first;
};

/**
 * struct ferry_msg_verify_result - fixed part of VERIFY_RESULT, 16 bytes
 * @nr_bad: le32 at 0: ranges that follow, 0 to FERRY_WIRE_MAX_MISMATCH, each
 *	coded as an extent of kind DATA whose nr_pages is bounded as ZERO's
 * @total_bad: le32 at 4: blocks that differ in all; 0 just if @nr_bad is 0, never
 *	below it
 * @digest: le64 at 8: of all of the sink's memory
 */
struct ferry_msg_verify_result {
	u32 nr_bad;
	u32 total_bad;
	u64 digest;
};

#define FERRY_WIRE_STATE_LAST	(1u << 0)

/**
 * struct ferry_msg_state - fixed part of STATE, 8 bytes, before the bytes
 * @flags: le32 at 0: FERRY_WIRE_STATE_LAST or 0
 * @length: le32 at 4: 0 to FERRY_WIRE_MAX_STATE_CHUNK; 0 only with LAST; body
 *	length is 8 + length
 */
struct ferry_msg_state {
	u32 flags;
	u32 length;
};

/**
 * struct ferry_msg_abort - body of ABORT
 * @error: le32 at 0: the sender's errno, 1 to 4095
 * @length: le32 at 4: of the reason, 0 to 255; body length is 8 + length
 * @reason: at 8: bytes for a person. The decoder replaces what is not
 *	printable ASCII by '?' and ends it with a NUL
 */
struct ferry_msg_abort {
	u32 error;
	u32 length;
	char reason[FERRY_WIRE_REASON_MAX + 1];
};

/**
 * struct ferry_msg_echo - body of ECHO, 8 bytes
 * @number: le32 at 0, from 1: which one it is, or answers
 * Offset 4: le32, must be 0.
 */
struct ferry_msg_echo {
	u32 number;
};

/*
 * Encoders write to a buffer that the caller sized by the constants above and
 * return the number of bytes written. They trust their arguments.
 */
size_t ferry_wire_put_header(u8 *buf, const struct ferry_msg_header *h);
size_t ferry_wire_put_hello(u8 *body, const struct ferry_msg_hello *m);
size_t ferry_wire_put_region(u8 *p, const struct ferry_msg_region *r);
size_t ferry_wire_put_hello_ack(u8 *body, const struct ferry_msg_hello_ack *m);
size_t ferry_wire_put_channel(u8 *body, const struct ferry_msg_channel *m);
size_t ferry_wire_put_batch(u8 *body, const struct ferry_msg_batch *m);
size_t ferry_wire_put_extent(u8 *p, const struct ferry_extent *e);
size_t ferry_wire_put_pass(u8 *body, const struct ferry_msg_pass *m);
size_t ferry_wire_put_digest(u8 *body, const struct ferry_msg_digest *m);
/* @i-th of the digests that follow the 16 bytes at @body. */
size_t ferry_wire_put_digest_value(u8 *body, u32 i, u64 digest);
size_t ferry_wire_put_verify_result(u8 *body, const struct ferry_msg_verify_result *m);
size_t ferry_wire_put_state(u8 *body, const struct ferry_msg_state *m);
size_t ferry_wire_put_abort(u8 *body, const struct ferry_msg_abort *m);
size_t ferry_wire_put_echo(u8 *body, const struct ferry_msg_echo *m);

/*
 * Decoders take untrusted bytes. They return 0, or -EPROTO with *@why set to a
 * static phrase that names the field ("extent is empty"), and leave *@m
 * undefined then. @len is the length of the body as received; each decoder
 * checks it against what the message must have, exactly. @why may be NULL.
 */

/* Also checks that @length is at most FERRY_WIRE_MAX_BODY and fits the type. */
int ferry_wire_get_header(const u8 buf[FERRY_WIRE_HEADER_LEN], struct ferry_msg_header *h,
			  const char **why);
/* The body's exact length is checked, the regions are not: decode them one by one. */
int ferry_wire_get_hello(const u8 *body, size_t len, struct ferry_msg_hello *m, const char **why);
/* @i must be below nr_regions of a HELLO that ferry_wire_get_hello() accepted. */
int ferry_wire_get_region(const u8 *body, size_t len, u32 i, struct ferry_msg_region *r,
			  const char **why);
int ferry_wire_get_hello_ack(const u8 *body, size_t len, struct ferry_msg_hello_ack *m,
			     const char **why);
int ferry_wire_get_channel(const u8 *body, size_t len, struct ferry_msg_channel *m,
			   const char **why);
/* Checks all of the extents as well, and their sum. */
int ferry_wire_get_batch(const u8 *body, size_t len, struct ferry_msg_batch *m, const char **why);
/* @i must be below nr_extents of a BATCH that ferry_wire_get_batch() accepted. */
int ferry_wire_get_extent(const u8 *body, size_t len, u32 i, struct ferry_extent *e,
			  const char **why);
/* @type: FENCE, FENCE_ACK, PASS or FINAL: fields the type does not use must be 0. */
int ferry_wire_get_pass(const u8 *body, size_t len, u16 type, struct ferry_msg_pass *m,
			const char **why);
int ferry_wire_get_digest(const u8 *body, size_t len, struct ferry_msg_digest *m,
			  const char **why);
/* @i must be below count of a DIGEST that ferry_wire_get_digest() accepted; never fails. */
u64 ferry_wire_get_digest_value(const u8 *body, u32 i);
int ferry_wire_get_verify_result(const u8 *body, size_t len, struct ferry_msg_verify_result *m,
				 const char **why);
int ferry_wire_get_mismatch(const u8 *body, size_t len, u32 i, struct ferry_extent *e,
			    const char **why);
int ferry_wire_get_state(const u8 *body, size_t len, struct ferry_msg_state *m, const char **why);
int ferry_wire_get_abort(const u8 *body, size_t len, struct ferry_msg_abort *m, const char **why);
int ferry_wire_get_echo(const u8 *body, size_t len, struct ferry_msg_echo *m, const char **why);

const char *ferry_msg_name(u16 type);

/*
 * Whether a message of @type may come on this kind of channel, towards a
 * source or a sink.
 */
bool ferry_wire_expected(u16 type, bool control, bool to_sink);

#endif /* FERRY_WIRE_H */
