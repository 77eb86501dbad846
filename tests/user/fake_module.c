// SPDX-License-Identifier: GPL-2.0-only
/*
 * LD_PRELOAD for ferryctl: a module with sessions that live in this process.
 *
 * Session 3 moves: each reading of its figures takes it a step further. 5 fails
 * with EPIPE, 6 ends in doubt, 7 is closed before its end is read, 9 stays.
 * FAKE_FERRY=none: no sessions; eperm: no right to other programs' sessions;
 * version: another version of the interface.
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

int open(const char *path, int flags, ...);
int ioctl(int fd, unsigned long cmd, ...);

static int device = -1;
static const __u64 ids[] = { 3, 5, 6, 7, 9 };
static unsigned int readings[10];
static struct kvm_ferry_limits limits = {
	.downtime_limit_ns = 300000000, .inflight_bytes = 4 << 20, .peer_timeout_ns = 10000000000,
};
static _Bool aborted;

int open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, int) : 0;
	va_end(args);
	if (!strcmp(path, KVM_FERRY_DEVICE)) {
		device = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
		return device;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static _Bool mode_is(const char *mode)
{
	const char *fake = getenv("FAKE_FERRY");

	return fake && !strcmp(fake, mode);
}

static _Bool known(__u64 id)
{
	unsigned int i;

	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		if (ids[i] == id)
			return !mode_is("none");
	return 0;
}

static int stats(struct kvm_ferry_stats *st)
{
	__u64 id = st->session_id;
	unsigned int n;

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
	strcpy((char *)st->out_name, "guest");
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

static int set_limits(struct kvm_ferry_limits *l)
{
	if (!known(l->session_id))
		return -ENOENT;
	if (l->flags & KVM_FERRY_LIMIT_BANDWIDTH) {
		if (l->max_bandwidth && l->max_bandwidth < 65536)
			return -EINVAL;
		limits.max_bandwidth = l->max_bandwidth;
	}
	if (l->flags & KVM_FERRY_LIMIT_DOWNTIME)
		limits.downtime_limit_ns = l->downtime_limit_ns;
	limits.session_id = l->session_id;
	limits.size = l->size;
	*l = limits;
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
		reason->out_error = EINVAL;
		strcpy((char *)reason->out_reason, "the bandwidth must be at least 65536 bytes/s");
		return 0;
	}
	if (mode_is("eperm"))
		return -EPERM;
	switch (cmd) {
	case KVM_FERRY_LIST:
		list->out_count = mode_is("none") ? 0 : sizeof(ids) / sizeof(ids[0]);
		memcpy((void *)(unsigned long)list->ids, ids,
		       8 * (list->out_count < list->count ? list->out_count : list->count));
		return 0;
	case KVM_FERRY_STATS:
		return stats(arg);
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
