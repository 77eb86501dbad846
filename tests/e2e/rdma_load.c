// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=pair.c,tap.c module=no alone=yes timeout=120 leak=8192 kernels=6.1,6.12 asked=debug,newest libs=pthread
 *
 * kvm_ferry_rdma.ko loads when the first RDMA channel is added, by its alias
 * alone, and unloads when no channel uses it, before the core and never under a
 * session. Where it is not installed, nothing else is the worse for it.
 *
 * Alone, since it installs modules in its host.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pair.h"
#include "tap.h"

#define CORE	"kvm_ferry"
#define RDMA	"kvm_ferry_rdma"
/* No more: on the debug kernel rdma_rxe needed more than ten seconds for 4 MiB of data. */
#define BYTES	(1 * MIB)

static struct sockaddr_in addr = { .sin_family = AF_INET };

static void sh(const char *command)
{
	if (system(command))
		tap_bail("failed: %s", command);
}

static bool loaded(const char *module)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/module/%s", module);
	return !access(path, F_OK);
}

/* As rmmod does it; an errno, or 0. */
static int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? errno : 0;
}

/* A session's end lets go of its channels a little after its file is closed. */
static int unload_soon(const char *module)
{
	int tries, err = EAGAIN;

	for (tries = 0; err == EAGAIN && tries < 100; tries++) {
		err = unload(module);
		if (err)
			usleep(50000);
	}
	return err;
}

static bool rdma_at_hand(struct ferry_device *dev)
{
	struct kvm_ferry_info info = { .size = sizeof(info) };

	if (ferry_device_info(dev, &info, sizeof(info)))
		tap_bail("info: %s", ferry_error());
	return info.out_transports & 1ULL << KVM_FERRY_TRANSPORT_RDMA;
}

static int connect_rdma(struct ferry_session *s)
{
	struct sockaddr_in peer = addr;

	peer.sin_port = htons(4791);
	return ferry_session_connect_rdma(s, (struct sockaddr *)&peer, sizeof(peer), NULL, 0, -1);
}

static void move(struct pair *p, const char *how)
{
	static char state[4096];

	pair_wait(p->source, KVM_FERRY_EVENT_CONVERGED);
	tap_check(!pair_switch(p, state, sizeof(state)) && !memcmp(p->from, p->to, BYTES),
		  "%s: moved, memory is equal", how);
	tap_note("%llu ms", (unsigned long long)pair_stats(p->source).out_total_time_ns / 1000000);
}

static void open_pair(struct pair *p, enum kvm_ferry_transport transport)
{
	*p = (struct pair){ .bytes = BYTES, .channels = 1, .transport = transport, .rdma = addr };
	p->from = pair_memory(BYTES, false);
	p->to = pair_memory(BYTES, false);
	fill(p->from, BYTES / 2, transport + 1);
	pair_open(p, -1);
}

static void close_pair(struct pair *p)
{
	pair_close(p);
	munmap(p->from, BYTES);
	munmap(p->to, BYTES);
}

static void not_installed(void)
{
	const char *wanted = "kvm_ferry_rdma.ko cannot be loaded";
	struct pair p;
	int err;

	open_pair(&p, KVM_FERRY_TRANSPORT_TCP);
	err = connect_rdma(p.source);
	tap_check(err == -EOPNOTSUPP && strstr(ferry_session_error(p.source), wanted),
		  "not installed, source: %d, %s", err, ferry_session_error(p.source));
	err = ferry_session_listen_rdma(p.sink, (struct sockaddr *)&addr, sizeof(addr), -1);
	tap_check(err == -EOPNOTSUPP && strstr(ferry_session_error(p.sink), wanted),
		  "not installed, sink: %d, %s", err, ferry_session_error(p.sink));
	tap_check(!rdma_at_hand(p.dev), "INFO does not tell of RDMA");
	pair_start(&p);
	move(&p, "the same sessions over TCP");
	close_pair(&p);
	tap_check(!loaded(RDMA), "nothing was loaded");
}

/* As "make install" does it, but for the room that a copy takes. */
static void install(void)
{
	sh("d=/lib/modules/$(uname -r)/updates && mkdir -p $d && ln -s /lab/kvm_ferry.ko /lab/kvm_ferry_rdma.ko $d && depmod");
}

/* The lab may run a test again in the same host. */
static void uninstall(void)
{
	sh("rm -rf /lib/modules/$(uname -r)/updates && depmod");
}

