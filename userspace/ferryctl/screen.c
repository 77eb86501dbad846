// SPDX-License-Identifier: GPL-2.0-only
/*
 * watch on a terminal: a session as a picture, drawn anew again and again.
 *
 * From the top: whose it is and its state; how much of memory is there; charts of
 * the rates over all of the time; what the downtime would be, or is; the passes; the
 * rest. A screen with more rows gets higher charts, then more passes.
 */
#include <stdio.h>
#include <string.h>

#include "print.h"
#include "term.h"
#include "timeline.h"

#define LABEL		"%-11s"		/* of every row */
#define CHART_LEFT	38		/* columns left of a chart */
#define CHART_ROWS	8		/* as high as one gets */
#define USUAL_ROWS	24		/* with fewer than that charts are a row high */

static struct frame frame;
static const struct timeline *drawn;	/* for the last words on it */

/* Text with escape sequences and of several bytes a character, piece by piece. */
struct line {
	char text[2048];
	size_t length;
};

static void put(struct line *l, const char *text)
{
	size_t length = strlen(text);

	if (length >= sizeof(l->text) - l->length)
		return;
	memcpy(l->text + l->length, text, length + 1);
	l->length += length;
}

/* An eighth to eight eighths of a character's height, or width. */
static const char *const heights[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
static const char *const plain_heights[] = { " ", ".", ".", ":", ":", "|", "|", "#", "#" };
static const char *const widths[] = { " ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" };

static const char *name_of(const struct kvm_ferry_stats *st)
{
	return st->out_name[0] ? (const char *)st->out_name : "(no name)";
}

static const char *upper_state(uint32_t state)
{
	static char text[24];
	const char *name = ferry_state_name(state);
	size_t i;

	for (i = 0; name[i] && i + 1 < sizeof(text); i++)
		text[i] = name[i] >= 'a' && name[i] <= 'z' ? name[i] - 'a' + 'A' : name[i];
	text[i] = 0;
	return text;
}

static void put_header(const struct kvm_ferry_stats *st)
{
	const char *whither = st->out_role == KVM_FERRY_SINK ? " (it comes here)" : " (it leaves)";
	char left[128], right[64];
	int room, length;

	snprintf(right, sizeof(right), "pass %llu   %.1f s ",
		 (unsigned long long)st->out_dirty_sync_count, st->out_total_time_ns / 1e9);
	room = (int)frame.columns - (int)strlen(right) - 2;
	if (room < 0)
		room = 0;
	length = snprintf(left, sizeof(left), " %s   %s   session %llu, %s",
			  upper_state(st->out_state), name_of(st),
			  (unsigned long long)st->out_session_id, ferry_role_name(st->out_role));
	if (length + (int)strlen(whither) <= room)
		snprintf(left + length, sizeof(left) - length, "%s", whither);
	frame_put(&frame, FRAME_INVERSE FRAME_BOLD "%-*.*s  %s", room, room, left, right);
}

/* Of 1. */
static double part_there(const struct kvm_ferry_stats *st)
{
	if (!st->out_ram_total || st->out_ram_remaining > st->out_ram_total)
		return 0;
	return (double)(st->out_ram_total - st->out_ram_remaining) / (double)st->out_ram_total;
}

static void put_bar(double part)
{
	unsigned int width = frame.columns > 42 ? frame.columns - 26 : 16, i, eighths;
	struct line bar = { .length = 0 };

	eighths = (unsigned int)(part * width * 8);
	for (i = 0; i < width; i++, eighths -= eighths < 8 ? eighths : 8)
		if (!frame.utf8)
			put(&bar, eighths >= 8 ? "#" : ".");
		else
			put(&bar, eighths ? widths[eighths < 8 ? eighths : 8] : "·");
	frame_put(&frame, LABEL FRAME_GREEN "%s" FRAME_PLAIN " %5.1f %% there", "Memory", bar.text,
		  part * 100);
}

static void put_memory(const struct timeline *tl)
{
	const struct kvm_ferry_stats *st = &tl->last.stats;

	if (st->out_role == KVM_FERRY_SINK) {
		/* How much will come is the source's to know. */
		frame_put(&frame, LABEL "%s in all; %s received, %s were zero", "Memory",
			  human_bytes(st->out_ram_total), human_bytes(st->out_ram_transferred),
			  human_bytes(st->out_ram_duplicate * KVM_FERRY_PAGE_SIZE));
		return;
	}
	if (st->out_state == KVM_FERRY_STATE_SETUP) {
		/* Nothing is dirty before the start: that is not all of memory being there. */
		put_bar(0);
		frame_put(&frame, LABEL "%s in all; it has not been started yet", "",
			  human_bytes(st->out_ram_total));
		return;
	}
	put_bar(part_there(st));
	frame_put(&frame, LABEL "%s in all, %s left; %s sent, %s were zero", "",
		  human_bytes(st->out_ram_total), human_bytes(st->out_ram_remaining),
		  human_bytes(st->out_ram_transferred),
		  human_bytes(st->out_ram_duplicate * KVM_FERRY_PAGE_SIZE));
}

/**
 * struct chart - a row of figures over time
 * @label: at its left
 * @value: now, in words
 * @more: a second line of words, where there is room
 * @colour: of its blocks
 * @field: offset of a double in struct timeline_point
 * @most: the value of a full column
 */
struct chart {
	const char *label;
	const char *value;
	const char *more;
	const char *colour;
	size_t field;
	double most;
};

static double field_of(const struct timeline_point *p, size_t field)
{
	double value;

	memcpy(&value, (const char *)p + field, sizeof(value));
	return value;
}

static double most_of(const struct timeline *tl, size_t field)
{
	double most = 0;
	size_t i;

	for (i = 0; i < tl->nr_points; i++)
		if (field_of(&tl->points[i], field) > most)
			most = field_of(&tl->points[i], field);
	return most;
}

/* What was so in column @column of @columns, which are all of the time so far. */
static double at_column(const struct timeline *tl, size_t field, unsigned int column,
			unsigned int columns)
{
	size_t from = (size_t)column * tl->nr_points / columns;
	size_t to = (size_t)(column + 1) * tl->nr_points / columns, i;
	double sum = 0;

	if (to <= from)
		to = from + 1;
	for (i = from; i < to; i++)
		sum += field_of(&tl->points[i], field);
	return sum / (double)(to - from);
}

static void put_chart(const struct timeline *tl, const struct chart *c, unsigned int rows)
{
	unsigned int columns = frame.columns > CHART_LEFT + 4 ? frame.columns - CHART_LEFT - 2 : 0;
	const char *const *blocks = frame.utf8 ? heights : plain_heights;
	unsigned int row, i;
	struct line line;
	int eighths;

	/* A new session's few readings are not drawn wider than they are. */
	if (columns > tl->nr_points)
		columns = tl->nr_points;
	for (row = 0; row < rows; row++) {
		line.length = 0;
		line.text[0] = 0;
		for (i = 0; i < columns; i++) {
			eighths = c->most <= 0 ? 0 :
				  (int)(at_column(tl, c->field, i, columns) / c->most * rows * 8 + 0.5);
			/* What is not nothing shows. */
			if (!eighths && at_column(tl, c->field, i, columns) > 0)
				eighths = 1;
			eighths -= (int)(rows - 1 - row) * 8;
			put(&line, blocks[eighths < 0 ? 0 : eighths > 8 ? 8 : eighths]);
		}
		frame_put(&frame, LABEL "%-*s%s%s", row ? "" : c->label, CHART_LEFT - 11,
			  !row ? c->value : row == 1 ? c->more : "", c->colour, line.text);
	}
}

static void put_charts(const struct timeline *tl, unsigned int rows)
{
	const struct kvm_ferry_stats *st = &tl->last.stats;
	bool source = st->out_role == KVM_FERRY_SOURCE;
	double link = most_of(tl, offsetof(struct timeline_point, link));
	double dirty = most_of(tl, offsetof(struct timeline_point, dirty));
	/* One scale for both rates: which of them is larger decides how this ends. */
	double most = link > dirty ? link : dirty;
	char value[3][64], more[3][64];
	const struct chart charts[] = {
		{ source ? "Link" : "Received", value[0], more[0], FRAME_CYAN,
		  offsetof(struct timeline_point, link), most },
		{ "Dirtied", value[1], more[1], FRAME_MAGENTA,
		  offsetof(struct timeline_point, dirty), most },
		{ "Left", value[2], more[2], FRAME_GREEN, offsetof(struct timeline_point, left),
		  most_of(tl, offsetof(struct timeline_point, left)) },
	};
	size_t i;

	snprintf(value[0], sizeof(value[0]), "%s/s, %s", human_bytes((uint64_t)tl->link_rate),
		 human_rate((uint64_t)tl->link_rate));
	snprintf(more[0], sizeof(more[0]), "at most %s", human_rate((uint64_t)link));
	snprintf(value[1], sizeof(value[1]), "%s/s",
		 human_bytes(timeline_dirty_rate(st)));
	snprintf(more[1], sizeof(more[1]), "%s pages a second",
		 human_count(timeline_dirty_rate(st) / KVM_FERRY_PAGE_SIZE));
	snprintf(value[2], sizeof(value[2]), "%s", human_bytes(st->out_ram_remaining));
	snprintf(more[2], sizeof(more[2]), "%s pages",
		 human_count(st->out_ram_remaining / KVM_FERRY_PAGE_SIZE));
	for (i = 0; i < (source ? sizeof(charts) / sizeof(charts[0]) : 1); i++) {
		if (i && rows > 1)
			frame_put(&frame, "%s", "");
		put_chart(tl, &charts[i], rows);
	}
}

/* What the guest's pause was spent on, in words; "" if it was not seen. */
static const char *phases(const struct timeline *tl)
{
	static const struct {
		uint32_t state;
		const char *name;
	} names[] = {
		{ KVM_FERRY_STATE_FINAL, "final pass" },
		{ KVM_FERRY_STATE_PAUSED, "VMM state" },
		{ KVM_FERRY_STATE_COMMITTING, "commit" },
	};
	static struct line line;
	char phase[80];
	uint64_t ns;
	size_t i;

	line.length = 0;
	line.text[0] = 0;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!timeline_time_in(tl, names[i].state, &ns))
			continue;
		snprintf(phase, sizeof(phase), "%s%s %s", line.length ? ", " : "", names[i].name,
			 human_time(ns));
		put(&line, phase);
	}
	return line.text;
}

