// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's disk, /dev/vda: a thread writes blocks there, at random places, and
 * reads others back. What must be in them it knows from its own table of versions,
 * in memory: if memory moves, and the disk does not hold what it says, one of the
 * two was not handed over rightly. The page cache is not used.
 *
 *   ferry.disk=MiB       that are used; the image is zero at first, and a little
 *			  larger, since the table is put behind them
 *   ferry.disk.rate=N    blocks of 4 KiB written a second, and about as many read
 *   ferry.disk.seed=N    of places and patterns
 *
 * "disk flush" on the console stops the writing, flushes, checks every block, writes
 * the table, says "disk flushed writes=N checked=N errors=N" (blocks written since
 * the start, blocks checked just now, errors of the disk since the start), and goes
 * on, which takes the table away again. "quit" does the same and does not go on:
 * tests/qemu/diskcheck can then check the image from outside.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "disk.h"
#include "guest.h"

#define PATH		"/dev/vda"
#define DEVICE_MS	10000	/* until there is a device */
#define RUN		16	/* the most blocks in one request */
#define SYNC_EVERY	64	/* writes to a flush, about */
#define SLICE_NS	2000000

static struct {
	/* of the thread */
	int fd;
	uint64_t blocks, seed, rate;
	uint64_t *versions;
	struct disk_block *buffer;	/* RUN of them */
	bool table_there;
	/* of all */
	_Atomic uint64_t writes, checked, errors;
	_Atomic bool flush, quit;
	sem_t quiet;			/* nothing more comes, after a quit */
} disk;

static const char *block_name(char *text, size_t size, uint64_t number)
{
	const struct disk_block *b = &disk.buffer[number];

	snprintf(text, size, "number=%llu version=%llu seed=%llu", (unsigned long long)b->number,
		 (unsigned long long)b->version, (unsigned long long)b->seed);
	return text;
}

static bool transfer(bool write, void *data, uint64_t offset, size_t size)
{
	ssize_t n = write ? pwrite(disk.fd, data, size, offset) :
		    pread(disk.fd, data, size, offset);

	if (n == (ssize_t)size)
		return true;
	disk.errors++;
	shout("kind=disk %s %zu bytes at %llu: %s", write ? "write" : "read", size,
	      (unsigned long long)offset, n < 0 ? strerror(errno) : "not all of them");
	return false;
}

static void sync_disk(void)
{
	if (!fdatasync(disk.fd))
		return;
	disk.errors++;
	shout("kind=disk flush: %s", strerror(errno));
}

static void write_run(uint64_t first, unsigned int count)
{
	unsigned int i;

	if (disk.table_there) {
		/* Nobody shall take it for what the blocks hold from now on. */
		memset(disk.buffer, 0, DISK_BLOCK);
		transfer(true, disk.buffer, disk.blocks * DISK_BLOCK, DISK_BLOCK);
		disk.table_there = false;
	}
	for (i = 0; i < count; i++)
		disk_fill(&disk.buffer[i], first + i, ++disk.versions[first + i], disk.seed);
	transfer(true, disk.buffer, first * DISK_BLOCK, count * DISK_BLOCK);
	disk.writes += count;
}

/* Returns how many blocks were looked at. */
static unsigned int check_run(uint64_t first, unsigned int count)
{
	unsigned int i;
	char text[80];

	if (!transfer(false, disk.buffer, first * DISK_BLOCK, count * DISK_BLOCK))
		return 0;
	for (i = 0; i < count; i++) {
		uint64_t version = disk.versions[first + i];
		enum disk_result r;

		r = disk_judge(&disk.buffer[i], first + i, version, disk.seed);
		if (r == DISK_RIGHT)
			continue;
		disk.errors++;
		shout("kind=disk block=%llu version=%llu is %s: %s",
		      (unsigned long long)(first + i), (unsigned long long)version,
		      disk_result_names[r], block_name(text, sizeof(text), i));
	}
	disk.checked += count;
	return count;
}

