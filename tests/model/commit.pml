/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The switchover's end: who owns the guest, whatever breaks.
 *
 * What is modelled, and what stands for what, for each of the two sides:
 *
 *   state[]        the session's state; the steps are those of state.c
 *   source_main()  switchover.c: ferry_switchover() from PAUSED on, commit()
 *   source_rx()    control_rx.c: hear_ready(), hear_commit_ack(), hear_abort()
 *   sink_rx()      control_rx.c: hear_paused(), hear_state(), hear_abort();
 *                  sink.c: ferry_sink_commit(); session.c: ferry_session_own()
 *   sink_vmm()     a VMM that loads the state and commits: switchover.c:
 *                  commit_sink(), with ferry_ready_work()
 *   end_work(r)    session.c: end_work(), control.c: ferry_control_abort(),
 *                  await_delivery()
 *   trouble(r)     what may end a session at any moment: ABORT by its VMM or an
 *                  operator, an error of any kind, its last fd closed
 *   link()         the network: each direction may be cut at any moment
 *
 * The control channel keeps the order. What is under way when a direction is cut is
 * lost from some message on. Who sends into a cut, or to a peer that has closed,
 * may be told so or not. TCP forgets what it has not delivered yet if its side closes
 * with messages unread, or gets one after it has closed (forget()).
 *
 * Proved: never may both sides run the guest; a source in doubt does not run it,
 * and no answer changes that; ABORT after COMMIT means that the sink does not have
 * it; a source that is told that it has given the guest away is told the truth; a
 * side says nothing more behind COMMIT, and no ABORT behind COMMIT_ACK; nobody
 * waits for ever and every run ends. With -DNO_TROUBLE the guest moves. With
 * -DLINK_HOLDS (aborts by anybody, a sink that fails or is closed, but no cut, no
 * peer that is late, and no source that is closed or fails behind COMMIT) nobody is
 * in doubt, and one side may run the guest.
 *
 * Left out, and why that is sound:
 *   - What is before PAUSED: until then the sink has no part in the decision.
 *   - The amount of state: LAST stands for all of it. PING, ECHO: they have no meaning.
 *   - The source's VMM. That it has sent its state and asked for COMMIT shows only
 *     in when source_main() goes on, and that is open. It runs the guest on if the
 *     session has ended and is neither done nor in doubt.
 *   - ABORTED. To everybody else it is FAILED by another name, as is closing the
 *     last fd, which leads a source that is COMMITTING into doubt as an error does.
 *   - Locks whose holder does one thing: it is one step here. state_lock, tx_lock.
 *     That an ABORT may not get tx_lock is, to the peer, one that was lost. Behind READY
 *     it is waited for as long as the peer may be.
 *   - Time. A timeout is an error that may come at any moment (trouble()), which is
 *     more than can happen. A host that dies or stops is, to the other side, a link
 *     that is cut.
 *   - Lies. A peer that breaks the protocol can always say COMMIT_ACK and not run.
 *
 * MISTAKE_... puts a known mistake in, and the checker must find what comes of
 * it. All of them break invariant 6, one owner; what is said of each is how.
 */

#define SOURCE	0
#define SINK	1

mtype = { FINAL, PAUSED, COMMITTING, DONE, FAILED, IN_DOUBT };
mtype = { MSG_PAUSED, MSG_STATE_LAST, MSG_READY, MSG_COMMIT, MSG_COMMIT_ACK, MSG_ABORT };

#if !defined(NO_TROUBLE) && !defined(LINK_HOLDS)
#define ANYTHING_GOES
#endif

/* session */
mtype state[2] = FINAL;
bit commit_sent, peer_ready;			/* source */
bit pipe_last, ready_sent, abort_taken, commit_settled, own_lock;	/* sink */

/* control channel; a direction has the number of the side that receives */
chan to[2] = [4] of { mtype };
bit cut[2];
bit closed[2];			/* by the side with that number */

