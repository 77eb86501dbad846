// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=ring_vm.c,pair.c,tap.c timeout=120 leak=4096
 *
 * A running VM's memory moves by its dirty rings: one vCPU and four, rings small
 * enough to run full, a vCPU that appears while the session is live. Nothing
 * that any of them wrote is missing at the sink.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ring_vm.h"
#include "tap.h"

#define BYTES		(24 * MIB)
#define CPU_BYTES	(5 * MIB)	/* 1280 pages: several times what a small ring holds */

/* Each vCPU writes to a range of its own, and all of them to one that they share. */
static void program(struct vm_cpu *cpu)
{
	cpu_program(cpu, cpu->id == 3 ? 6 * MIB : MIB + cpu->id * CPU_BYTES, CPU_BYTES / PAGE, 0);
}

/* The vCPUs must have been writing while passes ran: see that they got on. */
static uint32_t round_of(const struct vm *vm, unsigned int cpu)
{
	uint32_t round;

	memcpy(&round, vm->mem + MIB + (cpu == 3 ? 1 : cpu) * CPU_BYTES, sizeof(round));
	return round;
}

static void await_passes(struct pair *p, unsigned int passes)
{
	while (passes--)
		pair_wait(p->source, KVM_FERRY_EVENT_PASS);
}

static void count_different(const struct pair *p, const char *how)
{
	size_t at, bad = 0, first = 0;

	for (at = 0; at < p->bytes; at += PAGE) {
		if (!memcmp(p->from + at, p->to + at, PAGE))
			continue;
		first = bad++ ? first : at;
	}
	tap_check(!bad, "%s: %zu pages differ at the sink, from 0x%zx on", how, bad, first);
}

static unsigned long full_exits(const struct vm *vm)
{
	unsigned long all = 0;
	unsigned int i;

	for (i = 0; i < vm->nr_cpus; i++)
		all += *(volatile unsigned long *)&vm->cpus[i].fulls;
	return all;
}

/* A vCPU of a debug kernel writes too slowly to fill a ring. */
static bool must_fill(unsigned int entries)
{
	return entries == VM_SMALL_RING && lab_slow() == 1;
}

static void move(unsigned int cpus, unsigned int entries, unsigned int late,
		 enum kvm_ferry_transport transport, unsigned int channels)
{
	struct pair p = { .bytes = BYTES, .channels = channels, .transport = transport };
	struct kvm_ferry_stats src;
	unsigned long fulls;
	uint32_t before[VM_MAX_CPUS], rounds = 0;
	struct vm vm;
	unsigned int i, tries;
	char how[64];

	snprintf(how, sizeof(how), "%u vCPUs%s, rings of %u", cpus + late, late ? ", one late" : "",
		 entries);
	vm_open(&vm, BYTES, BYTES, entries);
	p.from = vm.mem;
	p.to = pair_memory(BYTES, false);
	fill(p.from + 22 * MIB, 2 * MIB, entries);
	for (i = 0; i < cpus; i++)
		program(vm_add_cpu(&vm));
	pair_open(&p, vm.fd);
	vm_hand_over(&vm, p.source, BYTES);
	pair_start(&p);
	vm_start_all(&vm);
	await_passes(&p, 2);
	for (i = 0; i < late; i++) {
		struct vm_cpu *cpu = vm_add_cpu(&vm);

		program(cpu);
		tap_check(!ferry_ring_hand_over(cpu->ring, p.source), "%s: a ring is added while live",
			  how);
		cpu_start(cpu);
	}
	for (i = 0; i < vm.nr_cpus; i++)
		before[i] = round_of(&vm, i);
	await_passes(&p, 3);
	/* Every vCPU gets on, although the rings are small: none stands still. */
	for (i = 0; i < vm.nr_cpus; i++) {
		for (tries = 0; tries < 200 && round_of(&vm, i) - before[i] < 2; tries++)
			await_passes(&p, 1);
		rounds += round_of(&vm, i) - before[i] >= 2;
	}
	tap_check(rounds == vm.nr_cpus, "%s: %u of %u vCPUs got on while passes ran", how, rounds,
		  vm.nr_cpus);
	/* Rings are emptied before they are full; but a vCPU may be faster. */
	for (tries = 0; must_fill(entries) && tries < 200 && !full_exits(&vm); tries++)
		await_passes(&p, 1);
	vm_stop_all(&vm);
	tap_check(!pair_switch(&p, how, sizeof(how)), "%s: moved", how);
	count_different(&p, how);
	src = pair_stats(p.source);
	fulls = full_exits(&vm);
	tap_check(src.out_ring_entries > vm.nr_cpus * CPU_BYTES / PAGE && src.out_ring_resets > 0 &&
		  src.out_dirty_pages > 0, "%s: %llu entries in %llu resets", how,
		  (unsigned long long)src.out_ring_entries, (unsigned long long)src.out_ring_resets);
	if (fulls || must_fill(entries))
		tap_check(fulls && src.out_ring_full >= fulls && src.out_ring_full_ns,
			  "%s: %lu exits with a full ring, %llu waits of %llu us together", how, fulls,
			  (unsigned long long)src.out_ring_full,
			  (unsigned long long)src.out_ring_full_ns / 1000);
	vm_take_back(&vm, how);
	pair_close(&p);
	munmap(p.to, BYTES);
	vm_close(&vm);
}

int main(void)
{
	struct vm keep;

	/* A host under emulation does not like its first and last VM to come and go. */
	vm_open(&keep, 4 * MIB, 4 * MIB, 4096);
	move(1, 4096, 0, KVM_FERRY_TRANSPORT_TCP, 1);
	move(1, VM_SMALL_RING, 0, KVM_FERRY_TRANSPORT_LOOP, 1);
	move(4, VM_SMALL_RING, 0, KVM_FERRY_TRANSPORT_TCP, 3);
	move(2, VM_SMALL_RING, 1, KVM_FERRY_TRANSPORT_TCP, 2);
	vm_close(&keep);
	return tap_done();
}
