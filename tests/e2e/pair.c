// SPDX-License-Identifier: GPL-2.0
/* Both ends of a migration in one process (no test itself). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "pair.h"
#include "tap.h"

void *pair_memory(size_t bytes, bool memfd)
{
	int fd = memfd ? memfd_create("ram", 0) : -1;
	char *p, *aligned;

	if (memfd && (fd < 0 || ftruncate(fd, bytes)))
		tap_bail("no memfd: %s", strerror(errno));
	/* Reserved with room to align, so that huge pages are possible. */
	p = mmap(NULL, bytes + 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		tap_bail("no memory: %s", strerror(errno));
	aligned = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));
	p = mmap(aligned, bytes, PROT_READ | PROT_WRITE,
		 MAP_FIXED | (memfd ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS), fd, 0);
	if (p == MAP_FAILED)
		tap_bail("no memory: %s", strerror(errno));
	if (memfd)
		close(fd);
	return p;
}

void pair_sockets(int fds[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) ||
	    connect(fds[0], (struct sockaddr *)&addr, len))
		tap_bail("no loopback: %s", strerror(errno));
	fds[1] = accept(listener, NULL, NULL);
	close(listener);
	if (fds[1] < 0)
		tap_bail("no loopback: %s", strerror(errno));
}

static int add_own(struct ferry_session *s, int fd)
{
	struct kvm_ferry_channel_add add = { .size = sizeof(add), .kind = KVM_FERRY_CHANNEL_DATA,
					     .transport = KVM_FERRY_TRANSPORT_OWN, .fd = fd };

	return ioctl(ferry_session_fd(s), KVM_FERRY_CHANNEL_ADD, &add) ? -errno : 0;
}

static void add_channel(struct pair *p, enum kvm_ferry_channel_kind kind)
{
	static uint64_t key;
	int fds[2], err;

	if (p->transport == KVM_FERRY_TRANSPORT_LOOP) {
		key += 1 + ((uint64_t)getpid() << 32);
		err = ferry_session_add_loop(p->source, kind, key);
		if (!err)
			err = ferry_session_add_loop(p->sink, kind, key);
	} else if (p->transport == KVM_FERRY_TRANSPORT_RDMA && kind == KVM_FERRY_CHANNEL_DATA) {
		err = ferry_session_listen_rdma(p->sink, (struct sockaddr *)&p->rdma,
						sizeof(p->rdma), -1);
		if (err)
			tap_bail("channel: %s", ferry_session_error(p->sink));
		err = ferry_session_connect_rdma(p->source, (struct sockaddr *)&p->rdma,
						 sizeof(p->rdma), NULL, 0, -1);
	} else if (p->transport == KVM_FERRY_TRANSPORT_OWN && kind == KVM_FERRY_CHANNEL_DATA) {
		(p->between ?: pair_sockets)(fds);
		err = add_own(p->source, fds[0]) ?: add_own(p->sink, fds[1]);
		close(fds[0]);
		close(fds[1]);
	} else {
		pair_sockets(fds);
		err = ferry_session_add_socket(p->source, kind, fds[0]);
		if (!err)
			err = ferry_session_add_socket(p->sink, kind, fds[1]);
		close(fds[0]);
		close(fds[1]);
	}
	if (err)
		tap_bail("channel: %s", ferry_session_error(p->source));
}

void pair_open(struct pair *p, int vm_fd)
{
	unsigned int i;
	int err;

	err = ferry_device_open(&p->dev);
	if (err)
		tap_bail("device: %s", ferry_error());
	err = vm_fd < 0 ? ferry_source_create_reporting(p->dev, "pair", &p->source) :
			  ferry_source_create(p->dev, vm_fd, "pair", &p->source);
	if (err || ferry_sink_create(p->dev, "pair", &p->sink))
		tap_bail("session: %s", ferry_error());
	if (ferry_session_add_region(p->source, 0, "ram", p->from, p->bytes))
		tap_bail("region: %s", ferry_session_error(p->source));
	if (ferry_session_add_region(p->sink, 0, "ram", p->to, p->bytes))
		tap_bail("region: %s", ferry_session_error(p->sink));
	add_channel(p, KVM_FERRY_CHANNEL_CONTROL);
	for (i = 0; i < p->channels; i++)
		add_channel(p, KVM_FERRY_CHANNEL_DATA);
}

