#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: module=no kernels=6.12 expect="exit status 3"
# A test that fails is seen to fail.
exit 3
