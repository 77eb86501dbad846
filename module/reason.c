// SPDX-License-Identifier: GPL-2.0-only
/* Errors in words. */
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "reason.h"

void ferry_reason_vset(struct ferry_reason *why, int error, const char *fmt, va_list args)
{
	why->error = error;
	vscnprintf(why->text, sizeof(why->text), fmt, args);
}

int ferry_because(struct ferry_reason *why, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	ferry_reason_vset(why, error, fmt, args);
	va_end(args);
	return error;
}
EXPORT_SYMBOL_NS_GPL(ferry_because, FERRY_NS);

void ferry_reason_append(struct ferry_reason *why, const char *what)
{
	size_t room = sizeof(why->text) - sizeof("; ") - strlen(what);
	size_t len = min(strlen(why->text), room);
	bool asks = len && why->text[len - 1] == '?';

	scnprintf(why->text + len, sizeof(why->text) - len, "%s %s", asks ? "" : ";", what);
}

const char *ferry_size_text(char *buf, size_t room, u64 bytes)
{
	if (bytes && !(bytes & ((1ULL << 30) - 1)))
		scnprintf(buf, room, "%llu GiB", bytes >> 30);
	else if (bytes && !(bytes & ((1ULL << 20) - 1)))
		scnprintf(buf, room, "%llu MiB", bytes >> 20);
	else
		scnprintf(buf, room, "%llu bytes", bytes);
	return buf;
}
