// SPDX-License-Identifier: GPL-2.0-only
/*
 * What migrate and receive share.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "follow.h"

#define LOOK_MS		100	/* how often the VMM is asked */
#define LOOK_END_MS	10	/* from the final pass on, when it is soon over */
#define DRAW_MS		200	/* a terminal's line */
#define LINE_MS		1000	/* a line each, without a terminal */

static volatile sig_atomic_t interrupts;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupts++;
}

void interrupts_begin(void)
{
	struct sigaction action = { .sa_handler = on_interrupt };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

int interrupts_seen(void)
{
	return interrupts;
}

static void put_number(struct migrate_options *opt, const char *key, uint64_t value)
{
	json_object_object_add(opt->request, key, json_object_new_uint64(value));
}

static int parse_ms(const char *text, uint64_t *ms)
{
	uint64_t ns;
	int ret = parse_duration(text, &ns);

	/* No limit of kvm_ferry is longer than an hour. */
	if (ret || ns > 3600000000000)
		return -EINVAL;
	*ms = ns / 1000000;
	return 0;
}

static int parse_option(struct migrate_options *opt, int c, const char *cmd)
{
	uint64_t value;

	switch (c) {
	case 'c':
		if (parse_number(optarg, KVM_FERRY_MAX_DATA_CHANNELS, &value) || !value)
			return usage_error(cmd, "'%s' is not a number of channels from 1 to %d",
					   optarg, KVM_FERRY_MAX_DATA_CHANNELS);
		opt->nr_channels = (unsigned int)value;
		return CTL_OK;
	case 'b':
		if (parse_size(optarg, &value))
			return usage_error(cmd, "'%s' is not a bandwidth such as 1Gbit or 100M",
					   optarg);
		put_number(opt, "bandwidth", value);
		return CTL_OK;
	case 'd':
		if (parse_ms(optarg, &value) || !value)
			return usage_error(cmd, "'%s' is not a time of 1ms or more", optarg);
		put_number(opt, "downtime_ms", value);
		return CTL_OK;
	case 'p':
		if (parse_ms(optarg, &value) || !value)
			return usage_error(cmd, "'%s' is not a time of 100ms or more", optarg);
		put_number(opt, "peer_timeout_ms", value);
		return CTL_OK;
	case 'i':
		if (parse_size(optarg, &value))
			return usage_error(cmd, "'%s' is not a size such as 4M", optarg);
		put_number(opt, "inflight_bytes", value);
		return CTL_OK;
	case 't':
		if (parse_ms(optarg, &value))
			return usage_error(cmd, "'%s' is not a time such as 30s", optarg);
		opt->timeout_ms = (int)value;
		return CTL_OK;
	case 'v':
		json_object_object_add(opt->request, "verify", json_object_new_boolean(true));
		return CTL_OK;
	case 'n':
		opt->wait = false;
		return CTL_OK;
	default:
		opt->print = &print_json;
		return CTL_OK;
	}
}

int migrate_options_parse(struct migrate_options *opt, int argc, char **argv, bool receive,
			  const char *help)
{
	static const struct option options[] = {
		{ "channels", required_argument, NULL, 'c' },
		{ "inflight", required_argument, NULL, 'i' },
		{ "peer-timeout", required_argument, NULL, 'p' },
		{ "timeout", required_argument, NULL, 't' },
		{ "no-wait", no_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "bandwidth", required_argument, NULL, 'b' },
		{ "downtime", required_argument, NULL, 'd' },
		{ "verify", no_argument, NULL, 'v' },
		{ 0 },
	};
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return -1;
		}
		/* Those are the source's to say. */
		if (c == '?' || (receive && strchr("bdv", c)))
			return usage_error(argv[0], "'%s' is not understood", argv[optind - 1]);
		ret = parse_option(opt, c, argv[0]);
		if (ret)
			return ret;
	}
	if (argc - optind != 2)
		return usage_error(argv[0], "give the VMM's control socket and a tcp: address");
	return CTL_OK;
}

/*
 * Whether it is over, and how. The VMM's word on its guest counts: it may still
 * have to take the consequence when its session has ended, or have closed it.
 */
