/* SPDX-License-Identifier: LGPL-2.1-only */
/*
 * libferry: the connections of a migration, as plain TCP, and as RDMA where the hosts
 * have it. A VMM that makes its own needs only ferry_session_add_socket(). Included by
 * ferry.h.
 */
#ifndef FERRY_CONNECT_H
#define FERRY_CONNECT_H

#include "ferry.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct ferry_sockets - the connections of one migration
 * @control: the control channel's socket, -1: none
 * @data: the data channels' sockets, in order; with RDMA -1 each
 * @nr_data: how many data channels
 * @rdma_port: 0: they are TCP. Else the sessions make them, by RDMA, between the
 *	addresses of @control: where the sink listens or, at the sink, is to listen;
 *	and @data are -1, or what they fall back to
 */
struct ferry_sockets {
	int control;
	int data[KVM_FERRY_MAX_DATA_CHANNELS];
	unsigned int nr_data;
	unsigned int rdma_port;
};

/**
 * ferry_connect - connect the sockets of a migration, at the source
 * @out: gets the sockets, TCP_NODELAY set, close-on-exec, blocking
 * @host: name or address
 * @port: number or service name
 * @nr_data: data channels, 1 to 16
 * @timeout_ms: for all of them together; -1: the system's own
 *
 * Return: 0; -EHOSTUNREACH also for a name that cannot be resolved;
 * -ETIMEDOUT; what connect(2) gives.
 */
int ferry_connect(struct ferry_sockets *out, const char *host, const char *port,
		  unsigned int nr_data, int timeout_ms);

/*
 * As ferry_connect(), for data channels that are RDMA: makes the control connection only,
 * and waits until the session of ferry_accept_rdma() there listens. RDMA is not encrypted,
 * whatever is done to @control. -ECONNREFUSED also if the sink has no RDMA there; -EPIPE,
 * -EPROTO: what listens does not know it. The second makes sockets to fall back to, too:
 * each channel that RDMA cannot connect is one. @rdma_port 0 then: ferry_error() says why all.
 */
int ferry_connect_rdma(struct ferry_sockets *out, const char *host, const char *port,
		       unsigned int nr_data, int timeout_ms);
int ferry_connect_rdma_or_tcp(struct ferry_sockets *out, const char *host, const char *port,
			      unsigned int nr_data, int timeout_ms);

/*
 * Listen for a migration, at the sink. @host NULL or "": at all addresses, IPv6 and
 * IPv4; @port: number or service name, "0": any free one, see getsockname(2).
 * Return: a listening socket, close-on-exec, or a negative errno.
 */
int ferry_listen(const char *host, const char *port);

/**
 * ferry_accept - accept the connections of one migration and tell them apart
 * @out: gets the sockets, blocking, close-on-exec, with nothing read from them
 * @listen_fd: a listening TCP socket
 * @nr_data: how many data channels there must be; 0: as many as the peer says
 * @timeout_ms: for all of them together; -1: for ever
 *
 * Reads nothing, and closes what does not belong to it. Return: 0; -ETIMEDOUT;
 * -EINTR: a signal, nothing is kept. ferry_error() tells what the last connection
 * that was turned away had wrong.
 */
int ferry_accept(struct ferry_sockets *out, int listen_fd, unsigned int nr_data, int timeout_ms);

/*
 * As ferry_accept(), of ferry_connect_rdma(), which waits for ferry_session_add_sockets();
 * and of all that connects in any of the three ways.
 */
int ferry_accept_rdma(struct ferry_sockets *out, int listen_fd, unsigned int nr_data,
		      int timeout_ms);
int ferry_accept_rdma_or_tcp(struct ferry_sockets *out, int listen_fd, unsigned int nr_data,
			     int timeout_ms);

/*
 * The same for VMMs that make the control connection, @fd, themselves; see
 * ferry_connect(3). Source: offer @nr_data channels, and wait. Sink: take the offer,
 * @timeout_ms 0 just looks (-ETIMEDOUT: no word yet); then add @out, or refuse.
 */
int ferry_offer_rdma(struct ferry_sockets *out, int fd, unsigned int nr_data, int timeout_ms);
int ferry_take_offer(struct ferry_sockets *out, int fd, int timeout_ms);
void ferry_refuse_offer(int fd, const char *words);

/* Close them all and set them to -1. */
void ferry_sockets_close(struct ferry_sockets *socks);

/*
 * Add control and data channels to @s. The sockets stay open here. With an
 * @rdma_port a sink listens where the control connection came in, at another port
 * if that one is taken, and tells the source at which, or why it does not.
 */
int ferry_session_add_sockets(struct ferry_session *s, const struct ferry_sockets *socks);

/* Bytes of a connection's first message that tell which channel it is. */
#define FERRY_PEEK_LEN	96

/**
 * struct ferry_first_message - what a connection's first message says
 * @kind: KVM_FERRY_CHANNEL_CONTROL or KVM_FERRY_CHANNEL_DATA
 * @index: DATA: which data channel, from 0
 * @nr_data: how many data channels the peer has
 * @version_min: CONTROL: oldest wire version that the peer speaks
 * @version: CONTROL: newest one
 * @token: says which connections belong together
 */
struct ferry_first_message {
	enum kvm_ferry_channel_kind kind;
	unsigned int index;
	unsigned int nr_data;
	unsigned int version_min;
	unsigned int version;
	uint8_t token[16];
};

/**
 * ferry_classify - understand the first bytes of a connection
 * @bytes: as peeked; untrusted
 * @length: how many there are so far
 * @out: filled in on success
 * @why: may be NULL; on -EPROTO set to a static phrase that names the fault
 *
 * Return: 0; -EAGAIN: right so far, more bytes are needed (at most
 * FERRY_PEEK_LEN); -EPROTO: this is no kvm-ferry source.
 */
int ferry_classify(const void *bytes, size_t length, struct ferry_first_message *out,
		   const char **why);

#ifdef __cplusplus
}
#endif

#endif /* FERRY_CONNECT_H */
