// SPDX-License-Identifier: GPL-2.0-only
/*
 * The wire codec: the bodies of all messages but HELLO. Bytes are written out
 * here as docs/protocol.md has them.
 */
#include "wire_kunit.h"

/* The decoders, as the poke tables want them. */
static int decode_ack(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_hello_ack m;

	return ferry_wire_get_hello_ack(body, len, &m, why);
}

static int decode_channel(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_channel m;

	return ferry_wire_get_channel(body, len, &m, why);
}

static int decode_batch(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_batch m;

	return ferry_wire_get_batch(body, len, &m, why);
}

static int decode_extent1(const u8 *body, size_t len, const char **why)
{
	struct ferry_extent m;

	return ferry_wire_get_extent(body, len, 1, &m, why);
}

static int decode_fence(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_pass m;

	return ferry_wire_get_pass(body, len, FERRY_MSG_FENCE, &m, why);
}

static int decode_fence_ack(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_pass m;

	return ferry_wire_get_pass(body, len, FERRY_MSG_FENCE_ACK, &m, why);
}

static int decode_pass(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_pass m;

	return ferry_wire_get_pass(body, len, FERRY_MSG_PASS, &m, why);
}

static int decode_final(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_pass m;

	return ferry_wire_get_pass(body, len, FERRY_MSG_FINAL, &m, why);
}

static int decode_digest(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_digest m;

	return ferry_wire_get_digest(body, len, &m, why);
}

static int decode_result(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_verify_result m;

	return ferry_wire_get_verify_result(body, len, &m, why);
}

static int decode_mismatch1(const u8 *body, size_t len, const char **why)
{
	struct ferry_extent m;

	return ferry_wire_get_mismatch(body, len, 1, &m, why);
}

static int decode_state(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_state m;

	return ferry_wire_get_state(body, len, &m, why);
}

static int decode_abort(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_abort m;

	return ferry_wire_get_abort(body, len, &m, why);
}

static int decode_echo(const u8 *body, size_t len, const char **why)
{
	struct ferry_msg_echo m;

	return ferry_wire_get_echo(body, len, &m, why);
}

static void hello_ack(struct kunit *test)
{
	static const u8 want[16] = { 2, 1, [8] = 1, 0, 0, 0, 0, 0, 0, 0x40 };
	static const struct poke pokes[] = {
		BAD("version", 0, 2, 0), GOOD("version", 0, 2, 1), GOOD("version", 0, 2, 65535),
		GOOD("features", 8, 8, 0), GOOD("features", 8, 8, ~0ULL),
	};
	const struct ferry_msg_hello_ack in = { .version = 258, .features = 0x4000000000000001 };
	struct ferry_msg_hello_ack out;
	u8 buf[16];

	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_wire_put_hello_ack(buf, &in), want);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_hello_ack(want, 16, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.version, 258);
	KUNIT_EXPECT_EQ(test, out.features, 0x4000000000000001);
	CHECK_POKES(test, decode_ack, want, pokes);
	check_reserved(test, decode_ack, want, 16, 2, 8);
	check_lengths(test, decode_ack, want, 16);
}

static void channel(struct kunit *test)
{
	static const u8 want[24] = {
		1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, [16] = 3, 0, 4, 0,
	};
	static const struct poke pokes[] = {
		GOOD("index", 16, 2, 0), BAD("index", 16, 2, 4), BAD("index", 16, 2, 16),
		BAD("index", 16, 2, 0x100), GOOD("index, nr", 16, 4, 15 | 16 << 16),
		BAD("index, nr", 16, 4, 16 | 17 << 16), BAD("index, nr", 16, 4, 0),
		BAD("nr_channels", 18, 2, 0), BAD("nr_channels", 18, 2, 3),
		GOOD("nr_channels", 18, 2, 16), BAD("nr_channels", 18, 2, 17),
		BAD("nr_channels", 18, 2, 65535), GOOD("token", 0, 8, 0),
	};
	const struct ferry_msg_channel in = {
		.token = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
		.index = 3, .nr_channels = 4,
	};
	struct ferry_msg_channel out;
	u8 buf[24];

	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_wire_put_channel(buf, &in), want);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_channel(want, 24, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, memcmp(out.token, in.token, 16), 0);
	KUNIT_EXPECT_EQ(test, out.index, 3);
	KUNIT_EXPECT_EQ(test, out.nr_channels, 4);
	CHECK_POKES(test, decode_channel, want, pokes);
	check_reserved(test, decode_channel, want, 24, 20, 24);
	check_lengths(test, decode_channel, want, 24);
}

