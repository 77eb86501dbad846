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

#define DEFAULT_CHANNELS	2

/* Windows of --when-cheap, and how long it looks. */
#define CHEAP_NS	2000000000ULL
#define CHEAP_MIN_NS	200000000ULL
#define CHEAP_MAX_NS	600000000000ULL
#define DEADLINE_MAX_NS	(7 * 86400 * 1000000000ULL)

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

int migrate_option(struct migrate_options *opt, int c, const char *cmd)
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
	case 'B':
		if (parse_final_bandwidth(optarg, &value))
			return usage_error(cmd, "'%s' is not 'same', or a bandwidth such as 1Gbit or "
					   "100M", optarg);
		if (value == KVM_FERRY_BANDWIDTH_SAME)
			json_object_object_add(opt->request, "final_bandwidth",
					       json_object_new_string(optarg));
		else
			put_number(opt, "final_bandwidth", value);
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
	case 'm':
		if (!strcmp(optarg, "all")) {
			json_object_object_add(opt->request, "max_pinned",
					       json_object_new_string("all"));
			return CTL_OK;
		}
		if (parse_size(optarg, &value) || !value || value > INT64_MAX)
			return usage_error(cmd, "'%s' is not 'all', or a size such as 256M", optarg);
		put_number(opt, "max_pinned", value);
		return CTL_OK;
	case 't':
		if (parse_ms(optarg, &value))
			return usage_error(cmd, "'%s' is not a time such as 30s", optarg);
		opt->timeout_ms = (int)value;
		return CTL_OK;
	case 'T':
		if (parse_throttle(optarg, &value))
			return usage_error(cmd, "'%s' is not 'never', 'auto', or pages a second such "
					   "as 20000", optarg);
		if (value == KVM_FERRY_THROTTLE_NEVER || value == KVM_FERRY_THROTTLE_AUTO)
			json_object_object_add(opt->request, "throttle",
					       json_object_new_string(optarg));
		else
			put_number(opt, "throttle", value);
		return CTL_OK;
	case 'F':
		if (!strcmp(optarg, "0"))
			value = 0;
		else if (parse_page_rate(optarg, &value))
			return usage_error(cmd, "'%s' is not pages a second such as 1024", optarg);
		put_number(opt, "throttle_floor", value);
		return CTL_OK;
	case 'v':
		json_object_object_add(opt->request, "verify", json_object_new_boolean(true));
		return CTL_OK;
	case 'W':
		opt->cheap_ns = CHEAP_NS;
		if (optarg && (parse_duration(optarg, &opt->cheap_ns) ||
			       opt->cheap_ns < CHEAP_MIN_NS || opt->cheap_ns > CHEAP_MAX_NS))
			return usage_error(cmd, "'%s' is not a time from 200ms to 10min", optarg);
		return CTL_OK;
	case 'D':
		if (parse_duration(optarg, &value) || !value || value > DEADLINE_MAX_NS)
			return usage_error(cmd, "'%s' is not a time such as 600s, of 7 days at the most",
					   optarg);
		opt->deadline_ns = value;
		return CTL_OK;
	case 'N':
		opt->or_not = true;
		return CTL_OK;
	case 'n':
		opt->wait = false;
		return CTL_OK;
	case 'r':
		opt->record_path = optarg;
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
		{ "record", required_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "bandwidth", required_argument, NULL, 'b' },
		{ "final-bandwidth", required_argument, NULL, 'B' },
		{ "downtime", required_argument, NULL, 'd' },
		{ "max-pinned", required_argument, NULL, 'm' },
		{ "throttle", required_argument, NULL, 'T' },
		{ "throttle-floor", required_argument, NULL, 'F' },
		{ "verify", no_argument, NULL, 'v' },
		{ "when-cheap", optional_argument, NULL, 'W' },
		{ "deadline", required_argument, NULL, 'D' },
		{ "or-not", no_argument, NULL, 'N' },
		{ 0 },
	};
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return -1;
		}
		/* Some are the source's to say, others the sink's. */
		if (c == '?' || strchr(receive ? "bBdvTFWDN" : "m", c))
			return usage_error(argv[0], "'%s' is not understood", argv[optind - 1]);
		ret = migrate_option(opt, c, argv[0]);
		if (ret)
			return ret;
	}
	if (argc - optind != 2)
		return usage_error(argv[0], "give the VMM's control socket and a tcp:, rdma: or "
				   "rdma+tcp: address");
	if (!opt->cheap_ns != !opt->deadline_ns || (opt->or_not && !opt->cheap_ns))
		return usage_error(argv[0], "--when-cheap needs a --deadline, and --deadline and --or-not "
				   "need --when-cheap");
	if (opt->deadline_ns < opt->cheap_ns)
		return usage_error(argv[0], "the --deadline has to be as long as one window of --when-cheap, "
				   "which is %s", human_time(opt->cheap_ns));
	if (opt->record_path && !opt->wait)
		return usage_error(argv[0], "with --no-wait there is nothing to record");
	return CTL_OK;
}

