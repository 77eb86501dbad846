// SPDX-License-Identifier: GPL-2.0-only
/*
 * What comes and goes while the guest runs.
 *
 * "cpu on N" on the console waits until there is a vCPU N, has the kernel use it, and says
 * "cpu N is on". "vram turn" takes the VGA's memory out of the address space and puts it
 * back, by the command register of PCI, then writes a part of it, and says "vram written
 * N"; "vram check" reads that part, and says "vram right N" if it is as it was written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "guest.h"

#define CPU_MS		30000
#define VGA		"/sys/bus/pci/devices/0000:00:01.0/"
#define COMMAND		4	/* where it is in the configuration space */
#define COMMAND_MEMORY	2
#define VRAM		(16UL << 20)
#define PART		(8UL << 20)	/* begins here: far from what is seen */
#define PART_WORDS	(64 * GUEST_WORDS)

static void write_cpu(unsigned int cpu)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || (write(fd, "1", 1) != 1 && errno != EINVAL))
		die("%s: %s", path, strerror(errno));
	close(fd);
}

static bool is_there(void *path)
{
	return !access(path, F_OK);
}

void cpu_obey(const char *what)
{
	char path[64];
	unsigned int cpu;

	if (sscanf(what, "on %u", &cpu) != 1)
		return;
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	if (!wait_until(is_there, path, CPU_MS)) {
		say("there is no vCPU %u", cpu);
		return;
	}
	write_cpu(cpu);
	say("cpu %u is on", cpu);
}

static void decode(int fd, bool on)
{
	uint16_t command;

	if (pread(fd, &command, 2, COMMAND) != 2)
		die(VGA "config: %s", strerror(errno));
	command = on ? command | COMMAND_MEMORY : command & ~COMMAND_MEMORY;
	if (pwrite(fd, &command, 2, COMMAND) != 2)
		die(VGA "config: %s", strerror(errno));
}

static volatile uint64_t *map_vram(void)
{
	int fd = open(VGA "resource0", O_RDWR | O_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd >= 0)
		p = mmap(NULL, VRAM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die(VGA "resource0: %s", strerror(errno));
	close(fd);
	return (void *)((char *)p + PART);
}

void vram_obey(const char *what)
{
	static volatile uint64_t *part;
	static uint64_t turn;
	unsigned long i;
	int fd;

	if (!part)
		part = map_vram();
	if (!strcmp(what, "check")) {
		for (i = 0; i < PART_WORDS && part[i] == mix(turn << 32 | i); i++)
			;
		if (i < PART_WORDS)
			shout("kind=vram word=%lu holds=%llx", i, (unsigned long long)part[i]);
		else
			say("vram right %llu", (unsigned long long)turn);
		return;
	}
	fd = open(VGA "config", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(VGA "config: %s", strerror(errno));
	decode(fd, false);
	decode(fd, true);
	close(fd);
	turn++;
	for (i = 0; i < PART_WORDS; i++)
		part[i] = mix(turn << 32 | i);
	__builtin_ia32_sfence();
	say("vram written %llu", (unsigned long long)turn);
}
