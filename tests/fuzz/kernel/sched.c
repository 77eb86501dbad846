// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks, waiting, locks, work and the clock. A task is a context with a stack of
 * its own; the fuzzer's own context chooses who runs. Sleeping is the kernel's: a
 * task that nobody wakes sleeps on, so a wake-up that was forgotten is a task
 * that does not end.
 */
#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "fuzz.h"

#define TASKS		32
#define STACK		(256UL << 10)
#define MAX_SWITCHES	400000	/* of one input: more is a loop without an end */
#define MAX_WORKS	8

struct fuzz_context {
	ucontext_t here;
	void *fake;		/* the sanitizer's */
	u8 *stack;
};

static struct fuzz_context contexts[TASKS];
static struct task_struct tasks[TASKS];
static struct task_struct boot = { .vmm = true, .mm = &fuzz_mm };
static struct task_struct *running = &boot;
static struct work_struct *works[MAX_WORKS];
static ucontext_t outside;
static const void *outside_stack;
static size_t outside_size;
static void *outside_fake;
static unsigned int cursor, switches;
static u32 order;
static u64 now;

void fuzz_broken(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	abort();
}

struct task_struct *fuzz_current(void)
{
	return running;
}

u64 ktime_get_ns(void)
{
	return now += 1000;
}

u64 fuzz_after(u64 ns)
{
	return ns < FUZZ_FOREVER - now ? now + ns : FUZZ_FOREVER - 1;
}

void fuzz_order(u32 seed)
{
	order = seed;
}

static u32 random_order(void)
{
	order = order * 1664525 + 1013904223;
	return order >> 16;
}

/* --- switching ----------------------------------------------------------- */

static void switch_out(bool for_good)
{
	struct task_struct *t = running;

	__sanitizer_start_switch_fiber(for_good ? NULL : &t->context->fake, outside_stack, outside_size);
	swapcontext(&t->context->here, &outside);
	__sanitizer_finish_switch_fiber(t->context->fake, NULL, NULL);
}

static void switch_to(struct task_struct *t)
{
	MUST(++switches < MAX_SWITCHES);
	running = t;
	__sanitizer_start_switch_fiber(&outside_fake, t->context->stack, STACK);
	swapcontext(&outside, &t->context->here);
	__sanitizer_finish_switch_fiber(outside_fake, NULL, NULL);
	running = &boot;
}

static void task_main(void)
{
	struct task_struct *t = running;

	__sanitizer_finish_switch_fiber(NULL, &outside_stack, &outside_size);
	t->fn(t->data);
	MUST(!t->spins && !t->nr_mutexes && !t->mm_held && (t->vmm || !t->mm));
	t->state = TASK_DEAD;
	wake_up_all(&t->exited);
	put_task_struct(t);
	switch_out(true);
}

static struct task_struct *task_make(int (*fn)(void *), void *data, bool vmm)
{
	struct fuzz_context *c;
	struct task_struct *t;

	for (t = tasks; t->state != TASK_FREE; t++)
		MUST(t < tasks + TASKS - 1);
	c = &contexts[t - tasks];
	if (!c->stack) {
		/* A page below it that faults. */
		c->stack = mmap(NULL, STACK + PAGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		MUST(c->stack != MAP_FAILED && !mprotect(c->stack, PAGE_SIZE, PROT_NONE));
		c->stack += PAGE_SIZE;
	}
	*t = (struct task_struct){
		.state = TASK_STOPPED, .refs = 1, .fn = fn, .data = data, .context = c,
		.vmm = vmm, .mm = vmm ? &fuzz_mm : NULL,
	};
	MUST(!getcontext(&c->here));
	c->here.uc_stack.ss_sp = c->stack;
	c->here.uc_stack.ss_size = STACK;
	makecontext(&c->here, task_main, 0);
	return t;
}

static bool can_run(const struct task_struct *t)
{
	if (t->state == TASK_READY)
		return true;
	return t->state == TASK_ASLEEP &&
	       (t->woken || now >= t->until || (t->wq && t->wq->wakeups != t->seen) ||
		(t->interruptible && t->signalled));
}

/* Who owns it may free it now. */
static void work_forget(const struct work_struct *w)
{
	unsigned int i;

	for (i = 0; i < MAX_WORKS; i++)
		if (works[i] == w)
			works[i] = NULL;
}

static int work_main(void *work)
{
	struct work_struct *w = work;

	while (w->pending && now >= w->due) {
		w->pending = false;
		w->fn(w);
	}
	w->worker = NULL;
	if (!w->pending)
		work_forget(w);
	wake_up_all(&w->wait);
	return 0;
}

static void start_works(void)
{
	unsigned int i;

	for (i = 0; i < MAX_WORKS; i++) {
		struct work_struct *w = works[i];

		if (!w || w->worker || !w->pending || now < w->due)
			continue;
		w->worker = task_make(work_main, w, false);
		wake_up_process(w->worker);
	}
}

static struct task_struct *choose(void)
{
	unsigned int i, first = order ? random_order() : cursor;

