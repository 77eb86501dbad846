// SPDX-License-Identifier: GPL-2.0-only
/*
 * First messages, right ones and hostile ones.
 */
#include <errno.h>
#include <ferry.h>

#include "message.h"
#include "tap.h"

static void right_ones(void)
{
	uint8_t token[16], buf[HELLO_BYTES];
	struct ferry_first_message m;
	unsigned int i, j, bad = 0;

	memset(token, 0xa7, sizeof(token));
	make_hello(buf, 0xa7, 4);
	put16(buf + 18, 3);
	ok(!ferry_classify(buf, sizeof(buf), &m, NULL) && m.kind == KVM_FERRY_CHANNEL_CONTROL &&
	   m.nr_data == 4 && m.version_min == 1 && m.version == 3 &&
	   !memcmp(m.token, token, sizeof(token)), "a HELLO");
	ok(!ferry_classify(buf, FERRY_PEEK_LEN, &m, NULL), "its first bytes are enough");
	make_channel(buf, 0xa7, 15, 16);
	ok(!ferry_classify(buf, CHANNEL_BYTES, &m, NULL) && m.kind == KVM_FERRY_CHANNEL_DATA &&
	   m.index == 15 && m.nr_data == 16 && !memcmp(m.token, token, sizeof(token)),
	   "a CHANNEL");
	for (i = 1; i <= 16; i++)
		for (j = 0; j < i; j++) {
			make_channel(buf, 1, j, i);
			bad += ferry_classify(buf, CHANNEL_BYTES, &m, NULL) || m.index != j;
		}
	ok(!bad, "every index of every number of channels");
}

static void cut_short(void)
{
	uint8_t buf[HELLO_BYTES];
	struct ferry_first_message m;
	unsigned int i, bad = 0;

	make_hello(buf, 1, 1);
	for (i = 0; i < FERRY_PEEK_LEN; i++)
		bad += ferry_classify(buf, i, &m, NULL) != -EAGAIN;
	ok(!bad, "every cut of a HELLO asks for more");
	make_channel(buf, 1, 0, 1);
	for (i = 0, bad = 0; i < CHANNEL_BYTES; i++)
		bad += ferry_classify(buf, i, &m, NULL) != -EAGAIN;
	ok(!bad, "every cut of a CHANNEL asks for more");
}

/* Each row spoils one field of a right message. */
static void spoilt(void)
{
	static const struct {
		bool hello;
		unsigned int at, bytes;
		uint32_t value;
		const char *what;
	} rows[] = {
		{ true, 0, 4, 0x32597246, "magic of another protocol" },
		{ true, 0, 1, 0, "first byte of the magic" },
		{ true, 3, 1, 'x', "last byte of the magic" },
		{ true, 4, 2, 0, "type 0" },
		{ true, 4, 2, 2, "HELLO_ACK, which a source never sends" },
		{ true, 4, 2, 4, "BATCH first" },
		{ true, 4, 2, 0xffff, "an unknown type" },
		{ true, 6, 2, 1, "reserved field of the header" },
		{ true, 8, 4, 0, "HELLO of length 0" },
		{ true, 8, 4, 80, "HELLO without a region" },
		{ true, 8, 4, 135, "HELLO one byte short" },
		{ true, 8, 4, 137, "HELLO one byte long" },
		{ true, 8, 4, 80 + 257 * 56, "HELLO with more regions than there may be" },
		{ true, 8, 4, 0xffffffff, "HELLO of 4 GiB" },
		{ true, 12, 4, 1, "number 1 first" },
		{ true, 16, 2, 0, "oldest version 0" },
		{ true, 16, 2, 2, "oldest version above the newest" },
		{ true, 18, 2, 0, "newest version 0" },
		{ true, 48, 2, 0, "HELLO of no channel" },
		{ true, 48, 2, 17, "HELLO of 17 channels" },
		{ true, 48, 2, 0xffff, "HELLO of 65535 channels" },
		{ true, 50, 2, 0, "HELLO that counts no region" },
		{ true, 50, 2, 2, "HELLO that counts one region too many" },
		{ false, 8, 4, 0, "CHANNEL of length 0" },
		{ false, 8, 4, 23, "CHANNEL one byte short" },
		{ false, 8, 4, 25, "CHANNEL one byte long" },
		{ false, 32, 2, 2, "index beyond the number of channels" },
		{ false, 32, 2, 0xffff, "index 65535" },
		{ false, 34, 2, 0, "CHANNEL of none" },
		{ false, 34, 2, 17, "CHANNEL of 17" },
		{ false, 36, 4, 1, "reserved field of CHANNEL" },
	};
	struct ferry_first_message m;
	uint8_t buf[HELLO_BYTES];
	const char *why;
	unsigned int i;
	int ret;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(buf, 0, sizeof(buf));
		if (rows[i].hello)
			make_hello(buf, 1, 2);
		else
			make_channel(buf, 1, 1, 2);
		if (rows[i].bytes == 1)
			buf[rows[i].at] = rows[i].value;
		else if (rows[i].bytes == 2)
			put16(buf + rows[i].at, rows[i].value);
		else
			put32(buf + rows[i].at, rows[i].value);
		why = NULL;
		ret = ferry_classify(buf, sizeof(buf), &m, &why);
		ok(ret == -EPROTO && why && *why && *ferry_error(), "%s: %s", rows[i].what,
		   why ? why : "accepted");
	}
}

static void garbage(void)
{
	static const char *const texts[] = {
		"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
		"\x16\x03\x01\x02", "F", "FrY2", "\0",
	};
	struct ferry_first_message m;
	uint8_t buf[FERRY_PEEK_LEN];
	unsigned int i, j, odd = 0;
	uint32_t seed = 1;
	int ret;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		ret = ferry_classify(texts[i], texts[i][0] ? strlen(texts[i]) : 1, &m, NULL);
		ok(ret == (i == 3 ? -EAGAIN : -EPROTO), "text %u gives %s", i,
		   ferry_errno_name(ret));
	}
	/* The right magic and type, then noise: any answer but a wild index is right. */
	for (i = 0; i < 200000; i++) {
		for (j = 0; j < sizeof(buf); j++) {
			seed = seed * 1664525 + 1013904223;
			buf[j] = seed >> 24;
		}
		put_header(buf, i & 1 ? 1 : 3, i & 1 ? 136 : 24);
		ret = ferry_classify(buf, sizeof(buf), &m, NULL);
		if (!ret)
			odd += !m.nr_data || m.nr_data > KVM_FERRY_MAX_DATA_CHANNELS ||
			       m.index >= m.nr_data;
		else
			odd += ret != -EPROTO;
	}
	ok(!odd, "noise never gives an index or number of channels out of bounds");
}

int main(void)
{
	right_ones();
	cut_short();
	spoilt();
	garbage();
	return tap_done();
}
