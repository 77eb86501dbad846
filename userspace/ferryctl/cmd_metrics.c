// SPDX-License-Identifier: GPL-2.0-only
/*
 * metrics: figures for Prometheus.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "metrics.h"
#include "newfile.h"

static const char help[] =
	"Usage: ferryctl metrics [--output FILE]\n\n"
	"Print the figures of all sessions and of the module in the text format of\n"
	"Prometheus. If the module cannot be asked, kvm_ferry_up is 0 and all others are\n"
	"missing.\n\n"
	"  -o, --output FILE  write them there, at once, as node_exporter's textfile\n"
	"                     collector wants it; FILE has to end in .prom for that\n";

/* The module's answers; CTL_OK, or an exit code, and then there is none of them. */
static int ask(struct kvm_ferry_info *info, struct kvm_ferry_host_limits *host, bool *has_host,
	       struct session_view **views, size_t *count)
{
	struct ferry_device *dev;
	int ret;

	ret = open_device(&dev);
	if (ret)
		return ret;
	memset(info, 0, sizeof(*info));
	memset(host, 0, sizeof(*host));
	*has_host = !ferry_device_host_limits(dev, host, sizeof(*host));
	if (ferry_device_info(dev, info, sizeof(*info))) {
		complain("%s", ferry_error());
		ret = CTL_ERROR;
	} else {
		ret = read_sessions(dev, views, count);
	}
	info->out_release[sizeof(info->out_release) - 1] = 0;
	ferry_device_close(dev);
	return ret;
}

static int write_file(const char *path, const char *text, size_t length)
{
	struct newfile file;
	ssize_t done;

	if (newfile_open(&file, path))
		goto failed;
	while (length) {
		done = write(file.fd, text, length);
		if (done < 0 && errno != EINTR) {
			newfile_drop(&file);
			goto failed;
		}
		if (done > 0) {
			text += done;
			length -= done;
		}
	}
	if (!newfile_keep(&file))
		return CTL_OK;
failed:
	complain("write '%s': %s", path, strerror(errno));
	return CTL_ERROR;
}

static int print(const char *path)
{
	struct session_view *views = NULL;
	struct kvm_ferry_host_limits host;
	struct kvm_ferry_info info;
	size_t count = 0, length;
	bool has_host = false;
	char *text = NULL;
	int asked, ret = CTL_OK;
	FILE *to;

	asked = ask(&info, &host, &has_host, &views, &count);
	/* In memory first: half of them would be worse than none. */
	to = open_memstream(&text, &length);
	if (to)
		metrics_print(to, asked ? NULL : &info, has_host ? &host : NULL, views, count);
	if (!to || fclose(to)) {
		complain("out of memory");
		ret = CTL_ERROR;
	} else if (path) {
		ret = write_file(path, text, length);
	} else {
		fwrite(text, 1, length, stdout);
	}
	free(text);
	free(views);
	return asked ? asked : ret;
}

int cmd_metrics(int argc, char **argv)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *path = NULL;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		switch (c) {
		case 'o':
			path = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return CTL_OK;
		default:
			return usage_error("metrics", "'%s' is not understood", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return usage_error("metrics", "'%s' is one argument too many", argv[optind]);
	return print(path);
}
