// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sink: listening, and whom it lets in. The session's token in the connection
 * request says which session it is for.
 *
 * A sink's data channels that name the same address share a listener; the
 * request says which channel it is for. A request may come before HELLO has told
 * the token: it waits, with few others. Whoever is refused is told why, and the
 * session goes on waiting for its own.
 */
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/nsproxy.h>
#include <linux/slab.h>
#include <rdma/ib_cm.h>
#include <crypto/algapi.h>	/* crypto_memneq() */

#include "rdma.h"

#define MAX_REQUESTS	64	/* of a listener, that wait for the token */

static DEFINE_MUTEX(listeners_lock);	/* protects: listeners, rdma_listener.refs */
static LIST_HEAD(listeners);

/**
 * struct rdma_request - a connection request that waits to be looked at
 * @context: of its id
 * @node: in rdma_listener.requests; alone: the receiver has it
 * @listener: where it came in
 * @id: of the connection
 * @index: data channel that it is for
 * @nr_channels: that the peer has
 * @token: that it has
 */
struct rdma_request {
	struct rdma_context context;
	struct list_head node;
	struct rdma_listener *listener;
	struct rdma_cm_id *id;
	u16 index;
	u16 nr_channels;
	u8 token[FERRY_WIRE_TOKEN_LEN];
};

static void refuse(struct rdma_cm_id *id, u32 why)
{
	u8 data[FERRY_RDMA_REFUSAL_LEN];

	rdma_reject(id, data, ferry_rdma_put_refusal(data, why), IB_CM_REJ_CONSUMER_DEFINED);
}

/* A request came in. Non-zero: the connection manager destroys its id. */
static int request_event(struct rdma_listener *l, struct rdma_cm_id *id,
			 const struct rdma_cm_event *event)
{
	const struct rdma_conn_param *p = &event->param.conn;
	struct ferry_session *s = l->session;
	struct ferry_rdma_request m;
	struct rdma_channel *rc;
	struct rdma_request *r;
	u32 refusal = 0;
	const char *why;

	if (ferry_rdma_get_request(p->private_data, p->private_data_len, &m, &why)) {
		refuse(id, FERRY_RDMA_REFUSED_FORM);
		return -EPROTO;
	}
	r = kzalloc(sizeof(*r), GFP_KERNEL);
	if (!r) {
		refuse(id, FERRY_RDMA_REFUSED_ENDED);
		return -ENOMEM;
	}
	r->context.kind = RDMA_CONTEXT_REQUEST;
	r->listener = l;
	r->id = id;
	memcpy(r->token, m.token, sizeof(r->token));
	r->index = m.index;
	r->nr_channels = m.nr_channels;
	spin_lock(&l->lock);
	rc = m.index < ARRAY_SIZE(l->channels) ? l->channels[m.index] : NULL;
	/* Pairs with ferry_sink_hello(). Who is a stranger must not take the others' room. */
	if (smp_load_acquire(&s->hello_seen) &&
	    crypto_memneq(m.token, s->token, sizeof(m.token)))
		refusal = FERRY_RDMA_REFUSED_TOKEN;
	else if (!rc && (m.index >= ARRAY_SIZE(l->channels) || s->hello_seen))
		refusal = FERRY_RDMA_REFUSED_INDEX;
	else if (rc && READ_ONCE(rc->accepted))
		refusal = FERRY_RDMA_REFUSED_TAKEN;
	else if (ferry_session_ended(s) || l->nr_requests == MAX_REQUESTS)
		refusal = FERRY_RDMA_REFUSED_ENDED;
	if (!refusal) {
		id->context = &r->context;
		list_add_tail(&r->node, &l->requests);
		l->nr_requests++;
		wake_up_all(&s->wait);
	}
	spin_unlock(&l->lock);
	if (!refusal)
		return 0;
	refuse(id, refusal);
	kfree(r);
	return -ECONNREFUSED;
}

int rdma_listener_event(struct rdma_listener *l, struct rdma_cm_id *id,
			  const struct rdma_cm_event *event)
{
	if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST)
		return request_event(l, id, event);
	/* Whoever takes the id destroys it: here the connection manager does. */
	if (event->event == RDMA_CM_EVENT_DEVICE_REMOVAL && xchg(&l->id, NULL))
		return -ENODEV;
	return 0;
}

