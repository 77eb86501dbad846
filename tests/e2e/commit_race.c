// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=fault_vmm.c,bad_call.c,pair.c,tap.c timeout=120
 *
 * An operator aborts a side while COMMIT and its answer are under way, a little
 * later each time. However the race ends, one side owns the guest: never both,
 * never none, and over a link that works nobody is in doubt.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "bad_call.h"
#include "fault_vmm.h"
#include "tap.h"

#define CALM	4	/* commits that nobody disturbs, to see how long one takes */
#define RACES	48

static struct ferry_device *dev;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/**
 * struct outcome - who has the guest
 * @source: the source's last word
 * @sink: the sink's
 * @gave: the source was told that the sink owns the guest
 * @keeps: the source may run it on
 * @took: the sink may run it
 */
struct outcome {
	struct vmm_answer source, sink;
	bool gave, keeps, took;
};

static struct outcome ended(struct vmm_pair *p)
{
	struct outcome o;

	o.source = vmm_hear(&p->end[KVM_FERRY_SOURCE]);
	/* A thread of the sink is in COMMIT: asking again gives its answer. */
	o.sink = vmm_ask(&p->end[KVM_FERRY_SINK], VMM_COMMIT);
	o.gave = !o.source.err && o.source.state == KVM_FERRY_STATE_DONE;
	o.keeps = o.source.err == -ESHUTDOWN && (o.source.state == KVM_FERRY_STATE_FAILED ||
						o.source.state == KVM_FERRY_STATE_ABORTED);
	o.took = !o.sink.err && o.sink.state == KVM_FERRY_STATE_DONE;
	return o;
}

static void begin(struct vmm_pair *p)
{
	vmms_start(p, KVM_FERRY_SOURCE, KVM_FERRY_STATE_COMMITTING, 10000, pair_sockets);
}

/* Nanoseconds from asking for COMMIT to its answer. */
static uint64_t undisturbed(void)
{
	uint64_t longest = 0;
	int i;

	for (i = 0; i < CALM; i++) {
		struct vmm_pair p;
		struct outcome o;
		uint64_t ns;

		begin(&p);
		ns = now_ns();
		vmm_tell(&p.end[KVM_FERRY_SOURCE], VMM_COMMIT);
		o = ended(&p);
		ns = now_ns() - ns;
		if (!o.gave || !o.took)
			tap_bail("an undisturbed COMMIT failed: %s", o.source.reason);
		if (ns > longest)
			longest = ns;
		vmms_stop(&p);
	}
	return longest;
}

int main(void)
{
	unsigned int moved = 0, kept = 0, refused = 0, i;
	uint64_t longest, delay, until;

	if (ferry_device_open(&dev))
		tap_bail("device: %s", ferry_error());
	longest = undisturbed();
	for (i = 0; i < RACES; i++) {
		enum kvm_ferry_role victim = i % 2 ? KVM_FERRY_SINK : KVM_FERRY_SOURCE;
		struct vmm_pair p;
		struct outcome o;
		int err;

		begin(&p);
		delay = longest * (i / 2) / (RACES / 2 - 1);
		until = now_ns() + delay;
		vmm_tell(&p.end[KVM_FERRY_SOURCE], VMM_COMMIT);
		while (now_ns() < until)
			;
		err = ferry_device_abort(dev, p.end[victim].id);
		o = ended(&p);
		moved += o.gave;
		kept += o.keeps;
		refused += err == -EBUSY;
		if (!tap_check(o.gave == o.took && o.keeps != o.took && o.source.whole,
			       "the %s aborted %llu us after COMMIT was asked for: the %s has the guest",
			       ferry_role_name(victim), (unsigned long long)delay / 1000,
			       o.took ? "sink" : "source"))
			tap_note("source: %d, %s, \"%s\"; sink: %d, %s, \"%s\"; abort: %d", o.source.err,
				 ferry_state_name(o.source.state), o.source.reason, o.sink.err,
				 ferry_state_name(o.sink.state), o.sink.reason, err);
		vmms_stop(&p);
	}
	tap_note("a calm COMMIT took up to %llu us; %u moved, %u stayed, %u aborts came after COMMIT",
		 (unsigned long long)longest / 1000, moved, kept, refused);
	tap_check(moved && kept, "both were seen: a move and a guest that stayed");
	ferry_device_close(dev);
	return tap_done();
}
