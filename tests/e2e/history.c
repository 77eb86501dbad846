// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=pair.c,tap.c timeout=120 kernels=6.1,6.12,debug
 *
 * What became of sessions: a record for each that was started, with the figures and
 * the sentence that it ended with; the last 64 of them; a reader that follows while
 * sessions end neither misses one unknowingly nor sees one twice.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pair.h"
#include "tap.h"

#define KEPT		KVM_FERRY_HISTORY_RECORDS
#define THREADS		3
#define BY_EACH		60

static struct ferry_device *dev;

/* The next record behind @after; false: there is none. */
static bool next(uint64_t after, struct kvm_ferry_history *h)
{
	int ret = ferry_device_history(dev, after, h, sizeof(*h));

	if (ret && ret != -ENOENT)
		tap_bail("history: %s", ferry_error());
	return !ret;
}

/* The number of the newest record. */
static uint64_t newest(void)
{
	struct kvm_ferry_history h;
	uint64_t after = 0;

	while (next(after, &h))
		after = h.out_number;
	return after;
}

static uint64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* What a session said of itself when it had ended, before it was closed. */
struct last_words {
	struct kvm_ferry_stats stats;
	char why[KVM_FERRY_REASON_LEN];
};

static struct last_words listen_to(struct ferry_session *s)
{
	struct last_words w = { .stats = pair_stats(s) };

	ferry_session_reason(s, w.why, sizeof(w.why));
	return w;
}

static void agrees(const struct last_words *w, uint64_t began, uint64_t number, const char *what)
{
	const struct kvm_ferry_stats *st = &w->stats;
	struct kvm_ferry_history h;
	uint64_t after = number;

	do {
		if (!next(after, &h)) {
			tap_check(false, "%s: there is a record", what);
			return;
		}
		after = h.out_number;
	} while (h.out_session_id != st->out_session_id);
	tap_check(h.out_state == st->out_state && h.out_error == st->out_error &&
		  h.out_role == st->out_role && !strcmp((char *)h.out_name, (char *)st->out_name) &&
		  h.out_owner_uid == geteuid(), "%s: it is %s, error %u, of user %u", what,
		  ferry_state_name(h.out_state), h.out_error, h.out_owner_uid);
	tap_check(h.out_total_time_ns == st->out_total_time_ns &&
		  h.out_downtime_ns == st->out_downtime_ns &&
		  h.out_ram_transferred == st->out_ram_transferred &&
		  h.out_dirty_sync_count == st->out_dirty_sync_count,
		  "%s: in %llu ns, with a downtime of %llu, %llu bytes, %llu passes", what,
		  (unsigned long long)h.out_total_time_ns, (unsigned long long)h.out_downtime_ns,
		  (unsigned long long)h.out_ram_transferred,
		  (unsigned long long)h.out_dirty_sync_count);
	tap_check(!strcmp((char *)h.out_reason, w->why), "%s: because '%s'", what, h.out_reason);
	tap_check(h.out_started_ns >= began && h.out_started_ns + h.out_total_time_ns <= wall_ns(),
		  "%s: the wall clock told when", what);
}

static void one_pair(struct pair *p)
{
	pair_open(p, -1);
	pair_start(p);
	pair_wait(p->source, KVM_FERRY_EVENT_CONVERGED);
}

static void moved_and_failed(void)
{
	struct pair p = { .bytes = 4 * MIB, .channels = 2 };
	uint64_t before, began = wall_ns();
	struct last_words source, sink;

	p.from = pair_memory(p.bytes, false);
	p.to = pair_memory(p.bytes, false);
	fill(p.from, p.bytes, 1);
	before = newest();
	pair_open(&p, -1);
	pair_close(&p);
	tap_check(newest() == before, "what was never started is not recorded");

	one_pair(&p);
	tap_check(newest() == before, "nor what has not ended");
	if (pair_switch(&p, "state", 5))
		tap_bail("not moved: %s", ferry_session_error(p.source));
	source = listen_to(p.source);
	sink = listen_to(p.sink);
	pair_close(&p);
	tap_check(newest() == before + 2 && source.stats.out_downtime_ns && !source.why[0],
		  "two that have moved are two records");
	agrees(&source, began, before, "source, moved");
	agrees(&sink, began, before, "sink, moved");

	before = newest();
	began = wall_ns();
	one_pair(&p);
	if (ferry_device_abort(dev, ferry_session_id(p.source)))
		tap_bail("abort: %s", ferry_error());
	pair_wait_state(p.sink, KVM_FERRY_STATE_FAILED);
	source = listen_to(p.source);
	sink = listen_to(p.sink);
	pair_close(&p);
	agrees(&source, began, before, "source, aborted");
	agrees(&sink, began, before, "its sink");

	before = newest();
	began = wall_ns();
	one_pair(&p);
	ferry_session_close(p.sink);
	p.sink = NULL;
	pair_wait_state(p.source, KVM_FERRY_STATE_FAILED);
	source = listen_to(p.source);
	pair_close(&p);
	agrees(&source, began, before, "source, whose sink was closed");
	munmap(p.from, p.bytes);
	munmap(p.to, p.bytes);
}

/* A source that is started, waits for a peer, and is closed. */
static void short_life(struct ferry_device *d, const char *name, uint64_t key, void *mem)
{
	struct ferry_session *s;

	if (ferry_source_create_reporting(d, name, &s) ||
	    ferry_session_add_region(s, 0, "ram", mem, PAGE) ||
	    ferry_session_add_loop(s, KVM_FERRY_CHANNEL_CONTROL, key) ||
	    ferry_session_add_loop(s, KVM_FERRY_CHANNEL_DATA, key + 1) || ferry_session_start(s))
		tap_bail("a short life: %s", ferry_error());
	ferry_session_close(s);
}

