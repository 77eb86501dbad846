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
	/* Nothing is dirty before the start. */
	if (!st->out_ram_total || st->out_ram_remaining > st->out_ram_total ||
	    st->out_state == KVM_FERRY_STATE_SETUP)
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
	printf("  memory      %s in all; %s pages travelled, %s were zero,\n"
	       "              %s of them %s\n",
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
	printf("  rings       %s entries in %s resets; harvest %s, reset %s\n",
	       human_count(st->out_ring_entries), human_count(st->out_ring_resets),
	       human_time(st->out_harvest_ns), human_time(st->out_reset_ns));
	printf("              vCPUs met a full ring %s times, and waited %s\n",
	       human_count(st->out_ring_full), human_time(st->out_ring_full_ns));
	if (st->out_throttle_ns)
		printf("              %s of that to be held back\n",
		       human_time(st->out_throttle_ns));
	if (timeline_throttled(st))
		printf("  throttle    %s vCPU%s may dirty %s/s%s (%s pages)\n",
		       human_count(st->out_throttled_rings), st->out_throttled_rings == 1 ? "" : "s",
		       human_bytes(st->out_throttle_rate * KVM_FERRY_PAGE_SIZE),
		       st->out_throttled_rings == 1 ? "" : " each",
		       human_count(st->out_throttle_rate));
}

/* Who sends pins nothing for long: only a sink has figures of it. */
static void print_rdma(const struct kvm_ferry_stats *st)
{
	if (!st->out_rdma_channels)
		return;
	printf("  RDMA        %s of %u data channels", human_count(st->out_rdma_channels),
	       st->out_nr_channels);
	if (st->out_role == KVM_FERRY_SINK)
		printf("; %s windows, %s pinned, at most %s", human_count(st->out_windows),
		       human_bytes(st->out_pinned_bytes), human_bytes(st->out_pinned_most_bytes));
	putchar('\n');
}

static void print_limits(const struct kvm_ferry_limits *limits)
{
	printf("  limits      bandwidth %s, downtime %s, in flight %s a channel,\n"
	       "              peer timeout %s, verify %s\n",
	       limits->max_bandwidth ? human_rate(limits->max_bandwidth) : "unlimited",
	       human_time(limits->downtime_limit_ns), human_bytes(limits->inflight_bytes),
	       human_time(limits->peer_timeout_ns), limits->verify ? "on" : "off");
	if (limits->final_bandwidth != KVM_FERRY_BANDWIDTH_SAME)
		printf("              bandwidth of the final pass %s\n",
		       limits->final_bandwidth ? human_rate(limits->final_bandwidth) : "unlimited");
	if (limits->state_time_ns)
		printf("              the VMM's own state takes %s\n", human_time(limits->state_time_ns));
	if (limits->throttle == KVM_FERRY_THROTTLE_AUTO && !limits->throttle_floor)
		puts("              vCPUs are held back if passes do not shrink");
	else if (limits->throttle == KVM_FERRY_THROTTLE_AUTO)
		printf("              vCPUs are held back if passes do not shrink, to no less than\n"
		       "              %s pages a second\n", human_count(limits->throttle_floor));
	else if (limits->throttle != KVM_FERRY_THROTTLE_NEVER)
		printf("              each vCPU may dirty %s pages a second\n",
		       human_count(limits->throttle));
	/* 0: a module that knows no such limit. */
	if (limits->max_pinned == KVM_FERRY_PINNED_ALL)
		puts("              all of memory pinned for RDMA");
	else if (limits->max_pinned)
		printf("              at most %s pinned for RDMA\n", human_bytes(limits->max_pinned));
}

