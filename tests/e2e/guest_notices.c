// SPDX-License-Identifier: GPL-2.0
/*
 * The guests' own test: a guest that always says "errors=0" proves nothing, so
 * its memory is spoilt from outside, as a bad migration would do it, and it must
 * name the fault.
 *
 * lab: cpus=1 mem=1024 timeout=120 module=no leak=8192 alone=yes
 * lab: sources=tap.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tap.h"

#define PAGE		4096
#define RAM		(128UL << 20)
#define FLAT_RAM	(16UL << 20)
#define FLAT_PAGES	(4UL << 20)	/* where the flat guest's pages begin */
#define MARK		0x79727265462d4d56ULL	/* of tests/guest/pattern.c */
#define CHECKED_PAGES	(8UL << 20 >> 12)	/* ferry.mem=8 */
#define SECONDS		60
#define SOCKET		"/tmp/notices"

struct guest {
	pid_t pid;
	int console;
	int control;
	int mem;		/* /proc/PID/mem */
	unsigned long ram;	/* where guest memory lies there */
	char text[1 << 16];
	size_t len;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Until the guest has said @what, or @seconds are over. */
static bool hears_in(struct guest *g, const char *what, int seconds)
{
	double until = now() + seconds;
	struct pollfd pfd = { .fd = g->console, .events = POLLIN };

	while (!strstr(g->text, what)) {
		ssize_t n;

		if (now() > until || g->len == sizeof(g->text) - 1)
			return false;
		if (poll(&pfd, 1, 100) <= 0)
			continue;
		n = read(g->console, g->text + g->len, sizeof(g->text) - 1 - g->len);
		if (n <= 0)
			return false;
		g->len += n;
	}
	return true;
}

static bool hears(struct guest *g, const char *what)
{
	return hears_in(g, what, SECONDS);
}

static void ask(struct guest *g, const char *request)
{
	char reply[4096];
	ssize_t n;

	if (send(g->control, request, strlen(request), 0) < 0)
		tap_bail("control socket: %s", strerror(errno));
	n = recv(g->control, reply, sizeof(reply) - 1, 0);
	reply[n > 0 ? n : 0] = '\0';
	if (!strstr(reply, "\"ok\":true"))
		tap_bail("%s: %s", request, reply);
}

static void connect_control(struct guest *g)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	double until = now() + SECONDS;

	g->control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	while (connect(g->control, (struct sockaddr *)&addr, sizeof(addr))) {
		if (now() > until)
			tap_bail("no control socket: %s", strerror(errno));
		poll(NULL, 0, 20);
	}
}

/* Guest memory is the only mapping of its size. */
static void find_memory(struct guest *g, unsigned long size)
{
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", g->pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx rw", &from, &to) == 2 && to - from == size)
			g->ram = from;
	}
	if (f)
		fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/mem", g->pid);
	g->mem = open(path, O_RDWR | O_CLOEXEC);
	if (!g->ram || g->mem < 0)
		tap_bail("guest memory is not found");
}

static void get_page(struct guest *g, unsigned long at, uint64_t *page)
{
	if (pread(g->mem, page, PAGE, g->ram + at) != PAGE)
		tap_bail("cannot read guest memory");
}

static void put_page(struct guest *g, unsigned long at, const void *page, size_t len)
{
	if (pwrite(g->mem, page, len, g->ram + at) != (ssize_t)len)
		tap_bail("cannot write guest memory");
}

static struct guest *start(unsigned long size, char *const argv[])
{
	struct guest *g = calloc(1, sizeof(*g));
	int fds[2];

	if (!g || pipe2(fds, O_CLOEXEC))
		tap_bail("no pipe");
	unlink(SOCKET);
	g->pid = fork();
	if (!g->pid) {
		dup2(fds[1], STDOUT_FILENO);
		dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(fds[1]);
	g->console = fds[0];
	connect_control(g);
	find_memory(g, size);
	return g;
}

static void stop(struct guest *g)
{
	int status = 0;

	ask(g, "{\"cmd\":\"quit\"}");
	waitpid(g->pid, &status, 0);
	tap_check(WIFEXITED(status) && !WEXITSTATUS(status), "minivm quits");
	close(g->console);
	close(g->control);
	close(g->mem);
	free(g);
}

static char cmdline[2048];

static struct guest *start_linux(void)
{
	char *const argv[] = { "minivm", "--kernel", "/guest/bzImage", "--initrd",
		"/guest/initrd.cpio.gz", "--memory", "128M", "--append", cmdline, "--control",
		SOCKET, NULL };
	FILE *f = fopen("/guest/cmdline", "r");
	struct guest *g;

