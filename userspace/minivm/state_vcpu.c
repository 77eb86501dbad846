// SPDX-License-Identifier: GPL-2.0-only
/*
 * Saves and loads one vCPU.
 *
 * Model-specific registers: all of KVM's list that can be read. Left out are
 * the counter (it goes on by itself, see state_tsc_load()), and those of nested
 * VMX and of Hyper-V, which this VMM's guests are never offered.
 */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "state.h"

#define MSR_TSC			0x10
#define MSR_TSC_DEADLINE	0x6e0
#define MAX_MSRS		1024
/* Counters that differ by more have visibly different speed (KVM's own limit). */
#define TSC_TOLERANCE_PPM	250

struct msr_buf {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[MAX_MSRS];
};

static bool msr_travels(uint32_t index)
{
	return index != MSR_TSC &&
	       !(index >= 0x480 && index <= 0x493) &&		/* VMX capabilities */
	       !(index >= 0x40000000 && index <= 0x400001ff);	/* Hyper-V */
}

/*
 * KVM reads until it meets one that this guest does not have: leave that out,
 * go on behind it. Returns how many were read.
 */
static unsigned int read_msrs(struct vcpu *v, struct msr_buf *m, unsigned int count)
{
	unsigned int done = 0;
	struct msr_buf *part = malloc(sizeof(*part));

	if (!part)
		return 0;
	while (done < count) {
		int n;

		part->head.nmsrs = count - done;
		memcpy(part->entries, m->entries + done, (count - done) * sizeof(m->entries[0]));
		n = ioctl(v->fd, KVM_GET_MSRS, part);
		if (n < 0)
			n = 0;
		memcpy(m->entries + done, part->entries, n * sizeof(m->entries[0]));
		done += n;
		if (done == count)
			break;
		count--;
		memmove(m->entries + done, m->entries + done + 1,
			(count - done) * sizeof(m->entries[0]));
	}
	free(part);
	return count;
}

static int save_msrs(struct vcpu *v, struct state_buf *b, struct mv_error *e)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + MAX_MSRS * sizeof(list->indices[0]));
	struct msr_buf *m = calloc(1, sizeof(*m));
	unsigned int i, count = 0;
	int ret = 0;

	if (!list || !m) {
		ret = mv_fail(e, ENOMEM, "no memory for the registers of vCPU %u", v->index);
		goto out;
	}
	list->nmsrs = MAX_MSRS;
	if (ioctl(v->vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, list)) {
		ret = mv_fail(e, errno, "cannot list the model-specific registers");
		goto out;
	}
	for (i = 0; i < list->nmsrs; i++)
		if (msr_travels(list->indices[i]))
			m->entries[count++].index = list->indices[i];
	count = read_msrs(v, m, count);
	state_put(b, STATE_MSRS, v->index, m->entries, count * sizeof(m->entries[0]));
out:
	free(list);
	free(m);
	return ret;
}

static int save_cpuid(struct vcpu *v, struct state_buf *b, struct mv_error *e)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + CPUID_MAX_ENTRIES * sizeof(c->entries[0]));
	int ret = 0;

	if (!c)
		return mv_fail(e, ENOMEM, "no memory for the features of vCPU %u", v->index);
	c->nent = CPUID_MAX_ENTRIES;
	if (ioctl(v->fd, KVM_GET_CPUID2, c)) {
		ret = mv_fail(e, errno, "cannot save the features of vCPU %u", v->index);
		goto out;
	}
	/* Linux 6.1 does not say how many there are: the rest is as we made it, zero. */
	while (c->nent > 1 && !c->entries[c->nent - 1].function && !c->entries[c->nent - 1].eax)
		c->nent--;
	state_put(b, STATE_CPUID, v->index, c->entries, c->nent * sizeof(c->entries[0]));
out:
	free(c);
	return ret;
}

static int save_xsave(struct vcpu *v, struct state_buf *b, struct mv_error *e)
{
	uint32_t size = v->vm->xsave_size;
	void *x = calloc(1, size);
	int ret = 0;

	if (!x)
		return mv_fail(e, ENOMEM, "no memory for the registers of vCPU %u", v->index);
	if (ioctl(v->fd, size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, x))
		ret = mv_fail(e, errno, "cannot save the vector registers of vCPU %u", v->index);
	else
		state_put(b, STATE_XSAVE, v->index, x, size);
	free(x);
	return ret;
}

static int read_tsc(struct vcpu *v, uint64_t *value, uint64_t *offset)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1, .entry.index = MSR_TSC };
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)offset,
	};

	if (ioctl(v->fd, KVM_GET_DEVICE_ATTR, &attr))
		return -errno;
	if (ioctl(v->fd, KVM_GET_MSRS, &m) != 1)
		return -EIO;
	*value = m.entry.data;
	return 0;
}

