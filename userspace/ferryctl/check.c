// SPDX-License-Identifier: GPL-2.0-only
/*
 * The list that checks are gathered in.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

void check_add(struct check_list *list, enum check_status status, const char *name,
	       const char *advice, const char *detail, ...)
{
	struct check *c;
	va_list args;

	if (list->count == MAX_CHECKS)
		return;
	c = &list->checks[list->count++];
	c->status = status;
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->advice, sizeof(c->advice), "%s", advice ? advice : "");
	va_start(args, detail);
	vsnprintf(c->detail, sizeof(c->detail), detail, args);
	va_end(args);
}

enum check_status check_worst(const struct check_list *list)
{
	enum check_status worst = CHECK_OK;
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (list->checks[i].status > worst)
			worst = list->checks[i].status;
	return worst;
}

bool read_line(const char *path, char *buf, unsigned int room)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fgets(buf, (int)room, f);
	fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = 0;
	return ok;
}