static void put_switchover(const struct timeline *tl)
{
	const struct kvm_ferry_stats *st = &tl->last.stats;

	frame_put(&frame, LABEL FRAME_BOLD "the guest %s down for %s" FRAME_PLAIN, "Switchover",
		  ferry_state_ended(st->out_state) ? "was" : "is", human_time(st->out_downtime_ns));
	frame_put(&frame, LABEL "%s", "", phases(tl));
}

/* Whether the last passes had as much to send as those before them, or nearly. */
static bool shrinks_no_more(const struct timeline *tl)
{
	const struct timeline_pass *last = timeline_pass(tl, 0), *before = timeline_pass(tl, 1);
	const struct timeline_pass *first = timeline_pass(tl, 2);

	/* The first pass of all is the whole memory, and says nothing. */
	return first && first->number > 1 && last->left >= before->left / 10 * 9 &&
	       before->left >= first->left / 10 * 9;
}

static void put_downtime(const struct timeline *tl)
{
	const struct kvm_ferry_stats *st = &tl->last.stats;
	uint64_t expected = st->out_expected_downtime_ns, dirty;
	const struct kvm_ferry_limits *limits = &tl->last.limits;

	if (st->out_state >= KVM_FERRY_STATE_FINAL) {
		put_switchover(tl);
		return;
	}
	if (st->out_role == KVM_FERRY_SINK || st->out_state < KVM_FERRY_STATE_LIVE) {
		frame_put(&frame, LABEL "%s", "Downtime", st->out_role == KVM_FERRY_SINK ?
			  "the source decides when it begins" : "not known yet");
		frame_put(&frame, "%s", "");
		return;
	}
	frame_put(&frame, LABEL "%s%s%s%s", "Downtime", human_time(expected),
		  expected == UINT64_MAX ? "" : " if the guest were paused now",
		  tl->last.has_limits ? "; the limit is " : "",
		  tl->last.has_limits ? human_time(limits->downtime_limit_ns) : "");
	dirty = st->out_dirty_pages_rate * KVM_FERRY_PAGE_SIZE;
	if (expected == UINT64_MAX || !st->out_link_rate)
		frame_put(&frame, "%s", "");
	else if (tl->last.has_limits && expected <= limits->downtime_limit_ns)
		frame_put(&frame, LABEL FRAME_BOLD "within the limit: the VMM may pause the guest",
			  "");
	else if (timeline_throttled(st))
		frame_put(&frame, LABEL FRAME_BOLD "%s vCPU%s may dirty no more than %s/s%s", "",
			  human_count(st->out_throttled_rings),
			  st->out_throttled_rings == 1 ? "" : "s",
			  human_bytes(st->out_throttle_rate * KVM_FERRY_PAGE_SIZE),
			  st->out_throttled_rings == 1 ? "" : " each");
	else if (dirty >= st->out_link_rate || shrinks_no_more(tl))
		frame_put(&frame, LABEL FRAME_RED FRAME_BOLD "%s", "",
			  "the guest writes as fast as the link carries: this may never end");
	else
		frame_put(&frame, LABEL "what is left now takes the link %s", "",
			  human_time((uint64_t)((double)st->out_ram_remaining /
						(double)st->out_link_rate * 1e9)));
}

