// SPDX-License-Identifier: LGPL-2.1-only
/*
 * Sessions: creation, set-up, events, what the VMM reports and fetches.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static int create(struct ferry_device *dev, enum kvm_ferry_role role,
		  enum kvm_ferry_dirty_source dirty, int vm_fd, const char *name,
		  struct ferry_session **out)
{
	struct kvm_ferry_create create = {
		.size = sizeof(create),
		.role = role,
		.dirty_source = dirty,
		.vm_fd = vm_fd,
	};
	struct ferry_session *s;
	int ret;

	s = malloc(sizeof(*s));
	if (!s)
		return ferry_fail(ENOMEM, "out of memory");
	/* For people only: a long name is cut, not refused. */
	if (name)
		snprintf((char *)create.name, sizeof(create.name), "%s", name);
	ret = ferry_command(dev->fd, KVM_FERRY_CREATE, &create, "create a session");
	if (ret) {
		free(s);
		return ret;
	}
	s->fd = create.out_fd;
	s->id = create.out_id;
	s->role = role;
	*out = s;
	return 0;
}

int ferry_source_create(struct ferry_device *dev, int vm_fd, const char *name,
			struct ferry_session **out)
{
	return create(dev, KVM_FERRY_SOURCE, KVM_FERRY_DIRTY_RING, vm_fd, name, out);
}

int ferry_source_create_reporting(struct ferry_device *dev, const char *name,
				  struct ferry_session **out)
{
	return create(dev, KVM_FERRY_SOURCE, KVM_FERRY_DIRTY_REPORT, -1, name, out);
}

int ferry_sink_create(struct ferry_device *dev, const char *name, struct ferry_session **out)
{
	return create(dev, KVM_FERRY_SINK, 0, -1, name, out);
}

void ferry_session_close(struct ferry_session *s)
{
	if (!s)
		return;
	close(s->fd);
	free(s);
}

int ferry_session_fd(const struct ferry_session *s)
{
	return s->fd;
}

uint64_t ferry_session_id(const struct ferry_session *s)
{
	return s->id;
}

enum kvm_ferry_role ferry_session_role(const struct ferry_session *s)
{
	return s->role;
}

int ferry_session_add_region(struct ferry_session *s, uint32_t id, const char *name, void *addr,
			     uint64_t length)
{
	struct kvm_ferry_region_add add = {
		.size = sizeof(add),
		.region_id = id,
		.addr = (uintptr_t)addr,
		.length = length,
	};

	/* Both ends must give the same name, so it is never cut. */
	if (strlen(name) >= sizeof(add.name))
		return ferry_fail(EINVAL, "region name '%s' is longer than %zu characters", name,
				  sizeof(add.name) - 1);
	memcpy(add.name, name, strlen(name));
	return ferry_command(s->fd, KVM_FERRY_REGION_ADD, &add, "add a region");
}

int ferry_session_add_slot(struct ferry_session *s, uint32_t slot, uint32_t region_id,
			   uint64_t offset, uint64_t length)
{
	struct kvm_ferry_slot arg = {
		.size = sizeof(arg),
		.slot = slot,
		.region_id = region_id,
		.offset = offset,
		.length = length,
	};

	return ferry_command(s->fd, KVM_FERRY_SLOT_ADD, &arg, "add a slot map");
}

/*
 * MOVE and REMOVE drain the rings first, and may be interrupted while they do;
 * nothing has changed then, so they are called again.
 */
int ferry_session_move_slot(struct ferry_session *s, uint32_t slot, uint32_t region_id,
			    uint64_t offset, uint64_t length)
{
	struct kvm_ferry_slot arg = {
		.size = sizeof(arg),
		.slot = slot,
		.region_id = region_id,
		.offset = offset,
		.length = length,
	};

	return ferry_command_restart(s->fd, KVM_FERRY_SLOT_MOVE, &arg, "move a slot map");
}

int ferry_session_remove_slot(struct ferry_session *s, uint32_t slot)
{
	struct kvm_ferry_slot arg = { .size = sizeof(arg), .slot = slot };

	return ferry_command_restart(s->fd, KVM_FERRY_SLOT_REMOVE, &arg, "remove a slot map");
}

int ferry_session_add_ring(struct ferry_session *s, uint32_t ring_id, void *addr, uint64_t length,
			   uint32_t fetch_index)
{
	struct kvm_ferry_ring_add add = {
		.size = sizeof(add),
		.ring_id = ring_id,
		.fetch_index = fetch_index,
		.addr = (uintptr_t)addr,
		.length = length,
	};

	return ferry_command(s->fd, KVM_FERRY_RING_ADD, &add, "add a dirty ring");
}

