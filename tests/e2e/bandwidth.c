// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=rdma_link.c,pair.c,tap.c timeout=240 leak=8192 kernels=6.1,6.12 asked=debug
 *
 * Bandwidth limits, measured: a session's own, changed while it runs; another one for
 * the final pass; the host's, which sessions share fairly whatever channels they have,
 * RDMA too, and of which nothing is lost when one wants less, or ends.
 *
 * All memory is reported dirty again and again, so that there is always something to
 * send. A rate is the bytes between two readings over the time between them; the limits
 * are far below what an emulated CPU sends.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "pair.h"
#include "rdma_link.h"
#include "tap.h"

#define BYTES	(16 * MIB)
#define MB	1000000ULL
#define MOST	3

static struct pair pairs[MOST];
static bool open_now[MOST];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* protects: open_now */
static struct ferry_device *dev;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void pause_for_a_moment(void)
{
	poll(NULL, 0, 10);
}

/* Keeps all of the memory dirty. */
static void *dirty(void *arg)
{
	unsigned int i;

	(void)arg;
	for (;;) {
		pthread_mutex_lock(&lock);
		for (i = 0; i < MOST; i++)
			if (open_now[i])
				ferry_session_report_range(pairs[i].source, 0, 0, BYTES);
		pthread_mutex_unlock(&lock);
		pause_for_a_moment();
	}
	return NULL;
}

static void set(struct ferry_session *s, uint32_t flag, uint64_t rate)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = flag, .max_bandwidth = rate,
				      .final_bandwidth = rate };

	if (ferry_session_limits(s, &l, sizeof(l)))
		tap_bail("limits: %s", ferry_session_error(s));
}

static struct kvm_ferry_host_limits host(uint32_t flags, uint64_t rate)
{
	struct kvm_ferry_host_limits h = { .flags = flags, .max_bandwidth = rate };

	if (ferry_device_host_limits(dev, &h, sizeof(h)))
		tap_bail("host: %s", ferry_error());
	return h;
}

static void begin(unsigned int i, enum kvm_ferry_transport transport, unsigned int channels,
		  uint64_t rate)
{
	struct pair *p = &pairs[i];

	*p = (struct pair){ .bytes = BYTES, .channels = channels, .transport = transport };
	if (transport == KVM_FERRY_TRANSPORT_RDMA)
		p->rdma = rdma_address();
	p->from = pair_memory(BYTES, false);
	p->to = pair_memory(BYTES, false);
	fill(p->from, BYTES, i + 1);
	memset(p->to, 1, BYTES);	/* no first touch of a page costs the sink time */
	pair_open(p, -1);
	set(p->source, KVM_FERRY_LIMIT_BANDWIDTH, rate);
	pair_start(p);
	if (!pair_wait_state(p->source, KVM_FERRY_STATE_LIVE))
		tap_bail("session %u does not come to live", i);
	pthread_mutex_lock(&lock);
	open_now[i] = true;
	pthread_mutex_unlock(&lock);
}

static void keep_still(unsigned int i)
{
	pthread_mutex_lock(&lock);
	open_now[i] = false;
	pthread_mutex_unlock(&lock);
}

static void end(unsigned int i)
{
	keep_still(i);
	pair_close(&pairs[i]);
	munmap(pairs[i].from, BYTES);
	munmap(pairs[i].to, BYTES);
}

/**
 * struct measured - what came of a measurement
 * @rate: bytes a second of each session
 * @acked: of the first one, by what its peer acknowledged
 * @sum: of all
 * @host: of all, by what the host counts
 * @over: bytes: the most that all together were ahead of their limit
 */
struct measured {
	double rate[MOST];
	double acked;
	double sum;
	double host;
	double over;
};

/* From now on until @nr sessions have sent what they may, together, in @seconds. */
static struct measured measure(unsigned int nr, uint64_t rate, double seconds)
{
	uint64_t sent[MOST] = {}, at[MOST] = {}, all, begun = 0, counted, acked;
	double first = now(), last, before;
	struct measured m = { .over = 0 };
	unsigned int i;

