// SPDX-License-Identifier: GPL-2.0-only
/*
 * What became of sessions, for fake_module.c: the records 7 to 11.
 *
 * FAKE_FERRY=none: there are none; told: of the sessions 5 and 7 of fake_module.c, too;
 * growing: each look that finds none lets one more come, and before the second of those
 * there are 64 that nobody has seen; unrecorded: a module that keeps none; torn: texts
 * without an end.
 */
#include <errno.h>
#include <linux/kvm_ferry.h>
#include <stdlib.h>
#include <string.h>

int fake_history(struct kvm_ferry_history *h);

static const struct kvm_ferry_history records[] = {
	{ .out_number = 7, .out_session_id = 101, .out_role = KVM_FERRY_SOURCE, .out_name = "web-7",
	  .out_state = KVM_FERRY_STATE_DONE, .out_started_ns = 1700000000123456789ULL,
	  .out_total_time_ns = 7200000000ULL, .out_downtime_ns = 31000000, .out_owner_uid = 64055,
	  .out_ram_transferred = 5ULL << 30, .out_dirty_sync_count = 6 },
	{ .out_number = 8, .out_session_id = 102, .out_role = KVM_FERRY_SOURCE,
	  .out_name = "db-2 \"primary\"", .out_state = KVM_FERRY_STATE_FAILED, .out_error = EPIPE,
	  .out_started_ns = 1700000100000000000ULL, .out_total_time_ns = 9100000000ULL,
	  .out_ram_transferred = 2ULL << 30, .out_dirty_sync_count = 2,
	  .out_reason = "the peer ended the migration: the VMM at the sink closed the session" },
	{ .out_number = 9, .out_session_id = 103, .out_role = KVM_FERRY_SINK,
	  .out_name = "build-farm-worker-14-of-the-poo", .out_state = KVM_FERRY_STATE_ABORTED,
	  .out_error = ECANCELED, .out_started_ns = 1700000200000000000ULL,
	  .out_total_time_ns = 50000000, .out_reason = "the VMM or an operator at the sink aborted it" },
	{ .out_number = 10, .out_session_id = 104, .out_role = KVM_FERRY_SOURCE, .out_name = "",
	  .out_state = KVM_FERRY_STATE_IN_DOUBT, .out_error = ETIMEDOUT,
	  .out_started_ns = 1700000300000000000ULL, .out_total_time_ns = 12000000000ULL,
	  .out_downtime_ns = 10000000000ULL, .out_reason = "COMMIT was sent, and the peer was silent" },
	{ .out_number = 11, .out_session_id = 105, .out_role = KVM_FERRY_SINK, .out_name = "web-8",
	  .out_state = KVM_FERRY_STATE_DONE, .out_started_ns = 1700000400000000000ULL,
	  .out_total_time_ns = 3000000000ULL, .out_downtime_ns = 42000000,
	  .out_ram_transferred = 1ULL << 30, .out_dirty_sync_count = 4 },
};

static const struct kvm_ferry_history told[] = {
	{ .out_number = 12, .out_session_id = 5, .out_state = KVM_FERRY_STATE_FAILED, .out_error = EPIPE,
	  .out_reason = "the peer ended the migration: its guest has no memory left" },
	{ .out_number = 13, .out_session_id = 7, .out_state = KVM_FERRY_STATE_DONE,
	  .out_total_time_ns = 4000000000ULL, .out_downtime_ns = 77000000, .out_dirty_sync_count = 9,
	  .out_ram_transferred = 512 << 20 },
};

/* The @come'th one that ended while somebody looked on. */
static void fresh(struct kvm_ferry_history *h, unsigned int come)
{
	*h = records[1];
	h->out_number = 11 + come + (come > 1 ? 64 : 0);
	h->out_session_id = 200 + come;
}

static _Bool copy(struct kvm_ferry_history *h, const struct kvm_ferry_history *from)
{
	__u32 size = h->size;
	__u64 after = h->after;

	if (from->out_number <= after)
		return 0;
	*h = *from;
	h->size = size;
	h->after = after;
	return 1;
}

int fake_history(struct kvm_ferry_history *h)
{
	const char *mode = getenv("FAKE_FERRY");
	struct kvm_ferry_history more;
	static unsigned int come;
	unsigned int i;

	/* What the kernel would refuse. */
	if (h->size != sizeof(*h) || h->flags || h->out_number || h->out_reason[0])
		return -EINVAL;
	if (!mode || !strcmp(mode, "unrecorded"))
		return -ENOTTY;
	if (!strcmp(mode, "none"))
		return -ENOENT;
	for (i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		if (!copy(h, &records[i]))
			continue;
		if (!strcmp(mode, "torn")) {
			memset(h->out_name, 'n', sizeof(h->out_name));
			memset(h->out_reason, 'r', sizeof(h->out_reason));
		}
		return 0;
	}
	for (i = 0; !strcmp(mode, "told") && i < sizeof(told) / sizeof(told[0]); i++)
		if (copy(h, &told[i]))
			return 0;
	if (strcmp(mode, "growing"))
		return -ENOENT;
	for (i = 1; i <= come; i++) {
		fresh(&more, i);
		if (copy(h, &more))
			return 0;
	}
	come++;
	return -ENOENT;
}
