// SPDX-License-Identifier: GPL-2.0-only
/*
 * The client's side of a VMM's control socket.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "print.h"
#include "vmm.h"

#define REPLY_MAX	65536
#define REPLY_SECONDS	30

static int fail(struct vmm *vmm, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct vmm *vmm, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(vmm->error, sizeof(vmm->error), fmt, args);
	va_end(args);
	return -error;
}

int vmm_connect(struct vmm *vmm, const char *path)
{
	struct timeval timeout = { .tv_sec = REPLY_SECONDS };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int error;

	vmm->error[0] = 0;
	vmm->fd = -1;
	if (strlen(path) >= sizeof(addr.sun_path))
		return fail(vmm, ENAMETOOLONG, "the path '%s' is too long for a socket", path);
	memcpy(addr.sun_path, path, strlen(path));
	vmm->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (vmm->fd < 0)
		return fail(vmm, errno, "make a socket: %s", strerror(errno));
	setsockopt(vmm->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(vmm->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (!connect(vmm->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return 0;
	error = errno;
	vmm_close(vmm);
	return fail(vmm, error, "connect to the VMM at '%s': %s%s", path, strerror(error),
		    error == ENOENT || error == ECONNREFUSED ? " (does the VMM run?)" :
		    error == EPROTOTYPE ? " (this is another kind of socket)" : "");
}

void vmm_close(struct vmm *vmm)
{
	if (vmm->fd >= 0)
		close(vmm->fd);
	vmm->fd = -1;
}

static int send_request(struct vmm *vmm, const char *text, const int *fds, unsigned int nr_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE((1 + KVM_FERRY_MAX_DATA_CHANNELS) * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	ssize_t ret;

	if (iov.iov_len > VMM_PACKET_MAX)
		return fail(vmm, EMSGSIZE, "the request is too long");
	if (nr_fds) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nr_fds * sizeof(int));
	}
	do {
		ret = sendmsg(vmm->fd, &msg, MSG_NOSIGNAL);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return fail(vmm, errno, "the VMM cannot be asked: %s", strerror(errno));
	return 0;
}

static int recv_reply(struct vmm *vmm, struct json_object **out)
{
	static char buf[REPLY_MAX + 1];
	struct json_object *obj, *ok, *sentence;
	ssize_t got;

	do {
		got = recv(vmm->fd, buf, REPLY_MAX, MSG_TRUNC);
	} while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return fail(vmm, ETIMEDOUT, "the VMM has not answered within %d s",
			    REPLY_SECONDS);
	if (got < 0)
		return fail(vmm, errno, "the VMM's answer: %s", strerror(errno));
	if (!got)
		return fail(vmm, EPIPE, "the VMM has closed its control socket");
	if (got > REPLY_MAX)
		return fail(vmm, EPROTO, "the VMM's answer is too long");
	buf[got] = 0;
	obj = json_tokener_parse(buf);
	if (!json_object_is_type(obj, json_type_object) ||
	    !json_object_object_get_ex(obj, "ok", &ok)) {
		json_object_put(obj);
		return fail(vmm, EPROTO, "the VMM's answer is not what a control socket gives");
	}
	if (!json_object_get_boolean(ok)) {
		if (json_object_object_get_ex(obj, "error", &sentence) && sentence)
			fail(vmm, EREMOTEIO, "%s", json_object_get_string(sentence));
		else
			fail(vmm, EREMOTEIO, "the VMM refuses and does not say why");
		json_object_put(obj);
		return -EREMOTEIO;
	}
	*out = obj;
	return 0;
}

int vmm_call(struct vmm *vmm, struct json_object *request, const int *fds, unsigned int nr_fds,
	     struct json_object **reply)
{
	struct json_object *obj = NULL;
	int ret;

	ret = send_request(vmm, json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN),
			   fds, nr_fds);
	json_object_put(request);
	if (!ret)
		ret = recv_reply(vmm, &obj);
	if (ret)
		return ret;
	if (reply)
		*reply = obj;
	else
		json_object_put(obj);
	return 0;
}

static void get_text(struct json_object *obj, const char *key, char *to, size_t room)
{
	struct json_object *item;

	if (json_object_object_get_ex(obj, key, &item) && item)
		snprintf(to, room, "%s", json_object_get_string(item));
}

static struct json_object *order(const char *cmd)
{
	struct json_object *request = json_object_new_object();

	json_object_object_add(request, "cmd", json_object_new_string(cmd));
	return request;
}

int vmm_order(struct vmm *vmm, const char *cmd)
{
	return vmm_call(vmm, order(cmd), NULL, 0, NULL);
}

int vmm_status(struct vmm *vmm, struct vmm_status *status)
{
	struct json_object *reply, *item;
	int ret;

	memset(status, 0, sizeof(*status));
	ret = vmm_call(vmm, order("status"), NULL, 0, &reply);
	if (ret)
		return ret;
	get_text(reply, "vm", status->vm, sizeof(status->vm));
	get_text(reply, "name", status->name, sizeof(status->name));
	if (json_object_object_get_ex(reply, "memory", &item))
		status->memory = json_object_get_uint64(item);
	if (json_object_object_get_ex(reply, "migrating", &item))
		status->migrating = json_object_get_boolean(item);
	if (json_object_object_get_ex(reply, "session", &item) &&
	    json_object_is_type(item, json_type_object)) {
		status->has_session = true;
		session_from_json(item, &status->session);
	}
	json_object_put(reply);
	if (!status->vm[0])
		return fail(vmm, EPROTO, "the VMM does not say how its guest is");
	return 0;
}
