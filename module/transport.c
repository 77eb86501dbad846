// SPDX-License-Identifier: GPL-2.0-only
/* Channels: which transports there are, adding, shutting down, freeing. */
#include <linux/kthread.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "session.h"

static const struct ferry_transport_ops *const transports[] = {
	[KVM_FERRY_TRANSPORT_TCP] = &ferry_tcp_ops,
	[KVM_FERRY_TRANSPORT_LOOP] = &ferry_loop_ops,
};

u64 ferry_transports(void)
{
	u64 bits = 0;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(transports); i++)
		if (transports[i])
			bits |= BIT_ULL(i);
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
	if (arg->transport >= ARRAY_SIZE(transports) || !transports[arg->transport])
		return ferry_because(why, -EOPNOTSUPP, "transport %u is not at hand: see KVM_FERRY_INFO",
				     arg->transport);
	if (arg->kind == KVM_FERRY_CHANNEL_CONTROL && s->control)
		return ferry_because(why, -EEXIST, "the session has a control channel already");
	if (arg->kind == KVM_FERRY_CHANNEL_DATA && s->nr_data == KVM_FERRY_MAX_DATA_CHANNELS)
		return ferry_because(why, -ENOSPC, "a session has at most %u data channels",
				     KVM_FERRY_MAX_DATA_CHANNELS);
	return 0;
}

int ferry_channel_add(struct ferry_session *s, struct kvm_ferry_channel_add *arg,
		      struct ferry_reason *why)
{
	struct ferry_channel *ch;
	int ret;

	mutex_lock(&s->setup_lock);
	ret = check_channel_locked(s, arg, why);
	if (ret)
		goto out;
	ch = channel_alloc(s, transports[arg->transport], arg->kind);
	if (!ch) {
		ret = ferry_because(why, -ENOMEM, "no memory for a channel");
		goto out;
	}
	ret = ch->ops->open(ch, arg, why);
	if (ret) {
		channel_free(ch);
		goto out;
	}
	if (arg->kind == KVM_FERRY_CHANNEL_CONTROL) {
		WRITE_ONCE(s->control, ch);
	} else {
		ch->index = s->nr_data;
		s->data[ch->index] = ch;
		/* Pairs with the readers that run while channels may be added. */
		smp_store_release(&s->nr_data, s->nr_data + 1);
	}
out:
	mutex_unlock(&s->setup_lock);
	return ret;
}

/*
 * Data channels go first: what they hold queued is guest memory. What was said
 * on the control channel is left to arrive.
 */
void ferry_channels_shutdown(struct ferry_session *s, bool purge)
{
	struct ferry_channel *control = READ_ONCE(s->control);
	/* Pairs with ferry_channel_add(). */
	u32 i, nr = smp_load_acquire(&s->nr_data);

	for (i = 0; i < nr; i++)
		s->data[i]->ops->shutdown(s->data[i], purge);
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
	ch->ops->free(ch);
	channel_free(ch);
}

/* The tasks of all channels use each other's: none is freed before all are stopped. */
void ferry_channels_destroy(struct ferry_session *s)
{
	u32 i;

	for (i = 0; i < s->nr_data; i++)
		channel_stop(s->data[i]);
	if (s->control)
		channel_stop(s->control);
	flush_work(&s->end_work);
	while (s->nr_data)
		channel_destroy(s->data[--s->nr_data]);
	if (s->control)
		channel_destroy(s->control);
	s->control = NULL;
}
