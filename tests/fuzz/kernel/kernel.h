/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of the kernel that the session's code uses, for user space: forced in
 * front of the module's files, whose kernel headers are then empty. Its tasks
 * run one at a time and change places only where a task may sleep (sched.c), its
 * clock goes on only when nobody can run, and its allocator and its guest memory
 * (guest.c) look at what is done with them.
 */
#ifndef FERRY_FUZZ_KERNEL_H
#define FERRY_FUZZ_KERNEL_H

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>

#include "../../kunit/host/shim.h"

#undef GFP_KERNEL
#undef kfree
/* These have their arguments evaluated once, as the kernel's have. */
#undef min_t
#undef max_t
#undef clamp_t

#define PAGE_SHIFT		12
#define PAGE_SIZE		4096UL
#define U16_MAX			0xffff
#define U64_MAX			(~0ULL)
#define TASK_SIZE_MAX		(1UL << 47)
#define SECRETMEM_MAGIC		0x5345434dUL
#define NSEC_PER_MSEC		1000000L
#define NSEC_PER_SEC		1000000000L
#define HZ			250
#define ERESTARTSYS		512

#define __user
#define __printf(a, b)		__attribute__((format(printf, a, b)))
#define THIS_MODULE		NULL
#define EXPORT_SYMBOL_NS_GPL(sym, ns)
#define fallthrough		__attribute__((fallthrough))

