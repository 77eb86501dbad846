// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=ring_vm.c,pair.c,tap.c timeout=180 leak=4096 kernels=6.1,6.12,debug
 *
 * ferryctl watch on terminals of 80 columns and 24 rows, beside a real migration of a
 * guest that writes: no line is too wide, no frame too high, and its figures are those
 * of the session. One watches the source, one the sink; both see the end of sessions
 * that are closed at once, and why one has failed.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "ring_vm.h"
#include "tap.h"

#define ROWS	24
#define COLUMNS	80
#define BYTES	(32 * MIB)
#define LINK	(6 * MIB)	/* bytes a second: some seconds, and a busy host with a debug kernel keeps up */
#define WRITTEN	(2 * MIB)	/* of the guest, over and over */

/**
 * struct screen - a terminal with ferryctl on it
 * @child: ferryctl
 * @fd: the terminal's other end
 * @thread: reads it
 * @lock: protects the rest
 * @now: what it shows
 * @row: of the cursor
 * @column: of the cursor
 * @escape: what is there of an escape sequence; @escaped: bytes of it
 * @frames: that were drawn
 * @drawn: the last whole one
 * @wide: characters behind the last column
 * @high: lines below the last row
 * @odd: escape sequences that are not known here
 * @other: the other screen is shown
 * @tail: what came on the usual screen, behind the other one; @told: bytes of it
 */
struct screen {
	pid_t child;
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	char now[ROWS][COLUMNS + 1];
	unsigned int row, column;
	char escape[32];
	unsigned int escaped;
	unsigned int frames;
	char drawn[ROWS][COLUMNS + 1];
	unsigned int wide, high, odd;
	bool other;
	char tail[8192];
	unsigned int told;
};

static void blank(struct screen *s, unsigned int row, unsigned int column)
{
	if (row < ROWS)
		memset(s->now[row] + column, ' ', COLUMNS - column);
}

static void sequence(struct screen *s, const char *e, char last)
{
	unsigned int row;

	if (!strcmp(e, "[H")) {
		if (s->frames++)
			memcpy(s->drawn, s->now, sizeof(s->drawn));
		s->row = s->column = 0;
	} else if (!strcmp(e, "[K")) {
		blank(s, s->row, s->column);
	} else if (!strcmp(e, "[J") || !strcmp(e, "[2J")) {
		blank(s, s->row, s->column);
		for (row = s->row + 1; row < ROWS; row++)
			blank(s, row, 0);
	} else if (!strcmp(e, "[?1049h") || !strcmp(e, "[?1049l")) {
		if (s->frames)
			memcpy(s->drawn, s->now, sizeof(s->drawn));
		s->other = last == 'h';
	} else if (last != 'm' && strcmp(e, "[?25h") && strcmp(e, "[?25l")) {
		s->odd++;
	}
}

static void byte(struct screen *s, char c)
{
	if (s->escaped) {
		if (s->escaped < sizeof(s->escape) - 1)
			s->escape[s->escaped++] = c;
		if (c != '[' && c != '?' && c != ';' && !isdigit(c)) {
			s->escape[s->escaped] = 0;
			s->escaped = 0;
			sequence(s, s->escape + 1, c);
		}
	} else if (c == '\033') {
		s->escape[s->escaped++] = c;
	} else if (!s->other) {
		if (s->told < sizeof(s->tail) - 1 && c != '\r')
			s->tail[s->told++] = c;
	} else if (c == '\r') {
		s->column = 0;
	} else if (c == '\n') {
		s->high += ++s->row >= ROWS;
	} else if ((c & 0xc0) == 0x80) {
		/* Another byte of the character before: shown as one that is no letter. */
		if (s->column && s->row < ROWS)
			s->now[s->row][s->column - 1] = '#';
	} else if (s->column >= COLUMNS || s->row >= ROWS) {
		s->wide++;
	} else {
		s->now[s->row][s->column++] = c;
	}
}

