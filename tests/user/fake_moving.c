// SPDX-License-Identifier: GPL-2.0-only
/*
 * Migrations that move, for fake_module.c: a guest with a working set, a link, and
 * passes over what was written meanwhile. Nothing comes by chance. Time is the
 * clock's, FAKE_SPEED times as fast; with FAKE_STEP_MS=N each reading of a session
 * is N ms later than the one before, so that a test sees the same on any machine.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake_moving.h"

#define PAGE		4096.0
#define MS		1000000ULL
#define SETUP_MS	80
#define STATE_MS	25
#define COMMIT_MS	12
#define DOUBT_MS	400

enum fate { MOVES, FAILS, DOUBT };

struct guest {
	__u64 id;
	const char *name;
	enum fate fate;
	double gib;		/* memory */
	double zero;		/* the part of it that is zero */
	double link;		/* bytes a second */
	double writes;		/* pages a second, each at another place of the working set */
	double working_set;	/* pages */
	unsigned int fails_ms;
	_Bool sink;
	_Bool bounded;		/* it has a bandwidth limit, and vCPUs that meet full rings */
	_Bool rdma;
	_Bool throttled;	/* one vCPU of four writes nearly all, until it is held back */
};

static const struct guest guests[] = {
	{ 21, "web-7", MOVES, 8, 0.35, 1.16e9, 180000, 400000, 0, 0, 0, 0, 0 },
	{ 22, "db-2 \"primary\"", FAILS, 16, 0.1, 1.16e9, 200000, 300000, 9000, 0, 0, 0, 0 },
	{ 23, "mail\\1", DOUBT, 2, 0.5, 1.16e9, 20000, 30000, 0, 0, 0, 0, 0 },
	{ 24, "build-farm-worker-14-of-the-pool", FAILS, 4, 0.05, 1.17e8, 60000, 150000, 90000, 0,
	  1, 0, 0 },
	{ 25, "web-8", MOVES, 8, 0.35, 2.9e9, 180000, 400000, 0, 1, 0, 1, 0 },
	{ 26, "wild-4", MOVES, 4, 0.2, 1.16e9, 420000, 300000, 0, 0, 1, 0, 1 },
};

#define NR_GUESTS (sizeof(guests) / sizeof(guests[0]))

/* What has become of one, up to @now_ms. */
struct run {
	_Bool begun;
	__u64 began_ns;
	unsigned int reading, now_ms, final_ms, paused_ms, end_ms;
	__u32 state, error;
	double to_send, zero_left, fresh;	/* pages of this pass, of them zero; dirtied since */
	double sent, zero, normal, dirtied, full_ms, pass_wrote;
	unsigned int pass;
	double link_now, dirty_now;
	double held_to, held_ms;	/* pages a second; 0: it is not held back */
};

static struct run runs[NR_GUESTS];

static __u64 clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void end(struct run *r, __u32 state, __u32 error)
{
	r->state = state;
	r->error = error;
	r->end_ms = r->now_ms;
}

static void begin_pass(struct run *r, double pages, double zero)
{
	r->pass++;
	r->to_send = pages;
	r->zero_left = zero;
	r->fresh = 0;
}

/* A millisecond of sending; the link is not quite steady. */
static void send(const struct guest *g, struct run *r)
{
	double wave = (r->now_ms / 130) % 7 * 0.008, part, pages, zero;

	r->link_now = g->link * (0.97 + wave - (r->now_ms < 600 ? (600 - r->now_ms) / 900.0 : 0));
	pages = r->link_now / 1000 / (PAGE + 16);
	if (r->to_send <= 0)
		return;
	/* Zero pages lie between the others and cost nothing. */
	part = r->zero_left / r->to_send;
	zero = part < 1 ? pages * part / (1 - part) : r->zero_left;
	if (zero > r->zero_left)
		zero = r->zero_left;
	if (pages > r->to_send - zero)
		pages = r->to_send - zero;
	r->to_send -= pages + zero;
	r->zero_left -= zero;
	r->zero += zero;
	r->normal += pages;
	r->sent += pages * (PAGE + 16);
	if (r->to_send < 0.5)
		r->to_send = r->zero_left = 0;
}

