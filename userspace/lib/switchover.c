// SPDX-License-Identifier: LGPL-2.1-only
/*
 * Switchover: the final pass, the VMM's state as a stream, commit, abort.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define PIECE	(256 * 1024)	/* of a state that comes from a callback */

int ferry_session_final(struct ferry_session *s)
{
	struct kvm_ferry_final arg = { .size = sizeof(arg) };

	return ferry_command_restart(s->fd, KVM_FERRY_FINAL, &arg, "send what is left of memory");
}

int ferry_session_commit(struct ferry_session *s)
{
	struct kvm_ferry_commit arg = { .size = sizeof(arg) };

	return ferry_command_restart(s->fd, KVM_FERRY_COMMIT, &arg, "hand the guest over");
}

int ferry_session_abort(struct ferry_session *s)
{
	struct kvm_ferry_abort arg = { .size = sizeof(arg) };

	return ferry_command_restart(s->fd, KVM_FERRY_ABORT, &arg, "abort the session");
}

int ferry_session_send_state(struct ferry_session *s, const void *data, size_t length, bool last)
{
	const char *p = data;
	int ret;

	do {
		struct kvm_ferry_state_io arg = {
			.size = sizeof(arg),
			.flags = last ? KVM_FERRY_STATE_LAST : 0,
			.data = (uintptr_t)p,
			.length = length,
		};

		ret = ferry_command(s->fd, KVM_FERRY_STATE_SEND, &arg, "send the VMM's state");
		if (ret && ret != -EINTR)
			return ret;
		if (arg.out_length > length || (!ret && !arg.out_length && length))
			return ferry_fail(EIO, "the module took %llu bytes of %zu",
					  (unsigned long long)arg.out_length, length);
		p += arg.out_length;
		length -= arg.out_length;
	} while (ret || length);
	return 0;
}

int ferry_session_send_state_from(struct ferry_session *s, ferry_read_fn read, void *opaque)
{
	char *buf = malloc(PIECE);
	ssize_t got;
	int ret;

	if (!buf)
		return ferry_fail(ENOMEM, "out of memory");
	do {
		got = read(opaque, buf, PIECE);
		if (got < 0) {
			ret = ferry_fail((int)-got, "read the VMM's state: %s",
					 strerror((int)-got));
			break;
		}
		ret = ferry_session_send_state(s, buf, got, got == 0);
	} while (!ret && got);
	free(buf);
	return ret;
}

static ssize_t read_fd(void *opaque, void *buf, size_t room)
{
	ssize_t ret;

	do {
		ret = read(*(int *)opaque, buf, room);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

int ferry_session_send_state_fd(struct ferry_session *s, int fd)
{
	return ferry_session_send_state_from(s, read_fd, &fd);
}

ssize_t ferry_session_recv_state(struct ferry_session *s, void *buf, size_t room, bool *last)
{
	struct kvm_ferry_state_io arg;
	int ret;

	if (!room)
		return ferry_fail(EINVAL, "no room to receive the VMM's state in");
	do {
		memset(&arg, 0, sizeof(arg));
		arg.size = sizeof(arg);
		arg.data = (uintptr_t)buf;
		arg.length = room;
		ret = ferry_command(s->fd, KVM_FERRY_STATE_RECV, &arg, "receive the VMM's state");
		/* Interrupted with bytes in hand: they are as good as any. */
	} while (ret == -EINTR && !arg.out_length);
	if (ret && ret != -EINTR)
		return ret;
	if (arg.out_length > room)
		return ferry_fail(EIO, "the module gave more bytes than there was room for");
	*last = arg.out_flags & KVM_FERRY_STATE_LAST;
	if (!arg.out_length && !*last)
		return ferry_fail(EIO, "the module gave no byte and no end of the VMM's state");
	return arg.out_length;
}

int ferry_session_recv_state_to(struct ferry_session *s, ferry_write_fn write, void *opaque)
{
	char *buf = malloc(PIECE);
	bool last = false;
	ssize_t got;
	int ret = 0;

	if (!buf)
		return ferry_fail(ENOMEM, "out of memory");
	while (!ret && !last) {
		got = ferry_session_recv_state(s, buf, PIECE, &last);
		if (got < 0) {
			ret = got;
		} else if (got) {
			ret = write(opaque, buf, got);
			if (ret)
				ferry_fail(-ret, "keep the VMM's state: %s", strerror(-ret));
		}
	}
	free(buf);
	return ret;
}

static int write_fd(void *opaque, const void *data, size_t length)
{
	const char *p = data;
	ssize_t ret;

	while (length) {
		ret = write(*(int *)opaque, p, length);
		if (ret < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += ret;
		length -= ret;
	}
	return 0;
}

int ferry_session_recv_state_fd(struct ferry_session *s, int fd)
{
	return ferry_session_recv_state_to(s, write_fd, &fd);
}

struct gather {
	char *data;
	size_t length;
	size_t room;
};

static int write_memory(void *opaque, const void *data, size_t length)
{
	struct gather *g = opaque;
	char *more;
	size_t room;

	/* The module refuses more itself; this keeps the sum below from wrapping. */
	if (length > KVM_FERRY_MAX_STATE_BYTES - g->length)
		return -EFBIG;
	if (g->length + length > g->room) {
		room = 2 * (g->length + length);
		more = realloc(g->data, room);
		if (!more)
			return -ENOMEM;
		g->data = more;
		g->room = room;
	}
	memcpy(g->data + g->length, data, length);
	g->length += length;
	return 0;
}

int ferry_session_recv_state_all(struct ferry_session *s, void **data, size_t *length)
{
	struct gather g = { 0 };
	int ret;

	*data = NULL;
	*length = 0;
	ret = ferry_session_recv_state_to(s, write_memory, &g);
	if (ret) {
		free(g.data);
		return ret;
	}
	*data = g.data;
	*length = g.length;
	return 0;
}
