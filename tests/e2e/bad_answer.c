// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_call.c,pair.c,tap.c
 *
 * Arguments that can be read and not written. A command without out_ fields does
 * not write, so it does what it says: a commit that is done must never be told as
 * an error. The others undo what their caller was not told of.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bad_call.h"
#include "pair.h"
#include "tap.h"

#define BYTES (2 * MIB)

/* A copy of @arg in memory that cannot be written. */
static void *constant(const void *arg, size_t size)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		tap_bail("no memory");
	memcpy(p, arg, size);
	mprotect(p, PAGE, PROT_READ);
	return p;
}

static int call(int fd, unsigned long cmd, const void *arg, size_t size)
{
	void *p = constant(arg, size);
	int ret = ioctl(fd, cmd, p) ? errno : 0;

	munmap(p, PAGE);
	return ret;
}

static int count_fds(void)
{
	int fd, count = 0;

	for (fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void create(void)
{
	struct kvm_ferry_create arg = { .size = sizeof(arg), .role = KVM_FERRY_SINK, .vm_fd = -1 };
	struct ferry_device *dev;
	size_t sessions;
	uint64_t *ids;
	int before, err;

	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	before = count_fds();
	err = call(ferry_device_fd(dev), KVM_FERRY_CREATE, &arg, sizeof(arg));
	tap_check(err == EFAULT && count_fds() == before, "CREATE: %s, and no fd is left open",
		  strerror(err));
	err = ferry_device_list(dev, &ids, &sessions);
	tap_check(!err && !sessions, "CREATE: no session is left (%zu)", sessions);
	free(ids);
	ferry_device_close(dev);
}

/* An event that could not be told is told by the next call. */
static void event(void)
{
	struct kvm_ferry_event arg = { .size = sizeof(arg) };
	struct ferry_session *s;
	struct ferry_device *dev;
	int err;

	if (ferry_device_open(&dev) || ferry_sink_create(dev, "event", &s))
		tap_bail("sink: %s", ferry_error());
	ferry_session_abort(s);
	err = call(ferry_session_fd(s), KVM_FERRY_EVENT, &arg, sizeof(arg));
	tap_check(err == EFAULT, "EVENT: %s", strerror(err));
	err = ferry_session_event(s, &arg, sizeof(arg));
	tap_check(!err && (arg.out_events & KVM_FERRY_EVENT_STATE) &&
		  arg.out_state == KVM_FERRY_STATE_ABORTED, "EVENT: what was not told is told later");
	ferry_session_close(s);
	ferry_device_close(dev);
}

struct end {
	struct ferry_session *s;
	int err;
};

static void *take(void *arg)
{
	struct kvm_ferry_commit commit = { .size = sizeof(commit) };
	struct end *e = arg;
	void *state = NULL;
	size_t length;

	e->err = EPROTO;
	if (pair_wait_state(e->s, KVM_FERRY_STATE_PAUSED) &&
	    !ferry_session_recv_state_all(e->s, &state, &length))
		e->err = call(ferry_session_fd(e->s), KVM_FERRY_COMMIT, &commit, sizeof(commit));
	free(state);
	return NULL;
}

static void to_paused(struct pair *p)
{
	struct kvm_ferry_start start = { .size = sizeof(start) };
	struct kvm_ferry_final final = { .size = sizeof(final) };
	int err;

	p->bytes = BYTES;
	p->channels = 1;
	p->from = pair_memory(BYTES, false);
	p->to = pair_memory(BYTES, false);
	fill(p->from, BYTES, 7);
	pair_open(p, -1);
	err = call(ferry_session_fd(p->sink), KVM_FERRY_START, &start, sizeof(start));
	if (!err)
		err = call(ferry_session_fd(p->source), KVM_FERRY_START, &start, sizeof(start));
	tap_check(!err, "START of both: %s", strerror(err));
	pair_wait(p->source, KVM_FERRY_EVENT_PASS);
	err = call(ferry_session_fd(p->source), KVM_FERRY_FINAL, &final, sizeof(final));
	tap_check(!err, "FINAL: %s", strerror(err));
}

static void done(struct pair *p)
{
	pair_close(p);
	munmap(p->from, BYTES);
	munmap(p->to, BYTES);
}

static void commit(void)
{
	struct kvm_ferry_commit arg = { .size = sizeof(arg) };
	struct pair p = { .transport = KVM_FERRY_TRANSPORT_TCP };
	struct end sink;
	pthread_t thread;
	int err;

	to_paused(&p);
	sink.s = p.sink;
	pthread_create(&thread, NULL, take, &sink);
	if (ferry_session_send_state(p.source, "state", 5, true))
		tap_bail("state: %s", ferry_session_error(p.source));
	err = call(ferry_session_fd(p.source), KVM_FERRY_COMMIT, &arg, sizeof(arg));
	pthread_join(thread, NULL);
	tap_check(!err && !sink.err && pair_stats(p.source).out_state == KVM_FERRY_STATE_DONE &&
		  pair_stats(p.sink).out_state == KVM_FERRY_STATE_DONE,
		  "COMMIT: both are done, and are told so: source %s, sink %s", strerror(err),
		  strerror(sink.err));
	tap_check(!memcmp(p.from, p.to, BYTES), "COMMIT: memory has arrived");
	done(&p);
}

/* How much of the stream went is not known then: it cannot go on. */
static void state(bool receive)
{
	static char byte[16] = "some state";
	struct kvm_ferry_state_io arg = { .size = sizeof(arg), .data = (uintptr_t)byte,
					  .length = sizeof(byte) };
	struct pair p = { .transport = KVM_FERRY_TRANSPORT_TCP };
	const char *what = receive ? "STATE_RECV" : "STATE_SEND";
	struct ferry_session *s;
	int err;

	to_paused(&p);
	s = receive ? p.sink : p.source;
	if (receive) {
		if (ferry_session_send_state(p.source, byte, sizeof(byte), false))
			tap_bail("state: %s", ferry_session_error(p.source));
		pair_wait(p.sink, KVM_FERRY_EVENT_STATE_DATA);
	}
	err = call(ferry_session_fd(s), receive ? KVM_FERRY_STATE_RECV : KVM_FERRY_STATE_SEND, &arg,
		   sizeof(arg));
	tap_check(err == EFAULT, "%s: %s", what, strerror(err));
	failed_with(ferry_session_fd(s), EFAULT, "how much state was passed", "%s", what);
	done(&p);
}

int main(void)
{
	create();
	event();
	commit();
	state(false);
	state(true);
	return tap_done();
}
