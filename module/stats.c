// SPDX-License-Identifier: GPL-2.0-only
/* What a session tells about itself. */
#include <linux/ktime.h>

#include "estimate.h"
#include "session.h"

void ferry_stats_init(struct ferry_session *s)
{
	ferry_rate_init(&s->stats.link_rate);
	ferry_rate_init(&s->stats.dirty_rate);
	s->stats.expected_downtime = FERRY_PLAN_UNKNOWN;
	s->stats.predicted_downtime = FERRY_PLAN_UNKNOWN;
	s->stats.working_set_at = ktime_get_ns();
	ferry_shortest_init(&s->stats.trip, s->stats.working_set_at);
}

static u64 since(ktime_t from, ktime_t to)
{
	return from ? ktime_to_ns(ktime_sub(to ?: ktime_get(), from)) : 0;
}

static void read_times(struct ferry_session *s, struct kvm_ferry_stats *o)
{
	struct ferry_stats *st = &s->stats;

	spin_lock(&s->state_lock);
	o->out_state = s->state;
	o->out_error = -s->failure.error;
	o->out_total_time_ns = since(s->started_at, s->ended_at);
	o->out_setup_time_ns = s->started_at ? since(s->started_at, s->live_at ?: s->ended_at) : 0;
	o->out_downtime_ns = st->downtime_ns ?: since(s->final_at, s->ended_at);
	spin_unlock(&s->state_lock);
}

static u64 rate(const struct ferry_rate *r)
{
	u64 value = READ_ONCE(r->value);

	return value == FERRY_PLAN_UNKNOWN ? 0 : value;
}

void ferry_stats_channels(struct ferry_session *s)
{
	u32 i, nr = ferry_session_nr_data(s);
	u64 acked = 0, queued = 0;

	/* taken_before is set by START. */
	if (ferry_session_state(s) < KVM_FERRY_STATE_LIVE)
		return;
	for (i = 0; i < nr; i++) {
		struct ferry_channel *ch = s->data[i];

		queued += ch->ops->queued(ch) + READ_ONCE(ch->tx_left);
		acked += ch->ops->taken(ch) - ch->taken_before;
	}
	WRITE_ONCE(s->stats.acked, acked);
	WRITE_ONCE(s->stats.queued, queued);
}

static u32 rdma_channels(struct ferry_session *s)
{
	u32 i, nr = ferry_session_nr_data(s), n = 0;

	for (i = 0; i < nr; i++)
		n += s->data[i]->ops->type == KVM_FERRY_TRANSPORT_RDMA;
	return n;
}

void ferry_stats_read(struct ferry_session *s, struct kvm_ferry_stats *o)
{
	struct ferry_stats *st = &s->stats;

	o->out_session_id = s->id;
	o->out_role = s->role;
	o->out_nr_channels = READ_ONCE(s->nr_data);
	read_times(s, o);
	o->out_expected_downtime_ns = READ_ONCE(st->expected_downtime);
	o->out_ram_total = READ_ONCE(st->ram_total);
	o->out_ram_transferred = atomic64_read(&st->transferred);
	o->out_ram_remaining = ferry_stats_left(st) * PAGE_SIZE;
	o->out_ram_normal = atomic64_read(&st->normal);
	o->out_ram_duplicate = atomic64_read(&st->zero);
	o->out_ram_hole = atomic64_read(&st->hole);
	o->out_ram_skipped_clear = atomic64_read(&st->clear);
	o->out_dirty_sync_count = READ_ONCE(s->pass);
	o->out_dirty_pages_rate = rate(&st->dirty_rate);
	o->out_link_rate = rate(&st->link_rate);
	o->out_dirty_pages = atomic64_read(&st->dirty_pages);
	o->out_ring_entries = READ_ONCE(st->ring_entries);
	o->out_ring_resets = READ_ONCE(st->ring_resets);
	o->out_ring_full = atomic64_read(&st->ring_full);
	o->out_ring_full_ns = atomic64_read(&st->ring_full_ns);
	o->out_harvest_ns = READ_ONCE(st->harvest_ns);
	o->out_reset_ns = READ_ONCE(st->reset_ns);
	o->out_extents = atomic64_read(&st->extents);
	o->out_batches = atomic64_read(&st->batches);
	o->out_batch_pages_spliced = atomic64_read(&st->spliced);
	o->out_pacing_ns = atomic64_read(&st->pacing_ns);
	o->out_state_bytes = READ_ONCE(st->state_bytes);
	o->out_digest = READ_ONCE(st->digest);
	o->out_bookkeeping_bytes = READ_ONCE(st->bookkeeping);
	memcpy(o->out_name, s->name, sizeof(o->out_name));
	o->out_ram_acked = READ_ONCE(st->acked);
	o->out_ram_queued = READ_ONCE(st->queued);
	o->out_pinned_bytes = atomic64_read(&st->pinned) * PAGE_SIZE;
	o->out_pinned_most_bytes = READ_ONCE(st->pinned_most) * PAGE_SIZE;
	o->out_windows = atomic64_read(&st->windows);
	o->out_rdma_channels = rdma_channels(s);
	if (o->out_state == KVM_FERRY_STATE_LIVE) {
		o->out_throttled_rings = READ_ONCE(s->dirty.brake.throttled);
		o->out_throttle_rate = READ_ONCE(s->dirty.brake.rate);
	}
	o->out_throttle_ns = atomic64_read(&st->throttle_ns);
	ferry_estimate_read(s, o);
}
