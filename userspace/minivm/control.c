// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control socket: requests as JSON objects, one a packet, sockets beside
 * them; one reply a request. minivm(1) lists the commands.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "ferry.h"
#include "minivm.h"

#define MAX_REQUEST	4096
#define MAX_PASSED	(KVM_FERRY_MAX_DATA_CHANNELS + 1)

struct control {
	struct vm *vm;
	const char *path;
	int listen_fd;
	int clients[CONTROL_MAX_CLIENTS];
	unsigned int nr_clients;
	bool quit;
};

struct request {
	struct json_object *json;
	int client;
	int fds[MAX_PASSED];
	unsigned int nr_fds;
};

struct control *control_open(struct vm *vm, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct control *c = calloc(1, sizeof(*c));

	if (!c)
		err(1, "control socket");
	c->vm = vm;
	c->path = path;
	if (strlen(path) >= sizeof(addr.sun_path))
		errx(1, "--control: the path may have at most %zu characters",
		     sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	c->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (c->listen_fd < 0)
		err(1, "control socket");
	/* A socket that another minivm left behind; a living one would be cut off. */
	if (!connect(c->listen_fd, (struct sockaddr *)&addr, sizeof(addr)))
		errx(1, "%s is another minivm's control socket", path);
	if (errno == ECONNREFUSED)
		unlink(path);
	if (bind(c->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(c->listen_fd, CONTROL_MAX_CLIENTS))
		err(1, "cannot listen at %s", path);
	return c;
}

void control_close(struct control *c)
{
	unsigned int i;

	if (!c)
		return;
	for (i = 0; i < c->nr_clients; i++)
		close(c->clients[i]);
	close(c->listen_fd);
	unlink(c->path);
	free(c);
}

bool control_quit_asked(const struct control *c)
{
	return c && c->quit;
}

bool control_has_clients(const struct control *c)
{
	return c && c->nr_clients;
}

static const char *const run_names[] = {
	[MV_RUNNING] = "running",
	[MV_PAUSED] = "paused",
	[MV_INCOMING] = "incoming",
	[MV_GONE] = "gone",
	[MV_IN_DOUBT] = "in-doubt",
};

/* --- commands: each fills in the reply, or fails ------------------------- */

static int cmd_status(struct control *c, struct request *r, struct json_object *reply,
		      struct mv_error *e)
{
	struct vm *vm = c->vm;
	/*
	 * First: the guest's state changes before its migration ends, so of one that is
	 * over it tells how it ended. The other way round a guest that has just arrived
	 * was told as one that has not.
	 */
	bool migrating = migration_active(vm);

	(void)r;
	(void)e;
	json_object_object_add(reply, "version", json_object_new_int(1));
	json_object_object_add(reply, "name", json_object_new_string(vm->opt->name));
	json_object_object_add(reply, "vm", json_object_new_string(run_names[vm_run_state(vm)]));
	json_object_object_add(reply, "pid", json_object_new_int(getpid()));
	json_object_object_add(reply, "vcpus", json_object_new_int(vm->nr_vcpus));
	json_object_object_add(reply, "memory", json_object_new_uint64(vm->opt->memory));
	json_object_object_add(reply, "migrating", json_object_new_boolean(migrating));
	json_object_object_add(reply, "session", migration_status(vm));
	return 0;
}

static int cmd_migrate(struct control *c, struct request *r, struct json_object *reply,
		       struct mv_error *e)
{
	(void)reply;
	return migration_begin(c->vm, true, r->json, r->fds, r->nr_fds, e);
}

static int cmd_receive(struct control *c, struct request *r, struct json_object *reply,
		       struct mv_error *e)
{
	(void)reply;
	return migration_begin(c->vm, false, r->json, r->fds, r->nr_fds, e);
}

static int cmd_cancel(struct control *c, struct request *r, struct json_object *reply,
		      struct mv_error *e)
{
	(void)r;
	(void)reply;
	return migration_cancel(c->vm, e);
}

static int cmd_set(struct control *c, struct request *r, struct json_object *reply,
		   struct mv_error *e)
{
	(void)reply;
	return migration_set(c->vm, r->json, e);
}

static int cmd_measure(struct control *c, struct request *r, struct json_object *reply,
		       struct mv_error *e)
{
	return measure(c->vm, r->client, r->json, reply, e);
}

static int cmd_pause(struct control *c, struct request *r, struct json_object *reply,
		     struct mv_error *e)
{
	(void)r;
	(void)reply;
	if (migration_active(c->vm))
		return mv_fail(e, EBUSY, "a migration is under way: cancel it first");
	if (vm_run_state(c->vm) != MV_RUNNING)
		return mv_fail(e, EBUSY, "the guest does not run here");
	vm_pause(c->vm);
	vm_set_run_state(c->vm, MV_PAUSED);
	return 0;
}

static int cmd_resume(struct control *c, struct request *r, struct json_object *reply,
		      struct mv_error *e)
{
	(void)r;
	(void)reply;
	if (migration_active(c->vm))
		return mv_fail(e, EBUSY, "a migration is under way: cancel it first");
	if (vm_run_state(c->vm) != MV_PAUSED)
		return mv_fail(e, EBUSY, "the guest is %s, not paused",
			       run_names[vm_run_state(c->vm)]);
	vm_resume(c->vm);
	return 0;
}

static int cmd_quit(struct control *c, struct request *r, struct json_object *reply,
		    struct mv_error *e)
{
	(void)r;
	(void)reply;
	(void)e;
	c->quit = true;
	return 0;
}

/* Text for the guest's serial port, as if typed. */
static int cmd_input(struct control *c, struct request *r, struct json_object *reply,
		     struct mv_error *e)
{
	struct json_object *text;
	size_t len;

	(void)reply;
	if (!json_object_object_get_ex(r->json, "text", &text) ||
	    !json_object_is_type(text, json_type_string))
		return mv_fail(e, EINVAL, "\"text\" must be a string");
	len = json_object_get_string_len(text);
	if (len > serial_room(c->vm))
		return mv_fail(e, EAGAIN, "the guest has not yet read what was typed before");
	serial_input(c->vm, json_object_get_string(text), len);
	return 0;
}

static int cmd_resolve(struct control *c, struct request *r, struct json_object *reply,
		       struct mv_error *e)
{
	struct json_object *o;
	const char *owner = "";

	(void)reply;
	if (json_object_object_get_ex(r->json, "owner", &o) &&
	    json_object_is_type(o, json_type_string))
		owner = json_object_get_string(o);
	if (strcmp(owner, "here") && strcmp(owner, "there"))
		return mv_fail(e, EINVAL, "\"owner\" must be \"here\" or \"there\"");
	if (vm_run_state(c->vm) != MV_IN_DOUBT || migration_active(c->vm))
		return mv_fail(e, EBUSY, "there is no doubt: the VM is %s",
			       run_names[vm_run_state(c->vm)]);
	if (!strcmp(owner, "here")) {
		vm_resume(c->vm);
	} else {
		serial_forget(c->vm);
		vm_set_run_state(c->vm, MV_GONE);
	}
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct control *c, struct request *r, struct json_object *reply,
		   struct mv_error *e);
} commands[] = {
	{ "status", cmd_status },
	{ "migrate", cmd_migrate },
	{ "receive", cmd_receive },
	{ "cancel", cmd_cancel },
	{ "set", cmd_set },
	{ "measure", cmd_measure },
	{ "pause", cmd_pause },
	{ "resume", cmd_resume },
	{ "resolve", cmd_resolve },
	{ "input", cmd_input },
	{ "quit", cmd_quit },
};

/* --- packets ------------------------------------------------------------ */

static int run_command(struct control *c, struct request *r, struct json_object *reply,
		       struct mv_error *e)
{
	struct json_object *cmd;
	unsigned int i;

	if (!r->json || !json_object_is_type(r->json, json_type_object))
		return mv_fail(e, EINVAL, "the request is not a JSON object of at most %u bytes",
			       MAX_REQUEST);
	if (!json_object_object_get_ex(r->json, "cmd", &cmd) ||
	    !json_object_is_type(cmd, json_type_string))
		return mv_fail(e, EINVAL, "\"cmd\" must be a string");
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, json_object_get_string(cmd)))
			return commands[i].run(c, r, reply, e);
	return mv_fail(e, ENOTTY, "there is no command of that name");
}

