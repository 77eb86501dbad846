#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One host: guests that hardly converge move from one minivm to another, by turns as the
# module does it and by the plain sweep (examples/order_plain.c). Who has not moved after LIMIT
# seconds is interrupted, and what it had sent by then counts.
# $1: moves of each
. /tests/lib.sh
. /bench/minivms.sh

require minivm ferryctl /guest/flat.bin
cd /tmp || fail "no /tmp"
LIMIT=40

swept() { grep "FERRY-FLAT cpu=0 " one.log | tail -n 1 | grep -q "sweep=[1-9]"; }

# move LOAD FLAT-ARGUMENTS ORDER OPTION...
move()
{
	mo_load=$1 mo_flat=$2 mo_order=$3
	shift 3
	if [ "$mo_order" = plain ]; then
		insmod /lab/ferry_order_plain.ko || fail "no plain order"
	fi
	minivms_start 8192 "$mo_flat"
	wait_for 120 swept
	minivms_receive
	mo_moved=1
	timeout -s INT $LIMIT ferryctl migrate one.ctl tcp:127.0.0.1:7000 --channels 2 --throttle never \
		--json "$@" >migrated 2>&1 || mo_moved=0
	minivms_arrived
	[ "$(key total_time_ns)" -gt 0 ] || fail "no migration: $(cat migrated)"
	echo "bench {\"what\": \"order\", \"load\": \"$mo_load\", \"order\": \"$mo_order\"," \
		"\"moved\": $mo_moved, \"total_ns\": $(key total_time_ns)," \
		"\"downtime_ns\": $(key downtime_ns), \"bytes\": $(key ram_transferred)," \
		"\"passes\": $(key dirty_sync_count), \"dirty_pages\": $(key dirty_pages)}"
	minivms_end
	[ "$mo_order" != plain ] || wait_for 20 rmmod ferry_order_plain
}

n=0
while [ $n -lt "$1" ]; do
	for order in rested plain; do
		move even "1024 1000" $order --bandwidth 16M --downtime 400ms
		move hot "2048 200 64" $order --bandwidth 16M --downtime 200ms
		move cold "2048 2000 256" $order --bandwidth 4M --downtime 400ms
	done
	n=$((n + 1))
done
