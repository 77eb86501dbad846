/* SPDX-License-Identifier: GPL-2.0 */
/* Commands that must be refused, with their errno and their sentence. */
#ifndef BAD_CALL_H
#define BAD_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tap.h"

/* The command must fail with @error, and KVM_FERRY_REASON must say so in these words. */
__attribute__((format(printf, 6, 7)))
bool refused(int fd, unsigned long cmd, void *arg, int error, const char *words,
	     const char *fmt, ...);
/* The command must succeed. */
__attribute__((format(printf, 4, 5)))
bool taken(int fd, unsigned long cmd, void *arg, const char *fmt, ...);
/* The session must have failed with @error, in these words. Waits for its end. */
__attribute__((format(printf, 4, 5)))
bool failed_with(int fd, int error, const char *words, const char *fmt, ...);
/* Waits until the session is in a state from @lowest on; bails out after 20 s. */
uint32_t await_state(int fd, uint32_t lowest);
/* Monotonic. */
uint64_t now_ms(void);
/* Polls until the condition holds; false after 20 s, more where lab_slow(). */
#define poll_until(condition) __extension__({ \
	uint64_t end_ = now_ms() + 20000 * lab_slow(); \
	bool holds_; \
	while (!(holds_ = (condition)) && now_ms() < end_) \
		poll_pause(); \
	holds_; })
void poll_pause(void);

#endif
