// SPDX-License-Identifier: GPL-2.0
/* Random commands about a rig: first right, then perhaps broken (no test itself). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fuzz_rig.h"

/* The largest struct, and what may be behind it. */
union any {
	struct {
		uint32_t size;
		uint32_t flags;
	} head;
	struct kvm_ferry_create create;
	struct kvm_ferry_list list;
	struct kvm_ferry_reason reason;
	struct kvm_ferry_stats stats;
	struct kvm_ferry_limits limits;
	struct kvm_ferry_abort abort;
	struct kvm_ferry_ring_stats ring_stats;
	struct kvm_ferry_region_stats region_stats;
	struct kvm_ferry_host_limits host;
	struct kvm_ferry_history history;
	struct kvm_ferry_region_add region;
	struct kvm_ferry_slot slot;
	struct kvm_ferry_ring_add ring;
	struct kvm_ferry_channel_add channel;
	struct kvm_ferry_report_dirty report;
	struct kvm_ferry_bitmap bitmap;
	struct kvm_ferry_state_io state;
	uint8_t bytes[512];
};

static void limits(struct fuzzer *f, struct kvm_ferry_limits *m, bool source, bool rings)
{
	static const uint64_t throttles[] = {
		KVM_FERRY_THROTTLE_NEVER, KVM_FERRY_THROTTLE_AUTO, 64, 5000, 1ULL << 32,
	};

	m->flags = fuzz_below(f, 16);
	if (source && fuzz_chance(f, 30))
		m->flags |= KVM_FERRY_LIMIT_FINAL_BANDWIDTH;
	if (rings)
		m->flags |= fuzz_below(f, 8) * KVM_FERRY_LIMIT_THROTTLE;
	m->state_time_ns = fuzz_below(f, 1000) * 1000000ULL;
	m->throttle = throttles[fuzz_below(f, 5)];
	m->throttle_floor = 64ULL << fuzz_below(f, 27);
	m->max_bandwidth = fuzz_chance(f, 50) ? 0 : 1ULL << (32 + fuzz_below(f, 8));
	m->final_bandwidth = fuzz_chance(f, 50) ? KVM_FERRY_BANDWIDTH_SAME : 1ULL << (32 + fuzz_below(f, 8));
	m->downtime_limit_ns = 1000000ULL << fuzz_below(f, 12);
	m->inflight_bytes = (256ULL << 10) << fuzz_below(f, 8);
	m->peer_timeout_ns = 2000000000ULL << fuzz_below(f, 3);
}

static void slot(struct fuzzer *f, enum fuzz_cmd cmd, struct kvm_ferry_slot *s)
{
	s->slot = RIG_SPARE_SLOT + fuzz_below(f, 3);
	if (cmd == F_SLOT_REMOVE)
		return;
	s->offset = fuzz_below(f, RIG_BYTES / PAGE / 2) * PAGE;
	s->length = (1 + fuzz_below(f, 16)) * PAGE;
}

static void ranges(struct fuzzer *f, struct kvm_ferry_report_dirty *d)
{
	struct kvm_ferry_range *range = (struct kvm_ferry_range *)f->data;
	uint32_t i;

	d->ranges = (uintptr_t)range;
	d->count = 1 + fuzz_below(f, 8);
	for (i = 0; i < d->count; i++) {
		range[i] = (struct kvm_ferry_range){ .offset = fuzz_below(f, 128) * PAGE,
						     .length = (1 + fuzz_below(f, 128)) * PAGE };
		if (fuzz_chance(f, 3))
			range[i].offset = ~0ULL << 12;
		if (fuzz_chance(f, 3))
			range[i].region_id = fuzz_below(f, 3);
	}
}

static void bitmap(struct fuzzer *f, enum fuzz_cmd cmd, struct kvm_ferry_bitmap *b)
{
	size_t i;

	b->offset = fuzz_below(f, 4) * 64 * PAGE;
	b->length = RIG_BYTES - b->offset - fuzz_below(f, 64) * PAGE;
	b->bitmap = (uintptr_t)f->data;
	if (cmd == F_FETCH_DIRTY)
		b->flags = fuzz_chance(f, 30) ? KVM_FERRY_FETCH_SYNC : 0;
	for (i = 0; i < 32; i++)
		f->data[i] = fuzz_below(f, 256);
}

/* On the device an operator names a session; on a session nobody does. */
static int either(struct rig *r, struct fuzzer *f, int session, __u64 *id)
{
	if (fuzz_chance(f, 70))
		return session;
	*id = r->ids[fuzz_below(f, 2)];
	return r->dev;
}

