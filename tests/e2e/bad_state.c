// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=ring_vm.c,bad_call.c,pair.c,tap.c timeout=60 leak=4096
 *
 * Every command in every state that it is not for, at both ends; values that
 * can never be right. None of them disturbs the session: it moves after all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "bad_call.h"
#include "ring_vm.h"
#include "tap.h"

#define BYTES (8 * MIB)

enum column { SETUP, CONNECTING, LIVE, FINAL, PAUSED, DONE, FAILED, ABORTED, NR_COLUMNS };
static const char * const columns[] = {
	"setup", "connecting", "live", "final", "paused", "done", "failed", "aborted",
};

#define __	-1	/* not tried: it would wait, or change something */
#define BUSY	EBUSY
#define DOWN	ESHUTDOWN

static struct vm vm;
static uint64_t map[BYTES / PAGE / 64];
static struct kvm_ferry_range range = { .length = PAGE };
static uint8_t bytes[64];

static struct kvm_ferry_region_add region = { .size = sizeof(region), .region_id = 7, .name = "other",
					      .length = PAGE };
static struct kvm_ferry_channel_add channel = { .size = sizeof(channel), .kind = KVM_FERRY_CHANNEL_DATA,
						.transport = KVM_FERRY_TRANSPORT_LOOP, .fd = -1, .key = 99 };
static struct kvm_ferry_start start = { .size = sizeof(start) };
static struct kvm_ferry_slot move_slot = { .size = sizeof(move_slot), .length = BYTES };
static struct kvm_ferry_report_dirty report = { .size = sizeof(report), .count = 1 };
static struct kvm_ferry_bitmap bitmap = { .size = sizeof(bitmap), .length = PAGE };
static struct kvm_ferry_ring_wait ring_wait = { .size = sizeof(ring_wait) };
static struct kvm_ferry_ring_sync sync_rings = { .size = sizeof(sync_rings) };
static struct kvm_ferry_ring_index ring_index = { .size = sizeof(ring_index) };
static struct kvm_ferry_final final = { .size = sizeof(final) };
static struct kvm_ferry_state_io state_io = { .size = sizeof(state_io), .length = 8 };
static struct kvm_ferry_commit commit = { .size = sizeof(commit) };
static struct kvm_ferry_abort abort_it = { .size = sizeof(abort_it) };
static struct kvm_ferry_stats stats = { .size = sizeof(stats) };
static struct kvm_ferry_region_stats region_stats = { .size = sizeof(region_stats) };
static struct kvm_ferry_region_stats no_region = { .size = sizeof(no_region), .index = 7 };
static struct kvm_ferry_ring_stats ring_stats = { .size = sizeof(ring_stats) };
static struct kvm_ferry_ring_stats no_ring = { .size = sizeof(no_ring), .index = 1 };
static struct kvm_ferry_limits throttle = { .size = sizeof(throttle), .flags = KVM_FERRY_LIMIT_THROTTLE };
static struct kvm_ferry_limits speed = { .size = sizeof(speed), .flags = KVM_FERRY_LIMIT_DOWNTIME,
					 .downtime_limit_ns = 1000000000 };
static struct kvm_ferry_limits final_speed = { .size = sizeof(final_speed),
					       .flags = KVM_FERRY_LIMIT_FINAL_BANDWIDTH,
					       .final_bandwidth = KVM_FERRY_BANDWIDTH_SAME };
static struct kvm_ferry_limits inflight = { .size = sizeof(inflight), .flags = KVM_FERRY_LIMIT_INFLIGHT,
					    .inflight_bytes = 1 << 20 };
static struct kvm_ferry_limits timeout = { .size = sizeof(timeout),
					   .flags = KVM_FERRY_LIMIT_PEER_TIMEOUT,
					   .peer_timeout_ns = 9000000000 };

/**
 * struct row - what a command gives in each state
 * @name: of the command
 * @cmd: its number
 * @arg: its argument
 * @want: errno by state, or __
 */
struct row {
	const char *name;
	unsigned long cmd;
	void *arg;
	int want[NR_COLUMNS];
};