/* The plain structs, in the order of saving: asking for MP state may change registers. */
static const struct {
	enum state_type type;
	unsigned long get, set;
	size_t size;
	const char *name;
} plain[] = {
	{ STATE_MP_STATE, KVM_GET_MP_STATE, KVM_SET_MP_STATE, sizeof(struct kvm_mp_state),
	  "run state" },
	{ STATE_REGS, KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs), "registers" },
	{ STATE_SREGS, KVM_GET_SREGS2, KVM_SET_SREGS2, sizeof(struct kvm_sregs2),
	  "system registers" },
	{ STATE_XCRS, KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs), "XCR0" },
	{ STATE_DEBUGREGS, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, sizeof(struct kvm_debugregs),
	  "debug registers" },
	{ STATE_LAPIC, KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state), "LAPIC" },
	{ STATE_EVENTS, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, sizeof(struct kvm_vcpu_events),
	  "events" },
};
#define NR_PLAIN (sizeof(plain) / sizeof(plain[0]))

int state_vcpu_save(struct vcpu *v, struct state_buf *b, struct mv_error *e)
{
	union {
		struct kvm_sregs2 sregs;
		struct kvm_lapic_state lapic;
		struct kvm_xcrs xcrs;
		struct kvm_vcpu_events events;
	} buf;
	struct state_tsc tsc = { 0 };
	unsigned int i;
	int ret;

	ret = read_tsc(v, &tsc.value, &tsc.offset);
	if (ret)
		return mv_fail(e, -ret, "cannot save the counter of vCPU %u (it needs Linux 5.16)",
			       v->index);
	ret = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);
	if (ret <= 0)
		return mv_fail(e, EIO, "KVM does not know the speed of its counter");
	tsc.khz = ret;
	state_put(b, STATE_TSC, v->index, &tsc, sizeof(tsc));
	for (i = 0; i < NR_PLAIN; i++) {
		memset(&buf, 0, sizeof(buf));
		if (ioctl(v->fd, plain[i].get, &buf))
			return mv_fail(e, errno, "cannot save the %s of vCPU %u", plain[i].name,
				       v->index);
		state_put(b, plain[i].type, v->index, &buf, plain[i].size);
	}
	ret = save_cpuid(v, b, e);
	if (!ret)
		ret = save_xsave(v, b, e);
	if (!ret)
		ret = save_msrs(v, b, e);
	return ret;
}

static int load_plain(struct vcpu *v, enum state_type type, const struct state_record *r,
		      struct mv_error *e)
{
	/* A copy: bytes of a stream need not be aligned. */
	uint64_t buf[sizeof(struct kvm_lapic_state) / 8];
	unsigned int i;

	for (i = 0; plain[i].type != type; i++)
		;
	memcpy(buf, r[type].data, plain[i].size);
	if (ioctl(v->fd, plain[i].set, buf))
		return mv_fail(e, errno, "KVM refuses the %s of vCPU %u", plain[i].name, v->index);
	return 0;
}

static int load_cpuid(struct vcpu *v, const struct state_record *r, struct mv_error *e)
{
	uint32_t n = r->length / sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *guest, *host;
	int ret = 0;

	if (r->length % sizeof(struct kvm_cpuid_entry2) || !n || n > CPUID_MAX_ENTRIES)
		return mv_fail(e, EPROTO, "the features of vCPU %u have a wrong length", v->index);
	guest = calloc(1, sizeof(*guest) + r->length);
	host = cpuid_supported(v->vm);
	if (!guest || !host) {
		ret = mv_fail(e, ENOMEM, "no memory for the features of vCPU %u", v->index);
		goto out;
	}
	guest->nent = n;
	memcpy(guest->entries, r->data, r->length);
	ret = cpuid_covers(host, guest, e);
	if (!ret && ioctl(v->fd, KVM_SET_CPUID2, guest))
		ret = mv_fail(e, errno, "KVM refuses the features of vCPU %u", v->index);
out:
	free(guest);
	free(host);
	return ret;
}

static int load_xsave(struct vcpu *v, const struct state_record *r, struct mv_error *e)
{
	uint32_t size = v->vm->xsave_size;
	void *x;
	int ret = 0;

	if (r->length < sizeof(struct kvm_xsave) || r->length > size)
		return mv_fail(e, EOPNOTSUPP,
			       "vCPU %u has %u bytes of vector registers, this host takes 4096 to %u",
			       v->index, r->length, size);
	x = calloc(1, size);
	if (!x)
		return mv_fail(e, ENOMEM, "no memory for the registers of vCPU %u", v->index);
	memcpy(x, r->data, r->length);
	if (ioctl(v->fd, KVM_SET_XSAVE, x))
		ret = mv_fail(e, errno, "KVM refuses the vector registers of vCPU %u", v->index);
	free(x);
	return ret;
}

static int set_msr(struct vcpu *v, const struct kvm_msr_entry *entry, struct mv_error *e)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1, .entry = *entry };

	/* One that this KVM does not have does not matter if it holds nothing. */
	if (ioctl(v->fd, KVM_SET_MSRS, &m) == 1 || !entry->data)
		return 0;
	return mv_fail(e, EOPNOTSUPP, "this host does not take register %#x = %#llx of vCPU %u",
		       entry->index, (unsigned long long)entry->data, v->index);
}

/*
 * Sets what differs from what the vCPU has: most registers hold what they were
 * made with, some cannot be set even to that, and KVM complains in the log.
 */
