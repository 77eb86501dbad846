/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of a migration share.
 */
#ifndef MINIVM_MIGRATE_H
#define MINIVM_MIGRATE_H

#include "ferry.h"
#include "minivm.h"

struct migration {
	struct vm *vm;
	struct ferry_device *dev;
	bool source;
	pthread_t thread;
	/* the main thread's */
	bool thread_valid;	/* there is a thread to join */
	int measurer;		/* the client that @measured is for */
	uint64_t present;	/* bytes that a first pass would carry, when that began */
	uint64_t window_ns;	/* when its present window did */
	/* the migration's thread's while there is one */
	bool spoilt;		/* sink: a state was loaded in vain */

	pthread_mutex_t lock;	/* protects: all below */
	bool active;
	struct ferry_session *session;	/* stays a while after the end: operators look at it */
	uint64_t ended_ns;
	/* what the session said last */
	bool known;
	struct kvm_ferry_stats stats;
	uint32_t pass;
	struct mv_error error;	/* code 0: nothing has failed */
	/* the main thread's to set, and for that thread to read without the lock */
	struct ferry_session *measured;
};

/* The control channel, and data channels: sockets or RDMA, or loops in this kernel. */
struct migration_channels {
	struct ferry_sockets socks;	/* they stay the caller's */
	bool loop;
	uint64_t key;	/* loop: the control channel's; those of the others follow it */
};

/* Fills @e with libferry's word on why @what failed; returns @ret. */
int migration_ferry_fail(struct mv_error *e, int ret, const char *what);
/* A number of a request that may be left out. Returns 1 if it is there. */
int migration_number(struct json_object *request, const char *key, uint64_t *value,
		     struct mv_error *e);
/* What the request says of channels, with the sockets that came beside it. */
int migration_channels(struct migration_channels *c, struct json_object *request, const int *fds,
		       unsigned int nr_fds, struct mv_error *e);
int migration_limits(struct ferry_session *s, bool source, struct json_object *request,
		     struct mv_error *e);

/* Opens the device, if that was not done before. */
int migration_device(struct migration *m, struct mv_error *e);
int migration_add_memory(struct vm *vm, struct ferry_session *s, bool source, struct mv_error *e);
/* All rings at once: nobody reaps while some are the session's and some ours. */
int migration_hand_over_rings(struct vm *vm, struct ferry_session *s, struct mv_error *e);
/* Rings and logging as they were before. The session has ended. */
void migration_take_back(struct vm *vm);
/* Fills @e with why the session ended; what it says is better than what we know. */
int migration_session_fail(struct ferry_session *s, int ret, const char *what, struct mv_error *e);
/* A source's, by vCPU: how fast each dirties memory, and how it is held back. */
struct json_object *migration_rings(struct ferry_session *s);

/* measure.c, from a vCPU thread: ends the session; the main thread notices. */
void measure_abort(struct vm *vm);

#endif /* MINIVM_MIGRATE_H */
