// SPDX-License-Identifier: GPL-2.0
/*
 * holdvm PROGRAM ARGS: creates a VM, and becomes PROGRAM with the VM's fd open.
 *
 * KVM rewrites kernel code when the first VM comes and when the last one goes
 * (the static key of the preemption notifiers). QEMU's TCG with several threads
 * has no cross-modifying code as processors have it: once in a while another
 * vCPU runs into the half-written instruction, and the host dies of an int3 in
 * the scheduler. PID 1 therefore holds a VM as long as an emulated host lives.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define HELD_FD	9

int main(int argc, char **argv)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	/* Without KVM the tests that need it say so. */
	if (vm < 0)
		perror("holdvm: no VM");
	else if (dup2(vm, HELD_FD) < 0)
		perror("holdvm: dup2");
	if (vm >= 0)
		close(vm);
	if (argc > 1)
		execv(argv[1], argv + 1);
	perror("holdvm: exec");
	return 1;
}
