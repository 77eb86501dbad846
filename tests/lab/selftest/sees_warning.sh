#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: module=no kernels=6.12 expect="complained: .*WARNING: made up"
# A warning of the kernel fails a test that says it passed.
echo "<4>WARNING: made up by sees_warning" >/dev/kmsg
