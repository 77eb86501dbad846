// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sink: one task a data channel receives batches straight into the guest's
 * memory.
 *
 * All extents of a batch are checked against the regions before the first byte
 * of it is placed. Then the pages are pinned, the page data is received into
 * them (the one copy that there is), and they are let go. Nothing is held of the
 * VMM's mm while the network is waited for.
 *
 * That two channels never touch the same page is the source's duty; a source
 * that breaks it spoils its own guest and nothing else.
 */
#include <linux/bvec.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <crypto/algapi.h>	/* crypto_memneq() */

#include "control.h"
#include "limits.h"
#include "pages.h"
#include "session.h"
#include "sink.h"
#include "trace.h"

/**
 * struct sink_batch - room for one batch
 * @extents: decoded and checked
 * @pages: pinned pages of all DATA extents, in order
 * @bv: the same, for the receiver
 */
struct sink_batch {
	struct ferry_extent extents[FERRY_WIRE_MAX_EXTENTS];
	struct page *pages[FERRY_WIRE_MAX_BATCH_PAGES];
	struct bio_vec bv[FERRY_WIRE_MAX_BATCH_PAGES];
};

static int refuse(struct ferry_session *s, u32 i, const struct ferry_region *r,
		  const struct ferry_msg_region *m)
{
	char ours[24], theirs[24];

	if (!r)
		ferry_session_fail(s, -EREMCHG, "peer's region '%s' is one more than ours", m->name);
	else if (r->id != m->id || strcmp(r->name, m->name))
		ferry_session_fail(s, -EREMCHG, "peer's region number %u is '%s' with id %llu, ours is '%s' with id %u",
				   i, m->name, m->id, r->name, r->id);
	else
		ferry_session_fail(s, -EREMCHG, "peer's region '%s' is %s, ours is %s", m->name,
				   ferry_size_text(theirs, sizeof(theirs), m->length),
				   ferry_size_text(ours, sizeof(ours), r->nr_pages * PAGE_SIZE));
	return -EREMCHG;
}

/* The regions must be the same, in the same order: their numbers are the wire's. */
static int check_regions(struct ferry_session *s, const u8 *body, size_t len, u32 nr)
{
	struct ferry_msg_region m;
	const char *why;
	u32 i;

	for (i = 0; i < nr; i++) {
		struct ferry_region *r;

		if (ferry_wire_get_region(body, len, i, &m, &why)) {
			ferry_session_fail(s, -EPROTO, "the peer broke the protocol: %s", why);
			return -EPROTO;
		}
		r = i < s->nr_regions ? s->regions[i] : NULL;
		if (!r || r->id != m.id || strcmp(r->name, m.name) ||
		    r->nr_pages * PAGE_SIZE != m.length)
			return refuse(s, i, r, &m);
	}
	if (nr < s->nr_regions) {
		ferry_session_fail(s, -EREMCHG, "the peer has no region '%s'", s->regions[nr]->name);
		return -EREMCHG;
	}
	return 0;
}

int ferry_sink_hello(struct ferry_session *s, const u8 *body, size_t len)
{
	struct ferry_msg_hello m;
	const char *why;
	u32 i;
	int ret;

	if (s->hello_seen || ferry_session_state(s) != KVM_FERRY_STATE_CONNECTING) {
		ferry_session_fail(s, -EPROTO, "the peer broke the protocol: a second HELLO");
		return -EPROTO;
	}
	if (ferry_wire_get_hello(body, len, &m, &why)) {
		ferry_session_fail(s, -EPROTO, "the peer broke the protocol: %s", why);
		return -EPROTO;
	}
	if (m.version_min > FERRY_WIRE_VERSION || m.version < FERRY_WIRE_VERSION_MIN) {
		ferry_session_fail(s, -EPROTONOSUPPORT, "the peer speaks protocol versions %u to %u, this module %u to %u",
				   m.version_min, m.version, FERRY_WIRE_VERSION_MIN, FERRY_WIRE_VERSION);
		return -EPROTONOSUPPORT;
	}
	ret = check_regions(s, body, len, m.nr_regions);
	if (ret)
		return ret;
	if (m.nr_channels != s->nr_data) {
		ferry_session_fail(s, -EPROTO, "the peer has %u data channels, ours are %u: add as many",
				   m.nr_channels, s->nr_data);
		return -EPROTO;
	}
	ferry_peer_timeout(s, (u64)m.peer_timeout_ms * NSEC_PER_MSEC);
	for (i = 0; i < s->nr_data; i++) {
		s->data[i]->ops->start(s->data[i]);
		if (s->data[i]->other)
			s->data[i]->other->ops->start(s->data[i]->other);
	}
	s->control->ops->start(s->control);
	mod_delayed_work(system_unbound_wq, &s->ping_work, nsecs_to_jiffies(s->ping_ns) ?: 1);
	memcpy(s->token, m.token, sizeof(s->token));
	s->wire_version = min_t(u16, m.version, FERRY_WIRE_VERSION);
	s->features = m.features & FERRY_WIRE_FEATURES_KNOWN;
	s->verify = !!(s->features & FERRY_WIRE_FEATURE_VERIFY);
	/* Pairs with the data channels' tasks that wait for the token. */
	smp_store_release(&s->hello_seen, true);
	wake_up_all(&s->wait);
	if (!wait_event_idle_timeout(s->wait, atomic_read(&s->bound) == s->nr_data ||
				     ferry_session_ended(s), nsecs_to_jiffies(s->peer_silence_ns))) {
		ferry_session_fail(s, -ETIMEDOUT, "only %d of %u data channels showed the token within %llu ms",
				   atomic_read(&s->bound), s->nr_data,
				   s->peer_silence_ns / NSEC_PER_MSEC);
		return -ETIMEDOUT;
	}
	if (ferry_session_ended(s))
		return -ESHUTDOWN;
	/* LIVE first: the source may send as soon as it has heard. */
	ret = ferry_session_step(s, FERRY_STEP_AGREED);
	return ret ? ret : ferry_control_hello_ack(s);
}

