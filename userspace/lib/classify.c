// SPDX-License-Identifier: LGPL-2.1-only
/*
 * Which channel a connection is, from the first bytes of its first message.
 * docs/protocol.md has the layout. Everything here is untrusted.
 *
 * Only what is needed to tell connections apart is judged here. Faults that the
 * module can answer with a reason to the peer (another version, other regions)
 * are left to the module.
 */
#include <string.h>

#include "internal.h"

#define MAGIC		0x31597246u	/* "FrY1" */
#define HEADER_LEN	16
#define MSG_HELLO	1
#define MSG_CHANNEL	3
#define HELLO_LEN	80
#define REGION_LEN	56
#define CHANNEL_LEN	24

static uint32_t le16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static uint32_t le32(const uint8_t *p)
{
	return le16(p) | le16(p + 2) << 16;
}

static int fault(const char **why, const char *phrase)
{
	if (why)
		*why = phrase;
	return ferry_fail(EPROTO, "the connection does not begin as a kvm-ferry source's: %s",
			  phrase);
}

static int classify_hello(const uint8_t *body, size_t have, uint32_t length,
			  struct ferry_first_message *out, const char **why)
{
	uint32_t regions;

	if (length < HELLO_LEN + REGION_LEN ||
	    length > HELLO_LEN + KVM_FERRY_MAX_REGIONS * REGION_LEN)
		return fault(why, "HELLO has a wrong length");
	if (have < HELLO_LEN)
		return -EAGAIN;
	out->kind = KVM_FERRY_CHANNEL_CONTROL;
	out->version_min = le16(body);
	out->version = le16(body + 2);
	memcpy(out->token, body + 16, sizeof(out->token));
	out->nr_data = le16(body + 32);
	regions = le16(body + 34);
	if (!out->version_min || out->version < out->version_min)
		return fault(why, "HELLO has impossible versions");
	if (!out->nr_data || out->nr_data > KVM_FERRY_MAX_DATA_CHANNELS)
		return fault(why, "HELLO has an impossible number of channels");
	if (length != HELLO_LEN + regions * REGION_LEN)
		return fault(why, "HELLO's length is not that of its regions");
	return 0;
}

static int classify_channel(const uint8_t *body, size_t have, uint32_t length,
			    struct ferry_first_message *out, const char **why)
{
	if (length != CHANNEL_LEN)
		return fault(why, "CHANNEL has a wrong length");
	if (have < CHANNEL_LEN)
		return -EAGAIN;
	out->kind = KVM_FERRY_CHANNEL_DATA;
	memcpy(out->token, body, sizeof(out->token));
	out->index = le16(body + 16);
	out->nr_data = le16(body + 18);
	if (!out->nr_data || out->nr_data > KVM_FERRY_MAX_DATA_CHANNELS)
		return fault(why, "CHANNEL has an impossible number of channels");
	if (out->index >= out->nr_data)
		return fault(why, "CHANNEL's index is beyond its number of channels");
	if (le32(body + 20))
		return fault(why, "CHANNEL's reserved field is not zero");
	return 0;
}

int ferry_classify(const void *bytes, size_t length, struct ferry_first_message *out,
		   const char **why)
{
	const uint8_t *p = bytes;
	uint8_t magic[4] = { MAGIC & 0xff, MAGIC >> 8 & 0xff, MAGIC >> 16 & 0xff, MAGIC >> 24 };
	uint32_t type, body_length;

	memset(out, 0, sizeof(*out));
	/* Garbage is told from the first bytes on, not when enough of it is here. */
	if (memcmp(p, magic, length < sizeof(magic) ? length : sizeof(magic)))
		return fault(why, "wrong magic number");
	if (length < HEADER_LEN)
		return -EAGAIN;
	type = le16(p + 4);
	body_length = le32(p + 8);
	if (type != MSG_HELLO && type != MSG_CHANNEL)
		return fault(why, "the first message is neither HELLO nor CHANNEL");
	if (le16(p + 6))
		return fault(why, "the header's reserved field is not zero");
	if (le32(p + 12))
		return fault(why, "the first message's number is not 0");
	if (type == MSG_HELLO)
		return classify_hello(p + HEADER_LEN, length - HEADER_LEN, body_length, out, why);
	return classify_channel(p + HEADER_LEN, length - HEADER_LEN, body_length, out, why);
}
