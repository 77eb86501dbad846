// SPDX-License-Identifier: GPL-2.0
/* A peer in user space (no test itself). */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bad_call.h"
#include "bad_wire.h"
#include "tap.h"

#define WAIT_MS 10000
#define PATTERN 0x5a

void put16(uint8_t *p, uint16_t v)
{
	p[0] = v;
	p[1] = v >> 8;
}

void put32(uint8_t *p, uint32_t v)
{
	put16(p, v);
	put16(p + 2, v >> 16);
}

void put64(uint8_t *p, uint64_t v)
{
	put32(p, v);
	put32(p + 4, v >> 32);
}

uint32_t get32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

size_t wire_head(uint8_t *head, uint16_t type, uint32_t length, uint32_t seq)
{
	put32(head, WIRE_MAGIC);
	put16(head + 4, type);
	put16(head + 6, 0);
	put32(head + 8, length);
	put32(head + 12, seq);
	return 16;
}

void wire_bytes(struct wire *w, const void *bytes, size_t n)
{
	while (n) {
		ssize_t sent = send(w->fd, bytes, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		bytes += sent;
		n -= sent;
	}
}

void wire_send(struct wire *w, uint16_t type, const void *body, uint32_t length)
{
	uint8_t whole[16 + WIRE_MAX_BODY];
	size_t n = wire_head(whole, type, length, w->tx++);

	if (length)
		memcpy(whole + n, body, length);
	wire_bytes(w, whole, n + length);
}

bool wire_read(struct wire *w, void *to, size_t n)
{
	struct pollfd pfd = { .fd = w->fd, .events = POLLIN };

	while (n) {
		ssize_t got;

		if (poll(&pfd, 1, WAIT_MS * lab_slow()) <= 0)
			return false;
		got = recv(w->fd, to, n, 0);
		if (got <= 0)
			return false;
		to += got;
		n -= got;
	}
	return true;
}

uint16_t wire_next(struct wire *w)
{
	uint8_t head[16];

	w->type = 0;
	if (!wire_read(w, head, sizeof(head)))
		return 0;
	w->type = head[4] | head[5] << 8;
	w->length = get32(head + 8);
	if (get32(head) != WIRE_MAGIC || w->length > sizeof(w->body))
		tap_bail("the module sends what is no message");
	if (!wire_read(w, w->body, w->length))
		w->type = 0;
	return w->type;
}

uint16_t wire_recv(struct wire *w)
{
	while (wire_next(w) == W_PING)
		;
	return w->type;
}

static void add_channel(struct peer *p, struct wire *w, enum kvm_ferry_channel_kind kind)
{
	int fds[2];

	pair_sockets(fds);
	if (ferry_session_add_socket(p->s, kind, fds[0]))
		tap_bail("channel: %s", ferry_session_error(p->s));
	close(fds[0]);
	w->fd = fds[1];
	w->tx = 0;
}

void peer_open(struct peer *p, enum kvm_ferry_role role, unsigned int channels,
	       unsigned int timeout_ms, bool verify)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_PEER_TIMEOUT,
				      .peer_timeout_ns = timeout_ms * 1000000ULL, .verify = verify };
	bool source = role == KVM_FERRY_SOURCE;
	unsigned int i;
	int err;

	p->nr_data = channels;
	p->acks = true;
	p->timeout_ms = timeout_ms;
	memset(p->token, 0x77, sizeof(p->token));
	p->around = pair_memory(PEER_BYTES + 2 * PEER_GUARD, false);
	p->mem = p->around + PEER_GUARD;
	p->shadow = pair_memory(PEER_BYTES, false);
	memset(p->around, PATTERN, PEER_GUARD);
	memset(p->mem + PEER_BYTES, PATTERN, PEER_GUARD);
	fill(p->mem, p->filled ? p->filled : PEER_BYTES, role + 1);
	err = ferry_device_open(&p->dev);
	if (!err)
		err = source ? ferry_source_create_reporting(p->dev, "peer", &p->s) :
			       ferry_sink_create(p->dev, "peer", &p->s);
	if (err)
		tap_bail("session: %s", ferry_error());
	if (verify)
		l.flags |= KVM_FERRY_LIMIT_VERIFY;
	if (ferry_session_add_region(p->s, 0, "ram", p->mem, PEER_BYTES) ||
	    ferry_session_limits(p->s, &l, sizeof(l)))
		tap_bail("session: %s", ferry_session_error(p->s));
	add_channel(p, &p->control, KVM_FERRY_CHANNEL_CONTROL);
	for (i = 0; i < channels; i++)
		add_channel(p, &p->data[i], KVM_FERRY_CHANNEL_DATA);
}

void peer_start(struct peer *p)
{
	if (ferry_session_start(p->s))
		tap_bail("start: %s", ferry_session_error(p->s));
}

static bool is_pattern(const uint8_t *at)
{
	return at[0] == PATTERN && !memcmp(at, at + 1, PEER_GUARD - 1);
}

