/* SPDX-License-Identifier: GPL-2.0-only */
/* A number that is like chance, and follows from another one. */
#ifndef GUEST_MIX_H
#define GUEST_MIX_H

#include <stdint.h>

static inline uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

#endif /* GUEST_MIX_H */
