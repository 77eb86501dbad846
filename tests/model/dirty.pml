/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The data's way: from a guest's write to the same version at the sink.
 *
 * What is modelled, and what stands for what:
 *
 *   vcpu(v)     a vCPU in KVM_RUN, and what KVM does for it: write protection,
 *               TLB, ring entry, Intel's page modification log
 *   vmm()       the VMM: START, one write of its own device emulation with its
 *               report (dirty_ioctl.c: ferry_report_dirty()), pause, FINAL
 *   main_task() source.c: ferry_source_main() with dirty.c: ferry_dirty_round()
 *               and switchover.c: final_passes()
 *   reset()     KVM_RESET_DIRTY_RINGS, called by dirty_ring.c: ring_rearm()
 *   sender(c)   sender.c: ferry_sender(), sweep(), send_word(), send_hole()
 *   channel(c)  socket, network, and sink.c: ferry_sink_rx() at the other end
 *
 * A page's bytes are one bit: is it the last version that was written? A write makes
 * every copy of the page an old one. So the guest may write as often as it likes.
 * The source may read a page at any time between its being sent and its delivery, as
 * with zero copy.
 *
 * Proved, for two channels and VCPUS rings, in every order in which the tasks can
 * run: when the final passes are over the sink has the last version of each page;
 * no old version lands on the last one; nobody waits for ever; every run ends in
 * which the guest writes a finite number of times.
 *
 * Pages meet only in rings, rounds and passes. So all that can happen to a page is
 * here with one page, whose channel is the first of the two; and with -DWIDE there
 * are two pages on two channels, but vCPUs only fault, the VMM reports nothing,
 * nothing is put back, and a page is read when it is placed. (What is written between
 * the two makes both the copy under way and the placed one an old one.)
 *
 * With -DPORTIONS a pass gets what was held when it began an entry at a time, two at
 * most; without, every rearm is of all that is held. With -DONE_CHANNEL both pages
 * share it.
 *
 * Left out, and why that is sound:
 *   - Torn pages. A read that overlaps a write comes, like one just before it,
 *     after the reset: the write makes an entry in either case.
 *   - Errors. They end the session with the source whole; no page can be lost
 *     by it. What is put back while the session goes on is here, once.
 *   - The count of pending pages. It is the number of published bits once the
 *     senders have ended their pass, and only then decides anything.
 *   - The numbers of passes. At most one is under way, so one bit tells them
 *     apart.
 *   - Rounds that find nothing, and passes without a page, before FINAL: they
 *     change nothing.
 *   - Blocks of 512 pages, words, batches: a page stands for what shares a
 *     channel.
 *   - What KVM does under mmu_lock is one step: a fault's entry and its page table
 *     entry, and the reset's write protection.
 *   - One ring is harvested in one step: a vCPU that adds an entry meanwhile might
 *     as well have done so before or after.
 *
 * MISTAKE_... puts a known mistake in, and the checker must find what comes of it.
 * The numbers are those of the invariants in docs/architecture.md, "Models".
 */

#ifndef VCPUS
#define VCPUS 1
#endif
#ifdef WIDE
#define PAGES 2
#else
#define PAGES 1
#endif
#ifdef PORTIONS
#define ENTRIES 2		/* one that is reset, and one that stays */
#else
#define ENTRIES 1
#endif
#ifdef ONE_CHANNEL
#define CHANNELS 1
#else
#define CHANNELS 2
#endif
#define FENCE PAGES		/* on a channel: no page, but the end of a pass */

/* KVM; tlb and pml by vCPU and page */
bit writable[PAGES];		/* the page table lets a write through, with no entry */
bit tlb[VCPUS * PAGES];		/* a vCPU remembers that; it may be out of date */
bit pml[VCPUS * PAGES];		/* written and logged, but not in the ring yet */
byte held[PAGES];		/* entries that were harvested and wait for the reset, up to ENTRIES */
chan ring[VCPUS] = [PAGES] of { byte };

/* the session */
bit staged[PAGES];
bit published[PAGES];
bit pass;			/* number of the pass, modulo 2 */
bit acked[CHANNELS];		/* the last pass that the sink acknowledged */
bit feeding;			/* one more portion of the pass is to come */
bit portion;			/* number of the last one, modulo 2 */
bit started, final, over;
byte in_kvm_run = VCPUS;
bit may_put_back = 1;

