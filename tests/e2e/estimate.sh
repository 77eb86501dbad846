#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: cpus=2 mem=768 timeout=540 leak=8192 kernels=6.1,6.12 asked=debug
#
# What ferryctl estimate says of two guests comes true. One writes its memory evenly: it
# converges, in the time that was said, give or take a factor of two. One has a vCPU that writes
# faster than the link carries: it does not, until it is held back as far as was said. Whoever
# measures may be killed, or be in the way of a migration: the guest runs on, or moves. One that
# waits for a cheap moment moves when it has come, or stays.
. /tests/lib.sh
require minivm ferryctl /guest/flat.bin
cd /tmp || fail "no /tmp"

# key FILE NAME: the first value of a key in JSON
key() { sed -n "s/.*\"$2\": *\"\{0,1\}\([^,\"}]*\).*/\1/p" "$1" | head -n 1; }
# run WORD NAME: of how the last estimate thinks that it goes, unthrottled or throttled
run() { sed -n "/\"$1\"/,/}/p" est.json >run.json && key run.json "$2"; }
guest_says() { [ "$(grep -c "FERRY-FLAT cpu=$2 " "$1")" -gt "$3" ]; }
swept() { grep "FERRY-FLAT cpu=$2 " "$1" | tail -n 1 | grep -q "sweep=[1-9]"; }
measures() { ferryctl list 2>/dev/null | grep -q source; }
measures_no_more() { ! measures; }
status() { vmcmd "$1.ctl" '{"cmd":"status"}' >status.json; }
is_live() { status "$1" && [ "$(key status.json state_name)" = live ]; }
passes() { status "$1" && [ "$(key status.json dirty_sync_count)" -ge "$2" ]; }

# start NAME VCPUS ...
start()
{
	st_name=$1 st_cpus=$2
	shift 2
	: >"$st_name.log"
	minivm --name "$st_name" --cpus "$st_cpus" --memory 64M --ring-entries 256 \
		--control "$st_name.ctl" --console "$st_name.log" "$@" </dev/null >"$st_name.out" 2>&1 &
	wait_for 20 test -S "$st_name.ctl"
}
# migrate FROM TO ...: begins
migrate()
{
	mi_from=$1 mi_to=$2
	shift 2
	rm -f recv.err
	ferryctl receive "$mi_to.ctl" tcp:7000 --timeout 60s --json >recv.json 2>recv.err &
	receiver=$!
	wait_for 20 has_line recv.err listening
	ferryctl migrate "$mi_from.ctl" tcp:127.0.0.1:7000 --json "$@" >mig.json 2>mig.err &
	migrator=$!
}

start even 2 --flat /guest/flat.bin --append "2048 20000"
start even2 2 --incoming
# A sweep takes 40 to 75 s in an emulated host, and longer on a busy machine.
wait_for 240 swept even.log 0
wait_for 240 swept even.log 1

# Killed in the middle, it leaves no session, and a guest that runs on.
ferryctl estimate even.ctl --seconds 100 >out 2>&1 &
killed=$!
wait_for 20 measures
vmcmd even.ctl '{"cmd":"measure"}' >out 2>&1 && fail "two measure at once"
grep -q "another client measures" out || fail "not in words: $(cat out)"
kill -KILL "$killed"
wait_for 20 measures_no_more
said=$(grep -c FERRY-FLAT even.log)
wait_for 30 sh -c "[ \$(grep -c FERRY-FLAT even.log) -gt $((said + 2)) ]"

link="--bandwidth 4M --downtime 200ms"
# shellcheck disable=SC2086
ferryctl estimate even.ctl $link --json >est.json 2>out || fail "estimate: $(cat out)"
[ "$(run unthrottled converges)" = true ] && [ "$(key est.json policy)" = never ] ||
	fail "it is said not to converge: $(cat est.json)"
# What minivm knows of a pause goes into it, with three round trips.
rings=$(key est.json rings_ns) state=$(key est.json state_ns) trip=$(key est.json round_trip_ns)
[ "$rings" -gt 0 ] && [ "$state" -gt 0 ] && [ "$trip" = 1000000 ] &&
	[ "$(key est.json fixed_ns)" = $((rings + state + 3 * trip)) ] ||
	fail "its pause has no parts: $(cat est.json)"