static void put_passes(const struct timeline *tl, unsigned int rows)
{
	const struct kvm_ferry_stats *st = &tl->last.stats;
	const struct timeline_pass *p, *next = NULL;
	uint64_t until, sent, dirtied;
	bool source = st->out_role == KVM_FERRY_SOURCE;
	unsigned int i;

	frame_put(&frame, FRAME_BOLD "%-6s%10s%12s%16s%16s%16s", "Pass", "began", "took",
		  source ? "to send" : "", source ? "sent" : "received",
		  source ? "dirtied anew" : "");
	for (i = 0; i < rows; i++, next = p) {
		p = timeline_pass(tl, i);
		if (!p)
			return;
		until = next ? next->at_ns : st->out_total_time_ns;
		sent = (next ? next->sent : st->out_ram_transferred) - p->sent;
		dirtied = (next ? next->dirtied : st->out_dirty_pages) - p->dirtied;
		frame_put(&frame, "%4llu  %8.2f s%12s%16s%16s%16s", (unsigned long long)p->number,
			  p->at_ns / 1e9, human_time(until > p->at_ns ? until - p->at_ns : 0),
			  source ? human_bytes(p->left) : "", human_bytes(sent),
			  source ? human_bytes(dirtied * KVM_FERRY_PAGE_SIZE) : "");
	}
}