bool ferry_sink_overdue(struct ferry_session *s)
{
	/* A peer that is silent in the middle of it is noticed before, by the transport. */
	if (ferry_session_state(s) != KVM_FERRY_STATE_CONNECTING || READ_ONCE(s->hello_seen) ||
	    ktime_get_ns() <= ktime_to_ns(s->started_at) + 3 * s->peer_silence_ns)
		return false;
	ferry_session_fail(s, -ETIMEDOUT, "the peer lives, but has not said all of its HELLO within %llu ms",
			   3 * s->peer_silence_ns / NSEC_PER_MSEC);
	return true;
}

static bool all_fences_met(struct ferry_session *s)
{
	u32 i;

	/* FINAL told the number of the pass after it; there may be more than one. */
	if (!s->final_pass || s->pass < s->final_pass)
		return false;
	for (i = 0; i < s->nr_data; i++) {
		/* Pairs with meet_fence(): what came before the fence is in memory. */
		if (smp_load_acquire(&s->data[i]->fenced_pass) != s->pass)
			return false;
	}
	return true;
}

bool ferry_sink_seal(struct ferry_session *s)
{
	u32 i;

	if (!all_fences_met(s))
		return false;
	WRITE_ONCE(s->sealed, true);
	/* Pairs with take_batch(): it sees the seal, or is seen here. */
	smp_mb();
	for (i = 0; i < s->nr_data; i++)
		if (READ_ONCE(s->data[i]->placing))
			return false;
	for (i = 0; i < s->nr_data; i++)
		if (s->data[i]->ops->seal)
			s->data[i]->ops->seal(s->data[i]);
	return true;
}

int ferry_sink_commit(struct ferry_session *s)
{
	int ret;

	if (ferry_session_state(s) != KVM_FERRY_STATE_COMMITTING ||
	    !ferry_session_said(s, FERRY_MSG_READY)) {
		ferry_session_fail(s, -EPROTO, "the peer broke the protocol: COMMIT before READY");
		return -EPROTO;
	}
	trace_ferry_switchover(s->id, s->role, FERRY_PHASE_COMMIT);
	/*
	 * Ours from here on: no abort may come between this and the answer. Only
	 * an answer that could not be sent takes it back.
	 */
	ret = ferry_session_own(s);
	if (ret)
		return ret;
	trace_ferry_switchover(s->id, s->role, FERRY_PHASE_COMMIT_ACK);
	return 0;
}

/* The first message on a data channel shows the token of the control channel. */
static int bind_channel(struct ferry_channel *ch)
{
	struct ferry_session *s = ch->session;
	struct ferry_msg_channel m;
	struct ferry_msg_header h;
	const char *why = "a data channel must begin with CHANNEL";
	int ret;

	ret = ferry_msg_recv(ch, &h, true);
	if (ret)
		return ret;
	if (h.type != FERRY_MSG_CHANNEL || ferry_wire_get_channel(ch->rx_buf, h.length, &m, &why)) {
		ferry_session_fail(s, -EPROTO, "the peer broke the protocol: %s", why);
		return -EPROTO;
	}
	/* Pairs with ferry_sink_hello(): the token is there. */
	wait_event_idle(s->wait, smp_load_acquire(&s->hello_seen) || ferry_session_ended(s));
	if (ferry_session_ended(s))
		return -ESHUTDOWN;
	if (crypto_memneq(m.token, s->token, sizeof(m.token))) {
		ferry_session_fail(s, -EKEYREJECTED, "data channel %u belongs to another migration: its token is not the control channel's",
				   ch->index);
		return -EKEYREJECTED;
	}
	if (m.index != ch->index || m.nr_channels != s->nr_data) {
		ferry_session_fail(s, -EPROTO, "the peer's data channel %u of %u arrived as number %u of %u: add them in the order of their index",
				   m.index, m.nr_channels, ch->index, s->nr_data);
		return -EPROTO;
	}
	if (!ferry_channel_claim(ch)) {
		ferry_session_fail(s, -EPROTO, "the peer broke the protocol: it shows the token of data channel %u by RDMA and by TCP",
				   ch->index);
		return -EPROTO;
	}
	atomic_inc(&s->bound);
	wake_up_all(&s->wait);
	return 0;
}

