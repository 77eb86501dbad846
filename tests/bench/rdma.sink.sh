#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The other host's part of rdma.source.sh.
. /tests/lib.sh

rounds=$2
waits_for_write() { rdma resource show cm_id | grep -q "LISTEN.*:18515"; }
ip link set eth0 mtu 9000 || fail "no MTU of 9000"
rdma_up eth0
modprobe -a ib_uverbs rdma_ucm || fail "no RDMA for programs"
share sink-listens yes
while [ "$rounds" -gt 0 ]; do
	await "write-$rounds" 60 >/dev/null
	ib_write_bw -R -F -s 1048576 -n "$1" >/tmp/perftest 2>&1 &
	server=$!
	wait_for 20 waits_for_write
	share "listens-$rounds" yes
	wait "$server" || fail "ib_write_bw: $(cat /tmp/perftest)"
	ferrybench sink 7100 || fail "the sink failed"
	rounds=$((rounds - 1))
done
meet over 60
rdma_down
