// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finding each other: the sink listens (rdma_listen.c), the source connects, and
 * the connection manager tells both of what becomes of it.
 *
 * Lock order: the connection manager's handler lock -> rdma_channel.lock and
 * rdma_listener.lock. So no id is connected, accepted or destroyed under those.
 */
#include <linux/cred.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/nsproxy.h>
#include <linux/uaccess.h>
#include <rdma/ib_cm.h>

#include "rdma.h"

#define RESOLVE_MS	5000	/* an address or a route: what RDMA programs allow */

const char *rdma_addr_text(char *buf, size_t room, const struct sockaddr_storage *addr)
{
	scnprintf(buf, room, "%pISpc", addr);
	return buf;
}

static void established(struct rdma_channel *rc, const struct rdma_cm_event *event)
{
	const struct rdma_conn_param *p = &event->param.conn;
	struct ferry_rdma_reply m;
	const char *why;

	mutex_lock(&rc->lock);
	if (ferry_session_is_source(rc->ch.session)) {
		if (ferry_rdma_get_reply(p->private_data, p->private_data_len, &m, &why)) {
			mutex_unlock(&rc->lock);
			ferry_session_fail(rc->ch.session, -EPROTO, "the peer broke the protocol: %s",
					   why);
			rdma_broke(rc, -EPROTO);
			return;
		}
		rc->source.window_pages = min_t(u32, m.window_pages, FERRY_RDMA_WINDOW_PAGES);
		rc->source.pinned_pages = m.pinned_pages;
		rc->source.ahead = m.whole;
	}
	WRITE_ONCE(rc->up, true);
	rdma_pump_locked(rc);
	mutex_unlock(&rc->lock);
	wake_up_all(&rc->wait);
}

static int channel_event(struct rdma_channel *rc, const struct rdma_cm_event *event)
{
	switch (event->event) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		WRITE_ONCE(rc->step, event->event);
		wake_up_all(&rc->wait);
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
		established(rc, event);
		break;
	case RDMA_CM_EVENT_REJECTED:
		rc->nobody = event->status == IB_CM_REJ_INVALID_SERVICE_ID;
		rc->refusal = ferry_rdma_get_refusal(event->param.conn.private_data,
						     event->param.conn.private_data_len);
		rdma_broke(rc, -ECONNREFUSED);
		break;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
		rdma_broke(rc, event->status < 0 ? event->status : -EHOSTUNREACH);
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		WRITE_ONCE(rc->up, false);
		if (!READ_ONCE(rc->sealed))
			rdma_broke(rc, -EPIPE);
		break;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		rdma_broke(rc, -ENODEV);
		queue_work(system_unbound_wq, &rc->gone);
		break;
	default:
		break;
	}
	return 0;
}

int rdma_event(struct rdma_cm_id *id, struct rdma_cm_event *event)
{
	struct rdma_context *context = id->context;

	switch (context->kind) {
	case RDMA_CONTEXT_LISTENER:
		return rdma_listener_event(container_of(context, struct rdma_listener, context), id, event);
	case RDMA_CONTEXT_REQUEST:
		return rdma_waiting_event(context);
	default:
		return channel_event(container_of(context, struct rdma_channel, context), event);
	}
}

static int read_addr(struct sockaddr_storage *to, u64 from, u32 len, const char *what,
		     struct ferry_reason *why)
{
	memset(to, 0, sizeof(*to));
	if (len != sizeof(struct sockaddr_in) && len != sizeof(struct sockaddr_in6))
		return ferry_because(why, -EINVAL, "%s is neither a sockaddr_in nor a sockaddr_in6", what);
	if (copy_from_user(to, u64_to_user_ptr(from), len))
		return ferry_because(why, -EFAULT, "%s cannot be read", what);
	if (!(to->ss_family == AF_INET && len == sizeof(struct sockaddr_in)) &&
	    !(to->ss_family == AF_INET6 && len == sizeof(struct sockaddr_in6)))
		return ferry_because(why, -EINVAL, "%s is neither IPv4 nor IPv6", what);
	return 0;
}

int rdma_open(struct ferry_channel *ch, const struct kvm_ferry_channel_add *arg,
	      struct ferry_reason *why)
{
	struct rdma_channel *rc = to_rdma(ch);
	struct ferry_session *s = ch->session;
	bool source = ferry_session_is_source(s);
	int ret = 0;

	rdma_init(rc);
	if (ch->kind != KVM_FERRY_CHANNEL_DATA)
		return ferry_because(why, -EOPNOTSUPP, "the control channel cannot be RDMA: pass a TCP socket");
	if (arg->key)
		return ferry_because(why, -EINVAL, "key must be 0 for an RDMA channel");
	if (!source || arg->addr_len)
		ret = read_addr(&rc->addr, arg->addr, arg->addr_len, "addr", why);
	if (ret)
		return ret;
	if (!source) {
		if (arg->peer_len)
			return ferry_because(why, -EINVAL, "a sink listens: peer_len must be 0");
		rc->sink.memlock_pages = capable(CAP_IPC_LOCK) ? U64_MAX / 2 :
						rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
		ret = rdma_listen_for(rc, why);
		if (!ret && copy_to_user(u64_to_user_ptr(arg->addr), &rc->addr, arg->addr_len)) {
			rdma_unlisten(rc);
			ret = ferry_because(why, -EFAULT, "addr cannot be written");
		}
		return ret;
	}
	ret = read_addr(&rc->peer, arg->peer, arg->peer_len, "peer", why);
	if (ret)
		return ret;
	rc->id = __rdma_create_kernel_id(current->nsproxy->net_ns, rdma_event, &rc->context, RDMA_PS_TCP,
					 IB_QPT_RC, KBUILD_MODNAME);
	if (IS_ERR(rc->id)) {
		ret = PTR_ERR(rc->id);
		rc->id = NULL;
		return ferry_because(why, ret, "the RDMA connection manager gives no id (%d)", ret);
	}
	return 0;
}

