// SPDX-License-Identifier: GPL-2.0-only
/*
 * watch: a session's progress until it ends.
 *
 * An operator has no event descriptor of somebody else's session, so its
 * figures are read again and again. A VMM closes its session soon after the end
 * and the figures go with it; near the end they are therefore read more often
 * than they are shown.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "history.h"
#include "parse.h"
#include "print.h"
#include "record.h"
#include "term.h"

#define LOOK_NS		(100 * 1000000ULL)
#define LOOK_END_NS	(5 * 1000000ULL)	/* from the final pass on */
#define DRAW_NS		(200 * 1000000ULL)	/* a terminal is drawn this often */
#define LINE_NS		(1000 * 1000000ULL)	/* a line each, without one */

static const char help[] =
	"Usage: ferryctl watch ID [--interval TIME] [--record FILE] [--json]\n\n"
	"Follow a session to its end. Exits with 0 if the guest has moved, 6 if the\n"
	"migration failed, 7 if it is in doubt, 8 if the session went away first or\n"
	"watching was stopped, by Ctrl-C or the key q.\n\n"
	"  --interval TIME  how often to show and record progress; 200ms on a terminal,\n"
	"                   else 1s; recorded is every 100ms, every 10ms at the end\n"
	"  --record FILE    write its timeline, for 'ferryctl plot'\n"
	"  --json           a JSON object a line, the last with \"outcome\"\n";

/**
 * struct watch - what a session is watched with
 * @print: how it is shown
 * @record: where to, too; may be NULL
 * @interval: at most so long between two times that it is shown, in ns
 */
struct watch {
	const struct print_ops *print;
	struct record *record;
	uint64_t interval;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static enum outcome outcome_of(uint32_t state)
{
	switch (state) {
	case KVM_FERRY_STATE_DONE:
		return OUTCOME_MOVED;
	case KVM_FERRY_STATE_FAILED:
	case KVM_FERRY_STATE_ABORTED:
		return OUTCOME_FAILED;
	case KVM_FERRY_STATE_IN_DOUBT:
		return OUTCOME_IN_DOUBT;
	default:
		return OUTCOME_UNKNOWN;
	}
}

/* How long it may be until the next reading. */
static uint64_t look_ns(const struct watch *w, const struct session_view *view)
{
	if (view->stats.out_state >= KVM_FERRY_STATE_FINAL ||
	    view->stats.out_expected_downtime_ns <= 2 * view->limits.downtime_limit_ns)
		return LOOK_END_NS;
	return w->interval < LOOK_NS ? w->interval : LOOK_NS;
}

/* What the module has kept of a session that was closed before its end could be read. */
static void take_record(struct session_view *view, const struct kvm_ferry_history *record)
{
	struct kvm_ferry_stats *st = &view->stats;

	st->out_state = record->out_state;
	st->out_error = record->out_error;
	st->out_total_time_ns = record->out_total_time_ns;
	st->out_downtime_ns = record->out_downtime_ns;
	st->out_ram_transferred = record->out_ram_transferred;
	st->out_dirty_sync_count = record->out_dirty_sync_count;
	if (record->out_state == KVM_FERRY_STATE_DONE)
		st->out_ram_remaining = 0;
	if (record->out_error)
		memcpy(view->reason, record->out_reason, sizeof(view->reason));
}

static int end(struct ferry_device *dev, const struct watch *w, struct timeline *tl, bool given_up)
{
	struct kvm_ferry_history record;
	enum outcome outcome;
	const char *reason;

	if (!given_up && !ferry_state_ended(tl->last.stats.out_state) &&
	    !history_await(dev, tl->last.stats.out_session_id, &record))
		take_record(&tl->last, &record);
	outcome = outcome_of(tl->last.stats.out_state);
	reason = tl->last.reason[0] ? tl->last.reason :
				      session_error_text(tl->last.stats.out_error);
	w->print->progress_end();
	if (outcome == OUTCOME_UNKNOWN)
		reason = given_up ? "watching it was stopped before its end" :
				    "the session was closed before its end could be read";
	w->print->result(outcome, reason, &tl->last);
	record_result(w->record, outcome, reason, &tl->last);
	return outcome_exit_code(outcome);
}

/* With what its host allows it beside its own limits. */
static int read_it(struct ferry_device *dev, uint64_t id, struct session_view *view)
{
	int ret = read_session(dev, id, view);

	if (!ret && view->stats.out_role == KVM_FERRY_SOURCE)
		view->has_host = !ferry_device_host_limits(dev, &view->host, sizeof(view->host));
	return ret;
}

static int follow(struct ferry_device *dev, uint64_t id, const struct watch *w)
{
	static struct timeline tl;
	struct session_view view;
	uint64_t next = 0, now;
	unsigned int saw, unshown = 0;
	enum term_event event;
	int ret;

	ret = read_it(dev, id, &view);
	if (ret)
		return session_failed(id, ret);
	term_signals();
	w->print->progress_begin();
	for (;;) {
		saw = timeline_observe(&tl, &view);
		record_sample(w->record, &tl, saw);
		unshown |= saw;
		now = now_ns();
		if (now >= next || (saw & w->print->shows)) {
			w->print->progress(&tl, unshown);
			unshown = 0;
			next = now + w->interval;
		}
		if (ferry_state_ended(view.stats.out_state))
			return end(dev, w, &tl, false);
		event = term_wait(look_ns(w, &view));
		if (event == TERM_QUIT)
			return end(dev, w, &tl, true);
		if (event == TERM_REDRAW)
			next = 0;
		ret = read_it(dev, id, &view);
		if (ret == -ENOENT)
			return end(dev, w, &tl, false);
		if (ret) {
			w->print->progress_end();
			return session_failed(id, ret);
		}
	}
}

int cmd_watch(int argc, char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "record", required_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct watch w = { .print = term_usable() ? &print_screen : &print_text };
	const char *path = NULL;
	struct ferry_device *dev;
	uint64_t id;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "i:r:jh", options, NULL)) != -1) {
		switch (c) {
		case 'i':
			if (parse_duration(optarg, &w.interval) || w.interval < 1000000)
				return usage_error("watch", "'%s' is not a time of 1ms or more",
						   optarg);
			break;
		case 'r':
			path = optarg;
			break;
		case 'j':
			w.print = &print_json;
			break;
		case 'h':
			fputs(help, stdout);
			return CTL_OK;
		default:
			return usage_error("watch", "'%s' is not understood", argv[optind - 1]);
		}
	}
	if (argc - optind != 1)
		return usage_error("watch", "give the id of one session");
	if (parse_number(argv[optind], UINT64_MAX, &id))
		return usage_error("watch", "'%s' is not a session's id", argv[optind]);
	ret = open_device(&dev);
	if (ret)
		return ret;
	ret = record_open(&w.record, path, w.interval);
	if (!ret) {
		if (!w.interval)
			w.interval = isatty(STDOUT_FILENO) ? DRAW_NS : LINE_NS;
		ret = follow(dev, id, &w);
		record_close(w.record);
	}
	ferry_device_close(dev);
	return ret;
}
