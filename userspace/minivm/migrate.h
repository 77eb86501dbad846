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
};

/* The control channel, then @nr_data data channels: sockets, or loops in this kernel. */
struct migration_channels {
	unsigned int nr_data;
	const int *fds;
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

#endif /* MINIVM_MIGRATE_H */
