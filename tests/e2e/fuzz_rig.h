/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A migration to make hostile calls about: two sessions by bare ioctls, a VM
 * with a ring or memory that is reported, TCP or loop, and what must not change.
 */
#ifndef FUZZ_RIG_H
#define FUZZ_RIG_H

#include "fuzz_calls.h"
#include "ring_vm.h"

#define RIG_BYTES	MIB		/* of the region "ram" */
#define RIG_GUARD	(16 * PAGE)	/* on both sides of each region */
#define RIG_WRITES_AT	(64 * PAGE)	/* what the vCPU writes to, and the driver */
#define RIG_WRITES	16
#define RIG_STATE	3000
/* The slot numbers that KVM does not have; the fuzzer adds, moves and removes these. */
#define RIG_SPARE_SLOT	5

/**
 * struct rig - the migration
 * @dev: /dev/kvm_ferry
 * @source: session, -1: none
 * @sink: session, -1: none
 * @ring: the source reads a VM's ring
 * @loop: transport: loop, else TCP
 * @nr_data: data channels
 * @tidy: nothing that the fuzzer does may spoil it: it must arrive whole
 * @hands_off: the memory may not be there: it is not touched
 * @vm: with @ring
 * @ring_at: where its ring is mapped
 * @cpu: runs it
 * @running: while set
 * @from: the source's memory, in @vm or between guards
 * @to: the sink's, between guards
 * @ids: of the sessions, for operators
 * @states: bits of the states in which it was seen
 */
struct rig {
	int dev;
	int source;
	int sink;
	bool ring;
	bool loop;
	unsigned int nr_data;
	bool tidy;
	bool hands_off;
	struct vm vm;
	uint8_t *ring_at;
	pthread_t cpu;
	bool running;
	uint8_t *from;
	uint8_t *to;
	uint64_t ids[2];
	unsigned int states;
};

/* Memory, sessions of a random make, regions, channels, ring: up to START. */
void rig_open(struct rig *r, struct fuzzer *f, int dev, bool ring);
/* Lets the VM run, or writes and reports. */
void rig_write(struct rig *r, struct fuzzer *f);
void rig_pause(struct rig *r);
/* Steps of a migration; each may fail, if others meddle. */
void rig_start(struct rig *r, struct fuzzer *f);
/* Waits until the source is in @state or ended, or for a while; the state it is in. */
uint32_t rig_await(struct rig *r, struct fuzzer *f, int fd, uint32_t state);
void rig_final(struct rig *r, struct fuzzer *f);
void rig_state(struct rig *r, struct fuzzer *f);
void rig_commit(struct rig *r, struct fuzzer *f);
/* All of the above, with @between after each. */
typedef void (*rig_between)(struct rig *r, struct fuzzer *f);
void rig_move(struct rig *r, struct fuzzer *f, rig_between between);
/* Ends and closes all; false, with a note: something was written that must not be. */
bool rig_close(struct rig *r, struct fuzzer *f);
/* As rig_close(), of sessions that were closed already. */
bool rig_free(struct rig *r);
/* Both memories are equal. */
bool rig_equal(const struct rig *r);

/* A random command about the rig, right or broken. */
void rig_fuzz(struct rig *r, struct fuzzer *f);
/* Fills in @arg as it is right; gives the fd to call it on. */
int rig_right(struct rig *r, struct fuzzer *f, enum fuzz_cmd cmd, void *arg);
/* How many sessions there are. */
unsigned int rig_sessions(int dev);

/* A migration that nobody touches: it must arrive whole, whatever else goes on here. */
struct witness {
	struct pair pair;
};
void witness_begin(struct witness *w);
bool witness_end(struct witness *w);

#endif
