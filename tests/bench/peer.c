// SPDX-License-Identifier: GPL-2.0
/*
 * The peer: the best userspace sender that one would write today. It maps the
 * VM's dirty ring, harvests it, resets, and sends contiguous pages in as few
 * iovecs as they take, straight out of guest memory, over as many connections
 * as asked for, with a thread each; zero pages are looked for and only told.
 * The receiver reads straight into place.
 *
 * On a connection: struct head, its extents, their page data; again and again.
 * A head without extents ends it; the receiver answers it with a byte.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <linux/errqueue.h>

#include "bench.h"

#define MAX_BATCH	256
#define SEND_BUFFER	(4 << 20)	/* as ours */

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY	60
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY	0x4000000
#endif

struct head {
	uint32_t nr_extents;
	uint32_t nr_pages;
};

struct extent {
	uint64_t pfn;
	uint32_t nr_pages;
	uint32_t zero;
};

/**
 * struct sender - a connection and its thread
 * @src: what to send
 * @mode: how
 * @map: dirty pages
 * @index: of the connection: its blocks are those that are index modulo channels
 * @fd: the connection
 * @extents: of the batch that is being filled
 * @iov: its page data; iov[0] is not used by zero pages
 * @nr_extents: in @extents
 * @nr_iov: in @iov
 * @nr_pages: with data
 * @sent: pages, in all
 */
struct sender {
	const struct source *src;
	const struct mode *mode;
	const uint64_t *map;
	unsigned int index;
	int fd;
	struct extent extents[MAX_BATCH * 2];
	struct iovec iov[MAX_BATCH];
	unsigned int nr_extents;
	unsigned int nr_iov;
	unsigned int nr_pages;
	uint64_t sent;
};

