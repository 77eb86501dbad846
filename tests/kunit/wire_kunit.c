// SPDX-License-Identifier: GPL-2.0-only
/*
 * The wire codec: headers, names, and the messages that set a session up and
 * end it. Bytes are written out here as docs/protocol.md has them, so that the
 * encoder and the decoder cannot be wrong together.
 */
#include "wire_kunit.h"

/* What a body of each type may be: @fixed bytes and @min to @max items. */
static const struct {
	const char *name;
	u32 fixed, item, min, max;
	/* control channel to the sink, to the source; data channel likewise */
	bool expected[4];
} types[] = {
	[1] = { "HELLO", 80, 56, 1, 256, { 1, 0, 0, 0 } },
	[2] = { "HELLO_ACK", 16, 0, 0, 0, { 0, 1, 0, 0 } },
	[3] = { "CHANNEL", 24, 0, 0, 0, { 0, 0, 1, 0 } },
	[4] = { "BATCH", 8, 16, 1, 256, { 0, 0, 1, 0 } },
	[5] = { "FENCE", 16, 0, 0, 0, { 0, 0, 1, 0 } },
	[6] = { "FENCE_ACK", 16, 0, 0, 0, { 0, 1, 0, 0 } },
	[7] = { "PASS", 16, 0, 0, 0, { 1, 0, 0, 0 } },
	[8] = { "FINAL", 16, 0, 0, 0, { 1, 0, 0, 0 } },
	[9] = { "DIGEST", 16, 8, 1, 2048, { 1, 0, 0, 0 } },
	[10] = { "DIGEST_END", 0, 0, 0, 0, { 1, 0, 0, 0 } },
	[11] = { "VERIFY_RESULT", 16, 16, 0, 16, { 0, 1, 0, 0 } },
	[12] = { "PAUSED", 0, 0, 0, 0, { 1, 0, 0, 0 } },
	[13] = { "STATE", 8, 1, 0, 32768, { 1, 0, 0, 0 } },
	[14] = { "READY", 0, 0, 0, 0, { 0, 1, 0, 0 } },
	[15] = { "COMMIT", 0, 0, 0, 0, { 1, 0, 0, 0 } },
	[16] = { "COMMIT_ACK", 0, 0, 0, 0, { 0, 1, 0, 0 } },
	[17] = { "ABORT", 8, 1, 0, 255, { 1, 1, 0, 0 } },
	[18] = { "PING", 0, 0, 0, 0, { 1, 1, 0, 0 } },
	[19] = { "ECHO", 8, 0, 0, 0, { 1, 1, 0, 0 } },
};

static void header_bytes(struct kunit *test)
{
	static const u8 want[16] = {
		'F', 'r', 'Y', '1', 0x0d, 0, 0, 0, 0x08, 0x80, 0, 0, 0x78, 0x56, 0x34, 0x92,
	};
	const struct ferry_msg_header in = { .type = 13, .length = 0x8008, .seq = 0x92345678 };
	struct ferry_msg_header out;
	u8 buf[16];

	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_wire_put_header(buf, &in), want);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_header(want, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.type, 13);
	KUNIT_EXPECT_EQ(test, out.length, 0x8008);
	KUNIT_EXPECT_EQ(test, out.seq, 0x92345678);
}

/* Every type with every length there is, and some that there are not. */
static void header_lengths(struct kunit *test)
{
	const u32 max = FERRY_WIRE_MAX_BODY;
	bool *allowed = kunit_kzalloc(test, max + 3, GFP_KERNEL);
	struct ferry_msg_header h = {}, out;
	const char *why = "";
	u32 i, len, wrong = 0;
	u8 buf[16];

	KUNIT_ASSERT_NOT_NULL(test, allowed);
	KUNIT_ASSERT_EQ(test, ARRAY_SIZE(types), FERRY_MSG_MAX + 1);
	for (h.type = 1; h.type < ARRAY_SIZE(types); h.type++) {
		memset(allowed, 0, max + 3);
		for (i = types[h.type].min; i <= types[h.type].max; i++)
			allowed[types[h.type].fixed + i * types[h.type].item] = true;
		for (len = 0; len < max + 3; len++) {
			h.length = len;
			ferry_wire_put_header(buf, &h);
			if (ferry_wire_get_header(buf, &out, NULL) != (allowed[len] ? 0 : -EPROTO))
				wrong++;
		}
		KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "%s", types[h.type].name);
		for (len = 16; len < 32; len++) {
			h.length = 1u << len | types[h.type].fixed;
			ferry_wire_put_header(buf, &h);
			KUNIT_EXPECT_EQ(test, ferry_wire_get_header(buf, &out, NULL), -EPROTO);
		}
		h.length = ~0u;
		ferry_wire_put_header(buf, &h);
		KUNIT_EXPECT_EQ(test, ferry_wire_get_header(buf, &out, &why), -EPROTO);
		KUNIT_EXPECT_STREQ(test, why, "header announces a body that is too long");
	}
}

