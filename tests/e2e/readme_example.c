// SPDX-License-Identifier: GPL-2.0
/*
 * lab: sources=tap.c timeout=60
 *
 * What README.md shows of libferry, as a whole VMM around it: a real-mode guest
 * with one vCPU moves within one process, once in vain and once for good. The
 * last check is that README.md shows what ran.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

#include "ferry.h"
#include "tap.h"

#define RAM_SIZE	(1 << 20)
#define CODE_AT		0x1000
#define FIRST_PAGE	2
#define NR_PAGES	8
#define RING_BYTES	(4096 * sizeof(struct kvm_dirty_gfn))
#define LAP_PORT	0x10
#define LIMIT_MS	20000

/* Everything of the guest but its memory. */
struct vm_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
};

struct vm {
	const char *name;
	int fd;
	uint8_t *ram;
	uint64_t ram_size;
	int vcpu;
	struct kvm_run *run;
	struct ferry_ring *ring;

	pthread_t thread;
	pthread_mutex_t lock;	/* protects: all below */
	pthread_cond_t cond;
	bool hold, parked, quit;
	unsigned long laps;
};

/*
 * Counts up the first word of eight pages, one after the other, for ever, and
 * writes to a port after each lap.
 * lap: mov ax,0x200; next: mov ds,ax; inc word [0]; add ax,0x100; cmp ax,0xa00;
 * jne next; out 0x10,al; jmp lap
 */
static const uint8_t code[] = {
	0xb8, 0x00, 0x02, 0x8e, 0xd8, 0xff, 0x06, 0x00, 0x00, 0x05, 0x00, 0x01,
	0x3d, 0x00, 0x0a, 0x75, 0xf2, 0xe6, LAP_PORT, 0xeb, 0xeb,
};

static void vm_pause(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->hold = true;
	while (!vm->parked) {
		struct timespec until;

		/* Again and again: a signal that comes just before KVM_RUN does nothing. */
		pthread_kill(vm->thread, SIGUSR1);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec = (until.tv_nsec + 5000000) % 1000000000;
		until.tv_sec += until.tv_nsec < 5000000;
		pthread_cond_timedwait(&vm->cond, &vm->lock, &until);
	}
	pthread_mutex_unlock(&vm->lock);
}

static void vm_resume(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->hold = false;
	vm->parked = false;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
}

static int vm_save(struct vm *vm, struct vm_state *state)
{
	if (ioctl(vm->vcpu, KVM_GET_REGS, &state->regs) ||
	    ioctl(vm->vcpu, KVM_GET_SREGS, &state->sregs))
		return -errno;
	return 0;
}

static int vm_load(struct vm *vm, const void *data, size_t length)
{
	struct vm_state state;

	if (length != sizeof(state))
		return -EPROTO;
	memcpy(&state, data, length);
	if (ioctl(vm->vcpu, KVM_SET_SREGS, &state.sregs) ||
	    ioctl(vm->vcpu, KVM_SET_REGS, &state.regs))
		return -errno;
	return 0;
}

static int vm_log_dirty(struct vm *vm, bool on)
{
	struct kvm_userspace_memory_region slot = {
		.memory_size = RAM_SIZE,
		.userspace_addr = (uintptr_t)vm->ram,
		.flags = on ? KVM_MEM_LOG_DIRTY_PAGES : 0,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) ? -errno : 0;
}

/* README.md shows what follows */
/* In the vCPU's loop, after KVM_RUN returned 0. True: handle the exit as ever. */
static bool own_exit(struct vm *vm)
{
	int what = ferry_vcpu_exit(vm->ring, vm->run->exit_reason);

	if (what == FERRY_VCPU_REAP && !ferry_ring_take_back(vm->ring)) {
		ferry_ring_reap(vm->ring, NULL, NULL);	/* no session has the ring: it is ours */
		ferry_rings_reset(vm->fd);
	}
	return what == FERRY_VCPU_OTHER;
}

static int wait_for(struct ferry_session *s, uint32_t wanted)
{
	struct kvm_ferry_event event = { .out_events = 0 };

	while (!(event.out_events & wanted)) {
		int ret = ferry_session_wait_event(s, &event, sizeof(event), -1);

		if (ret < 0 && ret != -EINTR)
			return ret;
		if (ret > 0 && ferry_state_ended(event.out_state))
			return -ESHUTDOWN;
	}
	return 0;
}

