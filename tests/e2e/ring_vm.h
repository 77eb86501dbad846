/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small VM with dirty rings, for tests: flat memory, vCPUs that write version
 * numbers to ranges of pages, and a vCPU loop as a VMM has it.
 */
#ifndef RING_VM_H
#define RING_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/kvm.h>

#include "pair.h"

#define VM_MAX_CPUS	4
#define VM_CODE_AT	0x1000
/* As few entries as a page has. A KVM that keeps more in reserve gets more (vm_open()). */
#define VM_SMALL_RING	256

struct vm;

/**
 * struct vm_cpu - a vCPU and its thread
 * @vm: its VM
 * @id: its number, and its ring's
 * @fd: of the vCPU
 * @run: its shared page
 * @ring: its dirty ring
 * @thread: runs it, while @started
 * @started: cpu_start() was called, cpu_stop() was not
 * @stop: asks the thread to return
 * @exited: the thread has returned
 * @halted: the program came to its end
 * @fulls: exits with a full ring that a session made room for
 * @reaps: exits with a full ring that the VMM reaped itself
 * @error: what went wrong, negative errno; 0: nothing
 */
struct vm_cpu {
	struct vm *vm;
	unsigned int id;
	int fd;
	struct kvm_run *run;
	struct ferry_ring *ring;
	pthread_t thread;
	bool started;
	volatile bool stop;
	volatile bool exited;
	bool halted;
	unsigned long fulls;
	unsigned long reaps;
	int error;
};

/**
 * struct vm - the VM
 * @kvm: /dev/kvm
 * @fd: of the VM
 * @mem: its memory, guest physical address 0
 * @bytes: of it
 * @ring_bytes: of each ring
 * @cpus: its vCPUs
 * @nr_cpus: how many
 * @reap_lock: protects: reaping by the VMM
 * @on_exit: for exits that the loop does not know, in the vCPU's thread: 0: KVM_RUN
 *	again; 1: the end; or a negative errno. NULL: there are no such exits
 */
struct vm {
	int kvm;
	int fd;
	uint8_t *mem;
	size_t bytes;
	size_t ring_bytes;
	struct vm_cpu cpus[VM_MAX_CPUS];
	unsigned int nr_cpus;
	pthread_mutex_t reap_lock;
	int (*on_exit)(struct vm_cpu *cpu);
};

/* A VM with @bytes of anonymous memory in slot 0, of which @slot_bytes are mapped. */
void vm_open(struct vm *vm, size_t bytes, size_t slot_bytes, unsigned int ring_entries);
/* As KVM_SET_USER_MEMORY_REGION, with logging; bytes == 0 deletes. */
void vm_slot(struct vm *vm, uint32_t slot, uint64_t gpa, size_t offset, size_t bytes);
struct vm_cpu *vm_add_cpu(struct vm *vm);
/*
 * Sets the vCPU to write to @nr_pages pages from guest physical address @gpa,
 * round after round, each round's number to each page; @rounds 0: for ever.
 */
void cpu_program(struct vm_cpu *cpu, uint32_t gpa, uint32_t nr_pages, uint32_t rounds);
void cpu_start(struct vm_cpu *cpu);
/* Out of KVM_RUN; may be started again, and goes on where it was. */
void cpu_stop(struct vm_cpu *cpu);
/* Starts it and waits until its program has come to its end. */
void cpu_run_to_end(struct vm_cpu *cpu);
void vm_start_all(struct vm *vm);
void vm_stop_all(struct vm *vm);
/* Gives slot 0 and all rings to a source. */
void vm_hand_over(struct vm *vm, struct ferry_session *source, size_t slot_bytes);
/* Takes all rings back; a failed check if one is not to be had, or not empty. */
void vm_take_back(struct vm *vm, const char *when);
/* Drops what is in the rings, so that only what is written later is in them. */
void vm_reap_all(struct vm *vm);
/* Checks that a page written now comes out of each ring that the VMM reaps itself. */
void vm_check_reaps_on(struct vm *vm, const char *when);
void vm_close(struct vm *vm);

#endif
