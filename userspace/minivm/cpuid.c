// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the guest sees of the processor: all that KVM can give, but no nested
 * virtualization (whose state does not travel), and a plain topology of one
 * package with one thread a core.
 *
 * The guest keeps what it has seen: cpuid travels with it, and a host that
 * lacks a part of it refuses the guest.
 */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include "minivm.h"

#define BIT(n)			(1u << (n))
#define LEAF1_ECX_VMX		BIT(5)
#define LEAF1_ECX_X2APIC	BIT(21)
#define LEAF1_ECX_TSC_DEADLINE	BIT(24)
#define LEAF1_ECX_HYPERVISOR	BIT(31)
#define LEAF1_EDX_HTT		BIT(28)
#define EXT1_ECX_SVM		BIT(2)

/* The caller frees it. */
struct kvm_cpuid2 *cpuid_supported(struct vm *vm)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + CPUID_MAX_ENTRIES * sizeof(c->entries[0]));

	if (!c)
		return NULL;
	c->nent = CPUID_MAX_ENTRIES;
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, c)) {
		free(c);
		return NULL;
	}
	return c;
}

static unsigned int log2_up(unsigned int n)
{
	unsigned int bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

void cpuid_setup(struct vm *vm, struct vcpu *vcpu)
{
	struct kvm_cpuid2 *c = cpuid_supported(vm);
	unsigned int cpus = vm->opt->cpus, i, n = 0;

	if (!c)
		err(1, "KVM_GET_SUPPORTED_CPUID");
	for (i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		switch (e->function) {
		case 0x1:
			e->ebx = (e->ebx & 0xffff) | cpus << 16 | vcpu->index << 24;
			e->ecx &= ~LEAF1_ECX_VMX;
			e->ecx |= LEAF1_ECX_HYPERVISOR | LEAF1_ECX_X2APIC;
			if (ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
				e->ecx |= LEAF1_ECX_TSC_DEADLINE;
			if (cpus > 1)
				e->edx |= LEAF1_EDX_HTT;
			else
				e->edx &= ~LEAF1_EDX_HTT;
			break;
		case 0x4:	/* caches: shared by all; cores in the package */
			e->eax = (e->eax & 0x3fff) | (cpus - 1) << 26;
			break;
		case 0xa:	/* performance counters have state of their own */
			e->eax = e->ebx = e->ecx = e->edx = 0;
			break;
		case 0xb:	/* topology: threads of a core, cores of a package */
			e->eax = e->index == 1 ? log2_up(cpus) : 0;
			e->ebx = e->index == 0 ? 1 : e->index == 1 ? cpus : 0;
			e->ecx = e->index | (e->index == 0 ? 1 << 8 : e->index == 1 ? 2 << 8 : 0);
			e->edx = vcpu->index;
			break;
		case 0x1f:	/* the same for newer processors: leave it to 0xb */
		case 0x8000001d: /* AMD's view of shared caches and of topology */
		case 0x8000001e:
		case 0x8000000a: /* nested virtualization */
			continue;
		case 0x80000001:
			e->ecx &= ~EXT1_ECX_SVM;
			break;
		case 0x80000008:
			e->ecx = (e->ecx & ~0xf0ffu) | (cpus - 1) | log2_up(cpus) << 12;
			break;
		}
		c->entries[n++] = *e;
	}
	c->nent = n;
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, c))
		err(1, "KVM refuses the processor features of vCPU %u", vcpu->index);
	free(c);
}

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *c, uint32_t function,
					   uint32_t index)
{
	unsigned int i;

	for (i = 0; i < c->nent; i++)
		if (c->entries[i].function == function && c->entries[i].index == index)
			return &c->entries[i];
	return NULL;
}

/* Leaves whose registers are plain sets of features. */
static const struct {
	uint32_t function, index;
	uint32_t eax, ebx, ecx, edx;	/* which bits of each are features */
} feature_leaves[] = {
	{ 0x1, 0, 0, 0, ~(LEAF1_ECX_HYPERVISOR | LEAF1_ECX_X2APIC | LEAF1_ECX_TSC_DEADLINE |
			  BIT(27) /* OSXSAVE */), ~LEAF1_EDX_HTT },
	{ 0x7, 0, 0, ~0u, ~BIT(4) /* OSPKE */, ~0u },
	{ 0x7, 1, ~0u, 0, 0, 0 },
	{ 0xd, 0, ~0u, 0, 0, ~0u },
	{ 0xd, 1, ~0u, 0, 0, 0 },
	{ 0x80000001, 0, 0, 0, ~0u, ~0u },
	{ 0x80000007, 0, 0, 0, 0, ~0u },
	{ 0x80000008, 0, 0, ~0u, 0, 0 },
	{ 0x40000001, 0, ~0u, 0, 0, 0 },
};

int cpuid_covers(const struct kvm_cpuid2 *host, const struct kvm_cpuid2 *guest,
		 struct mv_error *e)
{
	static const struct kvm_cpuid_entry2 none;
	unsigned int i;

	for (i = 0; i < sizeof(feature_leaves) / sizeof(feature_leaves[0]); i++) {
		uint32_t fn = feature_leaves[i].function, index = feature_leaves[i].index;
		const struct kvm_cpuid_entry2 *g = find(guest, fn, index);
		const struct kvm_cpuid_entry2 *h = find(host, fn, index);
		uint32_t missing[4];

		if (!g)
			continue;
		if (!h)
			h = &none;
		missing[0] = g->eax & ~h->eax & feature_leaves[i].eax;
		missing[1] = g->ebx & ~h->ebx & feature_leaves[i].ebx;
		missing[2] = g->ecx & ~h->ecx & feature_leaves[i].ecx;
		missing[3] = g->edx & ~h->edx & feature_leaves[i].edx;
		if (missing[0] | missing[1] | missing[2] | missing[3])
			return mv_fail(e, EOPNOTSUPP,
				       "this host lacks processor features that the guest uses (cpuid %#x.%u: eax %#x ebx %#x ecx %#x edx %#x)",
				       fn, index, missing[0], missing[1], missing[2], missing[3]);
	}
	return 0;
}
