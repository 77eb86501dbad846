// SPDX-License-Identifier: GPL-2.0-only
/* Channels: which transports there are, adding, shutting down, freeing. */
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "session.h"

static DEFINE_SPINLOCK(transports_lock);	/* protects: transports */
static const struct ferry_transport_ops *transports[] = {
	[KVM_FERRY_TRANSPORT_TCP] = &ferry_tcp_ops,
	[KVM_FERRY_TRANSPORT_LOOP] = &ferry_loop_ops,
	[KVM_FERRY_TRANSPORT_RDMA] = NULL,	/* comes with its module */
	[KVM_FERRY_TRANSPORT_OWN] = NULL,	/* the same, if there is one */
};

int ferry_transport_register(const struct ferry_transport_ops *ops)
{
	int ret = -EEXIST;

	if (ops->type >= ARRAY_SIZE(transports))
		return -EINVAL;
	spin_lock(&transports_lock);
	if (!transports[ops->type]) {
		transports[ops->type] = ops;
		ret = 0;
	}
	spin_unlock(&transports_lock);
	return ret;
}
EXPORT_SYMBOL_NS_GPL(ferry_transport_register, FERRY_NS);

void ferry_transport_unregister(const struct ferry_transport_ops *ops)
{
	spin_lock(&transports_lock);
	if (transports[ops->type] == ops)
		transports[ops->type] = NULL;
	spin_unlock(&transports_lock);
}
EXPORT_SYMBOL_NS_GPL(ferry_transport_unregister, FERRY_NS);

static const struct ferry_transport_ops *find_transport(u32 type)
{
	const struct ferry_transport_ops *ops;

	spin_lock(&transports_lock);
	ops = type < ARRAY_SIZE(transports) ? transports[type] : NULL;
	if (ops && !try_module_get(ops->owner))
		ops = NULL;
	spin_unlock(&transports_lock);
	return ops;
}

/* With a reference of its module, which is loaded if it is not yet. */
static const struct ferry_transport_ops *get_transport(u32 type)
{
	const struct ferry_transport_ops *ops = find_transport(type);

	if (ops || type >= ARRAY_SIZE(transports))
		return ops;
	request_module("kvm-ferry-transport-%u", type);
	return find_transport(type);
}

u64 ferry_transports(void)
{
	u64 bits = 0;
	u32 i;

	spin_lock(&transports_lock);
	for (i = 0; i < ARRAY_SIZE(transports); i++)
		if (transports[i])
			bits |= BIT_ULL(i);
	spin_unlock(&transports_lock);
	return bits;
}

static void channel_free(struct ferry_channel *ch)
{
	kvfree(ch->tx_buf);
	kvfree(ch->rx_buf);
	kfree(ch);
}

static struct ferry_channel *channel_alloc(struct ferry_session *s,
					   const struct ferry_transport_ops *ops, u32 kind)
{
	struct ferry_channel *ch = kzalloc(ops->channel_size, GFP_KERNEL_ACCOUNT);

	if (!ch)
		return NULL;
	ch->session = s;
	ch->ops = ops;
	ch->kind = kind;
	mutex_init(&ch->tx_lock);
	ch->tx_buf = kvmalloc(FERRY_WIRE_HEADER_LEN + FERRY_WIRE_MAX_BODY, GFP_KERNEL_ACCOUNT);
	ch->rx_buf = kvmalloc(FERRY_WIRE_MAX_BODY, GFP_KERNEL_ACCOUNT);
	if (ch->tx_buf && ch->rx_buf)
		return ch;
	channel_free(ch);
	return NULL;
}

static int check_channel_locked(struct ferry_session *s, const struct kvm_ferry_channel_add *arg,
				struct ferry_reason *why)
{
	lockdep_assert_held(&s->setup_lock);
	if (ferry_session_ended(s))
		return ferry_because(why, -ESHUTDOWN, "the session has ended");
	if (ferry_session_state(s) != KVM_FERRY_STATE_SETUP)
		return ferry_because(why, -EBUSY, "channels can be added before START only");
	if (arg->kind > KVM_FERRY_CHANNEL_DATA)
		return ferry_because(why, -EOPNOTSUPP, "channel kind %u is neither control nor data", arg->kind);
	if (arg->kind == KVM_FERRY_CHANNEL_CONTROL && s->control)
		return ferry_because(why, -EEXIST, "the session has a control channel already");
	if (arg->kind == KVM_FERRY_CHANNEL_DATA && s->nr_data == KVM_FERRY_MAX_DATA_CHANNELS)
		return ferry_because(why, -ENOSPC, "a session has at most %u data channels",
				     KVM_FERRY_MAX_DATA_CHANNELS);
	return 0;
}

/* Opens the channel and, if one is passed, the TCP socket that it falls back to. */
static int open_both_locked(struct ferry_channel *ch, const struct kvm_ferry_channel_add *arg,
			    struct ferry_reason *why)
{
	struct ferry_session *s = ch->session;
	struct ferry_channel *other = NULL;
	int ret;