int ferry_session_ring_index(struct ferry_session *s, uint32_t ring_id, uint32_t *fetch_index)
{
	struct kvm_ferry_ring_index arg = { .size = sizeof(arg), .ring_id = ring_id };
	int ret;

	ret = ferry_command_restart(s->fd, KVM_FERRY_RING_INDEX, &arg, "take a dirty ring back");
	if (!ret)
		*fetch_index = arg.out_fetch_index;
	return ret;
}

int ferry_session_wait_ring(struct ferry_session *s, uint32_t ring_id)
{
	struct kvm_ferry_ring_wait arg = { .size = sizeof(arg), .ring_id = ring_id };

	return ferry_command(s->fd, KVM_FERRY_RING_WAIT, &arg, "wait for room in a dirty ring");
}

static int sync_rings(struct ferry_session *s, uint32_t flags, uint64_t *entries)
{
	struct kvm_ferry_ring_sync arg = { .size = sizeof(arg), .flags = flags };
	int ret;

	ret = ferry_command_restart(s->fd, KVM_FERRY_RING_SYNC, &arg, "harvest the dirty rings");
	if (!ret && entries)
		*entries = arg.out_entries;
	return ret;
}

int ferry_session_sync_rings(struct ferry_session *s, uint64_t *entries)
{
	return sync_rings(s, 0, entries);
}

int ferry_session_harvest_rings(struct ferry_session *s, uint64_t *entries)
{
	return sync_rings(s, KVM_FERRY_SYNC_HARVEST, entries);
}

int ferry_session_begin_window(struct ferry_session *s)
{
	return sync_rings(s, KVM_FERRY_SYNC_WINDOW, NULL);
}

static int add_channel(struct ferry_session *s, enum kvm_ferry_channel_kind kind,
		       enum kvm_ferry_transport transport, int fd, uint64_t key)
{
	struct kvm_ferry_channel_add add = {
		.size = sizeof(add),
		.kind = kind,
		.transport = transport,
		.fd = fd,
		.key = key,
	};

	return ferry_command(s->fd, KVM_FERRY_CHANNEL_ADD, &add, "add a channel");
}

int ferry_session_add_socket(struct ferry_session *s, enum kvm_ferry_channel_kind kind, int fd)
{
	return add_channel(s, kind, KVM_FERRY_TRANSPORT_TCP, fd, 0);
}

int ferry_session_add_loop(struct ferry_session *s, enum kvm_ferry_channel_kind kind,
			   uint64_t key)
{
	return add_channel(s, kind, KVM_FERRY_TRANSPORT_LOOP, -1, key);
}

/* The module knows that it has no RDMA, and not what there is to be done about it. */
static int add_rdma(struct ferry_session *s, struct kvm_ferry_channel_add *add, const char *what)
{
	int ret = ferry_command(s->fd, KVM_FERRY_CHANNEL_ADD, add, what);

	if (ret == -EOPNOTSUPP)
		return ferry_fail(EOPNOTSUPP, "%s; 'modprobe kvm_ferry_rdma' tells more, and 'ferryctl check' what is missing",
				  ferry_error());
	return ret;
}

int ferry_session_listen_rdma(struct ferry_session *s, struct sockaddr *addr, unsigned int len,
			      int fallback)
{
	struct kvm_ferry_channel_add add = {
		.size = sizeof(add),
		.kind = KVM_FERRY_CHANNEL_DATA,
		.transport = KVM_FERRY_TRANSPORT_RDMA,
		.fd = fallback,
		.addr = (uintptr_t)addr,
		.addr_len = len,
	};

	return add_rdma(s, &add, "listen for RDMA");
}

int ferry_session_connect_rdma(struct ferry_session *s, const struct sockaddr *peer,
			       unsigned int peer_len, const struct sockaddr *from, unsigned int from_len,
			       int fallback)
{
	struct kvm_ferry_channel_add add = {
		.size = sizeof(add),
		.kind = KVM_FERRY_CHANNEL_DATA,
		.transport = KVM_FERRY_TRANSPORT_RDMA,
		.fd = fallback,
		.addr = (uintptr_t)from,
		.addr_len = from_len,
		.peer = (uintptr_t)peer,
		.peer_len = peer_len,
	};

	return add_rdma(s, &add, "add an RDMA channel");
}

int ferry_session_add_sockets(struct ferry_session *s, const struct ferry_sockets *socks)
{
	unsigned int i;
	int ret;

	if (socks->rdma_port)
		return ferry_rdma_add(s, socks);
	ret = ferry_session_add_socket(s, KVM_FERRY_CHANNEL_CONTROL, socks->control);
	for (i = 0; !ret && i < socks->nr_data; i++)
		ret = ferry_session_add_socket(s, KVM_FERRY_CHANNEL_DATA, socks->data[i]);
	return ret;
}

int ferry_session_limits(struct ferry_session *s, struct kvm_ferry_limits *limits, size_t size)
{
	limits->size = size;
	limits->session_id = 0;
	limits->__reserved = 0;
	return ferry_command(s->fd, KVM_FERRY_LIMITS, limits, "set the session's limits");
}

