/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Figures in the text format of Prometheus.
 */
#ifndef METRICS_H
#define METRICS_H

#include <stdio.h>

#include "ctl.h"

/*
 * Prints all of them. @info NULL: the module cannot be asked, which is a figure, too; there
 * are no @views then. @host NULL: it is a module that knows no limit of the host.
 */
void metrics_print(FILE *to, const struct kvm_ferry_info *info,
		   const struct kvm_ferry_host_limits *host, const struct session_view *views,
		   size_t count);

#endif /* METRICS_H */