/* Pass 9: 3 data pages at page 0x0102030405 of region 7, 2^30 zero pages of region 255. */
static const u8 batch_bytes[40] = {
	[0] = 2, 0, 0, 0, 9, 0, 0, 0,
	[8] = 5, 4, 3, 2, 1, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0,
	[24] = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0xff, 0, 1, 0,
};

static void batch_round_trip(struct kunit *test)
{
	const struct ferry_msg_batch in = { .nr_extents = 2, .pass = 9 };
	const struct ferry_extent e[2] = {
		{ .pfn = 0x0102030405, .nr_pages = 3, .region = 7, .kind = FERRY_EXTENT_DATA },
		{ .pfn = 0, .nr_pages = 1 << 30, .region = 255, .kind = FERRY_EXTENT_ZERO },
	};
	struct ferry_msg_batch out;
	struct ferry_extent e_out;
	u8 buf[40];
	size_t n;
	int i;

	memset(buf, 0xff, sizeof(buf));
	n = ferry_wire_put_batch(buf, &in);
	n += ferry_wire_put_extent(buf + n, &e[0]);
	n += ferry_wire_put_extent(buf + n, &e[1]);
	CHECK_BYTES(test, buf, n, batch_bytes);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_batch(batch_bytes, 40, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.nr_extents, 2);
	KUNIT_EXPECT_EQ(test, out.pass, 9);
	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test, ferry_wire_get_extent(batch_bytes, 40, i, &e_out, NULL), 0);
		KUNIT_EXPECT_EQ(test, e_out.pfn, e[i].pfn);
		KUNIT_EXPECT_EQ(test, e_out.nr_pages, e[i].nr_pages);
		KUNIT_EXPECT_EQ(test, e_out.region, e[i].region);
		KUNIT_EXPECT_EQ(test, e_out.kind, e[i].kind);
	}
	KUNIT_EXPECT_EQ(test, ferry_wire_get_extent(batch_bytes, 40, 2, &e_out, NULL), -EPROTO);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_extent(batch_bytes, 40, ~0u, &e_out, NULL), -EPROTO);
}

static void batch_fields(struct kunit *test)
{
	static const struct poke pokes[] = {
		BAD("nr_extents", 0, 4, 0), BAD("nr_extents", 0, 4, 1), BAD("nr_extents", 0, 4, 3),
		BAD("nr_extents", 0, 4, 257), BAD("nr_extents", 0, 4, 0x10000002),
		BAD("pass", 4, 4, 0), GOOD("pass", 4, 4, 1), GOOD("pass", 4, 4, ~0u),
		/* the batch's own sum: first extent's data alone */
		GOOD("data pages", 16, 4, 512), BAD("data pages", 16, 4, 513),
	};
	/* Of the second extent, seen by its own decoder and by the batch's. */
	static const struct poke extent_pokes[] = {
		BAD("kind", 38, 2, 2), BAD("kind", 38, 2, 0x100), BAD("kind", 38, 2, 65535),
		BAD("region", 36, 2, 256), BAD("region", 36, 2, 65535), GOOD("region", 36, 2, 0),
		BAD("zero pages", 32, 4, 0), GOOD("zero pages", 32, 4, 1),
		BAD("zero pages", 32, 4, (1 << 30) + 1), BAD("zero pages", 32, 4, ~0u),
		GOOD("pfn", 24, 8, (1ULL << 40) - (1 << 30)),
		BAD("pfn", 24, 8, (1ULL << 40) - (1 << 30) + 1),
		BAD("pfn", 24, 8, 1ULL << 40), BAD("pfn", 24, 8, (1ULL << 40) + 1),
		BAD("pfn", 24, 8, ~0ULL), BAD("pfn", 24, 8, -(1ULL << 30)),
		BAD("2^30 data pages", 38, 2, 0),
	};

	CHECK_POKES(test, decode_batch, batch_bytes, pokes);
	CHECK_POKES(test, decode_batch, batch_bytes, extent_pokes);
	CHECK_POKES(test, decode_extent1, batch_bytes, extent_pokes);
	check_lengths(test, decode_batch, batch_bytes, 40);
}

