// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first and only process: reads its parameters from the kernel's
 * command line, starts the workers, and tells on the console how it goes.
 *
 *   ferry.load=idle|light|heavy|mixed  what the other parameters default to
 *   ferry.mem=MiB      memory that is filled and checked
 *   ferry.ws=MiB       of it, the part that is written again and again
 *   ferry.rate=N       pages written a second; "max": as fast as it goes
 *   ferry.wild=N       instead of its share of these, the last vCPU writes so many, checks none,
 *                      and its gaps do not count
 *   ferry.check=N      pages checked a second; "max" likewise
 *   ferry.zero=MiB     memory that is touched and zero, and checked for it
 *   ferry.seed=N       of patterns and orders
 *   ferry.tick=US      how often time is looked at for gaps
 *   ferry.report=MS    how often a line is printed
 *   ferry.console=DEV  where lines go, and commands come from, if not to the kernel's console
 *   ferry.net=ADDR/PREFIX, ferry.stream=KiB  see net.c
 *   ferry.disk=MiB, ferry.disk.rate=N, ferry.disk.seed=N  see disk.c
 *   ferry.reads=MiB    see reader.c
 *   ferry.screen=1, ferry.screen.rate=N      see screen.c
 *
 * What is plugged while it runs, and memory that it takes later, see plug.c and more.c.
 *
 * Lines:
 *   FERRY-GUEST ready cpus=N mem=MiB ...
 *   FERRY-GUEST seq=N uptime=S checked=N writes=N sweeps=N gap_max_ms=F
 *		 gap_recent_ms=F gap_tsc_ms=F gap_from=S gap_writes=N [net_in=BYTES net_out=BYTES]
 *		 [disk_writes=N disk_checked=N] [frames=N]
 *		 [more_checked=N] [wild_writes=N] errors=N
 *   FERRY-GUEST FAIL kind=... ...
 *   FERRY-GUEST quit errors=N
 * Commands, a line each: "report", "gap reset", "disk flush", "screen hold",
 * "screen step", "screen go", "more take MIB", "more free", "cpu on N", "vram turn",
 * "vram check", "quit".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"


struct guest_totals totals;

static void leave(void)
{
	console_drain();
	sync();
	reboot(RB_AUTOBOOT);
	_exit(1);
}

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	console_put("FERRY-GUEST FAIL kind=setup ", fmt, args);
	va_end(args);
	leave();
	for (;;)
		pause();
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

bool wait_until(bool (*there)(void *arg), void *arg, unsigned int ms)
{
	struct timespec nap = { .tv_nsec = 10000000 };
	uint64_t end = now_ns() + ms * 1000000ULL;

	while (!there(arg)) {
		if (now_ns() > end)
			return false;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
	return true;
}

void start_thread(void *(*fn)(void *), unsigned int cpu, const char *name, int fifo)
{
	struct sched_param prio = { .sched_priority = fifo };
	pthread_attr_t attr;
	pthread_t thread;
	cpu_set_t set;
	char full[16];

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (fifo) {
		pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
		pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
		pthread_attr_setschedparam(&attr, &prio);
	}
	errno = pthread_create(&thread, &attr, fn, (void *)(uintptr_t)cpu);
	if (errno)
		die("cannot start a thread on vCPU %u: %s", cpu, strerror(errno));
	snprintf(full, sizeof(full), "%s%u", name, cpu);
	pthread_setname_np(thread, full);
	pthread_attr_destroy(&attr);
}

/* --- console ------------------------------------------------------------ */

static void report(void)
{
	static uint64_t seq;
	struct timespec up;
	char more[160] = "";
	int n;
	struct gaps g;

	n = net_report(more, sizeof(more));
	n += disk_report(more + n, sizeof(more) - n);
	n += screen_report(more + n, sizeof(more) - n);
	n += more_report(more + n, sizeof(more) - n);
	if (params.wild)
		snprintf(more + n, sizeof(more) - n, "wild_writes=%llu ",
			 (unsigned long long)totals.wild_writes);
	clock_gettime(CLOCK_BOOTTIME, &up);
	gaps_read(&g);
	seq++;
	say("seq=%llu uptime=%llu.%03lu checked=%llu writes=%llu sweeps=%llu gap_max_ms=%.1f gap_recent_ms=%.1f gap_tsc_ms=%.1f gap_from=%.3f gap_writes=%llu %serrors=%llu",
	    (unsigned long long)seq, (unsigned long long)up.tv_sec, up.tv_nsec / 1000000,
	    (unsigned long long)totals.checked, (unsigned long long)totals.writes,
	    (unsigned long long)totals.sweeps, g.max_ns / 1e6, g.recent_ns / 1e6, g.tsc_ns / 1e6,
	    g.max_from_ns / 1e9, (unsigned long long)g.max_writes, more, (unsigned long long)totals.errors);
}

static void obey(char *line)
{
	if (!strcmp(line, "quit")) {
		disk_quit();
		say("quit errors=%llu", (unsigned long long)totals.errors);
		leave();
	} else if (!strcmp(line, "report")) {
		report();
	} else if (!strcmp(line, "gap reset")) {
		gaps_reset();
		say("gap reset");
	} else if (!strcmp(line, "disk flush")) {
		disk_flush();
	} else if (!strncmp(line, "screen ", 7)) {
		screen_obey(line + 7);
	} else if (!strncmp(line, "more ", 5)) {
		more_obey(line + 5);
	} else if (!strncmp(line, "cpu ", 4)) {
		cpu_obey(line + 4);
	} else if (!strncmp(line, "vram ", 5)) {
		vram_obey(line + 5);
	} else if (line[0]) {
		say("unknown command: %s", line);
	}
}

static void serve_console(void)
{
	uint64_t next = now_ns();
	char line[80];

	for (;;) {
		uint64_t now = now_ns();

		if (now >= next) {
			report();
			/* After a standstill: one line, not one for each that was missed. */
			next += params.report_ms * 1000000;
			if (next < now)
				next = now + params.report_ms * 1000000;
		} else if (console_line(line, sizeof(line), (next - now) / 1000000 + 1)) {
			obey(line);
		}
	}
}

static void mount_all(void)
{
	mkdir("/proc", 0555);
	mkdir("/sys", 0555);
	mkdir("/dev", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) && errno != EBUSY)
		die("cannot mount /proc: %s", strerror(errno));
	if (mount("sysfs", "/sys", "sysfs", 0, NULL) && errno != EBUSY)
		die("cannot mount /sys: %s", strerror(errno));
	if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) && errno != EBUSY)
		die("cannot mount /dev: %s", strerror(errno));
}

int main(void)
{
	mount_all();
	modules_load();
	console_open();
	read_params();
	workers_start();
	gaps_start();
	net_start();
	disk_start();
	reader_start();
	screen_start();
	say("ready cpus=%u load=%s mem=%llu ws=%llu zero=%llu rate=%lld check=%lld seed=%llu",
	    params.cpus, params.load, (unsigned long long)params.pages / MIB_PAGES,
	    (unsigned long long)params.ws_pages / MIB_PAGES,
	    (unsigned long long)params.zero_pages / MIB_PAGES, (long long)params.rate,
	    (long long)params.check, (unsigned long long)params.seed);
	serve_console();
}
