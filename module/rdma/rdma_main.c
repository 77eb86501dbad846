// SPDX-License-Identifier: GPL-2.0-only
/* The transport "rdma", a module of its own: it loads when a channel asks for it. */
#include <linux/module.h>
#include <linux/slab.h>

#include "../ioctl.h"
#include "rdma.h"

static void gone(struct work_struct *work)
{
	struct rdma_channel *rc = container_of(work, struct rdma_channel, gone);

	ferry_session_fail(rc->ch.session, -ENODEV, "data channel %u: the RDMA device was removed",
			   rc->ch.index);
	rdma_teardown(rc);
}

void rdma_init(struct rdma_channel *rc)
{
	rc->context.kind = RDMA_CONTEXT_CHANNEL;
	mutex_init(&rc->down);
	mutex_init(&rc->lock);
	spin_lock_init(&rc->rx_lock);
	init_waitqueue_head(&rc->wait);
	INIT_WORK(&rc->gone, gone);
	INIT_LIST_HEAD(&rc->received);
	INIT_LIST_HEAD(&rc->notes);
	INIT_LIST_HEAD(&rc->sends);
	INIT_LIST_HEAD(&rc->posted);
	INIT_LIST_HEAD(&rc->source.fifo);
	INIT_LIST_HEAD(&rc->sink.spare);
	xa_init(&rc->source.blocks);
	xa_init_flags(&rc->source.windows, XA_FLAGS_ALLOC1);
	xa_init(&rc->sink.windows);
}

static void rdma_start(struct ferry_channel *ch)
{
	/* What the session's limits mean for it is asked when it connects. */
}

static int rdma_send(struct ferry_channel *ch, const void *head, size_t len, struct bio_vec *bv,
		     unsigned int nr, size_t bytes)
{
	return rdma_source_send(to_rdma(ch), head, len, bv, nr, bytes);
}

static int rdma_recv(struct ferry_channel *ch, struct iov_iter *to, bool idle)
{
	return rdma_sink_recv(to_rdma(ch), to, idle);
}

static int rdma_connect_channel(struct ferry_channel *ch, struct ferry_reason *why)
{
	return rdma_source_connect(to_rdma(ch), why);
}

static int rdma_broken(struct ferry_channel *ch)
{
	struct rdma_channel *rc = to_rdma(ch);

	return READ_ONCE(rc->sealed) ? 0 : READ_ONCE(rc->error);
}

static u64 rdma_taken(struct ferry_channel *ch)
{
	return READ_ONCE(to_rdma(ch)->taken);
}

static u64 rdma_queued(struct ferry_channel *ch)
{
	return READ_ONCE(to_rdma(ch)->queued);
}

static bool rdma_untaken(struct ferry_channel *ch)
{
	return rdma_queued(ch);
}

static void rdma_seal(struct ferry_channel *ch)
{
	rdma_sink_seal(to_rdma(ch));
}

/* Never waits for the network: the connection manager tells the peer in its own time. */
static void rdma_shutdown(struct ferry_channel *ch, bool purge)
{
	struct rdma_channel *rc = to_rdma(ch);

	rdma_broke(rc, -ESHUTDOWN);
	mutex_lock(&rc->lock);
	if (rc->id)
		rdma_disconnect(rc->id);
	mutex_unlock(&rc->lock);
}

static void rdma_free(struct ferry_channel *ch)
{
	struct rdma_channel *rc = to_rdma(ch);

	rdma_unlisten(rc);
	rdma_teardown(rc);
	/* Its id is destroyed, so nobody queues it again. */
	cancel_work_sync(&rc->gone);
	rdma_source_free(rc);
}

static const struct ferry_transport_ops ops = {
	.owner = THIS_MODULE,
	.name = "rdma",
	.type = KVM_FERRY_TRANSPORT_RDMA,
	.one_sided = true,
	.channel_size = sizeof(struct rdma_channel),
	.open = rdma_open,
	.start = rdma_start,
	.connect = rdma_connect_channel,
	.send = rdma_send,
	.recv = rdma_recv,
	.broken = rdma_broken,
	.taken = rdma_taken,
	.queued = rdma_queued,
	.untaken = rdma_untaken,
	.seal = rdma_seal,
	.shutdown = rdma_shutdown,
	.free = rdma_free,
};

static int __init rdma_module_init(void)
{
	return ferry_transport_register(&ops);
}

static void __exit rdma_module_exit(void)
{
	ferry_transport_unregister(&ops);
}

module_init(rdma_module_init);
module_exit(rdma_module_exit);

MODULE_DESCRIPTION("RDMA transport of kvm-ferry");
MODULE_AUTHOR("The kvm-ferry developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(FERRY_RELEASE);
MODULE_IMPORT_NS(FERRY_NS);
MODULE_ALIAS("kvm-ferry-transport-2");