static void the_last(void)
{
	uint64_t before = newest(), after = 0, first = 0, number = 0, count = 0;
	struct kvm_ferry_history h;
	char name[KVM_FERRY_NAME_LEN], want[KVM_FERRY_NAME_LEN];
	void *mem = pair_memory(2 * MIB, false);
	bool in_order = true, named = true;
	unsigned int i;

	for (i = 0; i < 70; i++) {
		snprintf(name, sizeof(name), "life %u", i);
		short_life(dev, name, 1000 + 2 * i, mem);
	}
	while (next(after, &h)) {
		if (!count++)
			first = number = h.out_number;
		in_order &= h.out_number == number++;
		snprintf(want, sizeof(want), "life %llu", (unsigned long long)(h.out_number - before - 1));
		named &= !strcmp((char *)h.out_name, want);
		after = h.out_number;
	}
	tap_check(count == KEPT && in_order && named && after == before + 70,
		  "of 70 sessions the last %llu are kept, in order", (unsigned long long)count);
	tap_check(h.after == after, "what is asked for is left as it was");
	tap_check(next(1, &h) && h.out_number == first, "behind a record that is gone comes the oldest");
	tap_check(next(after - 1, &h) && h.out_number == after && h.out_error == ECANCELED &&
		  h.out_state == KVM_FERRY_STATE_ABORTED && strstr((char *)h.out_reason, "closed"),
		  "the newest: %s", h.out_reason);
	tap_check(!next(after, &h) && !next(after + 1, &h) && !next(~0ULL, &h) && *ferry_error(),
		  "behind the newest there is none: %s", ferry_error());
	munmap(mem, 2 * MIB);
}

static void *lives(void *arg)
{
	unsigned int thread = (uintptr_t)arg, i;
	void *mem = pair_memory(2 * MIB, false);
	char name[KVM_FERRY_NAME_LEN];
	struct ferry_device *d;

	if (ferry_device_open(&d))
		tap_bail("device: %s", ferry_error());
	for (i = 0; i < BY_EACH; i++) {
		snprintf(name, sizeof(name), "%u-%u", thread, i);
		short_life(d, name, (thread + 1) * 10000 + 2 * i, mem);
	}
	ferry_device_close(d);
	munmap(mem, 2 * MIB);
	return NULL;
}

/* Each thread's sessions end in order; so they are told of in order, and whole. */
static void at_once(void)
{
	uint64_t before = newest(), after = before, missed = 0, seen = 0;
	unsigned int i, thread, life, to_come[THREADS] = {};
	pthread_t threads[THREADS];
	struct kvm_ferry_history h;
	bool good = true;

	for (i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, lives, (void *)(uintptr_t)i);
	while (seen + missed < THREADS * BY_EACH) {
		if (!next(after, &h)) {
			/* The threads go on: there is nothing else to wait for. */
			sched_yield();
			continue;
		}
		good &= h.out_number > after && h.out_error == ECANCELED &&
			sscanf((char *)h.out_name, "%u-%u", &thread, &life) == 2 &&
			thread < THREADS && life >= to_come[thread];
		if (!good)
			break;
		to_come[thread] = life + 1;
		missed += h.out_number - after - 1;
		after = h.out_number;
		seen++;
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	tap_check(good && seen && newest() == before + THREADS * BY_EACH,
		  "a reader beside %u threads: %llu records in order, %llu more it knows to have missed",
		  THREADS, (unsigned long long)seen, (unsigned long long)missed);
}

static void of_another_user(void)
{
	uint64_t before = newest();
	struct kvm_ferry_history h;
	int status = -1;
	pid_t child;

	if (chmod(KVM_FERRY_DEVICE, 0666))
		tap_bail("chmod: %s", strerror(errno));
	child = fork();
	if (!child) {
		struct ferry_device *d;

		if (setresgid(1234, 1234, 1234) || setresuid(1234, 1234, 1234) || ferry_device_open(&d))
			_exit(2);
		short_life(d, "theirs", 77, pair_memory(2 * MIB, false));
		_exit(ferry_device_history(d, 0, &h, sizeof(h)) != -EPERM);
	}
	waitpid(child, &status, 0);
	chmod(KVM_FERRY_DEVICE, 0600);
	tap_check(!status, "who is not root may not read the history");
	if (!next(before, &h))
		tap_bail("theirs has no record");
	tap_check(h.out_owner_uid == 1234 && !strcmp((char *)h.out_name, "theirs"),
		  "but is in it: user %u", h.out_owner_uid);
}

static bool shell(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static void by_ferryctl(void)
{
	tap_check(shell("ferryctl history --json > /tmp/h.json && grep -q '\"kind\": \"history\"' /tmp/h.json && "
			"[ $(grep -c '\"number\":' /tmp/h.json) = 64 ] && "
			"grep -q '\"reason\": \"the VMM at the source closed the session\"' /tmp/h.json"),
		  "ferryctl history --json has 64 records, and reasons");
	tap_check(shell("ferryctl history > /tmp/h.txt && [ $(wc -l < /tmp/h.txt) = 65 ] && "
			"grep -q '^STARTED .* WHY$' /tmp/h.txt && "
			"tail -n 1 /tmp/h.txt | grep -q ' theirs  *source  aborted .*ECANCELED: the VMM'"),
		  "as a table");
	shell("tail -n 3 /tmp/h.txt; rm -f /tmp/h.json /tmp/h.txt");
}

int main(void)
{
	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	moved_and_failed();
	the_last();
	at_once();
	of_another_user();
	by_ferryctl();
	ferry_device_close(dev);
	return tap_done();
}