static struct ferry_session *source(struct ferry_device *dev)
{
	struct ferry_session *s;

	if (ferry_source_create_reporting(dev, "load", &s))
		tap_bail("session: %s", ferry_error());
	return s;
}

static void by_alias(void)
{
	struct ferry_device *dev;
	struct ferry_session *s, *idle;

	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	s = source(dev);
	idle = source(dev);
	tap_check(!loaded(RDMA) && !rdma_at_hand(dev), "installed, and not loaded yet");
	tap_check(!connect_rdma(s), "a channel is added");
	tap_check(loaded(RDMA) && rdma_at_hand(dev), "it is loaded, and INFO tells of it");
	tap_check(unload(RDMA) == EAGAIN && unload(CORE) == EAGAIN, "none unloads under a channel");
	tap_check(!connect_rdma(s), "another channel is added");
	ferry_session_close(s);
	tap_check(!unload_soon(RDMA), "it unloads when its last channel is gone, beside a session");
	tap_check(!loaded(RDMA) && !rdma_at_hand(dev), "it is gone, and INFO tells so");
	tap_check(!connect_rdma(idle) && loaded(RDMA), "the next channel loads it again");
	ferry_session_close(idle);
	ferry_device_close(dev);
	/* No session, no file: only the transport holds the core. */
	usleep(200000 * lab_slow());
	tap_check(unload(CORE) == EAGAIN && loaded(RDMA), "the core does not unload before it");
	tap_check(!unload_soon(RDMA) && !unload_soon(CORE), "both unload in turn");
	sh("modprobe kvm_ferry");
	tap_check(loaded(CORE) && !loaded(RDMA), "the core alone is loaded again");
}

static void with_move(void)
{
	struct pair p;

	open_pair(&p, KVM_FERRY_TRANSPORT_RDMA);
	tap_check(loaded(RDMA), "loaded by a channel that will be used");
	pair_start(&p);
	tap_check(unload(RDMA) == EAGAIN && unload(CORE) == EAGAIN, "none unloads while memory moves");
	move(&p, "over RDMA, loaded on demand");
	tap_check(unload(RDMA) == EAGAIN, "it does not unload before the sessions are closed");
	close_pair(&p);
	tap_check(!unload_soon(RDMA), "it unloads behind them");
}

static bool enough;

static void *unload_all_the_time(void *count)
{
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		if (!unload(RDMA))
			__atomic_add_fetch((unsigned int *)count, 1, __ATOMIC_RELAXED);
		usleep(20000);
	}
	return NULL;
}

/* Whoever adds a channel while somebody unloads has one, or is told that he has none. */
static void race(void)
{
	unsigned int unloads = 0, added = 0, refused = 0, other = 0;
	time_t begin = time(NULL);
	struct ferry_device *dev;
	pthread_t thread;

	if (ferry_device_open(&dev) || pthread_create(&thread, NULL, unload_all_the_time, &unloads))
		tap_bail("no device, or no thread");
	/* Four seconds, and more of them if nothing has come of it yet. */
	while (time(NULL) < begin + 4 * lab_slow() ||
	       (!(__atomic_load_n(&unloads, __ATOMIC_RELAXED) && added) &&
		time(NULL) < begin + 20 * lab_slow())) {
		struct ferry_session *s = source(dev);
		int err = connect_rdma(s);

		if (!err)
			added++;
		else if (err == -EOPNOTSUPP)
			refused++;
		else
			other++;
		ferry_session_close(s);
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	ferry_device_close(dev);
	tap_check(unloads && added && !other,
		  "loaded and unloaded at once: %u added, %u refused, %u otherwise, unloaded %u times",
		  added, refused, other, unloads);
	unload_soon(RDMA);
	tap_check(!loaded(RDMA), "it is unloaded at last");
}

int main(void)
{
	inet_pton(AF_INET, "10.99.0.1", &addr.sin_addr);
	sh("insmod /lab/kvm_ferry.ko");
	not_installed();
	install();
	by_alias();
	sh("modprobe -q rdma_rxe; ip link add ferry0 type veth peer name ferry1 && ip addr add 10.99.0.1/24 dev ferry0 && "
	   "ip link set ferry0 up && ip link set ferry1 up && rdma link add rxe0 type rxe netdev ferry0");
	with_move();
	race();
	sh("rdma link delete rxe0");
	sh("ip link del ferry0");
	uninstall();
	return tap_done();
}
