#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Makes an emulated host a machine that is reached by ssh (labkit/remotetest.py), until
# /run/over is there.
. /tests/lib.sh

ip addr add 10.0.2.15/24 dev eth1 || fail "no second card"
ip link set eth1 up
mkdir -p /root/.ssh
cp /lab/authorized_keys /root/.ssh/
chmod 700 /root /root/.ssh
rm -f /run/over
dropbear -F -E -s -p 22 -r /lab/hostkey &
wait_for "$1" [ -e /run/over ]
kill $!