/* As many extents as there can be; each is right, their sum is at the edge. */
static void batch_sums(struct kunit *test)
{
	const size_t len = 8 + 256 * 16;
	struct ferry_msg_batch m = { .nr_extents = 256, .pass = 1 }, out;
	struct ferry_extent e = { .nr_pages = 2 }, e_out;
	u8 *body = kunit_kzalloc(test, len + 16, GFP_KERNEL);
	const char *why = "";
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, body);
	ferry_wire_put_batch(body, &m);
	for (i = 0; i < 257; i++) {
		e.pfn = i;
		ferry_wire_put_extent(body + 8 + i * 16, &e);
	}
	KUNIT_EXPECT_EQ(test, ferry_wire_get_batch(body, len, &out, NULL), 0);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_extent(body, len, 255, &e_out, NULL), 0);
	KUNIT_EXPECT_EQ(test, e_out.pfn, 255);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_extent(body, len, 256, &e_out, NULL), -EPROTO);

	/* 512 data pages so far: one more is one too many, a zero page is not. */
	poke_bytes(body + 8 + 255 * 16 + 8, 4, 3);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_batch(body, len, &out, &why), -EPROTO);
	KUNIT_EXPECT_STREQ(test, why, "BATCH has too many data pages");
	KUNIT_EXPECT_EQ(test, ferry_wire_get_extent(body, len, 255, &e_out, NULL), 0);
	poke_bytes(body + 8 + 255 * 16 + 14, 2, FERRY_EXTENT_ZERO);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_batch(body, len, &out, NULL), 0);

	/* A wrong extent anywhere spoils the batch. */
	poke_bytes(body + 8 + 128 * 16 + 8, 4, 0);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_batch(body, len, &out, &why), -EPROTO);
	KUNIT_EXPECT_STREQ(test, why, "extent is empty");

	poke_bytes(body, 4, 257);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_batch(body, len + 16, &out, NULL), -EPROTO);
}

static void pass_messages(struct kunit *test)
{
	static const u8 want[16] = { 1, 2, 3, 4, [8] = 8, 7, 6, 5, 4, 3, 2, 1 };
	static const u8 bare[16] = { 1 };
	static const struct poke none[] = {	/* FENCE, FINAL */
		BAD("pass", 0, 4, 0), GOOD("pass", 0, 4, ~0u), BAD("channel", 4, 2, 1),
		BAD("channel", 4, 2, 0x100), BAD("pages", 8, 8, 1), BAD("pages", 8, 8, 1ULL << 63),
	};
	static const struct poke pages[] = {	/* PASS */
		BAD("pass", 0, 4, 0), GOOD("pass", 0, 4, 0x80000000), BAD("channel", 4, 2, 1),
		BAD("channel", 4, 2, 0x100), GOOD("pages", 8, 8, 1), GOOD("pages", 8, 8, ~0ULL),
	};
	static const struct poke acked[] = {	/* FENCE_ACK */
		BAD("pass", 0, 4, 0), GOOD("channel", 4, 2, 15), BAD("channel", 4, 2, 16),
		BAD("channel", 4, 2, 0x100), BAD("pages", 8, 8, 1), BAD("pages", 8, 8, 1ULL << 63),
	};
	const struct ferry_msg_pass in = { .pass = 0x04030201, .pages = 0x0102030405060708 };
	const struct ferry_msg_pass ack = { .pass = 1, .channel = 15 };
	struct ferry_msg_pass out;
	u8 buf[16];

	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_wire_put_pass(buf, &in), want);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_pass(want, 16, FERRY_MSG_PASS, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.pass, 0x04030201);
	KUNIT_EXPECT_EQ(test, out.channel, 0);
	KUNIT_EXPECT_EQ(test, out.pages, 0x0102030405060708);

	ferry_wire_put_pass(buf, &ack);
	KUNIT_EXPECT_EQ(test, buf[4], 15);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_pass(buf, 16, FERRY_MSG_FENCE_ACK, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.channel, 15);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_pass(buf, 16, FERRY_MSG_PASS, &out, NULL), -EPROTO);

	CHECK_POKES(test, decode_fence, bare, none);
	CHECK_POKES(test, decode_final, bare, none);
	CHECK_POKES(test, decode_pass, bare, pages);
	CHECK_POKES(test, decode_fence_ack, bare, acked);
	check_reserved(test, decode_fence, bare, 16, 4, 16);
	check_reserved(test, decode_final, bare, 16, 4, 16);
	check_reserved(test, decode_pass, bare, 16, 4, 8);
	check_reserved(test, decode_fence_ack, bare, 16, 6, 16);
	check_lengths(test, decode_fence, bare, 16);
	check_lengths(test, decode_final, bare, 16);
	check_lengths(test, decode_pass, bare, 16);
	check_lengths(test, decode_fence_ack, bare, 16);
}

