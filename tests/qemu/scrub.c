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

/* Stays for everybody else. The kernel keeps up to 83 MiB of 1.5 GiB for itself for a while. */
#define SPARE_KIB	(160 << 10)
#define PIECE		(16UL << 20)

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
	size_t length = (size_t)free_kib() << 10, done;
	char *all;

	/* Somebody else may take memory meanwhile: a piece at a time, as long as there is some. */
	all = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (all == MAP_FAILED)
		err(1, "%zu bytes", length);
	for (done = 0; done + PIECE <= length && free_kib() > SPARE_KIB; done += PIECE)
		/* The kernel clears what it gives to a process: to ask for it is enough. */
		if (madvise(all + done, PIECE, MADV_POPULATE_WRITE))
			err(1, "a piece at %zu", done);
	return 0;
}
