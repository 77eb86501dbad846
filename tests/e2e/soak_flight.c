// SPDX-License-Identifier: GPL-2.0
/*
 * The soak test's migrations: begun, followed, struck by their fault, and
 * settled.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/kvm_ferry.h>

#include "soak.h"
#include "tap.h"

#define MOVE_MS		90000	/* for a migration, on a stock kernel */
#define PATIENCE_MS	2500	/* then the limits are raised, so that it ends */
#define LOOK_MS		20	/* how often the VMMs are asked */

/* --- the beginning of a migration --------------------------------------- */

bool flight_begin(struct soak_flight *f)
{
	const struct soak_move *m = f->m;
	struct soak_connection pairs[1 + KVM_FERRY_MAX_DATA_CHANNELS];
	int fds[2][1 + KVM_FERRY_MAX_DATA_CHANNELS];
	unsigned int nr = m->transport == BY_LOOP ? 0 : m->channels + 1, i;
	char common[128], request[512];
	bool ok;

	snprintf(common, sizeof(common), "\"data_channels\":%u,\"peer_timeout_ms\":%u", m->channels,
		 m->peer_ms * lab_slow());
	if (m->transport == BY_LOOP)
		snprintf(common + strlen(common), sizeof(common) - strlen(common), ",\"loop\":%llu",
			 (unsigned long long)m->number * 32);
	else
		net_connect(pairs, m->channels, m->transport == BY_TLS);
	if (m->inflight)
		snprintf(common + strlen(common), sizeof(common) - strlen(common),
			 ",\"inflight_bytes\":%u", m->inflight);
	for (i = 0; i < nr; i++) {
		fds[0][i] = pairs[i].end[0];
		fds[1][i] = pairs[i].end[1];
	}
	snprintf(request, sizeof(request), "{\"cmd\":\"receive\",%s}", common);
	ok = vmm_ask(f->to, request, fds[1], nr);
	snprintf(request, sizeof(request),
		 "{\"cmd\":\"migrate\",%s,\"verify\":%s,\"bandwidth\":%u,\"downtime_ms\":%u}", common,
		 m->verify ? "true" : "false", m->bandwidth, m->downtime_ms);
	ok = ok && vmm_ask(f->from, request, fds[0], nr);
	for (i = 0; i < nr; i++) {
		close(fds[0][i]);
		close(fds[1][i]);
	}
	f->began_ms = soak_now_ms();
	f->begun = ok;
	return ok;
}

/* --- under way ---------------------------------------------------------- */

/* Asks the module itself: a VMM's main loop would be in the way. */
static void find_sessions(struct soak_flight *f, struct ferry_device *dev)
{
	struct kvm_ferry_stats st;
	uint64_t *ids;
	size_t count, i;

	if (ferry_device_list(dev, &ids, &count))
		tap_bail("list: %s", ferry_error());
	/* The VMMs close what has ended when the next one begins: the newest ones count. */
	for (i = 0; i < count; i++)
		if (!ferry_device_stats(dev, ids[i], &st, sizeof(st)) && ids[i] > f->ids[st.out_role])
			f->ids[st.out_role] = ids[i];
	free(ids);
}

static unsigned int source_state(struct soak_flight *f, struct ferry_device *dev)
{
	struct kvm_ferry_stats st;

	if (ferry_device_stats(dev, f->ids[KVM_FERRY_SOURCE], &st, sizeof(st)))
		return KVM_FERRY_STATE_DONE;
	return st.out_state;
}

static void strike(struct soak_flight *f, struct ferry_device *dev)
{
	/* Refused if it is over or COMMIT was sent: then the fault came too late. */
	switch (f->m->fault) {
	case FAULT_CANCEL_SOURCE:
		vmm_ask(f->from, "{\"cmd\":\"cancel\"}", NULL, 0);
		break;
	case FAULT_CANCEL_SINK:
		vmm_ask(f->to, "{\"cmd\":\"cancel\"}", NULL, 0);
		break;
	case FAULT_ABORT_SOURCE:
		ferry_device_abort(dev, f->ids[KVM_FERRY_SOURCE]);
		break;
	case FAULT_ABORT_SINK:
		ferry_device_abort(dev, f->ids[KVM_FERRY_SINK]);
		break;
	case FAULT_KILL_SINK:
		vmm_end(f->to, false);
		break;
	case FAULT_KILL_SOURCE:
		vmm_end(f->from, false);
		break;
	case FAULT_LINK_SHORT:
		net_link(false);
		f->link_up_ms = soak_now_ms() + f->m->down_ms;
		f->link_down = true;
		break;
	case FAULT_LINK_LONG:
		net_link(false);
		f->link_down = true;
		break;
	default:	/* it was made with the VMM */
		break;
	}
	f->struck = true;
}

