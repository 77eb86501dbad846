// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the two ends of an RDMA data channel say below the protocol. Bytes are
 * written out here as docs/rdma.md has them, so that the encoder and the decoder
 * cannot be wrong together.
 */
#include "rdma/rdma_wire.h"
#include "wire_kunit.h"

/* A decoder with what it needs beside the bytes. */
static int decode_to_sink(const u8 *p, size_t len, const char **why)
{
	struct ferry_rdma_header h;

	return ferry_rdma_get_header(p, len, true, &h, why);
}

static int decode_to_source(const u8 *p, size_t len, const char **why)
{
	struct ferry_rdma_header h;

	return ferry_rdma_get_header(p, len, false, &h, why);
}

static int decode_window(const u8 *p, size_t len, const char **why)
{
	struct ferry_rdma_window m;

	return ferry_rdma_get_window(p, len, &m, why);
}

static int decode_run1(const u8 *p, size_t len, const char **why)
{
	struct ferry_extent e;

	return ferry_rdma_get_run(p, 1, &e, why);
}

static int decode_number(const u8 *p, size_t len, const char **why)
{
	u32 number;

	return ferry_rdma_get_number(p, len, 32, &number, why);
}

static int decode_grant(const u8 *p, size_t len, const char **why)
{
	struct ferry_rdma_grant m;

	return ferry_rdma_get_grant(p, len, &m, why);
}

static int decode_request(const u8 *p, size_t len, const char **why)
{
	struct ferry_rdma_request m;

	return ferry_rdma_get_request(p, len, &m, why);
}

static int decode_reply(const u8 *p, size_t len, const char **why)
{
	struct ferry_rdma_reply m;

	return ferry_rdma_get_reply(p, len, &m, why);
}

/* Private data: the connection manager pads it, so more is right, and less is not. */
static void check_padded(struct kunit *test, decode_fn decode, const u8 *p, size_t len)
{
	u8 room[256];
	size_t n;

	memset(room, 0xee, sizeof(room));
	memcpy(room, p, len);
	for (n = 0; n <= sizeof(room); n++)
		KUNIT_EXPECT_EQ_MSG(test, decode_copy(test, decode, room, n),
				    n >= len ? 0 : -EPROTO, "length %zu of %zu", n, len);
	KUNIT_EXPECT_EQ(test, decode(NULL, 0, NULL), -EPROTO);
	KUNIT_EXPECT_EQ(test, decode(NULL, len, NULL), -EPROTO);
}

static void header_bytes(struct kunit *test)
{
	static const u8 want[8] = { 2, 0, 0, 0, 0x18, 0x01, 0, 0 };
	const struct ferry_rdma_header in = { .kind = FERRY_RDMA_WANT, .length = 0x118 };
	struct ferry_rdma_header out;
	u8 buf[8];

	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_rdma_put_header(buf, &in), want);
	KUNIT_ASSERT_EQ(test, ferry_rdma_get_header(want, 0x120, true, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.kind, FERRY_RDMA_WANT);
	KUNIT_EXPECT_EQ(test, out.length, 0x118);
	/* The others, as docs/rdma.md numbers them. */
	KUNIT_EXPECT_EQ(test, FERRY_RDMA_STREAM, 1);
	KUNIT_EXPECT_EQ(test, FERRY_RDMA_DROP, 3);
	KUNIT_EXPECT_EQ(test, FERRY_RDMA_GRANT, 4);
	KUNIT_EXPECT_EQ(test, FERRY_RDMA_CREDIT, 5);
	KUNIT_EXPECT_EQ(test, FERRY_RDMA_SEALED, 6);
}

