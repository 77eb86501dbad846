// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/kvm_ferry: a folder for each session, and the history. It tells
 * nothing that the ioctls do not tell an operator, but a kernel developer finds it
 * with cat. The names may change with any release: programs use ioctls or ferryctl.
 *
 * A reader holds no reference of the session: debugfs_remove() waits for those who
 * are inside a file of ours and lets nobody in any more, and the session drops what
 * they look at only after that. So a file that is held open keeps neither the session
 * nor guest memory. It does keep the module: debugfs counts that itself.
 *
 * Nothing depends on these files, so no failure to make one is looked at.
 */
#include <linux/bits.h>
#include <linux/cred.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/uidgid.h>

#include "bits.h"
#include "debugfs.h"
#include "history.h"
#include "limits.h"
#include "session.h"

/* How many pages' bits are counted before others may run. */
#define COUNT_AT_ONCE (1ULL << 20)

struct field {
	const char *name;
	u16 offset;
	u16 size;
};

#define STAT(f) { #f, offsetof(struct kvm_ferry_stats, out_##f), \
		  sizeof_field(struct kvm_ferry_stats, out_##f) }
#define LIMIT(f) { #f, offsetof(struct kvm_ferry_limits, f), \
		   sizeof_field(struct kvm_ferry_limits, f) }

/* All of KVM_FERRY_STATS, as 'ferryctl stats' prints it: the debugfs test compares them. */
static const struct field stats_fields[] = {
	STAT(session_id), STAT(name), STAT(role), STAT(state), STAT(error),
	STAT(nr_channels), STAT(total_time_ns), STAT(setup_time_ns), STAT(downtime_ns),
	STAT(expected_downtime_ns), STAT(ram_total), STAT(ram_transferred),
	STAT(ram_remaining), STAT(ram_normal), STAT(ram_duplicate), STAT(ram_hole),
	STAT(ram_skipped_clear), STAT(dirty_sync_count), STAT(dirty_pages_rate),
	STAT(link_rate), STAT(ram_acked), STAT(ram_queued), STAT(dirty_pages),
	STAT(ring_entries), STAT(ring_resets),
	STAT(ring_full), STAT(ring_full_ns), STAT(harvest_ns), STAT(reset_ns),
	STAT(extents), STAT(batches), STAT(batch_pages_spliced), STAT(pacing_ns),
	STAT(state_bytes), STAT(digest), STAT(bookkeeping_bytes),
	STAT(pinned_bytes), STAT(pinned_most_bytes), STAT(windows), STAT(rdma_channels),
	STAT(throttled_rings), STAT(throttle_rate), STAT(throttle_ns),
	STAT(expected_ram_ns), STAT(expected_trips_ns), STAT(expected_fixed_ns),
	STAT(expected_state_ns), STAT(predicted_downtime_ns), STAT(downtime_ram_ns),
	STAT(downtime_state_ns), STAT(downtime_commit_ns), STAT(working_set),
	STAT(stalled_passes),
};

static const struct field limits_fields[] = {
	LIMIT(max_bandwidth), LIMIT(downtime_limit_ns), LIMIT(inflight_bytes),
	LIMIT(peer_timeout_ns), LIMIT(verify), LIMIT(max_pinned), LIMIT(throttle),
	LIMIT(throttle_floor), LIMIT(state_time_ns), LIMIT(final_bandwidth),
};

static struct dentry *root;

static void show_field(struct seq_file *m, const struct field *f, const void *from)
{
	const void *at = from + f->offset;

	if (f->size == sizeof(u32))
		seq_printf(m, "%-20s %u\n", f->name, *(const u32 *)at);
	else if (f->size == sizeof(u64))
		seq_printf(m, "%-20s %llu\n", f->name, *(const u64 *)at);
	else
		seq_printf(m, "%-20s %s\n", f->name, (const char *)at);
}

static const char *role_name(u32 role)
{
	return role == KVM_FERRY_SOURCE ? "source" : "sink";
}

