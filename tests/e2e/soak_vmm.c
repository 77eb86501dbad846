// SPDX-License-Identifier: GPL-2.0
/*
 * The soak test's VMMs: minivm processes, and what is said over their control
 * sockets.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "soak.h"
#include "tap.h"

#define LIMIT_S		30		/* for what a VMM does at once */
#define MAX_FDS		17
#define GROUP		"/sys/fs/cgroup/soak"

static char why[256];

const char *soak_why(void)
{
	return why;
}

/* False: it has ended, and was not asked to. */
static bool alive(struct soak_vmm *v)
{
	if (v->pid && waitpid(v->pid, NULL, WNOHANG) == v->pid) {
		v->pid = 0;
		if (v->fd >= 0)
			close(v->fd);
		v->fd = -1;
	}
	return v->pid;
}

static void become(const struct soak_vmm *v, const struct soak_life *l, bool incoming)
{
	char memory[48], ring[16], cpus[16], control[32], append[64], out[32];
	const char *argv[20] = { "minivm", "--name", v->name, "--cpus", cpus, "--memory", memory,
				 "--ring-entries", ring, "--control", control, "--console", v->log };
	unsigned int n = 13;
	int fd;

	snprintf(memory, sizeof(memory), "%uM,type=%s", l->mib, soak_memory_names[v->machine.memory]);
	snprintf(ring, sizeof(ring), "%u", v->machine.ring);
	snprintf(cpus, sizeof(cpus), "%u", l->cpus);
	snprintf(control, sizeof(control), "%s.ctl", v->name);
	snprintf(append, sizeof(append), "%u %u %u", l->pages, l->pause, l->hot);
	if (incoming) {
		argv[n++] = "--incoming";
	} else {
		argv[n++] = "--flat";
		argv[n++] = "/guest/flat.bin";
		argv[n++] = "--append";
		argv[n++] = append;
	}
	snprintf(out, sizeof(out), "%s.out", v->name);
	fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execvp(argv[0], (char **)argv);
	_exit(127);
}

void vmm_start(struct soak_vmm *v, const struct soak_life *l, const struct soak_machine *m,
	       bool incoming)
{
	struct timeval limit = { .tv_sec = LIMIT_S * lab_slow() };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uint64_t end = soak_now_ms() + 1000ULL * LIMIT_S * lab_slow();
	static unsigned int count;
	int fd;

	memset(v, 0, sizeof(*v));
	v->fd = -1;
	v->machine = *m;
	snprintf(v->name, sizeof(v->name), "vm%u", count++);
	snprintf(v->log, sizeof(v->log), "%s.log", v->name);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s.ctl", v->name);
	fd = open(v->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	close(fd);
	fflush(stdout);
	v->pid = fork();
	if (v->pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!v->pid)
		become(v, l, incoming);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		if (!alive(v) || soak_now_ms() > end) {
			vmm_last_words(v);
			tap_bail("minivm %s does not start", v->name);
		}
		usleep(10000);
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	v->fd = fd;
}

static struct json_object *ask(struct soak_vmm *v, const char *request, const int *fds,
			       unsigned int nr_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)request, .iov_len = strlen(request) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	static char reply[16384];
	struct cmsghdr *cmsg;
	ssize_t n;

	if (!alive(v))
		return NULL;
	if (nr_fds) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nr_fds * sizeof(int));
	}
	if (sendmsg(v->fd, &msg, MSG_NOSIGNAL) < 0)
		return NULL;
	n = recv(v->fd, reply, sizeof(reply) - 1, 0);
	if (n < 0 && errno == EAGAIN)
		tap_bail("%s does not answer %s", v->name, request);
	if (n <= 0)
		return NULL;
	reply[n] = '\0';
	return json_tokener_parse(reply);
}

static void get_text(struct json_object *o, const char *key, char *to, size_t room)
{
	struct json_object *item;

	to[0] = '\0';
	if (json_object_object_get_ex(o, key, &item) && item)
		snprintf(to, room, "%s", json_object_get_string(item));
}

