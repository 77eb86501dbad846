// SPDX-License-Identifier: GPL-2.0-only
/*
 * A stock kernel has most drivers as modules. Where the machine has devices that
 * the guest shall use, an archive in front of the initrd carries them, unpacked:
 * /modules/order names the files in /modules, one a line, those that others need
 * first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "guest.h"

static void load(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/modules/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("cannot open %s: %s", path, strerror(errno));
	/* The machine may lack what a driver is for: that is no reason to stop. */
	if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST && errno != ENODEV)
		die("cannot load %s: %s", path, strerror(errno));
	close(fd);
}

void modules_load(void)
{
	FILE *order = fopen("/modules/order", "r");
	char name[100];

	if (!order)
		return;
	while (fgets(name, sizeof(name), order)) {
		name[strcspn(name, "\n")] = '\0';
		if (name[0])
			load(name);
	}
	fclose(order);
}
