// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=fuzz_calls.c,fuzz_args.c,fuzz_rig.c,fuzz_end.c,ring_vm.c,bad_call.c,pair.c,tap.c timeout=120 leak=8192
 *
 * Hostile callers: thousands of commands, most of them right, so that sessions
 * come to every state; the others broken in one place. By one thread, by
 * several on one session, with fds closed, processes forked and gone, mappings
 * and memslots changed under way.
 *
 * What must hold: every call returns, with 0 or with an errno that the uAPI header
 * documents for it; memory around the regions stays as it is; a migration that
 * nothing wrong was said about arrives whole; in the end there is no session left.
 *
 *	fuzz_ioctl [SEED [TIMES]]
 *
 * The same seed makes the same calls, though threads may meet in another order.
 * TIMES: so many times as much of all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bad_call.h"
#include "fuzz_end.h"
#include "fuzz_rig.h"
#include "tap.h"

#define SEED		20261
#define ALONE		32	/* migrations a phase */
#define RACES		16
#define MAPPINGS	14
#define SLOTS		8
#define HANG_MS		15000
#define LEAST_CALLS	5000
/* CONNECTING and FINAL may pass between two looks. */
#define MUST_REACH	(1U << KVM_FERRY_STATE_LIVE | 1U << KVM_FERRY_STATE_PAUSED | \
			 1U << KVM_FERRY_STATE_COMMITTING | 1U << KVM_FERRY_STATE_DONE)

static int dev;
static uint64_t seed = SEED;
static unsigned int slow = 1, times = 1, calls_between = 12;
static unsigned long before;

static unsigned int share(unsigned int n)
{
	return (n * times + slow - 1) / slow;
}

static unsigned long all_calls(unsigned long *good)
{
	unsigned long calls = 0;
	int i;

	*good = 0;
	for (i = 0; i < F_NR; i++) {
		calls += fuzz_counts[i].calls;
		*good += fuzz_counts[i].good;
	}
	return calls;
}

/* What every phase must leave behind: nothing. */
static void phase_done(struct witness *w, bool guards, const char *what, uint64_t begin)
{
	unsigned long good, calls = all_calls(&good), bad = 0;
	bool whole = witness_end(w), gone;
	int i;

	for (i = 0; i < F_NR; i++)
		bad += fuzz_counts[i].bad;
	gone = poll_until(!rig_sessions(dev));
	tap_check(guards && whole && gone && !bad, "%s: %lu calls in %llu ms: no errno that is not documented (%lu), memory around the regions (%s), an untouched migration beside it (%s) and the list of sessions (%s) are as they must be",
		  what, calls - before, (unsigned long long)(now_ms() - begin), bad,
		  guards ? "whole" : "broken", whole ? "whole" : "broken", gone ? "empty" : "not empty");
	before = calls;
}

static void some_calls(struct rig *r, struct fuzzer *f)
{
	unsigned int n = 1 + fuzz_below(f, 2 * calls_between);

	while (n--)
		rig_fuzz(r, f);
}

static void few_calls(struct rig *r, struct fuzzer *f)
{
	if (fuzz_chance(f, 50))
		rig_fuzz(r, f);
}

static void alone(void)
{
	unsigned int i, tidy = 0, arrived = 0, equal = 0, states = 0, n = share(ALONE);
	unsigned long calls, good;
	uint64_t begin = now_ms();
	bool guards = true;
	struct witness w;
	struct fuzzer f;
	struct rig r;

	witness_begin(&w);
	fuzzer_begin(&f, &r, seed);
	for (i = 0; i < n; i++) {
		rig_open(&r, &f, dev, fuzz_chance(&f, 40));
		r.tidy = fuzz_chance(&f, 60);
		rig_move(&r, &f, some_calls);
		tidy += r.tidy;
		states |= r.states;
		if (r.tidy && r.states & 1U << KVM_FERRY_STATE_DONE) {
			arrived++;
			equal += rig_equal(&r);
		}
		guards &= rig_close(&r, &f);
	}
	fuzzer_end(&f);
	calls = all_calls(&good);
	tap_check(good * 5 >= calls * 2, "%lu of %lu calls succeeded", good, calls);
	phase_done(&w, guards, "one thread", begin);
	tap_check(arrived && arrived == equal && arrived * 2 >= tidy,
		  "of %u migrations that nothing may spoil %u were fuzzed to their end, and %u arrived whole",
		  tidy, arrived, equal);
	tap_check((states & MUST_REACH) == MUST_REACH && states >> KVM_FERRY_STATE_FAILED,
		  "sessions came to LIVE, PAUSED, COMMITTING, DONE, and failed or were aborted (0x%x)", states);
}

/**
 * struct racer - a thread that calls what it likes
 * @f: it
 * @r: about this
 * @stop: asks it to return
 * @calls: made
 * @seed: of its generator
 * @scribbler: writes to @victim's argument instead
 */
struct racer {
	struct fuzzer f;
	struct rig *r;
	bool *stop;
	uint64_t seed;
	struct racer *victim;
	bool there;
	pthread_t thread;
};

