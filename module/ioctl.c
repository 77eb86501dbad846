// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands of both kinds of fd, by one table: which struct, how much of it
 * the first version had, who may call. The handlers see checked sizes and zero
 * reserved fields only.
 */
#include <linux/capability.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/nospec.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/kvm_ferry.h>

#include "estimate.h"
#include "host.h"
#include "history.h"
#include "ioctl.h"
#include "limits.h"
#include "session.h"
#include "source.h"
#include "switchover.h"

/* Who may call a command. */
#define ON_DEVICE	(1u << 0)	/* on /dev/kvm_ferry */
#define ON_SESSION	(1u << 1)	/* on a session */
#define FOR_SOURCE	(1u << 2)	/* only on a source */
#define FOR_SINK	(1u << 3)	/* only on a sink */
#define BY_OWNER	(1u << 4)	/* only in the session's address space */
/*
 * And: it has out_ fields. A struct without any is never written, so that a
 * commit that is done cannot be told as EFAULT, which would make two owners.
 */
#define ANSWERS		(1u << 5)

union ferry_arg {
	struct {
		__u32 size;
		__u32 flags;
	} head;
	struct kvm_ferry_info info;
	struct kvm_ferry_create create;
	struct kvm_ferry_list list;
	struct kvm_ferry_reason reason;
	struct kvm_ferry_stats stats;
	struct kvm_ferry_limits limits;
	struct kvm_ferry_abort abort;
	struct kvm_ferry_host_limits host;
	struct kvm_ferry_ring_stats ring_stats;
	struct kvm_ferry_region_stats region_stats;
	struct kvm_ferry_history history;
	struct kvm_ferry_region_add region;
	struct kvm_ferry_slot slot;
	struct kvm_ferry_ring_add ring;
	struct kvm_ferry_channel_add channel;
	struct kvm_ferry_start start;
	struct kvm_ferry_event event;
	struct kvm_ferry_report_dirty report;
	struct kvm_ferry_bitmap bitmap;
	struct kvm_ferry_ring_wait wait;
	struct kvm_ferry_ring_sync sync;
	struct kvm_ferry_ring_index index;
	struct kvm_ferry_final final;
	struct kvm_ferry_state_io state;
	struct kvm_ferry_commit commit;
};

struct ferry_call {
	struct ferry_file *file;
	struct ferry_session *session;	/* on a session, or found by session_id */
	struct file *created;		/* CREATE: the new session's, until it is told */
	union ferry_arg *arg;
	struct ferry_reason *why;
};

static int call_info(struct ferry_call *c)
{
	struct kvm_ferry_info *i = &c->arg->info;

	i->out_uapi_version = KVM_FERRY_UAPI_VERSION;
	i->out_wire_version = FERRY_WIRE_VERSION;
	i->out_wire_version_min = FERRY_WIRE_VERSION_MIN;
	i->out_page_size = KVM_FERRY_PAGE_SIZE;
	i->out_transports = ferry_transports();
	i->out_dirty_sources = BIT_ULL(KVM_FERRY_DIRTY_RING) | BIT_ULL(KVM_FERRY_DIRTY_REPORT);
	i->out_features = KVM_FERRY_FEATURE_VERIFY | KVM_FERRY_FEATURE_ZERO_COPY |
			  KVM_FERRY_FEATURE_FETCH_DIRTY;
	i->out_max_regions = KVM_FERRY_MAX_REGIONS;
	i->out_max_slots = KVM_FERRY_MAX_SLOTS;
	i->out_max_rings = KVM_FERRY_MAX_RINGS;
	i->out_max_data_channels = KVM_FERRY_MAX_DATA_CHANNELS;
	i->out_max_state_bytes = KVM_FERRY_MAX_STATE_BYTES;
	i->out_max_inflight_bytes = KVM_FERRY_MAX_INFLIGHT_BYTES;
	strscpy(i->out_release, FERRY_RELEASE, sizeof(i->out_release));
	return 0;
}

