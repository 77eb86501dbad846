// SPDX-License-Identifier: GPL-2.0
/* An RDMA peer in user space (no test itself). */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bad_call.h"
#include "rdma_link.h"
#include "rdma_peer.h"
#include "tap.h"

#define WAIT_MS		(10000 * lab_slow())
#define READ_MS		(2000 * lab_slow())	/* many times what one needs that is served */
#define MAGIC		0x31417246u
#define TX_LEN		(2 * RP_MSG_LEN)
#define RETRIES		2	/* 7 is for ever with Soft-RoCE: what nobody answers would not fail */

/**
 * struct rpeer_room - memory that the device reads and writes
 * @rx: receive buffers
 * @tx: what is sent
 * @page: what is written, and read
 */
struct rpeer_room {
	uint8_t rx[RP_DEPTH][RP_MSG_LEN];
	uint8_t tx[TX_LEN];
	uint8_t page[PAGE];
};

int rp_run(int (*tests)(void))
{
	int status = 1;
	pid_t child;

	rdma_up();
	must("modprobe -a ib_uverbs rdma_ucm");
	/* librdmacm keeps the device until its process ends, and without that it does not go. */
	fflush(stdout);
	child = fork();
	if (!child)
		exit(tests());
	waitpid(child, &status, 0);
	rdma_down();
	return !WIFEXITED(status) || WEXITSTATUS(status);
}

/* The next event of the connection manager, or NULL after 10 s. */
static struct rdma_cm_event *event(struct rpeer *r)
{
	struct pollfd pfd = { .fd = r->events->fd, .events = POLLIN };
	struct rdma_cm_event *e;

	if (poll(&pfd, 1, WAIT_MS) <= 0 || rdma_get_cm_event(r->events, &e))
		return NULL;
	return e;
}

static void expect(struct rpeer *r, enum rdma_cm_event_type type)
{
	struct rdma_cm_event *e = event(r);

	if (!e || e->event != type)
		tap_bail("wanted %s, got %s", rdma_event_str(type), e ? rdma_event_str(e->event) : "nothing");
	rdma_ack_cm_event(e);
}

static void post_recv(struct rpeer *r, unsigned int i)
{
	struct ibv_sge sge = { .addr = (uintptr_t)r->room->rx[i], .length = RP_MSG_LEN, .lkey = r->mr->lkey };
	struct ibv_recv_wr wr = { .wr_id = i, .sg_list = &sge, .num_sge = 1 }, *bad;

	if (ibv_post_recv(r->id->qp, &wr, &bad))
		tap_bail("no receive buffer: %s", strerror(errno));
}

static void make_qp(struct rpeer *r)
{
	struct ibv_qp_init_attr attr = {
		.cap = { .max_send_wr = 64, .max_recv_wr = RP_DEPTH, .max_send_sge = 1, .max_recv_sge = 1 },
		.qp_type = IBV_QPT_RC, .sq_sig_all = 1,
	};
	unsigned int i;

	if (rdma_create_qp(r->id, NULL, &attr))
		tap_bail("no queue pair: %s", strerror(errno));
	r->room = calloc(1, sizeof(*r->room));
	r->mr = ibv_reg_mr(r->id->pd, r->room, sizeof(*r->room), IBV_ACCESS_LOCAL_WRITE);
	if (!r->mr)
		tap_bail("no memory region: %s", strerror(errno));
	for (i = 0; i < RP_DEPTH; i++)
		post_recv(r, i);
}

void rp_ask(struct rpeer *r, const struct sockaddr_in *to, const void *data, size_t len)
{
	struct rdma_conn_param param = { .private_data = data, .private_data_len = len, .retry_count = RETRIES,
					 .rnr_retry_count = 7, .responder_resources = 1,
					 .initiator_depth = 1 };

	*r = (struct rpeer){ .events = rdma_create_event_channel() };
	if (!r->events || rdma_create_id(r->events, &r->id, r, RDMA_PS_TCP) ||
	    rdma_resolve_addr(r->id, NULL, (struct sockaddr *)to, 5000))
		tap_bail("no RDMA: %s", strerror(errno));
	expect(r, RDMA_CM_EVENT_ADDR_RESOLVED);
	if (rdma_resolve_route(r->id, 5000))
		tap_bail("no route: %s", strerror(errno));
	expect(r, RDMA_CM_EVENT_ROUTE_RESOLVED);
	make_qp(r);
	if (rdma_connect(r->id, &param))
		tap_bail("no request: %s", strerror(errno));
}

bool rp_answer(struct rpeer *r)
{
	struct rdma_cm_event *e = event(r);
	bool good;

	if (!e)
		tap_bail("the module does not answer a connection request");
	good = e->event == RDMA_CM_EVENT_ESTABLISHED;
	if (!good && e->event != RDMA_CM_EVENT_REJECTED)
		tap_bail("the module answers a connection request by %s", rdma_event_str(e->event));
	if (!good && e->param.conn.private_data && get32(e->param.conn.private_data) == MAGIC)
		r->refusal = get32((const uint8_t *)e->param.conn.private_data + 4);
	rdma_ack_cm_event(e);
	return good;
}

bool rp_connect(struct rpeer *r, const struct sockaddr_in *to, const void *data, size_t len)
{
	rp_ask(r, to, data, len);
	return rp_answer(r);
}

void rp_listen(struct rpeer *r, struct sockaddr_in *addr)
{
	*r = (struct rpeer){ .events = rdma_create_event_channel() };
	if (!r->events || rdma_create_id(r->events, &r->listener, r, RDMA_PS_TCP) ||
	    rdma_bind_addr(r->listener, (struct sockaddr *)addr) || rdma_listen(r->listener, 4))
		tap_bail("cannot listen: %s", strerror(errno));
	addr->sin_port = rdma_get_src_port(r->listener);
}

