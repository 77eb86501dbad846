/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the test guest paints: what screen.c does, and tests/qemu/screencheck checks.
 *
 * The screen is divided into bands of lines, and a frame paints every eighth of them:
 * what is seen after a frame comes from that one and the seven before it, each of
 * which has its own pages, so an update that is missed shows.
 */
#ifndef GUEST_SCREEN_H
#define GUEST_SCREEN_H

#include <stdbool.h>
#include <stdint.h>
#include "mix.h"

#define SCREEN_BAND	16	/* lines: more than a page */
#define SCREEN_TURNS	8	/* frames that it takes to paint all; a power of two */

/* Does this frame paint line @y? */
static inline bool screen_paints(uint64_t frame, unsigned int y)
{
	return y / SCREEN_BAND % SCREEN_TURNS == frame % SCREEN_TURNS;
}

/* The last frame that painted line @y, after @frame; there were SCREEN_TURNS already. */
static inline uint64_t screen_painter(uint64_t frame, unsigned int y)
{
	return frame - (frame - y / SCREEN_BAND) % SCREEN_TURNS;
}

static inline uint64_t screen_line(uint64_t frame, unsigned int y)
{
	return mix(frame << 16 | y);
}

/* 15 bits: red, green and blue, five each. */
static inline uint16_t screen_pixel(uint64_t line, unsigned int x)
{
	return (line + x * 0xd1342543de82ef95ULL) >> 49;
}

#endif /* GUEST_SCREEN_H */
