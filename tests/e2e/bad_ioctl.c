// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_call.c,tap.c timeout=60
 *
 * Every command, by one table: all sizes, unknown flags, reserved fields, wrong
 * pointers, the wrong kind of fd, the wrong role, another process, too little
 * privilege, commands that there are not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/kvm_ferry.h>

#include "bad_call.h"
#include "tap.h"

#define ON_DEVICE	1
#define ON_SESSION	2
#define NO_SINK		4
#define NO_SOURCE	8
#define BY_OWNER	16

/**
 * struct row - a command
 * @name: for people
 * @cmd: its number
 * @size: of its struct, all of which the first version had
 * @reserved: offset of its reserved field, 0: none
 * @who: on which fd, for which role
 */
static const struct row {
	const char *name;
	unsigned long cmd;
	uint32_t size;
	uint32_t reserved;
	uint32_t who;
	uint32_t least;		/* bytes: of the struct as it was at first */
} rows[] = {
#define R_GROWN(c, type, reserved, who, first_new) { \
	#c, KVM_FERRY_##c, sizeof(struct type), reserved, who, offsetof(struct type, first_new) }
#define R(c, type, reserved, who) { \
	#c, KVM_FERRY_##c, sizeof(struct type), reserved, who, sizeof(struct type) }
#define AT(type) offsetof(struct type, __reserved)
	R(INFO, kvm_ferry_info, 0, ON_DEVICE),
	R(CREATE, kvm_ferry_create, 0, ON_DEVICE),
	R(LIST, kvm_ferry_list, 0, ON_DEVICE),
	R(HOST_LIMITS, kvm_ferry_host_limits, AT(kvm_ferry_host_limits), ON_DEVICE),
	R(REASON, kvm_ferry_reason, AT(kvm_ferry_reason), ON_DEVICE | ON_SESSION),
	R_GROWN(STATS, kvm_ferry_stats, 0, ON_DEVICE | ON_SESSION, out_pinned_bytes),
	R_GROWN(LIMITS, kvm_ferry_limits, AT(kvm_ferry_limits), ON_DEVICE | ON_SESSION, max_pinned),
	R(ABORT, kvm_ferry_abort, 0, ON_DEVICE | ON_SESSION),
	R(RING_STATS, kvm_ferry_ring_stats, AT(kvm_ferry_ring_stats), ON_DEVICE | ON_SESSION),
	R(REGION_STATS, kvm_ferry_region_stats, 0, ON_DEVICE | ON_SESSION),
	R(HISTORY, kvm_ferry_history, 0, ON_DEVICE),
	R(REGION_ADD, kvm_ferry_region_add, AT(kvm_ferry_region_add), ON_SESSION | BY_OWNER),
	R(SLOT_ADD, kvm_ferry_slot, 0, ON_SESSION | NO_SINK | BY_OWNER),
	R(SLOT_MOVE, kvm_ferry_slot, 0, ON_SESSION | NO_SINK | BY_OWNER),
	R(SLOT_REMOVE, kvm_ferry_slot, 0, ON_SESSION | NO_SINK | BY_OWNER),
	R(RING_ADD, kvm_ferry_ring_add, 0, ON_SESSION | NO_SINK | BY_OWNER),
	R_GROWN(CHANNEL_ADD, kvm_ferry_channel_add, AT(kvm_ferry_channel_add), ON_SESSION | BY_OWNER,
		addr),
	R(START, kvm_ferry_start, 0, ON_SESSION | BY_OWNER),
	R(EVENT, kvm_ferry_event, 0, ON_SESSION),
	R(REPORT_DIRTY, kvm_ferry_report_dirty, AT(kvm_ferry_report_dirty), ON_SESSION | NO_SINK | BY_OWNER),
	R(REPORT_BITMAP, kvm_ferry_bitmap, AT(kvm_ferry_bitmap), ON_SESSION | NO_SINK | BY_OWNER),
	R(FETCH_DIRTY, kvm_ferry_bitmap, AT(kvm_ferry_bitmap), ON_SESSION | NO_SINK | BY_OWNER),
	R(RING_WAIT, kvm_ferry_ring_wait, AT(kvm_ferry_ring_wait), ON_SESSION | NO_SINK | BY_OWNER),
	R(RING_SYNC, kvm_ferry_ring_sync, 0, ON_SESSION | NO_SINK | BY_OWNER),
	R(RING_INDEX, kvm_ferry_ring_index, 0, ON_SESSION | NO_SINK | BY_OWNER),
	R(FINAL, kvm_ferry_final, 0, ON_SESSION | NO_SINK | BY_OWNER),
	R(STATE_SEND, kvm_ferry_state_io, AT(kvm_ferry_state_io), ON_SESSION | NO_SINK | BY_OWNER),
	R(STATE_RECV, kvm_ferry_state_io, AT(kvm_ferry_state_io), ON_SESSION | NO_SOURCE | BY_OWNER),
	R(COMMIT, kvm_ferry_commit, 0, ON_SESSION | BY_OWNER),
};
#define NR_ROWS (sizeof(rows) / sizeof(rows[0]))