/* What must hold; else the fuzzer stops here. */
__attribute__((noreturn)) void fuzz_broken(const char *file, int line, const char *what);
#define MUST(condition) \
	do { if (!(condition)) fuzz_broken(__FILE__, __LINE__, #condition); } while (0)

/* Transports are linked in. */
struct module;
#define try_module_get(m)	true
#define __module_get(m)		((void)(m))
#define module_put(m)		((void)(m))
#define request_module(...)	((void)0)

/* --- arithmetic ---------------------------------------------------------- */

#define container_of(p, type, member)	((type *)((char *)(p) - offsetof(type, member)))
#define max(a, b)		({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ > b_ ? a_ : b_; })
#define min_t(t, a, b)		min((t)(a), (t)(b))
#define max_t(t, a, b)		max((t)(a), (t)(b))
#define clamp_t(t, v, lo, hi)	min_t(t, max_t(t, v, lo), hi)
#define round_down(x, y)	((x) & ~((__typeof__(x))(y) - 1))
#define IS_ALIGNED(x, a)	(!((x) & ((__typeof__(x))(a) - 1)))
#define DIV_ROUND_UP_ULL(n, d)	(((u64)(n) + (d) - 1) / (d))
#define BITS_TO_LONGS(n)	DIV_ROUND_UP_ULL(n, 64)
#define BIT_ULL(n)		(1ULL << (n))
#define GENMASK_ULL(h, l)	((~0ULL >> (63 - (h))) & (~0ULL << (l)))
#define hweight64(w)		((u64)__builtin_popcountll(w))
#define __ffs64(w)		((u32)__builtin_ctzll(w))
#define div_u64(n, d)		((u64)(n) / (u32)(d))
#define struct_size(p, m, n)	(sizeof(*(p)) + sizeof((p)->m[0]) * (n))
#define check_add_overflow(a, b, d) __builtin_add_overflow(a, b, d)

/* --- memory order: one task runs at a time ------------------------------- */

#define WRITE_ONCE(x, v)	((x) = (v))
#define smp_store_release(p, v)	(*(p) = (v))
#define smp_load_acquire(p)	(*(p))
#define smp_mb()		((void)0)
#define smp_store_mb(x, v)	((x) = (v))
#define cmpxchg(p, was, v)	({ __typeof__(*(p)) old_ = *(p); if (old_ == (was)) *(p) = (v); old_; })
#define xchg(p, v)		({ __typeof__(*(p)) old_ = *(p); *(p) = (v); old_; })

typedef struct { int counter; } atomic_t;

#define atomic_read(a)		((a)->counter)
#define atomic_read_acquire(a)	((a)->counter)
#define atomic_set(a, v)	((a)->counter = (v))
#define atomic_xchg(a, v)	xchg(&(a)->counter, v)
#define atomic_or(v, a)		((a)->counter |= (v))
#define atomic_inc(a)		((a)->counter++)
#define atomic_inc_return(a)	(++(a)->counter)
#define atomic64_read(a)	((a)->counter)
#define atomic64_set(a, v)	((a)->counter = (v))
#define atomic64_add(n, a)	((a)->counter += (s64)(n))
#define atomic64_sub(n, a)	((a)->counter -= (s64)(n))
#define atomic64_sub_return(n, a) ((a)->counter -= (s64)(n))
#define atomic64_inc(a)		((a)->counter++)
#define atomic64_inc_return(a)	(++(a)->counter)
#define atomic_long_or(v, p)	((void)((p)->counter |= (v)))

unsigned long find_next_bit(const unsigned long *map, unsigned long size, unsigned long from);
unsigned long find_next_zero_bit(const unsigned long *map, unsigned long size, unsigned long from);
static inline bool test_bit(unsigned long bit, const unsigned long *map)
{
	return map[bit / 64] >> bit % 64 & 1;
}
static inline bool test_and_set_bit(unsigned long bit, unsigned long *map)
{
	bool was = test_bit(bit, map);

	map[bit / 64] |= 1UL << bit % 64;
	return was;
}
#define for_each_set_bit(bit, map, size) \
	for ((bit) = find_next_bit(map, size, 0); (bit) < (size); \
	     (bit) = find_next_bit(map, size, (bit) + 1))
#define __clear_bit(bit, map)	((map)[(bit) / 64] &= ~(1UL << (bit) % 64))

/* --- allocation ---------------------------------------------------------- */

#define GFP_KERNEL		0
#define GFP_KERNEL_ACCOUNT	0
#define __GFP_NOWARN		0

void *fuzz_alloc(size_t n);	/* zeroed; NULL when the input asks for it */
void *fuzz_alloc_dirty(size_t n);
void fuzz_free(const void *p);
#define kmalloc(n, f)		fuzz_alloc_dirty(n)
#define kzalloc(n, f)		fuzz_alloc(n)
#define kcalloc(n, size, f)	fuzz_alloc((size_t)(n) * (size))
#define kvmalloc(n, f)		fuzz_alloc_dirty(n)
#define kvzalloc(n, f)		fuzz_alloc(n)
#define kvmalloc_array(n, size, f) fuzz_alloc_dirty((size_t)(n) * (size))
#define kvcalloc(n, size, f)	fuzz_alloc((size_t)(n) * (size))
#define __vmalloc(n, f)		fuzz_alloc_dirty(n)
#define kfree(p)		fuzz_free(p)
#define kvfree(p)		fuzz_free(p)
#define vfree(p)		fuzz_free(p)

#define MAX_ERRNO		4095
#define IS_ERR(p)		((uintptr_t)(p) >= (uintptr_t)-MAX_ERRNO)
#define PTR_ERR(p)		((int)(intptr_t)(p))
#define ERR_PTR(e)		((void *)(intptr_t)(e))

/* --- text ---------------------------------------------------------------- */

__printf(3, 0) int vscnprintf(char *to, size_t room, const char *fmt, va_list args);
__printf(3, 4) int scnprintf(char *to, size_t room, const char *fmt, ...);
long strscpy(char *to, const char *from, size_t room);
void *memchr_inv(const void *p, int c, size_t n);

/* --- time: nanoseconds --------------------------------------------------- */

typedef s64 ktime_t;

u64 ktime_get_ns(void);
#define ktime_get()		((ktime_t)ktime_get_ns())
#define ktime_get_real_ns()	(1700000000000000000ULL + ktime_get_ns())
#define ktime_sub(a, b)		((a) - (b))
#define ktime_to_ns(t)		(t)
#define ns_to_ktime(ns)		((ktime_t)(ns))
#define NS_PER_JIFFY		(NSEC_PER_SEC / HZ)
#define nsecs_to_jiffies(ns)	((unsigned long)((ns) / NS_PER_JIFFY))
#define FUZZ_FOREVER		(~0ULL)
u64 fuzz_after(u64 ns);

/* --- tasks and waiting --------------------------------------------------- */

struct mm_struct;

typedef struct wait_queue_head {
	unsigned long wakeups;
} wait_queue_head_t;

#define FUZZ_MUTEXES	4

enum task_state { TASK_FREE, TASK_STOPPED, TASK_READY, TASK_ASLEEP, TASK_DEAD };

struct task_struct {
	struct mm_struct *mm;
	enum task_state state;
	int refs;		/* one is the task's own */
	int (*fn)(void *data);
	void *data;
	struct fuzz_context *context;
	/* while it sleeps */
	struct wait_queue_head *wq;
	unsigned long seen;
	u64 until;
	bool interruptible;
	bool woken;
	bool signalled;
	bool should_stop;
	struct wait_queue_head exited;
	/* what it holds */
	bool vmm;
	int mm_held;
	int spins;
	struct mutex *mutexes[FUZZ_MUTEXES];
	int nr_mutexes;
};

struct task_struct *fuzz_current(void);
#define current			fuzz_current()

/*
 * Sleeps until somebody wakes @wq, which had been woken @seen times, or the task.
 * 1: woken, 0: it is @until, -ERESTARTSYS: a signal.
 */
int fuzz_sleep(struct wait_queue_head *wq, unsigned long seen, u64 until, bool interruptible);
/* Somebody else may run here, if the input asks for it. */
void fuzz_preempt(void);

#define fuzz_wait(wq, condition, until, interruptible) ({ \
	u64 until_ = (until); \
	int ret_ = 1; \
	for (;;) { \
		unsigned long seen_ = (wq).wakeups; \
		if (condition) { \
			ret_ = 1; \
			break; \
		} \
		if (ret_ <= 0) \
			break; \
		ret_ = fuzz_sleep(&(wq), seen_, until_, interruptible); \
	} \
	ret_; })

