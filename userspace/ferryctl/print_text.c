// SPDX-License-Identifier: GPL-2.0-only
/*
 * Output for people.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "print.h"

static const char *name_of(const struct session_view *view)
{
	return view->stats.out_name[0] ? (const char *)view->stats.out_name : "-";
}

static const char *reason_of(const struct session_view *view)
{
	return view->reason[0] ? view->reason : session_error_text(view->stats.out_error);
}

/* How much of memory the sink has, as far as the source can tell: 0 to 100. */
static unsigned int percent(const struct kvm_ferry_stats *st)
{
	if (!st->out_ram_total || st->out_ram_remaining > st->out_ram_total)
		return 0;
	return (unsigned int)(100 * (double)(st->out_ram_total - st->out_ram_remaining) /
			      (double)st->out_ram_total);
}

static void sessions(const struct session_view *views, size_t count)
{
	const struct kvm_ferry_stats *st;
	size_t i;

	if (!count) {
		puts("No sessions.");
		return;
	}
	printf("%6s  %-6s  %-10s  %5s  %11s  %11s  %10s  %s\n", "ID", "ROLE", "STATE", "PASS",
	       "TRANSFERRED", "REMAINING", "TIME", "NAME");
	for (i = 0; i < count; i++) {
		st = &views[i].stats;
		printf("%6llu  %-6s  %-10s  %5llu  %11s  %11s  %10s  %s\n",
		       (unsigned long long)st->out_session_id, ferry_role_name(st->out_role),
		       ferry_state_name(st->out_state),
		       (unsigned long long)st->out_dirty_sync_count,
		       human_bytes(st->out_ram_transferred),
		       st->out_role == KVM_FERRY_SOURCE ? human_bytes(st->out_ram_remaining) : "-",
		       human_time(st->out_total_time_ns), name_of(&views[i]));
	}
}

static void print_memory(const struct kvm_ferry_stats *st)
{
	printf("  memory      %s in all; %s pages travelled, %s were zero (%s of them %s)\n",
	       human_bytes(st->out_ram_total), human_count(st->out_ram_normal),
	       human_count(st->out_ram_duplicate),
	       human_count(st->out_role == KVM_FERRY_SINK ? st->out_ram_skipped_clear :
							    st->out_ram_hole),
	       st->out_role == KVM_FERRY_SINK ? "clear already" : "never allocated");
}

static void print_rings(const struct kvm_ferry_stats *st)
{
	if (st->out_role != KVM_FERRY_SOURCE || !st->out_ring_entries)
		return;
	printf("  rings       %s entries in %s resets; %s to harvest, %s to reset\n",
	       human_count(st->out_ring_entries), human_count(st->out_ring_resets),
	       human_time(st->out_harvest_ns), human_time(st->out_reset_ns));
	printf("              vCPUs met a full ring %s times, and waited %s\n",
	       human_count(st->out_ring_full), human_time(st->out_ring_full_ns));
}

static void print_limits(const struct kvm_ferry_limits *limits)
{
	printf("  limits      bandwidth %s, downtime %s, in flight %s a channel,\n"
	       "              peer timeout %s, verify %s\n",
	       limits->max_bandwidth ? human_rate(limits->max_bandwidth) : "unlimited",
	       human_time(limits->downtime_limit_ns), human_bytes(limits->inflight_bytes),
	       human_time(limits->peer_timeout_ns), limits->verify ? "on" : "off");
}

static void status_of(const struct session_view *view)
{
	const struct kvm_ferry_stats *st = &view->stats;
	bool source = st->out_role == KVM_FERRY_SOURCE;

	printf("session %llu (%s): %s, %s", (unsigned long long)st->out_session_id, name_of(view),
	       ferry_role_name(st->out_role), ferry_state_name(st->out_state));
	if (!ferry_state_ended(st->out_state) && source && st->out_dirty_sync_count)
		printf(", pass %llu", (unsigned long long)st->out_dirty_sync_count);
	putchar('\n');
	if (*reason_of(view))
		printf("  ended by    %s: %s\n", ferry_errno_name((int)st->out_error),
		       reason_of(view));
	printf("  time        %s", human_time(st->out_total_time_ns));
	if (st->out_downtime_ns)
		printf(", of it downtime %s", human_time(st->out_downtime_ns));
	putchar('\n');
	print_memory(st);
	printf("  link        %s %s over %u data channel%s%s%s\n",
	       human_bytes(st->out_ram_transferred), source ? "sent" : "received",
	       st->out_nr_channels, st->out_nr_channels == 1 ? "" : "s",
	       source ? ", now " : "", source ? human_rate(st->out_link_rate) : "");
	if (source && !ferry_state_ended(st->out_state)) {
		printf("  left        %s (%u %% is there)\n", human_bytes(st->out_ram_remaining),
		       percent(st));
		printf("  dirty       %s/s; expected downtime %s\n",
		       human_bytes(st->out_dirty_pages_rate * KVM_FERRY_PAGE_SIZE),
		       human_time(st->out_expected_downtime_ns));
	}
	print_rings(st);
	if (st->out_digest)
		printf("  digest      %016llx\n", (unsigned long long)st->out_digest);
	if (view->has_limits)
		print_limits(&view->limits);
}