static int dev;
static uint8_t *page;	/* what lies behind it is not mapped */

static int new_session(uint32_t role)
{
	struct kvm_ferry_create c = { .size = sizeof(c), .role = role, .vm_fd = -1,
				      .dirty_source = role == KVM_FERRY_SOURCE ?
						      KVM_FERRY_DIRTY_REPORT : 0 };

	if (ioctl(dev, KVM_FERRY_CREATE, &c))
		tap_bail("no session: %s", strerror(errno));
	return c.out_fd;
}

/* An fd on which the command may be tried: a fresh session, or the device. */
static int fd_for(const struct row *r)
{
	if (!(r->who & ON_SESSION))
		return dev;
	return new_session(r->who & NO_SOURCE ? KVM_FERRY_SINK : KVM_FERRY_SOURCE);
}

static void done_with(int fd)
{
	if (fd != dev)
		close(fd);
}

/* The command with this size, a zero body, and @tail behind the struct. */
static int try(const struct row *r, uint32_t size, uint8_t tail, struct kvm_ferry_reason *why)
{
	uint8_t *arg = page + 1024;
	int fd = fd_for(r), err;

	memset(page, 0, 4096);
	memcpy(arg, &size, sizeof(size));
	arg[r->size + 7] = tail;
	err = ioctl(fd, r->cmd, arg) < 0 ? errno : 0;
	*why = (struct kvm_ferry_reason){ .size = sizeof(*why) };
	if (ioctl(fd, KVM_FERRY_REASON, why))
		tap_bail("no reason: %s", strerror(errno));
	done_with(fd);
	return err;
}

static void sizes(const struct row *r)
{
	struct kvm_ferry_reason a, b;
	uint32_t small[] = { 0, 4, 8, r->least - 1 };
	bool is_reason = r->cmd == KVM_FERRY_REASON;
	unsigned int i, good = 0, tried = 0;
	int plain, longer;

	for (i = 0; i < 4; i++) {
		if (small[i] >= r->least)
			continue;
		tried++;
		good += try(r, small[i], 0, &a) == EINVAL &&
			(is_reason || strstr((char *)a.out_reason, "this struct has at least"));
	}
	tap_check(good == tried, "%s: %u sizes below %u: EINVAL", r->name, tried, r->least);
	plain = try(r, r->size, 0, &a);
	longer = try(r, r->size + 8, 0, &b);
	tap_check(plain == longer && plain != E2BIG && !strcmp((char *)a.out_reason, (char *)b.out_reason),
		  "%s: %u bytes and a longer struct with a zero tail give the same: %s", r->name,
		  r->size, strerror(plain));
	tap_check(try(r, r->size + 8, 1, &a) == E2BIG &&
		  (is_reason || strstr((char *)a.out_reason, "does not know what lies behind")),
		  "%s: a tail that is not zero: E2BIG: %s", r->name, a.out_reason);
}

static void fields(const struct row *r)
{
	struct { uint32_t size, flags; uint8_t body[1024]; } arg;
	int fd = fd_for(r);

	memset(&arg, 0, sizeof(arg));
	arg.size = r->size;
	arg.flags = 1u << 31;
	if (r->cmd == KVM_FERRY_REASON)
		tap_check(ioctl(fd, r->cmd, &arg) < 0 && errno == EOPNOTSUPP, "REASON: unknown flags");
	else
		refused(fd, r->cmd, &arg, EOPNOTSUPP, "unknown", "%s: unknown flags", r->name);
	if (r->reserved) {
		arg.flags = 0;
		((uint8_t *)&arg)[r->reserved + 3] = 1;
		if (r->cmd == KVM_FERRY_REASON)
			tap_check(ioctl(fd, r->cmd, &arg) < 0 && errno == EINVAL, "REASON: reserved field");
		else
			refused(fd, r->cmd, &arg, EINVAL, "reserved field", "%s: reserved field", r->name);
	}
	done_with(fd);
}