static void scribble(struct racer *a)
{
	uint8_t *to = FUZZ_SHARED(&a->victim->f);

	/* Size and flags. Nothing that the kernel is told to write to. */
	to[fuzz_below(&a->f, 8)] ^= 1 << fuzz_below(&a->f, 8);
}

static void *race(void *arg)
{
	struct racer *a = arg;

	fuzzer_begin(&a->f, a->r, a->seed);
	a->f.racing = true;
	a->f.shared = a->victim == a;
	__atomic_store_n(&a->there, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(a->stop, __ATOMIC_ACQUIRE)) {
		if (a->victim && a->victim != a)
			scribble(a);
		else
			rig_fuzz(a->r, &a->f);
	}
	return NULL;
}

#define RACERS 3

static void racers_start(struct racer *racers, struct rig *r, bool *stop, struct fuzzer *f)
{
	int i;

	*stop = false;
	memset(racers, 0, RACERS * sizeof(*racers));
	/* The second one's arguments change under way: the third sees to it. */
	racers[1].victim = racers[2].victim = &racers[1];
	for (i = 0; i < RACERS; i++) {
		racers[i].r = r;
		racers[i].stop = stop;
		racers[i].seed = f->random + i;
		if (pthread_create(&racers[i].thread, NULL, race, &racers[i]))
			tap_bail("no thread");
		if (!poll_until(__atomic_load_n(&racers[i].there, __ATOMIC_ACQUIRE)))
			tap_bail("a thread does not start");
	}
}

static void racers_stop(struct racer *racers, bool *stop)
{
	int i;

	__atomic_store_n(stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < RACERS; i++)
		pthread_join(racers[i].thread, NULL);
	for (i = 0; i < RACERS; i++)
		fuzzer_end(&racers[i].f);
}

static void together(void)
{
	unsigned int i, states = 0, n = share(RACES);
	struct racer racers[RACERS];
	uint64_t begin = now_ms();
	bool guards = true, stop;
	struct witness w;
	struct fuzzer f;
	struct rig r;

	witness_begin(&w);
	fuzzer_begin(&f, &r, seed + 1);
	f.racing = true;
	for (i = 0; i < n; i++) {
		rig_open(&r, &f, dev, fuzz_chance(&f, 40));
		r.tidy = fuzz_chance(&f, 70);
		racers_start(racers, &r, &stop, &f);
		rig_move(&r, &f, few_calls);
		racers_stop(racers, &stop);
		states |= r.states;
		guards &= rig_close(&r, &f);
	}
	fuzzer_end(&f);
	phase_done(&w, guards, "several threads on one session", begin);
	tap_check(states >> KVM_FERRY_STATE_PAUSED, "sessions came far (states 0x%x)", states);
}

/**
 * struct meddler - a thread that changes mappings, or memslots
 * @f: its generator
 * @r: whose
 * @stop: asks it to return
 * @done: changes made
 */
struct meddler {
	struct fuzzer f;
	struct rig *r;
	bool stop;
	unsigned long done;
	uint64_t seed;
	pthread_t thread;
};

static void remap(uint8_t *at, size_t bytes)
{
	if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != at)
		tap_bail("memory cannot be mapped again: %s", strerror(errno));
}

/* Does something to a few pages, then puts usable memory there again. */
static void change_pages(struct meddler *m, uint8_t *base, size_t all)
{
	size_t bytes = (1 + fuzz_below(&m->f, 8)) * PAGE;
	uint8_t *at = base + fuzz_below(&m->f, (all - bytes) / PAGE + 1) * PAGE, *aside;
	int fd;

	switch (fuzz_below(&m->f, 7)) {
	case 0:
		munmap(at, bytes);
		break;
	case 1:
		mprotect(at, bytes, fuzz_chance(&m->f, 50) ? PROT_NONE : PROT_READ);
		break;
	case 2:
		madvise(at, bytes, MADV_DONTNEED);
		return;
	case 3:
		fd = memfd_create("other", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, bytes))
			tap_bail("no memfd: %s", strerror(errno));
		mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, fd, 0);
		if (fuzz_chance(&m->f, 30) && ftruncate(fd, 0))
			tap_bail("a memfd cannot be cut: %s", strerror(errno));
		close(fd);
		break;
	case 4:
		aside = mremap(at, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
			       m->f.data + fuzz_below(&m->f, 64) * PAGE);
		if (aside == MAP_FAILED)
			break;
		mremap(aside, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at);
		remap(aside, bytes);
		return;
	case 5:
		fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
		mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE, fd, 0);
		close(fd);
		return;
	default:
		madvise(at, bytes, MADV_COLD);
		madvise(at, bytes, MADV_PAGEOUT);
		return;
	}
	if (fuzz_chance(&m->f, 70))
		usleep(fuzz_below(&m->f, 300));
	remap(at, bytes);
}

static void *change_mappings(void *arg)
{
	struct meddler *m = arg;

	fuzzer_begin(&m->f, m->r, m->seed);
	while (!__atomic_load_n(&m->stop, __ATOMIC_ACQUIRE)) {
		if (m->r->ring && fuzz_chance(&m->f, 10))
			mprotect(m->r->ring_at, PAGE, fuzz_chance(&m->f, 50) ? PROT_NONE : PROT_READ);
		else
			change_pages(m, fuzz_chance(&m->f, 50) ? m->r->from : m->r->to, RIG_BYTES);
		m->done++;
	}
	return NULL;
}

