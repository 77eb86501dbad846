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
#include <time.h>
#include <unistd.h>

#include "parse.h"
#include "print.h"

#define LOOK_NS		(200 * 1000000ULL)	/* a terminal's line is redrawn this often */
#define LOOK_END_NS	(5 * 1000000ULL)	/* from the final pass on */
#define LINE_NS		(1000 * 1000000ULL)	/* a line each, without a terminal */

static const char help[] =
	"Usage: ferryctl watch ID [--interval TIME] [--json]\n\n"
	"Follow a session to its end. Exits with 0 if the guest has moved, 6 if the\n"
	"migration failed, 7 if it is in doubt, 8 if the session went away first.\n\n"
	"  --interval TIME  how often to show progress; 200ms on a terminal, else 1s\n"
	"  --json           a JSON object a line, the last with \"outcome\"\n";

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	nanosleep(&ts, NULL);
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

static int follow(struct ferry_device *dev, uint64_t id, uint64_t interval,
		  const struct print_ops *print)
{
	struct session_view view, last;
	uint64_t next = now_ns(), now, look;
	uint32_t shown_state = UINT32_MAX;
	enum outcome outcome;
	int ret;

	ret = read_session(dev, id, &view);
	if (ret)
		return session_failed(id, ret);
	print->progress_begin();
	for (;;) {
		last = view;
		now = now_ns();
		if (now >= next || view.stats.out_state != shown_state) {
			print->progress(&view);
			shown_state = view.stats.out_state;
			next = now + interval;
		}
		if (ferry_state_ended(view.stats.out_state))
			break;
		look = interval < LOOK_NS ? interval : LOOK_NS;
		if (view.stats.out_state >= KVM_FERRY_STATE_FINAL ||
		    view.stats.out_expected_downtime_ns <= 2 * view.limits.downtime_limit_ns)
			look = LOOK_END_NS;
		sleep_ns(look);
		ret = read_session(dev, id, &view);
		if (ret == -ENOENT)
			break;
		if (ret) {
			print->progress_end();
			return session_failed(id, ret);
		}
	}
	print->progress_end();
	outcome = outcome_of(last.stats.out_state);
	print->result(outcome, outcome == OUTCOME_UNKNOWN ?
		      "the session was closed before its end could be read" :
		      session_error_text(last.stats.out_error), &last);
	return outcome_exit_code(outcome);
}

int cmd_watch(int argc, char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct print_ops *print = &print_text;
	struct ferry_device *dev;
	uint64_t id, interval = isatty(STDOUT_FILENO) ? LOOK_NS : LINE_NS;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "i:jh", options, NULL)) != -1) {
		switch (c) {
		case 'i':
			if (parse_duration(optarg, &interval) || interval < 1000000)
				return usage_error("watch", "'%s' is not a time of 1ms or more",
						   optarg);
			break;
		case 'j':
			print = &print_json;
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
	ret = follow(dev, id, interval, print);
	ferry_device_close(dev);
	return ret;
}