/* Sent, not yet read: the socket holds a reference, not the bytes. */
chan socket[CHANNELS] = [1] of { byte };
byte on_wire[CHANNELS] = FENCE;	/* the page that was read and is not placed yet */

/* Is this copy the last version? */
bit wire_new[CHANNELS];
bit sink_new[PAGES];

#if PAGES > 1
#define ANY(bits)	(bits[0] || bits[1])
#define ALL(bits)	(bits[0] && bits[1])
#else
#define ANY(bits)	bits[0]
#define ALL(bits)	bits[0]
#endif
#define PENDING		ANY(published)
#define PASS_DONE	(acked[0] == pass && acked[CHANNELS - 1] == pass)

#if defined(MISTAKE_TWO_CHANNELS) || defined(ONE_CHANNEL)	/* 4: a page travels on whichever channel is free */
#define FIRST(c)	0
#define LAST(c)		(PAGES - 1)
#else
#define FIRST(c)	(c)
#define LAST(c)		((c) < PAGES -> (c) : PAGES - 1)	/* or none */
#endif

/* To be called in one step with what lets the write through. */
inline write(p)
{
	sink_new[p] = 0;
	wire_new[0] = wire_new[0] && on_wire[0] != p;
	wire_new[CHANNELS - 1] = wire_new[CHANNELS - 1] && on_wire[CHANNELS - 1] != p
}

/*
 * The entry of a write that faults is in the ring before the write is made, and the
 * page may be protected again in between. Behind a writable page table entry nothing
 * is told. With the page modification log, and on KVM's fast path, the write comes
 * first and the entry follows: at the latest on leaving KVM_RUN.
 */
inline run_guest(v, p)
{
	if
	:: atomic { !tlb[v * PAGES + p] && nfull(ring[v]) ->	/* a fault */
		ring[v]!p;
		writable[p] = 1;
		tlb[v * PAGES + p] = 1 }
	:: atomic { tlb[v * PAGES + p] || writable[p] ->
		tlb[v * PAGES + p] = 1;
		write(p) }
#ifndef WIDE
	:: atomic { !tlb[v * PAGES + p] && !writable[p] ->	/* to be told later */
		writable[p] = 1;
		tlb[v * PAGES + p] = 1;
		pml[v * PAGES + p] = 1;
		write(p) }
#ifdef PORTIONS
	:: atomic { !pml[v * PAGES + p] ->	/* KVM itself, whom nothing stops */
		pml[v * PAGES + p] = 1;
		write(p) }
#endif
	:: atomic { pml[v * PAGES + p] && nfull(ring[v]) ->
		ring[v]!p;
		pml[v * PAGES + p] = 0 }
#endif
	fi
}

proctype vcpu(byte v)
{
progress:
	do
	:: run_guest(v, 0)
#if PAGES > 1
	:: run_guest(v, 1)
#endif
#ifdef MISTAKE_STILL_IN_KVM_RUN	/* 5: paused by a flag, but never out of KVM_RUN */
	:: atomic { true -> in_kvm_run--; break }
#else
	:: atomic { !pml[v * PAGES] && !pml[v * PAGES + PAGES - 1] -> in_kvm_run--; break }
#endif
	od
}

proctype vmm()
{
	byte p;

	/* START: publish everything, then say so. */
	published[0] = 1;
	published[PAGES - 1] = 1;
	started = 1;
#ifndef WIDE
	/* Device emulation writes, with no entry, and reports what it wrote. */
	if
	:: p = 0
	:: p = PAGES - 1
	fi;
#ifdef MISTAKE_REPORT_BEFORE_WRITE	/* 9: a change is reported after it is made */
	published[p] = 1;
	atomic { write(p) };
#else
	atomic { write(p) };
	published[p] = 1;
#endif
	p = 0;
#endif
	in_kvm_run == 0;
	final = 1
}

/* One step: no sender looks at both pages, so none sees which came first. */
inline publish()
{
	d_step {
		do
		:: p < PAGES ->
			published[p] = published[p] || staged[p];
			staged[p] = 0;
			p++
		:: else -> break
		od;
		p = 0
	}
}