static void status(const struct session_view *views, size_t count)
{
	size_t i;

	if (!count)
		puts("No sessions.");
	for (i = 0; i < count; i++) {
		if (i)
			putchar('\n');
		status_of(&views[i]);
	}
}

static void stats(const struct session_view *views, size_t count)
{
	const struct stats_field *f;
	uint64_t value;
	uint32_t small;
	size_t i;

	for (i = 0; i < count; i++) {
		if (i)
			putchar('\n');
		for (f = stats_fields; f < stats_fields + nr_stats_fields; f++) {
			const char *at = (const char *)&views[i].stats + f->offset;

			if (f->size > 8) {
				printf("%-20s %.*s\n", f->name, (int)f->size, at);
			} else if (f->size == 4) {
				memcpy(&small, at, sizeof(small));
				printf("%-20s %u\n", f->name, small);
			} else {
				memcpy(&value, at, sizeof(value));
				printf("%-20s %llu\n", f->name, (unsigned long long)value);
			}
		}
	}
}

static void checks(const struct check_list *list)
{
	static const char *const marks[] = { "ok", "warn", "FAIL" };
	unsigned int i, nr[3] = { 0 };

	for (i = 0; i < list->count; i++) {
		const struct check *c = &list->checks[i];

		nr[c->status]++;
		printf("%-4s  %-18s %s\n", marks[c->status], c->name, c->detail);
		if (c->advice[0])
			printf("      %-18s -> %s\n", "", c->advice);
	}
	if (nr[CHECK_FAIL])
		printf("\nThis host is not ready: %u of %u checks failed.\n", nr[CHECK_FAIL],
		       list->count);
	else if (nr[CHECK_WARN])
		printf("\nThis host is ready; %u of %u checks have advice.\n", nr[CHECK_WARN],
		       list->count);
	else
		puts("\nThis host is ready.");
}

static void limits(uint64_t id, const struct kvm_ferry_limits *lim)
{
	printf("session %llu:\n", (unsigned long long)id);
	print_limits(lim);
}

/* --- progress: on a terminal a line that is written over, else a line each --- */

static struct {
	bool terminal;
	bool open;		/* the terminal's line is not ended */
	uint32_t state;
	uint64_t pass;
	bool any;
} shown;

static void progress_begin(void)
{
	memset(&shown, 0, sizeof(shown));
	shown.terminal = isatty(STDOUT_FILENO);
}

static void progress_end(void)
{
	if (shown.open)
		putchar('\n');
	shown.open = false;
	fflush(stdout);
}

static void draw_bar(char *to, size_t room, unsigned int part)
{
	enum { WIDTH = 20 };
	unsigned int i;

	for (i = 0; i < WIDTH && i + 1 < room; i++)
		to[i] = i < part * WIDTH / 100 ? '#' : '.';
	to[i] = 0;
}

