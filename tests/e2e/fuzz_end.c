// SPDX-License-Identifier: GPL-2.0
/*
 * Sessions whose fds, or whose processes, go while something is under way (no
 * test itself).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bad_call.h"
#include "fuzz_end.h"
#include "fuzz_rig.h"
#include "tap.h"

#define LARGE_STATE	(64 * MIB)	/* more than all buffers on the way hold */

enum way { CLOSE, REPLACE, EXIT };
static const char * const ways[] = { "closed", "replaced by dup2()", "left by exit" };

/**
 * struct caller - a thread that is in a command, again and again
 * @f: it
 * @r: about this
 * @cmd: which
 * @fd: on what
 * @stop: asks it to return
 * @begun: its first call is about to be made
 */
struct caller {
	struct fuzzer f;
	struct rig *r;
	enum fuzz_cmd cmd;
	int fd;
	bool stop;
	bool begun;
	pthread_t thread;
};

static bool wants_ring(enum fuzz_cmd cmd)
{
	return (cmd >= F_SLOT_ADD && cmd <= F_RING_INDEX && cmd != F_CHANNEL_ADD && cmd != F_START &&
		cmd != F_EVENT && cmd != F_REPORT_DIRTY && cmd != F_REPORT_BITMAP) ||
	       cmd == F_RING_STATS;
}

/* A pass that takes long: FINAL waits for it. */
static void make_slow(struct rig *r, struct fuzzer *f)
{
	struct kvm_ferry_limits m = { .size = sizeof(m), .flags = KVM_FERRY_LIMIT_BANDWIDTH,
				      .max_bandwidth = 65536 };
	struct kvm_ferry_range range = { .length = RIG_BYTES };
	struct kvm_ferry_report_dirty d = { .size = sizeof(d), .ranges = (uintptr_t)&range, .count = 1 };

	fuzz_call(f, r->source, F_LIMITS, &m);
	fuzz_call(f, r->source, F_REPORT_DIRTY, &d);
}

/* Brings the sessions to where the command is right, and may have to wait. */
static void prepare(struct rig *r, struct fuzzer *f, enum fuzz_cmd cmd)
{
	bool setup = cmd == F_REGION_ADD || cmd == F_CHANNEL_ADD || cmd == F_START || cmd == F_RING_ADD;

	if (setup)
		return;
	rig_start(r, f);
	rig_await(r, f, r->source, KVM_FERRY_STATE_LIVE);
	rig_write(r, f);
	if (cmd == F_FINAL)
		make_slow(r, f);
	if (cmd != F_STATE_SEND && cmd != F_STATE_RECV && cmd != F_COMMIT)
		return;
	rig_final(r, f);
	if (cmd == F_COMMIT)
		rig_state(r, f);
	else
		rig_await(r, f, r->sink, KVM_FERRY_STATE_PAUSED);
}

static void *call(void *arg)
{
	struct caller *c = arg;
	uint8_t a[512], *large = NULL;

	fuzzer_begin(&c->f, c->r, c->f.random);
	c->f.racing = true;
	while (!__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE)) {
		rig_right(c->r, &c->f, c->cmd, a);
		if (c->cmd == F_STATE_SEND) {
			struct kvm_ferry_state_io *io = (struct kvm_ferry_state_io *)a;

			if (!large)
				large = mmap(NULL, LARGE_STATE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
					     MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
			io->data = (uintptr_t)large;
			io->length = LARGE_STATE;
		}
		__atomic_store_n(&c->begun, true, __ATOMIC_RELEASE);
		fuzz_call(&c->f, c->fd, c->cmd, a);
	}
	if (large)
		munmap(large, LARGE_STATE);
	return NULL;
}

static bool inside(struct caller *c)
{
	return __atomic_load_n(&c->f.in, __ATOMIC_ACQUIRE);
}

/* Waits until the thread is in the command, then for a moment more. */
static void catch_it(struct caller *c, struct fuzzer *f)
{
	unsigned int spin = fuzz_below(f, 3000);
	uint64_t end = now_ms() + 2000;

	if (!poll_until(__atomic_load_n(&c->begun, __ATOMIC_ACQUIRE)))
		tap_bail("a thread does not start");
	while (spin--)
		__asm__ volatile("" ::: "memory");
	while (!inside(c) && now_ms() < end)
		;
}

