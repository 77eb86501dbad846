// SPDX-License-Identifier: GPL-2.0-only
/* The VMM of the fuzzed session: sets it up, calls, is killed. See peer_fuzz.c. */
#include "control.h"
#include "ioctl.h"
#include "host.h"
#include "limits.h"
#include "peer_vmm.h"
#include "peer_wire.h"
#include "source.h"
#include "switchover.h"

#define CALLS		4
#define BUFFER		(64UL << 10)
/* A session waits a second for a reason, and 20 ms to say its own. */
#define CLOSE_TIME	(1500ULL * NSEC_PER_MSEC)
/* Behind READY its own may be an answer, which is worth waiting for the peer. */
#define ANSWER_TIME	(60ULL * NSEC_PER_SEC)

struct vmm_call {
	struct task_struct *task;
	enum call what;
	u32 arg;
	int ret;
	struct ferry_reason why;
	u8 buffer[BUFFER];
};

static struct vmm_call calls[CALLS];
static struct file session_file;

struct vmm_setup setup;
bool asked_commit;

/* --- what the session's file and dirty rings would bring ------------------ */

struct file *anon_inode_getfile(const char *name, const struct file_operations *fops, void *data,
				int flags)
{
	(void)name;
	(void)flags;
	session_file = (struct file){ .f_op = fops, .private_data = data };
	return get_unused_fd_flags(0) < 0 ? ERR_PTR(-ENFILE) : &session_file;
}

int get_unused_fd_flags(unsigned int flags)
{
	void *memory = fuzz_alloc(1);

	(void)flags;
	fuzz_free(memory);
	return memory ? 3 : -EMFILE;
}

long ferry_session_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	(void)file;
	(void)cmd;
	(void)arg;
	return -ENOTTY;
}

struct file *fget(int fd)
{
	(void)fd;
	return NULL;
}

void fput(struct file *file)
{
	(void)file;
}

int ferry_vm_file_check(struct file *file, struct ferry_reason *why)
{
	(void)file;
	return ferry_because(why, -EBADF, "no VM here");
}

void ferry_rings_free(struct ferry_session *s)
{
	(void)s;
}

const struct ferry_dirty_ops ferry_dirty_ring_ops = { .name = "none" };

/* --- the VMM ------------------------------------------------------------- */

static int do_setup(void *arg)
{
	static const char * const names[FUZZ_REGIONS] = { "ram", "vga" };
	struct kvm_ferry_create create = {
		.role = setup.source ? KVM_FERRY_SOURCE : KVM_FERRY_SINK, .vm_fd = -1,
		.dirty_source = setup.source ? KVM_FERRY_DIRTY_REPORT : 0, .name = "guest",
	};
	struct kvm_ferry_limits limits = {
		.flags = KVM_FERRY_LIMIT_PEER_TIMEOUT,
		.peer_timeout_ns = setup.timeout_ms * 1000000ULL, .verify = setup.verify,
	};
	struct ferry_reason *why = &setup.why;
	struct file *file;
	u32 i;

	(void)arg;
	setup.ret = ferry_session_create(&create, &file, why);
	if (setup.ret)
		return 0;
	session = ((struct ferry_file *)file->private_data)->session;
	for (i = 0; i <= setup.two_regions && !setup.ret; i++) {
		struct kvm_ferry_region_add add = {
			.region_id = i, .addr = guest_addr(i), .length = fuzz_region_pages[i] * PAGE_SIZE,
		};

		strcpy((char *)add.name, names[i]);
		setup.ret = ferry_region_add(session, &add, why);
	}
	if (setup.source)
		limits.flags |= KVM_FERRY_LIMIT_VERIFY;
	if (!setup.ret)
		setup.ret = ferry_limits(session, &limits, why);
	for (i = 0; i <= setup.channels && !setup.ret; i++) {
		struct kvm_ferry_channel_add add = {
			.kind = i ? KVM_FERRY_CHANNEL_DATA : KVM_FERRY_CHANNEL_CONTROL,
			.transport = KVM_FERRY_TRANSPORT_TCP, .fd = i,
		};

		setup.ret = ferry_channel_add(session, &add, why);
	}
	if (!setup.ret)
		setup.ret = ferry_start(session, false, why);
	return 0;
}

/* Of the session, of its final pass, or of the host: it is this session's alone. */
static int do_limit(u32 arg, struct ferry_reason *why)
{
	u64 rate = 65536ULL << (arg & 15);
	struct kvm_ferry_limits limits = { .flags = KVM_FERRY_LIMIT_BANDWIDTH,
					   .max_bandwidth = rate, .final_bandwidth = rate };
	struct kvm_ferry_host_limits host = { .flags = KVM_FERRY_HOST_BANDWIDTH,
					      .max_bandwidth = (arg & 15) == 15 ? 0 : rate };

	if (arg & 16) {
		int ret = ferry_host_limits(&host, why);

		MUST(ret || (host.out_sessions <= 1 && host.out_share == host.max_bandwidth));
		return ret;
	}
	if (arg & 32 && setup.source)
		limits.flags = KVM_FERRY_LIMIT_FINAL_BANDWIDTH;
	return ferry_limits(session, &limits, why);
}