static void pointers(const struct row *r)
{
	int fd = fd_for(r), good;
	uint8_t *last = page + 4096 - 8;
	uint32_t size = r->size;

	memcpy(last, &size, sizeof(size));
	memset(last + 4, 0, 4);
	good = ioctl(fd, r->cmd, NULL) < 0 && errno == EFAULT;
	good += ioctl(fd, r->cmd, page + 4096) < 0 && errno == EFAULT;
	good += ioctl(fd, r->cmd, page + 4096 - 2) < 0 && errno == EFAULT;
	good += size <= 8 || (ioctl(fd, r->cmd, last) < 0 && errno == EFAULT);
	size = ~0u;
	memcpy(last, &size, sizeof(size));
	good += ioctl(fd, r->cmd, last) < 0 && (errno == EFAULT || errno == E2BIG);
	tap_check(good == 5, "%s: pointers to nowhere, and beyond the end: EFAULT", r->name);
	done_with(fd);
}

/* A gigabyte of zeroes would be looked through, byte by byte. */
static void long_tail(void)
{
	struct kvm_ferry_info *i = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
					-1, 0);

	if (i == MAP_FAILED)
		tap_bail("no memory: %s", strerror(errno));
	i->size = 4096;
	taken(dev, KVM_FERRY_INFO, i, "a struct of a page");
	i->size = 4097;
	refused(dev, KVM_FERRY_INFO, i, E2BIG, "larger than a page", "a longer one, all zeroes");
	munmap(i, 8192);
}

static void wrong_fds(const struct row *r, int source, int sink)
{
	uint8_t arg[1024] = {};

	memcpy(arg, &r->size, sizeof(r->size));
	if (!(r->who & ON_DEVICE))
		refused(dev, r->cmd, arg, ENOTTY, "session's fd", "%s on the device", r->name);
	if (!(r->who & ON_SESSION))
		refused(source, r->cmd, arg, ENOTTY, "/dev/kvm_ferry", "%s on a session", r->name);
	if (r->who & NO_SINK)
		refused(sink, r->cmd, arg, ENOTTY, "this is a sink", "%s on a sink", r->name);
	if (r->who & NO_SOURCE)
		refused(source, r->cmd, arg, ENOTTY, "this is a source", "%s on a source", r->name);
}

static void unknown_commands(int source)
{
	static const unsigned long odd[] = {
		_IO(KVM_FERRY_TYPE + 1, KVM_FERRY_CMD_INFO),
		_IOR(KVM_FERRY_TYPE, KVM_FERRY_CMD_INFO, struct kvm_ferry_info),
		_IOWR(KVM_FERRY_TYPE, KVM_FERRY_CMD_EVENT, struct kvm_ferry_event),
	};
	unsigned int nr, i, tried = 0, good = 0;
	struct kvm_ferry_info arg = { .size = sizeof(arg) };

	for (nr = 0; nr < 256 + 3; nr++) {
		unsigned long cmd = nr < 256 ? _IO(KVM_FERRY_TYPE, nr) : odd[nr - 256];

		for (i = 0; i < NR_ROWS && rows[i].cmd != cmd; i++)
			;
		if (i < NR_ROWS)
			continue;
		tried += 2;
		good += ioctl(dev, cmd, &arg) < 0 && errno == ENOTTY;
		good += ioctl(source, cmd, &arg) < 0 && errno == ENOTTY;
	}
	tap_check(good == tried && tried > 400, "%u commands that there are not: ENOTTY", tried);
}

/* Runs in a child, which shares the fds but not the address space. */
static int as_another(int source, int sink)
{
	unsigned int i, bad = 0;

	for (i = 0; i < NR_ROWS; i++) {
		const struct row *r = &rows[i];
		uint8_t arg[1024] = {};
		int err;

		if (!(r->who & ON_SESSION))
			continue;
		memcpy(arg, &r->size, sizeof(r->size));
		err = ioctl(r->who & NO_SOURCE ? sink : source, r->cmd, arg) < 0 ? errno : 0;
		/* This source has no rings and no regions to tell of. */
		if ((r->cmd == KVM_FERRY_RING_STATS || r->cmd == KVM_FERRY_REGION_STATS) && err == ENOENT)
			continue;
		if (r->who & BY_OWNER ? err != EPERM : err) {
			tap_note("%s by another process: %s", r->name, strerror(err));
			bad++;
		}
	}
	return bad;
}

static int drop_sys_admin(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return -1;
	data[0].effective &= ~(1u << CAP_SYS_ADMIN);
	data[0].permitted &= ~(1u << CAP_SYS_ADMIN);
	return syscall(SYS_capset, &head, data);
}