#define VCPUS		4
#define CALM_WRITES	6000.0	/* of each of the others, where one is wild */
#define HELD_TO		120000.0	/* what that comes to, by half a step */

/* What a guest's vCPUs would write, and what the wild one is let. */
static double let_write(const struct guest *g, struct run *r, double writes)
{
	double wild = writes - (VCPUS - 1) * CALM_WRITES;

	if (!g->throttled || r->pass < 4)
		return writes;
	if (!(r->now_ms % 100))
		r->held_to = (r->held_to > 0 ? r->held_to : wild) / 2;
	if (r->held_to > 0 && r->held_to < HELD_TO)
		r->held_to = HELD_TO;
	if (r->held_to <= 0 || r->held_to >= wild)
		return writes;
	r->held_ms += 1 - r->held_to / wild;
	return writes - wild + r->held_to;
}

static void live(const struct guest *g, struct run *r)
{
	double writes = g->writes * (0.9 + (r->now_ms / 400) % 5 * 0.05), anew;

	writes = let_write(g, r, writes);
	/* Of what is written less and less is not dirty, or still to be sent, already. */
	anew = writes / 1000 * (1 - r->fresh / g->working_set) *
	       (1 - r->to_send * PAGE / (g->gib * (1 << 30)));
	if (anew < 0)
		anew = 0;
	r->fresh += anew;
	r->dirtied += anew;
	r->dirty_now = 0.95 * r->dirty_now + 0.05 * anew * 1000;
	if (g->bounded)
		r->full_ms += 0.3;
	send(g, r);
	if (g->fate == FAILS && r->now_ms >= g->fails_ms) {
		end(r, KVM_FERRY_STATE_FAILED, EPIPE);
	} else if (r->to_send <= 0) {
		begin_pass(r, r->fresh, 0);
		if (g->fate != FAILS && r->to_send * PAGE / g->link < 0.12) {
			r->state = KVM_FERRY_STATE_FINAL;
			r->final_ms = r->now_ms;
		}
	}
}

static void step(const struct guest *g, struct run *r)
{
	double total = g->gib * (1 << 30) / PAGE;

	r->now_ms++;
	switch (r->state) {
	case KVM_FERRY_STATE_CONNECTING:
		if (r->now_ms >= SETUP_MS) {
			r->state = KVM_FERRY_STATE_LIVE;
			begin_pass(r, total, total * g->zero);
		}
		break;
	case KVM_FERRY_STATE_LIVE:
		live(g, r);
		break;
	case KVM_FERRY_STATE_FINAL:
		send(g, r);
		if (r->to_send <= 0) {
			r->state = KVM_FERRY_STATE_PAUSED;
			r->paused_ms = r->now_ms;
		}
		break;
	case KVM_FERRY_STATE_PAUSED:
		if (r->now_ms >= r->paused_ms + STATE_MS)
			r->state = KVM_FERRY_STATE_COMMITTING;
		break;
	case KVM_FERRY_STATE_COMMITTING:
		if (g->fate == DOUBT && r->now_ms >= r->paused_ms + STATE_MS + DOUBT_MS)
			end(r, KVM_FERRY_STATE_IN_DOUBT, ETIMEDOUT);
		else if (g->fate == MOVES && r->now_ms >= r->paused_ms + STATE_MS + COMMIT_MS)
			end(r, KVM_FERRY_STATE_DONE, 0);
		break;
	}
}

static unsigned int due_ms(struct run *r)
{
	const char *text = getenv("FAKE_STEP_MS");
	double speed = 1;

	if (text)
		return (unsigned int)atoi(text) * r->reading++;
	text = getenv("FAKE_SPEED");
	if (text)
		speed = atof(text);
	return (unsigned int)((clock_ns() - r->began_ns) / 1e6 * speed);
}