static int call_create(struct ferry_call *c)
{
	return ferry_session_create(&c->arg->create, &c->created, c->why);
}

static void settle_create(struct ferry_call *c, bool told)
{
	int fd = c->arg->create.out_fd;

	if (!c->created)
		return;
	if (told) {
		fd_install(fd, c->created);
	} else {
		put_unused_fd(fd);
		fput(c->created);
	}
}

static int call_list(struct ferry_call *c)
{
	struct kvm_ferry_list *l = &c->arg->list;
	int err = 0;

	if (!capable(CAP_SYS_ADMIN))
		return ferry_because(c->why, -EPERM, "listing all sessions needs CAP_SYS_ADMIN");
	l->out_count = ferry_session_list(u64_to_user_ptr(l->ids), l->count, &err);
	if (err)
		return ferry_because(c->why, err, "the array of ids cannot be written");
	return 0;
}

static int call_reason(struct ferry_call *c)
{
	struct kvm_ferry_reason *r = &c->arg->reason;
	struct ferry_reason copy = {};

	if (r->flags & ~KVM_FERRY_REASON_SESSION)
		return ferry_because(c->why, -EOPNOTSUPP, "unknown flag: use 0 or KVM_FERRY_REASON_SESSION");
	if (r->flags && !c->session)
		return ferry_because(c->why, -ENOTTY, "a session's reason is told by its own fd");
	if (r->flags) {
		spin_lock(&c->session->state_lock);
		copy = c->session->failure;
		spin_unlock(&c->session->state_lock);
	} else {
		spin_lock(&c->file->lock);
		copy = c->file->last;
		spin_unlock(&c->file->lock);
	}
	r->out_error = -copy.error;
	memcpy(r->out_reason, copy.text, sizeof(r->out_reason));
	return 0;
}

static int call_stats(struct ferry_call *c)
{
	ferry_stats_read(c->session, &c->arg->stats);
	return 0;
}

static int call_limits(struct ferry_call *c)
{
	return ferry_limits(c->session, &c->arg->limits, c->why);
}

static int call_host(struct ferry_call *c)
{
	if (c->arg->host.flags && !capable(CAP_SYS_ADMIN))
		return ferry_because(c->why, -EPERM, "setting the host's limits needs CAP_SYS_ADMIN");
	return ferry_host_limits(&c->arg->host, c->why);
}

static int call_abort(struct ferry_call *c)
{
	return ferry_abort(c->session, c->why);
}

static int call_ring_stats(struct ferry_call *c)
{
	return ferry_ring_stats(c->session, &c->arg->ring_stats, c->why);
}

static int call_region_stats(struct ferry_call *c)
{
	return ferry_region_stats(c->session, &c->arg->region_stats, c->why);
}

static int call_history(struct ferry_call *c)
{
	if (!capable(CAP_SYS_ADMIN))
		return ferry_because(c->why, -EPERM, "reading of all sessions that have ended needs CAP_SYS_ADMIN");
	return ferry_history_read(&c->arg->history, c->why);
}

static int call_region(struct ferry_call *c)
{
	return ferry_region_add(c->session, &c->arg->region, c->why);
}

static int call_slot_add(struct ferry_call *c)
{
	return ferry_slot_change(c->session, KVM_FERRY_SLOT_ADD, &c->arg->slot, c->why);
}

static int call_slot_move(struct ferry_call *c)
{
	return ferry_slot_change(c->session, KVM_FERRY_SLOT_MOVE, &c->arg->slot, c->why);
}

static int call_slot_remove(struct ferry_call *c)
{
	return ferry_slot_change(c->session, KVM_FERRY_SLOT_REMOVE, &c->arg->slot, c->why);
}

static int call_ring(struct ferry_call *c)
{
	return ferry_ring_add(c->session, &c->arg->ring, c->why);
}