static void describe(const struct session_view *view, char *line, size_t room, bool bar)
{
	const struct kvm_ferry_stats *st = &view->stats;
	char drawn[32], head[48];

	if (st->out_role == KVM_FERRY_SINK) {
		/* A sink's module measures no rate of the link: the source's does. */
		snprintf(line, room, "%-10s pass %llu  received %s  %s pages, %s more were zero",
			 ferry_state_name(st->out_state),
			 (unsigned long long)st->out_dirty_sync_count,
			 human_bytes(st->out_ram_transferred), human_count(st->out_ram_normal),
			 human_count(st->out_ram_duplicate));
		return;
	}
	snprintf(head, sizeof(head), "%-10s pass %llu", ferry_state_name(st->out_state),
		 (unsigned long long)st->out_dirty_sync_count);
	if (ferry_state_ended(st->out_state) || st->out_state > KVM_FERRY_STATE_LIVE) {
		snprintf(line, room, "%s  sent %s  left %s  down for %s", head,
			 human_bytes(st->out_ram_transferred), human_bytes(st->out_ram_remaining),
			 human_time(st->out_downtime_ns));
		return;
	}
	draw_bar(drawn, sizeof(drawn), percent(st));
	snprintf(line, room, "%s %s%s%s sent %s  left %s  dirty %s/s  link %s  downtime %s%s",
		 head, bar ? "[" : "", bar ? drawn : "", bar ? "]" : "",
		 human_bytes(st->out_ram_transferred), human_bytes(st->out_ram_remaining),
		 human_bytes(st->out_dirty_pages_rate * KVM_FERRY_PAGE_SIZE),
		 human_rate(st->out_link_rate),
		 st->out_expected_downtime_ns == UINT64_MAX ? "" : "~",
		 human_time(st->out_expected_downtime_ns));
}

static void progress(const struct session_view *view)
{
	const struct kvm_ferry_stats *st = &view->stats;
	struct winsize win = { .ws_col = 0 };
	char line[256];

	if (!shown.terminal) {
		describe(view, line, sizeof(line), false);
		printf("%8.2f s  %s\n", st->out_total_time_ns / 1e9, line);
		fflush(stdout);
		return;
	}
	/* What has changed for good gets a line of its own, the rest is redrawn. */
	if (shown.open && (st->out_state != shown.state ||
			   st->out_dirty_sync_count != shown.pass)) {
		putchar('\n');
		shown.open = false;
	}
	describe(view, line, sizeof(line), true);
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &win) && win.ws_col > 20 &&
	    win.ws_col < sizeof(line))
		line[win.ws_col - 1] = 0;
	printf("\r%s\033[K", line);
	fflush(stdout);
	shown.open = true;
	shown.state = st->out_state;
	shown.pass = st->out_dirty_sync_count;
}

static void result(enum outcome outcome, const char *reason, const struct session_view *view)
{
	bool sink = view && view->stats.out_role == KVM_FERRY_SINK;
	static const char *const sentences[] = {
		[OUTCOME_STARTED] = "The migration has begun; 'ferryctl watch' follows it.",
		[OUTCOME_MOVED] = "The guest has moved.",
		[OUTCOME_FAILED] = "The migration failed; the guest is whole at its source.",
		[OUTCOME_IN_DOUBT] =
			"The migration is in doubt: the guest is paused here and may run there.\n"
			"Find out whether it runs at the receiver, and tell this VMM.",
		[OUTCOME_UNKNOWN] =
			"How the migration ended is not known: the VMM or session has gone away.",
	};
	const struct kvm_ferry_stats *st;
	double seconds;

	puts(sink && outcome == OUTCOME_MOVED ? "The guest runs here now." : sentences[outcome]);
	if (*reason)
		printf("  because     %s\n", reason);
	if (!view || outcome == OUTCOME_STARTED)
		return;
	st = &view->stats;
	seconds = st->out_total_time_ns / 1e9;
	printf("  total time  %s (set-up %s)\n", human_time(st->out_total_time_ns),
	       human_time(st->out_setup_time_ns));
	if (outcome == OUTCOME_MOVED)
		printf("  downtime    %s\n", human_time(st->out_downtime_ns));
	printf("  passes      %llu", (unsigned long long)st->out_dirty_sync_count);
	if (!sink)
		printf("; %s pages became dirty on the way", human_count(st->out_dirty_pages));
	putchar('\n');
	print_memory(st);
	printf("  link        %s over %u data channel%s, %s on average\n",
	       human_bytes(st->out_ram_transferred), st->out_nr_channels,
	       st->out_nr_channels == 1 ? "" : "s",
	       human_rate(seconds > 0 ? (uint64_t)(st->out_ram_transferred / seconds) : 0));
	printf("  VMM state   %s\n", human_bytes(st->out_state_bytes));
	print_rings(st);
	if (st->out_digest)
		printf("  digest      %016llx of all memory, %s\n",
		       (unsigned long long)st->out_digest,
		       outcome == OUTCOME_MOVED ? "the same on both sides" : "here");
}

const struct print_ops print_text = {
	.sessions = sessions,
	.status = status,
	.stats = stats,
	.checks = checks,
	.limits = limits,
	.progress_begin = progress_begin,
	.progress = progress,
	.progress_end = progress_end,
	.result = result,
};