	lockdep_assert_held(&s->setup_lock);
	if (ch->ops->type == KVM_FERRY_TRANSPORT_RDMA && arg->fd != -1) {
		other = channel_alloc(s, &ferry_tcp_ops, arg->kind);
		if (!other)
			return ferry_because(why, -ENOMEM, "no memory for a channel");
		ret = other->ops->open(other, arg, why);
		if (ret) {
			channel_free(other);
			return ret;
		}
	}
	ret = ch->ops->open(ch, arg, why);
	if (ret && other) {
		other->ops->free(other);
		channel_free(other);
	}
	if (ret)
		return ret;
	ch->tentative = other || (ch->ops->connect && ferry_session_is_source(s));
	if (other) {
		__module_get(other->ops->owner);
		other->tentative = true;
		ch->other = other;
		other->other = ch;
	}
	return 0;
}

struct ferry_channel *ferry_channel_fall_back(struct ferry_channel *ch,
					      const struct ferry_reason *why)
{
	struct ferry_session *s = ch->session;
	struct ferry_channel *to = ch->other;

	if (!to || ferry_session_ended(s)) {
		ferry_session_fail(s, why->error, "data channel %u: %s", ch->index, why->text);
		return NULL;
	}
	ferry_session_note(s, "data channel %u goes over TCP: %s", ch->index, why->text);
	to->taken_before = to->ops->taken(to);
	WRITE_ONCE(to->tentative, false);
	WRITE_ONCE(s->data[ch->index], to);
	return to;
}

bool ferry_channel_claim(struct ferry_channel *ch)
{
	struct ferry_session *s = ch->session;
	/* The one that was added; the other one, TCP, has nothing to connect. */
	struct ferry_channel *first = ch->ops->connect ? ch : ch->other;

	if (!ch->other)
		return true;
	if (cmpxchg(&first->claimed, NULL, ch))
		return false;
	WRITE_ONCE(ch->tentative, false);
	WRITE_ONCE(s->data[ch->index], ch);
	return true;
}

int ferry_channel_add(struct ferry_session *s, struct kvm_ferry_channel_add *arg,
		      struct ferry_reason *why)
{
	const struct ferry_transport_ops *ops;
	struct ferry_channel *ch;
	int ret;

	/* Before the lock: loading a module takes as long as it likes. */
	ops = get_transport(arg->transport);
	if (!ops)
		return arg->transport == KVM_FERRY_TRANSPORT_RDMA ?
		       ferry_because(why, -EOPNOTSUPP, "RDMA is not at hand: kvm_ferry_rdma.ko cannot be loaded") :
		       ferry_because(why, -EOPNOTSUPP, "transport %u is not at hand: see KVM_FERRY_INFO",
				     arg->transport);
	mutex_lock(&s->setup_lock);
	ret = check_channel_locked(s, arg, why);
	if (ret)
		goto out;
	ch = channel_alloc(s, ops, arg->kind);
	if (!ch) {
		ret = ferry_because(why, -ENOMEM, "no memory for a channel");
		goto out;
	}
	ret = open_both_locked(ch, arg, why);
	if (ret) {
		channel_free(ch);
		goto out;
	}
	if (arg->kind == KVM_FERRY_CHANNEL_CONTROL) {
		WRITE_ONCE(s->control, ch);
	} else {
		ch->index = s->nr_data;
		if (ch->other)
			ch->other->index = ch->index;
		s->data[ch->index] = ch;
		/* Pairs with the readers that run while channels may be added. */
		smp_store_release(&s->nr_data, s->nr_data + 1);
	}
out:
	mutex_unlock(&s->setup_lock);
	if (ret)
		module_put(ops->owner);
	return ret;
}

/*
 * Data channels go first: what they hold queued is guest memory. What was said
 * on the control channel is left to arrive.
 */
void ferry_channels_shutdown(struct ferry_session *s, bool purge)
{
	struct ferry_channel *control = READ_ONCE(s->control);
	u32 i, nr = ferry_session_nr_data(s);

	for (i = 0; i < nr; i++) {
		struct ferry_channel *ch = READ_ONCE(s->data[i]);

		ch->ops->shutdown(ch, purge);
		if (ch->other)
			ch->other->ops->shutdown(ch->other, purge);
	}
	if (control)
		control->ops->shutdown(control, false);
}

static void channel_stop(struct ferry_channel *ch)
{
	if (!ch->task)
		return;
	kthread_stop(ch->task);
	put_task_struct(ch->task);
	ch->task = NULL;
}

static void channel_destroy(struct ferry_channel *ch)
{
	struct module *owner = ch->ops->owner;

	ch->ops->free(ch);
	channel_free(ch);
	module_put(owner);
}

/* The tasks of all channels use each other's: none is freed before all are stopped. */
void ferry_channels_destroy(struct ferry_session *s)
{
	u32 i;

	for (i = 0; i < s->nr_data; i++) {
		/* Its task may put the other one in its place. */
		struct ferry_channel *ch = READ_ONCE(s->data[i]);

		channel_stop(ch);
		if (ch->other)
			channel_stop(ch->other);
	}
	if (s->control)
		channel_stop(s->control);
	flush_work(&s->end_work);
	while (s->nr_data) {
		struct ferry_channel *ch = s->data[--s->nr_data];

		if (ch->other)
			channel_destroy(ch->other);
		channel_destroy(ch);
	}
	if (s->control)
		channel_destroy(s->control);
	s->control = NULL;
}