/* After FINAL the rings are empty: whoever waits for them is let go at once. */
static const struct row source_rows[] = {
	/*                                           SETUP CONN  LIVE  FINAL PAUSED DONE  FAILED ABORTED */
	{ "REGION_ADD", KVM_FERRY_REGION_ADD, &region, { __, BUSY, BUSY, BUSY, BUSY, DOWN, DOWN, DOWN } },
	{ "CHANNEL_ADD", KVM_FERRY_CHANNEL_ADD, &channel, { __, BUSY, BUSY, BUSY, BUSY, DOWN, DOWN, DOWN } },
	{ "START", KVM_FERRY_START, &start, { __, BUSY, BUSY, BUSY, BUSY, DOWN, DOWN, DOWN } },
	{ "SLOT_MOVE", KVM_FERRY_SLOT_MOVE, &move_slot, { 0, __, __, BUSY, BUSY, DOWN, DOWN, DOWN } },
	{ "REPORT_DIRTY", KVM_FERRY_REPORT_DIRTY, &report, { BUSY, 0, 0, BUSY, BUSY, DOWN, DOWN, DOWN } },
	{ "REPORT_BITMAP", KVM_FERRY_REPORT_BITMAP, &bitmap, { BUSY, 0, 0, BUSY, BUSY, DOWN, DOWN, DOWN } },
	{ "FETCH_DIRTY", KVM_FERRY_FETCH_DIRTY, &bitmap, { BUSY, 0, 0, BUSY, BUSY, DOWN, DOWN, DOWN } },
	{ "RING_WAIT", KVM_FERRY_RING_WAIT, &ring_wait, { 0, 0, 0, __, 0, DOWN, DOWN, DOWN } },
	{ "RING_SYNC", KVM_FERRY_RING_SYNC, &sync_rings, { 0, 0, 0, __, BUSY, DOWN, DOWN, DOWN } },
	{ "RING_INDEX", KVM_FERRY_RING_INDEX, &ring_index, { BUSY, BUSY, BUSY, BUSY, BUSY, 0, 0, 0 } },
	{ "STATE_SEND", KVM_FERRY_STATE_SEND, &state_io, { BUSY, BUSY, BUSY, BUSY, __, DOWN, DOWN, DOWN } },
	{ "COMMIT", KVM_FERRY_COMMIT, &commit, { BUSY, BUSY, BUSY, BUSY, BUSY, 0, DOWN, DOWN } },
	{ "FINAL", KVM_FERRY_FINAL, &final, { BUSY, BUSY, __, __, 0, DOWN, DOWN, DOWN } },
	{ "LIMITS of flight", KVM_FERRY_LIMITS, &inflight, { 0, BUSY, BUSY, BUSY, BUSY, BUSY, BUSY, BUSY } },
	{ "LIMITS of silence", KVM_FERRY_LIMITS, &timeout, { 0, BUSY, BUSY, BUSY, BUSY, BUSY, BUSY, BUSY } },
	{ "LIMITS of downtime", KVM_FERRY_LIMITS, &speed, { 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ "LIMITS of the final pass", KVM_FERRY_LIMITS, &final_speed, { 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ "LIMITS of throttle", KVM_FERRY_LIMITS, &throttle, { 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ "STATS", KVM_FERRY_STATS, &stats, { 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ "RING_STATS", KVM_FERRY_RING_STATS, &ring_stats, { 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ "REGION_STATS", KVM_FERRY_REGION_STATS, &region_stats, { BUSY, 0, 0, 0, 0, 0, 0, 0 } },
	{ "REGION_STATS of none", KVM_FERRY_REGION_STATS, &no_region,
	  { BUSY, ENOENT, ENOENT, ENOENT, ENOENT, ENOENT, ENOENT, ENOENT } },
	{ "RING_STATS of none", KVM_FERRY_RING_STATS, &no_ring,
	  { ENOENT, ENOENT, ENOENT, ENOENT, ENOENT, ENOENT, ENOENT, ENOENT } },
	{ "ABORT", KVM_FERRY_ABORT, &abort_it, { __, __, __, __, __, 0, 0, 0 } },
	{}
};

static const struct row sink_rows[] = {
	{ "REGION_ADD", KVM_FERRY_REGION_ADD, &region, { __, BUSY, BUSY, BUSY, BUSY, DOWN, DOWN, DOWN } },
	{ "CHANNEL_ADD", KVM_FERRY_CHANNEL_ADD, &channel, { __, BUSY, BUSY, BUSY, BUSY, DOWN, DOWN, DOWN } },
	{ "START", KVM_FERRY_START, &start, { __, BUSY, BUSY, BUSY, BUSY, DOWN, DOWN, DOWN } },
	{ "STATE_RECV", KVM_FERRY_STATE_RECV, &state_io, { BUSY, BUSY, BUSY, BUSY, __, DOWN, DOWN, DOWN } },
	{ "COMMIT", KVM_FERRY_COMMIT, &commit, { BUSY, BUSY, BUSY, BUSY, BUSY, 0, DOWN, DOWN } },
	{ "LIMITS of silence", KVM_FERRY_LIMITS, &timeout, { 0, BUSY, BUSY, BUSY, BUSY, BUSY, BUSY, BUSY } },
	{ "LIMITS of the final pass", KVM_FERRY_LIMITS, &final_speed,
	  { ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY } },
	{ "LIMITS of throttle", KVM_FERRY_LIMITS, &throttle,
	  { ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY } },
	{ "REGION_STATS", KVM_FERRY_REGION_STATS, &region_stats, { BUSY, 0, 0, 0, 0, 0, 0, 0 } },
	{ "RING_STATS", KVM_FERRY_RING_STATS, &ring_stats,
	  { ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY } },
	{ "ABORT", KVM_FERRY_ABORT, &abort_it, { __, __, __, __, __, 0, 0, 0 } },
	{}
};

static void on_alarm(int number)
{
	(void)number;
}

/* A command that waits for what cannot come is cut short by a signal: EINTR. */
static int call(int fd, const struct row *r)
{
	struct itimerval limit = { .it_value.tv_sec = 3, .it_interval.tv_sec = 1 }, none = {};
	int err;

	setitimer(ITIMER_REAL, &limit, NULL);
	err = ioctl(fd, r->cmd, r->arg) < 0 ? errno : 0;
	setitimer(ITIMER_REAL, &none, NULL);
	return err;
}

static void in_state(struct ferry_session *s, const struct row *r, enum column col, const char *end)
{
	unsigned int tried = 0, good = 0;
	int fd = ferry_session_fd(s);
	char wrong[80] = "";

	if (pair_stats(s).out_state != (col < DONE ? (uint32_t)col : pair_stats(s).out_state))
		tap_bail("%s is not %s", end, columns[col]);
	for (; r->name; r++) {
		struct kvm_ferry_reason why = { .size = sizeof(why) };
		int err;

		if (r->want[col] == __)
			continue;
		tried++;
		err = call(fd, r);
		ioctl(fd, KVM_FERRY_REASON, &why);
		if (err == r->want[col] && (!err || (why.out_error == err && why.out_reason[0]))) {
			good++;
			continue;
		}
		snprintf(wrong, sizeof(wrong), ": not %s: %s", r->name, strerror(err));
		tap_note("%s at the %s, %s: got \"%s\" (%s), wanted \"%s\"", r->name, end, columns[col],
			 strerror(err), why.out_reason, strerror(r->want[col]));
	}
	tap_check(good == tried, "%u of %u commands at the %s give what they must when it is %s%s", good,
		  tried, end, columns[col], wrong);
}

static void both(struct pair *p, enum column col)
{
	in_state(p->source, source_rows, col, "source");
	in_state(p->sink, sink_rows, col, "sink");
}

static void *ask_final(void *arg)
{
	return (void *)(long)ferry_session_final(((struct pair *)arg)->source);
}

static void open_pair(struct pair *p)
{
	*p = (struct pair){ .bytes = BYTES, .channels = 1, .transport = KVM_FERRY_TRANSPORT_TCP };
	p->from = vm.mem;
	p->to = pair_memory(BYTES, false);
	pair_open(p, vm.fd);
	vm_hand_over(&vm, p->source, BYTES);
}

static void close_pair(struct pair *p)
{
	vm_take_back(&vm, "the end");
	pair_close(p);
	munmap(p->to, BYTES);
}

static void a_whole_life(void)
{
	struct kvm_ferry_limits slow = { .size = sizeof(slow), .flags = KVM_FERRY_LIMIT_BANDWIDTH,
					 .max_bandwidth = 65536 };
	pthread_t thread;
	struct pair p;
	void *err;

	fill(vm.mem + MIB, 2 * MIB, 3);
	open_pair(&p);
	both(&p, SETUP);
	if (ferry_session_start(p.source))
		tap_bail("start: %s", ferry_error());
	in_state(p.source, source_rows, CONNECTING, "source");
	if (ferry_session_start(p.sink))
		tap_bail("start: %s", ferry_error());
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	both(&p, LIVE);
	/*
	 * FINAL lasts while it creeps: 16 s, and what the vCPU writes meanwhile takes a
	 * minute more. Without that, FINAL would be over at once if a pass with all of
	 * it had begun before: the sink hears of FINAL when that pass has ended.
	 */
	ferry_session_limits(p.source, &slow, sizeof(slow));
	fill(vm.mem + 3 * MIB, MIB, 4);
	ferry_session_report_range(p.source, 0, 3 * MIB, MIB);
	pthread_create(&thread, NULL, ask_final, &p);
	await_state(ferry_session_fd(p.source), KVM_FERRY_STATE_FINAL);
	cpu_program(&vm.cpus[0], 4 * MIB, 4 * MIB / PAGE, 1);
	cpu_run_to_end(&vm.cpus[0]);
	await_state(ferry_session_fd(p.sink), KVM_FERRY_STATE_FINAL);
	both(&p, FINAL);
	slow.max_bandwidth = 0;
	ferry_session_limits(p.source, &slow, sizeof(slow));
	pthread_join(thread, &err);
	tap_check(!err, "FINAL returns once the limit is lifted");
	await_state(ferry_session_fd(p.sink), KVM_FERRY_STATE_PAUSED);
	both(&p, PAUSED);
	tap_check(!pair_switch(&p, bytes, sizeof(bytes)), "after all of that it moves");
	tap_check(!memcmp(p.from, p.to, BYTES), "and is equal");
	both(&p, DONE);
	close_pair(&p);
}

static void bad_ends(void)
{
	struct pair p;

	open_pair(&p);
	in_state(p.sink, sink_rows, SETUP, "sink");
	ferry_session_start(p.sink);
	in_state(p.sink, sink_rows, CONNECTING, "sink");
	ferry_session_start(p.source);
	await_state(ferry_session_fd(p.source), KVM_FERRY_STATE_LIVE);
	ferry_session_abort(p.sink);
	failed_with(ferry_session_fd(p.source), EPIPE, "the peer ended the migration", "its sink aborts");
	in_state(p.source, source_rows, FAILED, "source");
	in_state(p.sink, sink_rows, ABORTED, "sink");
	close_pair(&p);

	open_pair(&p);
	pair_start(&p);
	await_state(ferry_session_fd(p.sink), KVM_FERRY_STATE_LIVE);
	ferry_session_abort(p.source);
	failed_with(ferry_session_fd(p.sink), EPIPE, "the peer ended the migration", "its source aborts");
	in_state(p.source, source_rows, ABORTED, "source");
	in_state(p.sink, sink_rows, FAILED, "sink");
	close_pair(&p);
}

static void bad_create(int dev)
{
	struct kvm_ferry_create good = { .size = sizeof(good), .vm_fd = -1, .role = KVM_FERRY_SINK }, c;

	c = good;
	c.role = 2;
	refused(dev, KVM_FERRY_CREATE, &c, EOPNOTSUPP, "role 2", "a role that there is not");
	c = good;
	c.dirty_source = 2;
	c.role = KVM_FERRY_SOURCE;
	refused(dev, KVM_FERRY_CREATE, &c, EOPNOTSUPP, "dirty source 2", "a dirty source that there is not");
	c = good;
	c.dirty_source = KVM_FERRY_DIRTY_REPORT;
	refused(dev, KVM_FERRY_CREATE, &c, EINVAL, "sink has no dirty source", "a sink with one");
	c = good;
	strcpy((char *)c.name, "bell\a");
	refused(dev, KVM_FERRY_CREATE, &c, EINVAL, "printable", "a name with a bell");
	c = good;
	memset(c.name, 'x', sizeof(c.name));
	refused(dev, KVM_FERRY_CREATE, &c, EINVAL, "does not end", "a name without an end");
	c = good;
	c.name[3] = 'x';
	refused(dev, KVM_FERRY_CREATE, &c, EINVAL, "behind its end", "a name with bytes behind its end");
}

/* A source with rings: what it takes, and puts back to what it was, and what not. */
static void throttles(int fd)
{
	static const struct { uint64_t value; bool throttle, floor; } rows[] = {
		{ 1, false, false }, { 63, false, false }, { 64, true, true }, { 1ULL << 32, true, true },
		{ (1ULL << 32) + 1, false, false }, { 1ULL << 63, false, false },
		{ ~0ULL - 1, false, false }, { KVM_FERRY_THROTTLE_AUTO, true, false },
		{ 1024, true, true }, { 0, true, true },
	};
	struct kvm_ferry_limits l;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned long long value = rows[i].value;

		l = (struct kvm_ferry_limits){ .size = sizeof(l), .flags = KVM_FERRY_LIMIT_THROTTLE,
					       .throttle = value };
		if (rows[i].throttle)
			taken(fd, KVM_FERRY_LIMITS, &l, "throttle %llu", value);
		else
			refused(fd, KVM_FERRY_LIMITS, &l, EINVAL, "throttle is", "throttle %llu", value);
		l = (struct kvm_ferry_limits){ .size = sizeof(l), .throttle_floor = value,
					       .flags = KVM_FERRY_LIMIT_THROTTLE_FLOOR };
		if (rows[i].floor)
			taken(fd, KVM_FERRY_LIMITS, &l, "throttle_floor %llu", value);
		else
			refused(fd, KVM_FERRY_LIMITS, &l, EINVAL, "throttle_floor is",
				"throttle_floor %llu", value);
	}
	/* One that is wrong, and neither is set. */
	l = (struct kvm_ferry_limits){ .size = sizeof(l), .throttle = KVM_FERRY_THROTTLE_AUTO,
				       .throttle_floor = 63, .flags = KVM_FERRY_LIMIT_THROTTLE |
				       KVM_FERRY_LIMIT_THROTTLE_FLOOR };
	refused(fd, KVM_FERRY_LIMITS, &l, EINVAL, "throttle_floor is 63", "a policy with a wrong floor");
}

static void bad_limits(void)
{
	static const struct { uint32_t flag; uint64_t bw, down, flight, silence, state; const char *words; } rows[] = {
		{ KVM_FERRY_LIMIT_BANDWIDTH, .bw = 65535, .words = "max_bandwidth" },
		{ KVM_FERRY_LIMIT_BANDWIDTH, .bw = ~0ULL, .words = "max_bandwidth" },
		{ KVM_FERRY_LIMIT_DOWNTIME, .down = 999999, .words = "downtime_limit_ns" },
		{ KVM_FERRY_LIMIT_DOWNTIME, .down = ~0ULL, .words = "downtime_limit_ns" },
		{ KVM_FERRY_LIMIT_INFLIGHT, .flight = 262143, .words = "inflight_bytes" },
		{ KVM_FERRY_LIMIT_INFLIGHT, .flight = (64 << 20) + 1, .words = "inflight_bytes" },
		{ KVM_FERRY_LIMIT_PEER_TIMEOUT, .silence = 99999999, .words = "peer_timeout_ns" },
		{ KVM_FERRY_LIMIT_PEER_TIMEOUT, .silence = ~0ULL, .words = "peer_timeout_ns" },
		{ KVM_FERRY_LIMIT_STATE_TIME, .state = 2000000000001ULL, .words = "state_time_ns" },
	};
	struct kvm_ferry_limits l, now = { .size = sizeof(now) }, then = { .size = sizeof(then) };
	unsigned int i;
	struct pair p;
	int fd;

	open_pair(&p);
	fd = ferry_session_fd(p.source);
	ioctl(fd, KVM_FERRY_LIMITS, &then);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		l = (struct kvm_ferry_limits){ .size = sizeof(l), .flags = rows[i].flag,
			.max_bandwidth = rows[i].bw, .downtime_limit_ns = rows[i].down,
			.inflight_bytes = rows[i].flight, .peer_timeout_ns = rows[i].silence, .state_time_ns = rows[i].state };
		refused(fd, KVM_FERRY_LIMITS, &l, EINVAL, rows[i].words, "%s out of bounds", rows[i].words);
	}
	l = (struct kvm_ferry_limits){ .size = sizeof(l), .flags = KVM_FERRY_LIMIT_VERIFY, .verify = 2 };
	refused(fd, KVM_FERRY_LIMITS, &l, EINVAL, "verify is 2", "verify 2");
	throttles(fd);
	l.verify = 1;
	refused(ferry_session_fd(p.sink), KVM_FERRY_LIMITS, &l, ENOTTY, "at the source", "verify at a sink");
	l.flags = KVM_FERRY_LIMIT_STATE_TIME;
	refused(ferry_session_fd(p.sink), KVM_FERRY_LIMITS, &l, ENOTTY, "at the source", "state time at a sink");
	tap_check(!ioctl(fd, KVM_FERRY_LIMITS, &now) && !memcmp(&now, &then, sizeof(now)) &&
		  now.downtime_limit_ns == 300000000 && now.inflight_bytes == 4 << 20 &&
		  now.peer_timeout_ns == 10000000000 && !now.max_bandwidth && !now.verify &&
		  now.throttle == KVM_FERRY_THROTTLE_NEVER && !now.throttle_floor && !now.state_time_ns &&
		  now.final_bandwidth == KVM_FERRY_BANDWIDTH_SAME,
		  "the limits are the defaults still");
	ferry_session_abort(p.source);
	close_pair(&p);
}

/* START of a session that lacks something. */
static void incomplete(void)
{
	struct kvm_ferry_channel_add control = channel;
	struct kvm_ferry_slot slot = { .size = sizeof(slot), .length = PAGE };
	struct ferry_device *dev;
	struct ferry_session *s;
	int fd;

	if (ferry_device_open(&dev) || ferry_source_create(dev, vm.fd, NULL, &s))
		tap_bail("session: %s", ferry_error());
	fd = ferry_session_fd(s);
	control.kind = KVM_FERRY_CHANNEL_CONTROL;
	control.key = 100;
	refused(fd, KVM_FERRY_START, &start, EINVAL, "no region", "START without a region");
	refused(fd, KVM_FERRY_SLOT_ADD, &slot, ENOENT, "no region 0", "a slot before its region");
	ferry_session_add_region(s, 0, "ram", vm.mem, BYTES);
	refused(fd, KVM_FERRY_START, &start, EINVAL, "no control channel", "START without control");
	taken(fd, KVM_FERRY_CHANNEL_ADD, &control, "a control channel");
	refused(fd, KVM_FERRY_START, &start, EINVAL, "no data channel", "START without data");
	taken(fd, KVM_FERRY_CHANNEL_ADD, &channel, "a data channel");
	refused(fd, KVM_FERRY_START, &start, EINVAL, "no ring", "START without a ring");
	bad_create(ferry_device_fd(dev));
	ferry_session_close(s);
	ferry_device_close(dev);
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &action, NULL);
	vm_open(&vm, BYTES, BYTES, 4096);
	vm_add_cpu(&vm);
	region.addr = (uintptr_t)mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	report.ranges = (uintptr_t)&range;
	bitmap.bitmap = (uintptr_t)map;
	state_io.data = (uintptr_t)bytes;
	incomplete();
	bad_limits();
	a_whole_life();
	bad_ends();
	vm_close(&vm);
	return tap_done();
}