	for (i = 0; i < TASKS; i++) {
		struct task_struct *t = &tasks[(first + i) % TASKS];

		if (can_run(t)) {
			cursor = t - tasks + 1;
			return t;
		}
	}
	return NULL;
}

void fuzz_run(void)
{
	struct task_struct *t;

	MUST(running == &boot);
	for (;;) {
		start_works();
		t = choose();
		if (!t)
			return;
		switch_to(t);
	}
}

void fuzz_clock(u64 ns)
{
	u64 target = fuzz_after(ns);

	for (;;) {
		u64 next = FUZZ_FOREVER;
		unsigned int i;

		fuzz_run();
		for (i = 0; i < TASKS; i++)
			if (tasks[i].state == TASK_ASLEEP)
				next = min(next, tasks[i].until);
		for (i = 0; i < MAX_WORKS; i++)
			if (works[i] && works[i]->pending && !works[i]->worker)
				next = min(next, works[i]->due);
		if (next > target)
			break;
		now = max(now, next);
	}
	now = max(now, target);
	fuzz_run();
}

/* --- sleeping ------------------------------------------------------------ */

int fuzz_sleep(struct wait_queue_head *wq, unsigned long seen, u64 until, bool interruptible)
{
	struct task_struct *t = running;

	MUST(t != &boot && !t->spins);
	t->wq = wq;
	t->seen = seen;
	t->until = until;
	t->interruptible = interruptible;
	t->state = TASK_ASLEEP;
	if (!can_run(t))
		switch_out(false);
	t->state = TASK_READY;
	t->wq = NULL;
	if (interruptible && t->signalled)
		return -ERESTARTSYS;
	if (t->woken || (wq && wq->wakeups != seen)) {
		t->woken = false;
		return 1;
	}
	return 0;
}

void schedule(void)
{
	fuzz_sleep(NULL, 0, FUZZ_FOREVER, false);
}

void usleep_range(unsigned long from, unsigned long to)
{
	(void)from;
	fuzz_sleep(NULL, 0, fuzz_after(to * 1000), false);
}

void fuzz_preempt(void)
{
	if (order && running != &boot && !running->spins && !(random_order() & 3))
		switch_out(false);
}

void fuzz_waits_for_peer(void)
{
	struct task_struct *t = running;
	int i;

	MUST(!t->mm_held && !t->mm);
	for (i = 0; i < t->nr_mutexes; i++)
		MUST(strstr(t->mutexes[i]->name, "tx_lock") || strstr(t->mutexes[i]->name, "own_lock"));
}

/* --- the address space --------------------------------------------------- */

bool mmget_not_zero(struct mm_struct *mm)
{
	if (!mm->users)
		return false;
	mm->users++;
	running->mm_held++;
	return true;
}

void mmput_async(struct mm_struct *mm)
{
	MUST(running->mm_held > 0);
	running->mm_held--;
	mm->users--;
}

void kthread_use_mm(struct mm_struct *mm)
{
	MUST(!running->vmm && !running->mm && running->mm_held);
	running->mm = mm;
}

void kthread_unuse_mm(struct mm_struct *mm)
{
	MUST(running->mm == mm && !running->vmm);
	running->mm = NULL;
}

/* --- tasks --------------------------------------------------------------- */

struct task_struct *kthread_create(int (*fn)(void *), void *data, const char *fmt, ...)
{
	void *memory = fuzz_alloc(1);	/* may fail, as anything that allocates */

	(void)fmt;
	fuzz_free(memory);
	return memory ? task_make(fn, data, false) : ERR_PTR(-ENOMEM);
}

struct task_struct *fuzz_vmm(int (*fn)(void *), void *data)
{
	struct task_struct *t = get_task_struct(task_make(fn, data, true));

