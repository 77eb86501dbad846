// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=soak_flight.c,soak_plan.c,soak_vmm.c,soak_net.c,soak_guest.c,tap.c libs=json-c
 * lab: cpus=2 mem=1024 timeout=300 leak=16384 args=1,5,6
 * lab: dmesg="invoked oom-killer|Call Trace:|no killable processes"
 *
 * soak SEED LIFE [MOVES]: the life of one guest (of another one of its kind, when
 * its VMM was killed). It moves to and fro between
 * two namespaces, each time to a new VMM and with other parameters; something
 * goes wrong half of the time. After every migration just one VMM runs the
 * guest, which has looked at all of its memory and found it right.
 * "make soak" runs many of them. soak_plan.c says what happens, from SEED and
 * LIFE alone.
 *
 * The kernel tells of a control group that is out of memory: that is expected
 * here, since a fault is made so. A sink's task that fills the memory of a VMM
 * that was just killed for it finds nobody else to kill.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "soak.h"
#include "tap.h"

#define GUEST_MS	90000	/* for the guest to look at all of its memory */

static struct ferry_device *dev;
static struct soak_life life;
static struct soak_guest guest;

static const char *const outcome_names[] = {
	"moved", "stayed", "doubt-moved", "doubt-stayed", "died", "lost",
};

uint64_t soak_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

/* What may come of each fault; NULL: all is well. */
static const char *unexpected(const struct soak_flight *f, enum soak_outcome o)
{
	enum soak_fault fault = f->m->fault;
	bool sink_killed = fault == FAULT_KILL_SINK || fault == FAULT_OUT_OF_MEMORY;

	switch (o) {
	case MOVED:
		return NULL;
	case STAYED:
		if (fault == FAULT_NONE || fault == FAULT_LINK_SHORT)
			return "it did not move though nothing stood in the way";
		if (!f->struck)
			return "it did not move, before its fault came";
		if (f->begun && !f->source.reason[0])
			return "the source does not say why it failed";
		return NULL;
	case DOUBT_MOVED:
	case DOUBT_STAYED:
		return sink_killed || fault == FAULT_LINK_LONG ? NULL :
		       "in doubt over a link that works";
	case DIED:
		return sink_killed || fault == FAULT_KILL_SOURCE ? NULL : "a VMM has died";
	default:
		return "nobody has the guest, or both";
	}
}

static void tell(const struct soak_flight *f, enum soak_outcome o, const char *bad)
{
	const struct soak_status *s = f->source.dead ? &f->sink : &f->source;
	char text[400];

	move_text(f->m, text, sizeof(text));
	tap_check(!bad, "migration %llu: seed=%llu life=%llu %s struck=%d%s outcome=%s passes=%llu pages=%llu zero=%llu dirty=%llu ring_full=%llu total_ms=%llu downtime_ms=%.1f checker=%s%s%s%s",
		  (unsigned long long)f->m->number, (unsigned long long)life.seed,
		  (unsigned long long)life.number, text,
		  f->struck, f->hurried ? " hurried" : "", outcome_names[o],
		  (unsigned long long)s->passes, (unsigned long long)s->pages,
		  (unsigned long long)s->zero_pages, (unsigned long long)s->dirty,
		  (unsigned long long)s->ring_full, (unsigned long long)s->total_ns / 1000000,
		  s->downtime_ns / 1e6, guest.wrong ? "wrong" : "right",
		  o == STAYED ? " why=\"" : "", o == STAYED ? s->reason : "",
		  o == STAYED ? "\"" : "");
	if (!bad)
		return;
	tap_note("%s", bad);
	tap_note("source %s: vm %s, session %s, \"%s\"", f->from->name, f->source.vm,
		 f->source.state, f->source.reason);
	tap_note("sink %s: vm %s, session %s, \"%s\"", f->to->name, f->sink.vm, f->sink.state,
		 f->sink.reason);
	vmm_last_words(f->from);
	vmm_last_words(f->to);
}

/* --- a life ------------------------------------------------------------- */

