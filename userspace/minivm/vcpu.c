// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPU threads: run, handle exits, park when the VM is held.
 *
 * To park, a vCPU must be out of KVM_RUN with nothing half done: an I/O exit is
 * complete only when KVM_RUN was entered once more, so a vCPU that is asked to
 * park while it owes that enters KVM_RUN with immediate_exit set, which
 * finishes the instruction and returns without running the guest.
 *
 * Lock order: vm->lock before serial.lock; nothing is held over KVM_RUN or
 * ferry_vcpu_exit().
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include "ferry.h"
#include "minivm.h"

#define KICK_SIGNAL	SIGUSR1
#define KICK_AGAIN_NS	(5 * 1000 * 1000)

static void on_kick(int sig)
{
	(void)sig;	/* it has done its work by interrupting a system call */
}

static void stop_vm(struct vm *vm, int status)
{
	pthread_mutex_lock(&vm->lock);
	vm->stopped = true;
	vm->exit_status = status;
	pthread_mutex_unlock(&vm->lock);
	vm_wake(vm);
}

/*
 * Waits while the VM is held. Returns false when the thread must end. @owes: an
 * exit is not complete yet, so enter KVM_RUN first (it returns at once).
 */
static bool may_run(struct vcpu *v, bool owes)
{
	struct vm *vm = v->vm;
	bool go;

	pthread_mutex_lock(&vm->lock);
	while (vm->hold && !vm->quit && !owes) {
		if (!v->parked) {
			v->parked = true;
			pthread_cond_broadcast(&vm->cond);
		}
		pthread_cond_wait(&vm->cond, &vm->lock);
	}
	go = !vm->quit;
	if (!vm->hold) {
		v->parked = false;
		v->run->immediate_exit = 0;
	}
	pthread_mutex_unlock(&vm->lock);
	return go;
}

static bool handle_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t i;

	for (i = 0; i < run->io.count; i++, data += run->io.size) {
		if (!port_io(v->vm, run->io.port, run->io.direction == KVM_EXIT_IO_OUT,
			     run->io.size, data)) {
			stop_vm(v->vm, 0);
			return false;
		}
	}
	return true;
}

static bool fail_vcpu(struct vcpu *v, const char *what, uint64_t detail)
{
	struct kvm_regs regs = { 0 };

	ioctl(v->fd, KVM_GET_REGS, &regs);
	warnx("vCPU %u stopped: %s (%#llx) at rip %#llx", v->index, what,
	      (unsigned long long)detail, (unsigned long long)regs.rip);
	stop_vm(v->vm, 1);
	return false;
}

/* Returns false when the guest is at its end. */
static bool handle_exit(struct vcpu *v, bool *owes)
{
	struct kvm_run *run = v->run;
	int action = ferry_vcpu_exit(v->ring, run->exit_reason);

	switch (action) {
	case FERRY_VCPU_OTHER:
		break;
	case FERRY_VCPU_REENTER:
	case FERRY_VCPU_SIGNAL:
		return true;
	case FERRY_VCPU_REAP:
		/* A new session may just have been given the rings: it reaps then. */
		action = vm_reap_rings(v->vm);
		if (action && action != -EBUSY)
			return fail_vcpu(v, "the dirty ring is full and cannot be reset", -action);
		return true;
	default:
		migration_fail(v->vm, "a vCPU cannot wait for its dirty ring");
		return true;
	}

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		*owes = true;
		return handle_io(v);
	case KVM_EXIT_MMIO:
		*owes = true;
		if (!run->mmio.is_write)
			memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SHUTDOWN:
	case KVM_EXIT_SYSTEM_EVENT:
		stop_vm(v->vm, 0);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		return fail_vcpu(v, "the processor refused to enter the guest",
				 run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		return fail_vcpu(v, "KVM met an internal error", run->internal.suberror);
	default:
		return fail_vcpu(v, "unexpected exit", run->exit_reason);
	}
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	bool owes = false;

	while (may_run(v, owes)) {
		int ret = ioctl(v->fd, KVM_RUN, 0);

		owes = false;
		if (!ret) {
			if (!handle_exit(v, &owes))
				break;
		} else if (errno != EINTR && errno != EAGAIN) {
			fail_vcpu(v, "KVM_RUN failed", errno);
			break;
		}
	}
	pthread_mutex_lock(&v->vm->lock);
	v->parked = true;
	pthread_cond_broadcast(&v->vm->cond);
	pthread_mutex_unlock(&v->vm->lock);
	return NULL;
}

void vcpus_start(struct vm *vm)
{
	struct sigaction sa = { .sa_handler = on_kick };
	sigset_t kick, old;
	unsigned int i;

	sigaction(KICK_SIGNAL, &sa, NULL);
	/* Only the kick reaches these threads; all else is the main loop's. */
	sigfillset(&kick);
	sigdelset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &kick, &old);
	for (i = 0; i < vm->nr_vcpus; i++) {
		struct vcpu *v = &vm->vcpus[i];
		char name[16];

		if (pthread_create(&v->thread, NULL, vcpu_main, v))
			errx(1, "cannot start the thread of vCPU %u", i);
		v->started = true;
		snprintf(name, sizeof(name), "vcpu%u", i);
		pthread_setname_np(v->thread, name);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/*
 * Kicks until all are parked. Once is not enough: a signal that comes just
 * before a thread sleeps in the kernel for its full ring does not wake it.
 */
static void park_all_locked(struct vm *vm)
{
	for (;;) {
		struct timespec until;
		unsigned int i, left = 0;

		for (i = 0; i < vm->nr_vcpus; i++) {
			struct vcpu *v = &vm->vcpus[i];

			if (!v->started || v->parked)
				continue;
			v->run->immediate_exit = 1;
			pthread_kill(v->thread, KICK_SIGNAL);
			left++;
		}
		if (!left)
			return;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += KICK_AGAIN_NS;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		pthread_cond_timedwait(&vm->cond, &vm->lock, &until);
	}
}

/* Returns when no vCPU is in KVM_RUN. The run state is the caller's to set. */
void vm_pause(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->hold = true;
	park_all_locked(vm);
	pthread_mutex_unlock(&vm->lock);
}

void vm_resume(struct vm *vm)
{
	unsigned int i;

	/* Tells the guest's watchdogs; EINVAL where the guest uses no kvmclock. */
	for (i = 0; i < vm->nr_vcpus; i++)
		ioctl(vm->vcpus[i].fd, KVM_KVMCLOCK_CTRL, 0);
	pthread_mutex_lock(&vm->lock);
	vm->hold = false;
	vm->run_state = MV_RUNNING;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
}

void vcpus_join(struct vm *vm)
{
	unsigned int i;

	pthread_mutex_lock(&vm->lock);
	vm->hold = true;
	vm->quit = true;
	pthread_cond_broadcast(&vm->cond);
	park_all_locked(vm);
	pthread_mutex_unlock(&vm->lock);
	for (i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpus[i].started)
			pthread_join(vm->vcpus[i].thread, NULL);
}

enum mv_run_state vm_run_state(struct vm *vm)
{
	enum mv_run_state state;

	pthread_mutex_lock(&vm->lock);
	state = vm->run_state;
	pthread_mutex_unlock(&vm->lock);
	return state;
}

void vm_set_run_state(struct vm *vm, enum mv_run_state state)
{
	pthread_mutex_lock(&vm->lock);
	vm->run_state = state;
	pthread_mutex_unlock(&vm->lock);
	vm_wake(vm);
}