static int call_channel(struct ferry_call *c)
{
	return ferry_channel_add(c->session, &c->arg->channel, c->why);
}

static int call_start(struct ferry_call *c)
{
	return ferry_start(c->session, c->arg->start.flags & KVM_FERRY_START_MEASURE, c->why);
}

static int call_event(struct ferry_call *c)
{
	struct kvm_ferry_event *e = &c->arg->event;
	struct ferry_session *s = c->session;

	spin_lock(&s->state_lock);
	e->out_events = s->events;
	s->events = 0;
	e->out_state = s->state;
	e->out_error = -s->failure.error;
	e->out_pass = READ_ONCE(s->pass);
	spin_unlock(&s->state_lock);
	return 0;
}

static void settle_event(struct ferry_call *c, bool told)
{
	if (!told)
		ferry_session_event(c->session, c->arg->event.out_events);
}

static int call_report(struct ferry_call *c)
{
	return ferry_report_dirty(c->session, &c->arg->report, c->why);
}

static int call_bitmap(struct ferry_call *c)
{
	return ferry_report_bitmap(c->session, &c->arg->bitmap, c->why);
}

static int call_fetch(struct ferry_call *c)
{
	return ferry_fetch_dirty(c->session, &c->arg->bitmap, c->why);
}

static int call_wait(struct ferry_call *c)
{
	return ferry_ring_wait(c->session, &c->arg->wait, c->why);
}

static int call_sync(struct ferry_call *c)
{
	u64 entries = 0;
	enum ferry_rearm rearm = FERRY_REARM_ALL;
	int ret;

	switch (c->arg->sync.flags) {
	case 0:
		break;
	case KVM_FERRY_SYNC_HARVEST:
		rearm = FERRY_REARM_NOTHING;
		break;
	case KVM_FERRY_SYNC_WINDOW:
		if (!READ_ONCE(c->session->measures))
			return ferry_because(c->why, -EBUSY, "a session that migrates has no windows: they are for one that was started to measure");
		rearm = FERRY_REARM_WINDOW;
		break;
	default:
		return ferry_because(c->why, -EINVAL, "a window begins with a reset: pass KVM_FERRY_SYNC_HARVEST or KVM_FERRY_SYNC_WINDOW");
	}
	ret = ferry_dirty_sync(c->session, rearm, &entries, c->why);
	c->arg->sync.out_entries = entries;
	return ret;
}

static int call_index(struct ferry_call *c)
{
	return ferry_ring_index(c->session, &c->arg->index, c->why);
}

static int call_final(struct ferry_call *c)
{
	return ferry_final(c->session, c->why);
}

static int call_state_send(struct ferry_call *c)
{
	return ferry_state_send(c->session, &c->arg->state, c->why);
}

static int call_state_recv(struct ferry_call *c)
{
	return ferry_state_recv(c->session, &c->arg->state, c->why);
}

/* A VMM that does not know how much went would repeat or skip a part of its stream. */
static void settle_state(struct ferry_call *c, bool told)
{
	if (!told && c->arg->state.out_length)
		ferry_session_fail(c->session, -EFAULT,
				   "how much state was passed could not be told: the argument cannot be written");
}

static int call_commit(struct ferry_call *c)
{
	return ferry_commit(c->session, c->why);
}

/**
 * struct ferry_command - a row of the table
 * @call: the handler
 * @settle: follows a call that did something: could the caller be told of it?
 * @size: of the struct, now
 * @min_size: of its first version
 * @flags: flags that the handler checks itself: all others must be zero
 * @reserved: offset of a field that must be zero, 0: none
 * @reserved_size: its size
 * @id: offset of a session_id field, 0: none
 * @who: who may call
 */
struct ferry_command {
	int (*call)(struct ferry_call *c);
	void (*settle)(struct ferry_call *c, bool told);
	u16 size;
	u16 min_size;
	u32 flags;
	u16 reserved;
	u16 reserved_size;
	u16 id;
	u16 who;
};

