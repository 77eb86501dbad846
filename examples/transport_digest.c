// SPDX-License-Identifier: GPL-2.0-only
/*
 * A transport: TCP, with a digest of all that it carries.
 *
 * TCP's checksum has 16 bits and is often made by the network card: what breaks behind it
 * arrives unnoticed. Here the stream is cut into pieces of at most 64 KiB, each behind
 * its length and its xxh64. A wrong one ends the session, and the guest stays.
 * A digest needs bytes that stay as they are, which pages of a running guest do not: so they are
 * copied first. That is what it costs, beside the digest.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/xxhash.h>

#include "session.h"

#define PIECE	(64 << 10)

/* What is ours of a channel lies behind what is TCP's, which is allocated with it. */
#define OURS	ALIGN(ferry_tcp_ops.channel_size, sizeof(u64))

struct piece {
	__le64 digest;
	__le32 length;
	u8 bytes[PIECE];
} __packed;

#define PIECE_HEAD	offsetof(struct piece, bytes)

/**
 * struct digest_channel - what a channel has beside TCP's
 * @tx: the piece that is being filled
 * @rx: the piece that came last
 * @at: bytes of it that were given on
 * @end: bytes in it
 */
struct digest_channel {
	struct piece *tx;
	struct piece *rx;
	u32 at;
	u32 end;
};

static struct ferry_transport_ops ops;

static struct digest_channel *ours(struct ferry_channel *ch)
{
	return (void *)ch + OURS;
}

static int digest_open(struct ferry_channel *ch, const struct kvm_ferry_channel_add *arg,
		       struct ferry_reason *why)
{
	struct digest_channel *d = ours(ch);
	int ret = -ENOMEM;

	d->tx = kvmalloc(sizeof(*d->tx), GFP_KERNEL_ACCOUNT);
	d->rx = kvmalloc(sizeof(*d->rx), GFP_KERNEL_ACCOUNT);
	if (d->tx && d->rx)
		ret = ferry_tcp_ops.open(ch, arg, why);
	if (!ret)
		return 0;
	kvfree(d->tx);
	kvfree(d->rx);
	return ret;
}

/* Sends what is in the piece, if it is full or @last. */
static int send_piece(struct ferry_channel *ch, u32 *length, bool last)
{
	struct piece *p = ours(ch)->tx;
	u32 n = *length;

	if (!n || (n < PIECE && !last))
		return 0;
	p->digest = cpu_to_le64(xxh64(p->bytes, n, 0));
	p->length = cpu_to_le32(n);
	*length = 0;
	return ferry_tcp_ops.send(ch, p, PIECE_HEAD + n, NULL, 0, 0);
}

static int digest_send(struct ferry_channel *ch, const void *head, size_t len,
		       struct bio_vec *bv, unsigned int nr, size_t bytes)
{
	struct kvec vec = { .iov_base = (void *)head, .iov_len = len };
	struct iov_iter from[2];
	u32 length = 0;
	int i, ret = 0;

	iov_iter_kvec(&from[0], ITER_SOURCE, &vec, 1, len);
	iov_iter_bvec(&from[1], ITER_SOURCE, bv, nr, bytes);
	for (i = 0; i < 2; i++) {
		while (!ret && iov_iter_count(&from[i])) {
			size_t n = min_t(size_t, PIECE - length, iov_iter_count(&from[i]));

			if (copy_from_iter(ours(ch)->tx->bytes + length, n, &from[i]) != n)
				return -EFAULT;
			length += n;
			ret = send_piece(ch, &length, false);
		}
	}
	return ret ? ret : send_piece(ch, &length, true);
}

static int recv_bytes(struct ferry_channel *ch, void *to, size_t len, bool idle)
{
	struct kvec vec = { .iov_base = to, .iov_len = len };
	struct iov_iter iter;

	iov_iter_kvec(&iter, ITER_DEST, &vec, 1, len);
	return ferry_tcp_ops.recv(ch, &iter, idle);
}

/* The peer may say what it likes: nothing is believed. */
static int recv_piece(struct ferry_channel *ch, bool idle)
{
	struct digest_channel *d = ours(ch);
	u32 length;
	int ret;

	ret = recv_bytes(ch, d->rx, PIECE_HEAD, idle);
	if (ret)
		return ret;
	length = le32_to_cpu(d->rx->length);
	if (!length || length > PIECE) {
		ferry_session_fail(ch->session, -EPROTO, "data channel %u: a piece of %u bytes: is the peer's channel of this transport, too?",
				   ch->index, length);
		return -EPROTO;
	}
	ret = recv_bytes(ch, d->rx->bytes, length, false);
	if (ret)
		return ret;
	if (le64_to_cpu(d->rx->digest) != xxh64(d->rx->bytes, length, 0)) {
		ferry_session_fail(ch->session, -EBADMSG, "data channel %u: what came is not what was sent: look at network cards and memory",
				   ch->index);
		return -EBADMSG;
	}
	d->at = 0;
	d->end = length;
	return 0;
}

static int digest_recv(struct ferry_channel *ch, struct iov_iter *to, bool idle)
{
	struct digest_channel *d = ours(ch);

	while (iov_iter_count(to)) {
		int ret = d->at == d->end ? recv_piece(ch, idle) : 0;
		size_t n;

		if (ret)
			return ret;
		n = min_t(size_t, d->end - d->at, iov_iter_count(to));
		if (copy_to_iter(d->rx->bytes + d->at, n, to) != n)
			return -EFAULT;
		d->at += n;
		idle = false;
	}
	return 0;
}

static void digest_free(struct ferry_channel *ch)
{
	ferry_tcp_ops.free(ch);
	kvfree(ours(ch)->tx);
	kvfree(ours(ch)->rx);
}

/* All that is not named here is TCP's own. */
static int __init digest_init(void)
{
	ops = ferry_tcp_ops;
	ops.owner = THIS_MODULE;
	ops.name = "tcp-digest";
	ops.type = KVM_FERRY_TRANSPORT_OWN;
	ops.channel_size = OURS + sizeof(struct digest_channel);
	ops.open = digest_open;
	ops.send = digest_send;
	ops.recv = digest_recv;
	ops.free = digest_free;
	return ferry_transport_register(&ops);
}

static void __exit digest_exit(void)
{
	ferry_transport_unregister(&ops);
}

module_init(digest_init);
module_exit(digest_exit);

MODULE_DESCRIPTION("kvm-ferry example: a transport over TCP that digests what it carries");
MODULE_AUTHOR("The kvm-ferry developers");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(FERRY_NS);
MODULE_ALIAS("kvm-ferry-transport-3");