int ferry_session_start(struct ferry_session *s)
{
	struct kvm_ferry_start start = { .size = sizeof(start) };

	return ferry_command(s->fd, KVM_FERRY_START, &start, "start the session");
}

int ferry_session_measure(struct ferry_session *s)
{
	struct kvm_ferry_start start = { .size = sizeof(start), .flags = KVM_FERRY_START_MEASURE };

	return ferry_command(s->fd, KVM_FERRY_START, &start, "start the session to measure");
}

int ferry_session_stats(struct ferry_session *s, struct kvm_ferry_stats *stats, size_t size)
{
	stats->size = size;
	stats->flags = 0;
	stats->session_id = 0;
	return ferry_command(s->fd, KVM_FERRY_STATS, stats, "read the session's figures");
}

int ferry_session_ring_stats(struct ferry_session *s, uint32_t index,
			     struct kvm_ferry_ring_stats *stats, size_t size)
{
	memset(stats, 0, size);
	stats->size = size;
	stats->index = index;
	return ferry_command(s->fd, KVM_FERRY_RING_STATS, stats, "read a ring's figures");
}

int ferry_session_region_stats(struct ferry_session *s, uint32_t index,
			       struct kvm_ferry_region_stats *stats, size_t size)
{
	memset(stats, 0, size);
	stats->size = size;
	stats->index = index;
	return ferry_command(s->fd, KVM_FERRY_REGION_STATS, stats, "read a region's figures");
}

int ferry_session_event(struct ferry_session *s, struct kvm_ferry_event *event, size_t size)
{
	event->size = size;
	event->flags = 0;
	return ferry_command(s->fd, KVM_FERRY_EVENT, event, "read the session's events");
}

int ferry_session_wait_event(struct ferry_session *s, struct kvm_ferry_event *event, size_t size,
			     int timeout_ms)
{
	struct ferry_deadline deadline = ferry_deadline_in(timeout_ms);
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };
	int ret;

	for (;;) {
		ret = poll(&pfd, 1, ferry_deadline_left(deadline));
		if (ret < 0)
			return ferry_fail(errno, "wait for an event: %s", strerror(errno));
		if (!ret)
			return 0;
		ret = ferry_session_event(s, event, size);
		if (ret)
			return ret;
		/* None: another thread was faster. Wait on, unless all is over. */
		if (event->out_events || ferry_state_ended(event->out_state))
			return 1;
	}
}

int ferry_session_report_dirty(struct ferry_session *s, const struct kvm_ferry_range *ranges,
			       size_t count)
{
	struct kvm_ferry_report_dirty arg = { .size = sizeof(arg) };
	int ret;

	while (count) {
		arg.ranges = (uintptr_t)ranges;
		arg.count = count < KVM_FERRY_MAX_RANGES ? count : KVM_FERRY_MAX_RANGES;
		ret = ferry_command_restart(s->fd, KVM_FERRY_REPORT_DIRTY, &arg,
					    "report dirty pages");
		if (ret)
			return ret;
		ranges += arg.count;
		count -= arg.count;
	}
	return 0;
}

int ferry_session_report_range(struct ferry_session *s, uint32_t region_id, uint64_t offset,
			       uint64_t length)
{
	struct kvm_ferry_range range = {
		.region_id = region_id,
		.offset = offset,
		.length = length,
	};

	return ferry_session_report_dirty(s, &range, 1);
}

int ferry_session_report_bitmap(struct ferry_session *s, uint32_t region_id, uint64_t offset,
				uint64_t length, const uint64_t *bitmap, uint64_t *pages)
{
	struct kvm_ferry_bitmap arg = {
		.size = sizeof(arg),
		.region_id = region_id,
		.offset = offset,
		.length = length,
		.bitmap = (uintptr_t)bitmap,
	};
	int ret;

	ret = ferry_command_restart(s->fd, KVM_FERRY_REPORT_BITMAP, &arg, "report dirty pages");
	if (!ret && pages)
		*pages = arg.out_pages;
	return ret;
}

int ferry_session_fetch_dirty(struct ferry_session *s, uint32_t region_id, uint64_t offset,
			      uint64_t length, uint64_t *bitmap, bool sync, uint64_t *pages)
{
	struct kvm_ferry_bitmap arg = {
		.size = sizeof(arg),
		.flags = sync ? KVM_FERRY_FETCH_SYNC : 0,
		.region_id = region_id,
		.offset = offset,
		.length = length,
		.bitmap = (uintptr_t)bitmap,
	};
	int ret;

	ret = ferry_command_restart(s->fd, KVM_FERRY_FETCH_DIRTY, &arg, "fetch dirty pages");
	if (!ret && pages)
		*pages = arg.out_pages;
	return ret;
}
