#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What a page costs from the ring on. $1: rounds
. /tests/lib.sh

ferrybench harvest "$1" || fail "ferrybench failed"
