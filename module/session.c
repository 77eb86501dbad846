// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sessions: lifetime, state, events.
 *
 * A session is a file. The file's release is the one way down; it runs the
 * same steps in the same order from every state:
 *
 *  1. CLOSE ends the session if nothing has (state machine, wakes everybody),
 *  2. end_work tells the peer and shuts the channels down, so that no task of
 *     ours sleeps on the network any more,
 *  3. the main task drains the rings and stops, then the channels' tasks stop,
 *  4. channels, rings, slots, regions, the VM file, the mm are dropped.
 *
 * What fails earlier does 1 and 2 at once and leaves 3 and 4 to the release.
 */
#include <linux/anon_inodes.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/mmu_context.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "control.h"
#include "debugfs.h"
#include "history.h"
#include "host.h"
#include "ioctl.h"
#include "limits.h"
#include "own.h"
#include "session.h"
#include "source.h"
#include "switchover.h"
#include "verify.h"
#include "trace.h"

/* All sessions by id, for operators. Its lock makes find against destroy safe. */
static DEFINE_XARRAY(sessions);
static atomic64_t last_id;

bool ferry_mm_get(struct ferry_session *s)
{
	return mmget_not_zero(s->mm);
}
EXPORT_SYMBOL_NS_GPL(ferry_mm_get, FERRY_NS);

void ferry_mm_put(struct ferry_session *s)
{
	/* Not mmput(): the last one would tear the VM's memory down in our task. */
	mmput_async(s->mm);
}
EXPORT_SYMBOL_NS_GPL(ferry_mm_put, FERRY_NS);

bool ferry_mm_enter(struct ferry_session *s)
{
	if (!ferry_mm_get(s))
		return false;
	kthread_use_mm(s->mm);
	return true;
}
EXPORT_SYMBOL_NS_GPL(ferry_mm_enter, FERRY_NS);

void ferry_mm_leave(struct ferry_session *s)
{
	kthread_unuse_mm(s->mm);
	ferry_mm_put(s);
}
EXPORT_SYMBOL_NS_GPL(ferry_mm_leave, FERRY_NS);

void ferry_session_event(struct ferry_session *s, u32 events)
{
	spin_lock(&s->state_lock);
	s->events |= events;
	spin_unlock(&s->state_lock);
	wake_up_all(&s->wait);
}

static void note_start(struct ferry_session *s)
{
	s->started_at = ktime_get();
	WRITE_ONCE(s->started_real_ns, ktime_get_real_ns());
}

static int step_locked(struct ferry_session *s, enum ferry_step step)
{
	u32 from = s->state;
	int to = ferry_state_next(s->role, from, step);

	lockdep_assert_held(&s->state_lock);
	if (to < 0 || to == from)
		return to < 0 ? to : 0;
	if (to == KVM_FERRY_STATE_CONNECTING)
		note_start(s);
	else if (to == KVM_FERRY_STATE_LIVE)
		s->live_at = ktime_get();
	else if (to == KVM_FERRY_STATE_FINAL)
		s->final_at = ktime_get();
	else if (to == KVM_FERRY_STATE_PAUSED)
		s->placed_at = ktime_get();
	else if (ferry_state_ended(to))
		s->ended_at = ktime_get();
	if (to == KVM_FERRY_STATE_FINAL)
		s->stats.predicted_downtime = READ_ONCE(s->stats.expected_downtime);
	/*
	 * Under the lock, and by whoever ended the session: the release's own CLOSE
	 * comes after it, so it waits for this work, and none comes later.
	 */
	if (ferry_state_ended(to))
		queue_work(system_unbound_wq, &s->end_work);
	WRITE_ONCE(s->state, to);
	s->events |= KVM_FERRY_EVENT_STATE;
	trace_ferry_state(s->id, s->role, from, to, s->failure.error);
	return 1;
}

int ferry_session_step(struct ferry_session *s, enum ferry_step step)
{
	int ret;

	spin_lock(&s->state_lock);
	ret = step_locked(s, step);
	spin_unlock(&s->state_lock);
	if (ret > 0)
		wake_up_all(&s->wait);
	return min(ret, 0);
}