#define init_waitqueue_head(wq)		((wq)->wakeups = 0)
#define wake_up_all(wq)			((void)(wq)->wakeups++)
#define wait_event_idle(wq, c)		((void)fuzz_wait(wq, c, FUZZ_FOREVER, false))
#define wait_event_timeout(wq, c, t)	fuzz_wait(wq, c, fuzz_after((u64)(t) * NS_PER_JIFFY), false)
#define wait_event_idle_timeout(wq, c, t) wait_event_timeout(wq, c, t)
#define wait_event_hrtimeout(wq, c, t)	((void)fuzz_wait(wq, c, fuzz_after(t), false))
/* 0: @c holds. */
#define wait_event_interruptible_hrtimeout(wq, c, t) ({ \
	int left_ = fuzz_wait(wq, c, fuzz_after(t), true); \
	left_ > 0 ? 0 : left_ ? : -ETIME; })
#define wait_event_interruptible(wq, c)	min(fuzz_wait(wq, c, FUZZ_FOREVER, true), 0)

#define TASK_RUNNING			0
#define TASK_IDLE			1
#define set_current_state(x)		((void)(x))
#define __set_current_state(x)		((void)(x))
void schedule(void);
#define cond_resched()			fuzz_preempt()
void usleep_range(unsigned long from, unsigned long to);

__printf(3, 4)
struct task_struct *kthread_create(int (*fn)(void *), void *data, const char *fmt, ...);
bool kthread_should_stop(void);
int kthread_stop(struct task_struct *t);
void wake_up_process(struct task_struct *t);
struct task_struct *get_task_struct(struct task_struct *t);
void put_task_struct(struct task_struct *t);

struct completion {
	bool done;
	struct wait_queue_head wait;
};

#define init_completion(c)	(*(c) = (struct completion){})
#define complete_all(c)		do { (c)->done = true; wake_up_all(&(c)->wait); } while (0)
#define wait_for_completion(c)	wait_event_idle((c)->wait, (c)->done)
#define wait_for_completion_interruptible(c) wait_event_interruptible((c)->wait, (c)->done)

/* --- locks --------------------------------------------------------------- */

typedef struct {
	struct task_struct *owner;
} spinlock_t;

struct mutex {
	struct task_struct *owner;
	const char *name;
	struct wait_queue_head wait;
};

void spin_lock(spinlock_t *lock);
void spin_unlock(spinlock_t *lock);
#define spin_lock_init(l)	((l)->owner = NULL)
#define DEFINE_SPINLOCK(l)	spinlock_t l
void mutex_lock(struct mutex *lock);
void mutex_unlock(struct mutex *lock);
bool mutex_trylock(struct mutex *lock);
#define mutex_init(l)		(*(l) = (struct mutex){ .name = #l })
#define lockdep_assert_held(l)	MUST((l)->owner == current)

