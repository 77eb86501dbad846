// SPDX-License-Identifier: GPL-2.0
/*
 * The soak test's plan: everything that is decided by chance, from the seed
 * alone, so that a run, a guest's life or a migration can be had again.
 */
#include <stdio.h>
#include <linux/kvm_ferry.h>

#include "soak.h"

const char *const soak_memory_names[] = { "anon", "memfd", "hugetlb" };
const char *const soak_transport_names[] = { "tcp", "tls", "loop" };
const char *const soak_net_names[] = { "clean", "delay", "reorder", "loss", "corrupt", "slow" };
const char *const soak_fault_names[] = {
	"none", "cancel-source", "cancel-sink", "abort-source", "abort-sink", "kill-sink",
	"out-of-memory", "link-short", "link-long", "kill-source",
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

struct dice {
	uint64_t x;
};

static unsigned int below(struct dice *d, unsigned int n)
{
	d->x = mix(d->x);
	return (d->x >> 16) % n;
}

static bool once_in(struct dice *d, unsigned int n)
{
	return !below(d, n);
}

#define ANY(d, table)	((table)[below(d, sizeof(table) / sizeof((table)[0]))])

static void any_machine(struct dice *d, struct soak_machine *m)
{
	static const enum soak_memory memories[] = {
		MEMORY_ANON, MEMORY_ANON, MEMORY_MEMFD, MEMORY_HUGETLB,
	};

	m->memory = ANY(d, memories);
	m->ring = 256 << below(d, 9);
}

void plan_life(struct soak_life *l, uint64_t seed, uint64_t number)
{
	static const unsigned int pauses[] = { 0, 20, 200, 1000 };
	struct dice d = { mix(mix(seed) ^ number) };

	l->seed = seed;
	l->number = number;
	l->cpus = 1 + below(&d, SOAK_MAX_CPUS);
	l->pages = 256 << below(&d, l->cpus == 1 ? 5 : 4);
	l->hot = l->pages >> below(&d, 6);
	l->pause = ANY(&d, pauses);
	/* With some memory that the guest never touches. */
	l->mib = 4 + (l->cpus * l->pages >> 8) + below(&d, 16);
	l->mib += l->mib % 2;
	any_machine(&d, &l->machine);
}

static void plan_fault(struct dice *d, struct soak_move *m, bool last)
{
	static const enum soak_fault faults[] = {
		FAULT_CANCEL_SOURCE, FAULT_CANCEL_SINK, FAULT_ABORT_SOURCE, FAULT_ABORT_SINK,
		FAULT_KILL_SINK, FAULT_KILL_SINK, FAULT_OUT_OF_MEMORY, FAULT_LINK_SHORT,
		FAULT_LINK_SHORT, FAULT_LINK_LONG,
	};
	/* Most faults while much goes on, and each state on the way sees some. */
	static const unsigned int states[] = {
		KVM_FERRY_STATE_CONNECTING, KVM_FERRY_STATE_LIVE, KVM_FERRY_STATE_LIVE,
		KVM_FERRY_STATE_LIVE, KVM_FERRY_STATE_LIVE, KVM_FERRY_STATE_FINAL,
		KVM_FERRY_STATE_FINAL, KVM_FERRY_STATE_PAUSED, KVM_FERRY_STATE_COMMITTING,
	};
	static const unsigned int delays_us[] = { 0, 1000, 10000, 100000, 500000 };
	unsigned int most;

	m->fault = once_in(d, 2) ? ANY(d, faults) : FAULT_NONE;
	if (last && once_in(d, 2))
		m->fault = FAULT_KILL_SOURCE;
	m->at = ANY(d, states);
	most = ANY(d, delays_us);
	/* What comes after LIVE is soon over. */
	if (m->at > KVM_FERRY_STATE_LIVE)
		most /= 100;
	m->delay_us = most / 2 + below(d, most / 2 + 1);
	m->down_ms = 100 + below(d, 1400);
	m->peer_ms = 20000 + below(d, 10) * 1000;
	if (m->fault == FAULT_LINK_LONG)
		m->peer_ms = 2500 + below(d, 1500);
	if (m->fault == FAULT_OUT_OF_MEMORY)
		m->at = KVM_FERRY_STATE_CONNECTING;
}

void plan_move(struct soak_move *m, const struct soak_life *l, unsigned int index,
	       unsigned int moves)
{
	static const enum soak_transport transports[] = { BY_TCP, BY_TCP, BY_TLS, BY_LOOP };
	static const unsigned int downtimes[] = { 20, 100, 300, 1000, 3000 };
	struct dice d = { mix(mix(mix(l->seed) ^ l->number) + 1 + index) };

	*m = (struct soak_move){ .number = l->number * moves + index };
	any_machine(&d, &m->machine);
	m->reuse = once_in(&d, 2);
	m->transport = ANY(&d, transports);
	m->channels = 1 + below(&d, once_in(&d, 2) ? 4 : KVM_FERRY_MAX_DATA_CHANNELS);
	m->verify = once_in(&d, 2);
	m->bandwidth = once_in(&d, 2) ? (2U << 20) << below(&d, 6) : 0;
	m->set_bandwidth = once_in(&d, 4) ? (4U << 20) << below(&d, 6) : 0;
	m->downtime_ms = ANY(&d, downtimes);
	m->inflight = once_in(&d, 2) ? (256U << 10) << below(&d, 6) : 0;
	plan_fault(&d, m, index == moves - 1);
	m->net = once_in(&d, 2) ? below(&d, NET_KINDS) : NET_CLEAN;

	/* What cannot be together. */
	if (m->transport == BY_LOOP && (m->fault == FAULT_LINK_SHORT || m->fault == FAULT_LINK_LONG))
		m->transport = BY_TCP;
	if (m->transport == BY_LOOP || m->fault == FAULT_LINK_LONG)
		m->net = NET_CLEAN;
	/* The pool of huge pages is no control group's, and what is starved is a new VMM. */
	if (m->fault == FAULT_OUT_OF_MEMORY) {
		m->reuse = false;
		if (m->machine.memory == MEMORY_HUGETLB)
			m->machine.memory = MEMORY_ANON;
	}
}

void life_text(const struct soak_life *l, char *buf, size_t room)
{
	snprintf(buf, room, "cpus=%u mib=%u pages=%u hot=%u pause=%u memory=%s ring=%u", l->cpus,
		 l->mib, l->pages, l->hot, l->pause, soak_memory_names[l->machine.memory],
		 l->machine.ring);
}

void move_text(const struct soak_move *m, char *buf, size_t room)
{
	int n;

	n = snprintf(buf, room,
		     "memory=%s ring=%u by=%s channels=%u verify=%d bandwidth=%u set_bandwidth=%u limit_ms=%u inflight=%u peer_ms=%u net=%s fault=%s",
		     soak_memory_names[m->machine.memory], m->machine.ring,
		     soak_transport_names[m->transport], m->channels, m->verify, m->bandwidth,
		     m->set_bandwidth, m->downtime_ms, m->inflight, m->peer_ms,
		     soak_net_names[m->net], soak_fault_names[m->fault]);
	if (m->fault && n > 0 && (size_t)n < room)
		snprintf(buf + n, room - n, " at=%u+%uus", m->at, m->delay_us);
}