/* A pass that gets no more portions. Who sees that sees the last of them, too. */
inline tell_portion(more)
{
	d_step {
		portion = (feeding -> 1 - portion : portion);
		feeding = more
	}
}

/* Between the two steps a vCPU writes through its TLB, and there is no entry. */
inline reset()
{
	d_step {
		do
		:: p < PAGES -> writable[p] = writable[p] && held[p] == 0; p++
		:: else -> break
		od;
		p = 0
	};
#ifdef MISTAKE_PUBLISH_BEFORE_FLUSH	/* 1: protected, but the reset has not returned */
	publish();
#endif
	d_step {
		do
		:: v < VCPUS * PAGES -> tlb[v] = 0; v++
		:: else -> break
		od;
		v = 0;
		held[0] = 0;
		held[PAGES - 1] = 0
	}
}

/*
 * One entry alone: of any page, and of the same page there may be another that stays.
 * @more: the pass gets one more portion, if anything is left for it.
 */
inline feed(more)
{
	if
	:: held[0] -> p = 0
	:: held[PAGES - 1] -> p = PAGES - 1
	fi;
	writable[p] = 0;
	d_step {
		tlb[p] = 0;
		tlb[(VCPUS - 1) * PAGES + p] = 0;
		held[p]--
	};
	d_step {
#ifdef MISTAKE_PUBLISH_ALL_STAGED	/* 1: of a page that is held there was no reset */
		published[p] = 1;
		published[0] = published[0] || staged[0];
		published[PAGES - 1] = published[PAGES - 1] || staged[PAGES - 1];
		staged[0] = 0;
		staged[PAGES - 1] = 0;
#else
		published[p] = 1;
		staged[p] = 0;
#endif
		p = 0
	};
	tell_portion(more && ANY(held))
}

inline harvest(v)
{
	d_step {
		do
		:: nempty(ring[v]) ->
			ring[v]?p;
			held[p] = (held[p] < ENTRIES -> held[p] + 1 : ENTRIES);
#ifdef MISTAKE_SKIP_ENTRY	/* 2: entries are taken in order, none skipped */
			staged[p] = staged[p] || (tracking && empty(ring[v]));
#else
			staged[p] = staged[p] || tracking;
#endif
			entries = 1
		:: empty(ring[v]) -> break
		od;
		p = 0
	}
}

/*
 * entries: whether the round found any. Before START nothing is staged. Without
 * rearm it may still be for a ring that gets full, or because somebody asked.
 */
inline round(rearm)
{
	d_step { tracking = started; entries = 0 };
	harvest(0);
#if VCPUS > 1
	harvest(1);
#endif
	tracking = 0;
	if
#ifdef MISTAKE_REARM_OWN_ENTRIES	/* 5: what was harvested before goes with it */
	:: entries ->
#else
	:: ANY(held) ->
#endif
#ifdef MISTAKE_PUBLISH_BEFORE_RESET	/* 1: a page is read only after the reset */
		publish();
		reset();
#else
		reset();
		publish();
#endif
		tell_portion(0)
	:: !rearm || !ANY(held)
#ifdef MISTAKE_REARM_OWN_ENTRIES
	:: !entries
#endif
	fi
}

/* Two rounds in a row that find nothing. */
inline drain()
{
#ifdef MISTAKE_NO_DRAIN		/* 5: FINAL leaves in the rings what is there */
	skip
#else
	do
	:: empty_rounds < 2 ->
		round(true);
		d_step {
			empty_rounds = (entries -> 0 : empty_rounds + 1);
			entries = 0
		}
	:: else -> empty_rounds = 0; break
	od
#endif
}

