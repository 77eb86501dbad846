/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: every step that one would time. Times between two of them are
 * the trace clock's; durations that are given are in nanoseconds.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm_ferry

#if !defined(FERRY_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define FERRY_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(ferry_state,
	TP_PROTO(u64 session, u32 role, u32 from, u32 to, int error),
	TP_ARGS(session, role, from, to, error),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, role)
		__field(u32, from)
		__field(u32, to)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->role = role;
		__entry->from = from;
		__entry->to = to;
		__entry->error = error;
	),
	TP_printk("session=%llu role=%u from=%u to=%u error=%d", __entry->session, __entry->role,
		  __entry->from, __entry->to, __entry->error)
);

/* Entries were taken from the rings. @fullest: most entries that one ring held. */
TRACE_EVENT(ferry_harvest,
	TP_PROTO(u64 session, u64 entries, u32 fullest, u64 ns),
	TP_ARGS(session, entries, fullest, ns),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u64, entries)
		__field(u32, fullest)
		__field(u64, ns)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->entries = entries;
		__entry->fullest = fullest;
		__entry->ns = ns;
	),
	TP_printk("session=%llu entries=%llu fullest=%u ns=%llu", __entry->session,
		  __entry->entries, __entry->fullest, __entry->ns)
);

/* KVM_RESET_DIRTY_RINGS returned. */
TRACE_EVENT(ferry_reset,
	TP_PROTO(u64 session, u64 marked, long reset, u64 ns),
	TP_ARGS(session, marked, reset, ns),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u64, marked)
		__field(long, reset)
		__field(u64, ns)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->marked = marked;
		__entry->reset = reset;
		__entry->ns = ns;
	),
	TP_printk("session=%llu marked=%llu reset=%ld ns=%llu", __entry->session,
		  __entry->marked, __entry->reset, __entry->ns)
);

/*
 * The transport took a batch (source), or it was placed (sink).
 * @refs_before, @refs_after: source: references of the batch's first page before
 * and after the transport took it, with ours in both.
 */
TRACE_EVENT(ferry_batch,
	TP_PROTO(u64 session, u32 channel, u32 pass, u32 extents, u32 pages, int refs_before,
		 int refs_after),
	TP_ARGS(session, channel, pass, extents, pages, refs_before, refs_after),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, channel)
		__field(u32, pass)
		__field(u32, extents)
		__field(u32, pages)
		__field(int, refs_before)
		__field(int, refs_after)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->channel = channel;
		__entry->pass = pass;
		__entry->extents = extents;
		__entry->pages = pages;
		__entry->refs_before = refs_before;
		__entry->refs_after = refs_after;
	),
	TP_printk("session=%llu channel=%u pass=%u extents=%u pages=%u refs_before=%d refs_after=%d",
		  __entry->session, __entry->channel, __entry->pass, __entry->extents,
		  __entry->pages, __entry->refs_before, __entry->refs_after)
);

/* A pass begins, or has ended (all fences acknowledged). */
DECLARE_EVENT_CLASS(ferry_pass_class,
	TP_PROTO(u64 session, u32 pass, u64 pages, bool final),
	TP_ARGS(session, pass, pages, final),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, pass)
		__field(u64, pages)
		__field(bool, final)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->pass = pass;
		__entry->pages = pages;
		__entry->final = final;
	),
	TP_printk("session=%llu pass=%u pages=%llu final=%d", __entry->session, __entry->pass,
		  __entry->pages, __entry->final)
);

DEFINE_EVENT(ferry_pass_class, ferry_pass_begin,
	TP_PROTO(u64 session, u32 pass, u64 pages, bool final),
	TP_ARGS(session, pass, pages, final)
);

DEFINE_EVENT(ferry_pass_class, ferry_pass_end,
	TP_PROTO(u64 session, u32 pass, u64 pages, bool final),
	TP_ARGS(session, pass, pages, final)
);

/* A fence was sent, acknowledged (source) or met (sink). */
TRACE_EVENT(ferry_fence,
	TP_PROTO(u64 session, u32 channel, u32 pass, bool acked),
	TP_ARGS(session, channel, pass, acked),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, channel)
		__field(u32, pass)
		__field(bool, acked)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->channel = channel;
		__entry->pass = pass;
		__entry->acked = acked;
	),
	TP_printk("session=%llu channel=%u pass=%u acked=%d", __entry->session, __entry->channel,
		  __entry->pass, __entry->acked)
);

#define FERRY_PHASES \
	EM(FERRY_PHASE_DRAINED, "drained") \
	EM(FERRY_PHASE_PLACED, "placed") \
	EM(FERRY_PHASE_VERIFIED, "verified") \
	EM(FERRY_PHASE_STATE_LAST, "state_last") \
	EM(FERRY_PHASE_READY, "ready") \
	EM(FERRY_PHASE_COMMIT, "commit") \
	EMe(FERRY_PHASE_COMMIT_ACK, "commit_ack")

#ifndef FERRY_PHASE_ENUM
#define FERRY_PHASE_ENUM
enum ferry_phase {
	FERRY_PHASE_DRAINED,	/* source: the rings are empty twice over */
	FERRY_PHASE_PLACED,	/* the final pass is acknowledged */
	FERRY_PHASE_VERIFIED,	/* digests were compared */
	FERRY_PHASE_STATE_LAST,	/* the last of VMM state was sent, or received */
	FERRY_PHASE_READY,	/* READY was heard, or sent */
	FERRY_PHASE_COMMIT,	/* COMMIT was sent, or heard */
	FERRY_PHASE_COMMIT_ACK,	/* COMMIT_ACK was heard, or sent */
};
#endif

#undef EM
#undef EMe
#define EM(a, b) TRACE_DEFINE_ENUM(a);
#define EMe(a, b) TRACE_DEFINE_ENUM(a);
FERRY_PHASES
#undef EM
#undef EMe
#define EM(a, b) { a, b },
#define EMe(a, b) { a, b }

/* A step of the switchover is behind us. */
TRACE_EVENT(ferry_switchover,
	TP_PROTO(u64 session, u32 role, int phase),
	TP_ARGS(session, role, phase),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, role)
		__field(int, phase)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->role = role;
		__entry->phase = phase;
	),
	TP_printk("session=%llu role=%u phase=%s", __entry->session, __entry->role,
		  __print_symbolic(__entry->phase, FERRY_PHASES))
);

#endif /* FERRY_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
