// SPDX-License-Identifier: GPL-2.0-only
/*
 * The history, for people: a row a session. Why it ended stands behind it, or, where
 * a terminal has no room for that, below it.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "print.h"

#define NARROW		80	/* columns of a terminal that is sure to be wide enough, */
#define REST		68	/* and of what is no name */
#define INDENT		4

static const char *name_of(const struct kvm_ferry_history *r)
{
	return r->out_name[0] ? (const char *)r->out_name : "-";
}

static const char *result_of(const struct kvm_ferry_history *r)
{
	return r->out_state == KVM_FERRY_STATE_DONE ? "moved" : ferry_state_name(r->out_state);
}

/* By the reader's clock. */
static void print_when(uint64_t ns, char *buf, size_t room)
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || !strftime(buf, room, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(buf, room, "-");
}

/* Breaks @text between words, so that no line is longer than @columns. */
static void print_below(const char *text, unsigned int columns)
{
	size_t most = columns - INDENT, length;

	while (*text) {
		length = strlen(text);
		if (length > most) {
			for (length = most; length && text[length] != ' '; length--)
				;
			if (!length)
				length = most;
		}
		printf("%*s%.*s\n", INDENT, "", (int)length, text);
		text += length;
		text += strspn(text, " ");
	}
}

void print_history(const struct kvm_ferry_history *records, size_t count, bool follow)
{
	char when[32], why[KVM_FERRY_REASON_LEN + 32], row[160];
	const struct kvm_ferry_history *r;
	static int width;
	int most;
	struct winsize win = { .ws_col = 0 };
	size_t i;

	if (!count && !follow) {
		puts("No session has ended since the module was loaded.");
		return;
	}
	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &win) ||
	    win.ws_col <= 2 * INDENT)
		win.ws_col = 0;
	if (!width) {
		width = follow ? 8 : 4;
		for (i = 0; i < count; i++)
			if ((int)strlen(name_of(&records[i])) > width)
				width = (int)strlen(name_of(&records[i]));
		/* A longer one pushes the rest to the right. */
		most = win.ws_col > NARROW ? win.ws_col - REST : NARROW - REST;
		if (win.ws_col && width > most)
			width = most;
		printf("%-19s  %-*s  %-6s  %-8s  %7s  %8s  %8s%s\n", "STARTED", width, "NAME", "ROLE",
		       "RESULT", "TIME", "DOWNTIME", "BYTES", win.ws_col ? "" : "  WHY");
	}
	for (r = records; r < records + count; r++) {
		print_when(r->out_started_ns, when, sizeof(when));
		snprintf(row, sizeof(row), "%-19s  %-*s  %-6s  %-8s  %7s  %8s  %8s", when, width,
			 name_of(r), ferry_role_name(r->out_role), result_of(r),
			 human_time(r->out_total_time_ns),
			 r->out_downtime_ns ? human_time(r->out_downtime_ns) : "-",
			 human_bytes(r->out_ram_transferred));
		snprintf(why, sizeof(why), "%s%s%s",
			 r->out_error ? ferry_errno_name((int)r->out_error) : "",
			 r->out_error ? ": " : "", (const char *)r->out_reason);
		if (!win.ws_col || !*why) {
			printf("%s%s%s\n", row, *why ? "  " : "", why);
			continue;
		}
		puts(row);
		print_below(why, win.ws_col);
	}
	fflush(stdout);
}