#define ROW(nr, fn, type, last, allowed, by, ...) \
	[KVM_FERRY_CMD_##nr] = { \
		.call = fn, .size = sizeof(struct type), \
		.min_size = offsetofend(struct type, last), .flags = allowed, .who = by, \
		__VA_ARGS__ }
#define RESERVED(type, field) \
	.reserved = offsetof(struct type, field), \
	.reserved_size = sizeof_field(struct type, field)
#define SESSION_ID(type) .id = offsetof(struct type, session_id)

static const struct ferry_command commands[] = {
	ROW(INFO, call_info, kvm_ferry_info, out_release, 0, ON_DEVICE | ANSWERS),
	ROW(CREATE, call_create, kvm_ferry_create, name, 0, ON_DEVICE | ANSWERS,
	    .settle = settle_create),
	ROW(LIST, call_list, kvm_ferry_list, out_count, 0, ON_DEVICE | ANSWERS),
	ROW(HOST_LIMITS, call_host, kvm_ferry_host_limits, out_transferred,
	    ~0u, ON_DEVICE | ANSWERS, RESERVED(kvm_ferry_host_limits, __reserved)),
	ROW(REASON, call_reason, kvm_ferry_reason, out_reason,
	    ~0u, ON_DEVICE | ON_SESSION | ANSWERS, RESERVED(kvm_ferry_reason, __reserved)),
	ROW(STATS, call_stats, kvm_ferry_stats, out_name,
	    0, ON_DEVICE | ON_SESSION | ANSWERS, SESSION_ID(kvm_ferry_stats)),
	ROW(LIMITS, call_limits, kvm_ferry_limits, __reserved,
	    ~0u, ON_DEVICE | ON_SESSION | ANSWERS, RESERVED(kvm_ferry_limits, __reserved), SESSION_ID(kvm_ferry_limits)),
	ROW(ABORT, call_abort, kvm_ferry_abort, session_id,
	    0, ON_DEVICE | ON_SESSION, SESSION_ID(kvm_ferry_abort)),
	ROW(RING_STATS, call_ring_stats, kvm_ferry_ring_stats, out_throttle_ns,
	    0, ON_DEVICE | ON_SESSION | ANSWERS, RESERVED(kvm_ferry_ring_stats, __reserved),
	    SESSION_ID(kvm_ferry_ring_stats)),
	ROW(REGION_STATS, call_region_stats, kvm_ferry_region_stats, out_name,
	    0, ON_DEVICE | ON_SESSION | ANSWERS, SESSION_ID(kvm_ferry_region_stats)),
	ROW(HISTORY, call_history, kvm_ferry_history, out_reason, 0, ON_DEVICE | ANSWERS),
	ROW(REGION_ADD, call_region, kvm_ferry_region_add, name,
	    0, ON_SESSION | BY_OWNER, RESERVED(kvm_ferry_region_add, __reserved)),
	ROW(SLOT_ADD, call_slot_add, kvm_ferry_slot, length, 0, ON_SESSION | BY_OWNER | FOR_SOURCE),
	ROW(SLOT_MOVE, call_slot_move, kvm_ferry_slot, length,
	    0, ON_SESSION | BY_OWNER | FOR_SOURCE),
	ROW(SLOT_REMOVE, call_slot_remove, kvm_ferry_slot, length,
	    0, ON_SESSION | BY_OWNER | FOR_SOURCE),
	ROW(RING_ADD, call_ring, kvm_ferry_ring_add, length, 0, ON_SESSION | BY_OWNER | FOR_SOURCE),
	ROW(CHANNEL_ADD, call_channel, kvm_ferry_channel_add, key,
	    0, ON_SESSION | BY_OWNER, RESERVED(kvm_ferry_channel_add, __reserved)),
	ROW(START, call_start, kvm_ferry_start, flags,
	    KVM_FERRY_START_MEASURE, ON_SESSION | BY_OWNER),
	ROW(EVENT, call_event, kvm_ferry_event, out_pass, 0, ON_SESSION | ANSWERS, .settle = settle_event),
	ROW(REPORT_DIRTY, call_report, kvm_ferry_report_dirty, __reserved,
	    0, ON_SESSION | BY_OWNER | FOR_SOURCE, RESERVED(kvm_ferry_report_dirty, __reserved)),
	ROW(REPORT_BITMAP, call_bitmap, kvm_ferry_bitmap, out_pages,
	    0, ON_SESSION | BY_OWNER | FOR_SOURCE | ANSWERS, RESERVED(kvm_ferry_bitmap, __reserved)),
	ROW(FETCH_DIRTY, call_fetch, kvm_ferry_bitmap, out_pages,
	    KVM_FERRY_FETCH_SYNC, ON_SESSION | BY_OWNER | FOR_SOURCE | ANSWERS, RESERVED(kvm_ferry_bitmap, __reserved)),
	ROW(RING_WAIT, call_wait, kvm_ferry_ring_wait, __reserved,
	    0, ON_SESSION | BY_OWNER | FOR_SOURCE, RESERVED(kvm_ferry_ring_wait, __reserved)),
	ROW(RING_SYNC, call_sync, kvm_ferry_ring_sync, out_entries,
	    KVM_FERRY_SYNC_HARVEST | KVM_FERRY_SYNC_WINDOW, ON_SESSION | BY_OWNER | FOR_SOURCE | ANSWERS),
	ROW(RING_INDEX, call_index, kvm_ferry_ring_index, out_fetch_index,
	    0, ON_SESSION | BY_OWNER | FOR_SOURCE | ANSWERS),
	ROW(FINAL, call_final, kvm_ferry_final, flags, 0, ON_SESSION | BY_OWNER | FOR_SOURCE),
	ROW(STATE_SEND, call_state_send, kvm_ferry_state_io, __reserved,
	    KVM_FERRY_STATE_LAST, ON_SESSION | BY_OWNER | FOR_SOURCE | ANSWERS, RESERVED(kvm_ferry_state_io, __reserved),
	    .settle = settle_state),
	ROW(STATE_RECV, call_state_recv, kvm_ferry_state_io, __reserved,
	    0, ON_SESSION | BY_OWNER | FOR_SINK | ANSWERS, RESERVED(kvm_ferry_state_io, __reserved),
	    .settle = settle_state),
	ROW(COMMIT, call_commit, kvm_ferry_commit, flags, 0, ON_SESSION | BY_OWNER),
};

