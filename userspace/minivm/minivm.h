/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * minivm: a small virtual machine monitor, and the example of how one uses
 * libferry. What the files share.
 *
 * Threads: main (options, then the event loop: console input, control socket,
 * signals), one for each vCPU, and one for a migration while it is on.
 */
#ifndef MINIVM_H
#define MINIVM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/kvm.h>

#define MINIVM_MAX_CPUS		64
#define MINIVM_PAGE		4096ULL
#define MINIVM_LOW_MAX		(3ULL << 30)	/* the hole for devices begins here */
#define MINIVM_HIGH_BASE	(4ULL << 30)	/* and ends here */
#define MINIVM_SERIAL_PORT	0x3f8
#define MINIVM_SERIAL_IRQ	4

/* Why something failed: an errno, and a sentence for a person. */
struct mv_error {
	int code;
	char text[256];
};

/* Fills @e, and returns -@code. */
int mv_fail(struct mv_error *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
uint64_t mv_now_ns(void);

enum mv_memory_type {
	MV_MEMORY_ANON,
	MV_MEMORY_MEMFD,
	MV_MEMORY_HUGETLB,
};

struct mv_options {
	const char *kernel;
	const char *initrd;
	const char *append;
	const char *flat;
	const char *control;
	const char *console;
	const char *name;
	unsigned int cpus;
	uint64_t memory;
	enum mv_memory_type memory_type;
	uint32_t ring_entries;
	bool incoming;
	bool exit_when_gone;
};

enum mv_run_state {
	MV_RUNNING,
	MV_PAUSED,
	MV_INCOMING,	/* has no guest yet */
	MV_GONE,	/* had one, which runs elsewhere now */
	MV_IN_DOUBT,	/* a person must say who owns the guest */
};

/* A range of guest memory: one region of ferry and one memslot of KVM. */
struct mv_region {
	const char *name;
	uint64_t gpa;
	uint64_t size;
	uint8_t *hva;
};

struct serial {
	pthread_mutex_t lock;	/* protects: all below */
	/* what travels */
	uint8_t ier, lcr, mcr, scr, fcr;
	uint8_t dll, dlm;
	bool thr_pending;	/* "transmitter empty" is yet to be told */
	uint8_t rx[64];
	uint32_t rx_len;
	char out[512];		/* of the line that the guest has begun */
	uint32_t out_len;
	/* what stays */
	uint64_t out_ns;	/* when something was last added to it */
	bool irq_high;
	int out_fd;
};

struct vm;

struct vcpu {
	struct vm *vm;
	unsigned int index;
	int fd;
	pthread_t thread;
	bool started;
	struct kvm_run *run;
	size_t run_size;
	struct ferry_ring *ring;
	/* protected by vm->lock */
	bool parked;
};

struct migration;

struct vm {
	const struct mv_options *opt;
	int kvm_fd;
	int fd;
	size_t run_size;
	uint32_t ring_bytes;
	uint32_t xsave_size;
	uint64_t tsc_offset;	/* of vCPU 0, while state is loaded */

	struct mv_region regions[2];
	unsigned int nr_regions;
	struct vcpu vcpus[MINIVM_MAX_CPUS];
	unsigned int nr_vcpus;

	struct serial serial;
	uint8_t cmos_index;	/* of the last write to port 0x70 */

	pthread_mutex_t lock;	/* protects: run_state, hold, quit, parked, stopped */
	pthread_cond_t cond;	/* one of them has changed */
	enum mv_run_state run_state;
	bool hold;		/* vCPUs must park */
	bool quit;		/* vCPU threads must end */
	bool stopped;		/* the guest has shut down, or a vCPU has failed */
	int exit_status;
	int wake_fd;		/* eventfd: the main loop should look around */

	pthread_mutex_t ring_lock; /* protects: taking rings back, reaping them */
	struct migration *migration;
	uint64_t state_ns;	/* what saving and loading the VM's state takes, as far as is known */
};

/* vm.c */
void vm_create(struct vm *vm, const struct mv_options *opt);
void vm_destroy(struct vm *vm);
void vm_renew(struct vm *vm);
void *vm_gpa(struct vm *vm, uint64_t gpa, uint64_t len);
int vm_log_dirty(struct vm *vm, bool on, struct mv_error *e);
int vm_reap_rings(struct vm *vm);
void vm_irq(struct vm *vm, unsigned int irq, bool level);
void vm_wake(struct vm *vm);

/* boot.c, mptable.c, cpuid.c */
void boot_linux(struct vm *vm);
void boot_flat(struct vm *vm);
void mptable_build(struct vm *vm);
#define CPUID_MAX_ENTRIES 256
struct kvm_cpuid2 *cpuid_supported(struct vm *vm);
void cpuid_setup(struct vm *vm, struct vcpu *vcpu);
int cpuid_covers(const struct kvm_cpuid2 *host, const struct kvm_cpuid2 *guest,
		 struct mv_error *e);

/* vcpu.c */
void vcpus_start(struct vm *vm);
void vcpus_join(struct vm *vm);
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
enum mv_run_state vm_run_state(struct vm *vm);
void vm_set_run_state(struct vm *vm, enum mv_run_state state);

/* serial.c, ports.c */
void serial_init(struct vm *vm, int out_fd);
void serial_write(struct vm *vm, unsigned int reg, uint8_t value);
uint8_t serial_read(struct vm *vm, unsigned int reg);
size_t serial_room(struct vm *vm);
void serial_input(struct vm *vm, const void *data, size_t len);
void serial_flush(struct vm *vm, bool now);
void serial_forget(struct vm *vm);
void serial_refresh(struct vm *vm);
/* Returns false when the guest asks to be reset or switched off. */
bool port_io(struct vm *vm, uint16_t port, bool out, unsigned int size, uint8_t *data);

/*
 * state.c, state_vcpu.c: everything of the VM but its memory, as one stream of
 * bytes. Take it while all vCPUs are parked. @e may not be NULL.
 */
struct state_buf {
	uint8_t *data;
	size_t len;
	size_t room;
	uint64_t saved_ns; /* when the clocks in it were read */
	bool failed;	/* out of memory: nothing more is added */
};

int state_save(struct vm *vm, struct state_buf *b, struct mv_error *e);
/* Brings the time that has passed since state_save() up to date: just before sending. */
void state_stamp(struct state_buf *b);
/* @received_ns: mv_now_ns() when the first byte came. The bytes are not trusted. */
int state_load(struct vm *vm, const uint8_t *data, size_t len, uint64_t received_ns,
	       struct mv_error *e);
void state_free(struct state_buf *b);

/*
 * migrate.c: one migration at a time, on a thread of its own. The functions are
 * the main thread's, but migration_fail().
 */
struct json_object;
void migration_init(struct vm *vm);
/* Before the guest runs for the first time: see what its state will take. */
void migration_try_state(struct vm *vm, bool incoming);
/* @fds: the control channel's socket, then the data channels'; they stay the caller's. */
int migration_begin(struct vm *vm, bool source, struct json_object *request, const int *fds,
		    unsigned int nr_fds, struct mv_error *e);
int migration_cancel(struct vm *vm, struct mv_error *e);
int migration_set(struct vm *vm, struct json_object *request, struct mv_error *e);
bool migration_active(struct vm *vm);
/* Closes what has ended a while ago. Returns false as long as something is open. */
bool migration_settled(struct vm *vm);
/* What the control socket tells of the present session, or else of the last one; or NULL. */
struct json_object *migration_status(struct vm *vm);
/* From a vCPU thread: ends the session that is under way; the guest runs on. */
void migration_fail(struct vm *vm, const char *why);
/* Ends what is under way and frees all: for a VMM that quits. */
void migration_free(struct vm *vm);

/* measure.c: begins for @client, a connection's fd, or tells it of the present window. */
int measure(struct vm *vm, int client, struct json_object *request, struct json_object *reply,
	    struct mv_error *e);
/* Ends what is measured for @client; -1: for whomever. */
void measure_end(struct vm *vm, int client);

/* control.c */
struct control;
struct pollfd;
#define CONTROL_MAX_CLIENTS	16
#define CONTROL_MAX_FDS		(CONTROL_MAX_CLIENTS + 1)
struct control *control_open(struct vm *vm, const char *path);
void control_close(struct control *c);
/* Fills in what to poll (room for CONTROL_MAX_FDS); returns how many. */
unsigned int control_poll_add(struct control *c, struct pollfd *pfd);
void control_poll_done(struct control *c, const struct pollfd *pfd, unsigned int count);
bool control_quit_asked(const struct control *c);
bool control_has_clients(const struct control *c);

#endif /* MINIVM_H */
