#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: module=no
# An int3 that has gone before it is handled does not end an emulated host (see
# host/kmod/lab_int3.c), and text is still patched while the other processor runs it.
. /tests/lib.sh
grep -q "lab.emulated=1" /proc/cmdline || skip "this host is not emulated"

mended=$(cat /sys/module/lab_int3/parameters/mended) || fail "lab_int3 is not loaded"
[ "$mended" -ge 1 ] || fail "lab_int3 did not pass its self-test"
(while :; do usleep 100; done) &
for value in 1 0 1 0 1 0 1 0; do
	echo $value >/proc/sys/kernel/sched_schedstats || fail "no sched_schedstats"
done
echo "lab_int3 was needed $(($(cat /sys/module/lab_int3/parameters/mended) - 1)) times"
