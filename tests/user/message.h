/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * First messages of a source, written down from docs/protocol.md and not from
 * libferry's own idea of them.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdint.h>
#include <string.h>

#define HELLO_BYTES	(16 + 80 + 56)	/* with one region */
#define CHANNEL_BYTES	(16 + 24)

static inline void put16(uint8_t *p, unsigned int v)
{
	p[0] = v & 0xff;
	p[1] = v >> 8;
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v & 0xffff);
	put16(p + 2, v >> 16);
}

static inline void put_header(uint8_t *p, unsigned int type, uint32_t length)
{
	memset(p, 0, 16);
	memcpy(p, "FrY1", 4);
	put16(p + 4, type);
	put32(p + 8, length);
}

static inline void make_hello(uint8_t *p, uint8_t token, unsigned int nr_data)
{
	memset(p, 0, HELLO_BYTES);
	put_header(p, 1, HELLO_BYTES - 16);
	put16(p + 16, 1);
	put16(p + 18, 1);
	put32(p + 20, 12);
	memset(p + 32, token, 16);
	put16(p + 48, nr_data);
	put16(p + 50, 1);
	put32(p + 52, 10000);
	/* its region: id 0, 1 MiB, "ram" */
	put32(p + 96 + 8, 1 << 20);
	memcpy(p + 96 + 24, "ram", 3);
}

static inline void make_channel(uint8_t *p, uint8_t token, unsigned int index,
				unsigned int nr_data)
{
	memset(p, 0, CHANNEL_BYTES);
	put_header(p, 3, CHANNEL_BYTES - 16);
	memset(p + 16, token, 16);
	put16(p + 32, index);
	put16(p + 34, nr_data);
}

#endif /* MESSAGE_H */
