#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One host: guests that hardly converge move from one minivm to another, by turns as the
# module does it and by the plain sweep (examples/order_plain.c). Who has not moved after LIMIT
# seconds is interrupted, and what it had sent by then counts.
# $1: moves of each
. /tests/lib.sh

require minivm ferryctl /guest/flat.bin
cd /tmp || fail "no /tmp"
LIMIT=40

key() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" migrated | tail -n 1 | grep . || echo 0; }
swept() { grep "FERRY-FLAT cpu=0 " one.log | tail -n 1 | grep -q "sweep=[1-9]"; }

# move LOAD FLAT-ARGUMENTS ORDER OPTION...
move()
{
	mo_load=$1 mo_flat=$2 mo_order=$3
	shift 3
	if [ "$mo_order" = plain ]; then
		insmod /lab/ferry_order_plain.ko || fail "no plain order"
	fi
	: >one.log
	: >two.log
	minivm --name one --cpus 2 --memory 64M --ring-entries 8192 --control one.ctl --console one.log \
		--flat /guest/flat.bin --append "$mo_flat" </dev/null >one.out 2>&1 &
	minivm --name two --cpus 2 --memory 64M --ring-entries 8192 --control two.ctl --console two.log \
		--incoming </dev/null >two.out 2>&1 &
	wait_for 20 test -S one.ctl
	wait_for 20 test -S two.ctl
	wait_for 120 swept
	ferryctl receive two.ctl tcp:7000 --json >received 2>&1 &
	mo_receiver=$!
	wait_for 20 listens 7000
	mo_moved=1
	timeout -s INT $LIMIT ferryctl migrate one.ctl tcp:127.0.0.1:7000 --channels 2 --throttle never \
		--json "$@" >migrated 2>&1 || mo_moved=0
	wait "$mo_receiver"
	[ "$(key total_time_ns)" != 0 ] || fail "no migration: $(cat migrated)"
	echo "bench {\"what\": \"order\", \"load\": \"$mo_load\", \"order\": \"$mo_order\"," \
		"\"moved\": $mo_moved, \"total_ns\": $(key total_time_ns)," \
		"\"downtime_ns\": $(key downtime_ns), \"bytes\": $(key ram_transferred)," \
		"\"passes\": $(key dirty_sync_count), \"dirty_pages\": $(key dirty_pages)}"
	vmcmd one.ctl '{"cmd":"quit"}' >/dev/null
	vmcmd two.ctl '{"cmd":"quit"}' >/dev/null
	wait_for 20 test ! -S one.ctl
	wait_for 20 test ! -S two.ctl
	[ "$mo_order" != plain ] || wait_for 20 rmmod ferry_order_plain
}

n=0
while [ $n -lt "$1" ]; do
	for order in rested plain; do
		move even "1024 1000" $order --bandwidth 8M --downtime 400ms
		move hot "2048 200 64" $order --bandwidth 8M --downtime 200ms
		move cold "2048 2000 256" $order --bandwidth 4M --downtime 400ms
	done
	n=$((n + 1))
done
