#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One host: guests under several loads move from one minivm to another, and the downtime
# that was predicted when each was paused is told beside the one that came. What verify
# took, which no prediction has in it, comes from the source's trace.
# $1: moves of each
. /tests/lib.sh
. /bench/minivms.sh

require minivm ferryctl /guest/flat.bin
cd /tmp || fail "no /tmp"

guest_says() { [ "$(grep -c "FERRY-FLAT cpu=$1 " one.log)" -gt "$2" ]; }

# Between the source's events that memory is there, and that it is equal; 0: nobody looked.
verify_ns()
{
	awk '/ferry_switchover: session=[0-9]* role=0 phase=(placed|verified)/ {
		for (i = 1; $i != "ferry_switchover:"; i++)
			;
		at = $(i - 1)
		sub(":", "", at)
		when[$NF] = at
	}
	END { printf "%d", "phase=verified" in when ? (when["phase=verified"] - when["phase=placed"]) * 1e9 : 0 }
	' "$trace/trace"
}

# move LOAD FLAT-ARGUMENTS OPTION...
move()
{
	mo_load=$1 mo_flat=$2
	shift 2
	minivms_start 1024 "$mo_flat"
	wait_for 60 guest_says 0 1
	minivms_receive
	: >"$trace/trace"
	ferryctl migrate one.ctl tcp:127.0.0.1:7000 --channels 2 --downtime 300ms --json "$@" >migrated 2>&1 ||
		fail "it did not move: $(cat migrated)"
	minivms_arrived || fail "it did not arrive: $(cat received)"
	echo "bench {\"what\": \"predict\", \"load\": \"$mo_load\"," \
		"\"predicted_ns\": $(key predicted_downtime_ns), \"downtime_ns\": $(key downtime_ns)," \
		"\"ram_ns\": $(key downtime_ram_ns), \"state_ns\": $(key downtime_state_ns)," \
		"\"verify_ns\": $(verify_ns), \"commit_ns\": $(key downtime_commit_ns), \"expected_ram_ns\": $(key expected_ram_ns)," \
		"\"expected_trips_ns\": $(key expected_trips_ns)," \
		"\"expected_fixed_ns\": $(key expected_fixed_ns)," \
		"\"expected_state_ns\": $(key expected_state_ns), \"passes\": $(key dirty_sync_count)}"
	minivms_end
}

trace=/sys/kernel/tracing
echo 1 >"$trace/events/kvm_ferry/ferry_switchover/enable" || fail "nothing to trace"
n=0
while [ $n -lt "$1" ]; do
	move quiet "64 200000"
	move steady "512 20000" --bandwidth 16M
	move "slow link" "512 50000" --bandwidth 4M
	move busy "1024 0 0 20000" --bandwidth 8M --throttle auto
	move verified "512 20000" --bandwidth 16M --verify
	n=$((n + 1))
done
