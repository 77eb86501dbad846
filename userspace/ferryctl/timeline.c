// SPDX-License-Identifier: GPL-2.0-only
/*
 * A session's history. All times are the module's own, since START: they do not
 * depend on when a reading happened to be made, and stand still at the end.
 */
#include <string.h>

#include "timeline.h"

#define POINT_NS	(50 * 1000000ULL)	/* as short as a point can be */
#define RECENT_NS	(100 * 1000000ULL)

static void add_state(struct timeline *tl, const struct kvm_ferry_stats *st)
{
	struct timeline_state *s = &tl->states[tl->nr_states];

	if (tl->nr_states == TIMELINE_STATES)
		return;
	s->state = st->out_state;
	s->at_ns = st->out_total_time_ns;
	/* How long ago FINAL was called is known exactly. */
	if (st->out_state == KVM_FERRY_STATE_FINAL && st->out_downtime_ns <= s->at_ns)
		s->at_ns -= st->out_downtime_ns;
	tl->nr_states++;
}

static void add_pass(struct timeline *tl, const struct kvm_ferry_stats *st)
{
	struct timeline_pass *p = &tl->passes[tl->nr_passes++ % TIMELINE_PASSES];

	p->number = st->out_dirty_sync_count;
	p->at_ns = st->out_total_time_ns;
	p->sent = st->out_ram_transferred;
	p->left = st->out_ram_remaining;
	p->dirtied = st->out_dirty_pages;
}

static void sink_rate(struct timeline *tl, const struct kvm_ferry_stats *st)
{
	size_t newest = (tl->nr_recent - 1) % TIMELINE_RECENT, oldest;
	uint64_t now = st->out_total_time_ns;

	if (!tl->nr_recent || now >= tl->recent[newest].at_ns + RECENT_NS) {
		newest = tl->nr_recent++ % TIMELINE_RECENT;
		tl->recent[newest].at_ns = now;
		tl->recent[newest].sent = st->out_ram_transferred;
	}
	oldest = tl->nr_recent > TIMELINE_RECENT ? tl->nr_recent % TIMELINE_RECENT : 0;
	if (now > tl->recent[oldest].at_ns)
		tl->link_rate = (double)(st->out_ram_transferred - tl->recent[oldest].sent) * 1e9 /
				(double)(now - tl->recent[oldest].at_ns);
}

/* Half as many points, each twice as long. */
static void halve(struct timeline *tl)
{
	struct timeline_point *a, *b, *to = tl->points;
	double parts;
	size_t i;

	for (i = 0; i + 1 < tl->nr_points; i += 2, to++) {
		a = &tl->points[i];
		b = a + 1;
		parts = a->readings + b->readings;
		*to = (struct timeline_point) {
			.at_ns = a->at_ns,
			.link = (a->link * a->readings + b->link * b->readings) / parts,
			.dirty = (a->dirty * a->readings + b->dirty * b->readings) / parts,
			.left = (a->left * a->readings + b->left * b->readings) / parts,
			.readings = a->readings + b->readings,
		};
	}
	tl->nr_points /= 2;
	tl->point_ns *= 2;
}

static void mean(double *of, double value, unsigned int readings)
{
	*of += (value - *of) / readings;
}

uint64_t timeline_dirty_rate(const struct kvm_ferry_stats *st)
{
	return st->out_state < KVM_FERRY_STATE_FINAL ?
	       st->out_dirty_pages_rate * KVM_FERRY_PAGE_SIZE : 0;
}

bool timeline_throttled(const struct kvm_ferry_stats *st)
{
	return st->out_state == KVM_FERRY_STATE_LIVE && st->out_throttled_rings;
}

static void add_point(struct timeline *tl, const struct kvm_ferry_stats *st)
{
	struct timeline_point *p = tl->nr_points ? &tl->points[tl->nr_points - 1] : NULL;
	uint64_t now = st->out_total_time_ns;

	if (!tl->point_ns)
		tl->point_ns = POINT_NS;
	if (!p || now >= p->at_ns + tl->point_ns) {
		if (tl->nr_points == TIMELINE_POINTS)
			halve(tl);
		p = &tl->points[tl->nr_points++];
		*p = (struct timeline_point) { .at_ns = now };
	}
	p->readings++;
	mean(&p->link, tl->link_rate, p->readings);
	mean(&p->dirty, (double)timeline_dirty_rate(st), p->readings);
	mean(&p->left, (double)st->out_ram_remaining, p->readings);
}

static bool limits_differ(const struct session_view *a, const struct session_view *b)
{
	/* A session that is gone has none any more, which is no change. */
	return a->has_limits && b->has_limits &&
	       (a->limits.max_bandwidth != b->limits.max_bandwidth ||
		a->limits.final_bandwidth != b->limits.final_bandwidth ||
		a->limits.downtime_limit_ns != b->limits.downtime_limit_ns ||
		a->limits.throttle != b->limits.throttle ||
		a->limits.throttle_floor != b->limits.throttle_floor);
}

unsigned int timeline_observe(struct timeline *tl, const struct session_view *view)
{
	const struct kvm_ferry_stats *st = &view->stats, *was = &tl->last.stats;
	unsigned int saw = 0;

	/* A VMM that has begun another migration. */
	if (tl->any && st->out_session_id != was->out_session_id)
		memset(tl, 0, sizeof(*tl));
	if (!tl->any)
		saw |= SAW_BEGIN | SAW_STATE | (st->out_dirty_sync_count ? SAW_PASS : 0);
	else
		saw |= (st->out_state != was->out_state ? SAW_STATE : 0) |
		       (st->out_dirty_sync_count != was->out_dirty_sync_count ? SAW_PASS : 0) |
		       (limits_differ(&tl->last, view) ? SAW_LIMITS : 0);
	if (saw & SAW_STATE)
		add_state(tl, st);
	if (saw & SAW_PASS)
		add_pass(tl, st);
	if (st->out_role == KVM_FERRY_SINK)
		sink_rate(tl, st);
	else
		tl->link_rate = (double)st->out_link_rate;
	if (st->out_state >= KVM_FERRY_STATE_LIVE)
		add_point(tl, st);
	tl->last = *view;
	tl->any = true;
	return saw;
}

const struct timeline_pass *timeline_pass(const struct timeline *tl, size_t nr)
{
	if (nr >= tl->nr_passes || nr >= TIMELINE_PASSES)
		return NULL;
	return &tl->passes[(tl->nr_passes - 1 - nr) % TIMELINE_PASSES];
}

bool timeline_time_in(const struct timeline *tl, uint32_t state, uint64_t *ns)
{
	uint64_t until;
	size_t i;

	for (i = 0; i < tl->nr_states; i++) {
		if (tl->states[i].state != state)
			continue;
		until = i + 1 < tl->nr_states ? tl->states[i + 1].at_ns :
						tl->last.stats.out_total_time_ns;
		*ns = until > tl->states[i].at_ns ? until - tl->states[i].at_ns : 0;
		return true;
	}
	return false;
}
