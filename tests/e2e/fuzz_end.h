/* SPDX-License-Identifier: GPL-2.0 */
/* Sessions whose fds, or whose processes, go while something is under way. */
#ifndef FUZZ_END_H
#define FUZZ_END_H

#include <stdint.h>

/* Each command, while its fd is closed, replaced, or its process exits. */
void closing(int dev, uint64_t seed, unsigned int slow);
/* Sessions that a child inherits; sessions whose creator has exited. */
void forking(int dev, uint64_t seed, uint64_t limit_ms);

#endif