static int check_caller(struct ferry_session *s, const struct ferry_command *row,
			struct ferry_reason *why)
{
	if (!(row->who & (s ? ON_SESSION : ON_DEVICE)))
		return ferry_because(why, -ENOTTY, s ? "this command is for /dev/kvm_ferry" :
				     "this command is for a session's fd");
	if (!s)
		return 0;
	if ((row->who & BY_OWNER) && current->mm != s->mm)
		return ferry_because(why, -EPERM,
				     "only the process that created the session may do this");
	if ((row->who & FOR_SOURCE) && !ferry_session_is_source(s))
		return ferry_because(why, -ENOTTY, "this command is for a source, this is a sink");
	if ((row->who & FOR_SINK) && ferry_session_is_source(s))
		return ferry_because(why, -ENOTTY, "this command is for a sink, this is a source");
	return 0;
}

static int check_arg(const struct ferry_command *row, union ferry_arg *arg,
		     struct ferry_reason *why)
{
	if (arg->head.flags & ~row->flags)
		return ferry_because(why, -EOPNOTSUPP, "flags 0x%x are unknown to this module",
				     arg->head.flags & ~row->flags);
	if (row->reserved && memchr_inv((u8 *)arg + row->reserved, 0, row->reserved_size))
		return ferry_because(why, -EINVAL, "the reserved field at offset %u must be zero",
				     row->reserved);
	return 0;
}