/* 0: the guest runs at the sink. -EINPROGRESS: in doubt, it stays paused. Else it runs on. */
static int give(struct ferry_device *dev, struct vm *vm, const struct ferry_sockets *socks)
{
	struct vm_state state;
	struct ferry_session *s;
	int err = ferry_source_create(dev, vm->fd, vm->name, &s);

	if (err)
		return err;
	err = ferry_session_add_region(s, 0, "ram", vm->ram, vm->ram_size);
	err = err ?: ferry_session_add_slot(s, FERRY_SLOT(0, 0), 0, 0, vm->ram_size);
	err = err ?: ferry_session_add_sockets(s, socks);
	err = err ?: ferry_ring_hand_over(vm->ring, s);	/* the ring of every vCPU */
	err = err ?: vm_log_dirty(vm, true);		/* KVM_MEM_LOG_DIRTY_PAGES */
	err = err ?: ferry_session_start(s);
	err = err ?: wait_for(s, KVM_FERRY_EVENT_CONVERGED);
	if (!err)
		vm_pause(vm);				/* no vCPU is in KVM_RUN any more */
	err = err ?: vm_save(vm, &state);		/* may write guest memory: before FINAL */
	err = err ?: ferry_session_final(s);		/* the sink holds all of memory */
	err = err ?: ferry_session_send_state(s, &state, sizeof(state), true);
	err = err ?: ferry_session_commit(s);
	if (err) {
		fprintf(stderr, "not moved: %s\n", ferry_session_error(s));
		ferry_session_abort(s);
	}
	vm_log_dirty(vm, false);
	ferry_ring_take_back(vm->ring);
	if (err && err != -EINPROGRESS)
		vm_resume(vm);
	ferry_session_close(s);
	return err;
}

/* 0: the guest runs here. Else it does not, and must not. */
static int take(struct ferry_device *dev, struct vm *vm, const struct ferry_sockets *socks)
{
	struct ferry_session *s;
	void *state = NULL;
	size_t length;
	int err = ferry_sink_create(dev, vm->name, &s);

	if (err)
		return err;
	err = ferry_session_add_region(s, 0, "ram", vm->ram, vm->ram_size);
	err = err ?: ferry_session_add_sockets(s, socks);
	err = err ?: ferry_session_start(s);
	err = err ?: wait_for(s, KVM_FERRY_EVENT_STATE_DATA);
	err = err ?: ferry_session_recv_state_all(s, &state, &length);
	err = err ?: vm_load(vm, state, length);
	err = err ?: ferry_session_commit(s);		/* from here on it is ours */
	if (!err)
		vm_resume(vm);
	free(state);
	ferry_session_close(s);
	return err;
}
/* README.md has shown it */

static void on_kick(int sig)
{
	(void)sig;
}

static void *vcpu_main(void *arg)
{
	struct vm *vm = arg;
	bool owes = false;	/* an exit that is complete when KVM_RUN was entered again */
	bool go = true;

	while (go) {
		bool hold, lap;

		pthread_mutex_lock(&vm->lock);
		while (vm->hold && !vm->quit && !owes) {
			vm->parked = true;
			pthread_cond_broadcast(&vm->cond);
			pthread_cond_wait(&vm->cond, &vm->lock);
		}
		hold = vm->hold;
		vm->parked = false;
		go = !vm->quit;
		pthread_mutex_unlock(&vm->lock);
		if (!go)
			break;
		vm->run->immediate_exit = hold;
		owes = false;
		if (ioctl(vm->vcpu, KVM_RUN, 0)) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			tap_bail("KVM_RUN: %s", strerror(errno));
		}
		if (!own_exit(vm))
			continue;
		lap = vm->run->exit_reason == KVM_EXIT_IO && vm->run->io.port == LAP_PORT;
		if (!lap)
			tap_bail("exit reason %u", vm->run->exit_reason);
		owes = true;
		pthread_mutex_lock(&vm->lock);
		vm->laps++;
		pthread_mutex_unlock(&vm->lock);
	}
	return NULL;
}

static void vm_create(struct vm *vm, int kvm, const char *name)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { RING_BYTES } };
	struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2 };
	struct kvm_sregs sregs;

	vm->name = name;
	vm->hold = true;
	vm->ram_size = RAM_SIZE;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->cond, NULL);
	vm->fd = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0 || ioctl(vm->fd, KVM_ENABLE_CAP, &cap))
		tap_bail("no VM with dirty rings: %s", strerror(errno));
	ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000);
	vm->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->ram == MAP_FAILED || vm_log_dirty(vm, false))
		tap_bail("no guest memory");
	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	vm->run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		       MAP_SHARED, vm->vcpu, 0);
	if (vm->run == MAP_FAILED || ferry_ring_map(&vm->ring, vm->vcpu, 0, RING_BYTES))
		tap_bail("no vCPU: %s", ferry_error());
	if (ioctl(vm->vcpu, KVM_GET_SREGS, &sregs))
		tap_bail("no registers");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vm->vcpu, KVM_SET_SREGS, &sregs) || ioctl(vm->vcpu, KVM_SET_REGS, &regs) ||
	    pthread_create(&vm->thread, NULL, vcpu_main, vm))
		tap_bail("no vCPU thread");
}