	counted = host(0, 0).out_transferred;
	ferry_session_sync_rings(pairs[0].source, NULL);
	acked = pair_stats(pairs[0].source).out_ram_acked;
	before = now();
	for (i = 0; i < nr; i++)
		begun += sent[i] = pair_stats(pairs[i].source).out_ram_transferred;
	first = (before + now()) / 2;
	do {
		pause_for_a_moment();
		last = now();
		for (i = 0, all = 0; i < nr; i++)
			all += at[i] = pair_stats(pairs[i].source).out_ram_transferred;
		/* By the longest time that may lie between the two readings. */
		if (all - begun - rate * (now() - before) > m.over)
			m.over = all - begun - rate * (now() - before);
	} while (all - begun < rate * seconds);
	last = (last + now()) / 2;
	for (i = 0; i < nr; i++)
		m.rate[i] = (at[i] - sent[i]) / (last - first);
	m.sum = (all - begun) / (last - first);
	m.host = (host(0, 0).out_transferred - counted) / (last - first);
	ferry_session_sync_rings(pairs[0].source, NULL);
	acked = pair_stats(pairs[0].source).out_ram_acked - acked;
	m.acked = acked / (now() - first);
	return m;
}

/* How far off, in percent. */
static double error(double rate, double want)
{
	return (rate / want - 1) * 100;
}

static bool within(double rate, double want, double percent)
{
	return error(rate, want) < percent && error(rate, want) > -percent;
}

/* What a bucket holds, and a batch: more than these nobody is ahead. */
static double most_ahead(uint64_t rate)
{
	double part = rate / 50.0;

	return part + (part > 256 << 10 ? part : 256 << 10);
}

static void check_rate(struct measured m, uint64_t rate, const char *what)
{
	tap_check(within(m.sum, rate, 5) && within(m.acked, rate, 5),
		  "%s: %.2f MB/s of %.2f, %+.2f %%; acknowledged %+.2f %%", what, m.sum / MB,
		  (double)rate / MB, error(m.sum, rate), error(m.acked, rate));
	tap_check(m.over <= most_ahead(rate), "never ahead by more than %.0f kB (of %.0f)", m.over / 1e3,
		  most_ahead(rate) / 1e3);
}

/*
 * A higher limit holds at once: nobody waits for what the old one had said. So whoever
 * waits when it falls is let go, too, and that is not measured: a batch a channel.
 */
static void one(enum kvm_ferry_transport transport, unsigned int channels)
{
	const char *how = transport == KVM_FERRY_TRANSPORT_LOOP ? "loop" : "tcp";
	static const uint64_t rates[] = { 16 * MB, 2 * MB, 12 * MB };
	unsigned int i;

	tap_note("%s, %u channels", how, channels);
	begin(0, transport, channels, 8 * MB);
	measure(1, 8 * MB, 0.3);
	check_rate(measure(1, 8 * MB, 1.5), 8 * MB, how);
	for (i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		set(pairs[0].source, KVM_FERRY_LIMIT_BANDWIDTH, rates[i]);
		if (i && rates[i] < rates[i - 1])
			measure(1, rates[i], 0.5);
		check_rate(measure(1, rates[i], 1.5), rates[i], "changed while it runs");
	}
	set(pairs[0].source, KVM_FERRY_LIMIT_BANDWIDTH, 0);
	tap_check(measure(1, 48 * MB, 0.5).sum > 24 * MB, "and faster without");
	end(0);
}

static void *call_final(void *arg)
{
	struct pair *p = arg;

	return (void *)(intptr_t)ferry_session_final(p->source);
}

/* FINAL with all of the memory dirty, as the dirty one leaves it. */
static pthread_t begin_final(struct pair *p)
{
	pthread_t thread;

	keep_still(p - pairs);
	ferry_session_report_range(p->source, 0, 0, BYTES);
	pthread_create(&thread, NULL, call_final, p);
	if (!pair_wait_state(p->source, KVM_FERRY_STATE_FINAL))
		tap_bail("no final pass");
	return thread;
}

/* How fast the first session's final pass goes, but for its beginning and its end. */
static double final_pass(uint64_t rate)
{
	pthread_t thread = begin_final(&pairs[0]);
	double whole = (double)BYTES / rate, got;
	void *err;

	measure(1, rate, whole * 0.1);
	got = measure(1, rate, whole * 0.6).sum;
	pthread_join(thread, &err);
	if (err)
		tap_bail("final: %s", ferry_session_error(pairs[0].source));
	return got;
}