/* Decodes all extents and checks each against its region. Counts data pages. */
static int check_batch(struct ferry_channel *ch, const struct ferry_msg_header *h,
		       struct sink_batch *b, struct ferry_msg_batch *m, u32 *nr_pages)
{
	struct ferry_session *s = ch->session;
	const char *why = NULL;
	u32 i;

	*nr_pages = 0;
	if (ferry_wire_get_batch(ch->rx_buf, h->length, m, &why))
		goto bad;
	for (i = 0; i < m->nr_extents; i++) {
		struct ferry_extent *e = &b->extents[i];
		const struct ferry_region *r;

		if (ferry_wire_get_extent(ch->rx_buf, h->length, i, e, &why))
			goto bad;
		why = "extent of an unknown region";
		if (e->region >= s->nr_regions)
			goto bad;
		r = s->regions[e->region];
		why = "extent reaches beyond its region";
		if (e->pfn >= r->nr_pages || e->nr_pages > r->nr_pages - e->pfn)
			goto bad;
		why = "batch has more page data than 2 MiB";
		if (e->kind == FERRY_EXTENT_DATA)
			*nr_pages += e->nr_pages;
		if (*nr_pages > FERRY_WIRE_MAX_BATCH_PAGES)
			goto bad;
	}
	return 0;
bad:
	ferry_session_fail(s, -EPROTO, "the peer broke the protocol: %s", why);
	return -EPROTO;
}

static int memory_failed(struct ferry_session *s, const struct ferry_extent *e, int error)
{
	if (error == -ESRCH)
		ferry_session_fail(s, -ESRCH, "the VMM has exited");
	else
		ferry_session_fail(s, -EFAULT, "region '%s' cannot be written at 0x%llx (%d)",
				   s->regions[e->region]->name, e->pfn * PAGE_SIZE, error);
	return error;
}

/* To look for zero pages takes the address space itself, to pin pages does not. */
static bool looks(const struct sink_batch *b, u32 nr_extents)
{
	u32 i;

	for (i = 0; i < nr_extents; i++)
		if (b->extents[i].kind == FERRY_EXTENT_ZERO)
			return true;
	return false;
}

/*
 * Pins the pages of the DATA extents and clears those of the ZERO extents. What a
 * one-sided transport has placed already is not even looked at.
 */
static int prepare(struct ferry_channel *ch, struct sink_batch *b, u32 nr_extents, u32 *pinned)
{
	struct ferry_session *s = ch->session;
	bool enter = looks(b, nr_extents);
	u64 clear = 0, zero = 0;
	int ret = 0;
	u32 i;

	*pinned = 0;
	if (ch->ops->one_sided && !enter)
		return 0;
	if (!(enter ? ferry_mm_enter(s) : ferry_mm_get(s)))
		return memory_failed(s, b->extents, -ESRCH);
	for (i = 0; i < nr_extents && !ret; i++) {
		const struct ferry_extent *e = &b->extents[i];
		const struct ferry_region *r = s->regions[e->region];

		if (e->kind == FERRY_EXTENT_ZERO) {
			zero += e->nr_pages;
			ret = ferry_pages_clear(s, r, e->pfn, e->nr_pages, &clear);
		} else if (!ch->ops->one_sided) {
			ret = ferry_pages_pin(s, r, e->pfn, e->nr_pages, 0, b->pages + *pinned);
			if (!ret)
				*pinned += e->nr_pages;
		}
	}
	if (enter)
		ferry_mm_leave(s);
	else
		ferry_mm_put(s);
	atomic64_add(zero, &s->stats.zero);
	atomic64_add(clear, &s->stats.clear);
	return ret ? memory_failed(s, &b->extents[i - 1], ret) : 0;
}

static int place_batch(struct ferry_channel *ch, const struct ferry_msg_header *h,
		       struct sink_batch *b)
{
	struct ferry_session *s = ch->session;
	struct ferry_msg_batch m;
	struct iov_iter to;
	u32 nr, i, pinned;
	int ret;