static int state_show(struct seq_file *m, void *unused)
{
	struct ferry_session *s = m->private;
	struct kvm_ferry_stats st = {};
	struct ferry_reason why;

	ferry_stats_read(s, &st);
	spin_lock(&s->state_lock);
	why = s->failure;
	spin_unlock(&s->state_lock);
	seq_printf(m, "%-20s %s\n", "state", ferry_state_name(st.out_state));
	seq_printf(m, "%-20s %s\n", "role", role_name(s->role));
	seq_printf(m, "%-20s %s\n", "name", s->name);
	seq_printf(m, "%-20s %s\n", "dirty_source",
		   !ferry_session_is_source(s) ? "-" :
		   s->dirty_source == KVM_FERRY_DIRTY_RING ? "ring" : "report");
	seq_printf(m, "%-20s %u\n", "owner_uid", from_kuid_munged(current_user_ns(), s->owner));
	seq_printf(m, "%-20s %d\n", "error", -why.error);
	seq_printf(m, "%-20s %s\n", "reason", why.text);
	seq_printf(m, "%-20s %u\n", "pass", READ_ONCE(s->pass));
	seq_printf(m, "%-20s %llu\n", "started_ns", READ_ONCE(s->started_real_ns));
	seq_printf(m, "%-20s %llu\n", "total_time_ns", st.out_total_time_ns);
	seq_printf(m, "%-20s %llu\n", "setup_time_ns", st.out_setup_time_ns);
	seq_printf(m, "%-20s %llu\n", "downtime_ns", st.out_downtime_ns);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(state);

static int stats_show(struct seq_file *m, void *unused)
{
	struct kvm_ferry_stats st = {};
	u32 i;

	ferry_stats_read(m->private, &st);
	for (i = 0; i < ARRAY_SIZE(stats_fields); i++)
		show_field(m, &stats_fields[i], &st);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static int limits_show(struct seq_file *m, void *unused)
{
	struct kvm_ferry_limits l = {};
	struct ferry_reason why;
	int ret;
	u32 i;

	ret = ferry_limits(m->private, &l, &why);	/* sets none */
	if (ret)
		return ret;
	for (i = 0; i < ARRAY_SIZE(limits_fields); i++)
		show_field(m, &limits_fields[i], &l);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(limits);

static int rings_show(struct seq_file *m, void *unused)
{
	struct ferry_session *s = m->private;
	struct ferry_ring *ring;
	unsigned long id;

	seq_printf(m, "%7s %14s %14s %14s %14s %14s %14s %14s\n", "ring_id", "ring_entries",
		   "dirty_pages", "dirty_rate", "throttle_rate", "waits", "wait_ns", "throttle_ns");
	mutex_lock(&s->dirty.map_lock);
	xa_for_each(&s->dirty.rings, id, ring) {
		struct kvm_ferry_ring_stats r = {};

		ferry_ring_read_locked(s, ring, &r);
		seq_printf(m, "%7u %14u %14llu %14llu %14llu %14llu %14llu %14llu\n", r.out_ring_id,
			   r.out_ring_entries, r.out_dirty_pages, r.out_dirty_rate,
			   r.out_throttle_rate, r.out_waits, r.out_wait_ns, r.out_throttle_ns);
	}
	mutex_unlock(&s->dirty.map_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(rings);

/* A region may have billions of pages. */
static u64 count_pages(const unsigned long *map, u64 nr)
{
	u64 count = 0, at;

	if (!map)	/* of a sink */
		return 0;
	for (at = 0; at < nr; at += COUNT_AT_ONCE) {
		count += ferry_bits_weight(map, at, min_t(u64, COUNT_AT_ONCE, nr - at));
		cond_resched();
	}
	return count;
}

static int regions_show(struct seq_file *m, void *unused)
{
	struct ferry_session *s = m->private;
	u32 i, nr;

	/* They are only added, and stay until these files are gone: counting needs no lock. */
	mutex_lock(&s->setup_lock);
	nr = s->nr_regions;
	mutex_unlock(&s->setup_lock);
	seq_printf(m, "%5s %16s %18s %14s %14s %14s  %s\n", "id", "bytes", "addr", "pages", "published",
		   "staged", "name");
	for (i = 0; i < nr; i++) {
		const struct ferry_region *r = s->regions[i];

		seq_printf(m, "%5u %16llu %#18lx %14llu %14llu %14llu  %s\n", r->id,
			   r->nr_pages * PAGE_SIZE, r->addr, r->nr_pages,
			   count_pages(r->published, r->nr_pages),
			   count_pages(r->staged, r->nr_pages), r->name);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(regions);

static void show_channel(struct seq_file *m, struct ferry_channel *ch, bool source)
{
	u64 taken = ch->ops->taken(ch) - READ_ONCE(ch->taken_before);

	seq_printf(m, "%-7s %5u  %-9s %16llu %14llu %10u\n",
		   ch->kind == KVM_FERRY_CHANNEL_CONTROL ? "control" : "data", ch->index,
		   ch->ops->name, taken, ch->ops->queued(ch) + READ_ONCE(ch->tx_left),
		   READ_ONCE(*(source ? &ch->acked_pass : &ch->fenced_pass)));
}

static int channels_show(struct seq_file *m, void *unused)
{
	struct ferry_session *s = m->private;
	struct ferry_channel *control = READ_ONCE(s->control);
	u32 i, nr = ferry_session_nr_data(s);

	/* Of what this side sent. A pass: acknowledged (source), or met in full (sink). */
	seq_printf(m, "%-7s %5s  %-9s %16s %14s %10s\n", "kind", "index", "transport", "taken",
		   "queued", "pass");
	if (control)
		show_channel(m, control, ferry_session_is_source(s));
	for (i = 0; i < nr; i++)
		show_channel(m, READ_ONCE(s->data[i]), ferry_session_is_source(s));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(channels);

static void show_quoted(struct seq_file *m, const char *key, const u8 *text)
{
	seq_printf(m, " %s=\"", key);
	seq_escape(m, text, "\"\\\n");
	seq_putc(m, '"');
}

/* A line a session, the oldest first. */
static int history_show(struct seq_file *m, void *unused)
{
	struct kvm_ferry_history h = {};
	struct ferry_reason why;
	u32 i;

	/* No more than there are at a time, or it would go on while sessions end. */
	for (i = 0; i < KVM_FERRY_HISTORY_RECORDS && !ferry_history_read(&h, &why); i++) {
		seq_printf(m, "number=%llu session=%llu role=%s uid=%u started_ns=%llu total_time_ns=%llu downtime_ns=%llu ram_transferred=%llu passes=%llu state=%s error=%u",
			   h.out_number, h.out_session_id, role_name(h.out_role), h.out_owner_uid,
			   h.out_started_ns, h.out_total_time_ns, h.out_downtime_ns,
			   h.out_ram_transferred, h.out_dirty_sync_count,
			   ferry_state_name(h.out_state), h.out_error);
		show_quoted(m, "name", h.out_name);
		show_quoted(m, "reason", h.out_reason);
		seq_putc(m, '\n');
		h.after = h.out_number;
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(history);

void ferry_debugfs_add(struct ferry_session *s)
{
	static const struct {
		const char *name;
		const struct file_operations *fops;
	} files[] = {
		{ "state", &state_fops }, { "stats", &stats_fops }, { "limits", &limits_fops },
		{ "rings", &rings_fops }, { "regions", &regions_fops }, { "channels", &channels_fops },
	};
	char name[24];
	u32 i;

	snprintf(name, sizeof(name), "%llu", s->id);
	s->debugfs = debugfs_create_dir(name, root);
	for (i = 0; i < ARRAY_SIZE(files); i++)
		debugfs_create_file(files[i].name, 0400, s->debugfs, s, files[i].fops);
}

void ferry_debugfs_remove(struct ferry_session *s)
{
	debugfs_remove(s->debugfs);
	s->debugfs = NULL;
}

void ferry_debugfs_init(void)
{
	root = debugfs_create_dir("kvm_ferry", NULL);
	debugfs_create_file("history", 0400, root, NULL, &history_fops);
}

void ferry_debugfs_exit(void)
{
	debugfs_remove(root);
}