/* The guest goes on in one of them, and has looked at all of its memory; NULL: so it is. */
static const char *wrong_with_guest(struct soak_flight *f, bool moved)
{
	const char *other = moved ? f->from->log : f->to->log;
	off_t size;

	if (moved)
		guest_moved(&guest, f->to);
	size = guest_log_size(other);
	if (!moved && size)
		return "the guest has spoken at a sink that failed";
	if (!guest_is_well(&guest, GUEST_MS * lab_slow()))
		return "the guest is not well";
	return guest_is_silent(other, size) ? NULL : "the guest runs in two places";
}

/*
 * One migration of the guest that @from runs. @to may be a VMM that was left
 * over. Afterwards @from is the VMM that runs the guest, if one does. False:
 * something is wrong.
 */
static bool move(struct soak_move *m, struct soak_vmm *from, struct soak_vmm *to)
{
	struct soak_flight f = { .m = m, .from = from, .to = to };
	bool moved, starved = m->fault == FAULT_OUT_OF_MEMORY;
	const char *bad = NULL;
	enum soak_outcome o;

	if (to->pid && !m->reuse)
		vmm_end(to, true);
	if (!to->pid)
		vmm_start(to, &life, &m->machine, true);
	m->machine = to->machine;
	if (starved) {
		/* Less than what the guest has filled, by a part that differs. */
		vmm_starve(to, 2 + (m->delay_us % 8) * (life.cpus * life.pages >> 8) / 10);
		f.struck = true;
	}
	net_kind(m->net);
	if (!flight_begin(&f) && !starved)
		bad = soak_why();
	else if (!flight_follow(&f, dev))
		bad = "it does not end";
	flight_look(&f);
	if (bad) {
		tell(&f, LOST, bad);
		return false;
	}
	if (starved)
		vmm_feed();
	net_kind(NET_CLEAN);
	o = flight_settle(&f);
	moved = o == MOVED || o == DOUBT_MOVED;
	bad = unexpected(&f, o);
	if (o == DIED && !f.sink.dead && guest_log_size(to->log))
		bad = "the guest has spoken at a sink that does not have it";
	if (o != DIED && o != LOST && !bad)
		bad = wrong_with_guest(&f, moved);
	tell(&f, o, bad);
	if (f.sink.dead)	/* perhaps not quite gone yet */
		vmm_end(to, false);
	if (moved || o == DIED)
		vmm_end(from, m->number % 2);
	if (moved) {
		*from = *to;
		memset(to, 0, sizeof(*to));
	}
	return !bad;
}

static void give_birth(struct soak_vmm *v)
{
	vmm_start(v, &life, &life.machine, false);
	guest_begin(&guest, &life, v);
	if (!guest_is_well(&guest, GUEST_MS * lab_slow()))
		tap_bail("guest %llu does not come up", (unsigned long long)life.number);
}

static void huge_pages(unsigned int count)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "r+");
	unsigned int have = 0;

	if (!f || fprintf(f, "%u\n", count) < 0 || fflush(f))
		tap_bail("no huge pages: %s", strerror(errno));
	rewind(f);
	if (fscanf(f, "%u", &have) != 1 || have < count)
		tap_bail("only %u of %u huge pages", have, count);
	fclose(f);
}

int main(int argc, char **argv)
{
	unsigned int moves = argc > 3 ? atoi(argv[3]) : SOAK_MOVES, i;
	struct soak_vmm from = { 0 }, to = { 0 };
	char text[200];

	if (argc < 3 || !moves) {
		fprintf(stderr, "usage: soak SEED LIFE [MOVES]\n");
		return 2;
	}
	plan_life(&life, strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0));
	life_text(&life, text, sizeof(text));
	tap_note("seed %llu, life %llu: %s", (unsigned long long)life.seed,
		 (unsigned long long)life.number, text);
	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	/* Two VMMs may have them at a time. */
	huge_pages(life.mib);
	net_begin();
	for (i = 0; i < moves; i++) {
		struct soak_move m;

		/* The first one, and another of its kind if that has died. */
		if (!from.pid)
			give_birth(&from);
		plan_move(&m, &life, i, moves);
		if (!move(&m, &from, &to))
			break;
	}
	vmm_end(&from, true);
	if (to.pid)
		vmm_end(&to, true);
	ferry_device_close(dev);
	return tap_done();
}