struct kref {
	int count;
};

#define kref_init(k)		((k)->count = 1)
#define kref_get(k)		((k)->count++)
#define kref_put(k, release)	do { if (!--(k)->count) release(k); } while (0)

/* --- work ---------------------------------------------------------------- */

struct work_struct {
	void (*fn)(struct work_struct *work);
	bool pending;
	bool canceling;
	u64 due;
	struct task_struct *worker;
	struct wait_queue_head wait;
};

struct delayed_work {
	struct work_struct work;
};

#define system_unbound_wq	NULL
#define INIT_WORK(w, f)		(*(w) = (struct work_struct){ .fn = (f) })
#define INIT_DELAYED_WORK(w, f)	INIT_WORK(&(w)->work, f)
#define to_delayed_work(w)	container_of(w, struct delayed_work, work)
void fuzz_queue_work(struct work_struct *work, u64 due, bool again);
void fuzz_cancel_work(struct work_struct *work);
#define queue_work(wq, w)	fuzz_queue_work(w, 0, false)
#define queue_delayed_work(wq, w, j) fuzz_queue_work(&(w)->work, fuzz_after((j) * NS_PER_JIFFY), false)
#define mod_delayed_work(wq, w, j) fuzz_queue_work(&(w)->work, fuzz_after((j) * NS_PER_JIFFY), true)
#define cancel_work_sync(w)	fuzz_cancel_work(w)
#define cancel_delayed_work_sync(w) fuzz_cancel_work(&(w)->work)
void flush_work(struct work_struct *work);

/* --- tables, files, users ------------------------------------------------ */

#ifndef FUZZ_XA_ENTRIES
#define FUZZ_XA_ENTRIES 4
#endif

struct xarray {
	unsigned long index[FUZZ_XA_ENTRIES];
	void *entry[FUZZ_XA_ENTRIES];
};

#define DEFINE_XARRAY(x)	struct xarray x
#define xa_init(x)		(*(x) = (struct xarray){})
#define xa_destroy(x)		((void)(x))
#define xa_lock(x)		((void)(x))
#define xa_unlock(x)		((void)(x))
#define xa_err(p)		(IS_ERR(p) ? PTR_ERR(p) : 0)
void *xa_load(struct xarray *x, unsigned long index);
void *xa_store(struct xarray *x, unsigned long index, void *entry, int flags);
void xa_erase(struct xarray *x, unsigned long index);
void *fuzz_xa_from(struct xarray *x, unsigned long *index);
#define xa_for_each(x, i, p) \
	for ((i) = 0; ((p) = fuzz_xa_from(x, &(i))); (i)++)

struct super_block { unsigned long s_magic; };
struct inode { struct super_block *i_sb; };
struct poll_table_struct;

struct file {
	const struct file_operations *f_op;
	void *private_data;
	struct inode *f_inode;
};

struct file_operations {
	void *owner;
	int (*release)(struct inode *inode, struct file *file);
	__poll_t (*poll)(struct file *file, struct poll_table_struct *table);
	long (*unlocked_ioctl)(struct file *file, unsigned int cmd, unsigned long arg);
	long (*compat_ioctl)(struct file *file, unsigned int cmd, unsigned long arg);
};

#define O_RDWR			2
#define O_CLOEXEC		02000000
#define EPOLLIN			1
#define EPOLLRDNORM		0x40
#define EPOLLHUP		0x10
#define poll_wait(f, wq, t)	((void)(f), (void)(t))
#define compat_ptr_ioctl	NULL
#define file_inode(f)		((f)->f_inode)
struct file *anon_inode_getfile(const char *name, const struct file_operations *fops, void *data,
				int flags);
int get_unused_fd_flags(unsigned int flags);	/* fails as anything that allocates */
#define put_unused_fd(fd)	((void)(fd))
struct file *fget(int fd);
void fput(struct file *file);

