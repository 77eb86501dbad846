/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Planning and estimation: rates, predicted downtime, harvest interval, pacing.
 * Pure: memory and arithmetic on what the caller measured. Times are in
 * nanoseconds, rates in units a second, all integers; nothing overflows for
 * inputs up to 2^52 bytes and 2^52 ns (48 days), and nothing divides by zero.
 */
#ifndef FERRY_PLAN_H
#define FERRY_PLAN_H

#include <linux/types.h>

#define FERRY_PLAN_UNKNOWN	(~0ULL)

/**
 * struct ferry_rate - a rate as an exponentially weighted average
 * @value: units a second, FERRY_PLAN_UNKNOWN before the first sample
 * @fraction: what @value leaves out, in 2^-16 units; for ferry_rate_add() only
 *
 * A sample that covers t ns weighs t / (t + 500 ms): one that is long all but
 * replaces the average, many short ones move it about as far as a long one of
 * their length would. The first sample is the average.
 */
struct ferry_rate {
	u64 value;
	u64 fraction;
};

void ferry_rate_init(struct ferry_rate *r);
/* @units in @ns; a sample of 0 ns is ignored. */
void ferry_rate_add(struct ferry_rate *r, u64 units, u64 ns);

/**
 * ferry_plan_downtime - predict the downtime if the guest were paused now
 * @remaining: bytes that are dirty
 * @link_rate: bytes a second, FERRY_PLAN_UNKNOWN or 0: no prediction
 * @fixed_ns: what a switchover costs beside the bytes: round trips, state
 *
 * Return: nanoseconds, or FERRY_PLAN_UNKNOWN. Saturates below UNKNOWN.
 */
u64 ferry_plan_downtime(u64 remaining, u64 link_rate, u64 fixed_ns);

/**
 * ferry_plan_converged - may the VMM be told to pause
 * @expected_ns: of ferry_plan_downtime()
 * @limit_ns: the downtime limit
 */
bool ferry_plan_converged(u64 expected_ns, u64 limit_ns);

#define FERRY_SHORTEST_NS	(10ULL * 1000 * 1000 * 1000)

/**
 * struct ferry_shortest - the shortest of the samples of the last 10 to 20 s
 * @value: that, in ns; FERRY_PLAN_UNKNOWN before the first sample
 * @now: the shortest since @since
 * @before: the shortest of the 10 s before that
 * @since: ns
 *
 * A sample measures a round trip, and what its tasks had to wait for beside it: the
 * shortest waited least. But a path may change, so none holds for ever. Without new
 * samples the last ones stay.
 */
struct ferry_shortest {
	u64 value;
	u64 now;
	u64 before;
	u64 since;
};

void ferry_shortest_init(struct ferry_shortest *s, u64 now_ns);
void ferry_shortest_add(struct ferry_shortest *s, u64 ns, u64 now_ns);

/* Both in nanoseconds; saturates below FERRY_PLAN_UNKNOWN. */
u64 ferry_plan_sum(u64 a_ns, u64 b_ns);

/* So often a moment that fits is let go for a better one. */
#define FERRY_SETTLE_PASSES	3U

/**
 * struct ferry_settle - whether waiting for another pass still pays
 * @ram_ns: what was left to send at the end of the last pass
 * @let_go: passes in a row that ended within the limit, and were let go
 */
struct ferry_settle {
	u64 ram_ns;
	u32 let_go;
};

/**
 * ferry_plan_settle - a pass has ended: is this the moment to pause the guest
 * @st: begins as zeroes
 * @fits: the predicted downtime is within the limit
 * @stalled: passes have been seen that did not shrink
 * @ram_ns: of the predicted downtime, sending the pages that are left
 * @rest_ns: of it, the rest, which no further pass makes less
 *
 * The first moment within the limit is seldom the best: as long as passes shrink the
 * next one leaves less, and takes no longer than the downtime would have. But where
 * they do not, what is left goes up and down, and what fits is a minimum: it is
 * taken at once.
 */
bool ferry_plan_settle(struct ferry_settle *st, bool fits, bool stalled, u64 ram_ns, u64 rest_ns);

#define FERRY_LINK_SAMPLE_BYTES	(256ULL << 10)
#define FERRY_LINK_SAMPLE_NS	(1ULL * 1000 * 1000 * 1000)

/**
 * ferry_plan_link_sample - whether what a link carried tells its rate
 * @bytes: that it carried
 * @ns: in which time, while there was a pass
 * @queued: bytes that wait for it
 *
 * A link that had little to carry says nothing about its rate, but that it is no less:
 * what the time went to is round trips. But a slow one carries little, too. Whichever
 * does not carry FERRY_LINK_SAMPLE_BYTES within a second, with something before it, is slow.
 */
bool ferry_plan_link_sample(u64 bytes, u64 ns, u64 queued);

#define FERRY_QUEUE_MIN_BYTES	(256ULL << 10)

