// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that a device writes: a thread reads /dev/vda into it without the page
 * cache, a MiB at a time, from random places to random places. That takes hardly
 * any of the guest's time, and no page fault, whatever is logged meanwhile: so a
 * guest makes pages dirty much faster by its disk than by its vCPUs.
 *
 *   ferry.reads=MiB      of such memory; ferry.rate says how many pages a second are read.
 *			  They count as writes. Nobody checks what they hold.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"

#define PATH		"/dev/vda"
#define DEVICE_MS	10000	/* until there is a device */
#define RUN_BYTES	(1 << 20)
#define RUN_PAGES	(RUN_BYTES / GUEST_PAGE)
#define SLICE_NS	1000000

static struct {
	int fd;
	uint64_t starts;	/* pages of the disk at which a run may begin */
	uint64_t runs;		/* that the memory has room for */
	char *area;
} reader;

static void read_run(uint64_t to, uint64_t chance)
{
	ssize_t n = pread(reader.fd, reader.area + to * RUN_BYTES, RUN_BYTES,
			  chance % reader.starts * GUEST_PAGE);

	if (n != RUN_BYTES)
		die("ferry.reads: " PATH " gave %zd bytes: %s", n, n < 0 ? strerror(errno) : "");
}

static void *reader_main(void *arg)
{
	struct budget budget = { .rate = params.rate, .since_ns = now_ns() };
	uint64_t chance = mix(params.seed);

	(void)arg;
	for (;;) {
		if (budget_due(&budget, now_ns()) < RUN_PAGES) {
			struct timespec rest = { .tv_nsec = SLICE_NS };

			clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
			continue;
		}
		chance = mix(chance);
		read_run(chance % reader.runs, chance >> 32);
		budget.done += RUN_PAGES;
		totals.writes += RUN_PAGES;
	}
	return NULL;
}

static bool open_disk(void *arg)
{
	(void)arg;
	reader.fd = open(PATH, O_RDONLY | O_DIRECT | O_CLOEXEC);
	return reader.fd >= 0;
}

void reader_start(void)
{
	uint64_t mib = number_param("reads", 0), size = 0, i;

	if (!mib)
		return;
	if (mib > 1 << 20)
		die("ferry.reads must be 1 to 1048576 MiB");
	if (!wait_until(open_disk, NULL, DEVICE_MS))
		die("ferry.reads: cannot open " PATH ": %s", strerror(errno));
	if (ioctl(reader.fd, BLKGETSIZE64, &size) || size < RUN_BYTES)
		die("ferry.reads needs a disk of a MiB at least");
	reader.starts = (size - RUN_BYTES) / GUEST_PAGE + 1;
	reader.runs = mib;
	reader.area = mmap(NULL, mib * RUN_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (reader.area == MAP_FAILED)
		die("no memory for ferry.reads=%llu", (unsigned long long)mib);
	for (i = 0; i < mib; i++)
		read_run(i, mix(i));
	start_thread(reader_main, params.cpus - 1, "reader", 0);
}