static void check_final(uint64_t live, uint64_t final, uint64_t want, const char *what)
{
	double rate;

	begin(0, KVM_FERRY_TRANSPORT_TCP, 2, live);
	if (final != KVM_FERRY_BANDWIDTH_SAME)
		set(pairs[0].source, KVM_FERRY_LIMIT_FINAL_BANDWIDTH, final);
	rate = measure(1, live, 0.5).sum;
	tap_check(within(rate, live, 10), "%s: live as ever: %+.2f %%", what, error(rate, live));
	rate = final_pass(want);
	tap_check(within(rate, want, 5), "%s: the final pass at %.2f MB/s of %.2f, %+.2f %%", what,
		  rate / MB, (double)want / MB, error(rate, want));
	end(0);
}

/* Senders that wait for a limit that would take minutes are let go by a new one. */
static void change_in_final(void)
{
	pthread_t thread;
	double begun;
	void *err;

	begin(0, KVM_FERRY_TRANSPORT_LOOP, 2, 16 * MB);
	set(pairs[0].source, KVM_FERRY_LIMIT_FINAL_BANDWIDTH, 65536);
	measure(1, 16 * MB, 0.2);
	begun = now();
	thread = begin_final(&pairs[0]);
	set(pairs[0].source, KVM_FERRY_LIMIT_BANDWIDTH, 12 * MB);
	tap_check(pair_stats(pairs[0].source).out_state == KVM_FERRY_STATE_FINAL,
		  "the limit of the other passes changes nothing");
	set(pairs[0].source, KVM_FERRY_LIMIT_FINAL_BANDWIDTH, KVM_FERRY_BANDWIDTH_SAME);
	pthread_join(thread, &err);
	/* It would have taken 256 s. */
	tap_check(!err && now() - begun < 60, "changed in the final pass: over after %.2f s", now() - begun);
	end(0);
}

static void check_shares(const double *want, unsigned int nr, uint64_t rate, const char *what)
{
	struct measured m;
	double sum = 0;
	unsigned int i;

	measure(nr, rate, 0.4);
	m = measure(nr, rate, 2);
	for (i = 0; i < nr; i++) {
		sum += want[i];
		tap_check(within(m.rate[i], want[i], 10), "%s: session %u has %.2f MB/s of %.2f, %+.2f %%",
			  what, i, m.rate[i] / MB, want[i] / MB, error(m.rate[i], want[i]));
	}
	tap_check(within(m.sum, sum, 5) && within(m.host, sum, 5),
		  "%s: together %+.2f %%, by the host's count %+.2f %%", what, error(m.sum, sum),
		  error(m.host, sum));
	tap_check(m.over <= most_ahead(rate), "%s: never ahead by more than %.0f kB", what, m.over / 1e3);
}

static void check_told(uint64_t rate, uint64_t share, unsigned int sessions)
{
	struct kvm_ferry_host_limits h = host(0, 0);

	tap_check(h.max_bandwidth == rate && h.out_share == share && h.out_sessions == sessions,
		  "the host says: %u sessions, %.2f MB/s, of which one gets %.2f", h.out_sessions,
		  (double)h.max_bandwidth / MB, (double)h.out_share / MB);
}

