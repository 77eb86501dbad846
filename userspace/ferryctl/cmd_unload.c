// SPDX-License-Identifier: GPL-2.0-only
/*
 * unload: take the module out of the kernel, unless it is in use; then by what.
 *
 * The kernel itself refuses while a session, a channel or an open device holds the
 * module, whatever was looked at before: sessions are listed to name them, not to
 * decide. Nothing is ever forced.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "print.h"

/* The C library has it and declares it nowhere. */
int delete_module(const char *name, unsigned int flags);

static const char help[] =
	"Usage: ferryctl unload [--json]\n\n"
	"Unload the module, and kvm_ferry_rdma with it, if nothing uses it. Otherwise\n"
	"say which sessions do, change nothing and exit with 1.\n";

/* Says which sessions there are; how many. */
static size_t name_sessions(struct ferry_device *dev)
{
	struct session_view view;
	size_t count, i;
	uint64_t *ids;

	if (ferry_device_list(dev, &ids, &count))
		return 0;
	if (count)
		complain("kvm_ferry stays loaded, %zu session%s it:", count,
			 count == 1 ? " uses" : "s use");
	for (i = 0; i < count; i++) {
		/* Between two calls it may have gone: then the next attempt will do. */
		if (read_session(dev, ids[i], &view))
			complain("  session %llu", (unsigned long long)ids[i]);
		else
			complain("  session %llu (%s): %s, %s", (unsigned long long)ids[i],
				 view.stats.out_name[0] ? (const char *)view.stats.out_name : "-",
				 ferry_role_name(view.stats.out_role),
				 ferry_state_name(view.stats.out_state));
	}
	if (count)
		complain("wait until their VMMs have closed them ('ferryctl watch ID' follows one), "
			 "or end them with 'ferryctl abort ID'");
	free(ids);
	return count;
}

/* Sets *@was if the module was there at all. */
static int unload(const char *module, bool *was)
{
	/* Without O_NONBLOCK kernels of another configuration would force it. */
	*was = !delete_module(module, O_NONBLOCK);
	/* ENOSYS: a kernel that has no modules has not this one either. */
	if (*was || errno == ENOENT || errno == ENOSYS)
		return CTL_OK;
	switch (errno) {
	case EPERM:
		complain("only root (CAP_SYS_MODULE) may unload modules");
		break;
	case EAGAIN:
	case EBUSY:
		complain("%s stays loaded, something uses it: a session that began just now, or "
			 "a program that has %s open ('fuser -v %s' names it), or one of its files in "
			 "debugfs", module,
			 KVM_FERRY_DEVICE, KVM_FERRY_DEVICE);
		break;
	default:
		complain("%s cannot be unloaded: %s", module, strerror(errno));
		break;
	}
	return CTL_ERROR;
}

static int unload_both(bool *was)
{
	struct ferry_device *dev;
	size_t count;
	int ret;

	ret = ferry_device_open(&dev);
	if (ret == -EACCES || ret == -EPERM) {
		complain("%s", ferry_error());
		return CTL_NO_MODULE;
	}
	/* A module of another release lists nothing, but the kernel knows whether it is used. */
	if (!ret) {
		count = name_sessions(dev);
		ferry_device_close(dev);
		if (count)
			return CTL_ERROR;
	}
	ret = unload("kvm_ferry_rdma", was);
	return ret ? ret : unload("kvm_ferry", was);
}

int cmd_unload(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct print_ops *print = &print_text;
	bool was;
	int c, ret;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			print = &print_json;
			break;
		case 'h':
			fputs(help, stdout);
			return CTL_OK;
		default:
			return usage_error("unload", "'%s' is not understood", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return usage_error("unload", "'%s' is one argument too many", argv[optind]);
	ret = unload_both(&was);
	if (!ret)
		print->unloaded(was);
	return ret;
}
