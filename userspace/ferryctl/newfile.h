/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file that appears under its name as a whole, or not at all: whoever reads it
 * meanwhile has the one before.
 */
#ifndef NEWFILE_H
#define NEWFILE_H

/**
 * struct newfile - a file that is being written
 * @fd: to write to; close-on-exec
 * @path: its name once it is whole; the caller's
 * @temporary: its name until then, in the same directory
 */
struct newfile {
	int fd;
	const char *path;
	char *temporary;
};

/* 0, or -1 with errno set. */
int newfile_open(struct newfile *file, const char *path);
/* Closes it and gives it its name; 0, or -1 with errno set, and it is gone. */
int newfile_keep(struct newfile *file);
/* Closes it; nothing is left of it. */
void newfile_drop(struct newfile *file);

#endif /* NEWFILE_H */
