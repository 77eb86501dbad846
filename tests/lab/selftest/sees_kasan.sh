#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: module=no kernels=debug expect="KASAN: slab-use-after-free"
# The debug kernel notices a use of freed memory, and the host ends with it.
echo READ_AFTER_FREE >/sys/kernel/debug/provoke-crash/DIRECT