wait_for 20 measures_no_more

# It is measured when the migration begins.
ferryctl estimate even.ctl --seconds 100 >late.out 2>&1 &
late=$!
wait_for 20 measures
# shellcheck disable=SC2086
migrate even even2 $link --verify
wait "$migrator" || fail "it did not move: $(cat mig.json mig.err)"
wait "$receiver" || fail "it did not arrive: $(cat recv.json recv.err)"
wait "$late" && fail "it has measured on: $(cat late.out)"
grep -q "under way\|does not run here" late.out || fail "not in words: $(cat late.out)"
want=$(run unthrottled time_ns)
got=$(key mig.json total_time_ns)
echo "even: said $((want / 1000000)) ms, $(run unthrottled bytes) bytes," \
	"$(run unthrottled passes) passes, downtime $(($(run unthrottled downtime_ns) / 1000000)) ms;" \
	"was $((got / 1000000)) ms, $(key mig.json ram_transferred) bytes," \
	"$(key mig.json dirty_sync_count) passes, downtime $(($(key mig.json downtime_ns) / 1000000)) ms"
[ "$got" -le $((want * 2)) ] && [ "$want" -le $((got * 2)) ] || fail "more than a factor of two"
wait_for 60 guest_says even2.log 0 1
wait_for 60 guest_says even2.log 1 1
vmcmd even.ctl '{"cmd":"quit"}' >out

# It always does the same, so that one moment is as cheap as the next, once some were seen.
start even3 2 --incoming
# shellcheck disable=SC2086
migrate even2 even3 $link --when-cheap=300ms --deadline 60s
wait "$migrator" || fail "it did not move when it was cheap: $(cat mig.json mig.err)"
wait "$receiver" || fail "it did not arrive: $(cat recv.json recv.err)"
wait_for 60 guest_says even3.log 0 1
vmcmd even2.ctl '{"cmd":"quit"}' >out
vmcmd even3.ctl '{"cmd":"quit"}' >out

start wild 4 --flat /guest/flat.bin --append "1024 0 0 20000"
start wild2 4 --incoming
for cpu in 0 1 2 3; do
	wait_for 60 guest_says wild.log $cpu 1
done
link="--bandwidth 5M --downtime 200ms"
# shellcheck disable=SC2086
ferryctl estimate wild.ctl $link --floor 64 --json >est.json 2>out ||
	fail "estimate: $(cat out)"
[ "$(run unthrottled converges)" = false ] && [ "$(key est.json policy)" = auto ] ||
	fail "it is said to converge: $(cat est.json)"
rate=$(key est.json throttle)
# shellcheck disable=SC2086
ferryctl migrate wild.ctl tcp:127.0.0.1:1 $link --when-cheap=500ms --deadline 2s --or-not >out 2>&1
[ $? = 9 ] || fail "there was a cheap moment: $(cat out)"
grep -q "would not converge now" out && grep -q "nothing was started" out || fail "not told: $(cat out)"
wait_for 20 measures_no_more
# shellcheck disable=SC2086
migrate wild wild2 $link
wait_for 30 is_live wild
wait_for 60 passes wild 5
is_live wild || fail "it converges, which was not said: $(cat status.json)"
ferryctl set "$(key status.json session_id)" --throttle "$rate" --json >out 2>&1 || fail "$(cat out)"
wait "$migrator" || fail "it did not move: $(cat mig.json mig.err)"
wait "$receiver" || fail "it did not arrive: $(cat recv.json recv.err)"
echo "wild: said and seen not to converge; at $rate pages/s for each vCPU it moved after" \
	"$(key mig.json dirty_sync_count) passes, downtime $(($(key mig.json downtime_ns) / 1000000)) ms," \
	"where $(($(run throttled downtime_ns) / 1000000)) ms were said"
for cpu in 0 1 2 3; do
	wait_for 60 guest_says wild2.log $cpu 1
done
grep -h FAIL ./*.log && fail "a guest found its memory wrong"
exit 0
