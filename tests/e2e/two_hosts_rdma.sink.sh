#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The other host of two_hosts_rdma.source.sh.
. /tests/lib.sh
require minivm ferryctl rdma
cd /tmp || fail "no /tmp"
trap rdma_down EXIT

guest_says() { [ "$(grep -c "FERRY-FLAT cpu=$2 " "$1")" -gt "$3" ]; }

ip link set eth0 mtu 9000 || fail "no MTU of 9000"
rdma_up eth0
: >vm.log
minivm --incoming --cpus 2 --memory 64M --control vm.ctl --console vm.log </dev/null >vm.out 2>&1 &
wait_for 20 test -S vm.ctl
for event in sink-listens sink-listens-again; do
	ferryctl receive vm.ctl rdma:7000 --timeout 120s >received 2>&1 &
	receiver=$!
	wait_for 20 listens 7000
	share "$event" yes
	wait_for 150 gone "$receiver"
	wait "$receiver"
	code=$?
done
[ "$code" = 0 ] || fail "it did not come: $(cat received vm.out)"
wait_for 60 guest_says vm.log 0 1
wait_for 60 guest_says vm.log 1 1

meet moved 60
ip link set eth0 mtu 1500 || fail "no MTU of 1500"
await source-listens 60 >/dev/null
before=$(traffic eth0)
ferryctl migrate vm.ctl "rdma:$SOURCE_IP:7001" --channels 4 --verify --downtime 4s >out 2>&1 ||
	fail "it did not go back: $(cat out vm.out)"
grep -h FAIL vm.log && fail "the guest found its memory wrong"
size=$(packet_size "$before" "$(traffic eth0)")
[ "$size" -lt 1500 ] || fail "packets of $size bytes with an MTU of 1500"
grep -E "^  (downtime|link) " out
echo "packets of $size bytes on average"
meet over 60
