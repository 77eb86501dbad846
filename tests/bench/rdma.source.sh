#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Two hosts: what RDMA WRITE carries with ib_write_bw, which polls, and
# with ours, in turn. $1: MiB a move; $2: rounds; then modes.
. /tests/lib.sh

mib=$1 rounds=$2
shift 2
ip link set eth0 mtu 9000 || fail "no MTU of 9000"
rdma_up eth0
modprobe -a ib_uverbs rdma_ucm || fail "no RDMA for programs"
await sink-listens 60 >/dev/null
while [ "$rounds" -gt 0 ]; do
	share "write-$rounds" yes
	await "listens-$rounds" 60 >/dev/null
	ib_write_bw -R -F -s 1048576 -n "$mib" "$SINK_IP" >/tmp/perftest 2>&1 ||
		fail "ib_write_bw: $(cat /tmp/perftest)"
	# #bytes #iterations BW peak[MB/sec] BW average[MB/sec] MsgRate; its MB are MiB
	rate=$(sed -n 's/^ *1048576 *[0-9]* *[0-9.]* *\([0-9.]*\) .*/\1/p' /tmp/perftest)
	[ -n "$rate" ] || fail "no rate in: $(cat /tmp/perftest)"
	echo "bench {\"what\": \"write\", \"mode\": \"ib_write_bw\", \"mib\": $rate}"
	ferrybench source "$SINK_IP" 7100 report "$mib" fresh 1 "$@" || fail "the source failed"
	rounds=$((rounds - 1))
done
meet over 60
rdma_down