static void write_table(void)
{
	uint64_t offset = disk.blocks * DISK_BLOCK, size = disk_table_bytes(disk.blocks);
	struct disk_table t = { .mark = DISK_TABLE_MARK, .blocks = disk.blocks,
				.seed = disk.seed, .writes = disk.writes };

	t.versions_sum = disk_sum(disk.versions, disk.blocks);
	t.sum = disk_table_sum(&t);
	transfer(true, disk.versions, offset + DISK_BLOCK, size - DISK_BLOCK);
	memset(disk.buffer, 0, DISK_BLOCK);
	memcpy(disk.buffer, &t, sizeof(t));
	transfer(true, disk.buffer, offset, DISK_BLOCK);
	disk.table_there = true;
	sync_disk();
}

static void flush_all(void)
{
	uint64_t first, checked = 0, left;

	sync_disk();
	for (first = 0; first < disk.blocks; first += RUN) {
		left = disk.blocks - first;
		checked += check_run(first, left < RUN ? left : RUN);
	}
	write_table();
	say("disk flushed writes=%llu checked=%llu errors=%llu", (unsigned long long)disk.writes,
	    (unsigned long long)checked, (unsigned long long)disk.errors);
}

static void *disk_main(void *arg)
{
	struct budget budget = { .rate = disk.rate, .since_ns = now_ns() };
	/* Never more at a time than may be done in a second. */
	unsigned int most = disk.rate < RUN ? disk.rate : RUN, count;
	uint64_t chance = mix(disk.seed), first;

	(void)arg;
	for (;;) {
		bool quit = disk.quit;

		if (quit || atomic_exchange(&disk.flush, false))
			flush_all();
		if (quit)
			break;
		count = 1 + chance % most;
		if (budget_due(&budget, now_ns()) < count) {
			struct timespec rest = { .tv_nsec = SLICE_NS };

			clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
			continue;
		}
		first = (chance >> 8) % (disk.blocks - count + 1);
		write_run(first, count);
		budget.done += count;
		chance = mix(chance);
		if (!(chance % SYNC_EVERY))
			sync_disk();
		count = 1 + (chance >> 8) % RUN;
		check_run((chance >> 16) % (disk.blocks - count + 1), count);
		chance = mix(chance);
	}
	sem_post(&disk.quiet);
	return NULL;
}

static bool open_disk(void *arg)
{
	(void)arg;
	disk.fd = open(PATH, O_RDWR | O_DIRECT | O_CLOEXEC);
	return disk.fd >= 0;
}

static void *aligned(uint64_t size)
{
	void *p;

	if (posix_memalign(&p, DISK_BLOCK, size))
		die("no memory for the disk's table");
	memset(p, 0, size);
	return p;
}

void disk_start(void)
{
	uint64_t mib = number_param("disk", 0), size, need;

	if (!mib)
		return;
	if (mib > 1 << 20)
		die("ferry.disk must be 1 to 1048576 MiB");
	disk.blocks = mib * (DISK_MIB / DISK_BLOCK);
	disk.rate = number_param("disk.rate", 100);
	disk.seed = number_param("disk.seed", params.seed);
	if (!disk.rate)
		die("ferry.disk.rate must be at least 1");
	if (!wait_until(open_disk, NULL, DEVICE_MS))
		die("ferry.disk: cannot open " PATH ": %s", strerror(errno));
	need = disk.blocks * DISK_BLOCK + disk_table_bytes(disk.blocks);
	if (ioctl(disk.fd, BLKGETSIZE64, &size) || size < need)
		die("ferry.disk=%llu needs a disk of %llu bytes", (unsigned long long)mib,
		    (unsigned long long)need);
	disk.versions = aligned(disk_table_bytes(disk.blocks) - DISK_BLOCK);
	disk.buffer = aligned(RUN * DISK_BLOCK);
	sem_init(&disk.quiet, 0, 0);
	start_thread(disk_main, params.cpus - 1, "disk", 0);
}

void disk_flush(void)
{
	if (disk.blocks)
		disk.flush = true;
	else
		say("there is no ferry.disk");
}

void disk_quit(void)
{
	if (!disk.blocks)
		return;
	disk.quit = true;
	while (sem_wait(&disk.quiet))
		;
}

int disk_report(char *text, size_t size)
{
	if (!disk.blocks)
		return 0;
	return snprintf(text, size, "disk_writes=%llu disk_checked=%llu ",
			(unsigned long long)disk.writes, (unsigned long long)disk.checked);
}
