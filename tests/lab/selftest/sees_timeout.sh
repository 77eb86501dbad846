#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: module=no kernels=6.12 timeout=3 expect="not done after 3 s"
# A test that hangs, with a child that has left its session, is ended.
setsid sleep 1000 &
sleep 1000
