// SPDX-License-Identifier: GPL-2.0
/*
 * keepawake PORT: makes every processor take an interrupt for each pulse that
 * comes through PORT.
 *
 * QEMU's TCG loses an interrupt now and then while a guest of KVM runs: VMRUN
 * sets a bit of the processor's pending requests without the lock that others
 * hold who set one there (helper_vmrun(); mended in later releases). The
 * request is gone, though the APIC still has the interrupt. If it was the timer
 * of a processor that then halts, the host sleeps for ever. Any other interrupt
 * makes QEMU look into the APIC again. So the lab sends pulses; the processor
 * that takes a pulse passes it on to the others.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_CPUS 64

/* Sleeps on its own processor until it is woken there. */
static void sleeper(int cpu, int from)
{
	cpu_set_t set;
	char byte;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		perror("keepawake: sched_setaffinity");
	while (read(from, &byte, 1) > 0)
		;
	_exit(0);
}

int main(int argc, char **argv)
{
	int cpus = sysconf(_SC_NPROCESSORS_ONLN), to[MAX_CPUS], i;
	int port = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	char bytes[64];

	if (port < 0) {
		fprintf(stderr, "usage: keepawake PORT\n");
		return 2;
	}
	if (cpus > MAX_CPUS)
		cpus = MAX_CPUS;
	for (i = 0; i < cpus; i++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC)) {
			perror("keepawake: pipe");
			return 1;
		}
		switch (fork()) {
		case -1:
			perror("keepawake: fork");
			return 1;
		case 0:
			/* Or it would not see the end of the pipe. */
			close(ends[1]);
			sleeper(i, ends[0]);
		}
		close(ends[0]);
		to[i] = ends[1];
	}
	while (read(port, bytes, sizeof(bytes)) > 0)
		for (i = 0; i < cpus; i++)
			if (write(to[i], "", 1) != 1)
				return 1;
	return 0;
}
