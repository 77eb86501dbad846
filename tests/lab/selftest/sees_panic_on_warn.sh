#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: module=no kernels=debug expect="WARNING"
# A warning ends a host with the debug kernel: panic_on_warn is in force.
echo WARNING >/sys/kernel/debug/provoke-crash/DIRECT
sleep 10