/* The kernel keeps a note of each MSG_ZEROCOPY until it is read. */
static void reap(struct sender *s)
{
	char control[256];

	for (;;) {
		struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };

		if (recvmsg(s->fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return;
	}
}

static void wait_for_notes(struct sender *s)
{
	struct pollfd pfd = { .fd = s->fd };	/* POLLERR always counts */

	poll(&pfd, 1, 1000);
	reap(s);
}

static void send_pages(struct sender *s)
{
	struct msghdr msg = { .msg_iov = s->iov, .msg_iovlen = s->nr_iov };
	size_t left = s->nr_pages * PAGE;
	int flags = MSG_NOSIGNAL | (s->mode->zerocopy ? MSG_ZEROCOPY : 0);

	while (left) {
		ssize_t n = sendmsg(s->fd, &msg, flags);

		if (n < 0 && errno == ENOBUFS && s->mode->zerocopy) {
			wait_for_notes(s);
			continue;
		}
		if (n < 0)
			die("sendmsg: %s", strerror(errno));
		left -= n;
		while (n && (size_t)n >= msg.msg_iov->iov_len) {
			n -= msg.msg_iov->iov_len;
			msg.msg_iov++;
			msg.msg_iovlen--;
		}
		if (n) {
			msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + n;
			msg.msg_iov->iov_len -= n;
		}
	}
	if (s->mode->zerocopy)
		reap(s);
}

static void flush(struct sender *s)
{
	struct head h = { .nr_extents = s->nr_extents, .nr_pages = s->nr_pages };
	struct iovec iov[2] = {
		{ &h, sizeof(h) },
		{ s->extents, s->nr_extents * sizeof(s->extents[0]) },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (!s->nr_extents)
		return;
	/* Never zero-copy: the extents are written anew for the next batch. */
	if (sendmsg(s->fd, &msg, MSG_NOSIGNAL | (s->nr_pages ? MSG_MORE : 0)) !=
	    (ssize_t)(iov[0].iov_len + iov[1].iov_len))
		die("sendmsg of a header: %s", strerror(errno));
	send_pages(s);
	s->sent += s->nr_pages;
	s->nr_extents = 0;
	s->nr_iov = 0;
	s->nr_pages = 0;
}

/* As much care as ours takes: three words tell nearly every page. */
static bool is_zero(const uint64_t *p)
{
	unsigned int i;

	if (p[0] || p[255] || p[511])
		return false;
	for (i = 0; i < PAGE / sizeof(*p); i++)
		if (p[i])
			return false;
	return true;
}

static void add_page(struct sender *s, uint64_t pfn)
{
	uint8_t *page = s->src->mem + pfn * PAGE;
	bool zero = is_zero((uint64_t *)page);
	struct extent *e = s->nr_extents ? &s->extents[s->nr_extents - 1] : NULL;
	struct iovec *v = s->nr_iov ? &s->iov[s->nr_iov - 1] : NULL;

	if (e && e->zero == zero && e->pfn + e->nr_pages == pfn)
		e->nr_pages++;
	else
		s->extents[s->nr_extents++] = (struct extent){ pfn, 1, zero };
	if (!zero) {
		if (v && (uint8_t *)v->iov_base + v->iov_len == page)
			v->iov_len += PAGE;
		else
			s->iov[s->nr_iov++] = (struct iovec){ page, PAGE };
		s->nr_pages++;
	}
	if (s->nr_pages == s->mode->iovecs || s->nr_extents == MAX_BATCH * 2)
		flush(s);
}

static void *send_main(void *arg)
{
	uint64_t pages, words, block, i;
	struct sender *s = arg;
	struct head last = { 0 };
	char answer;

	pages = s->src->bytes / PAGE;
	for (block = s->index; block * BLOCK_PAGES < pages; block += s->mode->channels) {
		words = (block + 1) * BLOCK_PAGES / 64;
		if (words > pages / 64)
			words = pages / 64;
		for (i = block * BLOCK_PAGES / 64; i < words; i++) {
			uint64_t bits = s->map[i];

			while (bits) {
				add_page(s, i * 64 + __builtin_ctzll(bits));
				bits &= bits - 1;
			}
		}
	}
	flush(s);
	send_all(s->fd, &last, sizeof(last));
	recv_all(s->fd, &answer, 1);
	if (s->mode->zerocopy)
		reap(s);
	return NULL;
}

static void set_up(struct sender *s)
{
	int buffer = SEND_BUFFER / 2, one = 1;	/* the kernel doubles it */

	setsockopt(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
	if (s->mode->zerocopy && setsockopt(s->fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		die("SO_ZEROCOPY: %s", strerror(errno));
}

/* What is dirty: what the ring says, or all. */
static uint64_t *dirty_map(const struct source *src, struct figures *f)
{
	uint64_t *map = calloc(src->bytes / PAGE / 64, sizeof(*map)), begin = now_ns(), middle;

	if (!map)
		die("no memory");
	if (!src->vm) {
		memset(map, 0xff, src->bytes / PAGE / 8);
		return map;
	}
	f->entries = vm_harvest(src->vm, map);
	middle = now_ns();
	vm_reset(src->vm, f->entries);
	f->harvest_ns = middle - begin;
	f->reset_ns = now_ns() - middle;
	/* The guest never writes its first pages: they go along, as with ours. */
	map[0] |= (1ULL << FIRST_PAGE) - 1;
	return map;
}

void peer_send(const struct source *src, const struct mode *m, int master, struct figures *f)
{
	struct sender *senders = calloc(m->channels, sizeof(*senders));
	pthread_t threads[MAX_THREADS];
	uint64_t *map, cpu;
	unsigned int i;
	char ready;

	for (i = 0; i < m->channels; i++) {
		senders[i].src = src;
		senders[i].mode = m;
		senders[i].index = i;
		senders[i].fd = tcp_connect(src->host, src->port);
		set_up(&senders[i]);
	}
	recv_all(master, &ready, 1);
	cpu = busy_ns();
	f->begin = now_ns();
	map = dirty_map(src, f);
	for (i = 0; i < m->channels; i++) {
		senders[i].map = map;
		if (pthread_create(&threads[i], NULL, send_main, &senders[i]))
			die("no thread");
	}
	for (i = 0; i < m->channels; i++)
		pthread_join(threads[i], NULL);
	f->end = now_ns();
	f->cpu = busy_ns() - cpu;
	for (i = 0; i < m->channels; i++) {
		f->sent += senders[i].sent;
		close(senders[i].fd);
	}
	free(map);
	free(senders);
}

/**
 * struct receiver - a connection and its thread
 * @fd: the connection
 * @mem: memory
 * @pages: of it
 */
struct receiver {
	int fd;
	uint8_t *mem;
	uint64_t pages;
};

static void read_pages(int fd, struct iovec *iov, unsigned int nr)
{
	while (nr) {
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = nr };
		ssize_t n = recvmsg(fd, &msg, MSG_WAITALL);

		if (n <= 0)
			die("recvmsg: %s", n ? strerror(errno) : "closed");
		while (nr && (size_t)n >= iov->iov_len) {
			n -= iov->iov_len;
			iov++;
			nr--;
		}
		if (n) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= n;
		}
	}
}

static void *receive_main(void *arg)
{
	struct receiver *r = arg;
	struct extent extents[MAX_BATCH * 2];
	struct iovec iov[MAX_BATCH];
	struct head h;

	for (;;) {
		unsigned int i, nr = 0;

		recv_all(r->fd, &h, sizeof(h));
		if (!h.nr_extents)
			break;
		if (h.nr_extents > MAX_BATCH * 2 || h.nr_pages > MAX_BATCH)
			die("a bad header");
		recv_all(r->fd, extents, h.nr_extents * sizeof(extents[0]));
		for (i = 0; i < h.nr_extents; i++) {
			struct extent *e = &extents[i];

			if (e->pfn + e->nr_pages > r->pages)
				die("a bad extent");
			if (e->zero)
				memset(r->mem + e->pfn * PAGE, 0, e->nr_pages * PAGE);
			else
				iov[nr++] = (struct iovec){ r->mem + e->pfn * PAGE,
							    e->nr_pages * PAGE };
		}
		read_pages(r->fd, iov, nr);
	}
	send_all(r->fd, "", 1);
	close(r->fd);
	return NULL;
}

void peer_receive(int listener, const struct order *o, void *mem, int master)
{
	struct receiver receivers[MAX_THREADS];
	pthread_t threads[MAX_THREADS];
	unsigned int i;

	for (i = 0; i < o->channels; i++) {
		receivers[i] = (struct receiver){ tcp_accept(listener), mem, o->bytes / PAGE };
		if (pthread_create(&threads[i], NULL, receive_main, &receivers[i]))
			die("no thread");
	}
	send_all(master, "", 1);
	for (i = 0; i < o->channels; i++)
		pthread_join(threads[i], NULL);
}