/* Limits that most sessions do not have. */
static bool has_other_bandwidth(const struct session_view *view)
{
	return view->stats.out_role == KVM_FERRY_SOURCE && view->has_limits &&
	       (view->limits.final_bandwidth != KVM_FERRY_BANDWIDTH_SAME ||
		(view->has_host && view->host.max_bandwidth));
}

static void put_other_bandwidth(const struct session_view *view)
{
	const uint64_t final = view->limits.final_bandwidth;
	char text[160] = "";
	int length = 0;

	if (view->has_host && view->host.max_bandwidth)
		length = snprintf(text, sizeof(text), "all sources %s, one %s",
				  human_rate(view->host.max_bandwidth),
				  human_rate(view->host.out_share));
	if (final != KVM_FERRY_BANDWIDTH_SAME)
		snprintf(text + length, sizeof(text) - length, "%swhile paused %s",
			 length ? "; " : "", final ? human_rate(final) : "unlimited");
	frame_put(&frame, LABEL "%s", "Bandwidth", text);
}

static void put_rest(const struct session_view *view)
{
	const struct kvm_ferry_stats *st = &view->stats;
	const struct kvm_ferry_limits *l = &view->limits;
	char throttle[48] = "";

	if (l->throttle == KVM_FERRY_THROTTLE_AUTO)
		snprintf(throttle, sizeof(throttle), ", throttle auto");
	else if (l->throttle != KVM_FERRY_THROTTLE_NEVER)
		snprintf(throttle, sizeof(throttle), ", throttle %s/s",
			 human_bytes(l->throttle * KVM_FERRY_PAGE_SIZE));
	if (st->out_ring_entries)
		frame_put(&frame, LABEL "%s entries; vCPUs met a full one %s times, waited %s",
			  "Rings", human_count(st->out_ring_entries),
			  human_count(st->out_ring_full), human_time(st->out_ring_full_ns));
	if (st->out_throttle_ns)
		frame_put(&frame, LABEL "%s of that to be held back", "Throttle",
			  human_time(st->out_throttle_ns));
	if (st->out_rdma_channels)
		frame_put(&frame, LABEL "%s of %u data channels; %s pinned, at most %s", "RDMA",
			  human_count(st->out_rdma_channels), st->out_nr_channels,
			  human_bytes(st->out_pinned_bytes),
			  human_bytes(st->out_pinned_most_bytes));
	if (has_other_bandwidth(view))
		put_other_bandwidth(view);
	if (view->has_limits && st->out_role == KVM_FERRY_SINK)
		/* The others are the source's. */
		frame_put(&frame, LABEL "a peer that is silent for %s is taken for dead%s%s", "Limits",
			  human_time(l->peer_timeout_ns), st->out_rdma_channels ? "; pinned: " : "",
			  !st->out_rdma_channels ? "" : l->max_pinned == KVM_FERRY_PINNED_ALL ?
			  "all" : human_bytes(l->max_pinned));
	else if (view->has_limits)
		frame_put(&frame, LABEL "bandwidth %s, downtime %s%s; verify is %s", "Limits",
			  l->max_bandwidth ? human_rate(l->max_bandwidth) : "unlimited",
			  human_time(l->downtime_limit_ns), throttle, l->verify ? "on" : "off");
}

