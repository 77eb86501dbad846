// SPDX-License-Identifier: GPL-2.0
/*
 * What a page costs between the ring and the bitmap of pages that may be sent,
 * by the module and by a userspace program for the same VM:
 *
 *  - in bulk: the guest fills the better part of a ring before anybody looks,
 *    and halts; then all of it is harvested and reset at once;
 *  - under way: while the guest writes as fast as it can.
 *
 * The module looks at a ring every 50 ms at the latest, and an emulated guest
 * needs longer to fill one. So for the first, the module's task is confined to
 * one processor, and the guest runs there at a realtime priority.
 *
 * Pages are hardly sent meanwhile (the bandwidth is limited), so that senders
 * do not take the processor away from what is measured.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "ferry.h"

#define BYTES		(192 * MIB)
#define PAGES		(BYTES / PAGE)
#define SWEEPS		4
#define INTERVAL_US	20000		/* a quarter of a ring or less, as the module aims at */

static void must(int err, const char *what)
{
	if (err)
		die("%s: %s", what, ferry_error());
}

/* Both ends in this process, in memory: nothing travels far. */
static void open_pair(struct vm *vm, struct ferry_session **source, struct ferry_session **sink,
		      void *to)
{
	struct kvm_ferry_limits slow = { .size = sizeof(slow), .flags = KVM_FERRY_LIMIT_BANDWIDTH,
					 .max_bandwidth = 65536 };
	static uint64_t key = 0xbe9c4;
	struct ferry_device *dev;

	must(ferry_device_open(&dev), "device");
	must(ferry_source_create(dev, vm->fd, "harvest", source), "source");
	must(ferry_sink_create(dev, "harvest", sink), "sink");
	ferry_device_close(dev);
	must(ferry_session_add_region(*source, 0, "ram", vm->mem, vm->bytes), "region");
	must(ferry_session_add_region(*sink, 0, "ram", to, vm->bytes), "region");
	must(ferry_session_add_slot(*source, FERRY_SLOT(0, 0), 0, 0, vm->bytes), "slot");
	must(ferry_session_add_loop(*source, KVM_FERRY_CHANNEL_CONTROL, ++key), "channel");
	must(ferry_session_add_loop(*sink, KVM_FERRY_CHANNEL_CONTROL, key), "channel");
	must(ferry_session_add_loop(*source, KVM_FERRY_CHANNEL_DATA, ++key), "channel");
	must(ferry_session_add_loop(*sink, KVM_FERRY_CHANNEL_DATA, key), "channel");
	must(ferry_session_limits(*source, &slow, sizeof(slow)), "limits");
	must(ferry_session_add_ring(*source, 0, vm->gfns, RING_BYTES, vm->fetch), "ring");
	must(ferry_session_start(*sink), "start");
	must(ferry_session_start(*source), "start");
}

static void wait_live(struct ferry_session *s)
{
	struct kvm_ferry_event e;

	do {
		if (ferry_session_wait_event(s, &e, sizeof(e), 10000) != 1 ||
		    ferry_state_ended(e.out_state))
			die("the session does not come up: %s", ferry_session_error(s));
	} while (e.out_state != KVM_FERRY_STATE_LIVE);
}

static void tell(const char *how, uint64_t entries, uint64_t harvest, uint64_t reset,
		 uint64_t resets)
{
	printf("bench {\"what\": \"harvest\", \"how\": \"%s\", \"entries\": %llu, \"harvest_ns\": %llu, \"reset_ns\": %llu, \"resets\": %llu}\n",
	       how, (unsigned long long)entries, (unsigned long long)harvest,
	       (unsigned long long)reset, (unsigned long long)resets);
	fflush(stdout);
}

static void confine(pid_t pid, const char *who)
{
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	if (sched_setaffinity(pid, sizeof(first), &first))
		die("%s cannot be confined to a processor: %s", who, strerror(errno));
}

/* The session's task that harvests. */
static pid_t find_task(uint64_t session)
{
	char want[32], path[300], comm[32];
	pid_t found = 0;
	struct dirent *d;
	DIR *proc = opendir("/proc");

	snprintf(want, sizeof(want), "ferry-src-%llu\n", (unsigned long long)session);
	while (!found && proc && (d = readdir(proc))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/comm", d->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(comm, sizeof(comm), f) && !strcmp(comm, want))
			found = atoi(d->d_name);
		fclose(f);
	}
	closedir(proc);
	if (!found)
		die("no task is named %s", want);
	return found;
}

static void set_policy(int policy, int priority)
{
	struct sched_param param = { .sched_priority = priority };

	if (sched_setscheduler(0, policy, &param))
		die("no realtime priority: %s", strerror(errno));
}