static void *look(void *arg)
{
	struct screen *s = arg;
	char buf[4096];
	ssize_t n, i;

	/* EIO: the other end is closed. */
	while ((n = read(s->fd, buf, sizeof(buf))) > 0) {
		pthread_mutex_lock(&s->lock);
		for (i = 0; i < n; i++)
			byte(s, buf[i]);
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

static void watch(struct screen *s, struct ferry_session *session)
{
	struct winsize win = { .ws_row = ROWS, .ws_col = COLUMNS };
	char id[24], *args[] = { "ferryctl", "watch", id, NULL };
	int child;

	memset(s, 0, sizeof(*s));
	memset(s->now, ' ', sizeof(s->now));
	pthread_mutex_init(&s->lock, NULL);
	snprintf(id, sizeof(id), "%llu", (unsigned long long)ferry_session_id(session));
	s->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s->fd < 0 || grantpt(s->fd) || unlockpt(s->fd) || ioctl(s->fd, TIOCSWINSZ, &win))
		tap_bail("no terminal: %s", strerror(errno));
	child = open(ptsname(s->fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (child < 0)
		tap_bail("no terminal: %s", strerror(errno));
	s->child = fork();
	if (!s->child) {
		setenv("TERM", "xterm", 1);
		setenv("LC_ALL", "C.UTF-8", 1);
		dup2(child, 0);
		dup2(child, 1);
		dup2(child, 2);
		execvp(args[0], args);
		_exit(127);
	}
	close(child);
	pthread_create(&s->thread, NULL, look, s);
}

/* Its exit code; then @tail is all that it said last. */
static int finish(struct screen *s)
{
	int status = -1;

	waitpid(s->child, &status, 0);
	pthread_join(s->thread, NULL);
	close(s->fd);
	s->tail[s->told] = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What the last whole frame shows, line by line, without the blanks at their ends. */
static void show(const struct screen *s, const char *what)
{
	unsigned int row, length;

	tap_note("---- %s", what);
	for (row = 0; row < ROWS; row++) {
		for (length = COLUMNS; length && s->drawn[row][length - 1] == ' '; length--)
			;
		tap_note("|%.*s", (int)length, s->drawn[row]);
	}
}

/* The line that begins with @label, behind it; NULL: there is none. */
static const char *line_of(struct screen *s, const char *label)
{
	unsigned int row;

	for (row = 0; row < ROWS; row++) {
		s->drawn[row][COLUMNS] = 0;
		if (!strncmp(s->drawn[row], label, strlen(label)))
			return s->drawn[row] + strlen(label);
	}
	return NULL;
}

/* "12.3 MiB" in bytes; -1: there is none. */
static double bytes_in(const char *text)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB" };
	double value, factor = 1;
	char unit[8];
	unsigned int i;

	if (!text || sscanf(text, "%lf %3[A-Za-z]", &value, unit) != 2)
		return -1;
	for (i = 0; i < 4; i++, factor *= 1024)
		if (!strcmp(unit, units[i]))
			return value * factor;
	return -1;
}

static unsigned int frames_of(struct screen *s)
{
	unsigned int frames;

	pthread_mutex_lock(&s->lock);
	frames = s->frames;
	pthread_mutex_unlock(&s->lock);
	return frames;
}

static void await_frames(struct screen *s, unsigned int more)
{
	const struct timespec ms = { .tv_nsec = 10000000 };
	unsigned int wanted = frames_of(s) + more, i;

	for (i = 0; frames_of(s) < wanted; i++) {
		if (i == 2000 * lab_slow())
			tap_bail("watch draws no more");
		nanosleep(&ms, NULL);
	}
}

static void await_pass(struct pair *p, uint64_t pass)
{
	while (pair_stats(p->source).out_dirty_sync_count < pass)
		pair_wait(p->source, KVM_FERRY_EVENT_PASS);
}

/* In the first pass: everything is under way. */
static void first_pass(struct screen *s)
{
	double link, left, part = -1, total, sent;
	const char *at;

	pthread_mutex_lock(&s->lock);
	show(s, "the source, in the first pass");
	at = line_of(s, " LIVE   pair   session ");
	tap_check(at && strstr(at, "source (it leaves)") && strstr(at, "pass 1 "), "a head that says whose it is");
	at = line_of(s, "Memory ");
	if (at && strstr(at, " % there"))
		part = strtod(strstr(at, " % there") - 5, NULL);
	left = bytes_in(line_of(s, "Left "));
	tap_check(part > 0 && part < 100 && left > 0 && left < BYTES &&
		  part / 100 + left / BYTES > 0.97 && part / 100 + left / BYTES < 1.03,
		  "%.1f %% are there, and %.1f MiB are left", part, left / MIB);
	link = bytes_in(line_of(s, "Link "));
	tap_check(link > LINK * 0.7 && link < LINK * 1.3, "the link carries %.1f MiB/s, where %lu are allowed",
		  link / MIB, LINK / MIB);
	at = line_of(s, "           32.0 MiB in all, ");
	total = at ? 32.0 * MIB : -1;
	sent = at && strchr(at, ';') ? bytes_in(strchr(at, ';') + 1) : -1;
	tap_check(total > 0 && sent > 0 && sent < BYTES, "%.1f MiB are sent", sent / MIB);
	at = line_of(s, "Limits ");
	tap_check(at && strstr(at, "bandwidth 50.3 Mbit/s"), "the limit is as it was set");
	pthread_mutex_unlock(&s->lock);
}

/* The working set goes round and round. */
static void later_passes(struct screen *s, struct pair *p)
{
	struct kvm_ferry_stats st = pair_stats(p->source);
	unsigned long long entries = 0;
	double dirtied, left;
	unsigned int pass;
	const char *at;
	char *digits, row[16];

	pthread_mutex_lock(&s->lock);
	show(s, "the source, in later passes");
	dirtied = bytes_in(line_of(s, "Dirtied "));
	left = bytes_in(line_of(s, "Left "));
	tap_check(dirtied > 0 && left >= 0 && left <= 1.1 * WRITTEN,
		  "the guest dirties %.2f MiB/s, and no more than it writes to is left: %.2f MiB",
		  dirtied / MIB, left / MIB);
	at = line_of(s, "Pass ");
	tap_check(at && strstr(at, "began") && strstr(at, "dirtied anew"), "passes have a head");
	at = strstr(s->drawn[0], " pass ");
	pass = at ? strtoul(at + 6, NULL, 10) : 0;
	snprintf(row, sizeof(row), "%4u  ", pass);
	at = line_of(s, row);
	tap_check(pass >= 4 && at && strstr(at, " s ") && strstr(at, "iB"), "pass %u has a row", pass);
	snprintf(row, sizeof(row), "%4u  ", pass - 1);
	at = line_of(s, row);
	tap_check(at && !strstr(at, "  0 s") && strstr(at, "MiB"), "so has the one before, which took some time");
	at = line_of(s, "Rings ");
	for (digits = at ? strpbrk(at, "0123456789") : NULL; digits && (isdigit(*digits) || *digits == ','); digits++)
		if (*digits != ',')
			entries = 10 * entries + (*digits - '0');
	tap_check(entries && entries <= st.out_ring_entries, "%llu ring entries of %llu", entries,
		  (unsigned long long)st.out_ring_entries);
	at = line_of(s, "Downtime ");
	tap_check(at && strstr(at, "if the guest were paused now; the limit is 300 ms"),
		  "what the downtime would be");
	pthread_mutex_unlock(&s->lock);
}

static void at_the_sink(struct screen *s)
{
	const char *at;

	pthread_mutex_lock(&s->lock);
	show(s, "the sink");
	at = line_of(s, " LIVE   pair   session ");
	tap_check(at && strstr(at, "sink (it comes here)"), "the sink's head");
	at = line_of(s, "Memory ");
	tap_check(at && strstr(at, "32.0 MiB in all;") && strstr(at, " received"), "what it has received");
	tap_check(bytes_in(line_of(s, "Received ")) >= 0, "and receives");
	pthread_mutex_unlock(&s->lock);
}

static void ends(struct screen *s, int want, const char *first, const char *second, const char *what)
{
	int code = finish(s);

	show(s, "the last frame");
	tap_note("---- %s: exit code %d, %u frames\n# %s", what, code, s->frames, s->tail);
	tap_check(code == want && strstr(s->tail, first) && strstr(s->tail, second), "%s: watch says so", what);
	tap_check(s->frames > 1 && !s->wide && !s->high && !s->odd && !s->other,
		  "%s: no line was too wide, no frame too high (%u, %u)", what, s->wide, s->high);
}

static void prepare(struct pair *p, struct vm *vm)
{
	struct kvm_ferry_limits l = { .flags = KVM_FERRY_LIMIT_BANDWIDTH, .max_bandwidth = LINK };

	*p = (struct pair){ .bytes = BYTES, .channels = 2 };
	vm_open(vm, BYTES, BYTES, 4096);
	p->from = vm->mem;
	p->to = pair_memory(BYTES, false);
	fill(p->from + BYTES / 2, BYTES / 2, 1);
	cpu_program(vm_add_cpu(vm), MIB, WRITTEN / PAGE, 0);
	pair_open(p, vm->fd);
	if (ferry_session_limits(p->source, &l, sizeof(l)))
		tap_bail("bandwidth: %s", ferry_error());
	vm_hand_over(vm, p->source, BYTES);
}

static void moves(void)
{
	static char lines[65536];
	struct screen source, sink;
	struct pair p;
	struct vm vm;
	FILE *plain;
	size_t length;

	prepare(&p, &vm);
	watch(&source, p.source);
	watch(&sink, p.sink);
	await_frames(&source, 2);
	pthread_mutex_lock(&source.lock);
	show(&source, "the source, not started");
	tap_check(line_of(&source, " SETUP   pair   session ") && line_of(&source, "Downtime   not known yet") &&
		  strstr(line_of(&source, "Memory ") ?: "", "  0.0 % there") &&
		  line_of(&source, "           32.0 MiB in all; it has not been started yet"),
		  "before it begins nothing is there");
	pthread_mutex_unlock(&source.lock);
	/* And one whose output is no terminal. */
	snprintf(lines, sizeof(lines), "ferryctl watch %llu --interval 300ms 2>&1",
		 (unsigned long long)ferry_session_id(p.source));
	plain = popen(lines, "r");
	if (!plain)
		tap_bail("popen: %s", strerror(errno));
	pair_start(&p);
	vm_start_all(&vm);
	/* By then the rates are those of this pass. */
	while (pair_stats(p.source).out_ram_transferred < BYTES / 4)
		await_frames(&source, 1);
	await_frames(&source, 2);
	first_pass(&source);
	await_pass(&p, 4);
	await_frames(&source, 2);
	await_frames(&sink, 2);
	later_passes(&source, &p);
	at_the_sink(&sink);
	vm_stop_all(&vm);
	tap_check(!pair_switch(&p, "state", 5), "it moves");
	vm_take_back(&vm, "moved");
	/* Watch may have looked 100 ms before all that. */
	pair_close(&p);
	length = fread(lines, 1, sizeof(lines) - 1, plain);
	lines[length] = 0;
	tap_note("---- in lines\n# %s", lines);
	tap_check(!pclose(plain) && strstr(lines, "live       pass 1  sent ") &&
		  strstr(lines, "bit/s  downtime ") && strstr(lines, "The guest has moved."),
		  "without a terminal there are lines");
	ends(&source, 0, "The guest has moved.", "downtime", "source, moved");
	ends(&sink, 0, "The guest runs here now.", "total time", "sink, moved");
	munmap(p.to, BYTES);
	vm_close(&vm);
}

static void fails(void)
{
	struct screen source, sink;
	struct pair p;
	struct vm vm;

	prepare(&p, &vm);
	pair_start(&p);
	vm_start_all(&vm);
	watch(&source, p.source);
	watch(&sink, p.sink);
	await_frames(&source, 2);
	await_frames(&sink, 2);
	ferry_session_close(p.sink);
	p.sink = NULL;
	pair_wait_state(p.source, KVM_FERRY_STATE_FAILED);
	vm_stop_all(&vm);
	pair_close(&p);
	ends(&source, 6, "The migration failed; the guest is whole at its source.",
	     "the peer ended the migration: the VMM at the sink closed the session", "source, failed");
	ends(&sink, 6, "The migration failed", "the VMM at the sink closed the session", "sink, closed");
	munmap(p.to, BYTES);
	vm_close(&vm);
}

int main(void)
{
	struct vm keep;

	/* A host under emulation does not like its first and last VM to come and go. */
	vm_open(&keep, 4 * MIB, 4 * MIB, 4096);
	moves();
	fails();
	vm_close(&keep);
	return tap_done();
}
