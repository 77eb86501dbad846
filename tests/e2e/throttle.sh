#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: cpus=2 mem=768 timeout=240 leak=8192 kernels=6.1,6.12
#
# One vCPU of four writes its memory faster than the link carries it. Without throttling
# the guest does not converge; with it that vCPU alone waits at its ring, the others keep
# their work, and the guest moves. Policies that are none are refused in words.
. /tests/lib.sh
require minivm ferryctl /guest/flat.bin
cd /tmp || fail "no /tmp"

# key FILE NAME: the value of a key in a line of JSON
key() { sed -n "s/.*\"$2\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$1" | tail -n 1; }
guest_says() { [ "$(grep -c "FERRY-FLAT cpu=$2 " "$1")" -gt "$3" ]; }
status() { vmcmd one.ctl '{"cmd":"status"}' >status.json; }
# ring N KEY: of the ring of vCPU N, as the last status had it
ring()
{
	tr '{' '\n' <status.json | grep "\"ring_id\":$1," | sed "s/.*\"$2\":\([0-9]*\).*/\1/"
}
throttled() { status; [ "$(key status.json throttled_rings)" -gt 0 ]; }
is_live() { status; [ "$(key status.json state_name)" = live ]; }
# Pages that the three vCPUs that keep within bounds have written so far, and when
work()
{
	wo_sum=0
	for cpu in 1 2 3; do
		wo_n=$(grep "FERRY-FLAT cpu=$cpu " one.log | tail -n 1 | sed 's/.*writes=\([0-9]*\).*/\1/')
		wo_sum=$((wo_sum + wo_n))
	done
	echo $wo_sum
}
# How many pages they write in SECONDS
works()
{
	wk_before=$(work)
	sleep "$1"
	echo $(($(work) - wk_before))
}

start()
{
	st_name=$1
	shift
	: >"$st_name.log"
	minivm --name "$st_name" --cpus 4 --memory 64M --ring-entries 256 --control "$st_name.ctl" \
		--console "$st_name.log" "$@" </dev/null >"$st_name.out" 2>&1 &
	wait_for 20 test -S "$st_name.ctl"
}
migrate()
{
	# What the last one said is not to be taken for this one's.
	rm -f recv.err
	ferryctl receive two.ctl tcp:7000 --timeout 60s --json >recv.json 2>recv.err &
	receiver=$!
	wait_for 20 has_line recv.err listening
	ferryctl migrate one.ctl tcp:127.0.0.1:7000 --channels 2 --bandwidth 2M --verify --json "$@" \
		>mig.json 2>mig.err &
	migrator=$!
	wait_for 30 is_live
}

start one --flat /guest/flat.bin --append "1024 0 0 20000"
for cpu in 0 1 2 3; do
	wait_for 60 guest_says one.log $cpu 1
done
start two --incoming
for bad in '"sometimes":\\"never' '-1:not negative' '63:64 to 2^32' '9000000000:64 to 2^32'; do
	vmcmd one.ctl "{\"cmd\":\"migrate\",\"loop\":9,\"data_channels\":1,\"throttle\":${bad%%:*}}" >out 2>&1 &&
		fail "not refused: $bad"
	grep -q "${bad#*:}" out || fail "$bad: $(cat out)"
done
vmcmd two.ctl '{"cmd":"receive","loop":9,"data_channels":1,"throttle":"auto"}' >out 2>&1 && fail "a sink that throttles"
grep -q "a source with rings" out || fail "not in words: $(cat out)"
still=$(works 8)

# Nobody is held back: pass after pass is as long as the one before.
migrate --downtime 200ms
sleep 2
never=$(works 8)
is_live || fail "it converged by itself: $(cat status.json mig.json)"
status
[ "$(key status.json throttled_rings)" = 0 ] && [ "$(key status.json throttle_ns)" = 0 ] ||
	fail "held back without being asked to: $(cat status.json)"
wild=$(ring 0 dirty_rate)
gentle=0
for n in 1 2 3; do
	gentle=$((gentle + $(ring $n dirty_rate)))
	[ "$(ring $n dirty_rate)" -lt $((wild / 4)) ] || fail "vCPU $n is as wild: $(cat status.json)"
done
kill -INT "$migrator"
wait "$migrator"
wait "$receiver"

# Over a link that takes minutes, so that there is time to look: a limit that one alone is above.
limit=$((wild / 4))
migrate --bandwidth 64K --throttle $limit
wait_for 20 throttled
held=$(works 8)
status
is_live || fail "it ended: $(cat status.json)"
[ "$(ring 0 throttle_rate)" = $limit ] && [ "$(ring 0 throttle_ns)" -gt 0 ] ||
	fail "the wild one is not held back: $(cat status.json)"
for n in 1 2 3; do
	[ "$(ring $n waits)" = 0 ] || fail "vCPU $n waited: $(cat status.json)"
done
before=$(ring 0 dirty_pages)
sleep 4
status
rate=$((($(ring 0 dirty_pages) - before) / 4))
echo "pages of three vCPUs in 8 s: $still, migrating $never, beside one that is held back $held;" \
	"that one dirtied $rate pages a second, where $limit of $wild are allowed"
[ $rate -le $((limit * 5 / 4)) ] || fail "it dirtied $rate pages a second"
[ $((held * 100)) -ge $((never * 95)) ] || fail "the others lost work: $held of $never"
id=$(ferryctl list | awk '$2 == "source" { print $1 }')
ferryctl set "$id" --throttle never --json >out || fail "set: $(cat out)"
grep -q '"throttle": *"never"' out || fail "not set: $(cat out)"
wait_for 5 sh -c 'vmcmd one.ctl "{\"cmd\":\"status\"}" | grep -q "\"throttled_rings\":0,"'
kill -INT "$migrator"
wait "$migrator"
wait "$receiver"

# By itself: what did not converge does. A vCPU waits half a second at most, so two rings of 256 are the
# least that the wild one dirties in one; the link carries half as much again, and twice what the others do.
link=$((2 * gentle + 768))
[ $link -lt $((wild * 2 / 3)) ] || fail "$wild pages a second are not wild beside $gentle"
migrate --bandwidth $((link * 4096)) --downtime 200ms --throttle auto --throttle-floor 64
wait "$migrator" || fail "it did not move: $(cat mig.json mig.err)"
wait "$receiver" || fail "it did not arrive: $(cat recv.json recv.err)"
[ "$(key mig.json throttle_ns)" -gt 0 ] || fail "it moved without being held back: $(cat mig.json)"
echo "moved: downtime $(key mig.json downtime_ns) ns, $(key mig.json dirty_sync_count) passes," \
	"held back for $(key mig.json throttle_ns) ns"
for cpu in 0 1 2 3; do
	wait_for 60 guest_says two.log $cpu 1
done
grep -h FAIL one.log two.log && fail "the guest found its memory wrong"
exit 0