static void wait_us(unsigned int us)
{
	uint64_t end;
	struct timespec t;

	if (us >= 1000) {
		usleep(us);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &t);
	end = t.tv_sec * 1000000ULL + t.tv_nsec / 1000 + us;
	do {
		clock_gettime(CLOCK_MONOTONIC, &t);
	} while (t.tv_sec * 1000000ULL + t.tv_nsec / 1000 < end);
}

void flight_look(struct soak_flight *f)
{
	vmm_status(f->from, &f->source);
	vmm_status(f->to, &f->sink);
}

static bool over(const struct soak_flight *f)
{
	return !f->source.migrating && !f->sink.migrating;
}

/* An operator's way with a guest that writes faster than the link takes it. */
static void hurry(struct soak_flight *f)
{
	vmm_ask(f->from, "{\"cmd\":\"set\",\"bandwidth\":0,\"downtime_ms\":60000}", NULL, 0);
	f->hurried = true;
}

static void change_bandwidth(struct soak_flight *f)
{
	char request[64];

	snprintf(request, sizeof(request), "{\"cmd\":\"set\",\"bandwidth\":%u}",
		 f->m->set_bandwidth);
	vmm_ask(f->from, request, NULL, 0);
}

bool flight_follow(struct soak_flight *f, struct ferry_device *dev)
{
	uint64_t end = f->began_ms + (uint64_t)MOVE_MS * lab_slow(), next = 0;
	bool changed = !f->m->set_bandwidth;

	find_sessions(f, dev);
	for (;;) {
		unsigned int state = source_state(f, dev);
		uint64_t now = soak_now_ms();
		bool armed = f->m->fault && !f->struck;

		if (armed && state >= f->m->at) {
			wait_us(f->m->delay_us);
			strike(f, dev);
			continue;
		}
		if (f->link_down && f->link_up_ms && now >= f->link_up_ms) {
			net_link(true);
			f->link_down = false;
		}
		if (!changed && state >= KVM_FERRY_STATE_LIVE) {
			change_bandwidth(f);
			changed = true;
		}
		if (!f->hurried && now - f->began_ms > (uint64_t)PATIENCE_MS * lab_slow())
			hurry(f);
		if (now >= next) {
			flight_look(f);
			if (over(f))
				break;
			next = now + LOOK_MS;
		}
		if (now > end)
			return false;
		/* The states after LIVE are short: a fault must not miss them. */
		if (!armed)
			usleep(LOOK_MS * 1000);
		else if (state <= KVM_FERRY_STATE_LIVE)
			usleep(1000);
	}
	if (f->link_down)
		net_link(true);
	f->link_down = false;
	return true;
}

/* --- afterwards ---------------------------------------------------------- */

static bool resolve(struct soak_flight *f, const char *owner)
{
	char request[64];

	snprintf(request, sizeof(request), "{\"cmd\":\"resolve\",\"owner\":\"%s\"}", owner);
	return vmm_ask(f->from, request, NULL, 0);
}

/*
 * Who has the guest. The documented rule: a source in doubt asks whether the
 * sink runs it; if it does, it is the sink's, and otherwise the source may
 * go on once the sink never will.
 */
enum soak_outcome flight_settle(struct soak_flight *f)
{
	bool there = !strcmp(f->sink.vm, "running");
	/* It has been heard there, before that VMM was killed. */
	bool died = f->sink.dead && guest_log_size(f->to->log);

	if (f->source.dead)
		return there ? MOVED : DIED;
	if (!strcmp(f->source.vm, "gone"))
		return there ? MOVED : f->sink.dead ? DIED : LOST;
	if (!strcmp(f->source.vm, "running"))
		return there || died ? LOST : STAYED;
	if (strcmp(f->source.vm, "in-doubt"))
		return LOST;
	if (there || died)
		return !resolve(f, "there") ? LOST : there ? DOUBT_MOVED : DIED;
	vmm_end(f->to, false);
	return resolve(f, "here") ? DOUBT_STAYED : LOST;
}