/* session_id: 0 on a session's own fd; on the device, an operator's. */
static int find_session(struct ferry_call *c, const struct ferry_command *row,
			struct ferry_session **found)
{
	u64 id;

	*found = NULL;
	if (!row->id)
		return 0;
	memcpy(&id, (u8 *)c->arg + row->id, sizeof(id));
	if (c->session) {
		if (id)
			return ferry_because(c->why, -EINVAL,
					     "session_id must be 0 on a session's own fd");
		return 0;
	}
	if (!capable(CAP_SYS_ADMIN))
		return ferry_because(c->why, -EPERM, "another's session needs CAP_SYS_ADMIN");
	*found = ferry_session_find(id);
	if (!*found)
		return ferry_because(c->why, -ENOENT,
				     "there is no session %llu: see KVM_FERRY_LIST", id);
	c->session = *found;
	return 0;
}

static int answer(struct ferry_call *c, const struct ferry_command *row, void __user *uarg,
		  u32 usize, int ret)
{
	bool told = !(row->who & ANSWERS) ||
		    !copy_to_user(uarg, c->arg, min_t(u32, usize, row->size));

	if (!told)
		ret = ferry_because(c->why, -EFAULT, "the argument cannot be written");
	if (row->settle)
		row->settle(c, told);
	return ret;
}

static int dispatch(struct ferry_file *f, const struct ferry_command *row, union ferry_arg *arg,
		    void __user *uarg, u32 usize, struct ferry_reason *why)
{
	struct ferry_call c = { .file = f, .session = f->session, .arg = arg, .why = why };
	struct ferry_session *found;
	int ret;

	ret = check_caller(f->session, row, why);
	if (ret)
		return ret;
	if (usize < row->min_size)
		return ferry_because(why, -EINVAL, "size is %u, this struct has at least %u bytes",
				     usize, row->min_size);
	/* Before its tail is read: user space could have us look through gigabytes. */
	if (usize > PAGE_SIZE)
		return ferry_because(why, -E2BIG, "size is %u: no struct is larger than a page", usize);
	ret = copy_struct_from_user(arg, row->size, uarg, usize);
	if (ret == -E2BIG)
		return ferry_because(why, ret, "this module does not know what lies behind byte %u",
				     row->size);
	if (ret)
		return ferry_because(why, ret, "the argument cannot be read");
	ret = check_arg(row, arg, why);
	if (ret)
		return ret;
	ret = find_session(&c, row, &found);
	if (ret)
		return ret;
	ret = row->call(&c);
	/* What a signal or a bad pointer cut short has figures to tell too. */
	if (!ret || ret == -EINTR || ret == -EFAULT)
		ret = answer(&c, row, uarg, usize, ret);
	if (found)
		ferry_session_put(found);
	return ret;
}

static long ferry_ioctl(struct ferry_file *f, unsigned int cmd, unsigned long uarg)
{
	unsigned int nr = _IOC_NR(cmd);
	struct ferry_reason why = {};
	union ferry_arg arg = {};
	u32 usize;
	int ret;

	if (cmd != _IO(KVM_FERRY_TYPE, nr) || nr >= ARRAY_SIZE(commands) || !commands[nr].call)
		return -ENOTTY;
	if (get_user(usize, (u32 __user *)uarg))
		return -EFAULT;
	nr = array_index_nospec(nr, ARRAY_SIZE(commands));
	ret = dispatch(f, &commands[nr], &arg, (void __user *)uarg, usize, &why);
	if (ret && nr != KVM_FERRY_CMD_REASON) {
		why.error = ret;
		spin_lock(&f->lock);
		f->last = why;
		spin_unlock(&f->lock);
	}
	return ret;
}

long ferry_device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return ferry_ioctl(file->private_data, cmd, arg);
}

long ferry_session_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return ferry_ioctl(file->private_data, cmd, arg);
}
