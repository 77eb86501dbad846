// SPDX-License-Identifier: GPL-2.0-only
/*
 * Numbers and errors for people.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "print.h"

#define NR_BUFFERS 16

static char *next_buffer(size_t *room)
{
	static char buffers[NR_BUFFERS][48];
	static unsigned int next;

	*room = sizeof(buffers[0]);
	return buffers[next++ % NR_BUFFERS];
}

/* Three digits that matter, whatever the size. */
static const char *scaled(double value, const char *unit)
{
	size_t room;
	char *buf = next_buffer(&room);

	snprintf(buf, room, "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, unit);
	return buf;
}

const char *human_bytes(uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = bytes;
	unsigned int i;
	size_t room;
	char *buf;

	if (bytes < 1024) {
		buf = next_buffer(&room);
		snprintf(buf, room, "%u B", (unsigned int)bytes);
		return buf;
	}
	value /= 1024;
	for (i = 0; value >= 1023.5 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
		value /= 1024;
	return scaled(value, units[i]);
}

const char *human_rate(uint64_t bytes_per_second)
{
	static const char *const units[] = { "bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s" };
	double value = (double)bytes_per_second * 8;
	unsigned int i;

	if (!bytes_per_second)
		return "0 bit/s";
	for (i = 0; value >= 999.5 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
		value /= 1000;
	return scaled(value, units[i]);
}

const char *human_time(uint64_t ns)
{
	if (ns == UINT64_MAX)
		return "not known yet";
	if (!ns)
		return "0 s";
	if (ns < 1000)
		return scaled(ns, "ns");
	if (ns < 999500)
		return scaled(ns / 1e3, "us");
	if (ns < 999500000)
		return scaled(ns / 1e6, "ms");
	return scaled(ns / 1e9, "s");
}

const char *human_count(uint64_t n)
{
	char digits[24];
	size_t room, len, i, at = 0;
	char *buf = next_buffer(&room);

	len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	for (i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			buf[at++] = ',';
		buf[at++] = digits[i];
	}
	buf[at] = 0;
	return buf;
}

const char *session_error_text(uint32_t error)
{
	switch (error) {
	case 0:
		return "";
	case EPIPE:
		return "the peer closed, reset or aborted the connection";
	case ETIMEDOUT:
		return "the peer was silent, or took nothing, for the peer timeout";
	case EPROTO:
		return "the peer sent what the protocol does not allow";
	case EPROTONOSUPPORT:
		return "the peer speaks no version of the protocol that this side speaks";
	case EKEYREJECTED:
		return "a data channel belongs to another migration than the control channel";
	case EREMCHG:
		return "the two sides' memory regions differ";
	case EBADE:
		return "verify found a difference between the two memories";
	case ENXIO:
		return "a dirty ring held an entry of a memslot that the VMM had not told of";
	case EIO:
		return "KVM refused to reset the dirty rings, or a count did not add up";
	case ESRCH:
		return "the VMM has exited";
	case EFAULT:
		return "guest memory could not be read or written";
	case ECANCELED:
		return "aborted by the VMM or an operator";
	default:
		return strerror((int)error);
	}
}

const char *outcome_name(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_STARTED:
		return "started";
	case OUTCOME_MOVED:
		return "moved";
	case OUTCOME_FAILED:
		return "failed";
	case OUTCOME_IN_DOUBT:
		return "in-doubt";
	case OUTCOME_UNKNOWN:
		break;
	}
	return "unknown";
}

int outcome_exit_code(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_STARTED:
	case OUTCOME_MOVED:
		return CTL_OK;
	case OUTCOME_FAILED:
		return CTL_NOT_MOVED;
	case OUTCOME_IN_DOUBT:
		return CTL_IN_DOUBT;
	case OUTCOME_UNKNOWN:
		break;
	}
	return CTL_UNKNOWN;
}
