#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# lab: cpus=1 mem=1024 timeout=300 leak=8192 kernels=6.1,6.12
#
# ferryctl migrate and receive with rdma: addresses, over rdma_rxe within one host:
# what is wrong is told in words, at both ends, and leaves the guest running, and so
# do a cancelled migration and a receiver that dies; then it moves, over one channel
# and several, by IPv4 and IPv6, and by TCP where RDMA cannot be and that was asked for.
. /tests/lib.sh
require minivm ferryctl rdma /guest/flat.bin
cd /tmp || fail "no /tmp"

# key FILE NAME: the value of a key in a line of JSON
key() { sed -n "s/.*\"$2\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$1" | tail -n 1; }
guest_says() { [ "$(grep -c FERRY-FLAT "$1")" -gt "$2" ]; }
check_is() { ferryctl check --json | tr '\n' ' ' | grep -q "\"name\": *\"$1\", *\"status\": *\"$2\", *\"detail\": *\"$3"; }

leave()
{
	rdma_down
	ip link del ferry0 2>/dev/null
	ip link del plain0 2>/dev/null
}
trap leave EXIT

# start NAME ARGUMENTS: a minivm with its control socket, by way of $with
with=
start()
{
	st_name=$1
	shift
	rm -f "$st_name.ctl"
	: >"$st_name.log"
	# shellcheck disable=SC2086 # words
	$with minivm --name "$st_name" --cpus 2 --memory 64M --control "$st_name.ctl" \
		--console "$st_name.log" "$@" </dev/null >"$st_name.out" 2>&1 &
	vmm=$!
	wait_for 20 test -S "$st_name.ctl"
}

# receive NAME ADDRESS [OPTIONS]: in the background, once it listens
receive()
{
	re_name=$1
	shift
	# What the last one said is not to be taken for this one's.
	rm -f recv.err
	ferryctl receive "$re_name.ctl" "$@" --timeout 60s --json >recv.json 2>recv.err &
	receiver=$!
	wait_for 20 has_line recv.err listening
}

# refused ADDRESS WORDS [RECEIVER'S WORDS]: the source is told, and the guest stays
refused()
{
	ferryctl migrate one.ctl "$1" >err 2>&1 && fail "not refused: $1"
	grep -q "$2" err || fail "no \"$2\" in: $(cat err)"
	[ $# = 2 ] || {
		wait "$receiver" && fail "the receiver took what was refused: $1"
		grep -q "$3" recv.err || fail "no \"$3\" in: $(cat recv.err)"
	}
	vmcmd one.ctl '{"cmd":"status"}' | grep -q '"vm":"running"' || fail "the guest does not run"
}
no_more() { kill "$receiver"; wait "$receiver"; }

start one --flat /guest/flat.bin --append "1024 200"
wait_for 60 guest_says one.log 1
start two --incoming

# The module for it is not there; nor is a device.
check_is rdma ok "no RDMA device" || fail "check: $(ferryctl check)"
receive two rdma:7000
refused rdma:127.0.0.1:7000 "refuses RDMA: .*modprobe kvm_ferry_rdma" "modprobe kvm_ferry_rdma"

modprobe -a rdma_rxe rdma_cm dummy || fail "no rdma_rxe"
ip link add plain0 type dummy && ip addr add 10.98.0.1/24 dev plain0 && ip link set plain0 up
ip link add ferry0 type veth peer name ferry1 && rdma link add rxe0 type rxe netdev ferry0 ||
	fail "no rxe"
check_is rdma-rxe0/1 warn "port DOWN" || fail "a port that is down: $(ferryctl check)"
ip link set ferry1 up && ip link set ferry0 up
wait_for 10 check_is rdma-rxe0/1 warn "port ACTIVE.*ferry0, address none"
ip addr add 10.99.0.1/24 dev ferry0
ip addr add fd99::1/64 dev ferry0 nodad
check_is rdma-rxe0/1 ok "port ACTIVE.*10.99.0.1, fd99::1" || fail "check: $(ferryctl check)"
check_is rdma warn "there are RDMA devices, but kvm_ferry_rdma is neither" ||
	fail "check: $(ferryctl check)"