static void header_fields(struct kunit *test)
{
	const struct ferry_msg_header in = { .type = FERRY_MSG_PING, .seq = 7 };
	struct ferry_msg_header out;
	const char *why = NULL;
	u32 type, bit, wrong = 0;
	u8 buf[16];

	ferry_wire_put_header(buf, &in);
	for (bit = 0; bit < 64; bit++) {
		if (bit >= 32 && bit < 48)	/* the type: below */
			continue;
		buf[bit / 8] ^= 1 << bit % 8;
		KUNIT_EXPECT_EQ_MSG(test, ferry_wire_get_header(buf, &out, &why), -EPROTO,
				    "bit %u", bit);
		buf[bit / 8] ^= 1 << bit % 8;
	}
	KUNIT_EXPECT_STREQ(test, why, "header has a reserved field set");

	for (type = 0; type < 65536; type++) {
		poke_bytes(buf + 4, 2, type);
		/* Types that may have an empty body. */
		if (ferry_wire_get_header(buf, &out, NULL) !=
		    (type == 10 || type == 12 || (type >= 14 && type <= 16) || type == 18 ?
		     0 : -EPROTO))
			wrong++;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	poke_bytes(buf + 4, 2, 20);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_header(buf, &out, &why), -EPROTO);
	KUNIT_EXPECT_STREQ(test, why, "header has an unknown message type");
}

static void who_says_what(struct kunit *test)
{
	u16 type, way;

	for (type = 1; type < ARRAY_SIZE(types); type++) {
		KUNIT_EXPECT_STREQ(test, ferry_msg_name(type), types[type].name);
		for (way = 0; way < 4; way++)
			KUNIT_EXPECT_EQ_MSG(test, ferry_wire_expected(type, way < 2, way % 2 == 0),
					    types[type].expected[way], "%s, way %u",
					    types[type].name, way);
	}
	for (way = 0; way < 4; way++) {
		KUNIT_EXPECT_FALSE(test, ferry_wire_expected(0, way < 2, way % 2 == 0));
		KUNIT_EXPECT_FALSE(test, ferry_wire_expected(20, way < 2, way % 2 == 0));
		KUNIT_EXPECT_FALSE(test, ferry_wire_expected(65535, way < 2, way % 2 == 0));
	}
	KUNIT_EXPECT_STREQ(test, ferry_msg_name(0), "unknown");
	KUNIT_EXPECT_STREQ(test, ferry_msg_name(20), "unknown");
	KUNIT_EXPECT_STREQ(test, ferry_msg_name(65535), "unknown");
}

/* Versions 1 to 3, two channels, two regions. */
static const u8 hello_bytes[80 + 2 * 56] = {
	[0] = 1, 0, 3, 0, 12, 0, 0, 0, 0x01, 0, 0, 0, 0, 0, 0, 0x80,
	[16] = 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
	0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
	[32] = 2, 0, 2, 0, 0x10, 0x27, 0, 0,
	[48] = 'v', 'm', '-', '7',
	[80] = 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0,
	[104] = 'r', 'a', 'm', '0',
	[136] = 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0,
	[160] = 'b', ' ', '~',
};