static void digest(struct kunit *test)
{
	static const u8 want[32] = {
		[0] = 255, 0, 0, 0, 2, 0, 0, 0, 0xfe, 0xff, 0xff, 0x7f, 0, 0, 0, 0,
		[16] = 1, 2, 3, 4, 5, 6, 7, 8, [24] = 0xff, 0, 0, 0, 0, 0, 0, 0x80,
	};
	static const struct poke pokes[] = {
		GOOD("region", 0, 2, 0), BAD("region", 0, 2, 256), BAD("region", 0, 2, 65535),
		BAD("count", 4, 4, 0), BAD("count", 4, 4, 1), BAD("count", 4, 4, 3),
		BAD("count", 4, 4, 0x20000002), GOOD("first", 8, 8, 0),
		BAD("first", 8, 8, 0x7fffffff), BAD("first", 8, 8, 0x80000000),
		BAD("first", 8, 8, ~0ULL), BAD("first", 8, 8, -2ULL),
	};
	const struct ferry_msg_digest in = { .region = 255, .count = 2, .first = 0x7ffffffe };
	struct ferry_msg_digest out;
	const size_t max = 16 + 2048 * 8;
	u8 *body = kunit_kzalloc(test, max + 8, GFP_KERNEL);
	u8 buf[32];
	size_t n;

	memset(buf, 0xff, sizeof(buf));
	n = ferry_wire_put_digest(buf, &in);
	n += ferry_wire_put_digest_value(buf, 0, 0x0807060504030201);
	n += ferry_wire_put_digest_value(buf, 1, 0x80000000000000ff);
	CHECK_BYTES(test, buf, n, want);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_digest(want, 32, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.region, 255);
	KUNIT_EXPECT_EQ(test, out.count, 2);
	KUNIT_EXPECT_EQ(test, out.first, 0x7ffffffe);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_digest_value(want, 0), 0x0807060504030201);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_digest_value(want, 1), 0x80000000000000ff);
	CHECK_POKES(test, decode_digest, want, pokes);
	check_reserved(test, decode_digest, want, 32, 2, 4);
	check_lengths(test, decode_digest, want, 32);

	KUNIT_ASSERT_NOT_NULL(test, body);
	poke_bytes(body + 4, 4, 2048);
	ferry_wire_put_digest_value(body, 2047, 77);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_digest(body, max, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_digest_value(body, 2047), 77);
	poke_bytes(body + 4, 4, 2049);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_digest(body, max + 8, &out, NULL), -EPROTO);
}