/* Whoever waits has gone, or its device. */
int rdma_waiting_event(struct rdma_context *context)
{
	struct rdma_request *r = container_of(context, struct rdma_request, context);
	struct rdma_listener *l = r->listener;
	bool waited;

	spin_lock(&l->lock);
	waited = !list_empty(&r->node);
	l->nr_requests -= waited;
	list_del_init(&r->node);
	spin_unlock(&l->lock);
	if (!waited)
		return 0;	/* the receiver has it, and will see */
	kfree(r);
	return -ECONNABORTED;
}

static __be16 *port_of(struct sockaddr_storage *addr)
{
	return addr->ss_family == AF_INET ? &((struct sockaddr_in *)addr)->sin_port :
					    &((struct sockaddr_in6 *)addr)->sin6_port;
}

static struct rdma_listener *find_listener(struct rdma_channel *rc)
{
	struct rdma_listener *l;

	lockdep_assert_held(&listeners_lock);
	list_for_each_entry(l, &listeners, node)
		if (l->session == rc->ch.session && !memcmp(&l->addr, &rc->addr, sizeof(l->addr)))
			return l;
	return NULL;
}

static struct rdma_listener *make_listener(struct rdma_channel *rc, struct ferry_reason *why)
{
	struct rdma_listener *l = kzalloc(sizeof(*l), GFP_KERNEL_ACCOUNT);
	char text[64];
	int ret;

	lockdep_assert_held(&listeners_lock);
	if (!l) {
		ferry_because(why, -ENOMEM, "no memory for a listener");
		return ERR_PTR(-ENOMEM);
	}
	l->context.kind = RDMA_CONTEXT_LISTENER;
	l->session = rc->ch.session;
	spin_lock_init(&l->lock);
	INIT_LIST_HEAD(&l->requests);
	l->id = __rdma_create_kernel_id(current->nsproxy->net_ns, rdma_event, &l->context, RDMA_PS_TCP,
					IB_QPT_RC, KBUILD_MODNAME);
	ret = PTR_ERR_OR_ZERO(l->id);
	if (ret) {
		ferry_because(why, ret, "the RDMA connection manager gives no id (%d)", ret);
		goto err;
	}
	ret = rdma_bind_addr(l->id, (struct sockaddr *)&rc->addr);
	if (!ret)
		ret = rdma_listen(l->id, KVM_FERRY_MAX_DATA_CHANNELS);
	if (ret) {
		ferry_because(why, ret, ret == -ENODEV || ret == -EADDRNOTAVAIL ?
			      "no RDMA device has the address %s (%d)" : "cannot listen on %s (%d)",
			      rdma_addr_text(text, sizeof(text), &rc->addr), ret);
		rdma_destroy_id(l->id);
		goto err;
	}
	/* If the port was 0 it is known now. */
	*port_of(&rc->addr) = *port_of(&l->id->route.addr.src_addr);
	l->addr = rc->addr;
	list_add(&l->node, &listeners);
	return l;
err:
	kfree(l);
	return ERR_PTR(ret);
}

int rdma_listen_for(struct rdma_channel *rc, struct ferry_reason *why)
{
	struct rdma_listener *l;
	u32 index = rc->ch.session->nr_data;

	mutex_lock(&listeners_lock);
	l = find_listener(rc);
	if (!l)
		l = make_listener(rc, why);
	if (!IS_ERR(l)) {
		l->refs++;
		rc->listener = l;
		spin_lock(&l->lock);
		l->channels[index] = rc;
		spin_unlock(&l->lock);
	}
	mutex_unlock(&listeners_lock);
	return PTR_ERR_OR_ZERO(l);
}

static void drop_request(struct rdma_request *r, u32 why)
{
	refuse(r->id, why);
	rdma_destroy_id(r->id);
	kfree(r);
}

/* The next request for data channel @index or one that there is not; -1: any. */
static struct rdma_request *next_request(struct rdma_listener *l, int index)
{
	struct rdma_request *r, *found = NULL;

	spin_lock(&l->lock);
	list_for_each_entry(r, &l->requests, node) {
		if (index >= 0 && r->index != index && l->channels[r->index])
			continue;
		found = r;
		list_del_init(&r->node);
		l->nr_requests--;
		break;
	}
	spin_unlock(&l->lock);
	return found;
}