	ret = check_batch(ch, h, b, &m, &nr);
	if (ret)
		return ret;
	/* Behind the last fence nothing may come: the guest may run by then. */
	if (m.pass != ch->fenced_pass + 1) {
		ferry_session_fail(s, -EPROTO, "the peer broke the protocol: a batch of pass %u behind the fence of pass %u",
				   m.pass, ch->fenced_pass);
		return -EPROTO;
	}
	ret = prepare(ch, b, m.nr_extents, &pinned);
	if (!ret && pinned) {
		for (i = 0; i < nr; i++)
			bvec_set_page(&b->bv[i], b->pages[i], PAGE_SIZE, 0);
		iov_iter_bvec(&to, ITER_DEST, b->bv, nr, nr * PAGE_SIZE);
		ret = ch->ops->recv(ch, &to, false);
		if (ret)
			ferry_channel_broke(ch, ret, "received from");
	}
	unpin_user_pages_dirty_lock(b->pages, pinned, true);
	if (ret)
		return ret;
	atomic64_add(FERRY_WIRE_HEADER_LEN + h->length + nr * PAGE_SIZE, &s->stats.transferred);
	atomic64_add(nr, &s->stats.normal);
	atomic64_add(m.nr_extents, &s->stats.extents);
	atomic64_inc(&s->stats.batches);
	trace_ferry_batch(s->id, ch->index, m.pass, m.nr_extents, nr, 0, 0);
	return 0;
}

static int meet_fence(struct ferry_channel *ch, const struct ferry_msg_header *h)
{
	struct ferry_session *s = ch->session;
	struct ferry_msg_pass m;
	const char *why;

	if (ferry_wire_get_pass(ch->rx_buf, h->length, h->type, &m, &why))
		goto bad;
	why = "fences out of order";
	if (m.pass != ch->fenced_pass + 1)
		goto bad;
	/* Pairs with all_fences_met(). */
	smp_store_release(&ch->fenced_pass, m.pass);
	trace_ferry_fence(s->id, ch->index, m.pass, false);
	return ferry_control_pass(s, FERRY_MSG_FENCE_ACK, m.pass, ch->index, 0);
bad:
	ferry_session_fail(s, -EPROTO, "the peer broke the protocol: %s", why);
	return -EPROTO;
}

bool ferry_sink_may_place(struct ferry_session *s)
{
	u32 state = ferry_session_state(s);

	return (state == KVM_FERRY_STATE_LIVE || state == KVM_FERRY_STATE_FINAL) &&
	       !READ_ONCE(s->sealed);
}
EXPORT_SYMBOL_NS_GPL(ferry_sink_may_place, FERRY_NS);

static int out_of_step(struct ferry_session *s, u16 type)
{
	if (READ_ONCE(s->sealed))
		ferry_session_fail(s, -EPROTO, "the peer broke the protocol: %s behind the last fence",
				   ferry_msg_name(type));
	else
		ferry_session_fail(s, -EPROTO, "the peer broke the protocol: %s while this side is %s",
				   ferry_msg_name(type), ferry_state_name(ferry_session_state(s)));
	return -EPROTO;
}

static int take_batch(struct ferry_channel *ch, const struct ferry_msg_header *h,
		      struct sink_batch *b)
{
	int ret;

	WRITE_ONCE(ch->placing, true);
	/* Pairs with ferry_sink_seal(). */
	smp_mb();
	ret = ferry_sink_may_place(ch->session) ? place_batch(ch, h, b) : out_of_step(ch->session, h->type);
	/* A fence that lets memory be sealed comes after this on the channel. */
	WRITE_ONCE(ch->placing, false);
	return ret;
}

int ferry_sink_rx(void *channel)
{
	struct ferry_channel *ch = channel;
	struct ferry_session *s = ch->session;
	struct sink_batch *b = kvzalloc(sizeof(*b), GFP_KERNEL_ACCOUNT);
	struct ferry_msg_header h;
	int ret = 0;

	if (!b) {
		ferry_session_fail(s, -ENOMEM, "no memory for batches");
		ret = -ENOMEM;
	}
	if (!ret)
		ret = bind_channel(ch);
	while (!ret && !ferry_session_ended(s)) {
		ret = ferry_msg_recv(ch, &h, true);
		if (ret)
			break;
		/* A peer that sends without a break must not keep the processor. */
		cond_resched();
		if (h.type == FERRY_MSG_BATCH)
			ret = take_batch(ch, &h, b);
		else if (h.type == FERRY_MSG_FENCE && ferry_sink_may_place(s))
			ret = meet_fence(ch, &h);
		else
			ret = out_of_step(s, h.type);
	}
	kvfree(b);
	ferry_thread_rest();
	return 0;
}
