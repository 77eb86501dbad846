#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: module=no kernels=6.12 expect="memory did not come back"
# Memory that stays taken after a test is seen: here 24 MiB in a file system.
mkdir -p /mnt && mount -t tmpfs leak /mnt && dd if=/dev/zero of=/mnt/leak bs=1M count=24 2>/dev/null