/* As ioctl.c lets a call through: what is for one role only is refused there. */
static int do_call(void *arg)
{
	struct vmm_call *c = arg;
	struct kvm_ferry_state_io io = {
		.data = (uintptr_t)c->buffer, .length = min((unsigned long)c->arg >> 1, BUFFER),
		.flags = c->what == CALL_SEND && (c->arg & 1) ? KVM_FERRY_STATE_LAST : 0,
	};
	u32 i;

	switch (c->what) {
	case CALL_FINAL:
		c->ret = ferry_final(session, &c->why);
		break;
	case CALL_SEND:
		c->ret = ferry_state_send(session, &io, &c->why);
		MUST(io.out_length <= io.length);
		break;
	case CALL_RECV:
		c->ret = ferry_state_recv(session, &io, &c->why);
		MUST(io.out_length <= io.length);
		break;
	case CALL_COMMIT:
		asked_commit = true;
		c->ret = ferry_commit(session, &c->why);
		break;
	case CALL_ABORT:
		c->ret = ferry_abort(session, &c->why);
		break;
	case CALL_REPORT:
		for (i = 0; i < 3; i++)
			guest_touch(0, c->arg + i);
		i = session->state;
		if (i == KVM_FERRY_STATE_CONNECTING || i == KVM_FERRY_STATE_LIVE)
			ferry_dirty_publish(session, session->regions[0], c->arg % 600, 3);
		wake_up_all(&session->wait);
		break;
	default:
		c->ret = do_limit(c->arg, &c->why);
	}
	return 0;
}

static void check_call(struct vmm_call *c)
{
	if (c->ret < 0)
		MUST(c->why.error == c->ret && c->why.text[0]);
	if (c->what != CALL_COMMIT || c->ret)
		return;
	MUST(session->state == KVM_FERRY_STATE_DONE);
	MUST(setup.source ? links[0].begun[FERRY_MSG_COMMIT] : links[0].told[FERRY_MSG_COMMIT_ACK]);
}

void vmm_reap(void)
{
	int i;

	for (i = 0; i < CALLS; i++) {
		struct vmm_call *c = &calls[i];

		if (!c->task || !fuzz_dead(c->task))
			continue;
		check_call(c);
		put_task_struct(c->task);
		c->task = NULL;
	}
}

void vmm_call(enum call what, u32 arg)
{
	bool for_one = what == CALL_FINAL || what == CALL_SEND || what == CALL_REPORT;
	struct vmm_call *c;

	if ((for_one && !setup.source) || (what == CALL_RECV && setup.source))
		return;
	for (c = calls; c < calls + CALLS && c->task; c++)
		;
	if (c == calls + CALLS)
		return;
	c->what = what;
	c->arg = arg;
	c->ret = 0;
	c->why = (struct ferry_reason){};
	c->task = fuzz_vmm(do_call, c);
}

void vmm_signal(void)
{
	int i;

	for (i = 0; i < CALLS; i++)
		if (calls[i].task)
			fuzz_signal(calls[i].task);
}

void vmm_set_up(void)
{
	struct kvm_ferry_host_limits none = { .flags = KVM_FERRY_HOST_BANDWIDTH };
	struct task_struct *t;

	/* The last input's is not this one's. */
	ferry_host_limits(&none, &setup.why);
	asked_commit = false;
	setup.why = (struct ferry_reason){};
	t = fuzz_vmm(do_setup, NULL);
	fuzz_run();
	MUST(fuzz_dead(t));
	put_task_struct(t);
	if (session && setup.ret)
		MUST(setup.why.error == setup.ret && setup.why.text[0]);
}

static int do_release(void *arg)
{
	session_file.f_op->release(NULL, arg);
	return 0;
}

/* In the order of a kill: the calls end, then the file is released. */
void vmm_release(void)
{
	struct task_struct *t;
	u64 begin, limit;
	int i;

	vmm_signal();
	fuzz_run();
	vmm_reap();
	for (i = 0; i < CALLS; i++)
		MUST(!calls[i].task);
	if (getenv("FUZZ_TELL"))
		fprintf(stderr, "%s: %d: %s\n", ferry_state_name(session->state),
			session->failure.error, setup.ret ? setup.why.text : session->failure.text);
	begin = ktime_get_ns();
	limit = CLOSE_TIME;
	if (ferry_session_said(session, FERRY_MSG_READY))
		limit += min_t(u64, session->peer_silence_ns, ANSWER_TIME);
	t = fuzz_vmm(do_release, &session_file);
	fuzz_run();
	while (!fuzz_dead(t) && ktime_get_ns() - begin < limit)
		fuzz_clock(10 * NSEC_PER_MSEC);
	MUST(fuzz_dead(t));
	put_task_struct(t);
	session = NULL;
}