/* Whoever is at a realtime priority may keep the processor for ever. */
static void allow_realtime(void)
{
	int fd = open("/proc/sys/kernel/sched_rt_runtime_us", O_WRONLY);

	if (fd < 0 || write(fd, "-1", 2) != 2)
		die("realtime tasks cannot be let run on: %s", strerror(errno));
	close(fd);
	/* From 6.12 on there is a server for all others; older kernels lack the file. */
	fd = open("/sys/kernel/debug/sched/fair_server/cpu0/runtime", O_WRONLY);
	if (fd >= 0 && write(fd, "0", 1) != 1)
		die("the fair server cannot be turned off: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void by_module(struct vm *vm, void *to, bool bulk)
{
	struct ferry_session *source, *sink;
	struct kvm_ferry_stats before, after;
	cpu_set_t all;
	int i, reason;

	sched_getaffinity(0, sizeof(all), &all);
	open_pair(vm, &source, &sink, to);
	wait_live(source);
	if (bulk) {
		confine(find_task(ferry_session_id(source)), "the module's task");
		confine(0, "the guest");
		set_policy(SCHED_FIFO, 1);
	}
	must(ferry_session_sync_rings(source, NULL), "sync");
	must(ferry_session_stats(source, &before, sizeof(before)), "stats");
	for (i = 0; i < SWEEPS; i++) {
		vm_set_writes(vm, FIRST_PAGE, PAGES - FIRST_PAGE, 1);
		while ((reason = vm_run(vm))) {
			if (reason != KVM_EXIT_DIRTY_RING_FULL)
				vm_tell_exit(vm, reason);
			must(ferry_session_wait_ring(source, 0), "wait");
		}
		/* Sleeps: the module's task has the processor. */
		must(ferry_session_sync_rings(source, NULL), "sync");
	}
	if (bulk) {
		set_policy(SCHED_OTHER, 0);
		sched_setaffinity(0, sizeof(all), &all);
	}
	must(ferry_session_stats(source, &after, sizeof(after)), "stats");
	must(ferry_session_abort(source), "abort");
	must(ferry_session_ring_index(source, 0, &vm->fetch), "index");
	ferry_session_close(source);
	ferry_session_close(sink);
	tell(bulk ? "ours-bulk" : "ours", after.out_ring_entries - before.out_ring_entries,
	     after.out_harvest_ns - before.out_harvest_ns, after.out_reset_ns - before.out_reset_ns,
	     after.out_ring_resets - before.out_ring_resets);
}

/**
 * struct reaper - the userspace thread
 * @vm: the VM
 * @map: dirty pages
 * @stop: the guest is at its end
 * @entries: taken
 * @harvest: ns
 * @reset: ns
 * @resets: how many
 */
struct reaper {
	struct vm *vm;
	uint64_t *map;
	bool stop;
	uint64_t entries;
	uint64_t harvest;
	uint64_t reset;
	uint64_t resets;
};

static void *reap_main(void *arg)
{
	struct reaper *r = arg;
	bool last;

	do {
		uint64_t begin, middle;
		uint32_t taken;

		last = __atomic_load_n(&r->stop, __ATOMIC_ACQUIRE);
		begin = now_ns();
		taken = vm_harvest(r->vm, r->map);
		middle = now_ns();
		if (taken) {
			vm_reset(r->vm, taken);
			r->reset += now_ns() - middle;
			r->resets++;
		}
		r->harvest += middle - begin;
		r->entries += taken;
		if (!last)
			usleep(INTERVAL_US);
	} while (!last);
	return NULL;
}

static void by_user(struct vm *vm)
{
	struct reaper r = { .vm = vm, .map = calloc(PAGES / 64, sizeof(uint64_t)) };
	pthread_t thread;
	int i, reason;

	if (!r.map || pthread_create(&thread, NULL, reap_main, &r))
		die("no thread");
	for (i = 0; i < SWEEPS; i++) {
		vm_set_writes(vm, FIRST_PAGE, PAGES - FIRST_PAGE, 1);
		while ((reason = vm_run(vm))) {
			if (reason != KVM_EXIT_DIRTY_RING_FULL)
				vm_tell_exit(vm, reason);
			usleep(1000);
		}
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	free(r.map);
	tell("user", r.entries, r.harvest, r.reset, r.resets);
}

/* The guest at rest, and a ring that is nearly full: what KVM takes at the least. */
static void by_user_at_rest(struct vm *vm)
{
	uint64_t *map = calloc(PAGES / 64, sizeof(*map));
	uint64_t begin, middle, entries = 0, harvest = 0, reset = 0;
	uint32_t taken;
	int i;

	for (i = 0; i < SWEEPS; i++) {
		vm_dirty(vm, FIRST_PAGE, PAGES - FIRST_PAGE, 1);
		begin = now_ns();
		taken = vm_harvest(vm, map);
		middle = now_ns();
		vm_reset(vm, taken);
		reset += now_ns() - middle;
		harvest += middle - begin;
		entries += taken;
	}
	tell("user-bulk", entries, harvest, reset, SWEEPS);
	free(map);
}

int harvest_main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 1;
	void *mem = memory(BYTES), *to = memory(BYTES);
	struct vm vm;

	allow_realtime();
	fill(mem, BYTES, 3);
	vm_create(&vm, mem, BYTES);
	/* All pages are mapped once before anything is measured. */
	vm_dirty(&vm, FIRST_PAGE, PAGES - FIRST_PAGE, 1);
	vm_reset(&vm, vm_harvest(&vm, NULL));
	while (rounds-- > 0) {
		by_module(&vm, to, true);
		by_user_at_rest(&vm);
		by_module(&vm, to, false);
		by_user(&vm);
	}
	return 0;
}