static int load_msrs(struct vcpu *v, const struct state_record *r, struct mv_error *e)
{
	unsigned int count = r->length / sizeof(struct kvm_msr_entry), i, have, n = 0, at = 0;
	struct msr_buf *want = calloc(1, sizeof(*want)), *now = calloc(1, sizeof(*now));
	int ret = 0;

	if (!want || !now) {
		ret = mv_fail(e, ENOMEM, "no memory for the registers of vCPU %u", v->index);
		goto out;
	}
	if (r->length % sizeof(struct kvm_msr_entry) || count > MAX_MSRS) {
		ret = mv_fail(e, EPROTO, "the registers of vCPU %u have a wrong length", v->index);
		goto out;
	}
	for (i = 0; i < count; i++) {
		struct kvm_msr_entry *entry = &want->entries[n];

		memcpy(entry, r->data + i * sizeof(*entry), sizeof(*entry));
		entry->reserved = 0;
		/* The deadline comes last, when the counter is right. */
		if (entry->index != MSR_TSC_DEADLINE && msr_travels(entry->index))
			now->entries[n++].index = entry->index;
	}
	have = read_msrs(v, now, n);
	for (i = 0; i < n && !ret; i++) {
		/* Both are in the same order, but what cannot be read is left out. */
		if (at < have && now->entries[at].index == want->entries[i].index &&
		    now->entries[at++].data == want->entries[i].data)
			continue;
		ret = set_msr(v, &want->entries[i], e);
	}
out:
	free(want);
	free(now);
	return ret;
}

int state_vcpu_load(struct vcpu *v, const struct state_record *r, struct mv_error *e)
{
	static const enum state_type order[] = {
		STATE_SREGS, STATE_REGS, STATE_XCRS, STATE_DEBUGREGS, STATE_MP_STATE,
	};
	unsigned int i;
	int ret;

	ret = load_cpuid(v, &r[STATE_CPUID], e);
	for (i = 0; !ret && i < sizeof(order) / sizeof(order[0]); i++)
		ret = load_plain(v, order[i], r, e);
	if (!ret)
		ret = load_xsave(v, &r[STATE_XSAVE], e);
	if (!ret)
		ret = load_msrs(v, &r[STATE_MSRS], e);
	if (!ret)
		ret = load_plain(v, STATE_LAPIC, r, e);
	return ret;
}

/*
 * Sets the counter by its offset, so that all vCPUs keep their distance to each
 * other exactly, however long this loop takes.
 */
int state_tsc_load(struct vcpu *v, const struct state_record *r, uint64_t elapsed_ns,
		   const struct state_record *first, struct mv_error *e)
{
	struct state_tsc mine, base;
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET };
	uint64_t now, offset;
	int khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0), ret;

	memcpy(&mine, r[STATE_TSC].data, sizeof(mine));
	memcpy(&base, first[STATE_TSC].data, sizeof(base));
	if (!mine.khz || mine.khz != base.khz)
		return mv_fail(e, EPROTO, "the counter of vCPU %u has a wrong speed", v->index);
	if (khz != (int)mine.khz &&
	    ioctl(v->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0 &&
	    ioctl(v->fd, KVM_SET_TSC_KHZ, mine.khz))
		return mv_fail(e, errno, "KVM refuses a counter of %u kHz", mine.khz);
	khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);
	if (!v->index && llabs((long long)khz - mine.khz) * 1000000 > mine.khz * TSC_TOLERANCE_PPM)
		warnx("the counter runs at %d kHz here, at %u kHz where the guest comes from: a guest that does not use kvm-clock will keep wrong time",
		      khz, mine.khz);

	if (!v->index) {
		uint64_t target = base.value +
			(uint64_t)((__uint128_t)elapsed_ns * base.khz / 1000000);

		ret = read_tsc(v, &now, &offset);
		if (ret)
			return mv_fail(e, -ret, "cannot read the counter of vCPU 0");
		v->vm->tsc_offset = offset + (target - now);
	}
	offset = v->vm->tsc_offset + (mine.offset - base.offset);
	attr.addr = (uintptr_t)&offset;
	if (ioctl(v->fd, KVM_SET_DEVICE_ATTR, &attr))
		return mv_fail(e, errno, "KVM refuses the counter of vCPU %u", v->index);
	return 0;
}

int state_vcpu_finish(struct vcpu *v, const struct state_record *r, struct mv_error *e)
{
	const struct state_record *msrs = &r[STATE_MSRS];
	uint32_t at;

	/* Set even when it is off: an earlier attempt may have left one armed. */
	for (at = 0; at < msrs->length; at += sizeof(struct kvm_msr_entry)) {
		struct kvm_msr_entry entry;
		int ret;

		memcpy(&entry, msrs->data + at, sizeof(entry));
		if (entry.index != MSR_TSC_DEADLINE)
			continue;
		entry.reserved = 0;
		ret = set_msr(v, &entry, e);
		if (ret)
			return ret;
	}
	return load_plain(v, STATE_EVENTS, r, e);
}