void pair_start(struct pair *p)
{
	if (ferry_session_start(p->sink))
		tap_bail("start: %s", ferry_session_error(p->sink));
	if (ferry_session_start(p->source))
		tap_bail("start: %s", ferry_session_error(p->source));
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

static void tell_why(struct ferry_session *s)
{
	char why[KVM_FERRY_REASON_LEN];

	struct kvm_ferry_stats t = pair_stats(s);

	if (ferry_session_reason(s, why, sizeof(why)))
		tap_note("session: %s", why);
	tap_note("%s is %s in pass %llu: %llu bytes sent, %llu left, downtime of %llu us expected",
		 ferry_role_name(t.out_role), ferry_state_name(t.out_state),
		 (unsigned long long)t.out_dirty_sync_count,
		 (unsigned long long)t.out_ram_transferred, (unsigned long long)t.out_ram_remaining,
		 (unsigned long long)t.out_expected_downtime_ns / 1000);
	tap_note("of it memory %llu us, round trips %llu, fixed %llu; link %llu bytes a second, %llu acknowledged, %llu queued, %llu stalled passes",
		 (unsigned long long)t.out_expected_ram_ns / 1000,
		 (unsigned long long)t.out_expected_trips_ns / 1000,
		 (unsigned long long)t.out_expected_fixed_ns / 1000,
		 (unsigned long long)t.out_link_rate, (unsigned long long)t.out_ram_acked,
		 (unsigned long long)t.out_ram_queued,
		 (unsigned long long)t.out_stalled_passes);
}

void pair_wait(struct ferry_session *s, uint32_t events)
{
	struct pollfd pfd = { .fd = ferry_session_fd(s), .events = POLLIN };
	uint64_t end = now_ms() + 20000 * lab_slow();
	struct kvm_ferry_event e;

	while (now_ms() < end) {
		poll(&pfd, 1, 1000);
		if (ferry_session_event(s, &e, sizeof(e)))
			tap_bail("event: %s", ferry_session_error(s));
		if (e.out_events & events)
			return;
		if (e.out_state >= KVM_FERRY_STATE_DONE)
			break;
	}
	tell_why(s);
	tap_bail("events 0x%x did not come", events);
}

bool pair_wait_state(struct ferry_session *s, uint32_t state)
{
	struct pollfd pfd = { .fd = ferry_session_fd(s), .events = POLLIN };
	uint64_t end = now_ms() + 20000 * lab_slow();
	struct kvm_ferry_event e;

	do {
		if (ferry_session_event(s, &e, sizeof(e)))
			tap_bail("event: %s", ferry_session_error(s));
		if (e.out_state == state)
			return true;
		if (e.out_state >= KVM_FERRY_STATE_DONE) {
			tell_why(s);
			return false;
		}
		poll(&pfd, 1, 100);
	} while (now_ms() < end);
	tell_why(s);
	return false;
}

/**
 * struct arrival - what the sink's thread does, and what came of it
 * @p: the pair
 * @expect: state that must arrive
 * @length: of it
 * @err: of the sink
 */
struct arrival {
	struct pair *p;
	const void *expect;
	size_t length;
	int err;
};

static void *arrive(void *arg)
{
	struct arrival *a = arg;
	void *state = NULL;
	size_t length = 0;

	if (!pair_wait_state(a->p->sink, KVM_FERRY_STATE_PAUSED)) {
		a->err = -ESHUTDOWN;
		return NULL;
	}
	a->err = ferry_session_recv_state_all(a->p->sink, &state, &length);
	if (!a->err && (length != a->length || memcmp(state, a->expect, length)))
		a->err = -EBADMSG;
	free(state);
	if (!a->err)
		a->err = ferry_session_commit(a->p->sink);
	return NULL;
}

int pair_switch(struct pair *p, const void *state, size_t length)
{
	struct arrival a = { .p = p, .expect = state, .length = length };
	pthread_t thread;
	int err;

	pthread_create(&thread, NULL, arrive, &a);
	err = ferry_session_final(p->source);
	if (!err)
		err = ferry_session_send_state(p->source, state, length, true);
	if (!err)
		err = ferry_session_commit(p->source);
	pthread_join(thread, NULL);
	if (err)
		tell_why(p->source);
	if (a.err)
		tell_why(p->sink);
	return err ? err : a.err;
}

void pair_close(struct pair *p)
{
	ferry_session_close(p->source);
	ferry_session_close(p->sink);
	ferry_device_close(p->dev);
}

struct kvm_ferry_stats pair_stats(struct ferry_session *s)
{
	struct kvm_ferry_stats stats;

	if (ferry_session_stats(s, &stats, sizeof(stats)))
		tap_bail("stats: %s", ferry_session_error(s));
	return stats;
}

size_t resident(const void *addr, size_t bytes)
{
	size_t pages = bytes / PAGE, i, count = 0;
	uint64_t entry;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	for (i = 0; i < pages; i++) {
		off_t at = ((uintptr_t)addr / PAGE + i) * sizeof(entry);

		if (pread(fd, &entry, sizeof(entry), at) != sizeof(entry))
			tap_bail("no pagemap");
		count += entry >> 63;
	}
	close(fd);
	return count;
}

void fill(void *addr, size_t bytes, uint64_t seed)
{
	uint64_t *p = addr, x = seed * 0x9e3779b97f4a7c15ULL + 1;
	size_t i;

	for (i = 0; i < bytes / sizeof(*p); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
}