void rdma_unlisten(struct rdma_channel *rc)
{
	struct rdma_listener *l = rc->listener;
	struct rdma_request *r;
	struct rdma_cm_id *id;
	u32 i;

	if (!l)
		return;
	rc->listener = NULL;
	spin_lock(&l->lock);
	for (i = 0; i < ARRAY_SIZE(l->channels); i++)
		if (l->channels[i] == rc)
			l->channels[i] = NULL;
	spin_unlock(&l->lock);
	mutex_lock(&listeners_lock);
	if (!--l->refs) {
		list_del(&l->node);
		id = xchg(&l->id, NULL);
		if (id)
			rdma_destroy_id(id);
		/* None comes any more. */
		while ((r = next_request(l, -1)))
			drop_request(r, FERRY_RDMA_REFUSED_ENDED);
		kfree(l);
	}
	mutex_unlock(&listeners_lock);
}

/* Takes the connection; the id is the channel's from here on, whatever comes of it. */
static int accept(struct rdma_channel *rc, struct rdma_cm_id *id)
{
	struct ferry_rdma_reply m = { .version = FERRY_RDMA_VERSION };
	u8 data[FERRY_RDMA_REPLY_LEN];
	struct rdma_conn_param p = {
		.private_data = data, .retry_count = RDMA_RETRIES, .rnr_retry_count = RDMA_RETRIES,
	};
	u32 fast = id->device->attrs.max_fast_reg_page_list_len;
	int ret;

	if (!(id->device->attrs.device_cap_flags & IB_DEVICE_MEM_MGT_EXTENSIONS) || !fast)
		return -EOPNOTSUPP;
	rc->sink.serial = id->device->ops.driver_id == RDMA_DRIVER_RXE;
	ret = rdma_bound_pinning(rc);
	if (ret)
		return ret;
	/* Ahead of need they are as large as they may be; otherwise they are of a batch. */
	rc->sink.window_pages = min_t(u32, fast, rc->sink.whole ? FERRY_RDMA_WINDOW_PAGES :
								  FERRY_WIRE_MAX_BATCH_PAGES);
	m.window_pages = rc->sink.window_pages;
	m.pinned_pages = rc->sink.pinned_pages;
	m.whole = rc->sink.whole;
	p.private_data_len = ferry_rdma_put_reply(data, &m);
	mutex_lock(&rc->lock);
	ret = rdma_setup_locked(rc, id);
	mutex_unlock(&rc->lock);
	return ret ?: rdma_accept(id, &p);
}

/* A request, once there is a token to compare its own with. */
static struct rdma_request *knowing_request(struct rdma_channel *rc)
{
	/* Pairs with ferry_sink_hello(): the token is there. */
	return smp_load_acquire(&rc->ch.session->hello_seen) ?
		next_request(rc->listener, rc->ch.index) : NULL;
}

int rdma_sink_accept(struct rdma_channel *rc)
{
	struct ferry_session *s = rc->ch.session;
	struct rdma_request *r = NULL;
	struct rdma_cm_id *id;
	int ret;

	for (;;) {
		wait_event_idle(s->wait, ferry_session_ended(s) || (r = knowing_request(rc)));
		if (!r)
			return -ESHUTDOWN;
		if (crypto_memneq(r->token, s->token, sizeof(r->token)))
			drop_request(r, FERRY_RDMA_REFUSED_TOKEN);
		else if (r->nr_channels != s->nr_data || r->index != rc->ch.index)
			drop_request(r, FERRY_RDMA_REFUSED_INDEX);
		else
			break;
		r = NULL;
	}
	id = r->id;
	rdma_lock_handler(id);
	id->context = &rc->context;
	kfree(r);
	/* From here on rdma_teardown() destroys it. */
	mutex_lock(&rc->lock);
	rc->id = id;
	mutex_unlock(&rc->lock);
	WRITE_ONCE(rc->accepted, true);
	ret = accept(rc, id);
	/* So that a source that can fall back does so at once. */
	if (ret && rc->ch.tentative)
		refuse(id, FERRY_RDMA_REFUSED_ENDED);
	rdma_unlock_handler(id);
	while ((r = next_request(rc->listener, rc->ch.index)))
		drop_request(r, FERRY_RDMA_REFUSED_TAKEN);
	if (ret && !rc->ch.tentative)
		ferry_session_fail(s, ret, ret == -EOPNOTSUPP ?
				   "data channel %u: the RDMA device cannot register memory fast, or has too small queues (%d)" :
				   "data channel %u: the RDMA connection could not be accepted (%d)",
				   rc->ch.index, ret);
	return ret;
}
