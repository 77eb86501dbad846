// SPDX-License-Identifier: GPL-2.0-only
/*
 * The transport "tcp": a connected socket that user space handed over.
 *
 * Page data is spliced: the socket takes page references and reads the guest's
 * memory when it sends, or sends again. What the guest writes meanwhile may
 * travel, which is harmless: the page was published, so the write is logged and
 * sent again later, on the same connection.
 *
 * sk_sndbuf bounds what is queued, so it bounds the references held; notsent_lowat
 * bounds, by the link's rate, what of it was not sent yet.
 */
#include <linux/file.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <net/inet_connection_sock.h>
#include <net/sock.h>
#include <net/tcp.h>
#if IS_ENABLED(CONFIG_TLS)
#include <net/tls.h>
#endif

#include "compat.h"
#include "limits.h"
#include "session.h"

/* Sockets of all sessions: a socket used twice would mix two streams. */
static DEFINE_MUTEX(used_lock);
static LIST_HEAD(used);

/**
 * struct tcp_channel - a channel over a TCP socket
 * @ch: the channel
 * @sock: the socket, held by its file's reference
 * @node: in used, under used_lock
 */
struct tcp_channel {
	struct ferry_channel ch;
	struct socket *sock;
	struct list_head node;
};

static struct tcp_channel *to_tcp(struct ferry_channel *ch)
{
	return container_of(ch, struct tcp_channel, ch);
}

/* Retransmits under TLS_TX_ZEROCOPY_RO encrypt the page again: it must not have changed. */
static bool tls_needs_constant_pages(struct sock *sk)
{
	bool yes = false;
#if IS_ENABLED(CONFIG_TLS)
	const struct tcp_ulp_ops *ulp;

	lock_sock(sk);
	ulp = inet_csk(sk)->icsk_ulp_ops;
	if (ulp && !strcmp(ulp->name, "tls"))
		yes = tls_get_ctx(sk)->zerocopy_sendfile;
	release_sock(sk);
#endif
	return yes;
}

static int check_socket(struct socket *sock, struct ferry_reason *why)
{
	struct sock *sk = sock->sk;

	if ((sk->sk_family != AF_INET && sk->sk_family != AF_INET6) || sk->sk_type != SOCK_STREAM ||
	    sk->sk_protocol != IPPROTO_TCP)
		return ferry_because(why, -EPROTONOSUPPORT, "the socket is not TCP over IPv4 or IPv6");
	if (READ_ONCE(sk->sk_state) != TCP_ESTABLISHED)
		return ferry_because(why, -ENOTCONN, "the socket is not connected, or its peer has closed it");
	if (tls_needs_constant_pages(sk))
		return ferry_because(why, -EOPNOTSUPP, "the socket has TLS_TX_ZEROCOPY_RO, which needs pages that do not change: turn it off");
	return 0;
}

static int claim(struct tcp_channel *t, struct ferry_reason *why)
{
	struct tcp_channel *other;
	int ret = 0;

	mutex_lock(&used_lock);
	list_for_each_entry(other, &used, node)
		if (other->sock->sk == t->sock->sk)
			ret = ferry_because(why, -EEXIST, "the socket was added to a session already");
	if (!ret)
		list_add(&t->node, &used);
	mutex_unlock(&used_lock);
	return ret;
}

static int tcp_open(struct ferry_channel *ch, const struct kvm_ferry_channel_add *arg,
		    struct ferry_reason *why)
{
	struct tcp_channel *t = to_tcp(ch);
	int ret;

	if (arg->key)
		return ferry_because(why, -EINVAL, "key must be 0 for a TCP channel");
	t->sock = sockfd_lookup(arg->fd, &ret);
	if (!t->sock)
		return ferry_because(why, ret, ret == -ENOTSOCK ? "fd %d is not a socket" : "fd %d is not open",
				     arg->fd);
	ret = check_socket(t->sock, why);
	if (!ret)
		ret = claim(t, why);
	if (ret)
		sockfd_put(t->sock);
	return ret;
}

static void tcp_start(struct ferry_channel *ch)
{
	struct ferry_session *s = ch->session;
	struct sock *sk = to_tcp(ch)->sock->sk;
	long timeout = nsecs_to_jiffies(s->peer_silence_ns) ?: 1;

	lock_sock(sk);
	WRITE_ONCE(sk->sk_sndtimeo, timeout);
	WRITE_ONCE(sk->sk_rcvtimeo, timeout);
	if (ch->kind == KVM_FERRY_CHANNEL_DATA && ferry_session_is_source(s)) {
		sk->sk_userlocks |= SOCK_SNDBUF_LOCK;
		WRITE_ONCE(sk->sk_sndbuf, (int)s->inflight_bytes);
	}
	release_sock(sk);
	tcp_sock_set_nodelay(sk);
}

static u64 tcp_taken(struct ferry_channel *ch)
{
	return READ_ONCE(tcp_sk(to_tcp(ch)->sock->sk)->bytes_acked);
}

/*
 * EAGAIN after sndtimeo: there was no room for that long. A socket makes room
 * when much of it was taken, so who takes little by little is waited for again.
 */
