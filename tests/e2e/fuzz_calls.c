// SPDX-License-Identifier: GPL-2.0
/* The table of all commands, and calls by it (no test itself). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bad_call.h"
#include "fuzz_calls.h"
#include "pair.h"
#include "tap.h"

#define AT(type, field, kind) \
	{ offsetof(struct kvm_ferry_##type, field), sizeof(((struct kvm_ferry_##type *)0)->field), kind }
#define FLAGS(type) AT(type, flags, IS_FLAGS)
#define ROW(c, type, who, ...) { #c, KVM_FERRY_##c, sizeof(struct kvm_ferry_##type), who, __VA_ARGS__ }
#define ANY	(FUZZ_DEVICE | FUZZ_SESSION)
#define OWNER	(FUZZ_SESSION | FUZZ_OWNER)
#define SOURCE	(OWNER | FUZZ_SOURCE)
#define SLOT_FIELDS { FLAGS(slot), AT(slot, slot, IS_NUMBER), AT(slot, region_id, IS_NUMBER), \
		      AT(slot, offset, IS_OFFSET), AT(slot, length, IS_OFFSET) }
#define BITMAP_FIELDS { FLAGS(bitmap), AT(bitmap, region_id, IS_NUMBER), \
			AT(bitmap, __reserved, IS_RESERVED), AT(bitmap, offset, IS_OFFSET), \
			AT(bitmap, length, IS_OFFSET), AT(bitmap, bitmap, IS_POINTER), \
			AT(bitmap, out_pages, IS_OUT) }
#define STATE_FIELDS { FLAGS(state_io), AT(state_io, data, IS_POINTER), \
		       AT(state_io, length, IS_OFFSET), AT(state_io, out_length, IS_OUT), \
		       AT(state_io, out_flags, IS_OUT), AT(state_io, __reserved, IS_RESERVED) }

const struct fuzz_row fuzz_rows[F_NR] = {
	[F_INFO] = ROW(INFO, info, FUZZ_DEVICE, {}, { FLAGS(info), AT(info, out_page_size, IS_OUT) }),
	[F_CREATE] = ROW(CREATE, create, FUZZ_DEVICE, { EBADF, EPERM, EMFILE, ENFILE, ENOMEM, EINTR },
			 { FLAGS(create), AT(create, role, IS_NUMBER), AT(create, dirty_source, IS_NUMBER),
			   AT(create, vm_fd, IS_FD), AT(create, out_fd, IS_OUT), AT(create, name, IS_NAME) }),
	[F_LIST] = ROW(LIST, list, FUZZ_DEVICE, { EPERM },
		       { FLAGS(list), AT(list, ids, IS_POINTER), AT(list, count, IS_NUMBER),
			 AT(list, out_count, IS_OUT) }),
	[F_REASON] = ROW(REASON, reason, ANY, {},
			 { FLAGS(reason), AT(reason, out_error, IS_OUT), AT(reason, __reserved, IS_RESERVED) }),
	[F_STATS] = ROW(STATS, stats, ANY, { EPERM, ENOENT },
			{ FLAGS(stats), AT(stats, session_id, IS_NUMBER), AT(stats, out_name, IS_OUT) }),
	[F_LIMITS] = ROW(LIMITS, limits, ANY, { EPERM, ENOENT, EBUSY },
			 { FLAGS(limits), AT(limits, session_id, IS_NUMBER),
			   AT(limits, max_bandwidth, IS_NUMBER), AT(limits, downtime_limit_ns, IS_NUMBER),
			   AT(limits, inflight_bytes, IS_NUMBER), AT(limits, peer_timeout_ns, IS_NUMBER),
			   AT(limits, verify, IS_NUMBER), AT(limits, __reserved, IS_RESERVED),
			   AT(limits, throttle, IS_NUMBER), AT(limits, throttle_floor, IS_NUMBER),
			   AT(limits, state_time_ns, IS_NUMBER),
			   AT(limits, final_bandwidth, IS_NUMBER) }),
	[F_ABORT] = ROW(ABORT, abort, ANY | FUZZ_ENDS, { EPERM, ENOENT, EBUSY, EINTR },
			{ FLAGS(abort), AT(abort, session_id, IS_NUMBER) }),
	[F_RING_STATS] = ROW(RING_STATS, ring_stats, ANY | FUZZ_SOURCE, { EPERM, ENOENT },
			     { FLAGS(ring_stats), AT(ring_stats, session_id, IS_NUMBER),
			       AT(ring_stats, index, IS_NUMBER), AT(ring_stats, __reserved, IS_RESERVED),
			       AT(ring_stats, out_throttle_ns, IS_OUT) }),
	[F_REGION_STATS] = ROW(REGION_STATS, region_stats, ANY, { EPERM, ENOENT, EBUSY },
			       { FLAGS(region_stats), AT(region_stats, session_id, IS_NUMBER),
				 AT(region_stats, index, IS_NUMBER), AT(region_stats, out_name, IS_OUT) }),
	/* A low limit of the host would be every rig's: what it is, is right. */
	[F_HOST_LIMITS] = ROW(HOST_LIMITS, host_limits, FUZZ_DEVICE, { EPERM },
			      { FLAGS(host_limits), AT(host_limits, __reserved, IS_RESERVED),
				AT(host_limits, out_transferred, IS_OUT) }),
	[F_HISTORY] = ROW(HISTORY, history, FUZZ_DEVICE, { EPERM, ENOENT },
			  { FLAGS(history), AT(history, after, IS_NUMBER), AT(history, out_number, IS_OUT),
			    AT(history, out_reason[0], IS_OUT) }),
	[F_REGION_ADD] = ROW(REGION_ADD, region_add, OWNER | FUZZ_ENDS,
			     { EBUSY, ESHUTDOWN, EEXIST, ENOSPC, ENOMEM },
			     { FLAGS(region_add), AT(region_add, region_id, IS_NUMBER),
			       AT(region_add, __reserved, IS_RESERVED), AT(region_add, addr, IS_ADDRESS),
			       AT(region_add, length, IS_OFFSET), AT(region_add, name, IS_NAME) }),
	[F_SLOT_ADD] = ROW(SLOT_ADD, slot, SOURCE, { ENOENT, EEXIST, ENOSPC, ENOMEM, EBUSY, ESHUTDOWN, EINTR },
			   SLOT_FIELDS),
	[F_SLOT_MOVE] = ROW(SLOT_MOVE, slot, SOURCE, { ENOENT, ENOMEM, EBUSY, ESHUTDOWN, EINTR }, SLOT_FIELDS),
	[F_SLOT_REMOVE] = ROW(SLOT_REMOVE, slot, SOURCE, { ENOENT, EBUSY, ESHUTDOWN, EINTR }, SLOT_FIELDS),
	[F_RING_ADD] = ROW(RING_ADD, ring_add, SOURCE, { EEXIST, ENOSPC, ENOMEM, EPERM, ESHUTDOWN },
			   { FLAGS(ring_add), AT(ring_add, ring_id, IS_NUMBER),
			     AT(ring_add, addr, IS_ADDRESS), AT(ring_add, length, IS_OFFSET) }),
	[F_CHANNEL_ADD] = ROW(CHANNEL_ADD, channel_add, OWNER | FUZZ_ENDS,
			      { EBADF, ENOTSOCK, EPROTONOSUPPORT, ENOTCONN, EEXIST, ENOSPC, ENOMEM, EBUSY,
				ESHUTDOWN },
			      { FLAGS(channel_add), AT(channel_add, kind, IS_NUMBER),
				AT(channel_add, transport, IS_NUMBER), AT(channel_add, fd, IS_FD),
				AT(channel_add, __reserved, IS_RESERVED), AT(channel_add, key, IS_NUMBER) }),
	[F_START] = ROW(START, start, OWNER | FUZZ_ENDS, { EBUSY, ESHUTDOWN, ENOMEM, EINTR, ENOTTY }, { FLAGS(start) }),
	[F_EVENT] = ROW(EVENT, event, FUZZ_SESSION, {}, { FLAGS(event), AT(event, out_events, IS_OUT) }),
	[F_REPORT_DIRTY] = ROW(REPORT_DIRTY, report_dirty, SOURCE, { ENOENT, EBUSY, ESHUTDOWN, ENOMEM, EINTR },
			       { FLAGS(report_dirty), AT(report_dirty, ranges, IS_POINTER),
				 AT(report_dirty, count, IS_NUMBER),
				 AT(report_dirty, __reserved, IS_RESERVED) }),
	[F_REPORT_BITMAP] = ROW(REPORT_BITMAP, bitmap, SOURCE, { ENOENT, EBUSY, ESHUTDOWN, EINTR }, BITMAP_FIELDS),
	[F_FETCH_DIRTY] = ROW(FETCH_DIRTY, bitmap, SOURCE, { ENOENT, EBUSY, ESHUTDOWN, EINTR }, BITMAP_FIELDS),
	[F_RING_WAIT] = ROW(RING_WAIT, ring_wait, SOURCE, { ENOENT, EBUSY, ESHUTDOWN, EINTR },
			    { FLAGS(ring_wait), AT(ring_wait, ring_id, IS_NUMBER),
			      AT(ring_wait, __reserved, IS_RESERVED) }),
	[F_RING_SYNC] = ROW(RING_SYNC, ring_sync, SOURCE, { EBUSY, ESHUTDOWN, EINTR },
			    { FLAGS(ring_sync), AT(ring_sync, out_entries, IS_OUT) }),
	[F_RING_INDEX] = ROW(RING_INDEX, ring_index, SOURCE, { ENOENT, EBUSY, EINTR },
			     { FLAGS(ring_index), AT(ring_index, ring_id, IS_NUMBER),
			       AT(ring_index, out_fetch_index, IS_OUT) }),
	[F_FINAL] = ROW(FINAL, final, SOURCE | FUZZ_ENDS, { EBUSY, ESHUTDOWN, EINTR }, { FLAGS(final) }),
	[F_STATE_SEND] = ROW(STATE_SEND, state_io, SOURCE, { EBUSY, ESHUTDOWN, EINTR, EFBIG, ENOMEM },
			     STATE_FIELDS),
	[F_STATE_RECV] = ROW(STATE_RECV, state_io, OWNER | FUZZ_SINK, { EBUSY, ESHUTDOWN, EINTR }, STATE_FIELDS),
	[F_COMMIT] = ROW(COMMIT, commit, OWNER | FUZZ_ENDS, { EBUSY, ESHUTDOWN, EINTR, EINPROGRESS },
			 { FLAGS(commit) }),
};