static void hello_round_trip(struct kunit *test)
{
	struct ferry_msg_hello m = {
		.version_min = 1, .version = 3, .page_shift = 12,
		.features = 0x8000000000000001, .nr_channels = 2, .nr_regions = 2,
		.peer_timeout_ms = 10000, .name = "vm-7",
	}, out;
	struct ferry_msg_region r[2] = {
		{ .id = 5, .length = 0x40000000, .name = "ram0" },
		{ .id = 65535, .length = 4096, .name = "b ~" },
	}, r_out;
	const size_t len = sizeof(hello_bytes);
	u8 buf[sizeof(hello_bytes)];
	size_t n;
	int i;

	for (i = 0; i < 16; i++)
		m.token[i] = 0xa0 + i;
	memset(buf, 0xff, sizeof(buf));
	n = ferry_wire_put_hello(buf, &m);
	n += ferry_wire_put_region(buf + n, &r[0]);
	n += ferry_wire_put_region(buf + n, &r[1]);
	CHECK_BYTES(test, buf, n, hello_bytes);

	KUNIT_ASSERT_EQ(test, ferry_wire_get_hello(hello_bytes, len, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.version_min, 1);
	KUNIT_EXPECT_EQ(test, out.version, 3);
	KUNIT_EXPECT_EQ(test, out.page_shift, 12);
	KUNIT_EXPECT_EQ(test, out.features, 0x8000000000000001);
	KUNIT_EXPECT_EQ(test, memcmp(out.token, m.token, 16), 0);
	KUNIT_EXPECT_EQ(test, out.nr_channels, 2);
	KUNIT_EXPECT_EQ(test, out.nr_regions, 2);
	KUNIT_EXPECT_EQ(test, out.peer_timeout_ms, 10000);
	KUNIT_EXPECT_STREQ(test, out.name, "vm-7");
	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test, ferry_wire_get_region(hello_bytes, len, i, &r_out, NULL), 0);
		KUNIT_EXPECT_EQ(test, r_out.id, r[i].id);
		KUNIT_EXPECT_EQ(test, r_out.length, r[i].length);
		KUNIT_EXPECT_STREQ(test, r_out.name, r[i].name);
	}
	KUNIT_EXPECT_EQ(test, ferry_wire_get_region(hello_bytes, len, 2, &r_out, NULL), -EPROTO);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_region(hello_bytes, len, ~0u, &r_out, NULL), -EPROTO);
}

static int decode_hello(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_hello m;

	return ferry_wire_get_hello(body, len, &m, why);
}

static int decode_region1(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_region r;

	return ferry_wire_get_region(body, len, 1, &r, why);
}

static void hello_fields(struct kunit *test)
{
	static const struct poke pokes[] = {
		BAD("version_min", 0, 2, 0), GOOD("version_min", 0, 2, 3),
		BAD("version_min", 0, 2, 4), BAD("version", 2, 2, 0),
		GOOD("version", 2, 2, 1), GOOD("version", 2, 2, 65535),
		BAD("both versions", 0, 4, 0), BAD("page_shift", 4, 4, 0),
		BAD("page_shift", 4, 4, 11), BAD("page_shift", 4, 4, 13),
		BAD("page_shift", 4, 4, 12 | 1 << 16), GOOD("features", 8, 8, 0),
		GOOD("features", 8, 8, ~0ULL), GOOD("token", 16, 8, 0),
		GOOD("nr_channels", 32, 2, 1), GOOD("nr_channels", 32, 2, 16),
		BAD("nr_channels", 32, 2, 0), BAD("nr_channels", 32, 2, 17),
		BAD("nr_channels", 32, 2, 258), BAD("nr_regions", 34, 2, 0),
		BAD("nr_regions", 34, 2, 1), BAD("nr_regions", 34, 2, 3),
		BAD("nr_regions", 34, 2, 257), BAD("nr_regions", 34, 2, 258),
		BAD("peer_timeout_ms", 36, 4, 0), BAD("peer_timeout_ms", 36, 4, 99),
		GOOD("peer_timeout_ms", 36, 4, 100), GOOD("peer_timeout_ms", 36, 4, 3600000),
		BAD("peer_timeout_ms", 36, 4, 3600001), BAD("peer_timeout_ms", 36, 4, ~0u),
		GOOD("name", 48, 4, 0), BAD("name", 48, 1, 0),
	};
	static const struct poke region_pokes[] = {
		GOOD("id", 136, 8, 0), BAD("id", 136, 8, 65536), BAD("id", 136, 8, 1ULL << 63),
		BAD("length", 144, 8, 0), BAD("length", 144, 8, 1), BAD("length", 144, 8, 4095),
		BAD("length", 144, 8, 4097), BAD("length", 144, 8, 6144),
		GOOD("length", 144, 8, 1ULL << 52), BAD("length", 144, 8, (1ULL << 52) + 4096),
		BAD("length", 144, 8, ~4095ULL), BAD("name", 160, 3, 0), BAD("name", 160, 1, 0),
		BAD("name", 161, 1, 0), GOOD("name", 162, 1, 0),
	};
	const size_t len = sizeof(hello_bytes);

	CHECK_POKES(test, decode_hello, hello_bytes, pokes);
	check_reserved(test, decode_hello, hello_bytes, len, 40, 48);
	check_lengths(test, decode_hello, hello_bytes, len);
	CHECK_POKES(test, decode_region1, hello_bytes, region_pokes);
	check_reserved(test, decode_region1, hello_bytes, len, 152, 160);
}

