// SPDX-License-Identifier: GPL-2.0
/*
 * lab:
 *
 * Checks the image of the test guest's disk, from outside, after the guest has quit:
 * every block must be what the table behind them says (tests/guest/disk.h).
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../guest/disk.h"

static const char usage_text[] =
"usage: diskcheck FILE\n"
"\n"
"Checks FILE, the raw image of the test guest's disk or that disk, after the guest has\n"
"quit, and prints \"diskcheck blocks=N right=N written=N\": how many there are, were found\n"
"right, and were ever written. Status: 0 if all are right, 1 with a sentence about\n"
"the first that is not, or if there is no table; 2 for wrong usage.\n";

static int fd;

static void get(void *data, size_t size, uint64_t offset)
{
	ssize_t n = pread(fd, data, size, offset);

	if (n < 0)
		err(1, "cannot read %zu bytes at %llu", size, (unsigned long long)offset);
	if (n != (ssize_t)size)
		errx(1, "the image ends before its table: at %llu only %zd of %zu bytes are there",
		     (unsigned long long)offset, n, size);
}

/* The area's size is not known: the table says it, and is behind it. */
static struct disk_table find_table(uint64_t size)
{
	struct disk_table t;
	uint64_t at;

	for (at = DISK_MIB; at + DISK_BLOCK <= size; at += DISK_MIB) {
		get(&t, sizeof(t), at);
		if (t.mark == DISK_TABLE_MARK && t.sum == disk_table_sum(&t) &&
		    t.blocks == at / DISK_BLOCK)
			return t;
	}
	errx(1, "there is no table in the image: the guest has not quit");
}

static void explain(const struct disk_block *b, uint64_t number, uint64_t version,
		    enum disk_result r)
{
	if (r == DISK_LOST || r == DISK_DAMAGED)
		warnx("block %llu is %s: it had to carry version %llu",
		      (unsigned long long)number, disk_result_names[r],
		      (unsigned long long)version);
	else
		warnx("block %llu is %s: it had to carry version %llu, and is number %llu, version %llu, seed %llu",
		      (unsigned long long)number, disk_result_names[r],
		      (unsigned long long)version, (unsigned long long)b->number,
		      (unsigned long long)b->version, (unsigned long long)b->seed);
}

int main(int argc, char **argv)
{
	uint64_t *versions, i, right = 0, written = 0;
	struct disk_block block;
	struct disk_table t;
	off_t size;

	if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(usage_text, stdout);
		return 0;
	}
	if (argc != 2)
		errx(2, "give one image: try --help");
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	/* A disk has no size of its own; and another host may have written to it. */
	size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (size < 0)
		err(1, "cannot open %s", argv[1]);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	t = find_table(size);
	versions = malloc(t.blocks * sizeof(*versions));
	if (!versions)
		errx(1, "no memory for the versions of %llu blocks", (unsigned long long)t.blocks);
	get(versions, t.blocks * sizeof(*versions), (t.blocks + 1) * DISK_BLOCK);
	if (t.versions_sum != disk_sum(versions, t.blocks))
		errx(1, "the table is damaged: its versions do not have the sum that it says");
	for (i = 0; i < t.blocks; i++) {
		enum disk_result r;

		get(&block, sizeof(block), i * DISK_BLOCK);
		r = disk_judge(&block, i, versions[i], t.seed);
		written += versions[i] != 0;
		if (r == DISK_RIGHT)
			right++;
		else if (right == i)
			explain(&block, i, versions[i], r);
	}
	printf("diskcheck blocks=%llu right=%llu written=%llu\n", (unsigned long long)t.blocks,
	       (unsigned long long)right, (unsigned long long)written);
	return right != t.blocks;
}
