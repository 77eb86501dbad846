// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files that appear as a whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "newfile.h"

int newfile_open(struct newfile *file, const char *path)
{
	mode_t mask = umask(0);
	int error;

	umask(mask);
	file->path = path;
	/* Behind the suffix: a collector of *.prom does not take it for one. */
	if (asprintf(&file->temporary, "%s.XXXXXX", path) < 0) {
		errno = ENOMEM;
		return -1;
	}
	file->fd = mkostemp(file->temporary, O_CLOEXEC);
	if (file->fd < 0) {
		error = errno;
		free(file->temporary);
		errno = error;
		return -1;
	}
	/* mkostemp() makes it for its owner alone. */
	fchmod(file->fd, 0666 & ~mask);
	return 0;
}

void newfile_drop(struct newfile *file)
{
	if (file->fd >= 0)
		close(file->fd);
	unlink(file->temporary);
	free(file->temporary);
}

int newfile_keep(struct newfile *file)
{
	int error = 0;

	/* On the disk before its name is: a crash leaves the old one or this. */
	if (fsync(file->fd) && errno != EINVAL && errno != EROFS)
		error = errno;
	if (close(file->fd) && !error)
		error = errno;
	file->fd = -1;
	if (!error && rename(file->temporary, file->path))
		error = errno;
	if (error) {
		newfile_drop(file);
		errno = error;
		return -1;
	}
	free(file->temporary);
	return 0;
}
