/* SPDX-License-Identifier: GPL-2.0 */
/* A guest that knows what its memory must hold, in a VM with dirty rings. */
#ifndef FAULT_GUEST_H
#define FAULT_GUEST_H

/* Guest physical addresses. */
#define GUEST_CODE	0x2000
#define GUEST_HOT	0x100000	/* checked and written, round after round */
#define GUEST_HOT_END	0x180000
#define GUEST_COLD	0x200000	/* checked, four rounds for all of it */
#define GUEST_COLD_END	0x400000
#define GUEST_BYTES	0x600000

#define GUEST_COLD_TAG	0xc0100000	/* and the page's number: what is in a cold page */
#define GUEST_BEAT	0x10		/* out: a round is over */
#define GUEST_UNWELL	0x11		/* out: a word is not eax, as it must be */

/* Rounds after which every page was checked, and those that were written since as well. */
#define GUEST_ROUNDS	5

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring_vm.h"

/**
 * struct guest - a VM with one vCPU, and how its guest is
 * @vm: the VM; must be first
 * @cpu: its vCPU
 * @beats: rounds that were finished here
 * @unwell: a page did not hold what it must
 */
struct guest {
	struct vm vm;
	struct vm_cpu *cpu;
	unsigned long beats;
	bool unwell;
};

/* All of the guest that is not memory. */
struct guest_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
};

/* With a guest that is about to begin, or with memory that is not allocated. */
void guest_open(struct guest *g, bool blank);
void guest_run(struct guest *g);
void guest_pause(struct guest *g);
bool guest_runs(const struct guest *g);
void guest_save(struct guest *g, struct guest_state *state);
void guest_load(struct guest *g, const struct guest_state *state);
/* Logging off: nothing comes through the ring any more, and nobody has to reap. */
void guest_log_off(struct guest *g);
/* Lets a guest that runs go on for so many rounds. False: it does not, or is unwell. */
bool guest_goes_on(struct guest *g, unsigned int rounds, unsigned int limit_ms);
#endif

#endif