static void answer(struct control *c, int fd, struct request *r)
{
	struct json_object *reply = json_object_new_object();
	struct mv_error e = { 0 };
	const char *text;
	int ret;

	json_object_object_add(reply, "ok", json_object_new_boolean(true));
	ret = run_command(c, r, reply, &e);
	if (ret) {
		json_object_object_add(reply, "ok", json_object_new_boolean(false));
		json_object_object_add(reply, "errno",
				       json_object_new_string(ferry_errno_name(-ret)));
		json_object_object_add(reply, "error", json_object_new_string(e.text));
	}
	text = json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN);
	/* A client that does not listen is the client's own loss. */
	send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	json_object_put(reply);
}

/* Returns false when the client has gone. */
static bool serve(struct control *c, int fd)
{
	char buf[MAX_REQUEST + 1];
	union {
		char bytes[CMSG_SPACE(MAX_PASSED * sizeof(int))];
		struct cmsghdr align;
	} aux;
	struct iovec iov = { .iov_base = buf, .iov_len = MAX_REQUEST };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = aux.bytes, .msg_controllen = sizeof(aux.bytes),
	};
	struct request r = { .client = fd };
	struct cmsghdr *cm;
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	unsigned int i;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return false;
	for (cm = CMSG_FIRSTHDR(&msg); cm; cm = CMSG_NXTHDR(&msg, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		r.nr_fds = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(r.fds, CMSG_DATA(cm), r.nr_fds * sizeof(int));
	}
	buf[n] = '\0';
	if (!(msg.msg_flags & MSG_TRUNC))
		r.json = json_tokener_parse(buf);
	answer(c, fd, &r);
	json_object_put(r.json);
	for (i = 0; i < r.nr_fds; i++)
		close(r.fds[i]);
	return true;
}

unsigned int control_poll_add(struct control *c, struct pollfd *pfd)
{
	unsigned int i;

	if (!c)
		return 0;
	for (i = 0; i < c->nr_clients; i++)
		pfd[i] = (struct pollfd){ .fd = c->clients[i], .events = POLLIN };
	/* When all places are taken, the next one waits in the queue. */
	pfd[i] = (struct pollfd){ .fd = c->nr_clients < CONTROL_MAX_CLIENTS ? c->listen_fd : -1,
				  .events = POLLIN };
	return i + 1;
}

void control_poll_done(struct control *c, const struct pollfd *pfd, unsigned int count)
{
	unsigned int i, kept = 0;

	if (!c || !count)
		return;
	for (i = 0; i < count - 1; i++) {
		if (pfd[i].revents && !serve(c, c->clients[i])) {
			measure_end(c->vm, c->clients[i]);
			close(c->clients[i]);
		} else {
			c->clients[kept++] = c->clients[i];
		}
	}
	c->nr_clients = kept;
	if (pfd[count - 1].revents & POLLIN) {
		int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			c->clients[c->nr_clients++] = fd;
	}
}