static int without_privilege(void)
{
	struct kvm_ferry_list l = { .size = sizeof(l) };
	struct kvm_ferry_stats s = { .size = sizeof(s), .session_id = 1 };
	struct kvm_ferry_limits m = { .size = sizeof(m), .session_id = 1 };
	struct kvm_ferry_abort a = { .size = sizeof(a), .session_id = 1 };
	struct kvm_ferry_ring_stats r = { .size = sizeof(r), .session_id = 1 };
	struct kvm_ferry_region_stats g = { .size = sizeof(g), .session_id = 1 };
	struct kvm_ferry_host_limits h = { .size = sizeof(h), .flags = KVM_FERRY_HOST_BANDWIDTH };
	struct kvm_ferry_history y = { .size = sizeof(y) };
	struct kvm_ferry_info i = { .size = sizeof(i) };
	int bad = 0;

	if (drop_sys_admin())
		return 1;
	bad += ioctl(dev, KVM_FERRY_LIST, &l) != -1 || errno != EPERM;
	bad += ioctl(dev, KVM_FERRY_STATS, &s) != -1 || errno != EPERM;
	bad += ioctl(dev, KVM_FERRY_LIMITS, &m) != -1 || errno != EPERM;
	bad += ioctl(dev, KVM_FERRY_ABORT, &a) != -1 || errno != EPERM;
	bad += ioctl(dev, KVM_FERRY_RING_STATS, &r) != -1 || errno != EPERM;
	bad += ioctl(dev, KVM_FERRY_REGION_STATS, &g) != -1 || errno != EPERM;
	bad += ioctl(dev, KVM_FERRY_HOST_LIMITS, &h) != -1 || errno != EPERM;
	h.flags = 0;
	bad += !!ioctl(dev, KVM_FERRY_HOST_LIMITS, &h);
	bad += ioctl(dev, KVM_FERRY_HISTORY, &y) != -1 || errno != EPERM;
	bad += !!ioctl(dev, KVM_FERRY_INFO, &i);
	if (setresuid(65534, 65534, 65534))
		return bad + 1;
	return bad + (open(KVM_FERRY_DEVICE, O_RDWR) != -1 || errno != EACCES);
}

static int exit_of(pid_t child)
{
	int status = -1;

	waitpid(child, &status, 0);
	return status;
}

static void others(int source, int sink)
{
	pid_t child = fork();

	if (!child)
		_exit(as_another(source, sink));
	tap_check(!exit_of(child), "another process with the fd: EPERM, but for what operators may do");
	child = fork();
	if (!child)
		_exit(without_privilege());
	tap_check(!exit_of(child), "without CAP_SYS_ADMIN: EPERM; as another user: EACCES");
}

static void operators(int source)
{
	struct kvm_ferry_stats s = { .size = sizeof(s) };
	uint64_t ids[8] = {}, id;
	struct kvm_ferry_list l = { .size = sizeof(l), .ids = (uintptr_t)ids, .count = 8 };

	ioctl(source, KVM_FERRY_STATS, &s);
	id = s.out_session_id;
	tap_check(!ioctl(dev, KVM_FERRY_LIST, &l) && l.out_count == 2 && ids[0] < ids[1] &&
		  (ids[0] == id || ids[1] == id), "LIST tells of both sessions in order");
	ids[1] = 0;
	l.count = 1;
	tap_check(!ioctl(dev, KVM_FERRY_LIST, &l) && l.out_count == 2 && !ids[1], "LIST keeps to its room");
	l.ids = 16;
	refused(dev, KVM_FERRY_LIST, &l, EFAULT, "cannot be written", "LIST to nowhere");
	s.session_id = id;
	refused(source, KVM_FERRY_STATS, &s, EINVAL, "must be 0", "a session id on a session");
	taken(dev, KVM_FERRY_STATS, &s, "a session id on the device");
	s.session_id = 0;
	refused(dev, KVM_FERRY_STATS, &s, ENOENT, "no session 0", "session 0 on the device");
	s.session_id = ~0ULL;
	refused(dev, KVM_FERRY_STATS, &s, ENOENT, "no session", "a session that is not there");
}

