/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the benchmark's programs share: a real VM that dirties its memory, and
 * two ways to move that memory: ours and the peer's.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/kvm.h>

#define PAGE		4096UL
#define MIB		(1UL << 20)
#define BLOCK_PAGES	512UL		/* 2 MiB: what stays on one connection */
#define RING_ENTRIES	65536U		/* the most that KVM allows */
#define RING_BYTES	(RING_ENTRIES * sizeof(struct kvm_dirty_gfn))
/* Entries that may be made before KVM says that the ring is full. */
#define RING_ROOM	(RING_ENTRIES - 1024)
#define FIRST_PAGE	16UL		/* the guest's code lies below */
#define MAX_THREADS	16

/* --- util.c --- */
__attribute__((format(printf, 1, 2), noreturn)) void die(const char *fmt, ...);
uint64_t now_ns(void);
/* Time that all processors of this machine were not idle, since its boot. */
uint64_t busy_ns(void);
/* Anonymous, 2 MiB aligned, nothing allocated yet. */
void *memory(size_t bytes);
/* Incompressible and nowhere zero. */
void fill(void *addr, size_t bytes, uint64_t seed);
uint64_t checksum(const void *addr, size_t bytes, uint64_t sum);
int tcp_listen(int port);
int tcp_accept(int listener);
/* Tries until somebody listens. */
int tcp_connect(const char *host, int port);
void send_all(int fd, const void *data, size_t length);
void recv_all(int fd, void *data, size_t length);

/* --- vm.c --- */

/**
 * struct vm - a KVM VM with one vCPU and the largest dirty ring
 * @fd: of the VM
 * @vcpu: its fd
 * @run: the vCPU's
 * @gfns: its ring
 * @fetch: next entry to reap
 * @mem: guest memory, from physical address 0 on; the caller's
 * @bytes: of it
 */
struct vm {
	int fd;
	int vcpu;
	struct kvm_run *run;
	struct kvm_dirty_gfn *gfns;
	uint32_t fetch;
	uint8_t *mem;
	size_t bytes;
};

void vm_create(struct vm *vm, void *mem, size_t bytes);
/* The guest writes to @count pages from @first on, @stride pages apart. */
void vm_set_writes(struct vm *vm, uint64_t first, uint64_t count, uint64_t stride);
/* Runs until the guest halts: returns 0, or the reason of another exit. */
int vm_run(struct vm *vm);
/* Ends the program, and tells where the guest was when it stopped for @reason. */
__attribute__((noreturn)) void vm_tell_exit(struct vm *vm, int reason);
/* As above, for pages that fit into the ring. */
void vm_dirty(struct vm *vm, uint64_t first, uint64_t count, uint64_t stride);
/* Takes all entries, sets their pages' bits in @map (which may be NULL). */
uint32_t vm_harvest(struct vm *vm, uint64_t *map);
/* KVM_RESET_DIRTY_RINGS; the number of entries must be @expect. */
void vm_reset(struct vm *vm, uint32_t expect);

/* --- a move --- */

enum way { WAY_QUIT, WAY_OURS, WAY_PEER };

/**
 * struct order - what the source asks the sink to be ready for
 * @way: enum way
 * @channels: data connections
 * @fresh: 1: into memory that is not allocated yet
 * @rdma: 1: data connections are RDMA
 * @bytes: of memory
 * @touched: of it, bytes that are not zero, in chunks of 2 MiB spread evenly
 */
struct order {
	uint32_t way;
	uint32_t channels;
	uint32_t fresh;
	uint32_t rdma;
	uint64_t bytes;
	uint64_t touched;
};

/**
 * struct mode - a way to move, with its settings
 * @way: enum way
 * @channels: connections, each with a thread at either end
 * @iovecs: peer: pages a sendmsg()
 * @zerocopy: peer: with MSG_ZEROCOPY
 * @rdma: ours: data channels are RDMA
 * @name: as on the command line
 */
struct mode {
	enum way way;
	unsigned int channels;
	unsigned int iovecs;
	bool zerocopy;
	bool rdma;
	char name[32];
};

/**
 * struct source - the end that gives its memory away
 * @vm: NULL: all of memory is sent, without a dirty log
 * @mem: memory
 * @bytes: of it
 * @host: the sink's address
 * @port: the sink's port
 */
struct source {
	struct vm *vm;
	uint8_t *mem;
	size_t bytes;
	const char *host;
	int port;
};

/**
 * struct figures - what one move took
 * @begin: now_ns() when the first entry could be harvested
 * @end: now_ns() when the last byte was acknowledged
 * @cpu: busy time of this host's processors meanwhile
 * @sent: pages that travelled
 * @entries: ring entries
 * @harvest_ns: taking them
 * @reset_ns: KVM_RESET_DIRTY_RINGS
 */
struct figures {
	uint64_t begin;
	uint64_t end;
	uint64_t cpu;
	uint64_t sent;
	uint64_t entries;
	uint64_t harvest_ns;
	uint64_t reset_ns;
};

/* --- ours.c --- */
void ours_send(const struct source *src, const struct mode *m, int master, struct figures *f);
void ours_receive(int listener, const struct order *o, void *mem, int master);

/* --- peer.c --- */
void peer_send(const struct source *src, const struct mode *m, int master, struct figures *f);
void peer_receive(int listener, const struct order *o, void *mem, int master);

/* --- harvest.c --- */
int harvest_main(int argc, char **argv);

#endif
