/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest that knows what its memory must hold. What the files share.
 *
 * Truth is kept apart from what it judges: the area that is checked, and a
 * table of versions that only grow, at another place. Each page holds a pattern
 * that follows from its number, version, writer and the seed, so a page that is
 * stale, torn, misplaced or lost cannot pass for the right one.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mix.h"

#define GUEST_PAGE	4096
#define GUEST_WORDS	(GUEST_PAGE / sizeof(uint64_t))
#define GUEST_MAX_CPUS	64
#define MIB_PAGES	((1 << 20) / GUEST_PAGE)

struct guest_params {
	const char *load;
	uint64_t rate;		/* pages written a second by all vCPUs; 0: none */
	uint64_t wild;		/* by the last vCPU, which checks none; 0: it is as the others */
	uint64_t check;		/* pages checked a second by all vCPUs */
	uint64_t ws_pages;	/* that are written again and again */
	uint64_t pages;		/* of the area that is checked */
	uint64_t zero_pages;	/* that were touched and are zero */
	uint64_t seed;
	uint64_t tick_us;	/* how often time is looked at */
	uint64_t report_ms;
	bool bursts;		/* writes come in bursts rather than evenly */
	unsigned int cpus;
};
#define GUEST_UNLIMITED	(~0ULL)

struct guest_totals {
	_Atomic uint64_t checked;	/* pages found right */
	_Atomic uint64_t writes;	/* pages written */
	_Atomic uint64_t wild_writes;	/* of them, by the last vCPU, if it is wild */
	_Atomic uint64_t sweeps;	/* times that a vCPU has checked all pages */
	_Atomic uint64_t errors;
};

extern struct guest_params params;
extern struct guest_totals totals;

/* console.c: a line on the console, whole. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Counts an error, and shouts unless there were very many. */
void shout(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same with a prefix, and no more. */
void console_put(const char *prefix, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));
void console_open(void);
/* A line that came, without its end; false if there was none within MS. */
bool console_line(char *line, size_t size, int ms);
void console_drain(void);

/* init.c */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
uint64_t now_ns(void);
/* Asks until it is there, for so long; false if it never was. */
bool wait_until(bool (*there)(void *arg), void *arg, unsigned int ms);
void start_thread(void *(*fn)(void *), unsigned int cpu, const char *name, int fifo);

/* params.c */
void read_params(void);
/* The value of ferry.NAME=, up to the next blank; false if it is not there. */
bool find_param(const char *name, char *value, size_t size);
/* The same of a number; GUEST_UNLIMITED is "max". */
uint64_t number_param(const char *name, uint64_t otherwise);

/* modules.c: loads what the initrd carries, in /modules. */
void modules_load(void);

/* pattern.c */
void pattern_fill(uint64_t *page, uint64_t number, uint64_t version, unsigned int cpu);

enum pattern_result {
	PATTERN_RIGHT,
	PATTERN_STALE,		/* an older version, whole */
	PATTERN_TORN,		/* parts of two versions, or strange bytes */
	PATTERN_LOST,		/* zero where there must be data */
	PATTERN_MISPLACED,	/* another page's */
	PATTERN_FUTURE,		/* newer than it can be */
};
extern const char *const pattern_names[];
enum pattern_result pattern_check(const uint64_t *page, uint64_t number, uint64_t version,
				  unsigned int cpu, unsigned int *bad_word);

/* worker.c: writes and checks. */
void workers_start(void);

/* What a thread may do by now: grows with time, and is not saved up without bound. */
struct budget {
	uint64_t rate;
	uint64_t since_ns;
	uint64_t done;
};
uint64_t budget_due(struct budget *b, uint64_t now);

/* gap.c: the longest time that the guest stood still. */
struct gaps {
	uint64_t max_ns;	/* by the clock, since the last reset */
	uint64_t max_from_ns;	/* when that one began, by now_ns() */
	uint64_t max_writes;	/* pages that had been written by then */
	uint64_t recent_ns;	/* by the clock, since the last call */
	uint64_t tsc_ns;	/* by the raw counter, since the last reset */
};
void gaps_start(void);
void gaps_read(struct gaps *g);
void gaps_reset(void);

/*
 * Devices: each only if the command line asks for it. A report puts what there is to
 * tell into the text, with a blank behind, and returns its length.
 */
void net_start(void);
int net_report(char *text, size_t size);

void disk_start(void);
int disk_report(char *text, size_t size);
void disk_flush(void);
/* Nothing is written any more when this returns. */
void disk_quit(void);

/* reader.c */
void reader_start(void);

void screen_start(void);
int screen_report(char *text, size_t size);
/* "hold", "step" or "go" */
void screen_obey(const char *what);

/* more.c: "take MIB" or "free" */
void more_obey(const char *what);
int more_report(char *text, size_t size);

/* plug.c: "on N"; "turn" or "check" */
void cpu_obey(const char *what);
void vram_obey(const char *what);

#endif /* GUEST_H */
