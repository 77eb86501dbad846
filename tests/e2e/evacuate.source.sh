#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: cpus=2 mem=768 timeout=420 kernels=6.1,6.12 asked=debug
# Three guests are to leave for another host, two at a time: the longest first, each with half of
# the bandwidth and the last one with all of it. One has nobody who takes it: the others go all
# the same, and it runs on here; again when it goes, and that is interrupted.
. /tests/lib.sh
require minivm ferryctl /guest/flat.bin
cd /tmp || fail "no /tmp"

swept() { grep "FERRY-FLAT cpu=0 " "$1" | tail -n 1 | grep -q "sweep=[1-9]"; }
# shares BYTES: how many sessions had that limit, in the reading with most of them
shares()
{
	awk -v want="\"max_bandwidth\": *$1," '/"sessions"/ { n = 0 } $0 ~ want && ++n > most { most = n }
		END { print most + 0 }' sessions
}
# moves_at BYTES: memory moves, and not only is a session made for it
moves_at()
{
	ma_said=$(ferryctl status --json)
	echo "$ma_said" | grep -q "\"max_bandwidth\": *$1," && echo "$ma_said" | grep -q '"state_name": *"live"'
}
runs_on()
{
	ro_said=$(grep -c FERRY-FLAT "$1.log")
	wait_for 60 sh -c "[ \$(grep -c FERRY-FLAT $1.log) -gt $((ro_said + 2)) ]"
	vmcmd "$1.ctl" '{"cmd":"status"}' | grep -q '"vm":"running"' || fail "$1 does not run here"
}
gone_away() { vmcmd "$1.ctl" '{"cmd":"status"}' | grep -q '"vm":"gone"' || fail "$1 is still here"; }

for vm in small:256 lonely:256 large:1024; do
	name=${vm%:*}
	: >"$name.log"
	minivm --flat /guest/flat.bin --append "${vm#*:} 15000" --memory 64M --name "$name" \
		--control "$name.ctl" --console "$name.log" </dev/null >"$name.out" 2>&1 &
done
for name in small lonely large; do
	wait_for 150 swept $name.log
done
await sink-listens 60 >/dev/null

to="--to tcp:$SINK_IP:7000 --to tcp:$SINK_IP:7001 --to tcp:$SINK_IP:7002"
# shellcheck disable=SC2086
ferryctl evacuate $to small.ctl lonely.ctl large.ctl --jobs 2 --bandwidth 3M --measure 2 \
	--downtime 300ms --verify --json >report 2>err &
evacuation=$!
while [ -d "/proc/$evacuation" ]; do
	ferryctl status --json >>sessions
done
wait "$evacuation"
code=$?
[ "$code" = 6 ] || fail "exit code $code: $(cat report err)"
grep -q '"moved": *2,' report && grep -q '"not_moved": *1,' report || fail "$(cat report)"
[ "$(grep -o '"socket": *"[a-z]*' report | head -n 1 | sed 's/.*"//')" = large ] ||
	fail "the longest is not first: $(cat report)"
[ "$(shares 1572864)" = 2 ] && [ "$(shares 3145728)" = 1 ] ||
	fail "$(shares 1572864) had half of the bandwidth, $(shares 3145728) all of it"
grep '"reason": *"..*"' report | grep -q "refused" || fail "it is not said why: $(cat report)"
gone_away small
gone_away large
runs_on lonely
meet moved 150

# Now somebody listens, and it takes minutes.
await sink-listens-again 60 >/dev/null
ferryctl evacuate --to "tcp:$SINK_IP:7001" lonely.ctl --bandwidth 64K >out 2>&1 &
evacuation=$!
wait_for 60 moves_at 65536
kill -INT "$evacuation"
wait_for 60 gone "$evacuation"
wait "$evacuation"
code=$?
[ "$code" = 6 ] || fail "interrupted, exit code $code: $(cat out)"
grep "0 of 1 guests have moved" out || fail "not told: $(cat out)"
runs_on lonely
grep -h FAIL ./*.log && fail "a guest found its memory wrong"
meet over 60
