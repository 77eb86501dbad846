/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The session: one migration of one VM on one host. Whoever needs more than
 * this header tells includes the header of that part.
 */
#ifndef FERRY_SESSION_H
#define FERRY_SESSION_H

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <linux/kvm_ferry.h>

#include "dirty.h"
#include "host.h"
#include "order.h"
#include "pipe.h"
#include "plan.h"
#include "reason.h"
#include "region.h"
#include "state.h"
#include "stats.h"
#include "transport.h"
#include "wire.h"

/* What VERIFY came to. */
enum ferry_verify_state {
	FERRY_VERIFY_NONE,	/* not asked for, or not yet */
	FERRY_VERIFY_EQUAL,
	FERRY_VERIFY_DIFFERS,
};

/**
 * struct ferry_session - one migration of one VM on one host
 *
 * Lifetime: @ref is held by the session's file and, for the time of a command,
 * by operators who found it by id. The file's release ends the session, stops
 * its threads and drops everything but this struct (ferry_session_destroy()).
 *
 * Lock order: setup_lock -> dirty.map_lock -> own_lock -> channel.tx_lock ->
 * pipe.lock -> state_lock. mmap_lock is taken inside none of them but setup_lock
 * and (by a copy from or to the VMM) pipe.lock.
 */
struct ferry_session {
	struct kref ref;
	u64 id;
	u32 role;
	u32 dirty_source;
	char name[KVM_FERRY_NAME_LEN];

	/* The VMM: never more than mm_count for longer than a batch. */
	struct mm_struct *mm;
	struct file *vm_file;		/* source with rings; NULL otherwise */
	kuid_t owner;

	/* protects: regions, channels and limits while they are being set up */
	struct mutex setup_lock;
	struct ferry_region *regions[KVM_FERRY_MAX_REGIONS]; /* fixed at START */
	u32 nr_regions;
	struct ferry_channel *control;	/* fixed at START */
	struct ferry_channel *data[KVM_FERRY_MAX_DATA_CHANNELS];
	u32 nr_data;

	/* Held by the sink's control task from owning the guest to having said so. */
	struct mutex own_lock;

	/* protects: state, error, reason, events and the times of the states */
	spinlock_t state_lock;
	u32 state;			/* read without the lock by READ_ONCE() */
	u32 events;
	struct ferry_reason failure;	/* why it ended */
	ktime_t started_at, live_at, final_at, placed_at, ready_at, ended_at;
	u64 started_real_ns;		/* the wall clock then; read by READ_ONCE() */

	/* Everybody waits here, for anything that this struct tells. */
	wait_queue_head_t wait;
	struct work_struct end_work;	/* tells the peer, shuts channels down */
	struct delayed_work ping_work;
	struct work_struct ready_work;	/* sink: sends READY */
	struct task_struct *main_task;	/* source_main() or, at the sink, NULL */
	struct completion drained;	/* the rings are the VMM's again */
	bool data_abort;		/* end_work: purge what is queued */

	/* Limits: written under pace_lock, read by READ_ONCE(). */
	spinlock_t pace_lock;		/* protects: pace */
	struct ferry_pace pace;		/* by the limit that holds */
	struct ferry_host_turn host;	/* source */
	u64 max_bandwidth;
	u64 final_bandwidth;
	u64 downtime_limit_ns;
	u64 inflight_bytes;
	u64 peer_timeout_ns;
	u32 verify;
	u64 state_time_ns;		/* source */
	u64 max_pinned;			/* sink: bytes, KVM_FERRY_PINNED_ALL: all regions */

	/* Agreement with the peer: written before LIVE. */
	u8 token[FERRY_WIRE_TOKEN_LEN];
	u64 peer_silence_ns;		/* how long we wait: the longer of both timeouts */
	u64 ping_ns;			/* a quarter of the shorter */
	u16 wire_version;		/* that holds */
	u64 features;
	bool hello_seen;		/* token and regions are known; source: it was told */
	atomic_t bound;			/* sink: data channels that showed the token */

	/* Source: an ECHO, one at a time. The main task sends, the control task hears. */
	u32 echo_sent;			/* its number, 0: none yet */
	u32 echo_heard;			/* the last one that came back */
	u64 echo_at;			/* when it was sent, ns; written before its number */

	bool measures;			/* source: moves nothing; fixed at START */

