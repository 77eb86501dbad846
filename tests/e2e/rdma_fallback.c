// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=rdma_link.c,bad_call.c,pair.c,tap.c timeout=120 leak=8192 kernels=6.1,6.12 asked=debug
 *
 * A data channel that cannot be connected by RDMA goes over TCP, where user space
 * asked for that: nobody listens, the sink has no RDMA, or it answers so late that
 * the source has given up, and RDMA comes about just then. And where RDMA works, TCP is not used.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bad_call.h"
#include "pair.h"
#include "rdma_link.h"
#include "tap.h"

#define BYTES (8 * MIB)

/* What is wrong with RDMA. */
enum trouble { NOTHING, NOBODY, NO_SINK_RDMA, LATE, POOR };

static const char *const names[] = { "RDMA works", "nobody listens", "the sink has TCP only", "the sink starts late", "nothing may be pinned" };

static void add_data(struct pair *p, enum trouble wrong, bool falls_back)
{
	struct sockaddr_in there = p->rdma;
	int fds[2] = { -1, -1 };
	int err;

	if (falls_back)
		pair_sockets(fds);
	if (wrong == NO_SINK_RDMA && falls_back)
		err = ferry_session_add_socket(p->sink, KVM_FERRY_CHANNEL_DATA, fds[1]);
	else
		err = ferry_session_listen_rdma(p->sink, (struct sockaddr *)&p->rdma, sizeof(p->rdma), fds[1]);
	there.sin_port = wrong == NOBODY || wrong == NO_SINK_RDMA ? htons(9) : p->rdma.sin_port;
	if (!err)
		err = ferry_session_connect_rdma(p->source, (struct sockaddr *)&there, sizeof(there), NULL, 0,
						 fds[0]);
	if (err)
		tap_bail("channel: %s / %s", ferry_session_error(p->source), ferry_session_error(p->sink));
	if (falls_back) {
		close(fds[0]);
		close(fds[1]);
	}
}

static void set_up(struct pair *p, unsigned int channels, enum trouble wrong, bool falls_back)
{
	struct kvm_ferry_limits l = { .size = sizeof(l), .flags = KVM_FERRY_LIMIT_PEER_TIMEOUT,
				      .peer_timeout_ns = 4000000000ULL * lab_slow() };

	*p = (struct pair){ .bytes = BYTES, .rdma = rdma_address() };
	p->from = pair_memory(BYTES, false);
	p->to = pair_memory(BYTES, false);
	fill(p->from, BYTES, wrong + 1);
	pair_open(p, -1);	/* the control channel, and no data channel */
	if (ferry_session_limits(p->source, &l, sizeof(l)) || ferry_session_limits(p->sink, &l, sizeof(l)))
		tap_bail("limits: %s", ferry_session_error(p->source));
	/* Less than a channel needs: what the sink may pin is asked when it accepts. */
	l.flags = KVM_FERRY_LIMIT_PINNED;
	l.max_pinned = 4 * MIB;
	if (wrong == POOR && ferry_session_limits(p->sink, &l, sizeof(l)))
		tap_bail("limits: %s", ferry_session_error(p->sink));
	while (channels--)
		add_data(p, wrong, falls_back);
}

static void put_away(struct pair *p)
{
	pair_close(p);
	munmap(p->from, BYTES);
	munmap(p->to, BYTES);
}

static void moves(enum trouble wrong, unsigned int channels)
{
	char why[KVM_FERRY_REASON_LEN];
	struct kvm_ferry_stats st;
	static char state[4096];
	struct pair p;

	set_up(&p, channels, wrong, true);
	if (wrong == LATE) {
		if (ferry_session_start(p.source))
			tap_bail("start: %s", ferry_session_error(p.source));
		if (!poll_until(!pair_stats(p.source).out_rdma_channels))
			tap_check(false, "the source does not give up");
		if (ferry_session_start(p.sink))
			tap_bail("start: %s", ferry_session_error(p.sink));
	} else {
		pair_start(&p);
	}
	pair_wait(p.source, KVM_FERRY_EVENT_CONVERGED);
	ferry_session_reason(p.source, why, sizeof(why));
	st = pair_stats(p.source);
	tap_check(st.out_rdma_channels == (wrong ? 0 : channels), "%s: %llu of %u channels by RDMA: %s", names[wrong],
		  (unsigned long long)st.out_rdma_channels, channels, why);
	tap_check(wrong ? !!strstr(why, "goes over TCP") : !why[0], "%s: a person is told", names[wrong]);
	fill(p.from, BYTES / 2, 77);
	ferry_session_report_range(p.source, 0, 0, BYTES / 2);
	tap_check(!pair_switch(&p, state, sizeof(state)) && !memcmp(p.from, p.to, BYTES),
		  "%s: moved, and equal", names[wrong]);
	st = pair_stats(p.sink);
	tap_check(st.out_rdma_channels == (wrong ? 0 : channels), "%s: the sink says so, too", names[wrong]);
	put_away(&p);
}

/* Nobody asked for TCP: it fails. */
static void alone(void)
{
	struct pair p;

	set_up(&p, 1, NOBODY, false);
	if (ferry_session_start(p.sink) || ferry_session_start(p.source))
		tap_bail("start: %s", ferry_session_error(p.source));
	failed_with(ferry_session_fd(p.source), ECONNREFUSED, "nobody listens", "without a socket");
	failed_with(ferry_session_fd(p.sink), EPIPE, "", "the sink");
	put_away(&p);
}

static void bad_fallbacks(void)
{
	struct sockaddr_in at = rdma_address();
	struct kvm_ferry_channel_add add = { .size = sizeof(add), .kind = KVM_FERRY_CHANNEL_DATA,
					     .transport = KVM_FERRY_TRANSPORT_RDMA, .addr = (uintptr_t)&at,
					     .addr_len = sizeof(at), .fd = 0 };
	struct pair p;

	set_up(&p, 1, NOTHING, false);
	refused(ferry_session_fd(p.sink), KVM_FERRY_CHANNEL_ADD, &add, ENOTSOCK, "not a socket", "a fallback that is no socket");
	add.fd = 999;
	refused(ferry_session_fd(p.sink), KVM_FERRY_CHANNEL_ADD, &add, EBADF, "not open", "a fallback that is not open");
	put_away(&p);
}

int main(void)
{
	rdma_up();
	moves(NOTHING, 1);
	moves(NOTHING, 3);
	moves(NOBODY, 2);
	moves(NO_SINK_RDMA, 1);
	alone();
	bad_fallbacks();
	moves(POOR, 2);
	moves(LATE, 2);
	rdma_down();
	return tap_done();
}
