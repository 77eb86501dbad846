// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=fault_vmm.c,bad_wire.c,bad_call.c,pair.c,tap.c timeout=90
 *
 * A VMM is killed by SIGKILL, on either side, in every state: its memory is
 * free at once, none of its session's tasks stays, the other side hears of it,
 * and a source that survives is whole.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bad_call.h"
#include "bad_wire.h"
#include "fault_vmm.h"
#include "tap.h"

/* Adds up the numbers behind @key in all lines of @path. */
static long sum(const char *path, const char *key)
{
	FILE *f = fopen(path, "r");
	char line[256];
	long all = 0, n;

	while (f && fgets(line, sizeof(line), f)) {
		const char *at = line + strspn(line, " ");

		if (!strncmp(at, key, strlen(key)) && sscanf(at + strlen(key), "%ld", &n) == 1)
			all += n;
	}
	if (f)
		fclose(f);
	return all;
}

/*
 * What has been received is freed by the processor that made the packet, when next it
 * receives one (skb_attempt_defer_free() in Linux): up to net.core.skb_defer_max / 2
 * packets wait for that for ever. Over loopback each may hold a huge page of the source.
 */
static void free_received(void)
{
	const struct sockaddr_in discard = { .sin_family = AF_INET, .sin_port = htons(9),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), cpu;
	cpu_set_t all, one;

	if (fd < 0 || sched_getaffinity(0, sizeof(all), &all))
		tap_bail("no packets: %s", strerror(errno));
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one))
			tap_bail("processor %d: %s", cpu, strerror(errno));
		sendto(fd, "", 1, 0, (const struct sockaddr *)&discard, sizeof(discard));
	}
	sched_setaffinity(0, sizeof(all), &all);
	close(fd);
}

/*
 * MemFree leaves out what a processor keeps at hand of the pages freed on it: over
 * 3 MiB here. Since Linux 6.7 it keeps the more the more is freed at once.
 */
static long free_kib(void)
{
	free_received();
	return sum("/proc/meminfo", "MemFree:") + sum("/proc/zoneinfo", "count:") * (PAGE / 1024);
}

static long resident_kib(pid_t pid)
{
	char path[32];
	long pages = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%*d %ld", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages * (PAGE / 1024);
}

/* What is on its way when the source is killed becomes memory of the sink. */
static void kill_it(struct vmm *v, const struct vmm *other, const char *what)
{
	long before = free_kib() + resident_kib(other->pid), want = VMM_BYTES / 1024 * 3 / 4;
	uint64_t begin = now_ms(), freed, gone;
	bool good;

	kill(v->pid, SIGKILL);
	good = poll_until(free_kib() + resident_kib(other->pid) - before >= want);
	freed = now_ms() - begin;
	tap_check(good && freed < 3000 * lab_slow(), "%s: its memory is free after %llu ms", what,
		  (unsigned long long)freed);
	good = vmm_gone(v);
	gone = now_ms() - begin;
	tap_check(good && gone < 5000 * lab_slow(), "%s: nothing is left of it after %llu ms", what,
		  (unsigned long long)gone);
}

static void try(enum kvm_ferry_role role, enum kvm_ferry_state state)
{
	struct vmm_answer a;
	struct vmm_pair p;
	struct vmm *other = &p.end[!role];
	char what[64];

	snprintf(what, sizeof(what), "a %s killed when %s", ferry_role_name(role),
		 role == KVM_FERRY_SOURCE && state == KVM_FERRY_STATE_COMMITTING ?
		 "its state is sent" : vmm_state_name(state));
	vmms_start(&p, role, state, 10000, pair_sockets);
	kill_it(&p.end[role], other, what);
	if (state > KVM_FERRY_STATE_CONNECTING) {
		a = vmm_ask(other, VMM_WAIT);
		tap_check(a.state == KVM_FERRY_STATE_FAILED && a.error == EPIPE && a.whole,
			  "%s: the %s ends %s, %s: %s", what, ferry_role_name(!role),
			  ferry_state_name(a.state), strerror(a.error), a.reason);
	}
	vmms_stop(&p);
}

/* A source that has sent COMMIT: only a sink that does not answer keeps it there. */
static void committing(void)
{
	static struct peer p;
	pid_t child;
	int ready[2];
	char byte;

	if (pipe(ready))
		tap_bail("pipe");
	fflush(stdout);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		peer_open(&p, KVM_FERRY_SOURCE, 1, 10000, false);
		peer_start(&p);
		sink_until(&p, KVM_FERRY_STATE_PAUSED);
		if (ferry_session_send_state(p.s, "state", 5, true))
			tap_bail("state: %s", ferry_session_error(p.s));
		if (!fork()) {	/* the sink outlives the VMM that is killed */
			close(ferry_session_fd(p.s));
			do {
				sink_serve(&p, W_STATE);
			} while (!p.control.body[0]);
			wire_send(&p.control, W_READY, NULL, 0);
			if (wire_recv(&p.control) == W_COMMIT)
				(void)!write(ready[1], "c", 1);
			wire_recv(&p.control);
			(void)!write(ready[1], "e", 1);
			_exit(0);
		}
		ferry_session_commit(p.s);
		_exit(0);
	}
	close(ready[1]);
	tap_check(read(ready[0], &byte, 1) == 1 && byte == 'c', "a source has sent COMMIT");
	kill(child, SIGKILL);
	tap_check(waitpid(child, NULL, 0) == child, "a source killed when committing goes");
	tap_check(read(ready[0], &byte, 1) == 1 && byte == 'e', "its sink sees the connection go");
	close(ready[0]);
}

int main(void)
{
	enum kvm_ferry_state state;

	for (state = KVM_FERRY_STATE_SETUP; state <= KVM_FERRY_STATE_COMMITTING; state++) {
		try(KVM_FERRY_SOURCE, state);
		try(KVM_FERRY_SINK, state);
	}
	committing();
	return tap_done();
}