/* What the properties are about. */
bit sink_runs;			/* its VMM was told to run the guest */
bit said_commit, said_ack;	/* handed to the transport */
bit refused;			/* the source has heard ABORT behind COMMIT */
bit source_runs, in_doubt, two_owners, given_to_nobody, runs_unowned;	/* at the end */

#define ENDED(r)	(state[r] == DONE || state[r] == FAILED || state[r] == IN_DOUBT)

/* A step that ends the session: the first one wins. */
inline end_session(r, how)
{
	atomic {
		if
		:: !ENDED(r) -> state[r] = how
		:: else
		fi
	}
}

#ifdef MISTAKE_RESUME_ON_SILENCE	/* the source resolves its doubt by a guess */
#define IF_COMMITTED	FAILED
#else
#define IF_COMMITTED	IN_DOUBT
#endif

inline fail(r)
{
	end_session(r, ((r == SOURCE && state[r] == COMMITTING) -> IF_COMMITTED : FAILED))
}

/* Nobody will hear what is in here. */
inline drop(hearer)
{
	do
	:: to[hearer]?_
	:: empty(to[hearer]) -> break
	od
}

/*
 * The other side's TCP resets the connection: what is on its way here is lost, or was
 * here. Where a link may be cut at any moment, that is one of the cuts.
 */
inline forget(hearer)
{
#ifdef LINK_HOLDS
	if
	:: !(hearer == SOURCE && abort_taken) -> drop(hearer)
	:: true
	fi
#else
	skip
#endif
}

/* ops->send(): ok says whether the transport took it, not whether it arrives. */
inline send(r, msg, ok)
{
	atomic {
		if
		:: !closed[r] && !closed[1 - r] && !cut[1 - r] -> to[1 - r]!msg; ok = 1
		:: !closed[r] && cut[1 - r] -> ok = 1
		:: !closed[r] && closed[1 - r] && !cut[1 - r] -> ok = 1; forget(r)
		:: closed[r] || closed[1 - r] || cut[1 - r] -> ok = 0
		fi
	}
}

/* ------------------------------- source ------------------------------- */

proctype source_main()
{
	bit ok;

	send(SOURCE, MSG_PAUSED, ok);
	if
	:: !ok -> goto broke
	:: else
	fi;
	atomic {
		if
		:: ENDED(SOURCE) -> goto out
		:: else -> state[SOURCE] = PAUSED
		fi
	};
	send(SOURCE, MSG_STATE_LAST, ok);
	if
	:: !ok -> goto broke
	:: else
	fi;
	peer_ready || ENDED(SOURCE);
	/* COMMITTING before COMMIT is sent: an abort comes before both, or is refused. */
#ifndef MISTAKE_STEP_AFTER_COMMIT	/* an abort comes between COMMIT and the step */
	atomic {
		if
		:: ENDED(SOURCE) -> goto out
		:: else -> state[SOURCE] = COMMITTING
		fi
	};
#endif
	atomic {			/* tx_lock */
		commit_sent = 1;
		send(SOURCE, MSG_COMMIT, ok);
		said_commit = ok
	};
#ifdef MISTAKE_STEP_AFTER_COMMIT
	atomic {
		if
		:: ENDED(SOURCE) -> goto out
		:: else -> state[SOURCE] = COMMITTING
		fi
	};
#endif
	if
	:: ok -> ENDED(SOURCE); goto out
	:: else
	fi;
broke:
	/* The peer's ABORT may be here, and not read yet: ferry_channel_broke() waits. */
#ifndef MISTAKE_DOUBT_AT_ONCE		/* the link holds, ABORT is here, and yet in doubt */
	if
	:: ENDED(SOURCE)
#ifdef ANYTHING_GOES
	:: true				/* a second is over */
#endif
	fi;
#endif
	fail(SOURCE);
out:
	ok = 0
}

