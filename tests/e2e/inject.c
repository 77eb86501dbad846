// SPDX-License-Identifier: GPL-2.0
/* The kernel's fault injection (no test itself). */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "inject.h"
#include "tap.h"

#define DEBUGFS "/sys/kernel/debug"

/**
 * struct kind - one of the kernel's injectors
 * @dir: below debugfs
 * @count: of what it has seen so far, as the kernel counts. It cannot be read
 *	there; it is known after each failure that was met
 */
static struct kind {
	const char *dir;
	unsigned long count;
	unsigned long interval;
} kinds[INJECT_KINDS] = {
	[INJECT_SLAB] = { .dir = "failslab" },
	[INJECT_PAGE] = { .dir = "fail_page_alloc" },
	[INJECT_COPY] = { .dir = "fail_usercopy" },
};

const char *inject_name(enum inject_kind kind)
{
	return kinds[kind].dir;
}

__attribute__((format(printf, 3, 4)))
static void set(enum inject_kind kind, const char *file, const char *fmt, ...)
{
	char path[128];
	va_list args;
	FILE *f;

	snprintf(path, sizeof(path), DEBUGFS "/%s/%s", kinds[kind].dir, file);
	f = fopen(path, "w");
	if (!f)
		tap_bail("%s is not there: is this the debug kernel?", path);
	va_start(args, fmt);
	vfprintf(f, fmt, args);
	va_end(args);
	if (fclose(f))
		tap_bail("%s cannot be written", path);
}

/* The module's code lies between its first and its last function. */
static void find_text(uint64_t *start, uint64_t *end)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[512], type, where[64];
	unsigned long long addr;

	*start = UINT64_MAX;
	*end = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %c %*s %63s", &addr, &type, where) != 3 ||
		    strcmp(where, "[kvm_ferry]") || (type != 't' && type != 'T'))
			continue;
		*start = addr < *start ? addr : *start;
		*end = addr > *end ? addr : *end;
	}
	if (f)
		fclose(f);
	if (!*end)
		tap_bail("/proc/kallsyms does not tell where kvm_ferry is");
	*end = (*end | 4095) + 1;
}

void inject_open(void)
{
	enum inject_kind kind;
	uint64_t start, end;

	find_text(&start, &end);
	for (kind = 0; kind < INJECT_KINDS; kind++) {
		set(kind, "times", "0");
		set(kind, "probability", "100");
		set(kind, "interval", "1");
		set(kind, "verbose", "0");
		set(kind, "stacktrace-depth", "32");
		set(kind, "require-start", "0x%llx", (unsigned long long)start);
		set(kind, "require-end", "0x%llx", (unsigned long long)end);
	}
	set(INJECT_SLAB, "ignore-gfp-wait", "N");
	set(INJECT_PAGE, "ignore-gfp-wait", "N");
	set(INJECT_PAGE, "ignore-gfp-highmem", "N");
	set(INJECT_PAGE, "min-order", "0");
}

/*
 * What fails is what makes the kernel's count a multiple of the interval; with
 * an interval of 1 it does not count.
 */
void inject_arm(enum inject_kind kind, unsigned int nth)
{
	struct kind *k = &kinds[kind];

	k->interval = nth == 1 ? 1 : k->count + nth;
	set(kind, "interval", "%lu", k->interval);
	set(kind, "times", "1");
}

bool inject_met(enum inject_kind kind)
{
	char path[128];
	int left = -1;
	FILE *f;

	snprintf(path, sizeof(path), DEBUGFS "/%s/times", kinds[kind].dir);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%d", &left) != 1)
		tap_bail("%s cannot be read", path);
	fclose(f);
	return !left;
}

bool inject_disarm(enum inject_kind kind)
{
	struct kind *k = &kinds[kind];
	bool met = inject_met(kind);

	set(kind, "times", "0");
	if (met && k->interval > 1)
		k->count = k->interval;
	return met;
}
