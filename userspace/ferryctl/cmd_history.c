// SPDX-License-Identifier: GPL-2.0-only
/*
 * history: what became of the sessions that have ended.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"
#include "print.h"
#include "term.h"

#define LOOK_NS		(500 * 1000000ULL)	/* --follow: there is no event to wait for */
#define RECORD_LOOK_NS	(10 * 1000000ULL)
#define RECORD_LOOKS	100

static const char help[] =
	"Usage: ferryctl history [--follow] [--json]\n\n"
	"Show what became of the sessions that have ended, the oldest first: the last 64\n"
	"that were started since the module was loaded.\n\n"
	"  -f, --follow  go on, and show each that ends from now on, until Ctrl-C\n"
	"  --json        a JSON object; with --follow one a line\n";

static int read_record(struct ferry_device *dev, uint64_t after, struct kvm_ferry_history *record)
{
	int ret = ferry_device_history(dev, after, record, sizeof(*record));

	record->out_name[sizeof(record->out_name) - 1] = 0;
	record->out_reason[sizeof(record->out_reason) - 1] = 0;
	return ret;
}

int history_find(struct ferry_device *dev, uint64_t id, struct kvm_ferry_history *record)
{
	uint64_t after = 0;
	int ret;

	for (;; after = record->out_number) {
		ret = read_record(dev, after, record);
		if (ret || record->out_session_id == id)
			return ret;
	}
}

int history_await(struct ferry_device *dev, uint64_t id, struct kvm_ferry_history *record)
{
	unsigned int looks;
	int ret = -ENOENT;

	for (looks = 0; looks < RECORD_LOOKS && ret == -ENOENT; looks++) {
		ret = history_find(dev, id, record);
		if (ret == -ENOENT && term_wait(RECORD_LOOK_NS) == TERM_QUIT)
			break;
	}
	return ret;
}

static int failed(int ret)
{
	if (ret == -ENOTTY)
		complain("the loaded module keeps no history: install both from the same release");
	else if (ret == -EPERM)
		complain("only root (CAP_SYS_ADMIN) may see what became of sessions");
	else
		complain("%s", ferry_error());
	return CTL_ERROR;
}

/* All records behind *@after, in a new array; CTL_OK or an exit code. */
static int read_records(struct ferry_device *dev, uint64_t *after,
			struct kvm_ferry_history **records, size_t *count)
{
	struct kvm_ferry_history *more;
	size_t room = 0;
	int ret;

	*records = NULL;
	for (*count = 0;; (*count)++) {
		if (*count == room) {
			room = room ? 2 * room : 16;
			more = realloc(*records, room * sizeof(*more));
			if (!more) {
				complain("out of memory");
				return CTL_ERROR;
			}
			*records = more;
		}
		ret = read_record(dev, *after, *records + *count);
		if (ret)
			return ret == -ENOENT ? CTL_OK : failed(ret);
		*after = (*records)[*count].out_number;
	}
}

static int run(struct ferry_device *dev, const struct print_ops *print, bool follow)
{
	struct kvm_ferry_history *records;
	uint64_t after = 0, seen;
	bool first = true;
	size_t count;
	int ret;

	if (follow)
		term_signals();
	for (;; first = false) {
		seen = after;
		ret = read_records(dev, &after, &records, &count);
		if (!ret && !first && count && records[0].out_number > seen + 1)
			complain("%llu more have ended, which are not kept any more",
				 (unsigned long long)(records[0].out_number - seen - 1));
		if (!ret && (first || count))
			print->history(records, count, follow);
		free(records);
		if (ret || !follow || term_wait(LOOK_NS) == TERM_QUIT)
			return ret;
	}
}

int cmd_history(int argc, char **argv)
{
	static const struct option options[] = {
		{ "follow", no_argument, NULL, 'f' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct print_ops *print = &print_text;
	struct ferry_device *dev;
	bool follow = false;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "fjh", options, NULL)) != -1) {
		switch (c) {
		case 'f':
			follow = true;
			break;
		case 'j':
			print = &print_json;
			break;
		case 'h':
			fputs(help, stdout);
			return CTL_OK;
		default:
			return usage_error("history", "'%s' is not understood", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return usage_error("history", "'%s' is one argument too many", argv[optind]);
	ret = open_device(&dev);
	if (ret)
		return ret;
	ret = run(dev, print, follow);
	ferry_device_close(dev);
	return ret;
}
