/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What people type, as numbers. Each parser returns 0, or -EINVAL (not
 * understood) or -ERANGE (too large), and leaves *@out alone then.
 */
#ifndef PARSE_H
#define PARSE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Bytes: "4096", "64K", "1.5M", "2GiB" are powers of 1024; "5MB" and "1Gbit" are
 * powers of 1000, the latter in bits. "/s" may follow. Case does not matter but
 * in "b" and "B" alone, which are bits and bytes.
 */
int parse_size(const char *text, uint64_t *out);
/* Nanoseconds: "300ms", "1.5s", "20us", "2min"; without a unit: milliseconds. */
int parse_duration(const char *text, uint64_t *out_ns);
/* A whole number in decimal, up to @max. */
int parse_number(const char *text, uint64_t max, uint64_t *out);

/* Pages a second, such as 20000: 1 to 2^32. */
int parse_page_rate(const char *text, uint64_t *out);

/* Throttling: "never", "auto", or pages a second that each vCPU may dirty, such as 20000. */
int parse_throttle(const char *text, uint64_t *out);

/* The final pass's bandwidth: "same" as that of the others, or a size a second; 0: unlimited. */
int parse_final_bandwidth(const char *text, uint64_t *out);

struct address {
	bool rdma;		/* data channels are RDMA */
	bool tcp;		/* they are TCP; with @rdma: those that RDMA cannot be */
	char host[256];		/* "": none given */
	char port[32];
};

/*
 * "tcp:HOST:PORT", "tcp:[2001:db8::1]:PORT"; without @need_host also "tcp:PORT".
 * The same with "rdma:" and "rdma+tcp:".
 */
int parse_address(const char *text, bool need_host, struct address *out);

#endif /* PARSE_H */
