/* SPDX-License-Identifier: GPL-2.0 */
/* A test's report: one line a check, a plan at the end. */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>

/* Reports a check; returns @good. The text is formatted. */
__attribute__((format(printf, 2, 3))) bool tap_check(bool good, const char *fmt, ...);
/* As tap_check(false), then ends the test: nothing after it would mean a thing. */
__attribute__((format(printf, 1, 2), noreturn)) void tap_bail(const char *fmt, ...);
/* A line for people. */
__attribute__((format(printf, 1, 2))) void tap_note(const char *fmt, ...);
/* How many times slower than a stock kernel this one is: for every limit of time. */
unsigned int lab_slow(void);
/* Prints the plan; returns main()'s exit status. */
int tap_done(void);

#endif
