#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: cpus=1 mem=512 timeout=180 long=debug
# A guest with two vCPUs moves to another host over the network between them, is
# verified, and the other host sends it back: each end is source and sink once.
. /tests/lib.sh
require minivm ferryctl /guest/flat.bin
cd /tmp || fail "no /tmp"

# The guest keeps 8 MiB dirty, which take a second or two where the kernel checks itself:
# there it would never converge. Elsewhere it must within the usual limit.
downtime=300ms
[ "${LAB_SLOW:-1}" = 1 ] || downtime=4s

guest_says() { [ "$(grep -c "FERRY-FLAT cpu=$2 " "$1")" -gt "$3" ]; }
wrong() { grep -h FAIL "$@" && fail "the guest found its memory wrong"; }

: >here.log
minivm --flat /guest/flat.bin --append "1024 200" --cpus 2 --memory 64M --control here.ctl \
	--console here.log </dev/null >here.out 2>&1 &
here=$!
wait_for 60 guest_says here.log 0 0
wait_for 60 guest_says here.log 1 0
await sink-listens 60 >/dev/null
ferryctl migrate here.ctl "tcp:$SINK_IP:7000" --channels 2 --verify --downtime "$downtime" >out 2>&1 ||
	fail "to the other host: $(cat out here.out)"
vmcmd here.ctl '{"cmd":"status"}' | grep -q '"vm":"gone"' || fail "it is still here"
wrong here.log
kill "$here"
wait_for 20 gone "$here"

# And back, into a new VMM.
: >back.log
minivm --incoming --cpus 2 --memory 64M --control back.ctl --console back.log \
	</dev/null >back.out 2>&1 &
wait_for 20 test -S back.ctl
ferryctl receive back.ctl tcp:7001 --timeout 90s >received 2>&1 &
receiver=$!
wait_for 20 listens 7001
share source-listens yes
wait_for 120 gone "$receiver"
wait "$receiver" || fail "back from the other host: $(cat received back.out)"
wait_for 60 guest_says back.log 0 1
wait_for 60 guest_says back.log 1 1
wrong back.log
meet over 60