insmod /lab/kvm_ferry_rdma.ko || fail "no kvm_ferry_rdma.ko"
check_is rdma ok "kvm_ferry_rdma is loaded" || fail "check: $(ferryctl check)"
low="prlimit --memlock=65536 setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock"
$low ferryctl check >out
grep -q "warn.*rdma-memlock.*64 KiB" out || fail "a low RLIMIT_MEMLOCK: $(cat out)"

# One end means TCP, or another number of channels, or an address without RDMA.
ferryctl migrate one.ctl rdma:10.99.0.1:7000 2>err && fail "nobody listens"
grep -q "does the receiver listen" err || fail "no advice in: $(cat err)"
receive two tcp:7000
refused rdma:10.99.0.1:7000 "listens with tcp: there"
no_more
receive two rdma:7000
ferryctl migrate one.ctl tcp:10.99.0.1:7000 --peer-timeout 2s >err 2>&1 && fail "TCP to RDMA"
grep -q "closed\|reset" err || fail "no reason in: $(cat err)"
no_more
receive two rdma:7000 --channels 3
refused rdma:10.99.0.1:7000 "another number of data channels"
no_more
receive two rdma:0.0.0.0:7000
refused rdma:10.98.0.1:7000 "refuses RDMA: .*no RDMA device has the address 10.98.0.1" \
	"no RDMA device has the address"
for bad in '"rdma":7000' '"rdma":0,"data_channels":1' '"rdma":7000,"loop":5,"data_channels":1'; do
	vmcmd one.ctl "{\"cmd\":\"migrate\",$bad}" >out 2>&1 && fail "not refused: $bad"
	grep -q '"rdma\\" (a port\|do not go together' out || fail "$bad: $(cat out)"
done

# What may be pinned: the VMM refuses what is no size, the module what is too little. 4 MiB
# are enough for one channel.
for bad in '"some":or \\"all' '-1:not negative' 'true:not negative' '1:at least 4 MiB'; do
	vmcmd two.ctl "{\"cmd\":\"receive\",\"loop\":9,\"data_channels\":1,\"max_pinned\":${bad%%:*}}" \
		>out 2>&1 && fail "not refused: $bad"
	grep -q "${bad#*:}" out || fail "$bad: $(cat out)"
done
vmcmd one.ctl '{"cmd":"migrate","loop":9,"data_channels":1,"max_pinned":"all"}' >out 2>&1 &&
	fail "a source that is told what to pin"
grep -q "a source" out || fail "not in words: $(cat out)"

# ended ADDRESS WORDS: a migration that was begun failed at both ends; the guest goes on
ended()
{
	wait "$migrator"
	[ $? = 6 ] || fail "not failed: $(cat mig.json mig.err)"
	[ "$(key mig.json outcome)" = failed ] || fail "not failed: $(cat mig.json)"
	key mig.json reason | grep -q "$1" || fail "no \"$1\" in: $(key mig.json reason)"
	echo "$(key mig.json reason)"
	had=$(grep -c FERRY-FLAT one.log)
	wait_for 30 guest_says one.log "$had"
}
migrate()
{
	ferryctl migrate one.ctl rdma:10.99.0.1:7000 --bandwidth 128K --json >mig.json 2>mig.err &
	migrator=$!
}

receive two rdma:7000
migrate
wait_for 30 sh -c 'ferryctl list | grep -q "source.*live"'
kill -INT "$migrator"
ended ""
wait "$receiver"
[ $? = 6 ] || fail "the receiver of what was cancelled: $(cat recv.json recv.err)"
receive two rdma:7000
migrate
wait_for 30 sh -c 'ferryctl list | grep -q "source.*live"'
kill -9 "$vmm"
ended .
wait "$receiver"
with=$low
start two --incoming
receive two rdma:7000
migrate
ended "RLIMIT_MEMLOCK"
wait "$receiver"
[ $? = 6 ] || fail "the receiver that may pin nothing: $(cat recv.json recv.err)"
kill "$vmm"
with=
start two --incoming

