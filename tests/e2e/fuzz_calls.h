/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All commands by one table that knows their structs: field by field, which
 * errnos the uAPI header documents, and arguments that are right or broken in
 * one place. Every call is counted, bounded in time and held to that table.
 */
#ifndef FUZZ_CALLS_H
#define FUZZ_CALLS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/kvm_ferry.h>

/* Commands by their place in the table. */
enum fuzz_cmd {
	F_INFO, F_CREATE, F_LIST, F_REASON, F_STATS, F_LIMITS, F_ABORT, F_REGION_ADD, F_SLOT_ADD,
	F_SLOT_MOVE, F_SLOT_REMOVE, F_RING_ADD, F_CHANNEL_ADD, F_START, F_EVENT, F_REPORT_DIRTY,
	F_REPORT_BITMAP, F_FETCH_DIRTY, F_RING_WAIT, F_RING_SYNC, F_RING_INDEX, F_FINAL,
	F_STATE_SEND, F_STATE_RECV, F_COMMIT, F_RING_STATS, F_REGION_STATS,
	F_HOST_LIMITS, F_HISTORY, F_NR,
};

/* What is in a field, so what can be wrong with it. */
enum fuzz_kind {
	IS_FLAGS, IS_RESERVED, IS_NUMBER, IS_FD, IS_POINTER, IS_ADDRESS, IS_OFFSET, IS_NAME, IS_OUT,
};

struct fuzz_field {
	uint16_t at;
	uint8_t size;
	uint8_t kind;
};

#define FUZZ_MAX_FIELDS	16

/**
 * struct fuzz_row - a command
 * @name: for people
 * @cmd: its number
 * @size: of its struct
 * @who: FUZZ_* bits
 * @errors: beside those that every command may have; 0 at the end
 * @fields: of its struct, but the size
 */
struct fuzz_row {
	const char *name;
	unsigned long cmd;
	uint32_t size;
	uint32_t who;
	int errors[10];
	struct fuzz_field fields[FUZZ_MAX_FIELDS];
};
#define FUZZ_DEVICE	1
#define FUZZ_SESSION	2
#define FUZZ_SOURCE	4
#define FUZZ_SINK	8
#define FUZZ_ENDS	16	/* done in the wrong moment, it spoils a migration that goes well */
#define FUZZ_OWNER	32

extern const struct fuzz_row fuzz_rows[F_NR];

/* Behind and around an argument: room for the largest answer that a command can give. */
#define FUZZ_DATA	(512UL << 10)

struct rig;

/**
 * struct fuzzer - a thread that makes calls
 * @random: state of its generator
 * @rig: sessions and memory that its calls are about
 * @arg: two pages for arguments; what lies behind is not mapped
 * @alias: the same pages, read-only
 * @data: room for what arguments point to
 * @thread: itself
 * @in: the command that it is in, NULL: none
 * @since: ms, since when
 * @last: errno of the last call, 0: success
 * @racing: fds may be closed, or become others, under way
 * @foreign: the sessions are another process's
 * @shared: another thread writes to the argument while the kernel reads it
 */
struct fuzzer {
	uint64_t random;
	struct rig *rig;
	uint8_t *arg;
	uint8_t *alias;
	uint8_t *data;
	pthread_t thread;
	const char *in;
	uint64_t since;
	int last;
	bool racing;
	bool foreign;
	bool shared;
};

/* Where a shared argument lies. */
#define FUZZ_SHARED(f)	((f)->arg + 64)

/* Registers the calling thread with the watchdog: a call is nudged by a signal, and bounded. */
void fuzzer_begin(struct fuzzer *f, struct rig *rig, uint64_t seed);
void fuzzer_end(struct fuzzer *f);
/* For a thread that is no fuzzer: lets SIGUSR1 in. */
void fuzz_hear(void);
/* Below @n, which is not 0. */
uint64_t fuzz_below(struct fuzzer *f, uint64_t n);
bool fuzz_chance(struct fuzzer *f, unsigned int percent);

/* The watchdog of this process. A call that lasts longer than @limit_ms ends it. */
void fuzz_watch(uint64_t limit_ms);
/* Must the command fail here with nothing but what the header documents? Returns the errno. */
int fuzz_call(struct fuzzer *f, int fd, enum fuzz_cmd cmd, void *arg);
/* Breaks one or two fields of a right argument. */
void fuzz_break(struct fuzzer *f, enum fuzz_cmd cmd, void *arg);
/* A size, pointer, fd or number of a command that is wrong, about an argument that is right. */
void fuzz_misplace(struct fuzzer *f, int fd, enum fuzz_cmd cmd, const void *arg, bool harmless);
/* Calls enter by the 32-bit door as well, where the kernel has one. */
bool fuzz_has_compat(void);

/**
 * struct fuzz_count - of one command, from all threads
 * @calls: made
 * @good: returned 0
 * @bad: of the others, those with an errno that is not documented
 */
struct fuzz_count {
	unsigned long calls, good, bad;
};
extern struct fuzz_count fuzz_counts[F_NR];
extern unsigned long fuzz_unknown, fuzz_compat;
/* fds that are no session and no VM. */
#define FUZZ_NR_FDS 12
extern int fuzz_fds[FUZZ_NR_FDS];
void fuzz_open_fds(void);

#endif