	wake_up_process(t);
	return t;
}

void wake_up_process(struct task_struct *t)
{
	if (t->state == TASK_STOPPED)
		t->state = TASK_READY;
	else
		t->woken = true;
}

bool kthread_should_stop(void)
{
	return running->should_stop;
}

int kthread_stop(struct task_struct *t)
{
	t->should_stop = true;
	if (t->state == TASK_STOPPED) {
		/* It never runs. */
		t->state = TASK_DEAD;
		put_task_struct(t);
	} else {
		wake_up_process(t);
	}
	fuzz_wait(t->exited, t->state == TASK_DEAD, FUZZ_FOREVER, false);
	return 0;
}

struct task_struct *get_task_struct(struct task_struct *t)
{
	t->refs++;
	return t;
}

void put_task_struct(struct task_struct *t)
{
	MUST(t->refs > 0);
	if (--t->refs)
		return;
	MUST(t->state == TASK_DEAD);
	t->state = TASK_FREE;
}

bool fuzz_dead(const struct task_struct *t)
{
	return t->state == TASK_DEAD;
}

void fuzz_signal(struct task_struct *t)
{
	t->signalled = true;
}

/* --- locks --------------------------------------------------------------- */

void spin_lock(spinlock_t *lock)
{
	MUST(!lock->owner);
	lock->owner = running;
	running->spins++;
}

void spin_unlock(spinlock_t *lock)
{
	MUST(lock->owner == running);
	lock->owner = NULL;
	running->spins--;
	fuzz_preempt();
}

bool mutex_trylock(struct mutex *lock)
{
	if (lock->owner)
		return false;
	MUST(running->nr_mutexes < FUZZ_MUTEXES && !running->spins);
	running->mutexes[running->nr_mutexes++] = lock;
	lock->owner = running;
	return true;
}

void mutex_lock(struct mutex *lock)
{
	MUST(lock->owner != running);
	fuzz_preempt();
	fuzz_wait(lock->wait, mutex_trylock(lock), FUZZ_FOREVER, false);
}

void mutex_unlock(struct mutex *lock)
{
	int i;

	MUST(lock->owner == running);
	for (i = 0; running->mutexes[i] != lock; i++)
		;
	running->mutexes[i] = running->mutexes[--running->nr_mutexes];
	lock->owner = NULL;
	wake_up_all(&lock->wait);
	fuzz_preempt();
}

/* --- work ---------------------------------------------------------------- */

void fuzz_queue_work(struct work_struct *work, u64 due, bool again)
{
	int i, room = -1;

	if (work->canceling || (work->pending && !again))
		return;
	work->pending = true;
	work->due = due;
	for (i = 0; i < MAX_WORKS; i++) {
		if (works[i] == work)
			return;
		if (!works[i])
			room = i;
	}
	MUST(room >= 0);
	works[room] = work;
}

void flush_work(struct work_struct *work)
{
	fuzz_wait(work->wait, !work->pending && !work->worker, FUZZ_FOREVER, false);
}

void fuzz_cancel_work(struct work_struct *work)
{
	work->canceling = true;
	work->pending = false;
	flush_work(work);
	work->canceling = false;
	work_forget(work);
}

/* --- allocation ---------------------------------------------------------- */

/* A region of 700 pages has bitmaps of 88 bytes; the VMM state's pipe is the largest. */
#define MAX_ALLOC	(256UL << 10)
#define MAX_LIVE	64

static unsigned int live, nomem;

void fuzz_nomem(u32 nth)
{
	nomem = nth;
}

static void *alloc(size_t n, int fill)
{
	void *p;

	/* What the peer says must not size it, nor how often it says so. */
	MUST(n <= MAX_ALLOC && live < MAX_LIVE);
	if (nomem && !--nomem)
		return NULL;
	p = malloc(n ? n : 1);
	MUST(p);
	live++;
	return memset(p, fill, n);
}

void *fuzz_alloc(size_t n)
{
	return alloc(n, 0);
}

void *fuzz_alloc_dirty(size_t n)
{
	return alloc(n, 0xa5);
}

void fuzz_free(const void *p)
{
	live -= !!p;
	free((void *)p);
}

void fuzz_kernel_begin(void)
{
	unsigned int i;

	for (i = 0; i < TASKS; i++)
		MUST(tasks[i].state == TASK_FREE);
	memset(works, 0, sizeof(works));
	cursor = switches = order = nomem = 0;
	now = NSEC_PER_SEC;
}

void fuzz_kernel_end(void)
{
	unsigned int i;

	for (i = 0; i < TASKS; i++)
		MUST(tasks[i].state == TASK_FREE);
	MUST(!live);
	MUST(fuzz_mm.count == 1);
}