int ferry_session_pass(struct ferry_session *s, u32 pass)
{
	bool ended;

	spin_lock(&s->state_lock);
	ended = ferry_session_ended(s);
	if (!ended)
		/* Senders wait for this; what they must see was written before. */
		smp_store_release(&s->pass, pass);
	spin_unlock(&s->state_lock);
	return ended ? -ESHUTDOWN : 0;
}

int ferry_session_end(struct ferry_session *s, enum ferry_step step, int error,
		      const char *fmt, ...)
{
	va_list args;
	int ret;

	spin_lock(&s->state_lock);
	ret = ferry_state_next(s->role, s->state, step);
	if (ret >= 0 && ret != s->state) {
		va_start(args, fmt);
		ferry_reason_vset(&s->failure, error, fmt, args);
		va_end(args);
		if (ret == KVM_FERRY_STATE_IN_DOUBT)
			ferry_reason_append(&s->failure, "COMMIT was sent: ask at the sink whether the guest runs there");
		s->data_abort = true;
		ret = step_locked(s, step);
	}
	spin_unlock(&s->state_lock);
	if (ret < 0)
		return ret;
	wake_up_all(&s->wait);
	return 0;
}
EXPORT_SYMBOL_NS_GPL(ferry_session_end, FERRY_NS);

void ferry_session_note(struct ferry_session *s, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	spin_lock(&s->state_lock);
	if (!ferry_state_ended(s->state))
		ferry_reason_vset(&s->failure, 0, fmt, args);
	spin_unlock(&s->state_lock);
	va_end(args);
}

/*
 * The acknowledgement is sent after the state machine has moved to DONE, so that
 * no abort comes between the two. If it cannot be sent, the source will be in
 * doubt; then this side must not run the guest either. The VMM is told by
 * commit_settled, not by the state.
 */
int ferry_session_own(struct ferry_session *s)
{
	int ret;

	/* end_work shuts the channel down when the state is DONE: not before the answer. */
	mutex_lock(&s->own_lock);
	spin_lock(&s->state_lock);
	ret = step_locked(s, FERRY_STEP_OWNED);
	if (ret > 0)
		s->stats.downtime_ns = ktime_to_ns(ktime_sub(s->ended_at, s->final_at));
	spin_unlock(&s->state_lock);
	if (ret < 0) {
		mutex_unlock(&s->own_lock);
		return ret;
	}
	ret = ferry_control_plain(s, FERRY_MSG_COMMIT_ACK);
	spin_lock(&s->state_lock);
	if (ret) {
		ferry_because(&s->failure, ret, "COMMIT could not be acknowledged (%d): the guest must not run here",
			      ret);
		s->data_abort = true;
		WRITE_ONCE(s->state, KVM_FERRY_STATE_FAILED);
		trace_ferry_state(s->id, s->role, KVM_FERRY_STATE_DONE, s->state, ret);
	}
	s->commit_settled = true;
	spin_unlock(&s->state_lock);
	mutex_unlock(&s->own_lock);
	wake_up_all(&s->wait);
	return ret;
}

void ferry_thread_rest(void)
{
	set_current_state(TASK_IDLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_IDLE);
	}
	__set_current_state(TASK_RUNNING);
}

static void end_work(struct work_struct *work)
{
	struct ferry_session *s = container_of(work, struct ferry_session, end_work);

	ferry_host_leave(s);
	mutex_lock(&s->own_lock);
	mutex_unlock(&s->own_lock);
	ferry_history_add(s);
	/* After DONE nothing is queued but the sink's COMMIT_ACK, which must arrive. */
	if (s->data_abort)
		ferry_control_abort(s);
	ferry_channels_shutdown(s, s->data_abort);
	wake_up_all(&s->wait);
}

static void session_free(struct kref *ref)
{
	struct ferry_session *s = container_of(ref, struct ferry_session, ref);

	kfree(s);
}

