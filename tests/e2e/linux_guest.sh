#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# lab: cpus=1 mem=1700 timeout=300 leak=8192 long=debug
#
# A stock Linux guest with two vCPUs, which writes and checks its memory all the
# time, moves three times between two network namespaces: anonymous memory ->
# memfd -> hugetlb -> anonymous, over 1, 3 and 2 data channels, with verify. It
# never finds a wrong page, its lines on the console follow each other without a
# gap, and after each move it runs at one place only.
. /tests/lib.sh
require minivm ferryctl /guest/bzImage /guest/initrd.cpio.gz /guest/cmdline

netns_pair
cd /tmp || fail "no /tmp"
# What the guests and their VMMs said, if it went wrong.
trap '[ $? = 0 ] || tail -n 5 ./*.out ./*.log' EXIT
echo 112 >/proc/sys/vm/nr_hugepages
[ "$(cat /proc/sys/vm/nr_hugepages)" = 112 ] || fail "no 112 huge pages"

key() { sed -n "s/.*\"$2\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$1" | tail -n 1; }
lines() { tr -d '\r' <"$1" | grep -c '^FERRY-GUEST seq='; }
says_more() { [ "$(lines "$1")" -gt "$2" ]; }
first_seq() { tr -d '\r' <"$1" | sed -n 's/^FERRY-GUEST seq=\([0-9]*\) .*/\1/p' | head -n 1; }
last_seq() { tr -d '\r' <"$1" | sed -n 's/^FERRY-GUEST seq=\([0-9]*\) .*/\1/p' | tail -n 1; }
last_value() { tr -d '\r' <"$1" | sed -n "s/^FERRY-GUEST seq=.* $2=\([0-9.]*\).*/\1/p" | tail -n 1; }

# start NAME NAMESPACE MEMORY [OPTIONS OF MINIVM]
start()
{
	st_name=$1 st_ns=$2 st_mem=$3
	shift 3
	: >"$st_name.log"
	ip netns exec "$st_ns" minivm --name "$st_name" --cpus 2 --memory "$st_mem" --control "$st_name.ctl" \
		--console "$st_name.log" "$@" </dev/null >"$st_name.out" 2>&1 &
	echo $! >"$st_name.pid"
	wait_for 30 test -S "$st_name.ctl"
}

# move FROM NAMESPACE TO NAMESPACE MEMORY CHANNELS ADDRESS
move()
{
	start "$3" "$4" "$5" --incoming
	ip netns exec "$4" ferryctl receive "$3.ctl" tcp:7000 --timeout 60s --json >recv.json 2>recv.err &
	receiver=$!
	wait_for 30 listens 7000 "$4"
	ip netns exec "$2" ferryctl migrate "$1.ctl" "tcp:$7:7000" --channels "$6" --verify \
		--downtime 2s --json >mig.json 2>mig.err || fail "$1 -> $3: $(cat mig.json mig.err)"
	wait $receiver || fail "$1 -> $3 did not arrive: $(cat recv.json recv.err)"
	[ "$(key mig.json outcome)" = moved ] || fail "$1 -> $3: $(cat mig.json)"
	[ "$(key mig.json digest)" != 0 ] || fail "$1 -> $3: not verified"
	[ "$(key mig.json digest)" = "$(key recv.json digest)" ] || fail "$1 -> $3: other digests"
	wait_for 60 says_more "$3.log" 2
	tr -d '\r' <"$1.log" | grep 'FERRY-GUEST FAIL' && fail "a wrong page at $1"
	tr -d '\r' <"$3.log" | grep 'FERRY-GUEST FAIL' && fail "a wrong page at $3"
	[ "$(last_value "$3.log" errors)" = 0 ] || fail "$3 tells of errors: $(tail -n 1 "$3.log")"
	# A line may have begun at the source and ended at the sink.
	[ $(($(first_seq "$3.log") - $(last_seq "$1.log"))) -le 2 ] ||
		fail "lines were lost: $(last_seq "$1.log") to $(first_seq "$3.log")"
	before=$(lines "$1.log")
	now=$(lines "$3.log")
	wait_for 60 says_more "$3.log" $((now + 1))
	[ "$(lines "$1.log")" = "$before" ] || fail "the guest runs at $1 too"
	echo "$1 -> $3: total $(($(key mig.json total_time_ns) / 1000000)) ms, downtime" \
	     "$(($(key mig.json downtime_ns) / 1000000)) ms, $(key mig.json ram_normal) pages," \
	     "the guest's longest gap $(last_value "$3.log" gap_max_ms) ms," \
	     "$(last_value "$3.log" checked) pages checked"
	# What was given away may go; its memory is needed for the next one.
	kill "$(cat "$1.pid")"
	wait_for 20 gone "$(cat "$1.pid")"
}

start one src 200M,type=anon --kernel /guest/bzImage --initrd /guest/initrd.cpio.gz \
	--append "$(cat /guest/cmdline) ferry.load=light ferry.mem=48"
wait_for 60 says_more one.log 2
move one src two snk 200M,type=memfd 1 10.78.0.2
move two snk three src 200M,type=hugetlb 3 10.78.0.1
move three src four snk 200M,type=anon 2 10.78.0.2
exit 0