void peer_close(struct peer *p)
{
	unsigned int i;

	if (!is_pattern(p->around) || !is_pattern(p->mem + PEER_BYTES))
		tap_check(false, "memory around the region was touched");
	ferry_session_close(p->s);
	ferry_device_close(p->dev);
	close(p->control.fd);
	for (i = 0; i < p->nr_data; i++)
		close(p->data[i].fd);
	munmap(p->around, PEER_BYTES + 2 * PEER_GUARD);
	munmap(p->shadow, PEER_BYTES);
}

void body_region(uint8_t *at, uint64_t id, uint64_t length, const char *name)
{
	memset(at, 0, 56);
	put64(at, id);
	put64(at + 8, length);
	memcpy(at + 24, name, strlen(name));
}

size_t body_hello(const struct peer *p, uint8_t *body, unsigned int nr_regions)
{
	unsigned int i;
	char name[] = "ram\0";

	memset(body, 0, 80);
	put16(body, 1);
	put16(body + 2, 1);
	put32(body + 4, 12);
	put64(body + 8, p->features);
	memcpy(body + 16, p->token, 16);
	put16(body + 32, p->nr_data);
	put16(body + 34, nr_regions);
	put32(body + 36, p->timeout_ms);
	for (i = 0; i < nr_regions; i++) {
		name[3] = i ? '0' + i : 0;
		body_region(body + 80 + 56 * i, i, PEER_BYTES, name);
	}
	return 80 + 56 * nr_regions;
}

size_t body_channel(const struct peer *p, uint8_t *body, unsigned int index)
{
	memcpy(body, p->token, 16);
	put16(body + 16, index);
	put16(body + 18, p->nr_data);
	put32(body + 20, 0);
	return 24;
}

size_t body_echo(uint8_t *body, uint32_t number)
{
	put32(body, number);
	put32(body + 4, 0);
	return 8;
}

size_t body_pass(uint8_t *body, uint32_t pass, uint16_t channel)
{
	memset(body, 0, 16);
	put32(body, pass);
	put16(body + 4, channel);
	return 16;
}

void put_extent(uint8_t *at, uint64_t pfn, uint32_t pages, uint16_t region, uint16_t kind)
{
	put64(at, pfn);
	put32(at + 8, pages);
	put16(at + 12, region);
	put16(at + 14, kind);
}

void source_connect(struct peer *p)
{
	uint8_t body[WIRE_MAX_BODY];
	unsigned int i;

	for (i = 0; i < p->nr_data; i++)
		wire_send(&p->data[i], W_CHANNEL, body, body_channel(p, body, i));
	wire_send(&p->control, W_HELLO, body, body_hello(p, body, 1));
	if (wire_recv(&p->control) != W_HELLO_ACK)
		tap_bail("no HELLO_ACK came: %s", ferry_session_error(p->s));
}

void source_pass(struct peer *p, uint32_t pass)
{
	uint8_t body[16];
	unsigned int i;

	wire_send(&p->control, W_PASS, body, body_pass(body, pass, 0));
	for (i = 0; i < p->nr_data; i++)
		wire_send(&p->data[i], W_FENCE, body, body_pass(body, pass, 0));
	for (i = 0; i < p->nr_data; i++)
		if (wire_recv(&p->control) != W_FENCE_ACK)
			tap_bail("no FENCE_ACK came: %s", ferry_session_error(p->s));
}

void source_batch(struct peer *p, uint32_t pass, uint64_t pfn, uint32_t pages, uint8_t fill)
{
	uint8_t body[24], page[PAGE];

	memset(page, fill, PAGE);
	put32(body, 1);
	put32(body + 4, pass);
	put_extent(body + 8, pfn, pages, 0, 0);
	wire_send(&p->data[0], W_BATCH, body, sizeof(body));
	while (pages--)
		wire_bytes(&p->data[0], page, PAGE);
}

void sink_connect(struct peer *p, uint64_t features)
{
	uint8_t body[16] = { 1 };
	unsigned int i;

	if (wire_recv(&p->control) != W_HELLO)
		tap_bail("no HELLO came: %s", ferry_session_error(p->s));
	memcpy(p->token, p->control.body + 16, 16);
	for (i = 0; i < p->nr_data; i++)
		if (wire_recv(&p->data[i]) != W_CHANNEL || memcmp(p->data[i].body, p->token, 16))
			tap_bail("no CHANNEL came: %s", ferry_session_error(p->s));
	put64(body + 8, features);
	wire_send(&p->control, W_HELLO_ACK, body, sizeof(body));
}

/* Takes one batch into the shadow. */
static bool take_batch(struct peer *p, struct wire *w)
{
	uint32_t n = get32(w->body), i;

	for (i = 0; i < n; i++) {
		const uint8_t *e = w->body + 8 + 16 * i;
		uint64_t pfn = get64(e);
		uint32_t pages = get32(e + 8);

		if (pfn + pages > PEER_BYTES / PAGE)
			tap_bail("the module sends an extent beyond the region");
		if (e[14])
			memset(p->shadow + pfn * PAGE, 0, pages * PAGE);
		else if (!wire_read(w, p->shadow + pfn * PAGE, pages * PAGE))
			return false;
	}
	return true;
}