static int send_error(struct ferry_channel *ch, int ret, u64 *taken)
{
	u64 now = tcp_taken(ch);

	if (ret != -EAGAIN)
		return ret;
	if (now == *taken || READ_ONCE(ch->hurry) || ferry_session_ended(ch->session))
		return -ETIMEDOUT;
	*taken = now;
	return 0;
}

static int send_head(struct ferry_channel *ch, const void *head, size_t len, int flags, u64 *taken)
{
	struct socket *sock = to_tcp(ch)->sock;

	while (len) {
		struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | flags };
		struct kvec vec = { .iov_base = (void *)head, .iov_len = len };
		int ret = kernel_sendmsg(sock, &msg, &vec, 1, len);

		if (ret < 0) {
			ret = send_error(ch, ret, taken);
			if (ret)
				return ret;
			continue;
		}
		head += ret;
		len -= ret;
	}
	return 0;
}

/* Drops from the front of the vector what was sent. */
static void bvec_skip(struct bio_vec **bv, unsigned int *nr, size_t bytes)
{
	while (bytes && bytes >= (*bv)->bv_len) {
		bytes -= (*bv)->bv_len;
		(*bv)++;
		(*nr)--;
	}
	if (bytes) {
		(*bv)->bv_offset += bytes;
		(*bv)->bv_len -= bytes;
	}
}

static int tcp_send(struct ferry_channel *ch, const void *head, size_t len,
		    struct bio_vec *bv, unsigned int nr, size_t bytes)
{
	struct socket *sock = to_tcp(ch)->sock;
	int flags = (bytes ? MSG_MORE : 0) | (READ_ONCE(ch->hurry) ? MSG_DONTWAIT : 0);
	u64 taken = tcp_taken(ch);
	int ret;

	WRITE_ONCE(ch->tx_left, bytes);
	if (bytes)
		WRITE_ONCE(tcp_sk(sock->sk)->notsent_lowat, (u32)ferry_queue_bytes(ch->session));
	ret = send_head(ch, head, len, flags, &taken);
	while (!ret && bytes) {
		int sent = ferry_sock_splice(sock, bv, nr, bytes, MSG_NOSIGNAL);

		if (sent <= 0) {
			ret = sent ? send_error(ch, sent, &taken) : -EPIPE;
			continue;
		}
		bytes -= sent;
		WRITE_ONCE(ch->tx_left, bytes);
		bvec_skip(&bv, &nr, sent);
	}
	return ret;
}

static int tcp_recv(struct ferry_channel *ch, struct iov_iter *to, bool idle)
{
	struct socket *sock = to_tcp(ch)->sock;

	while (iov_iter_count(to)) {
		struct msghdr msg = { .msg_flags = MSG_WAITALL | MSG_NOSIGNAL, .msg_iter = *to };
		size_t want = iov_iter_count(to);
		int ret = sock_recvmsg(sock, &msg, msg.msg_flags);

		if (ret == -EAGAIN && idle && !ferry_session_ended(ch->session))
			continue;
		if (ret == -EAGAIN)
			return -ETIMEDOUT;
		if (ret <= 0)
			return ret ? ret : -EPIPE;
		/* The peer has begun: from here on it must go on. */
		idle = false;
		iov_iter_advance(to, min_t(size_t, ret, want));
	}
	return 0;
}

static int tcp_broken(struct ferry_channel *ch)
{
	return READ_ONCE(to_tcp(ch)->sock->sk->sk_state) == TCP_ESTABLISHED ? 0 : -EPIPE;
}

static u64 tcp_queued(struct ferry_channel *ch)
{
	const struct tcp_sock *tp = tcp_sk(to_tcp(ch)->sock->sk);
	u32 una = READ_ONCE(tp->snd_una);

	/* Read later: it is never behind. */
	return (u32)(READ_ONCE(tp->write_seq) - una);
}

static bool tcp_untaken(struct ferry_channel *ch)
{
	return tcp_queued(ch);
}

static bool tcp_full(struct ferry_channel *ch)
{
	return !sk_stream_memory_free(to_tcp(ch)->sock->sk);
}

static void tcp_channel_shutdown(struct ferry_channel *ch, bool purge)
{
	struct socket *sock = to_tcp(ch)->sock;

	/* A plain close would keep queued guest pages until TCP gives up. */
	if (purge)
		tcp_abort(sock->sk, ECONNABORTED);
	else
		kernel_sock_shutdown(sock, SHUT_RDWR);
}

static void tcp_free(struct ferry_channel *ch)
{
	struct tcp_channel *t = to_tcp(ch);

	mutex_lock(&used_lock);
	list_del(&t->node);
	mutex_unlock(&used_lock);
	sockfd_put(t->sock);
}

const struct ferry_transport_ops ferry_tcp_ops = {
	.owner = THIS_MODULE,
	.name = "tcp",
	.type = KVM_FERRY_TRANSPORT_TCP,
	.channel_size = sizeof(struct tcp_channel),
	.open = tcp_open,
	.start = tcp_start,
	.send = tcp_send,
	.recv = tcp_recv,
	.broken = tcp_broken,
	.taken = tcp_taken,
	.queued = tcp_queued,
	.untaken = tcp_untaken,
	.full = tcp_full,
	.shutdown = tcp_channel_shutdown,
	.free = tcp_free,
};
/* A transport of one's own may stand on it. */
EXPORT_SYMBOL_NS_GPL(ferry_tcp_ops, FERRY_NS);
