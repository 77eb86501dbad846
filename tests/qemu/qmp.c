// SPDX-License-Identifier: GPL-2.0
/*
 * qmp [-u STATUS,...] [-t SECONDS] [-c] SOCKET COMMAND [ARGUMENTS]
 *
 * Says one command to QEMU's QMP socket, and prints what it returns. With -u it
 * then waits, without asking, until a migration has one of these states, and
 * prints that too; with -c it counts at that moment: one more line has the host's
 * processor time in ticks (all but idle and iowait), and what its network card has sent
 * and got. Then it rests a little: what a script does next would keep a guest that
 * has just come from the only processor. Not a test: a tool for scripts in
 * emulated hosts, where every process that is started costs the guest time.
 * lab: libs=json-c
 */
#include <err.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_LIMIT_S 60
#define REST_US		400000

static const char usage[] = "usage: qmp [-u STATUS,...] [-t SECONDS] [-c] SOCKET COMMAND [ARGUMENTS]";

static struct connection {
	int fd;
	json_tokener *tokener;
	char buf[65536];
	size_t at, end;
} c;

static void connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(addr.sun_path))
		errx(2, "%s: this path is too long", path);
	strcpy(addr.sun_path, path);
	c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c.fd < 0 || connect(c.fd, (struct sockaddr *)&addr, sizeof(addr)))
		err(1, "%s", path);
	c.tokener = json_tokener_new();
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* The next thing that QEMU says; by END, or the program does. */
static json_object *hear(double end)
{
	json_object *said;

	json_tokener_reset(c.tokener);
	for (;;) {
		struct timeval left = { 0 };
		double seconds = end - now();
		ssize_t n;

		if (c.at < c.end) {
			said = json_tokener_parse_ex(c.tokener, c.buf + c.at, c.end - c.at);
			c.at += json_tokener_get_parse_end(c.tokener);
			if (said)
				return said;
			if (json_tokener_get_error(c.tokener) != json_tokener_continue)
				errx(1, "QEMU says what is no JSON");
		}
		if (seconds <= 0)
			errx(1, "QEMU did not say it in time");
		left.tv_sec = seconds;
		left.tv_usec = (seconds - left.tv_sec) * 1e6 + 1;
		setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &left, sizeof(left));
		n = recv(c.fd, c.buf, sizeof(c.buf), 0);
		if (!n)
			errx(1, "QEMU has closed the connection");
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			err(1, "QMP");
		c.at = 0;
		c.end = n > 0 ? n : 0;
	}
}

/* Whether SAID is an event that the migration has one of the states in LIST. */
static const char *reached(json_object *said, const char *list)
{
	json_object *event, *data, *status;
	const char *name, *at;
	size_t len;

	if (!list || !json_object_object_get_ex(said, "event", &event) ||
	    strcmp(json_object_get_string(event), "MIGRATION") ||
	    !json_object_object_get_ex(said, "data", &data) ||
	    !json_object_object_get_ex(data, "status", &status))
		return NULL;
	name = json_object_get_string(status);
	len = strlen(name);
	for (at = list; (at = strstr(at, name)); at++)
		if ((at == list || at[-1] == ',') && (!at[len] || at[len] == ','))
			return name;
	return NULL;
}

/* Prints what COMMAND returns. The state that was waited for may come before that. */
static bool say(const char *command, json_object *arguments, const char *until)
{
	json_object *line = json_object_new_object(), *answer, *part;
	double end = now() + ANSWER_LIMIT_S;
	const char *text, *state;
	bool there = false;
	size_t len;

	json_object_object_add(line, "execute", json_object_new_string(command));
	if (arguments)
		json_object_object_add(line, "arguments", arguments);
	text = json_object_to_json_string_ext(line, JSON_C_TO_STRING_PLAIN);
	len = strlen(text);
	if (send(c.fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
		err(1, "QMP");
	json_object_put(line);
	for (;; json_object_put(answer)) {
		answer = hear(end);
		if (json_object_object_get_ex(answer, "error", &part)) {
			json_object_object_get_ex(part, "desc", &part);
			errx(1, "%s", json_object_get_string(part));
		}
		state = reached(answer, until);
		if (state)
			puts(state);
		there = there || state;
		if (json_object_object_get_ex(answer, "return", &part))
			break;
	}
	if (!json_object_is_type(part, json_type_object) || json_object_object_length(part))
		puts(json_object_to_json_string_ext(part, JSON_C_TO_STRING_PLAIN));
	json_object_put(answer);
	return there;
}

static unsigned long long card(const char *what)
{
	const char *name = getenv("LAB_NIC");
	unsigned long long bytes;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", name ? name : "eth0", what);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%llu", &bytes) != 1)
		err(1, "%s", path);
	fclose(f);
	return bytes;
}

static void count(void)
{
	FILE *f = fopen("/proc/stat", "r");
	unsigned long long t[8];

	/* user nice system idle iowait irq softirq steal */
	if (!f || fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3],
			 &t[4], &t[5], &t[6], &t[7]) != 8)
		err(1, "/proc/stat");
	fclose(f);
	printf("counted %llu %llu %llu\n", t[0] + t[1] + t[2] + t[5] + t[6] + t[7], card("tx_bytes"),
	       card("rx_bytes"));
	usleep(REST_US);
}

int main(int argc, char **argv)
{
	json_object *arguments = NULL, *said;
	const char *until = NULL, *state;
	double limit = ANSWER_LIMIT_S, end;
	bool there, counts = false;
	int opt;

	while ((opt = getopt(argc, argv, "u:t:ch")) != -1) {
		switch (opt) {
		case 'u':
			until = optarg;
			break;
		case 't':
			limit = atof(optarg);
			break;
		case 'c':
			counts = true;
			break;
		case 'h':
			puts(usage);
			return 0;
		default:
			errx(2, "%s", usage);
		}
	}
	if (argc - optind < 2 || argc - optind > 3)
		errx(2, "%s", usage);
	if (optind + 2 < argc && argv[optind + 2][0]) {
		arguments = json_tokener_parse(argv[optind + 2]);
		if (!arguments)
			errx(2, "%s is no JSON", argv[optind + 2]);
	}
	connect_to(argv[optind]);
	json_object_put(hear(now() + ANSWER_LIMIT_S));	/* the greeting */
	say("qmp_capabilities", NULL, NULL);
	there = say(argv[optind + 1], arguments, until);
	for (end = now() + limit; until && !there; json_object_put(said)) {
		said = hear(end);
		state = reached(said, until);
		if (state)
			puts(state);
		there = state;
	}
	if (counts)
		count();
	return 0;
}
