/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The soak test: one guest's life, which is a number of migrations to and fro.
 * What its files share.
 */
#ifndef SOAK_H
#define SOAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ferry.h"

#define SOAK_MOVES	8	/* of one guest, unless told otherwise */
#define SOAK_MAX_CPUS	3
#define FLAT_BASE	(4ULL << 20)	/* where flat.S has its pages */

/* soak_plan.c: what happens, from the seed alone. */
enum soak_memory { MEMORY_ANON, MEMORY_MEMFD, MEMORY_HUGETLB };
enum soak_transport { BY_TCP, BY_TLS, BY_LOOP };
enum soak_net { NET_CLEAN, NET_DELAY, NET_REORDER, NET_LOSS, NET_CORRUPT, NET_SLOW, NET_KINDS };

enum soak_fault {
	FAULT_NONE,
	FAULT_CANCEL_SOURCE,	/* by the VMM */
	FAULT_CANCEL_SINK,
	FAULT_ABORT_SOURCE,	/* by an operator */
	FAULT_ABORT_SINK,
	FAULT_KILL_SINK,
	FAULT_OUT_OF_MEMORY,	/* at the sink */
	FAULT_LINK_SHORT,	/* down for less than the peer timeout */
	FAULT_LINK_LONG,	/* and until both have given up */
	FAULT_KILL_SOURCE,	/* the end of the guest, perhaps */
	FAULT_KINDS,
};

/* What a VMM is made with. */
struct soak_machine {
	enum soak_memory memory;
	unsigned int ring;	/* entries */
};

struct soak_life {
	uint64_t seed, number;
	unsigned int cpus;
	unsigned int mib;	/* of guest memory */
	unsigned int pages;	/* that each vCPU writes and checks */
	unsigned int hot;	/* of them, in every sweep */
	unsigned int pause;	/* turns of an idle loop after each page */
	struct soak_machine machine;
};

struct soak_move {
	uint64_t number;	/* of all of this seed's */
	struct soak_machine machine;
	bool reuse;		/* a sink that failed before takes the guest now */
	enum soak_transport transport;
	unsigned int channels;
	bool verify;
	unsigned int bandwidth;	/* bytes a second; 0: no limit */
	unsigned int set_bandwidth; /* changed under way to this; 0: not */
	unsigned int downtime_ms;
	unsigned int inflight;	/* bytes; 0: the default */
	unsigned int peer_ms;
	enum soak_net net;
	enum soak_fault fault;
	unsigned int at;	/* enum kvm_ferry_state of the source, from which on */
	unsigned int delay_us;	/* so much later it happens */
	unsigned int down_ms;	/* FAULT_LINK_SHORT */
};

extern const char *const soak_memory_names[], *const soak_transport_names[],
			*const soak_net_names[], *const soak_fault_names[];
void plan_life(struct soak_life *l, uint64_t seed, uint64_t number);
/* @index: of the life's @moves. */
void plan_move(struct soak_move *m, const struct soak_life *l, unsigned int index,
	       unsigned int moves);
/* Words for @l and @m, as key=value. */
void life_text(const struct soak_life *l, char *buf, size_t room);
void move_text(const struct soak_move *m, char *buf, size_t room);

/* soak_vmm.c: minivm, and its control socket. */
struct soak_vmm {
	pid_t pid;		/* 0: there is none */
	int fd;			/* of its control socket */
	char name[16];
	char log[32];		/* the guest's console */
	struct soak_machine machine;
};

struct soak_status {
	bool dead;		/* there is no VMM (any more) */
	bool migrating;
	char vm[16];		/* running, gone, ... */
	char state[16];		/* of the session */
	char reason[256];
	uint64_t total_ns, downtime_ns, passes, pages, zero_pages, spliced, ring_full, dirty;
};

void vmm_start(struct soak_vmm *v, const struct soak_life *l, const struct soak_machine *m,
	       bool incoming);
/* False: it refuses, for the reason that soak_why() tells; or it is gone. */
bool vmm_ask(struct soak_vmm *v, const char *request, const int *fds, unsigned int nr_fds);
const char *soak_why(void);
void vmm_status(struct soak_vmm *v, struct soak_status *st);
/* Ends it, by a command or by SIGKILL, and waits until nothing is left of it. */
void vmm_end(struct soak_vmm *v, bool gently);
/* Lets it have so much more memory than it uses now, and no more; and ends that. */
void vmm_starve(struct soak_vmm *v, unsigned int mib);
void vmm_feed(void);
/* The last words on its standard error. */
void vmm_last_words(const struct soak_vmm *v);

/* soak_net.c: two namespaces, "src" and "snk", and the cable between them. */
void net_begin(void);
struct soak_connection {
	int end[2];		/* its socket in each namespace */
};

/* Makes the control channel's, and behind it those of @channels. */
void net_connect(struct soak_connection *c, unsigned int channels, bool tls);
void net_kind(enum soak_net kind);
void net_link(bool up);

/* soak_guest.c: what the guest says. */
struct soak_guest {
	const struct soak_life *life;
	char log[32];		/* of the VMM that runs it */
	off_t at;		/* so much of it was read */
	char line[400];		/* the one that is not whole yet */
	unsigned int len;
	unsigned int wrong;	/* lines that may not be */
	struct {
		uint64_t seq, sweep, writes;
		unsigned int heard;	/* lines since guest_is_well() was called */
		uint64_t from;		/* the sweep that the second of them told of */
	} cpu[SOAK_MAX_CPUS];
};

void guest_begin(struct soak_guest *g, const struct soak_life *l, const struct soak_vmm *v);
/* It runs in another VMM now. */
void guest_moved(struct soak_guest *g, const struct soak_vmm *v);
/*
 * Waits until every vCPU has looked at every page since now. False: it has
 * found a wrong one, or told something that cannot be, or stands still. Says so.
 */
bool guest_is_well(struct soak_guest *g, unsigned int ms);
/* It must have said nothing there. */
bool guest_is_silent(const char *log, off_t since);
off_t guest_log_size(const char *log);

/* soak_flight.c */
/* What became of a migration. */
enum soak_outcome {
	MOVED,
	STAYED,
	DOUBT_MOVED,	/* the source was in doubt, the sink has it */
	DOUBT_STAYED,
	DIED,		/* with the VMM that had it, which was killed */
	LOST,		/* nobody has it, or both */
};

/* One migration, while it is under way. */
struct soak_flight {
	const struct soak_move *m;
	struct soak_vmm *from, *to;
	struct soak_status source, sink;
	uint64_t ids[2];	/* of the sessions, by role; 0: none yet */
	bool begun;		/* both VMMs have taken it on */
	uint64_t began_ms;
	bool struck;		/* the fault has been */
	bool link_down;
	uint64_t link_up_ms;	/* when it comes up again; 0: when both have given up */
	bool hurried;		/* the limits were raised */
};

/* Asks both VMMs to begin; false: one refuses. */
bool flight_begin(struct soak_flight *f);
/* Until both sides have ended, with the fault when it is time; false: they do not end. */
bool flight_follow(struct soak_flight *f, struct ferry_device *dev);
/* Asks how both are. */
void flight_look(struct soak_flight *f);
/* Who has the guest; makes an end of doubt. */
enum soak_outcome flight_settle(struct soak_flight *f);

/* soak.c */
uint64_t soak_now_ms(void);

#endif