void ferry_session_put(struct ferry_session *s)
{
	kref_put(&s->ref, session_free);
}

struct ferry_session *ferry_session_find(u64 id)
{
	struct ferry_session *s;

	xa_lock(&sessions);
	s = xa_load(&sessions, id);
	if (s)
		kref_get(&s->ref);
	xa_unlock(&sessions);
	return s;
}

u32 ferry_session_list(u64 __user *ids, u32 room, int *err)
{
	struct ferry_session *s;
	unsigned long id;
	u32 count = 0;

	xa_for_each(&sessions, id, s) {
		if (count < room && put_user((u64)id, ids + count)) {
			*err = -EFAULT;
			break;
		}
		count++;
	}
	return count;
}

/* Operators may still hold a reference: they find an ended session with no peer. */
static void session_destroy(struct ferry_session *s)
{
	xa_erase(&sessions, s->id);
	ferry_session_end(s, FERRY_STEP_CLOSE, -ECANCELED, "the VMM at the %s closed the session",
			  ferry_session_is_source(s) ? "source" : "sink");
	ferry_debugfs_remove(s);
	if (s->main_task) {
		/*
		 * A task that is asked to stop counts as having a signal, and a newer KVM then
		 * leaves a reset half done, with pages that are not protected again: what the
		 * guest writes to them later would be in no log. So it empties the rings first.
		 */
		wait_for_completion(&s->drained);
		kthread_stop(s->main_task);
		put_task_struct(s->main_task);
	}
	/*
	 * Nobody is there to run the guest: an answer to COMMIT that the peer does not
	 * take is not waited for. It fails now, which is the end of DONE.
	 */
	if (ferry_session_state(s) == KVM_FERRY_STATE_DONE && !ferry_session_is_source(s) &&
	    !READ_ONCE(s->commit_settled))
		ferry_channels_shutdown(s, true);
	cancel_delayed_work_sync(&s->ping_work);
	flush_work(&s->end_work);
	cancel_work_sync(&s->ready_work);
	ferry_channels_destroy(s);
	/* HELLO may have queued it again; it saw that the session had ended. */
	cancel_delayed_work_sync(&s->ping_work);
	if (s->order)
		module_put(s->order->owner);
	ferry_dirty_free(s);
	ferry_regions_free(s);
	ferry_verify_free(s);
	ferry_pipe_free(&s->pipe);
	if (s->vm_file)
		fput(s->vm_file);
	mmdrop(s->mm);
	ferry_session_put(s);
}

static int session_release(struct inode *inode, struct file *file)
{
	struct ferry_file *f = file->private_data;

	session_destroy(f->session);
	kfree(f);
	return 0;
}

static __poll_t session_poll(struct file *file, struct poll_table_struct *table)
{
	struct ferry_file *f = file->private_data;
	struct ferry_session *s = f->session;
	__poll_t ready = 0;

	poll_wait(file, &s->wait, table);
	if (READ_ONCE(s->events))
		ready |= EPOLLIN | EPOLLRDNORM;
	if (ferry_session_ended(s))
		ready |= EPOLLHUP;
	return ready;
}