static unsigned int rows_of_rest(const struct session_view *view)
{
	return !!view->stats.out_ring_entries + !!view->stats.out_throttle_ns +
	       !!view->stats.out_rdma_channels + has_other_bandwidth(view) +
	       view->has_limits;
}

static void draw(const struct timeline *tl, unsigned int saw)
{
	const struct kvm_ferry_stats *st = &tl->last.stats;
	unsigned int charts = st->out_role == KVM_FERRY_SOURCE ? 3 : 1, high = 1, used, passes;

	(void)saw;
	drawn = tl;
	frame_begin(&frame);
	/* Some of the rows that there are more go to the passes. */
	if (frame.rows > USUAL_ROWS + charts)
		high += (frame.rows - USUAL_ROWS - charts) / (charts + 1);
	if (high > CHART_ROWS)
		high = CHART_ROWS;
	put_header(st);
	frame_put(&frame, "%s", "");
	put_memory(tl);
	frame_put(&frame, "%s", "");
	put_charts(tl, high);
	frame_put(&frame, "%s", "");
	put_downtime(tl);
	frame_put(&frame, "%s", "");
	/* Its head, and what comes behind. */
	used = frame.row + 1 + 1 + rows_of_rest(&tl->last) + 2;
	passes = frame.rows > used ? frame.rows - used : 0;
	put_passes(tl, passes);
	while (frame.row + rows_of_rest(&tl->last) + 2 < frame.rows)
		frame_put(&frame, "%s", "");
	put_rest(&tl->last);
	frame_put(&frame, "%s", "");
	frame_put(&frame, "q or Ctrl-C: stop watching; the migration goes on");
	frame_draw(&frame);
}

static void result(enum outcome outcome, const char *reason, const struct session_view *view)
{
	if (view)
		printf("Session %llu, %s of %s:\n", (unsigned long long)view->stats.out_session_id,
		       ferry_role_name(view->stats.out_role), name_of(&view->stats));
	print_text.result(outcome, reason, view);
	if (drawn && *phases(drawn))
		printf("  switchover  %s\n", phases(drawn));
}

const struct print_ops print_screen = {
	.shows = SAW_STATE | SAW_PASS | SAW_LIMITS,
	.progress_begin = term_enter,
	.progress = draw,
	.progress_end = term_leave,
	.result = result,
};
