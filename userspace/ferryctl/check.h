/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What 'ferryctl check' looks at.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>

enum check_status {
	CHECK_OK,
	CHECK_WARN,	/* works, but slower or not yet */
	CHECK_FAIL,	/* migrations cannot work */
};

struct check {
	enum check_status status;
	char name[32];
	char detail[256];	/* what was found */
	char advice[384];	/* what to change; "" if nothing */
};

#define MAX_CHECKS 64

struct check_list {
	struct check checks[MAX_CHECKS];
	unsigned int count;
};

/* Adds a check; the ones beyond MAX_CHECKS are dropped. @advice may be NULL. */
void check_add(struct check_list *list, enum check_status status, const char *name,
	       const char *advice, const char *detail, ...)
	__attribute__((format(printf, 5, 6)));
enum check_status check_worst(const struct check_list *list);

/* Each adds what it finds. */
void check_kernel(struct check_list *list);
void check_module(struct check_list *list);
void check_kvm(struct check_list *list);
void check_hugepages(struct check_list *list);
void check_network(struct check_list *list);
void check_rdma(struct check_list *list);

/* Whether modprobe would find it for this kernel. @name as in lsmod. */
bool module_installed(const char *name);
/* The first line of a small file without its newline; false if it cannot be read. */
bool read_line(const char *path, char *buf, unsigned int room);

#endif /* CHECK_H */
