#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# lab: cpus=1 mem=1024 timeout=240 long=debug
#
# ferryctl migrate and receive between two network namespaces: a migration that
# is cancelled, one whose receiver dies, and one that succeeds at last, of the
# same guest. Exit codes, JSON, what the guest says.
. /tests/lib.sh
require minivm ferryctl /guest/flat.bin

netns_pair
cd /tmp || fail "no /tmp"

# A function in the background is a subshell, and $! that shell's: so what is killed
# here is started by "ip netns exec" itself, which becomes the program.

text() { tr -d '\r' <"$1"; }
# key FILE NAME: the value of a key in a line of JSON
key() { sed -n "s/.*\"$2\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$1" | tail -n 1; }
guest_says() { [ "$(grep -c FERRY-FLAT "$1")" -gt "$2" ]; }

start_sink()
{
	rm -f dst.ctl dst.log
	ip netns exec snk minivm --incoming --cpus 2 --memory 96M --control dst.ctl --console dst.log \
		</dev/null >dst.out 2>&1 &
	sink=$!
	wait_for 20 test -S dst.ctl
	ip netns exec snk ferryctl receive dst.ctl tcp:7000 --timeout 60s --json >recv.json 2>recv.err &
	receiver=$!
	wait_for 20 listens 7000 snk
}

ip netns exec src minivm --flat /guest/flat.bin --append "1024 200" --cpus 2 --memory 96M \
	--control src.ctl --console src.log </dev/null >src.out 2>&1 &
wait_for 20 test -S src.ctl
wait_for 60 guest_says src.log 1

# What is wrong before anything begins.
in_src ferryctl migrate src.ctl tcp:10.78.0.2:7000 2>err
[ $? = 1 ] || fail "nobody listens, but: $(cat err)"
grep -q "does the receiver listen" err || fail "no advice in: $(cat err)"
in_snk ferryctl receive src.ctl tcp:7000 2>err
[ $? = 1 ] || fail "a VMM with a guest received"
grep -q -e --incoming err || fail "no advice in: $(cat err)"

# Cancelled: slow enough that it cannot have been over.
start_sink
ip netns exec src ferryctl migrate src.ctl tcp:10.78.0.2:7000 --bandwidth 128K \
	--final-bandwidth 80Mbit --json >mig.json 2>mig.err &
migrator=$!
wait_for 30 sh -c 'ferryctl list | grep -q "source.*live"'
ferryctl stats --json >live.json
grep -q '"final_bandwidth": 10000000' live.json || fail "not its limits: $(cat live.json)"
in_src ferryctl migrate src.ctl tcp:10.78.0.2:7000 2>err && fail "two migrations of one guest"
grep -q "under way" err || fail "no reason in: $(cat err)"
kill -INT $migrator
wait $migrator
[ $? = 6 ] || fail "cancelled, but: $(cat mig.json mig.err)"
[ "$(key mig.json outcome)" = failed ] || fail "not failed: $(cat mig.json)"
wait $receiver
[ $? = 6 ] || fail "the receiver of what was cancelled: $(cat recv.json recv.err)"
[ -n "$(key recv.json reason)" ] || fail "no reason at the receiver: $(cat recv.json)"
kill $sink
wait_for 20 gone $sink
had=$(grep -c FERRY-FLAT src.log)
wait_for 30 guest_says src.log "$had"

# The receiving VMM is killed half way.
start_sink
ip netns exec src ferryctl migrate src.ctl tcp:10.78.0.2:7000 --bandwidth 128K --json >mig.json 2>mig.err &
migrator=$!
wait_for 30 sh -c 'ferryctl list | grep -q "source.*live"'
kill -9 $sink
wait $migrator
[ $? = 6 ] || fail "the receiver was killed, but: $(cat mig.json mig.err)"
[ "$(key mig.json outcome)" = failed ] || fail "not failed: $(cat mig.json)"
[ -n "$(key mig.json reason)" ] || fail "no reason: $(cat mig.json)"
wait $receiver
[ $? = 8 ] || fail "its VMM was killed, but: $(cat recv.json recv.err)"
had=$(grep -c FERRY-FLAT src.log)
wait_for 30 guest_says src.log "$had"

# And now it moves.
start_sink
in_src ferryctl migrate src.ctl tcp:10.78.0.2:7000 --channels 4 --verify --downtime 1s \
	--bandwidth 800Mbit --final-bandwidth same --json \
	>mig.json 2>mig.err || fail "it did not move: $(cat mig.json mig.err)"
wait $receiver || fail "it did not arrive: $(cat recv.json recv.err)"
[ "$(key mig.json outcome)" = moved ] || fail "not moved: $(cat mig.json)"
[ "$(key recv.json outcome)" = moved ] || fail "not here: $(cat recv.json)"
[ "$(key mig.json nr_channels)" = 4 ] || fail "not four channels: $(cat mig.json)"
[ "$(key mig.json digest)" != 0 ] || fail "not verified: $(cat mig.json)"
[ "$(key mig.json digest)" = "$(key recv.json digest)" ] || fail "the digests differ"
wait_for 60 guest_says dst.log 1
sent=$(grep -c FERRY-FLAT src.log)
text src.log | grep FAIL && fail "the guest found a wrong page at the source"
text dst.log | grep FAIL && fail "the guest found a wrong page at the sink"
[ "$(grep -c FERRY-FLAT src.log)" = "$sent" ] || fail "the guest runs at the source too"
in_src ferryctl migrate src.ctl tcp:10.78.0.2:7000 2>err && fail "a guest that is gone moved"
grep -q "no guest to give away" err || fail "no reason in: $(cat err)"
echo "downtime $(key mig.json downtime_ns) ns, total $(key mig.json total_time_ns) ns"
exit 0
