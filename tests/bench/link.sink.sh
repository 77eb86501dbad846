#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The other host's part of link.source.sh.
. /tests/lib.sh

rounds=$2
iperf3 -s >/tmp/iperf 2>&1 &
server=$!
wait_for 20 listens 5201
share sink-listens yes
while [ "$rounds" -gt 0 ]; do
	ferrybench sink 7100 || fail "the sink failed"
	rounds=$((rounds - 1))
done
meet over 60
kill "$server"