	/* Passes. */
	u32 pass;			/* number of the last pass begun; main_task writes */
	u32 final_pass;			/* sink: number told by FINAL; 0: not yet */
	bool sealed;			/* sink: memory is complete, nothing may be placed */
	struct ferry_dirty dirty;
	const struct ferry_order_ops *order;	/* source: of blocks; NULL: ascending */

	/* Switchover. */
	struct ferry_pipe pipe;		/* VMM state on its way */
	enum ferry_verify_state verified;
	struct ferry_verify *check;	/* sink: digests being compared */
	bool peer_ready;		/* source: READY was heard */
	bool commit_requested;		/* source: COMMIT may be sent */
	bool commit_settled;		/* sink: COMMIT_ACK was taken by the transport */
	u16 said;			/* what is answered, ordered by tx_lock: ferry_session_said() */

	struct ferry_stats stats;
	struct dentry *debugfs;		/* create and destroy only */
};

/* session.c */
int ferry_session_create(struct kvm_ferry_create *arg, struct file **file,
			 struct ferry_reason *why);
struct ferry_session *ferry_session_find(u64 id);
void ferry_session_put(struct ferry_session *s);
u32 ferry_session_list(u64 __user *ids, u32 room, int *err);

/*
 * Moves the state machine on. Returns 0, or -EBUSY or -ESHUTDOWN as
 * ferry_state_next() says. ERROR, REFUSED, ABORT and CLOSE go through
 * ferry_session_end(), which also keeps the reason and wakes everybody.
 */
int ferry_session_step(struct ferry_session *s, enum ferry_step step);
__printf(4, 5)
int ferry_session_end(struct ferry_session *s, enum ferry_step step, int error,
		      const char *fmt, ...);
/*
 * Begins pass @pass. Returns 0, or -ESHUTDOWN if the session has ended: then none is
 * counted any more, and its record has all of them.
 */
int ferry_session_pass(struct ferry_session *s, u32 pass);
/* What a person should know of a session that goes on: KVM_FERRY_REASON tells it, with no error. */
__printf(2, 3)
void ferry_session_note(struct ferry_session *s, const char *fmt, ...);
#define ferry_session_fail(s, error, fmt, ...) \
	ferry_session_end(s, FERRY_STEP_ERROR, error, fmt, ##__VA_ARGS__)
/* sink, control task: COMMIT came: owns the guest, and acknowledges. */
int ferry_session_own(struct ferry_session *s);
/* A kernel thread of ours that has nothing left to do, until it is stopped. */
void ferry_thread_rest(void);
void ferry_session_event(struct ferry_session *s, u32 events);

static inline u32 ferry_session_state(const struct ferry_session *s)
{
	return READ_ONCE(s->state);
}

static inline bool ferry_session_ended(const struct ferry_session *s)
{
	return ferry_state_ended(READ_ONCE(s->state));
}

/* Data channels that are there. */
static inline u32 ferry_session_nr_data(const struct ferry_session *s)
{
	return smp_load_acquire(&s->nr_data); /* pairs with ferry_channel_add() */
}

static inline bool ferry_session_is_source(const struct ferry_session *s)
{
	return s->role == KVM_FERRY_SOURCE;
}

/* All versions of a page travel on one channel, and so in order. */
static inline bool ferry_block_is_of(const struct ferry_session *s, u32 region, u64 block,
				     u32 channel)
{
	return (block + region) % s->nr_data == channel;
}

/*
 * Was this the last message sent of those that the peer answers: HELLO, DIGEST_END,
 * STATE with LAST, READY, COMMIT? It was noted before it left, so an answer that
 * finds it missing came before its question.
 */
static inline bool ferry_session_said(const struct ferry_session *s, u16 type)
{
	/* Pairs with note_said(): what was written before the question was sent. */
	return smp_load_acquire(&s->said) == type;
}

/*
 * Keeps the VMM's address space alive; with enter, a kthread runs in it as well,
 * which costs a switch, and lets it use the fast ways to get pages. False: the
 * VMM has exited. Never sleep on the network between the two of a pair: a killed
 * VMM could not free its memory.
 */
bool ferry_mm_get(struct ferry_session *s);
void ferry_mm_put(struct ferry_session *s);
bool ferry_mm_enter(struct ferry_session *s);
void ferry_mm_leave(struct ferry_session *s);

#endif /* FERRY_SESSION_H */