/*
 * The VMM's word on its guest counts: it may still have to take the consequence
 * when its session has ended, or have closed it.
 */
bool migration_is_over(const struct vmm_status *status, bool receive, enum outcome *outcome)
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
	fputc('\n', stderr);
	if (vmm_order(vmm, "cancel"))
		complain("cancel: %s", vmm->error);
	else
		complain("cancelling; interrupt again to stop following");
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A reading, for whom it may concern. */
static void show(const struct vmm_status *status, const struct migrate_options *opt,
		 struct timeline *tl)
{
	static const uint64_t every_ms[] = { LINE_MS, DRAW_MS };
	struct session_view view = status->session;
	static uint64_t next;
	uint64_t now = now_ms();
	unsigned int saw;

	/* A VMM knows its name, and need not say it in every session. */
	if (!view.stats.out_name[0])
		snprintf((char *)view.stats.out_name, sizeof(view.stats.out_name), "%.*s",
			 KVM_FERRY_NAME_LEN - 1, status->name);
	saw = timeline_observe(tl, &view);
	record_sample(opt->record, tl, saw);
	/* Programs asked for the result. */
	if (opt->print == &print_json || (now < next && !(saw & opt->print->shows)))
		return;
	opt->print->progress(tl, saw);
	next = now + every_ms[isatty(STDOUT_FILENO)];
}

static int follow(struct vmm *vmm, const struct migrate_options *opt, bool receive)
{
	const struct print_ops *print = opt->print;
	static struct timeline tl;
	struct vmm_status status;
	const struct session_view *view;
	enum outcome outcome = OUTCOME_UNKNOWN;
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
			show(&status, opt, &tl);
		if (migration_is_over(&status, receive, &outcome))
			break;
		if (interrupts_seen() && !cancelled) {
			cancelled = true;
			cancel(vmm);
		} else if (interrupts_seen() > 1) {
			break;
		}
		nap.tv_sec = 0;
		nap.tv_nsec = 1000000L * (tl.any && tl.last.stats.out_state >=
					  KVM_FERRY_STATE_FINAL ? LOOK_END_MS : LOOK_MS);
		nanosleep(&nap, NULL);
	}
	print->progress_end();

	view = tl.any ? &tl.last : NULL;
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
	record_result(opt->record, outcome, reason, view);
	return outcome_exit_code(outcome);
}

int connect_peer(struct ferry_sockets *socks, const struct address *addr,
		 const struct migrate_options *opt)
{
	int (*connect)(struct ferry_sockets *out, const char *host, const char *port,
		       unsigned int nr_data, int timeout_ms);
	int ret;

	connect = !addr->rdma ? ferry_connect :
		  addr->tcp ? ferry_connect_rdma_or_tcp : ferry_connect_rdma;
	do {
		ret = connect(socks, addr->host, addr->port,
			      opt->nr_channels ? opt->nr_channels : DEFAULT_CHANNELS,
			      opt->timeout_ms);
	} while (ret == -EINTR && !interrupts_seen());
	return ret;
}

int hand_over(struct vmm *vmm, const char *cmd, struct migrate_options *opt,
	      struct ferry_sockets *socks)
{
	int fds[1 + KVM_FERRY_MAX_DATA_CHANNELS];
	/* Without sockets its session makes them, by RDMA. */
	unsigned int nr = socks->data[0] < 0 ? 0 : socks->nr_data;
	int ret;

	fds[0] = socks->control;
	memcpy(fds + 1, socks->data, nr * sizeof(fds[0]));
	json_object_object_add(opt->request, "cmd", json_object_new_string(cmd));
	put_number(opt, "data_channels", socks->nr_data);
	if (socks->rdma_port)
		put_number(opt, "rdma", socks->rdma_port);
	else
		json_object_object_del(opt->request, "rdma");
	ret = vmm_call(vmm, json_object_get(opt->request), fds, nr + 1, NULL);
	ferry_sockets_close(socks);
	return ret;
}

int hand_over_and_follow(struct vmm *vmm, const char *cmd, struct migrate_options *opt,
			 struct ferry_sockets *socks)
{
	if (hand_over(vmm, cmd, opt, socks)) {
		complain("%s", vmm->error);
		return CTL_ERROR;
	}
	if (!opt->wait) {
		opt->print->result(OUTCOME_STARTED, "", NULL);
		return CTL_OK;
	}
	return follow(vmm, opt, !strcmp(cmd, "receive"));
}
