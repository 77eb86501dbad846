// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sizes, durations, numbers, addresses.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <linux/kvm_ferry.h>

#include "parse.h"

#define MAX_FRACTION_DIGITS 9

struct unit {
	const char *name;
	uint64_t num;		/* one unit is @num / @den of what is asked for */
	uint64_t den;
	bool exact_case;
};

/*
 * Reads "digits[.digits]" and scales it by the unit that follows, in integers
 * so that what is typed is what is meant. A fraction of the result is cut off.
 */
static int parse_scaled(const char *text, const struct unit *units, const char *suffix,
			uint64_t *out)
{
	unsigned __int128 value = 0, fraction = 0, scale = 1;
	const struct unit *u;
	bool digits = false;
	size_t len;
	int places = 0;

	for (; isdigit((unsigned char)*text); text++, digits = true) {
		value = value * 10 + (*text - '0');
		if (value > UINT64_MAX)
			return -ERANGE;
	}
	if (!digits)
		return -EINVAL;
	if (*text == '.') {
		if (!isdigit((unsigned char)*++text))
			return -EINVAL;
		for (; isdigit((unsigned char)*text); text++) {
			/* More digits than that are below anything that is measured. */
			if (++places > MAX_FRACTION_DIGITS)
				continue;
			fraction = fraction * 10 + (*text - '0');
			scale *= 10;
		}
	}
	len = strlen(text);
	if (suffix && len >= strlen(suffix) && !strcasecmp(text + len - strlen(suffix), suffix))
		len -= strlen(suffix);
	for (u = units; u->name; u++)
		if (strlen(u->name) == len &&
		    !(u->exact_case ? strncmp(text, u->name, len) :
				      strncasecmp(text, u->name, len)))
			break;
	if (!u->name)
		return -EINVAL;
	/* No unit is above 2^40, so neither product comes near 2^128. */
	value = (value * u->num + fraction * u->num / scale) / u->den;
	if (value > UINT64_MAX)
		return -ERANGE;
	*out = value;
	return 0;
}

int parse_size(const char *text, uint64_t *out)
{
	static const struct unit units[] = {
		{ "", 1, 1, false },
		{ "B", 1, 1, true }, { "b", 1, 8, true },
		{ "k", 1ULL << 10, 1, false }, { "m", 1ULL << 20, 1, false },
		{ "g", 1ULL << 30, 1, false }, { "t", 1ULL << 40, 1, false },
		{ "kib", 1ULL << 10, 1, false }, { "mib", 1ULL << 20, 1, false },
		{ "gib", 1ULL << 30, 1, false }, { "tib", 1ULL << 40, 1, false },
		{ "kb", 1000, 1, false }, { "mb", 1000000, 1, false },
		{ "gb", 1000000000, 1, false }, { "tb", 1000000000000, 1, false },
		{ "bit", 1, 8, false },
		{ "kbit", 1000, 8, false }, { "mbit", 1000000, 8, false },
		{ "gbit", 1000000000, 8, false }, { "tbit", 1000000000000, 8, false },
		{ NULL, 0, 0, false },
	};

	return parse_scaled(text, units, "/s", out);
}

int parse_duration(const char *text, uint64_t *out_ns)
{
	static const struct unit units[] = {
		{ "", 1000000, 1, false },
		{ "ns", 1, 1, false }, { "us", 1000, 1, false }, { "ms", 1000000, 1, false },
		{ "s", 1000000000, 1, false }, { "m", 60000000000, 1, false },
		{ "min", 60000000000, 1, false },
		{ NULL, 0, 0, false },
	};

	return parse_scaled(text, units, NULL, out_ns);
}

int parse_number(const char *text, uint64_t max, uint64_t *out)
{
	unsigned __int128 value = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		value = value * 10 + (*text - '0');
		if (value > max)
			return -ERANGE;
	}
	*out = value;
	return 0;
}

int parse_page_rate(const char *text, uint64_t *out)
{
	uint64_t value;
	int ret = parse_number(text, 1ULL << 32, &value);

	/* How few are too few is the module's to say; 0 would be another word for never. */
	if (!ret && !value)
		ret = -ERANGE;
	if (!ret)
		*out = value;
	return ret;
}

int parse_throttle(const char *text, uint64_t *out)
{
	if (!strcmp(text, "never"))
		*out = KVM_FERRY_THROTTLE_NEVER;
	else if (!strcmp(text, "auto"))
		*out = KVM_FERRY_THROTTLE_AUTO;
	else
		return parse_page_rate(text, out);
	return 0;
}

int parse_final_bandwidth(const char *text, uint64_t *out)
{
	if (strcmp(text, "same"))
		return parse_size(text, out);
	*out = KVM_FERRY_BANDWIDTH_SAME;
	return 0;
}

static int copy(char *to, size_t room, const char *from, size_t len)
{
	if (!len || len >= room)
		return -EINVAL;
	memcpy(to, from, len);
	to[len] = 0;
	return 0;
}

int parse_address(const char *text, bool need_host, struct address *out)
{
	static const struct {
		const char *prefix;
		bool rdma, tcp;
	} schemes[] = {
		{ "tcp:", false, true }, { "rdma:", true, false }, { "rdma+tcp:", true, true },
	};
	struct address addr = { .rdma = false };
	const char *port, *end;
	size_t i;

	for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)))
			continue;
		addr.rdma = schemes[i].rdma;
		addr.tcp = schemes[i].tcp;
		text += strlen(schemes[i].prefix);
		break;
	}
	if (!addr.rdma && !addr.tcp)
		return -EINVAL;
	if (*text == '[') {
		end = strchr(++text, ']');
		if (!end || end[1] != ':' || copy(addr.host, sizeof(addr.host), text, end - text))
			return -EINVAL;
		port = end + 2;
	} else {
		port = strrchr(text, ':');
		if (!port) {
			if (need_host)
				return -EINVAL;
			port = text;
		} else {
			/* "::1:7000" could mean two things: brackets are needed. */
			if (memchr(text, ':', port - text) ||
			    copy(addr.host, sizeof(addr.host), text, port - text))
				return -EINVAL;
			port++;
		}
	}
	if (copy(addr.port, sizeof(addr.port), port, strlen(port)))
		return -EINVAL;
	*out = addr;
	return 0;
}