/* One command, one way; EXIT does not return. Was the thread in the command when its fd went? */
static bool end_during(int dev, struct fuzzer *f, enum fuzz_cmd cmd, enum way way, bool *guards)
{
	struct rig r;
	struct caller c = { .r = &r, .cmd = cmd };
	bool caught, sink;
	int other = fuzz_fds[2];	/* an eventfd */

	f->racing = true;
	rig_open(&r, f, dev, wants_ring(cmd));
	prepare(&r, f, cmd);
	sink = fuzz_rows[cmd].who & FUZZ_SINK ||
	       (!(fuzz_rows[cmd].who & FUZZ_SOURCE) && fuzz_chance(f, 50));
	c.fd = sink ? r.sink : r.source;
	c.f.random = f->random;
	if (pthread_create(&c.thread, NULL, call, &c))
		tap_bail("no thread");
	catch_it(&c, f);
	caught = inside(&c);
	if (way == EXIT)
		_exit(!caught);
	if (way == CLOSE)
		close(c.fd);
	else
		dup2(other, c.fd);
	caught = caught && inside(&c);
	/* The other end may hear of it only when the call has returned. */
	__atomic_store_n(&c.stop, true, __ATOMIC_RELEASE);
	pthread_join(c.thread, NULL);
	fuzzer_end(&c.f);
	if (way == REPLACE)
		close(c.fd);
	close(sink ? r.source : r.sink);
	*guards &= rig_free(&r);
	return caught;
}

/* The status of a child, or -1 if it does not exit. */
static int exit_of(pid_t child, uint64_t limit_ms)
{
	uint64_t end = now_ms() + limit_ms;
	int status;

	while (now_ms() < end) {
		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
		poll_pause();
	}
	kill(child, SIGKILL);
	return -1;
}

static bool exit_during(int dev, struct fuzzer *f, enum fuzz_cmd cmd, uint64_t limit_ms, bool *stuck)
{
	uint64_t seed = f->random;
	int status;
	pid_t child = fork();

	if (!child) {
		struct fuzzer own;
		bool guards;

		fuzz_watch(limit_ms);
		fuzzer_begin(&own, NULL, seed);
		end_during(dev, &own, cmd, EXIT, &guards);
	}
	fuzz_below(f, 2);
	status = exit_of(child, limit_ms);
	*stuck |= status < 0 || status > 1;
	return !status;
}

void closing(int dev, uint64_t seed, unsigned int slow)
{
	unsigned int caught[3] = {}, asked[3] = {}, tried = 0, bad = 0;
	bool guards = true, stuck = false, whole;
	uint64_t limit_ms = 15000ULL * slow, begin = now_ms();
	enum fuzz_cmd cmd;
	struct witness w;
	struct fuzzer f;
	enum way way;

	witness_begin(&w);
	fuzzer_begin(&f, NULL, seed);
	for (cmd = 0; cmd < F_NR; cmd++) {
		if (!(fuzz_rows[cmd].who & FUZZ_SESSION))
			continue;
		tried++;
		way = cmd % 2 ? CLOSE : REPLACE;
		caught[way] += end_during(dev, &f, cmd, way, &guards);
		asked[way]++;
		if (fuzz_chance(&f, 50))
			continue;
		caught[EXIT] += exit_during(dev, &f, cmd, limit_ms, &stuck);
		asked[EXIT]++;
	}
	fuzzer_end(&f);
	whole = witness_end(&w);
	for (cmd = 0; cmd < F_NR; cmd++)
		bad += fuzz_counts[cmd].bad;
	tap_check(!stuck && guards && whole && !bad && poll_until(!rig_sessions(dev)),
		  "fds that go during each of %u commands, in %llu ms: all returned, no session stays, nothing beside them was touched (%u undocumented errnos)",
		  tried, (unsigned long long)(now_ms() - begin), bad);
	for (way = CLOSE; way <= EXIT; way++)
		tap_check(caught[way] && caught[way] * 2 >= asked[way],
			  "%u of %u were %s while a thread was in the command", caught[way], asked[way],
			  ways[way]);
}

/* In a child: the sessions are its parent's. Counts what it was allowed and may not be. */
static int as_child(struct rig *r, int dev)
{
	struct kvm_ferry_create c = { .size = sizeof(c), .role = KVM_FERRY_SINK, .vm_fd = -1 };
	int bad = 0, i, fd;
	struct fuzzer f;
	uint8_t a[512];
	enum fuzz_cmd cmd;

	fuzzer_begin(&f, r, 1);
	f.foreign = f.racing = true;
	for (cmd = 0; cmd < F_NR; cmd++) {
		if (!(fuzz_rows[cmd].who & FUZZ_OWNER))
			continue;
		fd = rig_right(r, &f, cmd, a);
		bad += fuzz_call(&f, fd, cmd, a) != EPERM;
	}
	for (i = 0; i < 100; i++)
		rig_fuzz(r, &f);
	/* The watchdog looks at it. */
	fuzzer_end(&f);
	/* The device is its own to use. */
	bad += !!ioctl(dev, KVM_FERRY_CREATE, &c);
	for (cmd = 0; cmd < F_NR; cmd++)
		bad += fuzz_counts[cmd].bad;
	return bad;
}

static unsigned int children, could;
static uint64_t child_limit_ms;

