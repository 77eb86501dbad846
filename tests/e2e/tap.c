// SPDX-License-Identifier: GPL-2.0
/* Reports of the C tests (no test itself: it has no header line for the lab). */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tap.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int number, failed;

bool tap_check(bool good, const char *fmt, ...)
{
	va_list args;

	pthread_mutex_lock(&lock);
	failed += !good;
	printf("%sok %d - ", good ? "" : "not ", ++number);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	pthread_mutex_unlock(&lock);
	return good;
}

void tap_note(const char *fmt, ...)
{
	va_list args;

	pthread_mutex_lock(&lock);
	printf("# ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	pthread_mutex_unlock(&lock);
}

unsigned int lab_slow(void)
{
	const char *slow = getenv("LAB_SLOW");

	return slow && atoi(slow) > 0 ? atoi(slow) : 1;
}

int tap_done(void)
{
	printf("1..%d\n", number);
	return failed ? 1 : 0;
}

void tap_bail(const char *fmt, ...)
{
	va_list args;

	printf("not ok %d - ", ++number);
	failed++;
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	exit(tap_done());
}