proctype source_rx()
{
	mtype msg;

	do
	:: atomic { to[SOURCE]?msg ->
		if
		:: ENDED(SOURCE)
		:: !ENDED(SOURCE) && msg == MSG_READY ->
			peer_ready = 1
		:: !ENDED(SOURCE) && msg == MSG_COMMIT_ACK ->
			state[SOURCE] = DONE
		:: !ENDED(SOURCE) && msg == MSG_ABORT ->
			refused = said_commit;
			state[SOURCE] = FAILED
		fi;
		msg = 0 }
	:: cut[SOURCE] -> fail(SOURCE); break
	:: atomic { empty(to[SOURCE]) && closed[SINK] -> fail(SOURCE); break }
	:: ENDED(SOURCE) -> break
	od
}

/* -------------------------------- sink -------------------------------- */

/* ferry_session_own(), in the task that has heard COMMIT. */
inline own()
{
#ifdef MISTAKE_ACK_BEFORE_OWNING	/* an abort comes between: no owner */
	if
	:: state[SINK] == COMMITTING -> send(SINK, MSG_COMMIT_ACK, ok)
	:: else -> ok = 0
	fi;
	atomic {
		if
		:: state[SINK] == COMMITTING && ok -> state[SINK] = DONE
		:: else
		fi;
		commit_settled = 1
	}
#else
	atomic {
		if
#ifdef MISTAKE_COMMIT_AFTER_ABORT	/* a sink that has said ABORT takes the guest */
		:: true -> state[SINK] = DONE; ok = 1; own_lock = 1
#else
		:: state[SINK] == COMMITTING -> state[SINK] = DONE; ok = 1; own_lock = 1
		:: else -> ok = 0
#endif
		fi
	};
	/* Done, but neither the source nor the VMM has heard so. */
	atomic {
		if
		:: ok ->
			send(SINK, MSG_COMMIT_ACK, ok);
			said_ack = ok;
			if
			:: !ok -> state[SINK] = FAILED		/* the step back */
			:: else
			fi;
			commit_settled = 1;
			own_lock = 0
		:: else
		fi
	}
#endif
}

proctype sink_rx()
{
	mtype msg;
	bit ok;

	do
	:: atomic { to[SINK]?msg ->
		if
		:: msg == MSG_PAUSED && !ENDED(SINK) -> state[SINK] = PAUSED; msg = 0
		:: msg == MSG_STATE_LAST && !ENDED(SINK) -> pipe_last = 1; msg = 0
		:: msg == MSG_ABORT && !ENDED(SINK) -> state[SINK] = FAILED; msg = 0
		:: msg == MSG_COMMIT		/* own() looks at the state for itself */
		:: msg != MSG_COMMIT && ENDED(SINK) -> msg = 0
		fi };
		if
		:: msg == MSG_COMMIT -> msg = 0; own()
		:: else
		fi
	:: cut[SINK] -> goto lost
	:: atomic { empty(to[SINK]) && closed[SOURCE] -> goto lost }
#ifndef MISTAKE_COMMIT_AFTER_ABORT
	:: ENDED(SINK) -> goto out
#endif
	od;
	goto out;
lost:
#ifdef MISTAKE_SINK_GUESSES	/* the source has gone after READY: COMMIT must have been lost */
	atomic {
		if
		:: state[SINK] == COMMITTING -> state[SINK] = DONE; commit_settled = 1
		:: else
		fi
	};
#endif
	fail(SINK);
out:
	ok = 0
}

proctype sink_vmm()
{
	bit ok;

	pipe_last || ENDED(SINK);
	atomic {
		if
		:: ENDED(SINK) -> goto out
		:: else -> state[SINK] = COMMITTING
		fi
	};
	ready_sent = 1;
	send(SINK, MSG_READY, ok);
	if
	:: !ok -> fail(SINK)
	:: else
	fi;
#ifdef MISTAKE_RUN_ON_READY	/* the sink runs the guest without COMMIT */
	sink_runs = ok;
#endif
#ifdef MISTAKE_TOLD_BY_STATE	/* DONE may be taken back until COMMIT_ACK is out */
	ENDED(SINK);
#else
	commit_settled || (ENDED(SINK) && state[SINK] != DONE);
#endif
	atomic {
		if
		:: state[SINK] == DONE -> sink_runs = 1
		:: else
		fi
	};
out:
	ok = 0
}