struct fuzz_count fuzz_counts[F_NR];
unsigned long fuzz_unknown, fuzz_compat;
int fuzz_fds[FUZZ_NR_FDS];

#define MAX_FUZZERS	8
#define NUDGE_MS	25
static struct fuzzer *fuzzers[MAX_FUZZERS];
static pthread_mutex_t fuzzers_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t limit;

uint64_t fuzz_below(struct fuzzer *f, uint64_t n)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return (f->random >> 11) % n;
}

bool fuzz_chance(struct fuzzer *f, unsigned int percent)
{
	return fuzz_below(f, 100) < percent;
}

void fuzz_open_fds(void)
{
	int pipes[2], n = 0;

	if (pipe(pipes))
		tap_bail("no pipe: %s", strerror(errno));
	fuzz_fds[n++] = pipes[0];
	fuzz_fds[n++] = pipes[1];
	fuzz_fds[n++] = eventfd(0, EFD_CLOEXEC);
	fuzz_fds[n++] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fuzz_fds[n++] = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	fuzz_fds[n++] = socket(AF_INET, SOCK_STREAM, 0);
	fuzz_fds[n++] = socket(AF_INET, SOCK_DGRAM, 0);
	fuzz_fds[n++] = socket(AF_UNIX, SOCK_STREAM, 0);
	/* Never open: the lowest are used first. */
	fuzz_fds[n++] = 1000;
	fuzz_fds[n++] = -1;
	fuzz_fds[n++] = -100;	/* AT_FDCWD */
	fuzz_fds[n++] = 0x7fffffff;
}

