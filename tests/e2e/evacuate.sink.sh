#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The other host of evacuate.source.sh.
. /tests/lib.sh
require minivm ferryctl
cd /tmp || fail "no /tmp"

guest_says() { [ "$(grep -c "FERRY-FLAT cpu=$2 " "$1")" -gt "$3" ]; }
# waits NAME PORT: a VMM that takes a guest there; $receiver is its ferryctl
waits()
{
	: >"$1.log"
	minivm --incoming --memory 64M --control "$1.ctl" --console "$1.log" </dev/null >"$1.out" 2>&1 &
	wait_for 20 test -S "$1.ctl"
	ferryctl receive "$1.ctl" "tcp:$2" --timeout 300s >"$1.got" 2>&1 &
	receiver=$!
	wait_for 20 listens "$2"
}

waits small 7000
small=$receiver
waits large 7002
large=$receiver
share sink-listens yes
wait_for 300 gone "$small"
wait_for 300 gone "$large"
wait "$small" || fail "small did not come: $(cat small.got small.out)"
wait "$large" || fail "large did not come: $(cat large.got large.out)"
wait_for 60 guest_says small.log 0 1
wait_for 60 guest_says large.log 0 1
meet moved 200

waits lonely 7001
share sink-listens-again yes
wait_for 120 gone "$receiver"
wait "$receiver"
code=$?
[ "$code" = 6 ] || fail "an interrupted guest came, with exit code $code: $(cat lonely.got)"
grep -h FAIL ./*.log && fail "a guest found its memory wrong"
meet over 60
