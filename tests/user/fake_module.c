// SPDX-License-Identifier: GPL-2.0-only
/*
 * LD_PRELOAD for ferryctl: a module with sessions that live in this process.
 *
 * Session 3 moves: each reading of its figures takes it a step further. 5 fails
 * with EPIPE, 6 ends in doubt, 7 is closed before its end is read, 9 stays, with one
 * vCPU of two held back.
 * FAKE_FERRY=rdma: they are sinks with RDMA; none: no sessions; broken: with rings
 * of which nothing can be read; eperm: no right to other programs' sessions; version:
 * another version of the interface; busy: no sessions, and yet the module may not be
 * unloaded; away: it is not there; moving: the
 * sessions of fake_moving.c instead; old: a module that knows no limit of the host.
 * FAKE_BANDWIDTH=HOST,SESSION,PAUSED: limits that were set before, in bytes a second.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm_ferry.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fake_moving.h"

int fake_history(struct kvm_ferry_history *h);	/* fake_history.c */

int open(const char *path, int flags, ...);
int ioctl(int fd, unsigned long cmd, ...);
int delete_module(const char *name, unsigned int flags);

static int device = -1;
static const __u64 ids[] = { 3, 5, 6, 7, 9 };
static unsigned int readings[10];
static struct kvm_ferry_limits limits = {
	.downtime_limit_ns = 300000000, .inflight_bytes = 4 << 20, .peer_timeout_ns = 10000000000,
	.max_pinned = 256 << 20, .final_bandwidth = KVM_FERRY_BANDWIDTH_SAME,
};
static __u64 host_bandwidth;
static const char *why = "";
static int why_error;
static _Bool aborted;

static _Bool mode_is(const char *mode)
{
	const char *fake = getenv("FAKE_FERRY");

	return fake && !strcmp(fake, mode);
}

/* The @which'th of FAKE_BANDWIDTH, from 0; @usual: it is not said. */
static __u64 set_before(int which, __u64 usual)
{
	const char *text = getenv("FAKE_BANDWIDTH");
	unsigned long long value[3];

	if (!text || sscanf(text, "%llu,%llu,%llu", &value[0], &value[1], &value[2]) != 3)
		return usual;
	return value[which];
}

static _Bool no_sessions(void)
{
	return mode_is("none") || mode_is("busy");
}

