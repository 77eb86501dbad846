#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# record.sh COMMAND...: records all of kvm-ferry's tracepoints into ferry.dat while COMMAND runs.
# The monotonic clock is the one that all processors, and bpftrace's nsecs, share.
exec trace-cmd record -q -C mono -o ferry.dat -e kvm_ferry "$@"
