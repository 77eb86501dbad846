/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A peer in user space: speaks the wire protocol by hand, as well or as badly as
 * a test asks for. See docs/protocol.md.
 */
#ifndef BAD_WIRE_H
#define BAD_WIRE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pair.h"

#define WIRE_MAGIC	0x31597246u
#define WIRE_MAX_BODY	32776

enum {
	W_HELLO = 1, W_HELLO_ACK, W_CHANNEL, W_BATCH, W_FENCE, W_FENCE_ACK, W_PASS, W_FINAL,
	W_DIGEST, W_DIGEST_END, W_VERIFY_RESULT, W_PAUSED, W_STATE, W_READY, W_COMMIT,
	W_COMMIT_ACK, W_ABORT, W_PING, W_ECHO,
};

#define W_FEATURE_ECHO	2

#define PEER_BYTES	(2 * MIB)
#define PEER_GUARD	(64 * PAGE)	/* on both sides of the region, not part of it */

/**
 * struct wire - one channel, at the peer's end
 * @fd: the socket
 * @tx: number of the next message sent
 * @type: of the message received last
 * @length: of its body
 * @body: its body
 */
struct wire {
	int fd;
	uint32_t tx;
	uint16_t type;
	uint32_t length;
	uint8_t body[WIRE_MAX_BODY];
};

/**
 * struct peer - a session of the module, and the peer that the test plays
 * @dev: the device
 * @s: the session
 * @around: memory around the session's region, which must never change
 * @mem: the region, id 0, name "ram", PEER_BYTES long
 * @shadow: what the peer received, when it plays a sink
 * @control: the control channel
 * @data: the data channels
 * @nr_data: how many
 * @timeout_ms: of the session, and told in the peer's HELLO
 * @token: of the migration
 * @features: told in the peer's HELLO (source)
 * @acks: FENCEs are acknowledged (sink)
 * @filled: bytes of the region that are filled before the start, the rest is a
 *	hole; 0: all
 * @final: thread that is in KVM_FERRY_FINAL
 * @commit: thread that is in KVM_FERRY_COMMIT
 */
struct peer {
	struct ferry_device *dev;
	struct ferry_session *s;
	uint8_t *around;
	uint8_t *mem;
	uint8_t *shadow;
	struct wire control;
	struct wire data[KVM_FERRY_MAX_DATA_CHANNELS];
	unsigned int nr_data;
	unsigned int timeout_ms;
	uint8_t token[16];
	uint64_t features;
	bool acks;
	size_t filled;
	pthread_t final;
	pthread_t commit;
};

/* A session with one region and @channels data channels, and not started. */
void peer_open(struct peer *p, enum kvm_ferry_role role, unsigned int channels,
	       unsigned int timeout_ms, bool verify);
void peer_start(struct peer *p);
/* Also checks that nothing around the region was touched. */
void peer_close(struct peer *p);

/* The header, to @head; returns its length. */
size_t wire_head(uint8_t *head, uint16_t type, uint32_t length, uint32_t seq);
void put16(uint8_t *p, uint16_t v);
void put32(uint8_t *p, uint32_t v);
void put64(uint8_t *p, uint64_t v);
uint32_t get32(const uint8_t *p);
uint64_t get64(const uint8_t *p);
/* Errors of the socket are ignored: the module may have closed it, rightly. */
void wire_bytes(struct wire *w, const void *bytes, size_t n);
void wire_send(struct wire *w, uint16_t type, const void *body, uint32_t length);
/* The next message, within 10 s; 0: the connection has ended. */
uint16_t wire_next(struct wire *w);
/* The next message that is no PING. */
uint16_t wire_recv(struct wire *w);
/* Bytes as they come, within 10 s; false: the connection has ended. */
bool wire_read(struct wire *w, void *to, size_t n);

/* Bodies. */
size_t body_hello(const struct peer *p, uint8_t *body, unsigned int nr_regions);
void body_region(uint8_t *at, uint64_t id, uint64_t length, const char *name);
size_t body_channel(const struct peer *p, uint8_t *body, unsigned int index);
size_t body_echo(uint8_t *body, uint32_t number);
size_t body_pass(uint8_t *body, uint32_t pass, uint16_t channel);
void put_extent(uint8_t *at, uint64_t pfn, uint32_t pages, uint16_t region, uint16_t kind);

/* The peer as a good source: HELLO, CHANNELs, and HELLO_ACK heard. */
void source_connect(struct peer *p);
void source_pass(struct peer *p, uint32_t pass);	/* PASS and FENCEs, acknowledged */
void source_batch(struct peer *p, uint32_t pass, uint64_t pfn, uint32_t pages, uint8_t fill);

/* The peer as a good sink: HELLO and CHANNELs heard, HELLO_ACK said. */
void sink_connect(struct peer *p, uint64_t features);
/*
 * Receives batches and fences, until a control message of this type came; 0:
 * until the session has ended. False: it did not come.
 */
bool sink_serve(struct peer *p, uint16_t type);
/* Receives on the first data channel, until a message of this type came. */
void sink_take(struct peer *p, uint16_t type);
/* As a good sink up to this state of the source: LIVE, FINAL, PAUSED. */
void sink_until(struct peer *p, enum kvm_ferry_state state);
/* As a good sink until COMMIT was heard, which the session now wants to be answered. */
void sink_until_commit(struct peer *p);
/* As a good source until the session has said READY, and waits for COMMIT. */
void source_until_ready(struct peer *p);
/* What KVM_FERRY_COMMIT came to after one of these: 0 or a negative errno. */
long peer_commit(struct peer *p);

#endif
