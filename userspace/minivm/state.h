/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The stream of VM state: a head, then records, in any order. All integers and
 * KVM's own structs as x86-64 has them in memory.
 */
#ifndef MINIVM_STATE_H
#define MINIVM_STATE_H

#include "minivm.h"

#define STATE_MAGIC	0x54534d56494e494dULL	/* "MINIVMST" */
#define STATE_VERSION	1

/**
 * struct state_head - the beginning of the stream
 * @magic: STATE_MAGIC
 * @version: STATE_VERSION
 * @nr_vcpus: as many as the other side must have
 * @age_ns: time from the saving of clocks to the sending of this head
 * @length: bytes of the whole stream
 */
struct state_head {
	uint64_t magic;
	uint32_t version;
	uint32_t nr_vcpus;
	uint64_t age_ns;
	uint64_t length;
};

/* Just one of each a VM, or (from STATE_CPUID on) a vCPU. */
enum state_type {
	STATE_PIC_MASTER,	/* struct kvm_irqchip */
	STATE_PIC_SLAVE,	/* struct kvm_irqchip */
	STATE_IOAPIC,		/* struct kvm_irqchip */
	STATE_PIT,		/* struct kvm_pit_state2 */
	STATE_CLOCK,		/* uint64_t: kvmclock in ns */
	STATE_SERIAL,		/* struct state_serial */
	STATE_CMOS,		/* uint8_t: the index register */
	STATE_CPUID,		/* struct kvm_cpuid_entry2[] */
	STATE_MP_STATE,		/* struct kvm_mp_state */
	STATE_REGS,		/* struct kvm_regs */
	STATE_SREGS,		/* struct kvm_sregs2 */
	STATE_XSAVE,		/* 4096 bytes and more */
	STATE_XCRS,		/* struct kvm_xcrs */
	STATE_DEBUGREGS,	/* struct kvm_debugregs */
	STATE_LAPIC,		/* struct kvm_lapic_state */
	STATE_MSRS,		/* struct kvm_msr_entry[] */
	STATE_EVENTS,		/* struct kvm_vcpu_events */
	STATE_TSC,		/* struct state_tsc */
	STATE_NR_TYPES,
};
#define STATE_FIRST_VCPU	STATE_CPUID

struct state_record_head {
	uint32_t type;
	uint32_t vcpu;		/* 0 for what is the VM's */
	uint32_t length;
	uint32_t reserved;	/* 0 */
};

/* A record of a stream that was taken apart; its bytes may lie anywhere. */
struct state_record {
	const uint8_t *data;	/* NULL: not there */
	uint32_t length;
};

struct state_serial {
	uint8_t ier, lcr, mcr, scr, fcr, dll, dlm, thr_pending;
	uint32_t rx_len, out_len;
	uint8_t rx[64];
	char out[512];
};

struct state_tsc {
	uint64_t value;		/* at the time of saving */
	uint64_t offset;	/* to the source's own counter: compare between vCPUs */
	uint32_t khz;
	uint32_t reserved;
};

void state_put(struct state_buf *b, enum state_type type, unsigned int vcpu, const void *data,
	       size_t len);

int state_vcpu_save(struct vcpu *v, struct state_buf *b, struct mv_error *e);
/* All but the counter and what depends on it. @r: the vCPU's records by type. */
int state_vcpu_load(struct vcpu *v, const struct state_record *r, struct mv_error *e);
/* @elapsed_ns: guest time that has passed since saving; @first: the same for vCPU 0. */
int state_tsc_load(struct vcpu *v, const struct state_record *r, uint64_t elapsed_ns,
		   const struct state_record *first, struct mv_error *e);
/* What must be last: the deadline timer and pending events. */
int state_vcpu_finish(struct vcpu *v, const struct state_record *r, struct mv_error *e);

#endif /* MINIVM_STATE_H */
