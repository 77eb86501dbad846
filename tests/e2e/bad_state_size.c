// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_wire.c,bad_call.c,pair.c,tap.c timeout=120
 *
 * VMM state may have 256 MiB: both sides take as much, and no byte more.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bad_call.h"
#include "bad_wire.h"
#include "tap.h"

#define CHUNK	32768
#define BODY	(8 + CHUNK)

static void *take_all_state(void *s)
{
	static uint8_t piece[1 << 20];
	bool last = false;

	while (!last && ferry_session_recv_state(s, piece, sizeof(piece), &last) > 0)
		;
	return NULL;
}

/* A STATE message from a file, so that at least this side need not copy it. */
static bool send_chunk(struct wire *w, int file)
{
	uint8_t head[16];
	off_t at = 0;

	wire_head(head, W_STATE, BODY, w->tx++);
	if (send(w->fd, head, sizeof(head), MSG_NOSIGNAL | MSG_MORE) != sizeof(head))
		return false;
	while (at < BODY)
		if (sendfile(w->fd, file, &at, BODY - at) <= 0)
			return false;
	return true;
}

static void to_a_sink(void)
{
	uint8_t body[16], head[8] = {};
	static struct peer p;
	pthread_t thread;
	uint64_t sent = 0;
	int file;

	peer_open(&p, KVM_FERRY_SINK, 1, 20000, false);
	peer_start(&p);
	source_connect(&p);
	wire_send(&p.control, W_FINAL, body, body_pass(body, 1, 0));
	source_pass(&p, 1);
	wire_send(&p.control, W_PAUSED, NULL, 0);
	await_state(ferry_session_fd(p.s), KVM_FERRY_STATE_PAUSED);
	file = memfd_create("state", 0);
	put32(head + 4, CHUNK);
	if (file < 0 || ftruncate(file, BODY) || pwrite(file, head, sizeof(head), 0) != sizeof(head))
		tap_bail("no file: %s", strerror(errno));
	pthread_create(&thread, NULL, take_all_state, p.s);
	while (sent < KVM_FERRY_MAX_STATE_BYTES && send_chunk(&p.control, file))
		sent += CHUNK;
	tap_check(sent == KVM_FERRY_MAX_STATE_BYTES &&
		  poll_until(pair_stats(p.s).out_state_bytes == sent ||
			     ferry_state_ended(pair_stats(p.s).out_state)) &&
		  pair_stats(p.s).out_state == KVM_FERRY_STATE_PAUSED, "a sink takes 256 MiB of state");
	send_chunk(&p.control, file);
	failed_with(ferry_session_fd(p.s), EPROTO, "more VMM state than 256 MiB", "and no more");
	pthread_join(thread, NULL);
	close(file);
	peer_close(&p);
}

static void from_a_source(void)
{
	struct kvm_ferry_state_io io = { .size = sizeof(io), .length = KVM_FERRY_MAX_STATE_BYTES + 1 };
	static struct peer p;
	int fd;

	peer_open(&p, KVM_FERRY_SOURCE, 1, 20000, false);
	peer_start(&p);
	sink_until(&p, KVM_FERRY_STATE_PAUSED);
	fd = ferry_session_fd(p.s);
	refused(fd, KVM_FERRY_STATE_SEND, &io, EFBIG, "256 MiB", "a piece of more than 256 MiB");
	io.length = 4096;
	io.data = (uintptr_t)p.mem;
	taken(fd, KVM_FERRY_STATE_SEND, &io, "a first piece");
	io.length = KVM_FERRY_MAX_STATE_BYTES - 4095;
	refused(fd, KVM_FERRY_STATE_SEND, &io, EFBIG, "256 MiB", "a second piece that is too much with the first");
	io.length = 0;
	refused(fd, KVM_FERRY_STATE_SEND, &io, EINVAL, "length is 0", "an empty piece that is not the last");
	io.length = 4096;
	io.data = 4096;
	refused(fd, KVM_FERRY_STATE_SEND, &io, EFAULT, "cannot be read", "a piece from nowhere");
	peer_close(&p);
}

int main(void)
{
	from_a_source();
	to_a_sink();
	return tap_done();
}