/* Neither of these has rings: bad_state.c tries one that has. */
static void without_rings(int source, int sink)
{
	static const struct { uint32_t flag; const char *name; } both[] = {
		{ KVM_FERRY_LIMIT_THROTTLE, "throttle" },
		{ KVM_FERRY_LIMIT_THROTTLE_FLOOR, "throttle_floor" },
	};
	struct kvm_ferry_ring_stats r = { .size = sizeof(r) };
	struct kvm_ferry_stats s = { .size = sizeof(s) };
	struct kvm_ferry_limits l;
	unsigned int i;

	refused(sink, KVM_FERRY_RING_STATS, &r, ENOTTY, "a sink has no rings", "RING_STATS of a sink");
	refused(source, KVM_FERRY_RING_STATS, &r, ENOENT, "no more rings",
		"RING_STATS of a source that reports");
	r.index = ~0u;
	refused(source, KVM_FERRY_RING_STATS, &r, ENOENT, "no more rings", "of its last ring");
	ioctl(sink, KVM_FERRY_STATS, &s);
	r.session_id = s.out_session_id;
	refused(dev, KVM_FERRY_RING_STATS, &r, ENOTTY, "a sink has no rings", "of a sink, on the device");
	refused(source, KVM_FERRY_RING_STATS, &r, EINVAL, "must be 0", "with a session id on a session");
	r.session_id = 0;
	refused(dev, KVM_FERRY_RING_STATS, &r, ENOENT, "no session 0", "of session 0 on the device");
	for (i = 0; i < 2; i++) {
		/* KVM_FERRY_THROTTLE_NEVER, too: there is nobody to let go. */
		l = (struct kvm_ferry_limits){ .size = sizeof(l), .flags = both[i].flag };
		refused(sink, KVM_FERRY_LIMITS, &l, ENOTTY, "a source with rings", "%s at a sink",
			both[i].name);
		l.throttle = KVM_FERRY_THROTTLE_AUTO;
		l.throttle_floor = 1024;
		refused(source, KVM_FERRY_LIMITS, &l, ENOTTY, "a source with rings",
			"%s at a source that reports", both[i].name);
	}
}

static void bandwidths(int source, int sink)
{
	static const struct { uint64_t value; bool good; } values[] = {
		{ 1, false }, { 65535, false }, { 65536, true }, { 1ULL << 50, true },
		{ (1ULL << 50) + 1, false }, { ~0ULL - 1, false }, { 0, true },
	};
	struct kvm_ferry_host_limits h = { .size = sizeof(h), .flags = KVM_FERRY_HOST_BANDWIDTH };
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_FINAL_BANDWIDTH };
	unsigned int i;

	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		unsigned long long value = values[i].value;

		h.max_bandwidth = value;
		l.final_bandwidth = value;
		if (values[i].good) {
			taken(dev, KVM_FERRY_HOST_LIMITS, &h, "a host limit of %llu", value);
			taken(source, KVM_FERRY_LIMITS, &l, "final_bandwidth %llu", value);
		} else {
			refused(dev, KVM_FERRY_HOST_LIMITS, &h, EINVAL, "max_bandwidth is",
				"a host limit of %llu", value);
			refused(source, KVM_FERRY_LIMITS, &l, EINVAL, "final_bandwidth is",
				"final_bandwidth %llu", value);
		}
	}
	/* What a session may say, the host may not: it is not the same as anything. */
	h.max_bandwidth = KVM_FERRY_BANDWIDTH_SAME;
	refused(dev, KVM_FERRY_HOST_LIMITS, &h, EINVAL, "max_bandwidth is", "a host limit that is the same");
	h.flags = 2;
	refused(dev, KVM_FERRY_HOST_LIMITS, &h, EOPNOTSUPP, "flags 0x2", "a host limit that there is not");
	h = (struct kvm_ferry_host_limits){ .size = sizeof(h), .max_bandwidth = 1 };
	tap_check(!ioctl(dev, KVM_FERRY_HOST_LIMITS, &h) && !h.max_bandwidth && !h.out_share &&
		  !h.out_sessions, "the host has no limit, and nobody sends");
	l.final_bandwidth = KVM_FERRY_BANDWIDTH_SAME;
	refused(sink, KVM_FERRY_LIMITS, &l, ENOTTY, "at the source", "final_bandwidth at a sink");
	taken(source, KVM_FERRY_LIMITS, &l, "final_bandwidth as ever");
}

int main(void)
{
	unsigned int i;
	int source, sink;

	dev = open(KVM_FERRY_DEVICE, O_RDWR | O_CLOEXEC);
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (dev < 0 || page == MAP_FAILED || munmap(page + 4096, 4096))
		tap_bail("cannot begin: %s", strerror(errno));
	for (i = 0; i < NR_ROWS; i++) {
		sizes(&rows[i]);
		fields(&rows[i]);
		pointers(&rows[i]);
	}
	long_tail();
	source = new_session(KVM_FERRY_SOURCE);
	sink = new_session(KVM_FERRY_SINK);
	for (i = 0; i < NR_ROWS; i++)
		wrong_fds(&rows[i], source, sink);
	unknown_commands(source);
	operators(source);
	without_rings(source, sink);
	bandwidths(source, sink);
	others(source, sink);
	close(source);
	close(sink);
	close(dev);
	return tap_done();
}
