// SPDX-License-Identifier: GPL-2.0
/*
 * What the soak test's guest says. Its console is one stream: what VMM after
 * VMM wrote for it, in the order in which they had it. In that stream each
 * vCPU's lines count from 1 without a gap and its figures never go back,
 * otherwise it has run in two places, or from an old state.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "soak.h"
#include "tap.h"

#define LINE "FERRY-FLAT cpu=%u seq=%llu sweep=%llu writes=%llu gap_ticks=%llu errors=%llu%c"
#define FAIL "FERRY-FLAT FAIL cpu=%u page=%llu sweep=%llu word=%llu have=%llu want=%llu"

void guest_begin(struct soak_guest *g, const struct soak_life *l, const struct soak_vmm *v)
{
	memset(g, 0, sizeof(*g));
	g->life = l;
	strcpy(g->log, v->log);
}

/* What flat.S's value() was made of. */
static void explain(char *buf, size_t room, unsigned long long value)
{
	unsigned long long v = (value & ~1ULL) >> 6;

	if (value)
		snprintf(buf, room, "version %llu of page %llu", v >> 20, v & 0xfffff);
	else
		snprintf(buf, room, "zeroes");
}

/* All that is needed to find out how it came about. */
static void tell_wrong(const struct soak_guest *g, const char *line)
{
	unsigned long long page, sweep, word, have, want;
	char found[64], expected[64];
	unsigned int cpu;

	tap_note("%s: %s", g->log, line);
	if (sscanf(line, FAIL, &cpu, &page, &sweep, &word, &have, &want) != 6)
		return;
	explain(found, sizeof(found), have);
	explain(expected, sizeof(expected), want);
	tap_note("guest page 0x%llx, vCPU %u, sweep %llu, byte %llu: found %s, expected %s",
		 (FLAT_BASE >> 12) + (unsigned long long)cpu * g->life->pages + page, cpu, sweep,
		 word, found, expected);
}

static void hear(struct soak_guest *g, const char *line)
{
	unsigned long long seq, sweep, writes, gap, errors;
	unsigned int cpu;
	char end;

	if (sscanf(line, LINE, &cpu, &seq, &sweep, &writes, &gap, &errors, &end) != 6 ||
	    cpu >= g->life->cpus) {
		g->wrong++;
		tell_wrong(g, line);
		return;
	}
	if (seq != g->cpu[cpu].seq + 1 || sweep < g->cpu[cpu].sweep ||
	    writes < g->cpu[cpu].writes || errors) {
		g->wrong++;
		tap_note("%s: %s, after seq=%llu sweep=%llu writes=%llu", g->log, line,
			 (unsigned long long)g->cpu[cpu].seq, (unsigned long long)g->cpu[cpu].sweep,
			 (unsigned long long)g->cpu[cpu].writes);
	}
	g->cpu[cpu].seq = seq;
	g->cpu[cpu].sweep = sweep;
	g->cpu[cpu].writes = writes;
	if (++g->cpu[cpu].heard == 2)
		g->cpu[cpu].from = sweep;
}

/* To the end of what is there. A line that has begun may go on in the next log. */
static void listen(struct soak_guest *g)
{
	char buf[4096];
	int fd = open(g->log, O_RDONLY | O_CLOEXEC);
	ssize_t n, i;

	if (fd < 0)
		tap_bail("%s: %s", g->log, strerror(errno));
	while ((n = pread(fd, buf, sizeof(buf), g->at)) > 0) {
		g->at += n;
		for (i = 0; i < n; i++) {
			if (buf[i] == '\n' || g->len == sizeof(g->line) - 1) {
				g->line[g->len] = '\0';
				g->len = 0;
				hear(g, g->line);
			} else if (buf[i] != '\r') {
				g->line[g->len++] = buf[i];
			}
		}
	}
	close(fd);
}

void guest_moved(struct soak_guest *g, const struct soak_vmm *v)
{
	listen(g);
	strcpy(g->log, v->log);
	g->at = 0;
}

/*
 * A vCPU's first line from now on may have been begun before now, its second
 * one was not. When the sweep after the one that this tells of is over, the vCPU
 * has looked at all of its pages.
 */
static bool looked(const struct soak_guest *g, unsigned int cpu)
{
	return g->cpu[cpu].heard >= 2 && g->cpu[cpu].sweep >= g->cpu[cpu].from + 2;
}

bool guest_is_well(struct soak_guest *g, unsigned int ms)
{
	uint64_t end = soak_now_ms() + ms;
	unsigned int wrong, left = g->life->cpus, i;

	listen(g);
	for (i = 0; i < g->life->cpus; i++)
		g->cpu[i].heard = 0;
	wrong = g->wrong;
	while (left && g->wrong == wrong && soak_now_ms() < end) {
		usleep(20000);
		listen(g);
		for (left = 0, i = 0; i < g->life->cpus; i++)
			left += !looked(g, i);
	}
	/* It has more to say of the same fault, perhaps. */
	if (g->wrong != wrong) {
		usleep(500000 * lab_slow());
		listen(g);
	}
	for (i = 0; i < g->life->cpus && g->wrong == wrong; i++)
		if (!looked(g, i))
			tap_note("vCPU %u stands still, or nearly: seq %llu, sweep %llu", i,
				 (unsigned long long)g->cpu[i].seq,
				 (unsigned long long)g->cpu[i].sweep);
	/* Also what it had said by the time of the call. */
	return !left && !g->wrong;
}

off_t guest_log_size(const char *log)
{
	struct stat st;

	return stat(log, &st) ? 0 : st.st_size;
}

bool guest_is_silent(const char *log, off_t since)
{
	if (guest_log_size(log) == since)
		return true;
	tap_note("%s has grown from %lld to %lld bytes though the guest is not there", log,
		 (long long)since, (long long)guest_log_size(log));
	return false;
}
