// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=bad_wire.c,bad_call.c,pair.c,tap.c timeout=60 leak=4096
 *
 * Every command while COMMIT is on its way, at both ends, and at a source that is in
 * doubt: none of them changes who has the guest. (bad_state has the other states.)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bad_call.h"
#include "bad_wire.h"
#include "tap.h"

#define PATIENT 20000

static uint8_t bytes[64];
static uint64_t map[1];
static struct kvm_ferry_range range = { .length = PAGE };

static struct kvm_ferry_region_add region = { .size = sizeof(region), .region_id = 7,
					      .name = "other", .length = PAGE };
static struct kvm_ferry_channel_add channel = { .size = sizeof(channel),
	.kind = KVM_FERRY_CHANNEL_DATA, .transport = KVM_FERRY_TRANSPORT_LOOP, .fd = -1, .key = 99 };
static struct kvm_ferry_start start = { .size = sizeof(start) };
static struct kvm_ferry_report_dirty report = { .size = sizeof(report), .count = 1 };
static struct kvm_ferry_bitmap bitmap = { .size = sizeof(bitmap), .length = PAGE };
static struct kvm_ferry_final final = { .size = sizeof(final) };
static struct kvm_ferry_state_io state_io = { .size = sizeof(state_io), .length = 8 };
static struct kvm_ferry_commit commit = { .size = sizeof(commit) };
static struct kvm_ferry_abort abort_it = { .size = sizeof(abort_it) };
static struct kvm_ferry_limits timeout = { .size = sizeof(timeout),
					   .flags = KVM_FERRY_LIMIT_PEER_TIMEOUT,
					   .peer_timeout_ns = 9000000000 };

enum column { COMMITTING, IN_DOUBT, NR_COLUMNS };

/**
 * struct row - what a command gives
 * @name: of the command
 * @cmd: its number
 * @arg: its argument
 * @want: errno by state
 * @words: of its sentence, by state; NULL: not tried, it would wait
 */
struct row {
	const char *name;
	unsigned long cmd;
	void *arg;
	int want[NR_COLUMNS];
	const char *words[NR_COLUMNS];
};

#define OVER "COMMIT was sent"
#define WHY "the peer closed the control channel"

static const struct row source_rows[] = {
	{ "REGION_ADD", KVM_FERRY_REGION_ADD, &region, { EBUSY, ESHUTDOWN }, { "", "" } },
	{ "CHANNEL_ADD", KVM_FERRY_CHANNEL_ADD, &channel, { EBUSY, ESHUTDOWN }, { "", "" } },
	{ "START", KVM_FERRY_START, &start, { EBUSY, ESHUTDOWN }, { "started already", "ended" } },
	{ "REPORT_DIRTY", KVM_FERRY_REPORT_DIRTY, &report, { EBUSY, ESHUTDOWN }, { "", "" } },
	{ "REPORT_BITMAP", KVM_FERRY_REPORT_BITMAP, &bitmap, { EBUSY, ESHUTDOWN }, { "", "" } },
	{ "FETCH_DIRTY", KVM_FERRY_FETCH_DIRTY, &bitmap, { EBUSY, ESHUTDOWN }, { "", "" } },
	{ "FINAL", KVM_FERRY_FINAL, &final, { EBUSY, ESHUTDOWN }, { "committing", "" } },
	{ "STATE_SEND", KVM_FERRY_STATE_SEND, &state_io, { EBUSY, ESHUTDOWN }, { "", WHY } },
	{ "COMMIT", KVM_FERRY_COMMIT, &commit, { 0, EINPROGRESS }, { NULL, WHY } },
	{ "LIMITS", KVM_FERRY_LIMITS, &timeout, { EBUSY, EBUSY }, { "", "" } },
	{ "ABORT", KVM_FERRY_ABORT, &abort_it, { EBUSY, 0 }, { OVER, NULL } },
	{}
};

static const struct row sink_rows[] = {
	{ "REGION_ADD", KVM_FERRY_REGION_ADD, &region, { EBUSY }, { "" } },
	{ "CHANNEL_ADD", KVM_FERRY_CHANNEL_ADD, &channel, { EBUSY }, { "" } },
	{ "START", KVM_FERRY_START, &start, { EBUSY }, { "started already" } },
	{ "STATE_RECV", KVM_FERRY_STATE_RECV, &state_io, { EBUSY }, { "committing" } },
	{ "LIMITS", KVM_FERRY_LIMITS, &timeout, { EBUSY }, { "" } },
	{}
};

static void try_all(const struct peer *p, const struct row *r, enum column col)
{
	static const char * const names[] = { "while COMMIT is on its way", "in doubt" };
	uint32_t state = pair_stats(p->s).out_state;

	if (state != (col == IN_DOUBT ? KVM_FERRY_STATE_IN_DOUBT : KVM_FERRY_STATE_COMMITTING))
		tap_bail("it is in state %u", state);
	for (; r->name; r++)
		if (r->words[col])
			refused(ferry_session_fd(p->s), r->cmd, r->arg, r->want[col], r->words[col],
				"%s %s", r->name, names[col]);
	tap_check(pair_stats(p->s).out_state == state, "the state is the same after all of that");
}

static void at_the_source(void)
{
	static struct peer p;

	peer_open(&p, KVM_FERRY_SOURCE, 1, PATIENT, false);
	peer_start(&p);
	sink_until_commit(&p);
	try_all(&p, source_rows, COMMITTING);
	shutdown(p.control.fd, SHUT_RDWR);
	tap_check(peer_commit(&p) == -EINPROGRESS, "without an answer COMMIT gives EINPROGRESS: %s",
		  ferry_session_error(p.s));
	try_all(&p, source_rows, IN_DOUBT);
	tap_check(!ferry_session_abort(p.s) &&
		  pair_stats(p.s).out_state == KVM_FERRY_STATE_IN_DOUBT,
		  "an abort does not take the doubt away");
	peer_close(&p);
}

static void at_the_sink(void)
{
	static struct peer p;

	peer_open(&p, KVM_FERRY_SINK, 1, PATIENT, false);
	peer_start(&p);
	source_until_ready(&p);
	try_all(&p, sink_rows, COMMITTING);
	wire_send(&p.control, W_COMMIT, NULL, 0);
	tap_check(!peer_commit(&p) && pair_stats(p.s).out_state == KVM_FERRY_STATE_DONE,
		  "then COMMIT comes, and the sink owns the guest");
	peer_close(&p);
}

int main(void)
{
	report.ranges = (uintptr_t)&range;
	bitmap.bitmap = (uintptr_t)map;
	state_io.data = (uintptr_t)bytes;
	region.addr = (uintptr_t)aligned_alloc(PAGE, PAGE);
	at_the_source();
	at_the_sink();
	return tap_done();
}