static void shared(void)
{
	double rate;

	host(KVM_FERRY_HOST_BANDWIDTH, 12 * MB);
	begin(0, KVM_FERRY_TRANSPORT_TCP, 1, 0);
	check_shares((double[]){ 12 * MB }, 1, 12 * MB, "alone");
	begin(1, KVM_FERRY_TRANSPORT_TCP, 4, 0);
	begin(2, KVM_FERRY_TRANSPORT_LOOP, 1, 0);
	check_shares((double[]){ 4 * MB, 4 * MB, 4 * MB }, 3, 12 * MB, "three");
	check_told(12 * MB, 4 * MB, 3);
	set(pairs[1].source, KVM_FERRY_LIMIT_BANDWIDTH, 2 * MB);
	check_shares((double[]){ 5 * MB, 2 * MB, 5 * MB }, 3, 12 * MB, "one wants less");
	check_told(12 * MB, 5 * MB, 3);
	host(KVM_FERRY_HOST_BANDWIDTH, 20 * MB);
	check_shares((double[]){ 9 * MB, 2 * MB, 9 * MB }, 3, 20 * MB, "the host's limit changes");
	end(2);
	check_shares((double[]){ 18 * MB, 2 * MB }, 2, 20 * MB, "one has ended");
	check_told(20 * MB, 18 * MB, 2);
	/* The guest's downtime is the VMM's affair, the host's limit is not. */
	end(1);
	host(KVM_FERRY_HOST_BANDWIDTH, 8 * MB);
	set(pairs[0].source, KVM_FERRY_LIMIT_FINAL_BANDWIDTH, 0);
	measure(1, 8 * MB, 0.3);
	rate = final_pass(8 * MB);
	tap_check(within(rate, 8 * MB, 5), "the final pass keeps the host's limit: %+.2f %%",
		  error(rate, 8 * MB));
	end(0);
	tap_check(!host(0, 0).out_sessions, "nobody is left");
}

/*
 * What goes by RDMA counts as well, for the host and for a session. Soft-RoCE carries little
 * here, and next to nothing where the kernel looks at every access.
 */
static void by_rdma(void)
{
	double rate;

	if (lab_slow() != 1) {
		tap_note("RDMA is too slow here to have a limit");
		return;
	}
	rdma_up();
	host(KVM_FERRY_HOST_BANDWIDTH, 4 * MB);
	begin(0, KVM_FERRY_TRANSPORT_RDMA, 2, 0);
	check_shares((double[]){ 4 * MB }, 1, 4 * MB, "RDMA alone");
	begin(1, KVM_FERRY_TRANSPORT_TCP, 1, 0);
	check_shares((double[]){ 2 * MB, 2 * MB }, 2, 4 * MB, "RDMA beside TCP");
	check_told(4 * MB, 2 * MB, 2);
	set(pairs[0].source, KVM_FERRY_LIMIT_BANDWIDTH, 1 * MB);
	check_shares((double[]){ 1 * MB, 3 * MB }, 2, 4 * MB, "RDMA has a lower limit of its own");
	end(1);
	set(pairs[0].source, KVM_FERRY_LIMIT_FINAL_BANDWIDTH, 0);
	measure(1, 1 * MB, 0.3);
	rate = final_pass(4 * MB);
	tap_check(within(rate, 4 * MB, 5), "RDMA: the final pass keeps the host's limit: %+.2f %%",
		  error(rate, 4 * MB));
	end(0);
	host(KVM_FERRY_HOST_BANDWIDTH, 0);
	rdma_down();
}

/* Those that wait for the host's limit: let go when it goes, and when their session ends. */
static void let_go(void)
{
	host(KVM_FERRY_HOST_BANDWIDTH, 65536);
	begin(0, KVM_FERRY_TRANSPORT_TCP, 4, 0);
	begin(1, KVM_FERRY_TRANSPORT_LOOP, 4, 0);
	/* Its first batches, and then each one waits. */
	measure(2, 65536, 1);
	end(0);
	tap_check(host(0, 0).out_sessions == 1, "a session that waits has ended, and is gone");
	host(KVM_FERRY_HOST_BANDWIDTH, 0);
	pairs[0] = pairs[1];	/* what measure() looks at */
	tap_check(measure(1, 48 * MB, 0.5).sum > 24 * MB, "no limit any more, and the other goes on");
	end(1);
}

int main(void)
{
	pthread_t thread;

	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	pthread_create(&thread, NULL, dirty, NULL);
	one(KVM_FERRY_TRANSPORT_TCP, 1);
	one(KVM_FERRY_TRANSPORT_LOOP, 3);
	check_final(4 * MB, 12 * MB, 12 * MB, "a higher one");
	check_final(12 * MB, 6 * MB, 6 * MB, "a lower one");
	check_final(8 * MB, KVM_FERRY_BANDWIDTH_SAME, 8 * MB, "the same");
	change_in_final();
	shared();
	by_rdma();
	let_go();
	ferry_device_close(dev);
	return tap_done();
}