/* As no VMM should, and as one does that does not tell. */
static void *change_slots(void *arg)
{
	struct meddler *m = arg;
	struct rig *r = m->r;

	fuzzer_begin(&m->f, r, m->seed);
	while (!__atomic_load_n(&m->stop, __ATOMIC_ACQUIRE)) {
		struct kvm_userspace_memory_region s = {
			.slot = fuzz_chance(&m->f, 60) ? 0 : RIG_SPARE_SLOT,
			.flags = fuzz_chance(&m->f, 80) ? KVM_MEM_LOG_DIRTY_PAGES : 0,
			.memory_size = fuzz_below(&m->f, 3) * (RIG_BYTES / 2),
			.userspace_addr = (uintptr_t)r->from + fuzz_below(&m->f, 2) * (RIG_BYTES / 2),
		};

		if (s.slot)
			s.guest_phys_addr = 4 * MIB;
		/* Also with addresses and sizes that KVM refuses to change in place. */
		ioctl(r->vm.fd, KVM_SET_USER_MEMORY_REGION, &s);
		if (m->done % 64 == 40) {
			close(r->vm.cpus[0].fd);
			r->vm.cpus[0].fd = -1;
		}
		if (m->done % 64 == 60) {
			close(r->vm.fd);
			r->vm.fd = -1;
		}
		m->done++;
		usleep(fuzz_below(&m->f, 400));
	}
	return NULL;
}

static void meddled(void *(*how)(void *), bool slots, unsigned int n, const char *what)
{
	unsigned int i, states = 0, ended = 0;
	uint64_t begin = now_ms();
	unsigned long done = 0;
	bool guards = true;
	struct meddler m;
	struct witness w;
	struct fuzzer f;
	struct rig r;

	witness_begin(&w);
	fuzzer_begin(&f, &r, seed + 2 + slots);
	f.racing = true;
	for (i = 0; i < n; i++) {
		rig_open(&r, &f, dev, slots || fuzz_chance(&f, 40));
		r.hands_off = r.tidy = true;
		m = (struct meddler){ .r = &r, .seed = f.random };
		if (pthread_create(&m.thread, NULL, how, &m))
			tap_bail("no thread");
		rig_move(&r, &f, few_calls);
		__atomic_store_n(&m.stop, true, __ATOMIC_RELEASE);
		pthread_join(m.thread, NULL);
		fuzzer_end(&m.f);
		done += m.done;
		states |= r.states;
		ended += !!(r.states >> KVM_FERRY_STATE_DONE);
		guards &= rig_close(&r, &f);
	}
	fuzzer_end(&f);
	phase_done(&w, guards, what, begin);
	tap_check(done > n && states >> KVM_FERRY_STATE_LIVE & 1 && ended,
		  "%s: %lu changes, states 0x%x, %u of %u sessions came to an end by themselves", what,
		  done, states, ended, n);
}

static void depth(void)
{
	unsigned long good, calls = all_calls(&good);
	unsigned int never = 0;
	int i;

	for (i = 0; i < F_NR; i++) {
		const struct fuzz_count *c = &fuzz_counts[i];

		tap_note("%-13s %7lu calls, %7lu succeeded", fuzz_rows[i].name, c->calls, c->good);
		never += !c->good || c->good == c->calls;
	}
	tap_check(!never, "every command succeeded, and failed (%u did not)", never);
	tap_check(calls >= LEAST_CALLS * (uint64_t)times / slow && fuzz_unknown,
		  "%lu calls, %lu of them succeeded; %lu that there are not said ENOTTY", calls, good,
		  fuzz_unknown);
	if (fuzz_has_compat())
		tap_check(fuzz_compat >= LEAST_CALLS * (uint64_t)times / slow / 20,
			  "%lu calls came by the 32-bit door", fuzz_compat);
	else
		tap_note("this kernel has no 32-bit door");
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		times = strtoul(argv[2], NULL, 0);
	slow = lab_slow();
	tap_note("seed %llu, %u times as much, for a kernel that is %u times as slow",
		 (unsigned long long)seed, times, slow);
	dev = open(KVM_FERRY_DEVICE, O_RDWR | O_CLOEXEC);
	if (dev < 0)
		tap_bail("device: %s", strerror(errno));
	fuzz_open_fds();
	fuzz_has_compat();
	fuzz_watch(HANG_MS * slow);
	alone();
	together();
	closing(dev, seed + 4, slow);
	before = all_calls(&(unsigned long){ 0 });
	forking(dev, seed + 5, HANG_MS * slow);
	before = all_calls(&(unsigned long){ 0 });
	meddled(change_mappings, false, share(MAPPINGS), "mappings that change under way");
	meddled(change_slots, true, share(SLOTS), "memslots that change, vCPU and VM fds that go");
	depth();
	close(dev);
	return tap_done();
}
