// SPDX-License-Identifier: GPL-2.0-only
/* The guest's parameters, from the kernel's command line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "guest.h"

struct guest_params params;

static char cmdline[4096];

static void read_cmdline(void)
{
	FILE *f = fopen("/proc/cmdline", "r");
	size_t n;

	if (!f)
		die("cannot read /proc/cmdline");
	n = fread(cmdline, 1, sizeof(cmdline) - 1, f);
	cmdline[n] = '\0';
	fclose(f);
}

bool find_param(const char *name, char *value, size_t size)
{
	char key[32];
	const char *p = cmdline;
	size_t len;

	if (!cmdline[0])
		read_cmdline();
	snprintf(key, sizeof(key), "ferry.%s=", name);
	while ((p = strstr(p, key))) {
		if (p == cmdline || p[-1] == ' ') {
			p += strlen(key);
			len = strcspn(p, "\n ");
			if (len >= size)
				die("ferry.%s is too long", name);
			memcpy(value, p, len);
			value[len] = '\0';
			return true;
		}
		p++;
	}
	return false;
}

uint64_t number_param(const char *name, uint64_t otherwise)
{
	char text[32], *end;
	uint64_t n;

	if (!find_param(name, text, sizeof(text)))
		return otherwise;
	if (!strcmp(text, "max"))
		return GUEST_UNLIMITED;
	n = strtoull(text, &end, 0);
	if (end == text || *end)
		die("ferry.%s=%s is no number", name, text);
	return n;
}

static const struct load {
	const char *name;
	uint64_t rate, check;
	unsigned int ws_mib;
	bool bursts;
} loads[] = {
	{ "idle", 0, 1000, 0, false },
	{ "light", 500, 4000, 16, false },
	{ "mixed", 4000, 4000, 32, true },
	{ "heavy", GUEST_UNLIMITED, 4000, 64, false },
};

void read_params(void)
{
	const struct load *l = &loads[1];
	char name[16] = "light";
	uint64_t mib;
	unsigned int i;

	find_param("load", name, sizeof(name));
	for (i = 0; i < sizeof(loads) / sizeof(loads[0]); i++)
		if (!strcmp(loads[i].name, name))
			break;
	if (i == sizeof(loads) / sizeof(loads[0]))
		die("ferry.load=%s is none of idle, light, mixed, heavy", name);
	l = &loads[i];
	params.load = l->name;
	params.bursts = l->bursts;
	params.rate = number_param("rate", l->rate);
	params.wild = number_param("wild", 0);
	params.check = number_param("check", l->check);
	mib = number_param("mem", 64);
	if (!mib || mib > 1 << 20)
		die("ferry.mem must be 1 to 1048576 MiB");
	params.pages = mib * MIB_PAGES;
	mib = number_param("ws", l->ws_mib);
	params.ws_pages = mib * MIB_PAGES < params.pages ? mib * MIB_PAGES : params.pages;
	params.zero_pages = number_param("zero", 4) * MIB_PAGES;
	params.seed = number_param("seed", 1);
	params.tick_us = number_param("tick", 2000);
	params.report_ms = number_param("report", 300);
	params.cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (params.cpus > GUEST_MAX_CPUS)
		params.cpus = GUEST_MAX_CPUS;
	if (params.tick_us < 100 || params.tick_us > 100000 || params.report_ms < 10)
		die("ferry.tick must be 100 to 100000 us, ferry.report at least 10 ms");
}
