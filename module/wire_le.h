/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the two halves of the wire codec share; nobody else includes this.
 *
 * Integers are put together byte by byte: a body need not be aligned, no
 * kernel's idea of an unaligned helper is needed, and the compiler makes one
 * load or store of it.
 */
#ifndef FERRY_WIRE_LE_H
#define FERRY_WIRE_LE_H

#include <linux/errno.h>
#include <linux/types.h>

#define PAGE_LEN		4096
#define MAX_REGION_LEN		(1ULL << 52)

/* Fixed parts of the bodies that wire.h has no constant for. */
#define BATCH_LEN		8
#define PASS_LEN		16
#define DIGEST_LEN		16
#define VERIFY_RESULT_LEN	16
#define STATE_LEN		8
#define ABORT_LEN		8
#define ECHO_LEN		8
#define HELLO_ACK_LEN		16
#define CHANNEL_LEN		24

static inline void put16(u8 *p, u16 v)
{
	p[0] = v & 0xff;
	p[1] = v >> 8;
}

static inline void put32(u8 *p, u32 v)
{
	put16(p, v & 0xffff);
	put16(p + 2, v >> 16);
}

static inline void put64(u8 *p, u64 v)
{
	put32(p, v & 0xffffffff);
	put32(p + 4, v >> 32);
}

static inline u16 get16(const u8 *p)
{
	return p[0] | p[1] << 8;
}

static inline u32 get32(const u8 *p)
{
	return get16(p) | (u32)get16(p + 2) << 16;
}

static inline u64 get64(const u8 *p)
{
	return get32(p) | (u64)get32(p + 4) << 32;
}

static inline int bad(const char **why, const char *phrase)
{
	if (why)
		*why = phrase;
	return -EPROTO;
}

/* Whether a message of @type, which must be a known one, may have such a body. */
bool ferry_wire_length_fits(u16 type, size_t len);

#endif /* FERRY_WIRE_LE_H */
