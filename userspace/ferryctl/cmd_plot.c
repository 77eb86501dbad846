// SPDX-License-Identifier: GPL-2.0-only
/*
 * plot: draws a recorded timeline, by gnuplot.
 *
 * Gnuplot gets its script by a pipe, and its output is a file that is open already:
 * no file's name is ever part of a script or of a shell's command.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "newfile.h"
#include "plot.h"

static const char help[] =
	"Usage: ferryctl plot FILE [--output OUT.png|OUT.svg] [--json]\n\n"
	"Draw the timeline that 'watch --record', 'migrate --record' or 'watch --json'\n"
	"has written: memory sent and left, rates, passes, predicted downtime, and what\n"
	"the switchover was spent on. Needs gnuplot.\n\n"
	"  -o, --output OUT  the picture: PNG, or SVG by its name (FILE with .png)\n"
	"  --json            tell what was drawn as JSON\n";

static bool has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name);

	return length > strlen(suffix) && !strcasecmp(name + length - strlen(suffix), suffix);
}

/* Runs gnuplot with our end of its standard input in @in; 0 or an errno. */
static int start(pid_t *pid, int out, int err, FILE **in)
{
	/* -d: not a user's own settings. As a file's, a script ends with its first error. */
	const char *const argv[] = { "gnuplot", "-d", "/dev/stdin", NULL };
	posix_spawn_file_actions_t actions;
	int fds[2], ret;

	if (pipe2(fds, O_CLOEXEC))
		return errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
	ret = posix_spawnp(pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[0]);
	*in = ret ? NULL : fdopen(fds[1], "w");
	if (!*in)
		close(fds[1]);
	return ret;
}

/* What gnuplot said, or how it ended. */
static void complain_of(int err, int status)
{
	char said[400];
	ssize_t got = pread(err, said, sizeof(said) - 1, 0);
	char *at = said, *end;

	said[got > 0 ? got : 0] = 0;
	at += strspn(at, " \t\r\n");
	for (end = at + strlen(at); end > at && strchr(" \t\r\n", end[-1]);)
		*--end = 0;
	if (*at)
		complain("gnuplot failed: %s", at);
	else if (WIFSIGNALED(status))
		complain("gnuplot failed: ended by signal %d", WTERMSIG(status));
	else
		complain("gnuplot failed with status %d", WEXITSTATUS(status));
}

static int draw(const struct plot *plot, const char *path)
{
	struct newfile file;
	int err, ret, status = 0;
	FILE *in = NULL;
	pid_t pid;

	err = memfd_create("gnuplot", MFD_CLOEXEC);
	if (err < 0 || newfile_open(&file, path)) {
		complain("write '%s': %s", path, strerror(errno));
		if (err >= 0)
			close(err);
		return CTL_ERROR;
	}
	/* A gnuplot that ends early is told of below. */
	signal(SIGPIPE, SIG_IGN);
	ret = start(&pid, file.fd, err, &in);
	if (ret == ENOENT)
		complain("plot needs gnuplot, which is not here: install gnuplot-nox (or gnuplot)");
	else if (ret)
		complain("start gnuplot: %s", strerror(ret));
	if (!ret) {
		if (in) {
			plot_script(in, plot, has_suffix(path, ".svg"));
			fclose(in);
		}
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (!in || status || !lseek(file.fd, 0, SEEK_END)) {
			complain_of(err, status);
			ret = -1;
		}
	}
	close(err);
	if (ret) {
		newfile_drop(&file);
		return CTL_ERROR;
	}
	if (newfile_keep(&file)) {
		complain("write '%s': %s", path, strerror(errno));
		return CTL_ERROR;
	}
	return CTL_OK;
}

static void tell(const struct plot *plot, const char *path, bool json)
{
	struct json_object *obj, *phases, *phase;
	unsigned int i;

	if (!json) {
		printf("%s: session %llu (%s), %zu samples\n", path,
		       (unsigned long long)plot->last.stats.out_session_id,
		       plot->last.stats.out_name[0] ? (char *)plot->last.stats.out_name : "-",
		       plot->nr);
		return;
	}
	obj = json_output("plot");
	phases = json_object_new_array();
	for (i = 0; i < plot->nr_phases; i++) {
		phase = json_object_new_object();
		json_object_object_add(phase, "state_name",
				       json_object_new_string(ferry_state_name(plot->phases[i].state)));
		json_object_object_add(phase, "begin_ns", json_object_new_uint64(
				       (uint64_t)(plot->phases[i].begin * 1e9)));
		json_object_object_add(phase, "end_ns", json_object_new_uint64(
				       (uint64_t)(plot->phases[i].end * 1e9)));
		json_object_array_add(phases, phase);
	}
	json_object_object_add(obj, "file", json_object_new_string(path));
	json_object_object_add(obj, "session_id",
			       json_object_new_uint64(plot->last.stats.out_session_id));
	json_object_object_add(obj, "samples", json_object_new_uint64(plot->nr));
	json_object_object_add(obj, "phases", phases);
	json_finish(stdout, obj, true);
}

/* FILE.json becomes FILE.png; NULL: no memory. */
static char *default_output(const char *path)
{
	size_t length = strlen(path) - (has_suffix(path, ".json") ? 5 : 0);
	char *out;

	return asprintf(&out, "%.*s.png", (int)length, path) < 0 ? NULL : out;
}

int cmd_plot(int argc, char **argv)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	char *out = NULL;
	struct plot plot;
	bool json = false;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "o:jh", options, NULL)) != -1) {
		switch (c) {
		case 'o':
			out = optarg;
			if (!has_suffix(out, ".png") && !has_suffix(out, ".svg"))
				return usage_error("plot", "'%s' ends neither in .png nor in .svg", out);
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return CTL_OK;
		default:
			return usage_error("plot", "'%s' is not understood", argv[optind - 1]);
		}
	}
	if (argc - optind != 1)
		return usage_error("plot", "give the file of one timeline");
	ret = plot_read(&plot, argv[optind]);
	if (ret)
		return ret;
	out = out ? strdup(out) : default_output(argv[optind]);
	if (!out) {
		complain("out of memory");
		ret = CTL_ERROR;
	} else {
		ret = draw(&plot, out);
		if (!ret)
			tell(&plot, out, json);
	}
	free(out);
	plot_free(&plot);
	return ret;
}