int open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, int) : 0;
	va_end(args);
	if (!strcmp(path, KVM_FERRY_DEVICE) && mode_is("away")) {
		errno = ENOENT;
		return -1;
	}
	if (!strcmp(path, KVM_FERRY_DEVICE)) {
		device = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
		return device;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static _Bool known(__u64 id)
{
	__u64 moving[8];
	unsigned int i;

	if (mode_is("moving")) {
		for (i = moving_ids(moving, 8); i--;)
			if (moving[i] == id)
				return 1;
		return 0;
	}
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		if (ids[i] == id)
			return !no_sessions();
	return 0;
}

static int stats(struct kvm_ferry_stats *st)
{
	__u64 id = st->session_id;
	unsigned int n;

	if (mode_is("moving"))
		return moving_stats(st);
	if (!known(id))
		return -ENOENT;
	n = readings[id]++;
	st->out_session_id = id;
	st->out_role = KVM_FERRY_SOURCE;
	st->out_state = KVM_FERRY_STATE_LIVE;
	st->out_nr_channels = 2;
	st->out_total_time_ns = 1500000000ULL + n * 100000000ULL;
	st->out_expected_downtime_ns = ~0ULL;
	st->out_ram_total = 512 << 20;
	st->out_ram_transferred = (100 + n) << 20;
	st->out_ram_remaining = n < 8 ? (8 - n) << 20 : 0;
	st->out_ram_normal = 25600;
	st->out_ram_duplicate = 1000;
	st->out_ram_hole = 900;
	st->out_dirty_sync_count = 1 + n / 2;
	st->out_dirty_pages_rate = 1000;
	st->out_link_rate = 117625000;
	st->out_ring_entries = 4242;
	st->out_working_set = 2400 * 4096;
	st->out_predicted_downtime_ns = ~0ULL;
	strcpy((char *)st->out_name, "guest");
	if (mode_is("rdma")) {
		st->out_role = KVM_FERRY_SINK;
		st->out_rdma_channels = 1;
		st->out_windows = 33;
		st->out_pinned_bytes = 4 << 20;
		st->out_pinned_most_bytes = 20 << 20;
	}
	if (id == 9 && st->out_role == KVM_FERRY_SOURCE) {
		st->out_throttled_rings = 1;
		st->out_throttle_rate = 2560;
		st->out_throttle_ns = 250000000;
	}
	if (id == 9) {
		st->out_state = aborted ? KVM_FERRY_STATE_ABORTED : KVM_FERRY_STATE_LIVE;
		st->out_error = aborted ? ECANCELED : 0;
		return 0;
	}
	if (n >= 4) {
		st->out_state = KVM_FERRY_STATE_FINAL;
		st->out_downtime_ns = 12300000;
	}
	if (n >= 6)
		switch (id) {
		case 3:
			st->out_state = KVM_FERRY_STATE_DONE;
			st->out_digest = 0xfeedbeefcafe1234ULL;
			break;
		case 5:
			st->out_state = KVM_FERRY_STATE_FAILED;
			st->out_error = EPIPE;
			break;
		case 6:
			st->out_state = KVM_FERRY_STATE_IN_DOUBT;
			st->out_error = ETIMEDOUT;
			break;
		default:
			return -ENOENT;
		}
	return 0;
}

static int refuse(int ret, const char *reason)
{
	why = reason;
	why_error = -ret;
	return ret;
}

static int set_throttle(const struct kvm_ferry_limits *l)
{
	if (mode_is("rdma"))
		return refuse(-ENOTTY, "throttle is set at a source with rings");
	if (l->flags & KVM_FERRY_LIMIT_THROTTLE) {
		if (l->throttle && l->throttle < 64)
			return refuse(-EINVAL, "throttle is too low: use 64 to 2^32");
		limits.throttle = l->throttle;
	}
	if (l->flags & KVM_FERRY_LIMIT_THROTTLE_FLOOR) {
		if (l->throttle_floor && l->throttle_floor < 64)
			return refuse(-EINVAL, "throttle_floor is too low: use 64 to 2^32");
		limits.throttle_floor = l->throttle_floor;
	}
	return 0;
}

static int set_limits(struct kvm_ferry_limits *l)
{
	int ret = 0;

	if (!known(l->session_id))
		return -ENOENT;
	if (l->flags & KVM_FERRY_LIMIT_BANDWIDTH) {
		if (l->max_bandwidth && l->max_bandwidth < 65536)
			return refuse(-EINVAL, "the bandwidth must be at least 65536 bytes/s");
		limits.max_bandwidth = l->max_bandwidth;
	}
	if (l->flags & KVM_FERRY_LIMIT_FINAL_BANDWIDTH) {
		if (mode_is("rdma"))
			return refuse(-ENOTTY, "final_bandwidth is set at the source");
		if (l->final_bandwidth && l->final_bandwidth < 65536)
			return refuse(-EINVAL, "final_bandwidth must be at least 65536 bytes/s");
		limits.final_bandwidth = l->final_bandwidth;
	}
	if (l->flags & (KVM_FERRY_LIMIT_THROTTLE | KVM_FERRY_LIMIT_THROTTLE_FLOOR))
		ret = set_throttle(l);
	if (ret)
		return ret;
	if (l->flags & KVM_FERRY_LIMIT_STATE_TIME) {
		if (mode_is("rdma"))
			return refuse(-ENOTTY, "state_time_ns is set at the source");
		limits.state_time_ns = l->state_time_ns;
	}
	if (l->flags & KVM_FERRY_LIMIT_DOWNTIME)
		limits.downtime_limit_ns = l->downtime_limit_ns;
	limits.session_id = l->session_id;
	limits.size = l->size;
	*l = limits;
	if (!(l->flags & (KVM_FERRY_LIMIT_BANDWIDTH | KVM_FERRY_LIMIT_FINAL_BANDWIDTH))) {
		l->max_bandwidth = set_before(1, l->max_bandwidth);
		l->final_bandwidth = set_before(2, l->final_bandwidth);
	}
	if (mode_is("rdma"))
		l->max_pinned = KVM_FERRY_PINNED_ALL;
	if (mode_is("moving"))
		moving_limits(l->session_id, l);
	return 0;
}

/* Two sessions send; each gets a half. */
static int host_limits(struct kvm_ferry_host_limits *h)
{
	if (mode_is("old"))
		return -ENOTTY;
	if (h->flags & KVM_FERRY_HOST_BANDWIDTH) {
		if (mode_is("eperm"))
			return refuse(-EPERM, "setting the host's limits needs CAP_SYS_ADMIN");
		if (h->max_bandwidth && h->max_bandwidth < 65536)
			return refuse(-EINVAL, "max_bandwidth must be at least 65536 bytes/s");
		host_bandwidth = h->max_bandwidth;
	}
	h->max_bandwidth = h->flags ? host_bandwidth : set_before(0, host_bandwidth);
	h->out_share = h->max_bandwidth / 2;
	h->out_sessions = no_sessions() ? 0 : 2;
	h->out_transferred = 5ULL << 30;
	return 0;
}

/* Two vCPUs, of which the second is held back. */
static int ring_stats(struct kvm_ferry_ring_stats *r)
{
	unsigned int wild = r->index == 1;

	if (!known(r->session_id))
		return -ENOENT;
	if (mode_is("rdma"))
		return refuse(-ENOTTY, "a sink has no rings");
	if (mode_is("broken"))
		return refuse(-EIO, "the rings are wet");
	if (r->index >= 2)
		return refuse(-ENOENT, "there are no more rings");
	r->out_ring_id = r->index;
	r->out_ring_entries = 4096;
	r->out_dirty_pages = wild ? 4200 : 42;
	r->out_dirty_rate = wild ? 120000 : 30;
	r->out_throttle_rate = wild ? 2560 : 0;
	r->out_waits = wild * 77;
	r->out_wait_ns = wild * 300000000ULL;
	r->out_throttle_ns = wild * 250000000ULL;
	return 0;
}

/* A region that is written, and one that is not. */
static int region_stats(struct kvm_ferry_region_stats *r)
{
	unsigned int rom = r->index == 1;

	if (!known(r->session_id))
		return -ENOENT;
	if (r->session_id == 7)
		return refuse(-EBUSY, "the session is not started");
	if (mode_is("dry"))
		return refuse(-EIO, "the regions are dry");
	if (r->index >= 2)
		return refuse(-ENOENT, "there are no more regions");
	r->out_region_id = r->index;
	r->out_pages = rom ? 64 : 131072;
	r->out_dirty_pages = rom ? 0 : 4242;
	r->out_dirty_rate = rom ? 0 : 1000;
	r->out_working_set = rom ? 0 : 2400;
	strcpy((char *)r->out_name, rom ? "rom" : "ram");
	return 0;
}

static int module(unsigned long cmd, void *arg)
{
	struct kvm_ferry_info *info = arg;
	struct kvm_ferry_list *list = arg;
	struct kvm_ferry_reason *reason = arg;
	struct kvm_ferry_abort *abort = arg;

	switch (cmd) {
	case KVM_FERRY_INFO:
		info->out_uapi_version = KVM_FERRY_UAPI_VERSION + mode_is("version");
		info->out_wire_version = 1;
		info->out_wire_version_min = 1;
		info->out_transports = 3;
		info->out_max_data_channels = 16;
		strcpy((char *)info->out_release, "0.1.0");
		return 0;
	case KVM_FERRY_REASON:
		reason->out_error = why_error;
		strcpy((char *)reason->out_reason, why);
		return 0;
	case KVM_FERRY_HOST_LIMITS:
		return host_limits(arg);
	}
	if (mode_is("eperm"))
		return -EPERM;
	switch (cmd) {
	case KVM_FERRY_LIST:
		if (mode_is("moving")) {
			list->out_count = moving_ids((void *)(unsigned long)list->ids, list->count);
			return 0;
		}
		list->out_count = no_sessions() ? 0 : sizeof(ids) / sizeof(ids[0]);
		memcpy((void *)(unsigned long)list->ids, ids,
		       8 * (list->out_count < list->count ? list->out_count : list->count));
		return 0;
	case KVM_FERRY_STATS:
		return stats(arg);
	case KVM_FERRY_RING_STATS:
		return ring_stats(arg);
	case KVM_FERRY_REGION_STATS:
		return region_stats(arg);
	case KVM_FERRY_HISTORY:
		return fake_history(arg);
	case KVM_FERRY_LIMITS:
		return set_limits(arg);
	case KVM_FERRY_ABORT:
		if (!known(abort->session_id))
			return -ENOENT;
		if (abort->session_id == 6)
			return -EBUSY;
		aborted = 1;
		return 0;
	default:
		return -ENOTTY;
	}
}

int ioctl(int fd, unsigned long cmd, ...)
{
	va_list args;
	void *arg;
	int ret;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	if (fd != device)
		return (int)syscall(SYS_ioctl, fd, cmd, arg);
	ret = module(cmd, arg);
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

/* kvm_ferry_rdma is never there. That flags do not force anything is a test, too. */
int delete_module(const char *name, unsigned int flags)
{
	errno = 0;
	if (flags != O_NONBLOCK)
		errno = EINVAL;
	else if (mode_is("eperm"))
		errno = EPERM;
	else if (mode_is("away") || strcmp(name, "kvm_ferry"))
		errno = ENOENT;
	else if (mode_is("busy"))
		errno = EAGAIN;
	return errno ? -1 : 0;
}