static unsigned long laps(struct vm *vm)
{
	unsigned long n;

	pthread_mutex_lock(&vm->lock);
	n = vm->laps;
	pthread_mutex_unlock(&vm->lock);
	return n;
}

/* Polls until the guest has run so many more laps. */
static bool runs_on(struct vm *vm)
{
	unsigned long begin = laps(vm);
	int ms;

	for (ms = 0; ms < LIMIT_MS && laps(vm) < begin + 20; ms++)
		usleep(1000);
	return laps(vm) >= begin + 20;
}

static uint16_t word(const struct vm *vm, unsigned int i)
{
	uint16_t value;

	memcpy(&value, vm->ram + (FIRST_PAGE + i) * 4096, sizeof(value));
	return value;
}

/* Within a lap, the pages before the guest's place are one ahead of those after it. */
static bool consistent(const struct vm *vm)
{
	unsigned int i, steps = 0;

	for (i = 1; i < NR_PAGES; i++) {
		uint16_t behind = word(vm, i - 1) - word(vm, i);

		if (behind > 1)
			return false;
		steps += behind;
	}
	return steps <= 1;
}

struct receiver {
	struct ferry_device *dev;
	struct vm *vm;
	int listener;
	int err;
};

static void *receive(void *arg)
{
	struct receiver *r = arg;
	struct ferry_sockets socks;

	r->err = ferry_accept(&socks, r->listener, 0, LIMIT_MS);
	if (r->err)
		return NULL;
	r->err = take(r->dev, r->vm, &socks);
	ferry_sockets_close(&socks);
	return NULL;
}

static int move(struct ferry_device *dev, struct vm *from, struct vm *to, int *sink_err)
{
	struct receiver r = { .dev = dev, .vm = to, .listener = ferry_listen("127.0.0.1", "0") };
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	struct ferry_sockets socks;
	pthread_t thread;
	char port[8];
	int err;

	if (r.listener < 0 || getsockname(r.listener, (struct sockaddr *)&addr, &len))
		tap_bail("no listening socket: %s", ferry_error());
	snprintf(port, sizeof(port), "%u", ntohs(addr.sin_port));
	pthread_create(&thread, NULL, receive, &r);
	if (ferry_connect(&socks, "127.0.0.1", port, 2, LIMIT_MS))
		tap_bail("no connection: %s", ferry_error());
	err = give(dev, from, &socks);
	pthread_join(thread, NULL);
	ferry_sockets_close(&socks);
	close(r.listener);
	*sink_err = r.err;
	return err;
}

/* Both files as they were when this was built. */
extern const char readme[], source[];
__asm__(".pushsection .rodata\n"
	".global readme, source\n"
	"readme: .incbin \"../../README.md\"\n.byte 0\n"
	"source: .incbin \"readme_example.c\"\n.byte 0\n"
	".popsection");

static bool readme_shows_it(void)
{
	const char *from = strstr(source, "/* README.md shows what follows */\n");
	const char *to = strstr(source, "/* README.md has shown it */\n");
	size_t length;

	from = from ? strchr(from, '\n') + 1 : NULL;
	if (!from || !to || to < from)
		return false;
	length = to - from;
	return memmem(readme, strlen(readme), from, length);
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_kick };
	static struct vm from, to;
	struct ferry_device *dev;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), err, sink_err;
	uint16_t left_at;

	sigaction(SIGUSR1, &sa, NULL);
	if (kvm < 0 || ferry_device_open(&dev))
		tap_bail("KVM or kvm_ferry is missing: %s", ferry_error());
	vm_create(&from, kvm, "example");
	vm_create(&to, kvm, "example");
	memcpy(from.ram + CODE_AT, code, sizeof(code));
	vm_resume(&from);
	tap_check(runs_on(&from), "the guest runs at the source");

	to.ram_size = RAM_SIZE / 2;
	err = move(dev, &from, &to, &sink_err);
	tap_check(err && err != -EINPROGRESS && sink_err, "it does not move to a smaller VM");
	tap_check(runs_on(&from), "it runs on at the source");

	to.ram_size = RAM_SIZE;
	err = move(dev, &from, &to, &sink_err);
	tap_check(!err && !sink_err, "it moves to one of its size: %d, %d", err, sink_err);
	left_at = word(&from, NR_PAGES - 1);
	tap_check(runs_on(&to), "it runs on at the sink");
	vm_pause(&to);
	tap_check((uint16_t)(word(&to, 0) - left_at) < 0x8000 && word(&to, 0) != left_at,
		  "it goes on from where it was");
	tap_check(consistent(&from) && consistent(&to), "its memory is consistent");
	tap_check(word(&from, NR_PAGES - 1) == left_at, "it does not run at the source");
	tap_check(readme_shows_it(), "README.md shows this code");
	ferry_device_close(dev);
	return tap_done();
}
