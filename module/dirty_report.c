// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty source "report": the VMM says what changed, by KVM_FERRY_REPORT_*,
 * which publishes at once. There is nothing to harvest.
 */
#include "session.h"

static long report_harvest(struct ferry_session *s)
{
	return 0;
}

static int report_rearm(struct ferry_session *s, u64 most)
{
	return 0;
}

static void report_stop(struct ferry_session *s)
{
}

const struct ferry_dirty_ops ferry_dirty_report_ops = {
	.name = "report",
	.harvest = report_harvest,
	.rearm = report_rearm,
	.stop = report_stop,
};
