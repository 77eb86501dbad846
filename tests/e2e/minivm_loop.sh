#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: cpus=1 mem=512 timeout=120 long=debug
# Two minivms on one host move a guest over channels in the kernel's memory, there
# and back; what does not go together with "loop" is refused in words.
. /tests/lib.sh
require minivm /guest/flat.bin
cd /tmp || fail "no /tmp"

guest_says() { [ "$(grep -c "FERRY-FLAT cpu=$2 " "$1")" -gt "$3" ]; }
is() { vmcmd "$1.ctl" '{"cmd":"status"}' | grep -q "\"vm\":\"$2\""; }
refused()
{
	vmcmd one.ctl "$1" >out 2>&1 && fail "not refused: $1"
	grep -q "$2" out || fail "$1: no \"$2\" in: $(cat out)"
}

start()
{
	st_name=$1
	shift
	: >"$st_name.log"
	minivm --name "$st_name" --cpus 2 --memory 32M --control "$st_name.ctl" \
		--console "$st_name.log" "$@" </dev/null >"$st_name.out" 2>&1 &
	wait_for 20 test -S "$st_name.ctl"
}

# move FROM TO CHANNELS KEY
move()
{
	vmcmd "$2.ctl" "{\"cmd\":\"receive\",\"data_channels\":$3,\"loop\":$4}" || fail "$2"
	vmcmd "$1.ctl" "{\"cmd\":\"migrate\",\"data_channels\":$3,\"loop\":$4,\"verify\":true}" ||
		fail "$1"
	wait_for 30 is "$1" gone
	wait_for 30 is "$2" running
	vmcmd "$1.ctl" '{"cmd":"status"}' | grep -q "\"nr_channels\":$3," || fail "not $3 channels"
	wait_for 30 guest_says "$2.log" 0 2
	wait_for 30 guest_says "$2.log" 1 2
	grep -h FAIL "$1.log" "$2.log" && fail "the guest found its memory wrong"
}

start one --flat /guest/flat.bin --append "512 100 64"
wait_for 30 guest_says one.log 1 0
refused '{"cmd":"migrate","loop":7}' "how many there are, 1 to 16"
refused '{"cmd":"migrate","data_channels":17,"loop":7}' "how many there are, 1 to 16"
refused '{"cmd":"migrate","data_channels":2,"loop":-1}' "not negative"
start two --incoming
move one two 3 100
vmcmd one.ctl '{"cmd":"quit"}' >/dev/null
start three --incoming
move two three 1 200
exit 0
