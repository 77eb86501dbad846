// SPDX-License-Identifier: GPL-2.0-only
/*
 * status, list, stats: they read sessions and differ in what they show.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"
#include "print.h"

int read_sessions(struct ferry_device *dev, struct session_view **views, size_t *count)
{
	struct session_view *array;
	uint64_t *ids;
	size_t nr, i;
	int ret;

	*views = NULL;
	*count = 0;
	ret = ferry_device_list(dev, &ids, &nr);
	if (ret)
		return session_failed(0, ret);
	array = calloc(nr ? nr : 1, sizeof(*array));
	if (!array) {
		free(ids);
		complain("out of memory");
		return CTL_ERROR;
	}
	for (i = 0; i < nr; i++) {
		ret = read_session(dev, ids[i], &array[*count]);
		if (!ret) {
			(*count)++;
		} else if (ret != -ENOENT) {	/* ENOENT: it ended since the list was made */
			ret = session_failed(ids[i], ret);
			free(ids);
			free(array);
			return ret;
		}
	}
	free(ids);
	*views = array;
	return CTL_OK;
}

static int read_one(struct ferry_device *dev, const char *text, struct session_view **views,
		    size_t *count, const char *cmd)
{
	uint64_t id;
	int ret;

	if (parse_number(text, UINT64_MAX, &id))
		return usage_error(cmd, "'%s' is not a session's id", text);
	*views = calloc(1, sizeof(**views));
	if (!*views) {
		complain("out of memory");
		return CTL_ERROR;
	}
	ret = read_session(dev, id, *views);
	if (ret)
		return session_failed(id, ret);
	*count = 1;
	return CTL_OK;
}

/* A source's rings, one by one: how many there are shows when there is none. */
static int read_rings(struct ferry_device *dev, struct session_view *view)
{
	uint64_t id = view->stats.out_session_id;
	struct kvm_ferry_ring_stats *rings;
	size_t room = 0;
	int ret;

	for (;; view->nr_rings++) {
		if (view->nr_rings == room) {
			room = room ? 2 * room : 16;
			rings = realloc(view->rings, room * sizeof(*rings));
			if (!rings) {
				complain("out of memory");
				return CTL_ERROR;
			}
			view->rings = rings;
		}
		ret = ferry_device_ring_stats(dev, id, (uint32_t)view->nr_rings,
					      &view->rings[view->nr_rings], sizeof(*rings));
		if (ret)
			break;
	}
	/* ENOTTY: a sink, or a module that tells of no rings. */
	view->has_rings = ret == -ENOENT;
	return ret == -ENOENT || ret == -ENOTTY ? CTL_OK : session_failed(id, ret);
}

/* EBUSY: it is not started yet. ENOTTY: a module that tells of none. */
static int read_regions(struct ferry_device *dev, struct session_view *view)
{
	uint64_t id = view->stats.out_session_id;
	int ret = 0;

	view->regions = calloc(KVM_FERRY_MAX_REGIONS, sizeof(*view->regions));
	if (!view->regions) {
		complain("out of memory");
		return CTL_ERROR;
	}
	while (!ret && view->nr_regions < KVM_FERRY_MAX_REGIONS) {
		ret = ferry_device_region_stats(dev, id, (uint32_t)view->nr_regions,
						&view->regions[view->nr_regions], sizeof(*view->regions));
		view->nr_regions += !ret;
	}
	return !ret || ret == -ENOENT || ret == -EBUSY || ret == -ENOTTY ? CTL_OK :
									   session_failed(id, ret);
}

typedef void (*show_fn)(const struct session_view *views, size_t count);

/*
 * @cmd: not argv[0], which is the program's name for the bare command.
 * @show: the command's output for people and for programs.
 */
static int run(const char *cmd, int argc, char **argv, const char *help, const show_fn show[2])
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct session_view *views = NULL;
	struct ferry_device *dev;
	bool json = false;
	size_t count = 0, i;
	int c, max_args, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return CTL_OK;
		default:
			return usage_error(cmd, "'%s' is not understood", argv[optind - 1]);
		}
	}
	/* All but list take an id. */
	max_args = strcmp(cmd, "list") != 0;
	if (argc - optind > max_args)
		return usage_error(cmd, "'%s' is one argument too many", argv[optind + max_args]);
	ret = open_device(&dev);
	if (ret)
		return ret;
	if (optind < argc)
		ret = read_one(dev, argv[optind], &views, &count, cmd);
	else
		ret = read_sessions(dev, &views, &count);
	for (i = 0; !ret && i < count && !strcmp(cmd, "stats"); i++) {
		ret = read_rings(dev, &views[i]);
		if (!ret)
			ret = read_regions(dev, &views[i]);
	}
	if (!ret)
		show[json](views, count);
	for (i = 0; i < count; i++) {
		free(views[i].rings);
		free(views[i].regions);
	}
	free(views);
	ferry_device_close(dev);
	return ret;
}

int cmd_status(int argc, char **argv)
{
	static const char help[] =
		"Usage: ferryctl [status [ID]] [--json]\n\n"
		"Show how the session with that id, or every session of this host, stands.\n";

	return run("status", argc, argv, help,
		   (show_fn[2]) { print_text.status, print_json.status });
}

int cmd_list(int argc, char **argv)
{
	static const char help[] =
		"Usage: ferryctl list [--json]\n\n"
		"List the sessions of this host, a line each.\n";

	return run("list", argc, argv, help,
		   (show_fn[2]) { print_text.sessions, print_json.sessions });
}

int cmd_stats(int argc, char **argv)
{
	static const char help[] =
		"Usage: ferryctl stats [ID] [--json]\n\n"
		"Print every figure of one session or of all: a name and a plain number a\n"
		"line; times in nanoseconds, sizes in bytes. Of a source follows a table of its\n"
		"rings, which are its vCPUs. kvm_ferry(4) explains the names.\n";

	return run("stats", argc, argv, help,
		   (show_fn[2]) { print_text.stats, print_json.stats });
}