typedef struct { u32 val; } kuid_t;
#define current_euid()		((kuid_t){ 0 })
#define current_user_ns()	NULL
#define from_kuid_munged(ns, id) ((id).val)
#define put_user(v, p)		(*(p) = (v), 0)
#define u64_to_user_ptr(a)	((void *)(uintptr_t)(a))
/* The VMM's buffer ends here for the first time (EFAULT), if the input asks for it. */
unsigned long copy_from_user(void *to, const void *from, unsigned long n);
unsigned long copy_to_user(void *to, const void *from, unsigned long n);
void get_random_bytes(void *to, size_t n);
#define crypto_memneq(a, b, n)	memcmp(a, b, n)

/* --- the VMM's memory (guest.c) ------------------------------------------ */

struct mm_struct {
	int users;
	int count;
	atomic64_t pinned_vm;
};

struct vm_area_struct {
	unsigned long vm_start, vm_end, vm_flags;
	struct file *vm_file;
};

#define VM_READ			1UL
#define VM_WRITE		2UL
#define VM_PFNMAP		4UL
#define VM_IO			8UL
#define userfaultfd_armed(v)	false
#define mmap_read_lock(mm)	((void)(mm))
#define mmap_read_unlock(mm)	((void)(mm))
struct vm_area_struct *find_vma(struct mm_struct *mm, unsigned long addr);

bool mmget_not_zero(struct mm_struct *mm);
void mmput_async(struct mm_struct *mm);
void mmgrab(struct mm_struct *mm);
void mmdrop(struct mm_struct *mm);
void kthread_use_mm(struct mm_struct *mm);
void kthread_unuse_mm(struct mm_struct *mm);

struct page {
	int refs;	/* of a compound page: in its head */
	int pins;
	bool present;
	bool touched;	/* in this run */
};

struct page *compound_head(struct page *page);
unsigned long page_to_pfn(const struct page *page);
#define page_ref_count(p)	((p)->refs)
void put_page(struct page *page);
void unpin_user_pages_dirty_lock(struct page **pages, unsigned long n, bool dirty);
void *kmap_local_page(struct page *page);
void kunmap_local(const void *bytes);
u64 xxh64(const void *bytes, size_t n, u64 seed);

struct kvec {
	void *iov_base;
	size_t iov_len;
};

struct bio_vec {
	struct page *bv_page;
	unsigned int bv_len;
	unsigned int bv_offset;
};

struct iov_iter {
	const struct kvec *kvec;
	const struct bio_vec *bvec;
	size_t at;	/* in the first of them */
	size_t count;
};

#define ITER_DEST		0
#define bvec_set_page(b, p, len, off) \
	(*(b) = (struct bio_vec){ .bv_page = (p), .bv_len = (len), .bv_offset = (off) })
#define iov_iter_kvec(i, dir, v, n, c) (*(i) = (struct iov_iter){ .kvec = (v), .count = (c) })
#define iov_iter_bvec(i, dir, v, n, c) (*(i) = (struct iov_iter){ .bvec = (v), .count = (c) })
#define iov_iter_count(i)	((i)->count)

/* --- tracing ------------------------------------------------------------- */

#define TP_PROTO(...)		__VA_ARGS__
#define TP_ARGS(...)		__VA_ARGS__
#define TRACE_EVENT(name, proto, args, ...) \
	static inline __attribute__((unused)) void trace_##name(proto) { on_##name(args); }
#define DECLARE_EVENT_CLASS(...)
#define DEFINE_EVENT(class, name, proto, args) \
	static inline __attribute__((unused)) void trace_##name(proto) { (void)final; (void)pages; \
									 (void)pass; (void)session; }
#define TRACE_DEFINE_ENUM(x)
void fuzz_state_changed(u32 role, u32 from, u32 to);
#define on_ferry_state(session, role, from, to, error) \
	((void)(session), (void)(error), fuzz_state_changed(role, from, to))
#define on_ferry_harvest(a, b, c, d)	((void)(a), (void)(b), (void)(c), (void)(d))
#define on_ferry_reset(a, b, c, d)	((void)(a), (void)(b), (void)(c), (void)(d))
#define on_ferry_fence(a, b, c, d)	((void)(a), (void)(b), (void)(c), (void)(d))
#define on_ferry_switchover(a, b, c)	((void)(a), (void)(b), (void)(c))
#define on_ferry_batch(a, b, c, d, e, f, g) \
	((void)(a), (void)(b), (void)(c), (void)(d), (void)(e), (void)(f), (void)(g))

#endif /* FERRY_FUZZ_KERNEL_H */