/*
 * How long a step of connecting may take. A channel with another to fall back to
 * leaves the sink half of the timeout in which it waits for its data channels.
 */
static unsigned int step_ms(const struct rdma_channel *rc, unsigned int most)
{
	u64 timeout = div_u64(rc->ch.session->peer_silence_ns, NSEC_PER_MSEC);

	return rc->ch.other ? min_t(u64, timeout / 6 + 1, most) : most;
}

/* Waits for what the connection manager says next. */
static int wait_step(struct rdma_channel *rc, int step)
{
	if (!wait_event_idle_timeout(rc->wait, READ_ONCE(rc->error) || READ_ONCE(rc->step) == step,
				     msecs_to_jiffies(step_ms(rc, 2 * RESOLVE_MS))))
		return -ETIMEDOUT;
	return READ_ONCE(rc->error);
}

static int resolve(struct rdma_channel *rc, struct rdma_cm_id *id)
{
	struct sockaddr *from = rc->addr.ss_family ? (struct sockaddr *)&rc->addr : NULL;
	int ret;

	/* None of the events: the first of them is 0. */
	rc->step = -1;
	ret = rdma_resolve_addr(id, from, (struct sockaddr *)&rc->peer,
				step_ms(rc, RESOLVE_MS));
	if (!ret)
		ret = wait_step(rc, RDMA_CM_EVENT_ADDR_RESOLVED);
	if (!ret)
		ret = rdma_resolve_route(id, step_ms(rc, RESOLVE_MS));
	return ret ?: wait_step(rc, RDMA_CM_EVENT_ROUTE_RESOLVED);
}

static int connect(struct rdma_channel *rc, struct rdma_cm_id *id)
{
	struct ferry_session *s = rc->ch.session;
	struct ferry_rdma_request m = {
		.version = FERRY_RDMA_VERSION, .index = rc->ch.index, .nr_channels = s->nr_data,
	};
	u8 data[FERRY_RDMA_REQUEST_LEN];
	struct rdma_conn_param p = {
		.private_data = data, .retry_count = RDMA_RETRIES, .rnr_retry_count = RDMA_RETRIES,
	};
	int ret;

	memcpy(m.token, s->token, sizeof(m.token));
	p.private_data_len = ferry_rdma_put_request(data, &m);
	mutex_lock(&rc->lock);
	ret = rdma_setup_locked(rc, id);
	mutex_unlock(&rc->lock);
	if (!ret)
		ret = rdma_connect(id, &p);
	if (ret)
		return ret;
	if (!wait_event_idle_timeout(rc->wait, READ_ONCE(rc->error) || READ_ONCE(rc->up),
				     msecs_to_jiffies(step_ms(rc, div_u64(s->peer_silence_ns, NSEC_PER_MSEC))) ?: 1))
		return -ETIMEDOUT;
	return READ_ONCE(rc->error);
}

int rdma_source_connect(struct rdma_channel *rc, struct ferry_reason *why)
{
	struct rdma_cm_id *id;
	char text[64];
	int ret;

	/* If the device goes meanwhile, rdma_teardown() must not destroy what is used here. */
	mutex_lock(&rc->down);
	id = rc->id;
	ret = id ? resolve(rc, id) : -ENODEV;
	if (!ret)
		ret = connect(rc, id);
	mutex_unlock(&rc->down);
	if (!ret)
		return 0;
	/* A peer that has ended says why on the control channel, which may take longer. */
	if (ret == -ECONNREFUSED && rc->refusal == FERRY_RDMA_REFUSED_ENDED && !rc->ch.other)
		wait_event_timeout(rc->ch.session->wait, ferry_session_ended(rc->ch.session), HZ);
	rdma_addr_text(text, sizeof(text), &rc->peer);
	if (ret == -ECONNREFUSED)
		return ferry_because(why, ret, "%s refused the RDMA connection: %s", text,
				     rc->nobody ? "nobody listens there" : ferry_rdma_refusal_text(rc->refusal));
	if (ret == -ETIMEDOUT)
		return ferry_because(why, ret, "no RDMA connection to %s within the timeout: is the sink's session started, and the port open?",
				     text);
	if (ret == -ENODEV)
		return ferry_because(why, ret, "no RDMA device leads to %s", text);
	if (ret == -EOPNOTSUPP)
		return ferry_because(why, ret, "the RDMA device that leads to %s has too small queues", text);
	return ferry_because(why, ret, "no RDMA connection to %s (%d)", text, ret);
}