/* ----------------------------- both sides ----------------------------- */

proctype end_work(bit r)
{
	bit ok;
#ifdef LINK_HOLDS
	bit peer;
#endif

#ifdef MISTAKE_NO_OWN_LOCK	/* the channel is shut down before COMMIT_ACK was sent */
	ENDED(r);
#else
	ENDED(r) && !own_lock;
#endif
#ifdef MISTAKE_ABORT_BEHIND_COMMIT	/* looked at before the lock is held: COMMIT, then ABORT */
	if
	:: r == SOURCE && commit_sent -> goto shut
	:: else
	fi;
	atomic {
		if
		:: state[r] != DONE ->
#else
	atomic {			/* tx_lock */
		if
		:: state[r] != DONE && !(r == SOURCE && commit_sent) ->
#endif
			assert(!(r == SOURCE && said_commit));
			assert(!(r == SINK && said_ack));
			send(r, MSG_ABORT, ok)
		:: else
		fi
	};
shut:
	atomic {
		ok = 0;
#if defined(LINK_HOLDS) && !defined(MISTAKE_CLOSE_AT_ONCE)
		/* The mistake: COMMIT comes to an end that is closed, and ABORT is forgotten. */
		abort_taken = r == SINK && ready_sent && state[SINK] != DONE;
#endif
		closed[r] = 1;
#ifdef LINK_HOLDS
		if
		:: nempty(to[r]) -> peer = 1 - r; forget(peer)
		:: empty(to[r])
		fi;
#endif
		drop(r)
	}
}

/*
 * Once is enough: when a session has ended, nothing more can end it. Where an abort is
 * taken it does what an error does; at a source that is COMMITTING it is refused
 * (EBUSY), and waits here until it does nothing.
 */
proctype trouble(bit r)
{
#ifdef LINK_HOLDS
	atomic { !(r == SOURCE && state[r] == COMMITTING) -> fail(r) }
#else
	fail(r)
#endif
}

/* The direction towards r is cut, at any moment. */
proctype link(bit r)
{
	cut[r] = !closed[r]
}

init
{
	atomic {
		run source_main();
		run source_rx();
		run end_work(SOURCE);
		run sink_rx();
		run sink_vmm();
		run end_work(SINK);
#ifndef NO_TROUBLE
		/* Whether is decided now, when is open. */
		if
		:: run trouble(SOURCE)
		:: true
		fi;
		if
		:: run trouble(SINK)
		:: true
		fi;
#endif
#ifdef ANYTHING_GOES
		if
		:: run link(SOURCE)
		:: true
		fi;
		if
		:: run link(SINK)
		:: true
		fi
#endif
	};
	/* Every task has come to its end. */
	atomic {
		_nr_pr == 1;
		assert(ENDED(SOURCE) && ENDED(SINK));
		source_runs = state[SOURCE] == FAILED;
		in_doubt = state[SOURCE] == IN_DOUBT;
		two_owners = source_runs && sink_runs;
		given_to_nobody = state[SOURCE] == DONE && !sink_runs;
		runs_unowned = sink_runs && state[SINK] != DONE;
		assert(!two_owners);
		assert(!given_to_nobody);
		assert(!runs_unowned);
		assert(!refused || (source_runs && !sink_runs));
#ifdef NO_TROUBLE
		assert(state[SOURCE] == DONE && sink_runs);
#endif
#ifdef LINK_HOLDS
		assert(!in_doubt);
		assert(source_runs || sink_runs);
#endif
#ifdef REACH_MOVED
		assert(state[SOURCE] != DONE || !sink_runs);
#endif
#ifdef REACH_KEPT
		assert(!source_runs);
#endif
#ifdef REACH_REFUSED
		assert(!refused || !source_runs);
#endif
#ifdef REACH_DOUBT_SINK_RUNS
		assert(!in_doubt || !sink_runs);
#endif
#ifdef REACH_DOUBT_NOBODY_RUNS
		assert(!in_doubt || sink_runs);
#endif
	}
}