/* Argument pages as a 32-bit program has them: where its pointers reach. */
static uint8_t *map_low(int fd, size_t bytes, int prot)
{
	uint8_t *p = mmap(NULL, bytes, prot, MAP_SHARED | MAP_32BIT, fd, 0);

	if (p == MAP_FAILED)
		tap_bail("no memory below 2 GiB: %s", strerror(errno));
	return p;
}

/* The watchdog's signal is for calls alone: it may be sent a little late. */
static void nudges(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(how, &set, NULL);
}

void fuzzer_begin(struct fuzzer *f, struct rig *rig, uint64_t seed)
{
	int fd = memfd_create("arguments", MFD_CLOEXEC), i;

	*f = (struct fuzzer){ .rig = rig, .random = seed * 0x9e3779b97f4a7c15ULL + 0x1234567 };
	f->thread = pthread_self();
	nudges(SIG_BLOCK);
	if (fd < 0 || ftruncate(fd, 3 * PAGE))
		tap_bail("no memfd: %s", strerror(errno));
	f->arg = map_low(fd, 3 * PAGE, PROT_READ | PROT_WRITE);
	f->alias = map_low(fd, 2 * PAGE, PROT_READ);
	munmap(f->arg + 2 * PAGE, PAGE);
	close(fd);
	f->data = mmap(NULL, FUZZ_DATA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_mutex_lock(&fuzzers_lock);
	for (i = 0; i < MAX_FUZZERS && fuzzers[i]; i++)
		;
	if (f->data == MAP_FAILED || i == MAX_FUZZERS)
		tap_bail("no room for a fuzzer");
	fuzzers[i] = f;
	pthread_mutex_unlock(&fuzzers_lock);
}

void fuzzer_end(struct fuzzer *f)
{
	int i;

	pthread_mutex_lock(&fuzzers_lock);
	for (i = 0; i < MAX_FUZZERS; i++)
		if (fuzzers[i] == f)
			fuzzers[i] = NULL;
	pthread_mutex_unlock(&fuzzers_lock);
	munmap(f->arg, 2 * PAGE);
	munmap(f->alias, 2 * PAGE);
	munmap(f->data, FUZZ_DATA);
}

static void on_nudge(int number)
{
	(void)number;
}

static void watch_one(struct fuzzer *f)
{
	const char *in = __atomic_load_n(&f->in, __ATOMIC_ACQUIRE);
	uint64_t since = __atomic_load_n(&f->since, __ATOMIC_RELAXED), now = now_ms();

	if (!in || now < since + NUDGE_MS)
		return;
	/* Whatever waits must hear of a signal. */
	pthread_kill(f->thread, SIGUSR1);
	if (now < since + limit)
		return;
	tap_check(false, "%s returns within %llu ms", in, (unsigned long long)limit);
	_exit(1);
}

static void *watchdog(void *arg)
{
	int i;

	(void)arg;
	for (;;) {
		pthread_mutex_lock(&fuzzers_lock);
		for (i = 0; i < MAX_FUZZERS; i++)
			if (fuzzers[i])
				watch_one(fuzzers[i]);
		pthread_mutex_unlock(&fuzzers_lock);
		usleep(NUDGE_MS * 500);
	}
	return NULL;
}

void fuzz_watch(uint64_t limit_ms)
{
	struct sigaction action = { .sa_handler = on_nudge };
	pthread_t thread;

	/* In a child of fork() nobody is there but its one thread. */
	memset(fuzzers, 0, sizeof(fuzzers));
	pthread_mutex_init(&fuzzers_lock, NULL);
	limit = limit_ms;
	sigaction(SIGUSR1, &action, NULL);
	if (pthread_create(&thread, NULL, watchdog, NULL))
		tap_bail("no watchdog");
	pthread_detach(thread);
}

/* int 0x80 enters the kernel as a 32-bit program does: compat_ioctl. */
static int compat_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret;

	__asm__ volatile("int $0x80" : "=a"(ret)
			 : "a"(54), "b"(fd), "c"(cmd), "d"((uint32_t)(uintptr_t)arg)
			 : "memory", "r8", "r9", "r10", "r11");
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

/* With a handler the kernel's log has no line about it. */
static void no_door(int number)
{
	(void)number;
	_exit(1);
}

bool fuzz_has_compat(void)
{
	static int has = -1;
	int status = -1;
	pid_t child;

	if (has >= 0)
		return has;
	child = fork();
	if (!child && signal(SIGSEGV, no_door) == SIG_DFL)
		_exit(compat_ioctl(-1, 0, NULL) < 0 && errno == EBADF ? 0 : 1);
	waitpid(child, &status, 0);
	has = !status;
	return has;
}

/* A thread that a signal must reach, though its creator makes calls. */
void fuzz_hear(void)
{
	nudges(SIG_UNBLOCK);
}

static bool documented(const struct fuzzer *f, const struct fuzz_row *r, int err)
{
	static const int common[] = { ENOTTY, E2BIG, EINVAL, EOPNOTSUPP, EFAULT };
	unsigned int i;

	for (i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		if (err == common[i])
			return true;
	for (i = 0; i < 10 && r->errors[i]; i++)
		if (err == r->errors[i])
			return true;
	return (f->racing && err == EBADF) || (f->foreign && r->who & FUZZ_OWNER && err == EPERM);
}

static int do_call(struct fuzzer *f, int fd, const char *name, unsigned long cmd, void *arg)
{
	bool low = (uintptr_t)arg < 1UL << 31, compat = low && fuzz_has_compat() && fuzz_chance(f, 15);
	int ret;

	__atomic_store_n(&f->since, now_ms(), __ATOMIC_RELAXED);
	__atomic_store_n(&f->in, name, __ATOMIC_RELEASE);
	nudges(SIG_UNBLOCK);
	ret = compat ? compat_ioctl(fd, cmd, arg) : ioctl(fd, cmd, arg);
	f->last = ret < 0 ? errno : 0;
	nudges(SIG_BLOCK);
	__atomic_store_n(&f->in, NULL, __ATOMIC_RELEASE);
	if (compat)
		__atomic_add_fetch(&fuzz_compat, 1, __ATOMIC_RELAXED);
	return f->last;
}

int fuzz_call(struct fuzzer *f, int fd, enum fuzz_cmd cmd, void *arg)
{
	const struct fuzz_row *r = &fuzz_rows[cmd];
	struct fuzz_count *c = &fuzz_counts[cmd];
	int err = do_call(f, fd, r->name, r->cmd, arg);

	__atomic_add_fetch(&c->calls, 1, __ATOMIC_RELAXED);
	if (!err)
		__atomic_add_fetch(&c->good, 1, __ATOMIC_RELAXED);
	else if (!documented(f, r, err) && __atomic_add_fetch(&c->bad, 1, __ATOMIC_RELAXED) < 4)
		tap_note("%s failed with %d, %s: not documented for it", r->name, err, strerror(err));
	return err;
}

/* Memory that no command may touch, or that is none. */
static uint64_t bad_pointer(struct fuzzer *f)
{
	const uint64_t bad[] = { 0, 8, PAGE - 4, 0xffff888000000000ULL, 0xffffffffff600000ULL,
				 0x8000000000000000ULL, ~0ULL, ~0ULL << 12, 0x7ffffffff000ULL,
				 (uintptr_t)f->arg + 2 * PAGE, (uintptr_t)f->arg + 2 * PAGE - 4 };

	return bad[fuzz_below(f, sizeof(bad) / sizeof(bad[0]))];
}

static uint64_t bad_number(struct fuzzer *f)
{
	/* No slot 0, which is the VM's memory, and no bandwidth that takes minutes. */
	static const uint64_t bad[] = { 3, 7, 255, 511, 1024, 1025, 32768, 65535, 0x10000, 0x7fffffff,
					0x80000000, 0xffffffff, 1ULL << 32, 1ULL << 51, 1ULL << 63, ~0ULL };

	return bad[fuzz_below(f, sizeof(bad) / sizeof(bad[0]))];
}

/* Offsets and lengths: unaligned, beyond the end, wrapping around. */
static uint64_t bad_offset(struct fuzzer *f)
{
	static const uint64_t bad[] = { 0, 1, 511, PAGE - 1, PAGE, PAGE + 8, MIB - PAGE, MIB, MIB + PAGE,
					1ULL << 32, 1ULL << 47, 1ULL << 62, 1ULL << 63, ~0ULL << 12, ~0ULL };

	return bad[fuzz_below(f, sizeof(bad) / sizeof(bad[0]))];
}

void fuzz_break(struct fuzzer *f, enum fuzz_cmd cmd, void *arg)
{
	const struct fuzz_row *r = &fuzz_rows[cmd];
	const struct fuzz_field *p;
	unsigned int nr = 0;
	uint64_t value;
	int32_t fd;
	uint8_t *at;

	while (nr < FUZZ_MAX_FIELDS && r->fields[nr].size)
		nr++;
	p = &r->fields[fuzz_below(f, nr)];
	at = (uint8_t *)arg + p->at;
	switch (p->kind) {
	case IS_FLAGS:
		value = 1U << fuzz_below(f, 32);
		break;
	case IS_FD:
		fd = fuzz_fds[fuzz_below(f, FUZZ_NR_FDS)];
		memcpy(at, &fd, sizeof(fd));
		return;
	case IS_POINTER:
		value = fuzz_chance(f, 80) ? bad_pointer(f) : (uintptr_t)f->data + 1 + fuzz_below(f, 7);
		break;
	case IS_ADDRESS:
		value = fuzz_chance(f, 50) ? bad_pointer(f) : (uintptr_t)f->alias + fuzz_below(f, 2) * 8;
		break;
	case IS_OFFSET:
		value = bad_offset(f);
		break;
	case IS_NAME:
		memset(at, fuzz_chance(f, 50) ? 'x' : 0x80 | fuzz_below(f, 128), p->size);
		at[p->size - 1] = fuzz_below(f, 2);
		return;
	case IS_RESERVED:
		value = 1ULL << fuzz_below(f, 8 * p->size);
		break;
	default:
		value = bad_number(f);
		if (cmd == F_LIMITS && value == 0x10000)
			value = 0x7fff;
		if (p->size == 4 && !(uint32_t)value)
			value = 0x7ffe;
	}
	memcpy(at, &value, p->size > 8 ? 8 : p->size);
}

/* The argument with a size that is wrong, or larger than we know. */
static void wrong_size(struct fuzzer *f, int fd, enum fuzz_cmd cmd, const void *arg, bool harmless)
{
	uint32_t size = fuzz_rows[cmd].size;
	const uint32_t sizes[] = { 0, 3, 4, size / 2 + 3, size - 1, ~0u, 1u << 20, PAGE + 1, size + 8, PAGE, size + 64 };
	unsigned int which = fuzz_below(f, harmless ? 8 : 11);
	uint8_t *to = f->arg + PAGE - size / 2;	/* across two pages */

	memset(f->arg, 0, 2 * PAGE);
	if (sizes[which] >= PAGE)
		to = f->arg + 64;
	memcpy(to, arg, size);
	memcpy(to, &sizes[which], sizeof(sizes[which]));
	if (fuzz_chance(f, 40))
		to[size + fuzz_below(f, 8)] = 1;
	fuzz_call(f, fd, cmd, to);
}

static void wrong_pointer(struct fuzzer *f, int fd, enum fuzz_cmd cmd, const void *arg, bool harmless)
{
	uint32_t size = fuzz_rows[cmd].size;
	unsigned int at = fuzz_below(f, 64) + 1;
	/* A piece of state that its VMM was not told of ends the session. */
	bool may_be_read_only = cmd != F_STATE_SEND && cmd != F_STATE_RECV;

	memset(f->arg, 0, 2 * PAGE);
	if (!harmless && fuzz_chance(f, 50)) {
		memcpy(f->arg + at, arg, size);	/* seldom aligned */
		fuzz_call(f, fd, cmd, (may_be_read_only && fuzz_chance(f, 50) ? f->alias : f->arg) + at);
		return;
	}
	if (fuzz_chance(f, 50)) {
		at = 4 + fuzz_below(f, size - 4);	/* it ends where nothing is mapped */
		memcpy(f->arg + 2 * PAGE - at, arg, at);
		fuzz_call(f, fd, cmd, f->arg + 2 * PAGE - at);
		return;
	}
	fuzz_call(f, fd, cmd, (void *)(uintptr_t)bad_pointer(f));
}

void fuzz_misplace(struct fuzzer *f, int fd, enum fuzz_cmd cmd, const void *arg, bool harmless)
{
	unsigned long odd = fuzz_rows[cmd].cmd;
	bool racing = f->racing;
	int err;

	switch (fuzz_below(f, 4)) {
	case 0:
		wrong_size(f, fd, cmd, arg, harmless);
		return;
	case 1:
		wrong_pointer(f, fd, cmd, arg, harmless);
		return;
	case 2:
		/* Another driver's errno is its own affair; none may take it for success. */
		memcpy(f->arg, arg, fuzz_rows[cmd].size);
		f->racing = true;
		fuzz_call(f, fuzz_fds[2 + fuzz_below(f, FUZZ_NR_FDS - 2)], cmd, f->arg);
		f->racing = racing;
		return;
	default:
		odd ^= 1UL << (fuzz_chance(f, 50) ? 8 + fuzz_below(f, 24) : 6 + fuzz_below(f, 2));
		memcpy(f->arg, arg, fuzz_rows[cmd].size);
		err = do_call(f, fd, "an unknown command", odd, f->arg);
		__atomic_add_fetch(&fuzz_unknown, err == ENOTTY || (racing && err == EBADF), __ATOMIC_RELAXED);
		if (err != ENOTTY && !racing)
			tap_check(false, "command 0x%lx: ENOTTY, not %s", odd, strerror(err));
	}
}