static void verify_result(struct kunit *test)
{
	static const u8 none[16] = { [8] = 1, 2, 3, 4, 5, 6, 7, 8 };
	static const u8 two[48] = {
		[0] = 2, 0, 0, 0, 5, 0, 0, 0,
		[16] = 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0,
		[32] = 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 2, 0, 0, 0,
	};
	static const struct poke none_pokes[] = {
		BAD("total_bad", 4, 4, 1), BAD("nr_bad", 0, 4, 1), GOOD("digest", 8, 8, 0),
	};
	static const struct poke two_pokes[] = {
		BAD("nr_bad", 0, 4, 0), BAD("nr_bad", 0, 4, 1), BAD("nr_bad", 0, 4, 3),
		BAD("nr_bad", 0, 4, 0x10000002), BAD("total_bad", 4, 4, 0),
		BAD("total_bad", 4, 4, 1), GOOD("total_bad", 4, 4, 2), GOOD("total_bad", 4, 4, ~0u),
	};
	static const struct poke range_pokes[] = {
		BAD("kind", 46, 2, 1), BAD("kind", 46, 2, 2), BAD("pages", 40, 4, 0),
		GOOD("pages", 40, 4, 1), BAD("pages", 40, 4, (1 << 30) + 1),
		BAD("region", 44, 2, 256), BAD("pfn", 32, 8, (1ULL << 40) - (1 << 30) + 1),
	};
	struct ferry_msg_verify_result in = { .digest = 0x0807060504030201 }, out;
	struct ferry_extent e;
	u8 buf[16 + 17 * 16];
	int i;

	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_wire_put_verify_result(buf, &in), none);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_verify_result(none, 16, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.digest, 0x0807060504030201);
	KUNIT_EXPECT_EQ(test, out.nr_bad, 0);
	CHECK_POKES(test, decode_result, none, none_pokes);

	KUNIT_ASSERT_EQ(test, ferry_wire_get_verify_result(two, 48, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.nr_bad, 2);
	KUNIT_EXPECT_EQ(test, out.total_bad, 5);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_mismatch(two, 48, 1, &e, NULL), 0);
	KUNIT_EXPECT_EQ(test, e.pfn, 1024);
	KUNIT_EXPECT_EQ(test, e.nr_pages, 1 << 30);
	KUNIT_EXPECT_EQ(test, e.region, 2);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_mismatch(two, 48, 2, &e, NULL), -EPROTO);
	CHECK_POKES(test, decode_result, two, two_pokes);
	CHECK_POKES(test, decode_mismatch1, two, range_pokes);
	check_lengths(test, decode_result, two, 48);

	in.nr_bad = 16;
	in.total_bad = 16;
	ferry_wire_put_verify_result(buf, &in);
	for (i = 0; i < 17; i++)
		memcpy(buf + 16 + i * 16, two + 16, 16);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_verify_result(buf, 16 + 16 * 16, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_mismatch(buf, 16 + 16 * 16, 15, &e, NULL), 0);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_mismatch(buf, 16 + 16 * 16, 16, &e, NULL), -EPROTO);
	poke_bytes(buf, 4, 17);
	poke_bytes(buf + 4, 4, 17);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_verify_result(buf, sizeof(buf), &out, NULL), -EPROTO);
}

static void state(struct kunit *test)
{
	static const u8 want[11] = { 1, 0, 0, 0, 3, 0, 0, 0, 'a', 0, 'b' };
	static const u8 last[8] = { 1 };
	static const struct poke pokes[] = {
		GOOD("flags", 0, 4, 0), BAD("flags", 0, 4, 2), BAD("flags", 0, 4, 3),
		BAD("flags", 0, 4, 1u << 31), BAD("length", 4, 4, 0), BAD("length", 4, 4, 2),
		BAD("length", 4, 4, 4), BAD("length", 4, 4, ~0u),
	};
	static const struct poke last_pokes[] = { BAD("flags", 0, 4, 0), BAD("length", 4, 4, 1) };
	const struct ferry_msg_state in = { .flags = FERRY_WIRE_STATE_LAST, .length = 3 };
	struct ferry_msg_state out;
	const size_t max = 8 + 32768;
	u8 *body = kunit_kzalloc(test, max + 1, GFP_KERNEL);
	u8 buf[8];

	memset(buf, 0xff, sizeof(buf));
	KUNIT_EXPECT_EQ(test, ferry_wire_put_state(buf, &in), 8);
	KUNIT_EXPECT_EQ(test, memcmp(buf, want, 8), 0);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_state(want, 11, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.flags, FERRY_WIRE_STATE_LAST);
	KUNIT_EXPECT_EQ(test, out.length, 3);
	CHECK_POKES(test, decode_state, want, pokes);
	check_lengths(test, decode_state, want, 11);
	CHECK_POKES(test, decode_state, last, last_pokes);
	check_lengths(test, decode_state, last, 8);

	KUNIT_ASSERT_NOT_NULL(test, body);
	poke_bytes(body + 4, 4, 32768);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_state(body, max, &out, NULL), 0);
	poke_bytes(body + 4, 4, 32769);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_state(body, max + 1, &out, NULL), -EPROTO);
}

