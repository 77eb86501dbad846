// SPDX-License-Identifier: GPL-2.0-only
/*
 * What people type: sizes, durations, numbers, addresses.
 */
#include <errno.h>
#include <string.h>

#include "../../userspace/ferryctl/parse.h"
#include "tap.h"

#define UNTOUCHED 0x5a5a5a5a5a5a5a5aULL

static const struct row {
	const char *text;
	int ret;
	uint64_t value;
} sizes[] = {
	{ "0", 0, 0 },
	{ "4096", 0, 4096 },
	{ "4096B", 0, 4096 },
	{ "64K", 0, 65536 },
	{ "64k", 0, 65536 },
	{ "64KiB", 0, 65536 },
	{ "64kb", 0, 64000 },
	{ "1.5M", 0, 1572864 },
	{ "0.1K", 0, 102 },
	{ "2G", 0, 2147483648 },
	{ "3TiB", 0, 3298534883328 },
	{ "5MB", 0, 5000000 },
	{ "1Gbit", 0, 125000000 },
	{ "1gbit/s", 0, 125000000 },
	{ "100Mbit", 0, 12500000 },
	{ "2.5Gbit", 0, 312500000 },
	{ "10M/s", 0, 10485760 },
	{ "16b", 0, 2 },
	{ "12bit", 0, 1 },
	{ "18446744073709551615", 0, UINT64_MAX },
	{ "18446744073709551616", -ERANGE, 0 },
	{ "16777216T", -ERANGE, 0 },
	{ "99999999999999999999999999999999999999999999", -ERANGE, 0 },
	{ "18446744073709551615T", -ERANGE, 0 },
	{ "340282366920938463463374607431768211457", -ERANGE, 0 },	/* 2^128 + 1 */
	{ "1.99999999999999999999999K", 0, 2047 },
	{ "", -EINVAL, 0 },
	{ "K", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "+1", -EINVAL, 0 },
	{ " 1", -EINVAL, 0 },
	{ "1 K", -EINVAL, 0 },
	{ "1.K", -EINVAL, 0 },
	{ ".5K", -EINVAL, 0 },
	{ "1.5.5K", -EINVAL, 0 },
	{ "1KK", -EINVAL, 0 },
	{ "1Kx", -EINVAL, 0 },
	{ "0x10", -EINVAL, 0 },
	{ "1e3", -EINVAL, 0 },
	{ "1/s/s", -EINVAL, 0 },
	{ "1s", -EINVAL, 0 },
}, durations[] = {
	{ "300", 0, 300000000 },
	{ "300ms", 0, 300000000 },
	{ "1.5s", 0, 1500000000 },
	{ "20us", 0, 20000 },
	{ "7ns", 0, 7 },
	{ "2min", 0, 120000000000 },
	{ "2m", 0, 120000000000 },
	{ "0", 0, 0 },
	{ "0.0000005s", 0, 500 },
	{ "99999999999999999999s", -ERANGE, 0 },
	{ "18446744073s", 0, 18446744073000000000ULL },
	{ "18446744074s", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "ms", -EINVAL, 0 },
	{ "-5ms", -EINVAL, 0 },
	{ "5h", -EINVAL, 0 },
	{ "5K", -EINVAL, 0 },
	{ "5ms/s", -EINVAL, 0 },
	{ "1,5s", -EINVAL, 0 },
};