proctype main_task()
{
	byte v, p, empty_rounds;
	bit tracking, entries, begun;
#ifdef PORTIONS
	bit passed;
#endif

	do
	:: (nempty(ring[0]) || nempty(ring[VCPUS - 1])) ->
		round(false);
		entries = 0
	:: started && !begun && (PENDING || ANY(held)) ->	/* a pass */
#ifdef PORTIONS
#ifdef MISTAKE_HELD_BEFORE_START	/* 1: what was harvested before it is not staged */
		round(false);
#else
		round(!passed);
#endif
		passed = 1;
		if
		:: ANY(held) -> feeding = 1; feed(1)
		:: else
		fi;
#else
		round(true);
#endif
		entries = 0;
		if
		:: atomic { PENDING || feeding -> pass = 1 - pass; begun = 1 }
		:: else
		fi
#ifdef PORTIONS
	:: begun && feeding -> feed(0)
#endif
	:: atomic { begun && PASS_DONE -> begun = 0 }
	:: final -> break
	od;
#ifndef MISTAKE_FINAL_STARVES	/* 5: senders that wait for a portion are let go */
	tell_portion(0);
#endif
	atomic { PASS_DONE -> begun = 1 };
	do
	:: drain();
		if
		:: atomic { begun || PENDING -> pass = 1 - pass; begun = 0 }	/* one at least */
		:: else -> break
		fi;
#ifndef MISTAKE_PAUSED_BEFORE_ACK	/* 5: the sink has acknowledged every byte */
		PASS_DONE
#endif
	od;
	atomic {
		assert(ALL(sink_new));
#ifdef REACH_MOVED
		assert(false);
#endif
		over = 1
	}
}

/* The bit is taken first, and the page read by channel(), whenever it likes. */
proctype sender(byte c)
{
	byte p;
	bit tx_pass, seen, again;

	do
	:: atomic { pass != tx_pass -> p = FIRST(c); seen = portion };
		do
#ifdef MISTAKE_CLEAR_AFTER_READ	/* 3: the bit of a write that came meanwhile goes too */
		:: p <= LAST(c) && published[p] ->
			socket[c]!p;
			atomic { published[p] = 0; p++ }
#else
#ifdef MISTAKE_STAGED_BEFORE_TAKEN	/* 3: it may be published between the two */
		:: atomic { p <= LAST(c) && published[p] -> again = staged[p] };
			published[p] = 0;
#elif defined(WIDE)	/* what may come between the two is seen with one page */
		:: atomic { p <= LAST(c) && published[p] -> published[p] = 0; again = staged[p] };
#else
		:: atomic { p <= LAST(c) && published[p] -> published[p] = 0 };
			again = staged[p];
#endif
			if
			:: atomic { again -> again = 0; p++ }	/* it will be published once more */
			:: atomic { !again -> socket[c]!p; p++ }
#ifndef WIDE
			:: atomic { !again && may_put_back -> may_put_back = 0;
#ifndef MISTAKE_FORGET_PUT_BACK	/* 3: what is not sent is published again */
				published[p] = 1;
#endif
				p++ }
#endif
			fi
#endif
		:: atomic { p <= LAST(c) && !published[p] -> p++ }
#ifdef PORTIONS
		:: atomic { p > LAST(c) && portion != seen -> p = FIRST(c); seen = portion }
#endif
		:: atomic { p > LAST(c) && portion == seen && !feeding ->
			socket[c]!FENCE; p = 0; tx_pass = pass; break }
		od
	:: over -> break
	od
}

/*
 * One message after the other. A page's bytes are read at some time while the socket
 * has it, and are placed at some time after that.
 */
proctype channel(byte c)
{
	do
	:: atomic { on_wire[c] == FENCE && nempty(socket[c]) ->
		socket[c]?on_wire[c];
		if
		:: on_wire[c] == FENCE -> acked[c] = 1 - acked[c]
#ifdef WIDE
		:: else -> sink_new[on_wire[c]] = 1; on_wire[c] = FENCE
#else
		:: else -> wire_new[c] = 1
#endif
		fi }
#ifndef WIDE
	:: atomic { on_wire[c] != FENCE ->
		assert(wire_new[c] || !sink_new[on_wire[c]]);	/* old never lands on new */
		sink_new[on_wire[c]] = wire_new[c];
		wire_new[c] = 0;
		on_wire[c] = FENCE }
#endif
	:: over && empty(socket[c]) && on_wire[c] == FENCE -> break
	od
}

init
{
	atomic {
		run vcpu(0);
#if VCPUS > 1
		run vcpu(1);
#endif
		run vmm();
		run main_task();
		run sender(0);
#ifndef ONE_CHANNEL
		run sender(1);
		run channel(1);
#endif
		run channel(0)
	}
}