/* Between two steps of a migration: a child comes, tries, and goes. */
static void try_as_child(struct rig *r, struct fuzzer *f)
{
	pid_t child = fork();

	(void)f;
	if (!child) {
		fuzz_watch(child_limit_ms);
		r->tidy = true;
		_exit(as_child(r, r->dev) ? 1 : 0);
	}
	children++;
	could += !!exit_of(child, child_limit_ms);
}

static void inherited(int dev, struct fuzzer *f, bool ring)
{
	struct rig r;
	bool guards, equal;

	children = could = 0;
	rig_open(&r, f, dev, ring);
	rig_move(&r, f, try_as_child);
	equal = r.states & 1U << KVM_FERRY_STATE_DONE && rig_equal(&r);
	guards = rig_close(&r, f);
	tap_check(equal && guards && !could,
		  "%s: %u children that inherit the fds in different states may do nothing that is the owner's (%u could), and the migration arrives whole (%s)",
		  ring ? "ring" : "report", children, could, equal ? "it did" : "it did not");
}

static uint64_t sum(const uint8_t *p)
{
	uint64_t s = 0;
	size_t i;

	for (i = 0; i < RIG_BYTES; i++)
		s = s * 31 + p[i];
	return s;
}

/* In a grandchild: the sessions' creator has exited. 0: they have ended, and ours is ours. */
static int as_orphan(struct rig *r, pid_t parent)
{
	uint64_t before = sum(r->to);
	struct kvm_ferry_event e[2];
	enum fuzz_cmd cmd;
	struct fuzzer f;
	uint8_t a[512];
	int bad = 0, i;

	fuzzer_begin(&f, r, 2);
	f.foreign = f.racing = true;
	if (!poll_until(getppid() != parent))
		return 1;
	for (i = 0; i < 2; i++) {
		bool ended = poll_until((e[i] = (struct kvm_ferry_event){ .size = sizeof(e[i]) },
					 fuzz_call(&f, i ? r->sink : r->source, F_EVENT, &e[i]) ||
					 e[i].out_state >= KVM_FERRY_STATE_DONE));

		if (!ended || f.last)
			return 2;
	}
	if (e[0].out_error != ESRCH && e[1].out_error != ESRCH)
		return 3;
	for (cmd = 0; cmd < F_NR; cmd++) {
		if (!(fuzz_rows[cmd].who & FUZZ_SESSION))
			continue;
		i = rig_right(r, &f, cmd, a);
		if (fuzz_call(&f, i, cmd, a) != EPERM && fuzz_rows[cmd].who & FUZZ_OWNER)
			bad++;
	}
	if (bad)
		return 4;
	return sum(r->to) == before ? 0 : 5;
}

/* Makes sessions, hands them to a child of its own, and exits. The child tells. */
static void as_parent(int dev, bool ring, uint64_t seed, int tell, uint64_t limit_ms)
{
	struct kvm_ferry_limits m = { .size = sizeof(m), .flags = KVM_FERRY_LIMIT_PEER_TIMEOUT,
				      .peer_timeout_ns = 1000000000 };
	pid_t self = getpid();
	struct fuzzer f;
	struct rig r;
	int result;

	fuzz_watch(limit_ms);
	fuzzer_begin(&f, &r, seed);
	rig_open(&r, &f, dev, ring);
	fuzz_call(&f, r.source, F_LIMITS, &m);
	fuzz_call(&f, r.sink, F_LIMITS, &m);
	rig_start(&r, &f);
	rig_await(&r, &f, r.source, KVM_FERRY_STATE_LIVE);
	rig_write(&r, &f);
	if (!fork()) {
		fuzz_watch(limit_ms);
		result = as_orphan(&r, self);
		if (write(tell, &result, sizeof(result)) != sizeof(result))
			_exit(1);
	}
	_exit(0);
}

static void orphaned(int dev, bool ring, uint64_t seed, uint64_t limit_ms)
{
	int fds[2], result = -1;
	pid_t child;

	if (pipe(fds))
		tap_bail("no pipe: %s", strerror(errno));
	child = fork();
	if (!child)
		as_parent(dev, ring, seed, fds[1], limit_ms);
	close(fds[1]);
	exit_of(child, limit_ms);
	/* An end of file if all who could write have gone. */
	if (read(fds[0], &result, sizeof(result)) != sizeof(result))
		result = -1;
	close(fds[0]);
	tap_check(!result && poll_until(!rig_sessions(dev)),
		  "%s: the creator exits, a child keeps the fds: both sessions end (ESRCH), the child's memory is its own (%d)",
		  ring ? "ring" : "report", result);
}

void forking(int dev, uint64_t seed, uint64_t limit_ms)
{
	struct fuzzer f;

	child_limit_ms = limit_ms;
	fuzzer_begin(&f, NULL, seed);
	inherited(dev, &f, false);
	inherited(dev, &f, true);
	fuzzer_end(&f);
	orphaned(dev, false, seed, limit_ms);
	orphaned(dev, true, seed, limit_ms);
	tap_check(poll_until(!rig_sessions(dev)), "no session stays");
}
