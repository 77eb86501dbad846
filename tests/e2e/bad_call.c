// SPDX-License-Identifier: GPL-2.0
/* Commands that must be refused (no test itself). */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <linux/kvm_ferry.h>

#include "bad_call.h"
#include "tap.h"

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

void poll_pause(void)
{
	usleep(2000);
}

static bool reason_is(int fd, uint32_t flags, int error, const char *words,
		      struct kvm_ferry_reason *r)
{
	*r = (struct kvm_ferry_reason){ .size = sizeof(*r), .flags = flags };
	return !ioctl(fd, KVM_FERRY_REASON, r) && r->out_error == error &&
	       strstr((char *)r->out_reason, words);
}

bool refused(int fd, unsigned long cmd, void *arg, int error, const char *words,
	     const char *fmt, ...)
{
	int ret = ioctl(fd, cmd, arg), err = ret < 0 ? errno : 0;
	struct kvm_ferry_reason r;
	char what[200];
	va_list args;
	bool good;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	good = reason_is(fd, 0, error, words, &r) && err == error;
	if (good)
		return tap_check(true, "%s: %s: %s", what, strerror(error), r.out_reason);
	tap_note("wanted %d and \"%s\", got %d (%d) and reason %d \"%s\"", error, words, err, ret,
		 r.out_error, r.out_reason);
	return tap_check(false, "%s: %s", what, strerror(error));
}

bool taken(int fd, unsigned long cmd, void *arg, const char *fmt, ...)
{
	int ret = ioctl(fd, cmd, arg), err = ret < 0 ? errno : 0;
	struct kvm_ferry_reason r = { .size = sizeof(r) };
	char what[200];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (ret < 0) {
		ioctl(fd, KVM_FERRY_REASON, &r);
		tap_note("refused with %d, %s: %s", err, strerror(err), r.out_reason);
	}
	return tap_check(ret >= 0, "%s", what);
}

uint32_t await_state(int fd, uint32_t lowest)
{
	struct kvm_ferry_event e;
	bool there;

	there = poll_until((e = (struct kvm_ferry_event){ .size = sizeof(e) },
			    ioctl(fd, KVM_FERRY_EVENT, &e) || e.out_state >= lowest));
	if (!there)
		tap_bail("a session stays in state %u, %u was awaited", e.out_state, lowest);
	return e.out_state;
}

bool failed_with(int fd, int error, const char *words, const char *fmt, ...)
{
	uint32_t state = await_state(fd, KVM_FERRY_STATE_DONE);
	struct kvm_ferry_reason r;
	char what[200];
	va_list args;
	bool good;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	good = reason_is(fd, KVM_FERRY_REASON_SESSION, error, words, &r) &&
	       state == KVM_FERRY_STATE_FAILED;
	if (good)
		return tap_check(true, "%s: %s: %s", what, strerror(error), r.out_reason);
	tap_note("wanted a failure with %d and \"%s\", got state %u, error %d, \"%s\"", error, words,
		 state, r.out_error, r.out_reason);
	return tap_check(false, "%s: %s", what, strerror(error));
}
