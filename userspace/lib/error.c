// SPDX-License-Identifier: LGPL-2.1-only
/*
 * Failures in words, names of numbers, and the one place that calls ioctl().
 *
 * The module keeps one reason for each fd, so with several threads on one
 * session the reason may be another thread's. It is fetched right after the
 * failed command and used only if its errno is that command's; the sentence
 * then lives in a buffer of the calling thread.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "internal.h"

static _Thread_local char last_error[512];
static _Thread_local char session_error[KVM_FERRY_REASON_LEN];

const char *ferry_error(void)
{
	return last_error;
}

int ferry_fail(int error, const char *fmt, ...)
{
	char text[sizeof(last_error)];
	va_list args;

	/* By way of @text, because an argument may be ferry_error() itself. */
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	memcpy(last_error, text, sizeof(text));
	return -error;
}

static int read_reason(int fd, uint32_t flags, char *buf, size_t size)
{
	struct kvm_ferry_reason reason = { .size = sizeof(reason), .flags = flags };

	if (ioctl(fd, KVM_FERRY_REASON, &reason))
		return -errno;
	reason.out_reason[sizeof(reason.out_reason) - 1] = 0;
	if (size)
		snprintf(buf, size, "%s", (const char *)reason.out_reason);
	return reason.out_error;
}

int ferry_command(int fd, unsigned long cmd, void *arg, const char *what)
{
	char why[KVM_FERRY_REASON_LEN];
	int error;

	if (!ioctl(fd, cmd, arg))
		return 0;
	error = errno;
	/* A signal is the caller's business and needs no second system call. */
	if (error == EINTR)
		return ferry_fail(error, "%s: a signal came", what);
	if (read_reason(fd, 0, why, sizeof(why)) == error && why[0])
		return ferry_fail(error, "%s", why);
	return ferry_fail(error, "%s: %s", what, strerror(error));
}

int ferry_command_restart(int fd, unsigned long cmd, void *arg, const char *what)
{
	int ret;

	do {
		ret = ferry_command(fd, cmd, arg, what);
	} while (ret == -EINTR);
	return ret;
}

int ferry_session_reason(const struct ferry_session *s, char *buf, size_t size)
{
	int ret;

	if (size)
		buf[0] = 0;
	ret = read_reason(s->fd, KVM_FERRY_REASON_SESSION, buf, size);
	if (ret < 0)
		return ferry_fail(-ret, "read why the session failed: %s", strerror(-ret));
	return ret;
}

const char *ferry_session_error(const struct ferry_session *s)
{
	int ret = read_reason(s->fd, KVM_FERRY_REASON_SESSION, session_error,
			      sizeof(session_error));

	return ret > 0 && session_error[0] ? session_error : last_error;
}

const char *ferry_state_name(uint32_t state)
{
	static const char *const names[] = {
		[KVM_FERRY_STATE_SETUP] = "setup",
		[KVM_FERRY_STATE_CONNECTING] = "connecting",
		[KVM_FERRY_STATE_LIVE] = "live",
		[KVM_FERRY_STATE_FINAL] = "final",
		[KVM_FERRY_STATE_PAUSED] = "paused",
		[KVM_FERRY_STATE_COMMITTING] = "committing",
		[KVM_FERRY_STATE_DONE] = "done",
		[KVM_FERRY_STATE_FAILED] = "failed",
		[KVM_FERRY_STATE_ABORTED] = "aborted",
		[KVM_FERRY_STATE_IN_DOUBT] = "in-doubt",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

bool ferry_state_ended(uint32_t state)
{
	return state >= KVM_FERRY_STATE_DONE && state <= KVM_FERRY_STATE_IN_DOUBT;
}

const char *ferry_role_name(uint32_t role)
{
	switch (role) {
	case KVM_FERRY_SOURCE:
		return "source";
	case KVM_FERRY_SINK:
		return "sink";
	default:
		return "unknown";
	}
}

const char *ferry_errno_name(int error)
{
#define NAME(e) case e: return #e
	switch (error < 0 ? -error : error) {
	NAME(EPERM); NAME(ENOENT); NAME(ESRCH); NAME(EINTR); NAME(EIO); NAME(ENXIO);
	NAME(E2BIG); NAME(EBADF); NAME(EAGAIN); NAME(ENOMEM); NAME(EACCES); NAME(EFAULT);
	NAME(EBUSY); NAME(EEXIST); NAME(ENODEV); NAME(EINVAL); NAME(EMFILE); NAME(ENFILE);
	NAME(ENOTTY); NAME(EFBIG); NAME(ENOSPC); NAME(EPIPE); NAME(EPROTO); NAME(ENOTSOCK);
	NAME(EPROTONOSUPPORT); NAME(EOPNOTSUPP); NAME(ENOTCONN); NAME(ESHUTDOWN);
	NAME(ETIMEDOUT); NAME(ECONNREFUSED); NAME(ECONNRESET); NAME(ECONNABORTED);
	NAME(EHOSTUNREACH); NAME(ENETUNREACH); NAME(EALREADY); NAME(EINPROGRESS);
	NAME(ECANCELED); NAME(EBADE); NAME(EREMCHG); NAME(EKEYREJECTED); NAME(EADDRINUSE);
	NAME(EADDRNOTAVAIL); NAME(EAFNOSUPPORT); NAME(ENOSYS); NAME(ENODATA); NAME(EBADMSG);
	NAME(ERANGE); NAME(EOVERFLOW); NAME(ENAMETOOLONG);
	case 0:
		return "0";
	default:
		return "E?";
	}
#undef NAME
}

const char *ferry_version(void)
{
	return FERRY_VERSION;
}

struct ferry_deadline ferry_deadline_in(int timeout_ms)
{
	struct ferry_deadline d = { .end_ms = -1 };
	struct timespec now;

	if (timeout_ms >= 0) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		d.end_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + timeout_ms;
	}
	return d;
}

int ferry_deadline_left(struct ferry_deadline d)
{
	struct timespec now;
	int64_t left;

	if (d.end_ms < 0)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	left = d.end_ms - ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
	return left > 0 ? (int)left : 0;
}
