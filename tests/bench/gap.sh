#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One host: a Linux guest with a light load goes from one minivm to the next, and
# tells for how long it stood still: first without a move, then with one.
# $1: moves; $2: vCPUs
. /tests/lib.sh

require minivm ferryctl /guest/bzImage

moves=$1 cpus=$2 at=0 lines=10
memory=160M

value() { sed -n "s/.* $2=\([0-9.]*\).*/\1/p" "/tmp/con$1" | tail -n 1; }
says() { grep -c "FERRY-GUEST $2" "/tmp/con$1"; }
said()
{
	[ "$(says "$1" "$2")" -ge "$3" ] && return
	[ -S "/tmp/vm$1" ] || fail "minivm has ended: $(cat "/tmp/out$1" "/tmp/con$1")"
	return 1
}
reset_gap() # reset_gap VM
{
	had=$(says "$1" "gap reset")
	vmcmd "/tmp/vm$1" '{"cmd":"input","text":"gap reset\n"}' >/dev/null || fail "no input"
	wait_for 30 said "$1" "gap reset" $((had + 1))
	had=$(says "$1" seq=)
	wait_for 30 said "$1" seq= $((had + 1))
}

: >/tmp/con0
minivm --kernel /guest/bzImage --initrd /guest/initrd.cpio.gz --cpus "$cpus" --memory $memory \
	--append "$(cat /guest/cmdline) ferry.load=light ferry.mem=64" --control /tmp/vm0 \
	--console /tmp/con0 </dev/null >/tmp/out0 2>&1 &
wait_for 20 test -S /tmp/vm0
wait_for 120 said 0 ready 1
wait_for 60 said 0 seq= 10
while [ "$at" -lt "$moves" ]; do
	next=$((at + 1))
	: >"/tmp/con$next"
	minivm --incoming --cpus "$cpus" --memory $memory --control "/tmp/vm$next" \
		--console "/tmp/con$next" </dev/null >"/tmp/out$next" 2>&1 &
	wait_for 20 test -S "/tmp/vm$next"
	ferryctl receive "/tmp/vm$next" tcp:7000 --json >/tmp/received 2>&1 &
	receiver=$!
	wait_for 20 listens 7000

	reset_gap "$at"
	had=$(says "$at" seq=)
	wait_for 60 said "$at" seq= $((had + lines))
	idle=$(value "$at" gap_max_ms)

	reset_gap "$at"
	ferryctl migrate "/tmp/vm$at" tcp:127.0.0.1:7000 --channels 1 --downtime 30ms --json >/tmp/migrated 2>&1 ||
		fail "it did not move: $(cat /tmp/migrated)"
	wait "$receiver" || fail "it did not arrive: $(cat /tmp/received)"
	wait_for 60 said "$next" seq= 3
	key() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" /tmp/migrated | tail -n 1; }
	[ "$(value "$next" errors)" = 0 ] || fail "the guest found errors in its memory"
	echo "bench {\"what\": \"gap\", \"idle_ms\": $idle, \"move_ms\": $(value "$next" gap_max_ms)," \
		"\"downtime_ns\": $(key downtime_ns), \"total_ns\": $(key total_time_ns)," \
		"\"passes\": $(key dirty_sync_count)}"
	vmcmd "/tmp/vm$at" '{"cmd":"quit"}' >/dev/null
	at=$next
done