const uint8_t *rp_request(struct rpeer *r)
{
	static uint8_t data[RP_REQUEST_LEN];
	struct rdma_cm_event *e = event(r);

	if (!e || e->event != RDMA_CM_EVENT_CONNECT_REQUEST || e->param.conn.private_data_len < sizeof(data))
		tap_bail("no connection request came");
	r->id = e->id;
	memcpy(data, e->param.conn.private_data, sizeof(data));
	rdma_ack_cm_event(e);
	return data;
}

void rp_accept(struct rpeer *r, const void *data, size_t len)
{
	struct rdma_conn_param param = { .private_data = data, .private_data_len = len, .retry_count = RETRIES,
					 .rnr_retry_count = 7 };

	make_qp(r);
	if (rdma_accept(r->id, &param))
		tap_bail("cannot accept: %s", strerror(errno));
}

void rp_reject(struct rpeer *r, const void *data, size_t len)
{
	rdma_reject(r->id, data, len);
	rdma_destroy_id(r->id);
	r->id = NULL;
}

void rp_close(struct rpeer *r)
{
	if (r->id && r->id->qp) {
		rdma_disconnect(r->id);
		rdma_destroy_qp(r->id);
	}
	if (r->mr)
		ibv_dereg_mr(r->mr);
	if (r->id)
		rdma_destroy_id(r->id);
	if (r->listener)
		rdma_destroy_id(r->listener);
	rdma_destroy_event_channel(r->events);
	free(r->room);
}

/* Waits for a completion on one of the two queues, @ms. */
static bool complete(struct ibv_cq *cq, struct ibv_wc *wc, unsigned int ms)
{
	uint64_t end = now_ms() + ms;

	do {
		int n = ibv_poll_cq(cq, 1, wc);

		if (n)
			return n > 0;
		poll_pause();
	} while (now_ms() < end);
	return false;
}

static enum ibv_wc_status post(struct rpeer *r, struct ibv_send_wr *wr, void *at, size_t len,
			       unsigned int ms)
{
	struct ibv_sge sge = { .addr = (uintptr_t)at, .length = len, .lkey = r->mr->lkey };
	struct ibv_send_wr *bad;
	struct ibv_wc wc;

	wr->sg_list = &sge;
	wr->num_sge = 1;
	wr->send_flags = IBV_SEND_SIGNALED;
	if (ibv_post_send(r->id->qp, wr, &bad) || !complete(r->id->send_cq, &wc, ms))
		return IBV_WC_GENERAL_ERR;
	if (wc.status)
		r->status = wc.status;
	return wc.status;
}

enum ibv_wc_status rp_bytes(struct rpeer *r, const void *bytes, size_t len)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND };

	if (len > TX_LEN)
		tap_bail("no room to send %zu bytes", len);
	if (bytes != r->room->tx)
		memcpy(r->room->tx, bytes, len);
	return post(r, &wr, r->room->tx, len, WAIT_MS);
}

enum ibv_wc_status rp_send(struct rpeer *r, uint32_t kind, const void *body, size_t len)
{
	put32(r->room->tx, kind);
	put32(r->room->tx + 4, len);
	memcpy(r->room->tx + 8, body, len);
	return rp_bytes(r, r->room->tx, 8 + len);
}

uint32_t rp_recv(struct rpeer *r)
{
	static uint8_t body[RP_MSG_LEN];
	struct ibv_wc wc;

	do {
		const uint8_t *m;

		r->kind = 0;
		if (!complete(r->id->recv_cq, &wc, WAIT_MS) || wc.status)
			return 0;
		m = r->room->rx[wc.wr_id];
		r->kind = get32(m);
		r->length = get32(m + 4);
		if (r->length != wc.byte_len - 8)
			tap_bail("the module sends a wrong length");
		r->body = body;
		memcpy(body, m + 8, r->length);
		post_recv(r, wc.wr_id);
	} while (r->kind == R_CREDIT);
	return r->kind;
}

enum ibv_wc_status rp_write(struct rpeer *r, uint32_t rkey, uint64_t addr, uint8_t fill)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_RDMA_WRITE, .wr.rdma = { addr, rkey } };

	memset(r->room->page, fill, PAGE);
	return post(r, &wr, r->room->page, PAGE, WAIT_MS);
}

enum ibv_wc_status rp_read(struct rpeer *r, uint32_t rkey, uint64_t addr)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_RDMA_READ, .wr.rdma = { addr, rkey } };

	return post(r, &wr, r->room->page, PAGE, READ_MS);
}

size_t rp_put_request(uint8_t *data, const uint8_t token[16], unsigned int index, unsigned int of)
{
	put32(data, MAGIC);
	put16(data + 4, 1);
	put16(data + 6, index);
	put16(data + 8, of);
	put16(data + 10, 0);
	memcpy(data + 12, token, 16);
	return RP_REQUEST_LEN;
}

size_t rp_put_reply(uint8_t *data, uint32_t window_pages, uint64_t pinned_pages)
{
	put32(data, MAGIC);
	put16(data + 4, 1);
	put16(data + 6, 0);
	put32(data + 8, window_pages);
	put32(data + 12, 0);
	put64(data + 16, pinned_pages);
	return RP_REPLY_LEN;
}

size_t rp_put_want(uint8_t *body, uint32_t id, uint64_t pfn, uint32_t pages)
{
	put32(body, id);
	put32(body + 4, 1);
	put_extent(body + 8, pfn, pages, 0, 0);
	return 24;
}
