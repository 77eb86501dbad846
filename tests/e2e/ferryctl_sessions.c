// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab: sources=pair.c,tap.c timeout=120 mem=1024
 *
 * ferryctl and libferry's operator's calls beside living sessions of the real
 * module: what they show is what the sessions are, what they change holds, watch
 * sees the end, and the module is unloaded when nothing uses it, not before.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pair.h"
#include "tap.h"

static char out[65536];

/* Runs a shell command; returns its exit code, its output (of both kinds) is in @out. */
static int run(const char *fmt, unsigned long long id)
{
	char cmd[256];
	size_t len;
	FILE *f;
	int status;

	snprintf(cmd, sizeof(cmd), fmt, id);
	strcat(cmd, " 2>&1");
	f = popen(cmd, "r");
	if (!f)
		tap_bail("popen: %s", strerror(errno));
	len = fread(out, 1, sizeof(out) - 1, f);
	out[len] = 0;
	status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool says(int code, int want, const char *a, const char *b)
{
	if (code == want && strstr(out, a) && strstr(out, b))
		return true;
	tap_note("exit code %d, output: %s", code, out);
	return false;
}

static void looks(struct pair *p)
{
	unsigned long long id = ferry_session_id(p->source);
	char want[64];
	int ret;

	snprintf(want, sizeof(want), "session %llu", id);
	ret = run("ferryctl", 0);
	tap_check(says(ret, 0, want, "source, live"), "bare ferryctl shows the source");
	snprintf(want, sizeof(want), "\n%6llu", (unsigned long long)ferry_session_id(p->sink));
	ret = run("ferryctl list", 0);
	tap_check(says(ret, 0, want, "sink"), "list shows the sink");
	snprintf(want, sizeof(want), "\"ram_total\": %zu", p->bytes);
	ret = run("ferryctl stats %llu --json", id);
	tap_check(says(ret, 0, want, "\"state_name\": \"live\""), "stats --json has its memory");
	ret = run("ferryctl status %llu", id + 1000);
	tap_check(says(ret, 4, "there is no session", ""), "no such session: exit code 4");
	ret = run("ferryctl check", 0);
	tap_check(says(ret, 0, "kvm_ferry is loaded", "transports tcp loop"),
		  "check finds the host ready");
}

static void is_used(struct pair *p)
{
	char want[64];
	int ret;

	ret = run("ferryctl unload", 0);
	snprintf(want, sizeof(want), "session %llu (",
		 (unsigned long long)ferry_session_id(p->source));
	tap_check(says(ret, 1, "stays loaded, 2 sessions use it", want), "unload names the source");
	snprintf(want, sizeof(want), "session %llu (",
		 (unsigned long long)ferry_session_id(p->sink));
	tap_check(says(ret, 1, want, "): sink, live"), "and the sink");
}

/* Behind the last session. */
static void unloads(void)
{
	struct ferry_device *dev;
	int ret, tries;

	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	ret = run("ferryctl unload", 0);
	tap_check(says(ret, 1, "kvm_ferry stays loaded", "has /dev/kvm_ferry open"),
		  "unload, while a program has the device open");
	ferry_device_close(dev);
	/* A session's end lets go of its channels a little after its file is closed. */
	for (tries = 0; (ret = run("ferryctl unload", 0)) && tries < 100; tries++)
		usleep(20000);
	tap_check(says(ret, 0, "kvm_ferry is unloaded", "") && access("/sys/module/kvm_ferry", F_OK),
		  "unload, when nothing uses it");
	ret = run("ferryctl unload", 0);
	tap_check(says(ret, 0, "kvm_ferry is not loaded", ""), "unload again");
}

static void changes(struct pair *p)
{
	struct kvm_ferry_limits limits = { .flags = 0 };
	unsigned long long id = ferry_session_id(p->source);
	int ret;

	ret = run("ferryctl set %llu --bandwidth 800Mbit --downtime 50ms", id);
	tap_check(says(ret, 0, "800 Mbit/s", "50.0 ms"), "set shows what holds");
	ret = ferry_session_limits(p->source, &limits, sizeof(limits));
	tap_check(!ret && limits.max_bandwidth == 100000000 && limits.downtime_limit_ns == 50000000,
		  "and it holds: %llu bytes/s, %llu ns", (unsigned long long)limits.max_bandwidth,
		  (unsigned long long)limits.downtime_limit_ns);
	ret = run("ferryctl set %llu --bandwidth 1K", id);
	tap_check(says(ret, 1, "ferryctl: ", ""), "too little bandwidth is refused: %.*s",
		  (int)strcspn(out, "\n"), out);
	ret = run("ferryctl set %llu --bandwidth 0", id);
	tap_check(says(ret, 0, "unlimited", ""), "no limit");
	ret = run("ferryctl set %llu --final-bandwidth 80Mbit --json", id);
	tap_check(says(ret, 0, "\"final_bandwidth\": 10000000", "\"max_bandwidth\": 0"),
		  "one for the final pass alone");
	ret = run("ferryctl host --bandwidth 400Mbit", 0);
	tap_check(says(ret, 0, "all sources: 400 Mbit/s", "one may send 400 Mbit/s"), "one for the host");
	ret = run("ferryctl host --bandwidth none --json", 0);
	tap_check(says(ret, 0, "\"max_bandwidth\": 0", "\"share\": 0"), "and none any more");
}

static void watches(struct pair *p)
{
	unsigned long long id = ferry_session_id(p->source);
	struct pollfd pfd;
	char cmd[64];
	size_t len;
	FILE *f;
	int status;

	snprintf(cmd, sizeof(cmd), "ferryctl watch %llu --interval 10ms --json", id);
	f = popen(cmd, "r");
	if (!f)
		tap_bail("popen: %s", strerror(errno));
	/* It watches once it has shown the first line. */
	pfd = (struct pollfd){ .fd = fileno(f), .events = POLLIN };
	if (poll(&pfd, 1, 20000) != 1)
		tap_bail("watch says nothing");
	if (pair_switch(p, "state", 5))
		tap_bail("the switchover failed: %s", ferry_session_error(p->source));
	/* The sessions are still open, so it ends because they have. */
	len = fread(out, 1, sizeof(out) - 1, f);
	out[len] = 0;
	status = pclose(f);
	tap_check(says(WEXITSTATUS(status), 0, "\"outcome\":\"moved\"", "\"state_name\":\"done\""),
		  "watch sees the end");
	tap_check(!memcmp(p->from, p->to, p->bytes), "and the memory has moved");
	status = run("ferryctl status %llu", id);
	tap_check(says(status, 0, "source, done", "downtime"), "status of what is done");
}

static void aborts(struct pair *p)
{
	char why[KVM_FERRY_REASON_LEN];
	int ret;

	ret = run("ferryctl abort %llu", ferry_session_id(p->source));
	tap_check(says(ret, 0, "aborted", ""), "abort");
	tap_check(!pair_wait_state(p->source, KVM_FERRY_STATE_DONE) &&
		  ferry_session_reason(p->source, why, sizeof(why)) == ECANCELED && why[0],
		  "its VMM learns of it: %s", why);
	tap_check(!pair_wait_state(p->sink, KVM_FERRY_STATE_DONE) &&
		  ferry_session_reason(p->sink, why, sizeof(why)) > 0 && why[0],
		  "so does the peer's: %s", why);
	ret = run("ferryctl abort %llu", ferry_session_id(p->source));
	tap_check(says(ret, 0, "aborted", ""), "what has ended is left as it is");
	ret = run("ferryctl watch %llu", ferry_session_id(p->source));
	tap_check(says(ret, 6, "aborted", "whole at its source"), "watch says how it ended");
}

static void operators_calls(struct pair *p)
{
	struct kvm_ferry_stats stats;
	uint64_t *ids;
	size_t count;
	int ret;

	ret = ferry_device_list(p->dev, &ids, &count);
	tap_check(!ret && count == 2 && ids[0] < ids[1] &&
		  (ids[0] == ferry_session_id(p->source) ||
		   ids[1] == ferry_session_id(p->source)), "two sessions, in order");
	free(ids);
	memset(&stats, 0, sizeof(stats));
	tap_check(!ferry_device_stats(p->dev, ferry_session_id(p->sink), &stats, sizeof(stats)) &&
		  stats.out_role == KVM_FERRY_SINK, "figures by id");
	ret = ferry_device_stats(p->dev, 1ULL << 60, &stats, sizeof(stats));
	tap_check(ret == -ENOENT && *ferry_error(), "no such session: %s", ferry_error());
	ret = ferry_session_add_region(p->source, 9, "late", p->from, p->bytes);
	tap_check(ret == -EBUSY && *ferry_error(), "too late for a region: %s", ferry_error());
	ret = ferry_session_wait_ring(p->source, 77);
	tap_check(ret < 0 && *ferry_error(), "no such ring: %s, %s", ferry_errno_name(ret),
		  ferry_error());
}

int main(void)
{
	struct pair p = {
		.bytes = 32 * MIB,
		.channels = 2,
		.transport = KVM_FERRY_TRANSPORT_TCP,
	};

	p.from = pair_memory(p.bytes, false);
	p.to = pair_memory(p.bytes, false);
	fill(p.from, p.bytes, 1);
	pair_open(&p, -1);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	looks(&p);
	is_used(&p);
	changes(&p);
	operators_calls(&p);
	watches(&p);
	pair_close(&p);
	tap_check(run("ferryctl", 0) == 0 && !strcmp(out, "No sessions.\n"), "none is left");

	pair_open(&p, -1);
	pair_start(&p);
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	aborts(&p);
	pair_close(&p);
	unloads();
	return tap_done();
}