int rig_right(struct rig *r, struct fuzzer *f, enum fuzz_cmd cmd, void *arg)
{
	const struct fuzz_row *row = &fuzz_rows[cmd];
	int fd = row->who & FUZZ_SINK || (!(row->who & FUZZ_SOURCE) && fuzz_chance(f, 50)) ?
		 r->sink : r->source;
	union any *a = arg;

	memset(arg, 0, row->size);
	a->head.size = row->size;
	switch (cmd) {
	case F_CREATE:
		a->create.role = fuzz_below(f, 2);
		a->create.dirty_source = a->create.role == KVM_FERRY_SOURCE ? KVM_FERRY_DIRTY_REPORT : 0;
		a->create.vm_fd = -1;
		if (r->ring && a->create.role == KVM_FERRY_SOURCE && fuzz_chance(f, 50)) {
			a->create.dirty_source = KVM_FERRY_DIRTY_RING;
			a->create.vm_fd = r->vm.fd;
		}
		return r->dev;
	case F_INFO:
		return r->dev;
	case F_LIST:
		a->list.ids = (uintptr_t)f->data;
		a->list.count = fuzz_below(f, 16);
		return r->dev;
	case F_REASON:
		a->reason.flags = fuzz_below(f, 2) * KVM_FERRY_REASON_SESSION;
		return a->reason.flags || fuzz_chance(f, 50) ? fd : r->dev;
	case F_STATS:
		return either(r, f, fd, &a->stats.session_id);
	case F_LIMITS:
		limits(f, &a->limits, fd == r->source, r->ring && fd == r->source);
		return either(r, f, fd, &a->limits.session_id);
	case F_ABORT:
		return either(r, f, fd, &a->abort.session_id);
	case F_HOST_LIMITS:
		a->host.flags = fuzz_below(f, 2) * KVM_FERRY_HOST_BANDWIDTH;
		a->host.max_bandwidth = fuzz_chance(f, 60) ? 0 : 1ULL << (32 + fuzz_below(f, 8));
		return r->dev;
	case F_HISTORY:
		a->history.after = fuzz_below(f, 200);
		return r->dev;
	case F_RING_STATS:
		a->ring_stats.index = fuzz_below(f, 2);
		return either(r, f, fd, &a->ring_stats.session_id);
	case F_REGION_STATS:
		a->region_stats.index = fuzz_below(f, 3);
		return either(r, f, fd, &a->region_stats.session_id);
	case F_REGION_ADD:
		a->region.region_id = 1 + fuzz_below(f, 300);
		snprintf((char *)a->region.name, sizeof(a->region.name), "spare %u", a->region.region_id);
		a->region.addr = (uintptr_t)f->data + a->region.region_id % 64 * PAGE;
		a->region.length = PAGE;
		return fd;
	case F_SLOT_ADD:
	case F_SLOT_MOVE:
	case F_SLOT_REMOVE:
		slot(f, cmd, &a->slot);
		return fd;
	case F_RING_ADD:
		a->ring.ring_id = fuzz_below(f, 2);
		a->ring.addr = (uintptr_t)r->ring_at;
		a->ring.length = r->ring ? r->vm.ring_bytes : 16384;
		return fd;
	case F_CHANNEL_ADD:
		a->channel.kind = KVM_FERRY_CHANNEL_DATA;
		a->channel.transport = KVM_FERRY_TRANSPORT_LOOP;
		a->channel.fd = -1;
		a->channel.key = fuzz_below(f, 4);
		return fd;
	case F_REPORT_DIRTY:
		ranges(f, &a->report);
		return fd;
	case F_REPORT_BITMAP:
	case F_FETCH_DIRTY:
		bitmap(f, cmd, &a->bitmap);
		return fd;
	case F_STATE_SEND:
	case F_STATE_RECV:
		a->state.data = (uintptr_t)f->data;
		a->state.length = 1 + fuzz_below(f, 5000);
		return fd;
	default:	/* RING_WAIT, RING_INDEX: ring 0; the others have but a size */
		return fd;
	}
}

/* What CREATE made is another rig's to move: it ends here, also in the middle of things. */
static void drop(struct fuzzer *f, const struct kvm_ferry_create *c)
{
	if (!f->last)
		close(c->out_fd);
}

void rig_fuzz(struct rig *r, struct fuzzer *f)
{
	/* What only looks has its share already: let the others come as often. */
	enum fuzz_cmd cmd = fuzz_below(f, F_NR);
	bool harmless = r->tidy && fuzz_rows[cmd].who & FUZZ_ENDS;
	union any a;
	int fd = rig_right(r, f, cmd, &a);

	if (r->tidy && cmd == F_STATE_SEND && fuzz_chance(f, 50))
		a.state.flags = 0;
	if (harmless || fuzz_chance(f, 25)) {
		fuzz_misplace(f, fd, cmd, &a, harmless || cmd == F_CREATE);
		return;
	}
	if (fuzz_chance(f, 35))
		fuzz_break(f, cmd, &a);
	if (fuzz_chance(f, 4))
		fd = fuzz_chance(f, 50) ? r->dev : r->source;
	/* Low memory is where the 32-bit door reaches. */
	if (cmd != F_CREATE && (f->shared || fuzz_chance(f, 60))) {
		memcpy(FUZZ_SHARED(f), &a, sizeof(a));
		fuzz_call(f, fd, cmd, FUZZ_SHARED(f));
		return;
	}
	fuzz_call(f, fd, cmd, &a);
	if (cmd == F_CREATE)
		drop(f, &a.create);
}