/* The most regions that there can be: none beyond, the last one readable. */
static void hello_largest(struct kunit *test)
{
	struct ferry_msg_region in = { .length = 1ULL << 52 }, out;
	struct ferry_msg_hello m;
	const size_t len = 80 + 256 * 56;
	u8 *body = kunit_kzalloc(test, len + 56, GFP_KERNEL);
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, body);
	memcpy(body, hello_bytes, 80);
	poke_bytes(body + 34, 2, 256);
	for (i = 0; i < 257; i++) {
		in.id = 65535 - i;
		snprintf(in.name, sizeof(in.name), "region-%u", i);
		ferry_wire_put_region(body + 80 + i * 56, &in);
	}
	KUNIT_ASSERT_EQ(test, ferry_wire_get_hello(body, len, &m, NULL), 0);
	KUNIT_EXPECT_EQ(test, m.nr_regions, 256);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_region(body, len, 255, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.id, 65535 - 255);
	KUNIT_EXPECT_STREQ(test, out.name, "region-255");
	KUNIT_EXPECT_EQ(test, ferry_wire_get_region(body, len, 256, &out, NULL), -EPROTO);
	poke_bytes(body + 34, 2, 257);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_hello(body, len + 56, &m, NULL), -EPROTO);
}

/* Every byte value at the ends of a name, and the name's every length. */
static void names(struct kunit *test)
{
	static const u8 at[] = { 0, 1, 30 };
	u8 body[sizeof(hello_bytes)];
	struct ferry_msg_region r = { .length = 4096 }, out;
	u32 c, i, len;

	memcpy(body, hello_bytes, sizeof(body));
	memset(body + 160, 'x', 31);
	KUNIT_EXPECT_EQ(test, decode_copy(test, decode_region1, body, sizeof(body)), 0);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		for (c = 0; c < 256; c++) {
			/* A NUL ends the name, so it is right only as the last byte. */
			bool good = (c >= ' ' && c <= '~') || (c == 0 && at[i] == 30);

			body[160 + at[i]] = c;
			KUNIT_EXPECT_EQ_MSG(test,
				decode_copy(test, decode_region1, body, sizeof(body)),
				good ? 0 : -EPROTO, "byte %u at %u", c, at[i]);
		}
		body[160 + at[i]] = 'x';
	}
	/* No room for the NUL. */
	body[191] = 'x';
	KUNIT_EXPECT_EQ(test, decode_copy(test, decode_region1, body, sizeof(body)), -EPROTO);

	/* The encoder clears what follows the name, and cuts what does not fit. */
	for (len = 1; len < 32; len++) {
		memset(r.name, 'y', sizeof(r.name));
		if (len < 31)
			r.name[len] = '\0';
		memset(body + 136, 0xff, 56);
		ferry_wire_put_region(body + 136, &r);
		KUNIT_ASSERT_EQ(test, ferry_wire_get_region(body, sizeof(body), 1, &out, NULL), 0);
		KUNIT_EXPECT_EQ(test, strlen(out.name), len);
	}
}

static struct kunit_case cases[] = {
	KUNIT_CASE(header_bytes),
	KUNIT_CASE(header_lengths),
	KUNIT_CASE(header_fields),
	KUNIT_CASE(who_says_what),
	KUNIT_CASE(hello_round_trip),
	KUNIT_CASE(hello_fields),
	KUNIT_CASE(hello_largest),
	KUNIT_CASE(names),
	{}
};

static struct kunit_suite suite = {
	.name = "ferry_wire",
	.test_cases = cases,
};
kunit_test_suite(suite);