static const struct file_operations session_fops = {
	.owner = THIS_MODULE,
	.release = session_release,
	.poll = session_poll,
	.unlocked_ioctl = ferry_session_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static int check_create(const struct kvm_ferry_create *arg, struct ferry_reason *why)
{
	bool ring = arg->role == KVM_FERRY_SOURCE && arg->dirty_source == KVM_FERRY_DIRTY_RING;

	if (arg->role > KVM_FERRY_SINK)
		return ferry_because(why, -EOPNOTSUPP, "role %u is neither source nor sink", arg->role);
	if (arg->dirty_source > KVM_FERRY_DIRTY_REPORT)
		return ferry_because(why, -EOPNOTSUPP, "dirty source %u is unknown", arg->dirty_source);
	if (arg->role == KVM_FERRY_SINK && arg->dirty_source)
		return ferry_because(why, -EINVAL, "a sink has no dirty source: pass 0");
	if (!ring && arg->vm_fd != -1)
		return ferry_because(why, -EINVAL, "vm_fd must be -1: only a source that reads rings has a VM fd");
	return ferry_name_check(arg->name, true, "the session's name", why);
}

/* A VM fd is proved, not believed: see ferry_vm_file_check(). */
static int take_vm(struct ferry_session *s, int fd, struct ferry_reason *why)
{
	struct file *file = fget(fd);
	int ret;

	if (!file)
		return ferry_because(why, -EBADF, "vm_fd %d is not open", fd);
	ret = ferry_vm_file_check(file, why);
	if (ret) {
		fput(file);
		return ret;
	}
	s->vm_file = file;
	return 0;
}

static struct ferry_session *session_alloc(const struct kvm_ferry_create *arg)
{
	struct ferry_session *s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);

	if (!s)
		return NULL;
	kref_init(&s->ref);
	s->id = atomic64_inc_return(&last_id);
	s->role = arg->role;
	s->dirty_source = arg->dirty_source;
	memcpy(s->name, arg->name, sizeof(s->name));
	s->owner = current_euid();
	mutex_init(&s->setup_lock);
	mutex_init(&s->own_lock);
	spin_lock_init(&s->state_lock);
	init_waitqueue_head(&s->wait);
	INIT_WORK(&s->end_work, end_work);
	INIT_DELAYED_WORK(&s->ping_work, ferry_control_ping);
	INIT_WORK(&s->ready_work, ferry_ready_work);
	init_completion(&s->drained);
	ferry_limits_init(s);
	ferry_dirty_init(s);
	ferry_pipe_init(&s->pipe);
	ferry_stats_init(s);
	s->mm = current->mm;
	mmgrab(s->mm);
	if (ferry_session_is_source(s))
		s->order = ferry_order_get();
	if (s->order)
		ferry_session_note(s, "memory is sent in the order '%s'", s->order->name);
	return s;
}

/* The fd is reserved and @file is not behind it yet: nobody else can meet it. */
int ferry_session_create(struct kvm_ferry_create *arg, struct file **file,
			 struct ferry_reason *why)
{
	struct ferry_session *s;
	struct task_struct *task;
	struct ferry_file *f;
	int ret, fd;

	ret = check_create(arg, why);
	if (ret)
		return ret;
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		return -ENOMEM;
	spin_lock_init(&f->lock);
	ret = -ENOMEM;
	s = session_alloc(arg);
	if (!s)
		goto err_file;
	f->session = s;
	if (arg->role == KVM_FERRY_SOURCE && arg->dirty_source == KVM_FERRY_DIRTY_RING) {
		ret = take_vm(s, arg->vm_fd, why);
		if (ret)
			goto err_session;
	}
	if (ferry_session_is_source(s)) {
		task = kthread_create(ferry_source_main, s, "ferry-src-%llu", s->id);
		if (IS_ERR(task)) {
			ret = ferry_because(why, PTR_ERR(task), "no kernel thread could be made");
			goto err_session;
		}
		s->main_task = get_task_struct(task);
		wake_up_process(task);
	} else {
		complete_all(&s->drained);
	}
	ret = xa_err(xa_store(&sessions, s->id, s, GFP_KERNEL_ACCOUNT));
	if (ret)
		goto err_session;
	fd = get_unused_fd_flags(O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		ret = ferry_because(why, fd, "no file descriptor is left");
		goto err_session;
	}
	*file = anon_inode_getfile("kvm-ferry", &session_fops, f, O_RDWR);
	if (IS_ERR(*file)) {
		ret = PTR_ERR(*file);
		goto err_fd;
	}
	ferry_debugfs_add(s);
	arg->out_id = s->id;
	arg->out_fd = fd;
	return 0;

err_fd:
	put_unused_fd(fd);
err_session:
	session_destroy(s);
err_file:
	kfree(f);
	return ret;
}