static void print_downtime(const struct kvm_ferry_stats *st)
{
	printf("  downtime    memory %s, state %s, handing over %s", human_time(st->out_downtime_ram_ns),
	       human_time(st->out_downtime_state_ns), human_time(st->out_downtime_commit_ns));
	if (st->out_predicted_downtime_ns != UINT64_MAX && st->out_predicted_downtime_ns)
		printf("; %s in all were expected", human_time(st->out_predicted_downtime_ns));
	putchar('\n');
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
	if (source && st->out_downtime_ns)
		print_downtime(st);
	print_memory(st);
	printf("  link        %s %s over %u data channel%s%s%s\n",
	       human_bytes(st->out_ram_transferred), source ? "sent" : "received",
	       st->out_nr_channels, st->out_nr_channels == 1 ? "" : "s",
	       source ? ", now " : "", source ? human_rate(st->out_link_rate) : "");
	print_rdma(st);
	if (source && st->out_state != KVM_FERRY_STATE_SETUP && !ferry_state_ended(st->out_state)) {
		printf("  left        %s (%u %% is there)\n", human_bytes(st->out_ram_remaining),
		       percent(st));
		printf("  dirty       %s/s; expected downtime %s\n",
		       human_bytes(st->out_dirty_pages_rate * KVM_FERRY_PAGE_SIZE),
		       human_time(st->out_expected_downtime_ns));
		if (st->out_working_set)
			printf("  writes      about %s of memory, again and again\n",
			       human_bytes(st->out_working_set));
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

static void print_region_table(const struct session_view *view)
{
	size_t i;

	printf("%9s %14s %14s %14s %14s  %s\n", "region_id", "pages", "dirty_pages", "dirty_rate",
	       "working_set", "name");
	for (i = 0; i < view->nr_regions; i++) {
		const struct kvm_ferry_region_stats *r = &view->regions[i];

		printf("%9u %14llu %14llu %14llu %14llu  %.*s\n", r->out_region_id,
		       (unsigned long long)r->out_pages, (unsigned long long)r->out_dirty_pages,
		       (unsigned long long)r->out_dirty_rate, (unsigned long long)r->out_working_set,
		       (int)sizeof(r->out_name), (const char *)r->out_name);
	}
}

/* A row a ring, each column as wide as its name or the largest usual number. */
static void print_ring_table(const struct session_view *view)
{
	const struct stats_field *f;
	size_t i;

	for (f = ring_fields; f < ring_fields + nr_ring_fields; f++)
		printf("%*s", f == ring_fields ? 7 : 15, f->name);
	putchar('\n');
	for (i = 0; i < view->nr_rings; i++) {
		for (f = ring_fields; f < ring_fields + nr_ring_fields; f++)
			printf("%s%*llu", f == ring_fields ? "" : " ", f == ring_fields ? 7 : 14,
			       (unsigned long long)ring_field(&view->rings[i], f));
		putchar('\n');
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
		if (views[i].nr_regions)
			print_region_table(&views[i]);
		if (views[i].nr_rings)
			print_ring_table(&views[i]);
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

static void host(const struct kvm_ferry_host_limits *lim)
{
	printf("bandwidth of all sources: %s\n",
	       lim->max_bandwidth ? human_rate(lim->max_bandwidth) : "unlimited");
	printf("sending now: %u session%s", lim->out_sessions, lim->out_sessions == 1 ? "" : "s");
	if (lim->out_share)
		printf("; one may send %s", human_rate(lim->out_share));
	printf("\nsent so far: %s\n", human_bytes(lim->out_transferred));
}

static void unloaded(bool was)
{
	puts(was ? "kvm_ferry is unloaded." : "kvm_ferry is not loaded.");
}

/* --- progress: on a terminal a line that is written over, else a line each --- */

#define WIDE 130	/* columns that the longest line needs */

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

/* @columns: a terminal's, or 0: as long as it gets. */
static void describe(const struct session_view *view, char *line, size_t room,
		     unsigned int columns)
{
	const struct kvm_ferry_stats *st = &view->stats;
	char drawn[32], head[48], held[80] = "";

	if (st->out_role == KVM_FERRY_SINK) {
		/* A sink's module measures no rate of the link: the source's does. */
		snprintf(line, room, "%-10s pass %llu  received %s  %s pages, %s more were zero",
			 ferry_state_name(st->out_state),
			 (unsigned long long)st->out_dirty_sync_count,
			 human_bytes(st->out_ram_transferred), human_count(st->out_ram_normal),
			 human_count(st->out_ram_duplicate));
		return;
	}
	if (columns && columns < WIDE && timeline_throttled(st)) {
		/* Here, too, what decides when it ends: how much is left follows from that. */
		snprintf(line, room, "%s pass %llu %3u %%  link %s  dirty %s/s  %s held to %s/s",
			 ferry_state_name(st->out_state),
			 (unsigned long long)st->out_dirty_sync_count, percent(st),
			 human_rate(st->out_link_rate),
			 human_bytes(st->out_dirty_pages_rate * KVM_FERRY_PAGE_SIZE),
			 human_count(st->out_throttled_rings),
			 human_bytes(st->out_throttle_rate * KVM_FERRY_PAGE_SIZE));
		return;
	}
	if (timeline_throttled(st))
		snprintf(held, sizeof(held), "  %s vCPU%s held to %s/s",
			 human_count(st->out_throttled_rings), st->out_throttled_rings == 1 ? "" : "s",
			 human_bytes(st->out_throttle_rate * KVM_FERRY_PAGE_SIZE));
	snprintf(head, sizeof(head), "%-10s pass %llu", ferry_state_name(st->out_state),
		 (unsigned long long)st->out_dirty_sync_count);
	if (ferry_state_ended(st->out_state) || st->out_state > KVM_FERRY_STATE_LIVE) {
		snprintf(line, room, "%s  sent %s  left %s%s%s", head,
			 human_bytes(st->out_ram_transferred), human_bytes(st->out_ram_remaining),
			 st->out_downtime_ns ? "  down for " : "",
			 st->out_downtime_ns ? human_time(st->out_downtime_ns) : "");
		return;
	}
	draw_bar(drawn, sizeof(drawn), percent(st));
	if (columns && columns < WIDE) {
		/* What decides when it ends. */
		snprintf(line, room, "%s %3u %%  left %s  link %s  dirty %s/s", head, percent(st),
			 human_bytes(st->out_ram_remaining), human_rate(st->out_link_rate),
			 human_bytes(st->out_dirty_pages_rate * KVM_FERRY_PAGE_SIZE));
		return;
	}
	snprintf(line, room, "%s %s%s%s sent %s  left %s  dirty %s/s  link %s  downtime %s%s%s",
		 head, columns ? "[" : "", columns ? drawn : "", columns ? "]" : "",
		 human_bytes(st->out_ram_transferred), human_bytes(st->out_ram_remaining),
		 human_bytes(st->out_dirty_pages_rate * KVM_FERRY_PAGE_SIZE),
		 human_rate(st->out_link_rate),
		 st->out_expected_downtime_ns == UINT64_MAX ? "" : "~",
		 human_time(st->out_expected_downtime_ns), held);
}

static void progress(const struct timeline *tl, unsigned int saw)
{
	const struct session_view *view = &tl->last;
	const struct kvm_ferry_stats *st = &view->stats;
	struct winsize win = { .ws_col = 0 };
	char line[256];

	(void)saw;
	if (!shown.terminal) {
		describe(view, line, sizeof(line), 0);
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
	ioctl(STDOUT_FILENO, TIOCGWINSZ, &win);
	describe(view, line, sizeof(line), win.ws_col ? win.ws_col : WIDE);
	if (win.ws_col > 20 && win.ws_col < sizeof(line))
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
	print_rdma(st);
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
	.host = host,
	.unloaded = unloaded,
	.history = print_history,
	.shows = SAW_STATE,
	.progress_begin = progress_begin,
	.progress = progress,
	.progress_end = progress_end,
	.result = result,
};