static const struct row final_bandwidths[] = {
	{ "same", 0, UINT64_MAX },
	{ "0", 0, 0 },
	{ "1Gbit", 0, 125000000 },
	{ "100M/s", 0, 100 << 20 },
	{ "", -EINVAL, 0 },
	{ "Same", -EINVAL, 0 },
	{ "none", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
};

static const struct row throttles[] = {
	{ "never", 0, 0 },
	{ "auto", 0, UINT64_MAX },
	{ "64", 0, 64 },
	{ "20000", 0, 20000 },
	{ "1", 0, 1 },
	{ "4294967296", 0, 1ULL << 32 },
	{ "4294967297", -ERANGE, 0 },
	{ "18446744073709551615", -ERANGE, 0 },
	{ "0", -ERANGE, 0 },
	{ "000", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "Auto", -EINVAL, 0 },
	{ "auto ", -EINVAL, 0 },
	{ "nevermore", -EINVAL, 0 },
	{ "sometimes", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "20k", -EINVAL, 0 },
	{ "1.5", -EINVAL, 0 },
}, page_rates[] = {
	{ "1024", 0, 1024 },
	{ "4294967296", 0, 1ULL << 32 },
	{ "0", -ERANGE, 0 },
	{ "never", -EINVAL, 0 },
	{ "auto", -EINVAL, 0 },
	{ "1K", -EINVAL, 0 },
};

static void run_rows(const char *what, int (*parse)(const char *, uint64_t *),
		     const struct row *rows, size_t count)
{
	uint64_t value;
	size_t i;
	int ret;

	for (i = 0; i < count; i++) {
		value = UNTOUCHED;
		ret = parse(rows[i].text, &value);
		ok(ret == rows[i].ret && value == (ret ? UNTOUCHED : rows[i].value),
		   "%s '%s' gives %d and %llu", what, rows[i].text, ret,
		   (unsigned long long)value);
	}
}

static void numbers(void)
{
	uint64_t value = UNTOUCHED;

	ok(!parse_number("16", 16, &value) && value == 16, "a number at its maximum");
	value = UNTOUCHED;
	ok(parse_number("17", 16, &value) == -ERANGE && value == UNTOUCHED, "one above it");
	ok(!parse_number("18446744073709551615", UINT64_MAX, &value) && value == UINT64_MAX,
	   "the largest number");
	ok(parse_number("18446744073709551616", UINT64_MAX, &value) == -ERANGE, "one too many");
	ok(parse_number("", 16, &value) == -EINVAL, "no number");
	ok(parse_number("1x", 16, &value) == -EINVAL, "a number and more");
	ok(parse_number("-1", 16, &value) == -EINVAL, "a negative number");
}

static void addresses(void)
{
	static const struct {
		const char *text;
		bool need_host;
		int ret;
		const char *host, *port;
	} rows[] = {
		{ "tcp:host2:7000", true, 0, "host2", "7000" },
		{ "tcp:10.0.0.2:7000", true, 0, "10.0.0.2", "7000" },
		{ "tcp:[2001:db8::1]:7000", true, 0, "2001:db8::1", "7000" },
		{ "tcp:[fe80::1%eth0]:http", true, 0, "fe80::1%eth0", "http" },
		{ "tcp:7000", false, 0, "", "7000" },
		{ "tcp:0.0.0.0:7000", false, 0, "0.0.0.0", "7000" },
		{ "tcp:[::]:7000", false, 0, "::", "7000" },
		{ "tcp:7000", true, -EINVAL, NULL, NULL },
		{ "tcp:::1:7000", true, -EINVAL, NULL, NULL },
		{ "tcp:2001:db8::1:7000", false, -EINVAL, NULL, NULL },
		{ "tcp:[::1]7000", true, -EINVAL, NULL, NULL },
		{ "tcp:[::1:7000", true, -EINVAL, NULL, NULL },
		{ "tcp:[]:7000", true, -EINVAL, NULL, NULL },
		{ "tcp::7000", true, -EINVAL, NULL, NULL },
		{ "tcp:host:", true, -EINVAL, NULL, NULL },
		{ "tcp:", false, -EINVAL, NULL, NULL },
		{ "rdma:host2:7000", true, 0, "host2", "7000" },
		{ "rdma:[2001:db8::1]:7000", true, 0, "2001:db8::1", "7000" },
		{ "rdma:7000", false, 0, "", "7000" },
		{ "rdma:7000", true, -EINVAL, NULL, NULL },
		{ "rdma:", false, -EINVAL, NULL, NULL },
		{ "rdma::7000", true, -EINVAL, NULL, NULL },
		{ "rdma+tcp:host2:7000", true, 0, "host2", "7000" },
		{ "rdma+tcp:7000", false, 0, "", "7000" },
		{ "rdma+tcp:7000", true, -EINVAL, NULL, NULL },
		{ "rdma+:host:7000", true, -EINVAL, NULL, NULL },
		{ "rdmatcp:host:7000", true, -EINVAL, NULL, NULL },
		{ "tcp+rdma:host:7000", true, -EINVAL, NULL, NULL },
		{ "rdm:host:7000", true, -EINVAL, NULL, NULL },
		{ "udp:host:7000", true, -EINVAL, NULL, NULL },
		{ "host:7000", true, -EINVAL, NULL, NULL },
		{ "", false, -EINVAL, NULL, NULL },
	};
	struct address addr;
	char name[400];
	size_t i;
	int ret;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(&addr, 'x', sizeof(addr));
		ret = parse_address(rows[i].text, rows[i].need_host, &addr);
		ok(ret == rows[i].ret &&
		   (ret ? addr.host[0] == 'x' : !strcmp(addr.host, rows[i].host) &&
						!strcmp(addr.port, rows[i].port) &&
						addr.rdma == (rows[i].text[0] == 'r') &&
						addr.tcp == !!strstr(rows[i].text, "tcp")),
		   "address '%s' gives %d", rows[i].text, ret);
	}
	snprintf(name, sizeof(name), "tcp:%0300d:7000", 1);
	ok(parse_address(name, true, &addr) == -EINVAL, "a host name that does not fit");
	snprintf(name, sizeof(name), "tcp:a:%040d", 1);
	ok(parse_address(name, true, &addr) == -EINVAL, "a port that does not fit");
}

int main(void)
{
	run_rows("size", parse_size, sizes, sizeof(sizes) / sizeof(sizes[0]));
	run_rows("duration", parse_duration, durations,
		 sizeof(durations) / sizeof(durations[0]));
	run_rows("throttle", parse_throttle, throttles, sizeof(throttles) / sizeof(throttles[0]));
	run_rows("final bandwidth", parse_final_bandwidth, final_bandwidths,
		 sizeof(final_bandwidths) / sizeof(final_bandwidths[0]));
	run_rows("page rate", parse_page_rate, page_rates,
		 sizeof(page_rates) / sizeof(page_rates[0]));
	numbers();
	addresses();
	return tap_done();
}
