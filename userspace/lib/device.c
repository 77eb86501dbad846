// SPDX-License-Identifier: LGPL-2.1-only
/*
 * /dev/kvm_ferry: opening it, and an operator's commands on any session.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static int open_failed(int error)
{
	switch (error) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return ferry_fail(error, "the kvm_ferry module is not loaded (%s cannot be "
				  "opened): run 'modprobe kvm_ferry'; 'ferryctl check' tells more",
				  KVM_FERRY_DEVICE);
	case EACCES:
	case EPERM:
		return ferry_fail(error, "no right to open %s: run as root, or let the device's "
				  "owner or mode include this user", KVM_FERRY_DEVICE);
	default:
		return ferry_fail(error, "open %s: %s", KVM_FERRY_DEVICE, strerror(error));
	}
}

int ferry_device_open(struct ferry_device **out)
{
	struct kvm_ferry_info info;
	struct ferry_device *dev;
	int ret;

	dev = malloc(sizeof(*dev));
	if (!dev)
		return ferry_fail(ENOMEM, "out of memory");
	dev->fd = open(KVM_FERRY_DEVICE, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0) {
		ret = open_failed(errno);
		goto err_free;
	}
	memset(&info, 0, sizeof(info));
	ret = ferry_device_info(dev, &info, sizeof(info));
	if (ret)
		goto err_close;
	if (info.out_uapi_version != KVM_FERRY_UAPI_VERSION) {
		ret = ferry_fail(EPROTONOSUPPORT, "the loaded module speaks version %u of its "
				 "interface, this program version %u: install both from the same "
				 "release", info.out_uapi_version, KVM_FERRY_UAPI_VERSION);
		goto err_close;
	}
	*out = dev;
	return 0;

err_close:
	close(dev->fd);
err_free:
	free(dev);
	return ret;
}

void ferry_device_close(struct ferry_device *dev)
{
	if (!dev)
		return;
	close(dev->fd);
	free(dev);
}

int ferry_device_fd(const struct ferry_device *dev)
{
	return dev->fd;
}

int ferry_device_info(struct ferry_device *dev, struct kvm_ferry_info *info, size_t size)
{
	info->size = size;
	info->flags = 0;
	return ferry_command(dev->fd, KVM_FERRY_INFO, info, "read the module's properties");
}

int ferry_device_list(struct ferry_device *dev, uint64_t **ids, size_t *count)
{
	struct kvm_ferry_list list;
	uint64_t *array = NULL, *more;
	uint32_t room = 16;
	int ret;

	*ids = NULL;
	*count = 0;
	for (;;) {
		more = realloc(array, room * sizeof(*array));
		if (!more) {
			free(array);
			return ferry_fail(ENOMEM, "out of memory");
		}
		array = more;
		memset(&list, 0, sizeof(list));
		list.size = sizeof(list);
		list.ids = (uintptr_t)array;
		list.count = room;
		ret = ferry_command(dev->fd, KVM_FERRY_LIST, &list, "list the sessions");
		if (ret) {
			free(array);
			return ret;
		}
		if (list.out_count <= room)
			break;
		/* Sessions may appear between two calls: leave room for some. */
		room = list.out_count + 16;
	}
	if (!list.out_count) {
		free(array);
		return 0;
	}
	*ids = array;
	*count = list.out_count;
	return 0;
}

int ferry_device_stats(struct ferry_device *dev, uint64_t id, struct kvm_ferry_stats *stats,
		       size_t size)
{
	stats->size = size;
	stats->flags = 0;
	stats->session_id = id;
	return ferry_command(dev->fd, KVM_FERRY_STATS, stats, "read the session's figures");
}

int ferry_device_ring_stats(struct ferry_device *dev, uint64_t id, uint32_t index,
			    struct kvm_ferry_ring_stats *stats, size_t size)
{
	memset(stats, 0, size);
	stats->size = size;
	stats->session_id = id;
	stats->index = index;
	return ferry_command(dev->fd, KVM_FERRY_RING_STATS, stats, "read a ring's figures");
}

int ferry_device_region_stats(struct ferry_device *dev, uint64_t id, uint32_t index,
			      struct kvm_ferry_region_stats *stats, size_t size)
{
	memset(stats, 0, size);
	stats->size = size;
	stats->session_id = id;
	stats->index = index;
	return ferry_command(dev->fd, KVM_FERRY_REGION_STATS, stats, "read a region's figures");
}

int ferry_device_history(struct ferry_device *dev, uint64_t after,
			 struct kvm_ferry_history *record, size_t size)
{
	memset(record, 0, size);
	record->size = size;
	record->after = after;
	return ferry_command(dev->fd, KVM_FERRY_HISTORY, record, "read what became of a session");
}

int ferry_device_limits(struct ferry_device *dev, uint64_t id, struct kvm_ferry_limits *limits,
			size_t size)
{
	limits->size = size;
	limits->session_id = id;
	limits->__reserved = 0;
	return ferry_command(dev->fd, KVM_FERRY_LIMITS, limits, "set the session's limits");
}

int ferry_device_abort(struct ferry_device *dev, uint64_t id)
{
	struct kvm_ferry_abort abort = { .size = sizeof(abort), .session_id = id };

	return ferry_command_restart(dev->fd, KVM_FERRY_ABORT, &abort, "abort the session");
}

int ferry_device_host_limits(struct ferry_device *dev, struct kvm_ferry_host_limits *limits,
			     size_t size)
{
	limits->size = size;
	limits->__reserved = 0;
	return ferry_command(dev->fd, KVM_FERRY_HOST_LIMITS, limits, "set the host's limits");
}