	if (!f || !fgets(cmdline, 1024, f))
		tap_bail("no /guest/cmdline");
	fclose(f);
	cmdline[strcspn(cmdline, "\n")] = '\0';
	/* Checking is faster than rewriting: a fault is seen before it is written over. */
	strcat(cmdline, " ferry.mem=8 ferry.ws=1 ferry.rate=100 ferry.check=4000 ferry.zero=1");
	g = start(RAM, argv);
	tap_check(hears(g, "FERRY-GUEST seq=3 "), "the guest is up");
	if (strstr(g->text, "FAIL"))
		tap_bail("it fails by itself: %s", g->text);
	return g;
}

/* Guest-physical addresses of checked pages by their number. */
static unsigned long places[CHECKED_PAGES];

static unsigned int find_pages(struct guest *g)
{
	static uint64_t page[PAGE / 8];
	unsigned long at;
	unsigned int found = 0;

	memset(places, 0, sizeof(places));
	for (at = 1 << 20; at < RAM; at += PAGE) {
		get_page(g, at, page);
		if ((page[0] ^ MARK) >= CHECKED_PAGES || places[page[0] ^ MARK])
			continue;
		places[page[0] ^ MARK] = at;
		found++;
	}
	return found;
}

enum fault { STALE, LOST, TORN, MISPLACED };
static const char *const faults[] = { "stale", "lost", "torn", "misplaced" };

/* Runs the guest until it has written a page of the first MiB again; takes that back. */
static unsigned long make_stale(struct guest *g, uint64_t *right)
{
	static uint64_t old[256][PAGE / 8];
	double until = now() + SECONDS;
	unsigned int i;

	for (i = 0; i < 256; i++)
		if (places[i])
			get_page(g, places[i], old[i]);
	while (now() < until) {
		ask(g, "{\"cmd\":\"resume\"}");
		poll(NULL, 0, 100);
		ask(g, "{\"cmd\":\"pause\"}");
		for (i = 0; i < 256; i++) {
			if (!places[i])
				continue;
			get_page(g, places[i], right);
			if (right[0] == old[i][0] && right[1] > old[i][1]) {
				put_page(g, places[i], old[i], PAGE);
				return places[i];
			}
		}
	}
	tap_bail("no page was written again");
}

/* Makes a page wrong; returns where, and what it held. */
static unsigned long spoil(struct guest *g, enum fault kind, uint64_t *right)
{
	static uint64_t page[PAGE / 8];
	unsigned int a = 300, b;	/* beyond the part that is written again */

	if (kind == STALE)
		return make_stale(g, right);
	while (a < CHECKED_PAGES - 1 && !(places[a] && places[a + 1]))
		a++;
	b = a + 1;
	if (b == CHECKED_PAGES)
		tap_bail("no pages to spoil");
	get_page(g, places[a], right);
	if (kind != LOST)
		get_page(g, places[b], page);
	put_page(g, places[a] + (kind == TORN ? PAGE / 2 : 0), page,
		 kind == TORN ? PAGE / 2 : PAGE);
	return places[a];
}

static void try_flat(void)
{
	char *const argv[] = { "minivm", "--flat", "/guest/flat.bin", "--memory", "16M", "--append",
		"64", "--control", SOCKET, NULL };
	struct guest *g = start(FLAT_RAM, argv);
	uint64_t word = 1;

	tap_check(hears(g, "seq=3 ") && !strstr(g->text, "FAIL"), "the flat guest is up");
	ask(g, "{\"cmd\":\"pause\"}");
	put_page(g, FLAT_PAGES + 5 * PAGE + 128, &word, sizeof(word));
	ask(g, "{\"cmd\":\"resume\"}");
	tap_check(hears(g, "FERRY-FLAT FAIL cpu=0 page=5 "), "the flat guest names the page");
	tap_check(hears(g, "errors=1\n"), "and counts it");
	stop(g);
}

/*
 * Whether the guest, which is paused, notices. A stale page may be written again
 * before it is looked at, one time in ten: then another one is made stale.
 */
static bool notices(struct guest *g, enum fault kind, const char *want)
{
	static uint64_t right[PAGE / 8], page[PAGE / 8];
	unsigned int tries = kind == STALE ? 10 : 1;
	bool noticed = false;

	while (!noticed && tries--) {
		unsigned long at = spoil(g, kind, right);

		ask(g, "{\"cmd\":\"resume\"}");
		noticed = hears_in(g, want, kind == STALE ? SECONDS / 10 : SECONDS);
		ask(g, "{\"cmd\":\"pause\"}");
		/* Or it would complain of that page for ever, and fall silent. */
		get_page(g, at, page);
		if (kind != STALE || page[1] < right[1])
			put_page(g, at, right, PAGE);
	}
	return noticed;
}

static void try_linux(void)
{
	struct guest *g = start_linux();
	unsigned int found, i;

	ask(g, "{\"cmd\":\"pause\"}");
	found = find_pages(g);
	tap_check(found > CHECKED_PAGES / 2, "%u checked pages are found", found);
	for (i = STALE; i <= MISPLACED; i++) {
		char want[64];

		snprintf(want, sizeof(want), "FERRY-GUEST FAIL kind=%s ", faults[i]);
		if (!tap_check(notices(g, i, want), "a page that is %s is noticed", faults[i]))
			tap_note("it says: %s", g->len > 400 ? g->text + g->len - 400 : g->text);
	}
	stop(g);
}

int main(void)
{
	try_flat();
	try_linux();
	return tap_done();
}