static void as_source(const struct guest *g, const struct run *r, struct kvm_ferry_stats *st)
{
	st->out_ram_remaining = (__u64)(r->to_send + r->fresh) * (__u64)PAGE;
	st->out_ram_acked = (__u64)(r->sent > 2e6 ? r->sent - 2e6 : 0);
	st->out_ram_queued = r->state == KVM_FERRY_STATE_LIVE && r->sent > 2e6 ? 2000000 : 0;
	st->out_dirty_pages = (__u64)r->dirtied;
	st->out_ring_entries = (__u64)(r->dirtied * 1.04);
	st->out_ring_resets = r->now_ms / 20;
	st->out_harvest_ns = (__u64)(r->dirtied * 90);
	st->out_reset_ns = (__u64)(r->dirtied * 140);
	st->out_ring_full = (__u64)(r->full_ms / 2);
	st->out_ring_full_ns = (__u64)((r->full_ms + r->held_ms) * MS);
	st->out_throttled_rings = r->held_to > 0;
	st->out_throttle_rate = (__u64)r->held_to;
	st->out_throttle_ns = (__u64)(r->held_ms * MS);
	if (r->now_ms > SETUP_MS + 100) {
		st->out_link_rate = (__u64)r->link_now;
		st->out_dirty_pages_rate = (__u64)r->dirty_now;
		st->out_expected_ram_ns = (__u64)(st->out_ram_remaining / g->link * 1e9);
		st->out_expected_trips_ns = 3 * MS;
		st->out_expected_fixed_ns = 4 * MS;
		st->out_expected_state_ns = 8 * MS;
		st->out_expected_downtime_ns = 15 * MS + st->out_expected_ram_ns;
	}
}

int moving_stats(struct kvm_ferry_stats *st)
{
	const struct guest *g = guests;
	unsigned int due;
	struct run *r;

	while (g < guests + NR_GUESTS && g->id != st->session_id)
		g++;
	if (g == guests + NR_GUESTS)
		return -ENOENT;
	r = &runs[g - guests];
	if (!r->begun) {
		r->begun = 1;
		r->began_ns = clock_ns();
		r->state = KVM_FERRY_STATE_CONNECTING;
	}
	for (due = due_ms(r); r->now_ms < due && r->state < KVM_FERRY_STATE_DONE;)
		step(g, r);

	st->out_session_id = g->id;
	st->out_role = g->sink ? KVM_FERRY_SINK : KVM_FERRY_SOURCE;
	st->out_state = r->state;
	st->out_error = r->error;
	st->out_nr_channels = 4;
	st->out_rdma_channels = g->rdma ? 4 : 0;
	st->out_windows = g->rdma ? r->now_ms / 3 : 0;
	st->out_pinned_bytes = g->rdma && r->sent > 0 ? 64 << 20 : 0;
	st->out_pinned_most_bytes = g->rdma ? 96 << 20 : 0;
	st->out_total_time_ns = r->now_ms * MS;
	st->out_setup_time_ns = (r->now_ms < SETUP_MS ? r->now_ms : SETUP_MS) * MS;
	st->out_downtime_ns = r->final_ms ? (r->now_ms - r->final_ms) * MS : 0;
	st->out_expected_downtime_ns = ~0ULL;
	st->out_predicted_downtime_ns = ~0ULL;
	st->out_ram_total = (__u64)(g->gib * (1 << 30));
	st->out_ram_transferred = (__u64)r->sent;
	st->out_ram_normal = (__u64)r->normal;
	st->out_ram_duplicate = (__u64)r->zero;
	*(g->sink ? &st->out_ram_skipped_clear : &st->out_ram_hole) = (__u64)(r->zero * 0.9);
	st->out_dirty_sync_count = r->pass;
	st->out_extents = (__u64)(r->normal / 40);
	st->out_batches = (__u64)(r->normal / 250);
	st->out_bookkeeping_bytes = st->out_ram_total / 4096 / 8 * 4;
	st->out_state_bytes = r->paused_ms ? 1234567 : 0;
	memcpy(st->out_name, g->name, strnlen(g->name, sizeof(st->out_name) - 1));
	if (!g->sink)
		as_source(g, r, st);
	return 0;
}

void moving_limits(__u64 id, struct kvm_ferry_limits *limits)
{
	unsigned int i;

	for (i = 0; i < NR_GUESTS; i++)
		if (guests[i].id == id && guests[i].throttled)
			limits->throttle = KVM_FERRY_THROTTLE_AUTO;
}

unsigned int moving_ids(__u64 *ids, unsigned int room)
{
	unsigned int i;

	for (i = 0; i < NR_GUESTS && i < room; i++)
		ids[i] = guests[i].id;
	return NR_GUESTS;
}