/* Who may say what: 1 to the sink, 2 to the source. */
static void header_kinds(struct kunit *test)
{
	static const u8 ways[] = { 0, 1, 1, 1, 2, 2, 2 };
	const char *why = "";
	u32 kind, bit, wrong = 0;
	u8 buf[8] = {};

	for (kind = 0; kind < 70000; kind++) {
		u8 way = kind < ARRAY_SIZE(ways) ? ways[kind] : 0;

		poke_bytes(buf, 4, kind);
		if (decode_to_sink(buf, 8, NULL) != (way & 1 ? 0 : -EPROTO) ||
		    decode_to_source(buf, 8, NULL) != (way & 2 ? 0 : -EPROTO))
			wrong++;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	for (bit = 3; bit < 32; bit++) {
		poke_bytes(buf, 4, FERRY_RDMA_CREDIT | 1u << bit);
		KUNIT_EXPECT_EQ(test, decode_to_sink(buf, 8, &why), -EPROTO);
		KUNIT_EXPECT_EQ(test, decode_to_source(buf, 8, NULL), -EPROTO);
	}
	KUNIT_EXPECT_STREQ(test, why, "RDMA message is of an unknown kind, or the wrong way");
}

/* What came must be as long as it says, to the byte. */
static void header_lengths(struct kunit *test)
{
	struct ferry_rdma_header h = { .kind = FERRY_RDMA_STREAM };
	u8 *room = kunit_kzalloc(test, FERRY_RDMA_MSG_LEN, GFP_KERNEL);
	u32 len, bit, wrong = 0;
	const char *why = "";

	KUNIT_ASSERT_NOT_NULL(test, room);
	for (h.length = 0; h.length <= FERRY_RDMA_MSG_LEN - 8; h.length += 511) {
		ferry_rdma_put_header(room, &h);
		for (len = 0; len <= FERRY_RDMA_MSG_LEN; len++)
			if (decode_to_sink(room, len, NULL) != (len == h.length + 8 ? 0 : -EPROTO))
				wrong++;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	h.length = 0;
	ferry_rdma_put_header(room, &h);
	check_lengths(test, decode_to_sink, room, 8);
	for (bit = 0; bit < 32; bit++) {
		h.length = 8 ^ 1u << bit;
		ferry_rdma_put_header(room, &h);
		KUNIT_EXPECT_EQ(test, decode_to_sink(room, 16, &why), -EPROTO);
	}
	KUNIT_EXPECT_STREQ(test, why, "RDMA message has a wrong length");
	/* So short that its length would be less than none. */
	h.length = ~0u;
	ferry_rdma_put_header(room, &h);
	KUNIT_EXPECT_EQ(test, decode_to_sink(room, 7, &why), -EPROTO);
	KUNIT_EXPECT_STREQ(test, why, "RDMA message is shorter than a header");
}

/* Two runs, the second with the largest numbers that the codec lets through. */
static const u8 window_bytes[8 + 2 * 16] = {
	0xfe, 0xff, 0, 0, 2, 0, 0, 0,
	[8] = 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x01, 0, 0, 0, 0x03, 0x02, 0, 0,
	[24] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 2, 0, 0, 0xff, 0xff, 0, 0,
};

static void window_round_trip(struct kunit *test)
{
	const struct ferry_rdma_window m = { .id = 65534, .nr_runs = 2 };
	/* A run is always data: of what kind the caller's extent is does not matter. */
	const struct ferry_extent runs[2] = {
		{ .pfn = 0x0102030405060708, .nr_pages = 1, .region = 0x203, .kind = 1 },
		{ .pfn = ~0ULL, .nr_pages = 512, .region = 65535 },
	};
	struct ferry_rdma_window out;
	u8 buf[sizeof(window_bytes)];
	struct ferry_extent e;
	size_t n;
	u32 i;

	memset(buf, 0xff, sizeof(buf));
	n = ferry_rdma_put_window(buf, &m);
	for (i = 0; i < 2; i++)
		n += ferry_rdma_put_run(buf + n, &runs[i]);
	CHECK_BYTES(test, buf, n, window_bytes);
	KUNIT_ASSERT_EQ(test, ferry_rdma_get_window(buf, n, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.id, 65534);
	KUNIT_EXPECT_EQ(test, out.nr_runs, 2);
	for (i = 0; i < 2; i++) {
		memset(&e, 0xff, sizeof(e));
		KUNIT_ASSERT_EQ(test, ferry_rdma_get_run(buf, i, &e, NULL), 0);
		KUNIT_EXPECT_EQ(test, e.pfn, runs[i].pfn);
		KUNIT_EXPECT_EQ(test, e.nr_pages, runs[i].nr_pages);
		KUNIT_EXPECT_EQ(test, e.region, runs[i].region);
		KUNIT_EXPECT_EQ(test, e.kind, FERRY_EXTENT_DATA);
	}
}

static void window_fields(struct kunit *test)
{
	static const struct poke pokes[] = {
		BAD("id", 0, 4, 0), GOOD("id", 0, 4, 1), GOOD("id", 0, 4, 65535),
		BAD("id", 0, 4, 65536), BAD("id", 0, 4, 65537), BAD("id", 0, 4, ~0u),
		BAD("nr_runs", 4, 4, 0), BAD("nr_runs", 4, 4, 1), BAD("nr_runs", 4, 4, 3),
		BAD("nr_runs", 4, 4, 511), BAD("nr_runs", 4, 4, 512),
		/* 2^28 runs take 2^32 bytes: no multiplication may lose them. */
		BAD("nr_runs", 4, 4, 0x10000002), BAD("nr_runs", 4, 4, 0xf0000002),
		BAD("nr_runs", 4, 4, ~0u),
	};
	static const struct poke run_pokes[] = {
		GOOD("pfn", 24, 8, 0), BAD("nr_pages", 32, 4, 0), GOOD("nr_pages", 32, 4, 1),
		GOOD("nr_pages", 32, 4, 8192), BAD("nr_pages", 32, 4, 8193),
		BAD("nr_pages", 32, 4, 0x12000), BAD("nr_pages", 32, 4, ~0u),
		GOOD("region", 36, 2, 0), BAD("kind", 38, 2, 1),
	};

	struct ferry_rdma_window m;
	const char *why = "";

	CHECK_POKES(test, decode_window, window_bytes, pokes);
	KUNIT_EXPECT_EQ(test, ferry_rdma_get_window(window_bytes, 7, &m, &why), -EPROTO);
	KUNIT_EXPECT_STREQ(test, why, "WANT is too short");
	KUNIT_EXPECT_EQ(test, ferry_rdma_get_window(window_bytes, 8, &m, &why), -EPROTO);
	KUNIT_EXPECT_STREQ(test, why, "WANT's length does not match its number of runs");
	check_lengths(test, decode_window, window_bytes, sizeof(window_bytes));
	CHECK_POKES(test, decode_run1, window_bytes, run_pokes);
	check_reserved(test, decode_run1, window_bytes, sizeof(window_bytes), 38, 40);
}

/* As many runs as a message has room for, and one more. */
static void window_largest(struct kunit *test)
{
	struct ferry_extent in = { .nr_pages = 1 }, out;
	struct ferry_rdma_window m = { .id = 65535 };
	const size_t most = FERRY_RDMA_MSG_LEN - 8;
	u8 *body = kunit_kzalloc(test, most + 16, GFP_KERNEL);
	const char *why = "";
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, body);
	KUNIT_ASSERT_EQ(test, FERRY_RDMA_MAX_RUNS, 511);
	KUNIT_ASSERT_LE(test, 8 + 511 * 16, most);
	for (i = 0; i < 512; i++) {
		in.pfn = 7 * i;
		ferry_rdma_put_run(body + 8 + i * 16, &in);
	}
	m.nr_runs = 511;
	ferry_rdma_put_window(body, &m);
	KUNIT_ASSERT_EQ(test, decode_copy(test, decode_window, body, 8 + 511 * 16), 0);
	KUNIT_ASSERT_EQ(test, ferry_rdma_get_run(body, 510, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.pfn, 7 * 510);
	m.nr_runs = 512;
	ferry_rdma_put_window(body, &m);
	KUNIT_EXPECT_EQ(test, ferry_rdma_get_window(body, 8 + 512 * 16, &m, &why), -EPROTO);
	KUNIT_EXPECT_STREQ(test, why, "WANT's length does not match its number of runs");
	/* What a data channel sends as it is has room, too. */
	KUNIT_EXPECT_LE(test, FERRY_WIRE_HEADER_LEN + 8 + FERRY_WIRE_MAX_EXTENTS * 16, (int)most);
}

static void numbers(struct kunit *test)
{
	static const u8 want[8] = { 0x20 };
	static const struct poke pokes[] = {
		BAD("number", 0, 4, 0), GOOD("number", 0, 4, 1), GOOD("number", 0, 4, 31),
		BAD("number", 0, 4, 33), BAD("number", 0, 4, 0x10020), BAD("number", 0, 4, ~0u),
	};
	u32 number = 0;
	u8 buf[8];

	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_rdma_put_number(buf, 32), want);
	KUNIT_EXPECT_EQ(test, ferry_rdma_get_number(want, 8, 32, &number, NULL), 0);
	KUNIT_EXPECT_EQ(test, number, 32);
	CHECK_POKES(test, decode_number, want, pokes);
	check_reserved(test, decode_number, want, 8, 4, 8);
	check_lengths(test, decode_number, want, 8);
	/* The largest window; and when no credit can be due. */
	ferry_rdma_put_number(buf, 0x89abcdef);
	KUNIT_EXPECT_EQ(test, ferry_rdma_get_number(buf, 8, ~0u, &number, NULL), 0);
	KUNIT_EXPECT_EQ(test, number, 0x89abcdef);
	ferry_rdma_put_number(buf, 1);
	KUNIT_EXPECT_EQ(test, ferry_rdma_get_number(buf, 8, 0, &number, NULL), -EPROTO);
	ferry_rdma_put_number(buf, 0);
	KUNIT_EXPECT_EQ(test, ferry_rdma_get_number(buf, 8, 0, &number, NULL), -EPROTO);
}

static void grants(struct kunit *test)
{
	static const u8 want[16] = {
		0x34, 0x12, 0, 0, 0x98, 0xba, 0xdc, 0xfe,
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x91,
	};
	static const struct poke pokes[] = {
		BAD("id", 0, 4, 0), GOOD("id", 0, 4, 1), GOOD("id", 0, 4, 65535),
		BAD("id", 0, 4, 65536), BAD("id", 0, 4, ~0u), GOOD("rkey", 4, 4, 0),
		GOOD("rkey", 4, 4, ~0u), GOOD("addr", 8, 8, 0), GOOD("addr", 8, 8, ~0ULL),
	};
	const struct ferry_rdma_grant in = {
		.id = 0x1234, .rkey = 0xfedcba98, .addr = 0x9122334455667788,
	};
	struct ferry_rdma_grant out;
	u8 buf[16];

	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_rdma_put_grant(buf, &in), want);
	KUNIT_ASSERT_EQ(test, ferry_rdma_get_grant(want, 16, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.id, in.id);
	KUNIT_EXPECT_EQ(test, out.rkey, in.rkey);
	KUNIT_EXPECT_EQ(test, out.addr, in.addr);
	CHECK_POKES(test, decode_grant, want, pokes);
	check_lengths(test, decode_grant, want, 16);
}

static void requests(struct kunit *test)
{
	static const u8 want[28] = {
		'F', 'r', 'A', '1', 1, 0, 0x05, 0x80, 0x07, 0x90, 0, 0,
		0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
		0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
	};
	/* Index and number are for who knows the session, and the token is, too. */
	static const struct poke pokes[] = {
		BAD("version", 4, 2, 0), BAD("version", 4, 2, 2), BAD("version", 4, 2, 257),
		GOOD("index", 6, 2, 0), GOOD("index", 6, 2, 65535), GOOD("number", 8, 2, 0),
		GOOD("number", 8, 2, 65535), GOOD("token", 12, 8, 0), GOOD("token", 20, 8, ~0ULL),
	};
	struct ferry_rdma_request in = { .version = 1, .index = 0x8005, .nr_channels = 0x9007 }, out;
	const char *why = "";
	u8 buf[28];
	u32 bit;

	memcpy(in.token, want + 12, 16);
	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_rdma_put_request(buf, &in), want);
	memset(&out, 0, sizeof(out));
	KUNIT_ASSERT_EQ(test, ferry_rdma_get_request(want, 28, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.version, 1);
	KUNIT_EXPECT_EQ(test, out.index, in.index);
	KUNIT_EXPECT_EQ(test, out.nr_channels, in.nr_channels);
	KUNIT_EXPECT_EQ(test, memcmp(out.token, want + 12, 16), 0);
	CHECK_POKES(test, decode_request, want, pokes);
	check_reserved(test, decode_request, want, 28, 10, 12);
	check_padded(test, decode_request, want, 28);
	for (bit = 0; bit < 48; bit++) {
		buf[bit / 8] ^= 1 << bit % 8;
		KUNIT_EXPECT_EQ(test, decode_copy(test, decode_request, buf, 28), -EPROTO);
		ferry_rdma_get_request(buf, 28, &out, &why);
		KUNIT_EXPECT_STREQ(test, why, bit < 32 ? "the connection request is not kvm-ferry's" :
				   "the connection request is of another version");
		buf[bit / 8] ^= 1 << bit % 8;
	}
	/* The connection manager takes no more from its caller. */
	KUNIT_EXPECT_LE(test, FERRY_RDMA_REQUEST_LEN, 56);
	KUNIT_EXPECT_EQ(test, FERRY_RDMA_REQUEST_LEN, 28);
}

static void replies(struct kunit *test)
{
	static const u8 want[24] = {
		'F', 'r', 'A', '1', 1, 0, 0, 0, 0x78, 0x56, 0x34, 0x92, 0, 0, 0, 0,
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x91,
	};
	static const struct poke pokes[] = {
		BAD("version", 4, 2, 0), BAD("version", 4, 2, 2), BAD("version", 4, 2, 257),
		GOOD("whole", 6, 2, 1), BAD("whole", 6, 2, 2), BAD("whole", 6, 2, 0x101),
		BAD("window_pages", 8, 4, 0), GOOD("window_pages", 8, 4, 1),
		GOOD("window_pages", 8, 4, ~0u), BAD("pinned_pages", 16, 8, 0),
		BAD("pinned_pages", 16, 8, 1023), GOOD("pinned_pages", 16, 8, 1024),
		GOOD("pinned_pages", 16, 8, 1ULL << 32), GOOD("pinned_pages", 16, 8, ~0ULL),
	};
	struct ferry_rdma_reply in = {
		.version = 1, .window_pages = 0x92345678, .pinned_pages = 0x9122334455667788,
	};
	struct ferry_rdma_reply out;
	const char *why = "";
	u8 buf[24];
	u32 bit;

	in.whole = true;
	ferry_rdma_put_reply(buf, &in);
	KUNIT_ASSERT_EQ(test, ferry_rdma_get_reply(buf, 24, &out, NULL), 0);
	KUNIT_EXPECT_TRUE(test, out.whole);
	in.whole = false;
	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_rdma_put_reply(buf, &in), want);
	KUNIT_ASSERT_EQ(test, ferry_rdma_get_reply(want, 24, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.version, 1);
	KUNIT_EXPECT_EQ(test, out.window_pages, in.window_pages);
	KUNIT_EXPECT_EQ(test, out.pinned_pages, in.pinned_pages);
	CHECK_POKES(test, decode_reply, want, pokes);
	KUNIT_EXPECT_FALSE(test, out.whole);
	check_reserved(test, decode_reply, want, 24, 7, 8);
	check_reserved(test, decode_reply, want, 24, 12, 16);
	check_padded(test, decode_reply, want, 24);
	for (bit = 0; bit < 48; bit++) {
		buf[bit / 8] ^= 1 << bit % 8;
		KUNIT_EXPECT_EQ(test, decode_copy(test, decode_reply, buf, 24), -EPROTO);
		ferry_rdma_get_reply(buf, 24, &out, &why);
		KUNIT_EXPECT_STREQ(test, why, bit < 32 ?
				   "the answer to the connection request is not kvm-ferry's" :
				   "the answer to the connection request is of another version");
		buf[bit / 8] ^= 1 << bit % 8;
	}
	poke_bytes(buf + 8, 4, 0);
	ferry_rdma_get_reply(buf, 24, &out, &why);
	KUNIT_EXPECT_STREQ(test, why, "the sink offers windows that are too small");
	/* No more has room, and no more pages than two batches may be asked for. */
	KUNIT_EXPECT_EQ(test, FERRY_RDMA_REPLY_LEN, 24);
	KUNIT_EXPECT_EQ(test, FERRY_RDMA_MIN_PINNED, 1024);
}

static void refusals(struct kunit *test)
{
	static const u8 want[8] = { 'F', 'r', 'A', '1', 0x04, 0x03, 0x02, 0x81 };
	static const char none[] = "it gave no reason of ours";
	u8 buf[64];
	u32 why, other, bit;
	size_t n;

	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_rdma_put_refusal(buf, 0x81020304), want);
	KUNIT_EXPECT_EQ(test, ferry_rdma_get_refusal(want, 8), 0x81020304);
	for (n = 0; n <= sizeof(buf); n++)
		KUNIT_EXPECT_EQ(test, ferry_rdma_get_refusal(buf, n), n < 8 ? 0 : 0x81020304);
	KUNIT_EXPECT_EQ(test, ferry_rdma_get_refusal(NULL, 0), 0);
	KUNIT_EXPECT_EQ(test, ferry_rdma_get_refusal(NULL, 8), 0);
	for (bit = 0; bit < 32; bit++) {
		buf[bit / 8] ^= 1 << bit % 8;
		KUNIT_EXPECT_EQ(test, ferry_rdma_get_refusal(buf, 8), 0);
		buf[bit / 8] ^= 1 << bit % 8;
	}
	/* Each reason has a sentence of its own, whatever the peer says else has one. */
	for (why = 1; why <= 5; why++)
		for (other = 0; other < why; other++)
			KUNIT_EXPECT_TRUE(test, strcmp(ferry_rdma_refusal_text(why),
						       ferry_rdma_refusal_text(other)));
	KUNIT_EXPECT_EQ(test, FERRY_RDMA_REFUSED_ENDED, 5);
	KUNIT_EXPECT_STREQ(test, ferry_rdma_refusal_text(FERRY_RDMA_REFUSED_TOKEN),
			   "it belongs to another migration: its token is not ours");
	KUNIT_EXPECT_STREQ(test, ferry_rdma_refusal_text(0), none);
	KUNIT_EXPECT_STREQ(test, ferry_rdma_refusal_text(6), none);
	KUNIT_EXPECT_STREQ(test, ferry_rdma_refusal_text(7), none);
	KUNIT_EXPECT_STREQ(test, ferry_rdma_refusal_text(~0u), none);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(header_bytes),
	KUNIT_CASE(header_kinds),
	KUNIT_CASE(header_lengths),
	KUNIT_CASE(window_round_trip),
	KUNIT_CASE(window_fields),
	KUNIT_CASE(window_largest),
	KUNIT_CASE(numbers),
	KUNIT_CASE(grants),
	KUNIT_CASE(requests),
	KUNIT_CASE(replies),
	KUNIT_CASE(refusals),
	{}
};

static struct kunit_suite suite = {
	.name = "ferry_rdma_wire",
	.test_cases = cases,
};
kunit_test_suite(suite);
