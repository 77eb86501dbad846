/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A source and a sink in one process, joined over loopback TCP or in memory:
 * enough to move memory without a VM. The dirty source is "report" unless a
 * test brings a VM.
 */
#ifndef PAIR_H
#define PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <linux/kvm_ferry.h>

#include "ferry.h"

#define PAGE 4096UL
#define MIB (1UL << 20)

/**
 * struct pair - both ends of a migration
 * @dev: the device
 * @source: the source session, made by pair_open()
 * @sink: the sink session
 * @from: the source's memory
 * @to: the sink's memory
 * @bytes: of each
 * @channels: data channels
 * @transport: of all channels; RDMA, OWN: of the data channels
 * @between: OWN: makes the sockets of both ends in place of pair_sockets(); NULL: that
 * @rdma: where the sink listens, port 0 at first
 */
struct pair {
	struct ferry_device *dev;
	struct ferry_session *source;
	struct ferry_session *sink;
	uint8_t *from;
	uint8_t *to;
	size_t bytes;
	unsigned int channels;
	enum kvm_ferry_transport transport;
	struct sockaddr_in rdma;
	void (*between)(int fds[2]);
};

/* Anonymous or memfd memory, 2 MiB aligned; bails out if there is none. */
void *pair_memory(size_t bytes, bool memfd);
/* Connected loopback TCP sockets. */
void pair_sockets(int fds[2]);
/*
 * Makes both sessions, with one region "ram" (@p->from, @p->to) and channels.
 * @vm_fd: of the source's VM, or -1 for the dirty source "report".
 */
void pair_open(struct pair *p, int vm_fd);
void pair_start(struct pair *p);
/* FINAL, state, commit on both sides; returns the source's error, or 0. */
int pair_switch(struct pair *p, const void *state, size_t length);
/* Waits for an event of the source; bails out after ten seconds. */
void pair_wait(struct ferry_session *s, uint32_t events);
/* Waits until the session is in this state or ended; false: another end. */
bool pair_wait_state(struct ferry_session *s, uint32_t state);
void pair_close(struct pair *p);
struct kvm_ferry_stats pair_stats(struct ferry_session *s);

/* Pages of @bytes at @addr that are allocated. */
size_t resident(const void *addr, size_t bytes);
/* Incompressible, not zero, another at every @seed. */
void fill(void *addr, size_t bytes, uint64_t seed);

#endif
