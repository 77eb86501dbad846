// SPDX-License-Identifier: GPL-2.0-only
/*
 * The record of sessions that have ended. A VMM closes its session soon after the
 * end, and all that the session could tell goes with it; what a person asks later
 * ("why did it fail last night?") is answered from here.
 *
 * The records are an array of the module's own, the newest in the place of the
 * oldest: they can neither fail nor grow, and are charged to nobody, since they
 * outlive the VMM whose session they tell of. Their numbers only grow, so that a
 * reader who knows the last number that it saw neither sees a record twice nor
 * misses one unknowingly: a gap in the numbers is what it has missed.
 *
 * A session is recorded by its end_work: neither its state nor its number of passes
 * changes any more then, and the work has run when the close of its file returns.
 */
#include <linux/cred.h>
#include <linux/ktime.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/uidgid.h>

#include "history.h"
#include "session.h"

struct record {
	struct kvm_ferry_history told;
	kuid_t owner;
};

static DEFINE_SPINLOCK(history_lock);	/* protects: records, last_number */
static struct record records[KVM_FERRY_HISTORY_RECORDS];	/* number n: [(n - 1) % size] */
static u64 last_number;

void ferry_history_add(struct ferry_session *s)
{
	struct kvm_ferry_stats st = {};
	struct ferry_reason why;
	struct record *r;

	if (!s->started_at)
		return;
	ferry_stats_read(s, &st);
	spin_lock(&s->state_lock);
	why = s->failure;
	spin_unlock(&s->state_lock);

	spin_lock(&history_lock);
	r = &records[last_number++ % KVM_FERRY_HISTORY_RECORDS];
	r->owner = s->owner;
	r->told = (struct kvm_ferry_history){
		.out_number = last_number,
		.out_session_id = s->id,
		.out_role = st.out_role,
		.out_state = st.out_state,
		.out_error = st.out_error,
		.out_started_ns = s->started_real_ns,
		.out_total_time_ns = st.out_total_time_ns,
		.out_downtime_ns = st.out_downtime_ns,
		.out_ram_transferred = st.out_ram_transferred,
		.out_dirty_sync_count = st.out_dirty_sync_count,
	};
	memcpy(r->told.out_name, s->name, sizeof(r->told.out_name));
	memcpy(r->told.out_reason, why.text, sizeof(r->told.out_reason));
	spin_unlock(&history_lock);
}

int ferry_history_read(struct kvm_ferry_history *h, struct ferry_reason *why)
{
	u32 size = h->size, flags = h->flags;
	u64 after = h->after, gone;
	struct record *r;
	kuid_t owner;

	spin_lock(&history_lock);
	if (after >= last_number) {
		spin_unlock(&history_lock);
		return ferry_because(why, -ENOENT, "no session has ended since");
	}
	gone = last_number - min_t(u64, last_number, KVM_FERRY_HISTORY_RECORDS);
	r = &records[max(after, gone) % KVM_FERRY_HISTORY_RECORDS];
	*h = r->told;
	owner = r->owner;
	spin_unlock(&history_lock);
	h->size = size;
	h->flags = flags;
	h->after = after;
	h->out_owner_uid = from_kuid_munged(current_user_ns(), owner);
	return 0;
}
