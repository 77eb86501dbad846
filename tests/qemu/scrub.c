// SPDX-License-Identifier: GPL-2.0
/*
 * scrub: has all memory that is free cleared once, and gives it back.
 *
 * For an emulated host a guest's memory holds code that the emulator (TCG) has translated. Who
 * writes there later, another guest that arrives for one, pays for throwing the translations
 * away: seconds for those of a guest that has booted. That belongs to the end of that guest.
 */
#include <err.h>
#include <stdio.h>
#include <sys/mman.h>

#define SPARE_KIB	(64 << 10)	/* stays for everybody else */
#define LEAST_KIB	(16 << 10)

static long free_kib(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long kib = 0;

	if (!f)
		err(1, "/proc/meminfo");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemFree: %ld", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

int main(void)
{
	long kib = free_kib() - SPARE_KIB;
	void *all;

	if (kib < LEAST_KIB)
		return 0;
	/* The kernel clears what it gives to a process: to ask for it is enough. */
	all = mmap(NULL, kib << 10, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (all == MAP_FAILED)
		err(1, "%ld KiB", kib);
	return 0;
}
