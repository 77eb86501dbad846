#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: module=no kernels=6.12 expect="(ended|answer)"
# A host that dies fails the test that it was running, and only that one.
echo c >/proc/sysrq-trigger
sleep 10
