/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An RDMA peer in user space (librdmacm, libibverbs): connects, listens, sends,
 * writes, as well or as badly as a test asks for. See docs/rdma.md.
 */
#ifndef RDMA_PEER_H
#define RDMA_PEER_H

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "bad_wire.h"

#define RP_MSG_LEN	8192
#define RP_DEPTH	32
#define RP_REQUEST_LEN	28
#define RP_REPLY_LEN	24

enum { R_STREAM = 1, R_WANT, R_DROP, R_GRANT, R_CREDIT, R_SEALED };

/**
 * struct rpeer - one end of an RDMA connection, the test's
 * @events: of the connection manager
 * @listener: if it listens
 * @id: the connection
 * @status: of the last work request that did not succeed, enum ibv_wc_status; 0: none
 * @refusal: why the module refused the connection, 0: it gave no reason
 * @kind: of the message received last
 * @length: of its body
 * @body: its body
 * @page: what rp_write() writes
 */
struct rpeer {
	struct rdma_event_channel *events;
	struct rdma_cm_id *listener;
	struct rdma_cm_id *id;
	struct ibv_mr *mr;
	int status;
	uint32_t refusal;
	uint32_t kind;
	uint32_t length;
	uint8_t *body;
	struct rpeer_room *room;
};

/* Runs @tests where there is an RDMA device; returns main()'s exit status. */
int rp_run(int (*tests)(void));
/* As a source: a request with this private data. True: it was accepted. */
bool rp_connect(struct rpeer *r, const struct sockaddr_in *to, const void *data, size_t len);
/* The same, and no answer is waited for. */
void rp_ask(struct rpeer *r, const struct sockaddr_in *to, const void *data, size_t len);
/* What became of rp_ask(). */
bool rp_answer(struct rpeer *r);
/* As a sink: listens, and says on which port. */
void rp_listen(struct rpeer *r, struct sockaddr_in *addr);
/* Waits for a request; returns its private data, which stays until rp_accept() or rp_reject(). */
const uint8_t *rp_request(struct rpeer *r);
void rp_accept(struct rpeer *r, const void *data, size_t len);
void rp_reject(struct rpeer *r, const void *data, size_t len);
void rp_close(struct rpeer *r);

/* A SEND of bytes as they are; its completion. */
enum ibv_wc_status rp_bytes(struct rpeer *r, const void *bytes, size_t len);
/* A message. */
enum ibv_wc_status rp_send(struct rpeer *r, uint32_t kind, const void *body, size_t len);
/* The next message but CREDIT, within 10 s; 0: the connection has ended. */
uint32_t rp_recv(struct rpeer *r);
/* A page of @fill, to a window of the peer. */
enum ibv_wc_status rp_write(struct rpeer *r, uint32_t rkey, uint64_t addr, uint8_t fill);
/* A page from there, which must not be given. */
enum ibv_wc_status rp_read(struct rpeer *r, uint32_t rkey, uint64_t addr);

/* Private data of a good request; returns its length. */
size_t rp_put_request(uint8_t *data, const uint8_t token[16], unsigned int index, unsigned int of);
size_t rp_put_reply(uint8_t *data, uint32_t window_pages, uint64_t pinned_pages);
/* Body of a WANT with one run. */
size_t rp_put_want(uint8_t *body, uint32_t id, uint64_t pfn, uint32_t pages);

#endif