static uint64_t get_number(struct json_object *o, const char *key)
{
	struct json_object *item;

	return json_object_object_get_ex(o, key, &item) ? json_object_get_uint64(item) : 0;
}

static bool get_bool(struct json_object *o, const char *key)
{
	struct json_object *item;

	return json_object_object_get_ex(o, key, &item) && json_object_get_boolean(item);
}

bool vmm_ask(struct soak_vmm *v, const char *request, const int *fds, unsigned int nr_fds)
{
	struct json_object *o = ask(v, request, fds, nr_fds);
	bool ok = o && get_bool(o, "ok");

	if (!o)
		snprintf(why, sizeof(why), "the VMM is gone");
	else
		get_text(o, "error", why, sizeof(why));
	json_object_put(o);
	return ok;
}

void vmm_status(struct soak_vmm *v, struct soak_status *st)
{
	struct json_object *o = ask(v, "{\"cmd\":\"status\"}", NULL, 0), *s;

	memset(st, 0, sizeof(*st));
	st->dead = !o;
	if (!o) {
		strcpy(st->vm, "dead");
		return;
	}
	get_text(o, "vm", st->vm, sizeof(st->vm));
	st->migrating = get_bool(o, "migrating");
	if (json_object_object_get_ex(o, "session", &s) && s) {
		get_text(s, "state_name", st->state, sizeof(st->state));
		get_text(s, "reason", st->reason, sizeof(st->reason));
		st->total_ns = get_number(s, "total_time_ns");
		st->downtime_ns = get_number(s, "downtime_ns");
		st->passes = get_number(s, "dirty_sync_count");
		st->pages = get_number(s, "ram_normal");
		st->zero_pages = get_number(s, "ram_duplicate");
		st->spliced = get_number(s, "batch_pages_spliced");
		st->ring_full = get_number(s, "ring_full");
		st->dirty = get_number(s, "dirty_pages");
	}
	json_object_put(o);
}

void vmm_end(struct soak_vmm *v, bool gently)
{
	uint64_t end = soak_now_ms() + 1000ULL * LIMIT_S * lab_slow();
	char path[40];

	if (gently && alive(v))
		vmm_ask(v, "{\"cmd\":\"quit\"}", NULL, 0);
	else if (v->pid)
		kill(v->pid, SIGKILL);
	while (alive(v)) {
		if (soak_now_ms() > end)
			tap_bail("%s does not end after %s", v->name, gently ? "quit" : "SIGKILL");
		usleep(2000);
	}
	snprintf(path, sizeof(path), "%s.ctl", v->name);
	unlink(path);
	rmdir(GROUP);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		tap_bail("cannot write %s to %s: %s", text, path, strerror(errno));
	close(fd);
}

/* What it has used so far stays charged where it was: only what is new counts. */
void vmm_starve(struct soak_vmm *v, unsigned int mib)
{
	char number[32];

	put("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(GROUP, 0755) && errno != EEXIST)
		tap_bail("no control group: %s", strerror(errno));
	snprintf(number, sizeof(number), "%uM", mib);
	put(GROUP "/memory.max", number);
	snprintf(number, sizeof(number), "%d", v->pid);
	put(GROUP "/cgroup.procs", number);
}

void vmm_feed(void)
{
	put(GROUP "/memory.max", "max");
}

void vmm_last_words(const struct soak_vmm *v)
{
	char path[40], line[300], last[4][300] = { "" };
	unsigned int n = 0, i;
	FILE *f;

	snprintf(path, sizeof(path), "%s.out", v->name);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		strcpy(last[n++ % 4], line);
	}
	if (f)
		fclose(f);
	for (i = n > 4 ? n - 4 : 0; i < n; i++)
		tap_note("%s: %s", v->name, last[i % 4]);
}
