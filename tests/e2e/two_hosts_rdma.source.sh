#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: cpus=1 mem=512 timeout=240 leak=16384 kernels=6.1,6.12
# Without an RDMA device here nothing moves. By RDMA (rdma_rxe on the network card) a guest
# with two vCPUs moves to another host, in packets of 4 KiB, and comes back in packets of 1 KiB,
# which is what an MTU of 1500 leaves.
. /tests/lib.sh
require minivm ferryctl rdma /guest/flat.bin
cd /tmp || fail "no /tmp"
trap rdma_down EXIT

guest_says() { [ "$(grep -c "FERRY-FLAT cpu=$2 " "$1")" -gt "$3" ]; }
wrong() { grep -h FAIL "$@" && fail "the guest found its memory wrong"; }

ip link set eth0 mtu 9000 || fail "no MTU of 9000"
: >here.log
minivm --flat /guest/flat.bin --append "1024 200" --cpus 2 --memory 64M --control here.ctl \
	--console here.log </dev/null >here.out 2>&1 &
here=$!
wait_for 60 guest_says here.log 0 0
wait_for 60 guest_says here.log 1 0
await sink-listens 60 >/dev/null

modprobe rdma_cm && insmod /lab/kvm_ferry_rdma.ko || fail "no kvm_ferry_rdma.ko"
ferryctl migrate here.ctl "rdma:$SINK_IP:7000" >out 2>&1
[ $? = 6 ] || fail "without a device, but: $(cat out here.out)"
grep "no RDMA device leads to $SINK_IP" out || fail "not in words: $(cat out)"
rdma_up eth0
await sink-listens-again 60 >/dev/null
before=$(traffic eth0)
ferryctl migrate here.ctl "rdma:$SINK_IP:7000" --channels 2 --verify --downtime 4s >out 2>&1 ||
	fail "to the other host: $(cat out here.out)"
vmcmd here.ctl '{"cmd":"status"}' | grep -q '"vm":"gone"' || fail "it is still here"
wrong here.log
size=$(packet_size "$before" "$(traffic eth0)")
[ "$size" -gt 2000 ] || fail "packets of $size bytes with an MTU of 9000"
grep -E "^  (downtime|link) " out
echo "packets of $size bytes on average"
kill "$here"
wait_for 20 gone "$here"

# And back, into a new VMM.
meet moved 60
ip link set eth0 mtu 1500 || fail "no MTU of 1500"
: >back.log
minivm --incoming --cpus 2 --memory 64M --control back.ctl --console back.log \
	</dev/null >back.out 2>&1 &
wait_for 20 test -S back.ctl
ferryctl receive back.ctl rdma:7001 --timeout 90s >received 2>&1 &
receiver=$!
wait_for 20 listens 7001
share source-listens yes
wait_for 120 gone "$receiver"
wait "$receiver" || fail "back from the other host: $(cat received back.out)"
wait_for 60 guest_says back.log 0 1
wait_for 60 guest_says back.log 1 1
wrong back.log
meet over 60
