#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: module=no kernels=debug alone=yes leaks=yes dmesg="kmemleak: "
# The debug kernel notices memory that was lost, here by a sample of its own.
modprobe kmemleak-test && rmmod kmemleak-test
