#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The other host of two_hosts.source.sh.
. /tests/lib.sh
require minivm ferryctl
cd /tmp || fail "no /tmp"

# See two_hosts.source.sh.
downtime=300ms
[ "${LAB_SLOW:-1}" = 1 ] || downtime=4s

guest_says() { [ "$(grep -c "FERRY-FLAT cpu=$2 " "$1")" -gt "$3" ]; }

: >vm.log
minivm --incoming --cpus 2 --memory 64M --control vm.ctl --console vm.log </dev/null >vm.out 2>&1 &
wait_for 20 test -S vm.ctl
ferryctl receive vm.ctl tcp:7000 --timeout 120s >received 2>&1 &
receiver=$!
wait_for 20 listens 7000
share sink-listens yes
wait_for 150 gone "$receiver"
wait "$receiver" || fail "it did not come: $(cat received vm.out)"
wait_for 60 guest_says vm.log 0 1
wait_for 60 guest_says vm.log 1 1

await source-listens 60 >/dev/null
ferryctl migrate vm.ctl "tcp:$SOURCE_IP:7001" --channels 1 --verify --downtime "$downtime" >out 2>&1 ||
	fail "it did not go back: $(cat out vm.out)"
grep -h FAIL vm.log && fail "the guest found its memory wrong"
meet over 60