static bool is_over(const struct vmm_status *status, bool receive, enum outcome *outcome)
{
	const struct kvm_ferry_stats *st = &status->session.stats;
	bool here = !strcmp(status->vm, "running") || !strcmp(status->vm, "paused");

	if (status->migrating || (status->has_session && !ferry_state_ended(st->out_state)))
		return false;
	if (!strcmp(status->vm, "in-doubt"))
		*outcome = OUTCOME_IN_DOUBT;
	else if (receive ? here : !strcmp(status->vm, "gone"))
		*outcome = OUTCOME_MOVED;
	else
		*outcome = OUTCOME_FAILED;
	return true;
}

static void cancel(struct vmm *vmm)
{
	struct json_object *request = json_object_new_object();

	json_object_object_add(request, "cmd", json_object_new_string("cancel"));
	fputc('\n', stderr);
	if (vmm_call(vmm, request, NULL, 0, NULL))
		complain("cancel: %s", vmm->error);
	else
		complain("cancelling; interrupt again to stop following");
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int follow(struct vmm *vmm, const struct print_ops *print, bool receive)
{
	uint64_t every = isatty(STDOUT_FILENO) ? DRAW_MS : LINE_MS, next = 0, now;
	struct vmm_status status, last = { .has_session = false };
	const struct session_view *view;
	enum outcome outcome = OUTCOME_UNKNOWN;
	uint32_t shown_state = UINT32_MAX;
	const char *reason;
	struct timespec nap;
	bool cancelled = false;
	int ret;

	print->progress_begin();
	for (;;) {
		ret = vmm_status(vmm, &status);
		if (ret)
			break;
		if (status.has_session)
			last = status;
		view = &last.session;
		now = now_ms();
		if (print != &print_json && last.has_session &&
		    (now >= next || view->stats.out_state != shown_state)) {
			print->progress(view);
			shown_state = view->stats.out_state;
			next = now + every;
		}
		if (is_over(&status, receive, &outcome))
			break;
		if (interrupts_seen() && !cancelled) {
			cancelled = true;
			cancel(vmm);
		} else if (interrupts_seen() > 1) {
			break;
		}
		nap.tv_sec = 0;
		nap.tv_nsec = 1000000L * (shown_state >= KVM_FERRY_STATE_FINAL &&
					  shown_state != UINT32_MAX ? LOOK_END_MS : LOOK_MS);
		nanosleep(&nap, NULL);
	}
	print->progress_end();

	view = last.has_session ? &last.session : NULL;
	if (ret && view && view->stats.out_state == KVM_FERRY_STATE_DONE) {
		/* A VMM may leave once its guest has. */
		outcome = OUTCOME_MOVED;
	}
	reason = "";
	if (outcome == OUTCOME_UNKNOWN)
		reason = ret ? vmm->error : "following it was given up";
	else if (outcome != OUTCOME_MOVED && view)
		reason = view->reason[0] ? view->reason :
			 session_error_text(view->stats.out_error);
	print->result(outcome, reason, view);
	return outcome_exit_code(outcome);
}

int hand_over_and_follow(struct vmm *vmm, const char *cmd, struct migrate_options *opt,
			 struct ferry_sockets *socks)
{
	int fds[1 + KVM_FERRY_MAX_DATA_CHANNELS];
	unsigned int nr = socks->nr_data;
	int ret;

	fds[0] = socks->control;
	memcpy(fds + 1, socks->data, nr * sizeof(fds[0]));
	json_object_object_add(opt->request, "cmd", json_object_new_string(cmd));
	put_number(opt, "data_channels", nr);
	ret = vmm_call(vmm, json_object_get(opt->request), fds, nr + 1, NULL);
	ferry_sockets_close(socks);
	if (ret) {
		complain("%s", vmm->error);
		return CTL_ERROR;
	}
	if (!opt->wait) {
		opt->print->result(OUTCOME_STARTED, "", NULL);
		return CTL_OK;
	}
	return follow(vmm, opt->print, !strcmp(cmd, "receive"));
}