/**
 * ferry_plan_queue - how much a data channel may hold that the link has not taken yet
 * @link_rate: bytes a second of all channels; FERRY_PLAN_UNKNOWN: as much as is allowed
 * @channels: data channels that share it, 1 or more
 * @most: bytes that are allowed, FERRY_QUEUE_MIN_BYTES or more
 *
 * A page that is written while it waits there is sent once more, and a guest
 * that is stopped waits for all that is there. So it is 20 ms of the link.
 *
 * Return: FERRY_QUEUE_MIN_BYTES to @most.
 */
u64 ferry_plan_queue(u64 link_rate, u32 channels, u64 most);

#define FERRY_HARVEST_MIN_NS	(1ULL * 1000 * 1000)
#define FERRY_HARVEST_MAX_NS	(50ULL * 1000 * 1000)

/**
 * ferry_plan_harvest_interval - how long to sleep before the next harvest
 * @last_ns: the interval that just passed
 * @entries: that a ring had gathered in it
 * @room: entries that the ring still takes before its vCPU must wait
 *
 * Aims at a quarter of the room an interval, so that a burst of four times the
 * rate still fits. Shrinks at once, grows by no more than twice a step: an idle
 * VM's interval doubles up to FERRY_HARVEST_MAX_NS.
 *
 * Return: FERRY_HARVEST_MIN_NS to FERRY_HARVEST_MAX_NS.
 */
u64 ferry_plan_harvest_interval(u64 last_ns, u32 entries, u32 room);

/*
 * What KVM keeps free in a ring: KVM_DIRTY_RING_RSVD_ENTRIES, and on Intel as
 * much as the page modification log holds (PML_ENTITY_NUM or
 * PML_LOG_NR_ENTRIES). A ring that is full but for them stops its vCPU.
 */
#define FERRY_RING_RESERVED	(64 + 512)

/**
 * ferry_plan_ring_room - entries that a ring takes between two resets
 * @entries: its size
 *
 * Return: what the reserve leaves, and no less than half of @entries.
 */
u32 ferry_plan_ring_room(u32 entries);

/**
 * ferry_plan_rearm - must the rings be reset, for one of them will be full
 * @held: entries of a ring that were harvested and wait for a reset
 * @entries: its size
 *
 * A reset write-protects all that was harvested: whatever the guest writes
 * again, it pays for again. So it waits for half of the room to be used up,
 * unless the pages are wanted for sending before.
 */
bool ferry_plan_rearm(u32 held, u32 entries);

#define FERRY_REARM_AGAIN	16U
#define FERRY_REARM_SENT	2U

/**
 * ferry_plan_rearm_early - would a reset in the middle of a pass pay
 * @held: entries of all rings that were harvested and wait for a reset
 * @sent: pages that were sent since then
 * @again: pages that were not, for they had been written since they were published
 *
 * A reset makes the guest fault up to @held times, and lets pages go in this pass that
 * @again counts. It pays if that is at least one page in
 * FERRY_REARM_AGAIN; and over a slow link a guest shall not fault more often
 * than FERRY_REARM_SENT times for each page that it carries.
 */
bool ferry_plan_rearm_early(u64 held, u64 sent, u64 again);

/* A reset takes a lock of the VM's and flushes its TLBs: not for a handful of pages. */
#define FERRY_PORTION_MIN	64U
/* What each pass would hold in memory for it: 16 bytes an entry. */
#define FERRY_PORTION_MAX	4096U

/**
 * ferry_plan_portion - how many entries are rearmed at a time within a pass
 * @link_rate: pages a second, or what is left of FERRY_PLAN_UNKNOWN by a division
 *
 * A page that was rearmed and waits for its turn may be written meanwhile, and then
 * goes twice. So it is rearmed when its turn is near: as many as the link carries
 * in 20 ms.
 *
 * Return: FERRY_PORTION_MIN to FERRY_PORTION_MAX.
 */
u32 ferry_plan_portion(u64 link_rate);

/**
 * struct ferry_pace - a token bucket that may go into debt
 * @rate: bytes a second; 0: unlimited
 * @credit: bytes that may be sent now; negative: in debt
 * @last_ns: when @credit was last brought up to date
 *
 * The bucket holds at most 20 ms of @rate (or 256 KiB, a batch, if that is
 * more), so an idle spell does not save up a burst. It begins empty. The caller
 * serialises; times that come out of order are harmless.
 */
struct ferry_pace {
	u64 rate;
	s64 credit;
	u64 last_ns;
};

void ferry_pace_init(struct ferry_pace *p, u64 rate, u64 now_ns);
/*
 * Keeps a debt: its bytes at a higher rate, its time at a lower one, so that a
 * change never makes anybody sleep longer. Forgets a credit.
 */
void ferry_pace_set_rate(struct ferry_pace *p, u64 rate, u64 now_ns);
/* Takes @bytes off; returns how many ns to sleep before sending them, or 0. */
u64 ferry_pace_take(struct ferry_pace *p, u64 bytes, u64 now_ns);

#endif /* FERRY_PLAN_H */