static bool take_data(struct peer *p, unsigned int i)
{
	struct wire *w = &p->data[i];
	uint8_t body[16];

	switch (wire_recv(w)) {
	case W_BATCH:
		return take_batch(p, w);
	case W_FENCE:
		if (p->acks)
			wire_send(&p->control, W_FENCE_ACK, body, body_pass(body, get32(w->body), i));
		return true;
	default:
		return false;
	}
}

bool sink_serve(struct peer *p, uint16_t type)
{
	struct pollfd pfd[1 + KVM_FERRY_MAX_DATA_CHANNELS];
	uint64_t end = now_ms() + WAIT_MS * lab_slow(), pinged = 0;
	unsigned int i;

	pfd[0] = (struct pollfd){ .fd = p->control.fd, .events = POLLIN };
	for (i = 0; i < p->nr_data; i++)
		pfd[1 + i] = (struct pollfd){ .fd = p->data[i].fd, .events = POLLIN };
	while (now_ms() < end) {
		if (now_ms() - pinged >= p->timeout_ms / 8) {
			wire_send(&p->control, W_PING, NULL, 0);
			pinged = now_ms();
		}
		poll(pfd, 1 + p->nr_data, p->timeout_ms / 8);
		for (i = 0; i < p->nr_data; i++)
			if (pfd[1 + i].revents && !take_data(p, i))
				pfd[1 + i].fd = -1;
		if (!pfd[0].revents)
			continue;
		if (!wire_next(&p->control))
			return !type;
		if (p->control.type == type)
			return true;
	}
	return false;
}

void sink_take(struct peer *p, uint16_t type)
{
	do {
		if (!take_data(p, 0))
			tap_bail("the data channel has ended");
	} while (p->data[0].type != type);
}

static void *ask_final(void *arg)
{
	return (void *)(long)ferry_session_final(((struct peer *)arg)->s);
}

void sink_until(struct peer *p, enum kvm_ferry_state state)
{
	void *err;

	sink_connect(p, 0);
	if (!sink_serve(p, W_PASS))
		tap_bail("no PASS came: %s", ferry_session_error(p->s));
	if (state == KVM_FERRY_STATE_LIVE)
		return;
	pthread_create(&p->final, NULL, ask_final, p);
	if (!sink_serve(p, W_FINAL))
		tap_bail("no FINAL came: %s", ferry_session_error(p->s));
	if (state == KVM_FERRY_STATE_FINAL)
		return;
	if (!sink_serve(p, W_PAUSED))
		tap_bail("no PAUSED came: %s", ferry_session_error(p->s));
	pthread_join(p->final, &err);
	if (err)
		tap_bail("FINAL failed: %s", ferry_session_error(p->s));
}

static void *ask_commit(void *arg)
{
	return (void *)(long)ferry_session_commit(((struct peer *)arg)->s);
}

void sink_until_commit(struct peer *p)
{
	sink_until(p, KVM_FERRY_STATE_PAUSED);
	if (ferry_session_send_state(p->s, "state", 5, true))
		tap_bail("state: %s", ferry_session_error(p->s));
	do {
		if (!sink_serve(p, W_STATE))
			tap_bail("no state came: %s", ferry_session_error(p->s));
	} while (!p->control.body[0]);
	wire_send(&p->control, W_READY, NULL, 0);
	pthread_create(&p->commit, NULL, ask_commit, p);
	if (wire_recv(&p->control) != W_COMMIT)
		tap_bail("no COMMIT came: %s", ferry_session_error(p->s));
}

void source_until_ready(struct peer *p)
{
	uint8_t body[16] = {}, bytes[16];
	bool last = false;

	source_connect(p);
	wire_send(&p->control, W_FINAL, body, body_pass(body, 1, 0));
	source_pass(p, 1);
	wire_send(&p->control, W_PAUSED, NULL, 0);
	put32(body, 1);
	put32(body + 4, 2);
	memcpy(body + 8, "st", 2);
	wire_send(&p->control, W_STATE, body, 10);
	await_state(ferry_session_fd(p->s), KVM_FERRY_STATE_PAUSED);
	/* The bytes may be there a moment before the mark of the last. */
	do {
		if (ferry_session_recv_state(p->s, bytes, sizeof(bytes), &last) < 0)
			tap_bail("state: %s", ferry_session_error(p->s));
	} while (!last);
	pthread_create(&p->commit, NULL, ask_commit, p);
	if (wire_recv(&p->control) != W_READY)
		tap_bail("no READY came: %s", ferry_session_error(p->s));
}

long peer_commit(struct peer *p)
{
	void *err;

	pthread_join(p->commit, &err);
	return (long)err;
}