# move FROM TO CHANNELS LISTEN ADDRESS [RECEIVER'S OPTIONS]; $by_rdma channels, if not all
by_rdma=
move()
{
	mo_listen=$4
	mo_from=$1 mo_to=$2 mo_channels=$3 mo_address=$5
	shift 5
	receive "$mo_to" "$mo_listen" "$@"
	set -- "$mo_from" "$mo_to" "$mo_channels" "$mo_listen" "$mo_address"
	ferryctl migrate "$1.ctl" "$5" --channels "$3" --verify --downtime 1s --json \
		>mig.json 2>mig.err || fail "it did not move: $(cat mig.json mig.err recv.err)"
	wait "$receiver" || fail "it did not arrive: $(cat recv.json recv.err)"
	[ "$(key mig.json outcome)" = moved ] || fail "not moved: $(cat mig.json)"
	[ "$(key recv.json outcome)" = moved ] || fail "not here: $(cat recv.json)"
	[ "$(key mig.json nr_channels)" = "$3" ] || fail "not $3 channels: $(cat mig.json)"
	[ "$(key mig.json digest)" != 0 ] || fail "not verified: $(cat mig.json)"
	[ "$(key mig.json digest)" = "$(key recv.json digest)" ] || fail "the digests differ"
	[ "$(key recv.json rdma_channels)" = "${by_rdma:-$3}" ] || fail "not by RDMA, or all: $(cat recv.json)"
	[ "$(key mig.json rdma_channels)" = "${by_rdma:-$3}" ] || fail "not by RDMA, or all: $(cat mig.json)"
	[ "$by_rdma" = 0 ] || [ "$(key recv.json windows)" -gt 0 ] || fail "no windows: $(cat recv.json)"
	wait_for 60 guest_says "$2.log" 1
	grep -h FAIL "$1.log" "$2.log" && fail "the guest found its memory wrong"
	echo "$3 channels, $5: downtime $(key mig.json downtime_ns) ns," \
		"total $(key mig.json total_time_ns) ns"
	vmcmd "$1.ctl" '{"cmd":"quit"}' >/dev/null
}

move one two 1 rdma:7000 rdma:10.99.0.1:7000 --max-pinned 4M
[ "$(key recv.json pinned_most_bytes)" -le 4194304 ] || fail "more was pinned: $(cat recv.json)"
start three --incoming
move two three 4 rdma:10.99.0.1:7000 rdma:10.99.0.1:7000 --max-pinned all
[ "$(key recv.json pinned_most_bytes)" = 67108864 ] || fail "not all was pinned: $(cat recv.json)"
start four --incoming
move three four 2 "rdma:[fd99::1]:7000" "rdma:[fd99::1]:7000"

# With sockets to fall back to: RDMA comes about; the sink has none where the peer comes; it
# may pin nothing; and a receiver that takes all takes TCP alone.
start five --incoming
receive five rdma:7000
ferryctl migrate four.ctl rdma+tcp:10.99.0.1:7000 2>err && fail "to a receiver that takes RDMA alone"
grep -q "not with rdma+tcp:" err || fail "not in words: $(cat err)"
no_more
move four five 2 rdma+tcp:7000 rdma+tcp:10.99.0.1:7000
start six --incoming
by_rdma=0
move five six 2 rdma+tcp:7000 rdma+tcp:10.98.0.1:7000
grep -q "goes on by TCP: no RDMA device has the address" mig.err || fail "not told: $(cat mig.err)"
with=$low
start seven --incoming
move six seven 2 rdma+tcp:7000 rdma+tcp:10.99.0.1:7000
with=
start eight --incoming
move seven eight 2 rdma+tcp:7000 tcp:10.99.0.1:7000
vmcmd eight.ctl '{"cmd":"quit"}' >/dev/null
exit 0