static void abort_message(struct kunit *test)
{
	static const u8 want[12] = { 0x5f, 0, 0, 0, 4, 0, 0, 0, 'd', 'o', 'n', 'e' };
	static const struct poke pokes[] = {
		BAD("error", 0, 4, 0), GOOD("error", 0, 4, 1), GOOD("error", 0, 4, 4095),
		BAD("error", 0, 4, 4096), BAD("error", 0, 4, ~0u), BAD("length", 4, 4, 3),
		BAD("length", 4, 4, 5), BAD("length", 4, 4, ~0u), BAD("length", 4, 4, 0),
	};
	static const u8 plain[8] = { 1 };
	struct ferry_msg_abort in = { .error = 95, .length = 4, .reason = "done" };
	struct ferry_msg_abort out;
	u8 buf[8 + 256];
	int i;

	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_wire_put_abort(buf, &in), want);
	memset(&out, 0xff, sizeof(out));
	KUNIT_ASSERT_EQ(test, ferry_wire_get_abort(want, 12, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.error, 95);
	KUNIT_EXPECT_EQ(test, out.length, 4);
	KUNIT_EXPECT_STREQ(test, out.reason, "done");
	CHECK_POKES(test, decode_abort, want, pokes);
	check_lengths(test, decode_abort, want, 12);
	KUNIT_EXPECT_EQ(test, decode_copy(test, decode_abort, plain, 8), 0);

	/* The longest reason; what is not printable comes out as a '?'. */
	poke_bytes(buf, 4, 1);
	poke_bytes(buf + 4, 4, 255);
	for (i = 0; i < 255; i++)
		buf[8 + i] = i;
	memset(&out, 0xff, sizeof(out));
	KUNIT_ASSERT_EQ(test, ferry_wire_get_abort(buf, 8 + 255, &out, NULL), 0);
	for (i = 0; i < 255; i++)
		KUNIT_EXPECT_EQ(test, out.reason[i], i >= ' ' && i <= '~' ? i : '?');
	KUNIT_EXPECT_EQ(test, out.reason[255], '\0');
	poke_bytes(buf + 4, 4, 256);
	KUNIT_EXPECT_EQ(test, ferry_wire_get_abort(buf, 8 + 256, &out, NULL), -EPROTO);
}

static void echo(struct kunit *test)
{
	static const u8 want[8] = { 0x04, 0x03, 0x02, 0x81 };
	static const struct poke pokes[] = {
		BAD("number", 0, 4, 0), GOOD("number", 0, 4, 1), GOOD("number", 0, 4, ~0u),
	};
	const struct ferry_msg_echo in = { .number = 0x81020304 };
	struct ferry_msg_echo out;
	u8 buf[8];

	memset(buf, 0xff, sizeof(buf));
	CHECK_BYTES(test, buf, ferry_wire_put_echo(buf, &in), want);
	KUNIT_ASSERT_EQ(test, ferry_wire_get_echo(want, 8, &out, NULL), 0);
	KUNIT_EXPECT_EQ(test, out.number, 0x81020304);
	CHECK_POKES(test, decode_echo, want, pokes);
	check_reserved(test, decode_echo, want, 8, 4, 8);
	check_lengths(test, decode_echo, want, 8);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(hello_ack),
	KUNIT_CASE(channel),
	KUNIT_CASE(batch_round_trip),
	KUNIT_CASE(batch_fields),
	KUNIT_CASE(batch_sums),
	KUNIT_CASE(pass_messages),
	KUNIT_CASE(digest),
	KUNIT_CASE(verify_result),
	KUNIT_CASE(state),
	KUNIT_CASE(abort_message),
	KUNIT_CASE(echo),
	{}
};

static struct kunit_suite suite = {
	.name = "ferry_wire_body",
	.test_cases = cases,
};
kunit_test_suite(suite);
