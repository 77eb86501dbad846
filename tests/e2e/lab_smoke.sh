#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: module=no timeout=30
# The lab's own helpers do what they promise.
. /tests/lib.sh
require ip tc ss iperf3 /guest/bzImage
netns_pair
in_src ping -c 1 -W 5 10.78.0.2 >/dev/null || fail "no ping between the namespaces"
share key "some words"
[ "$(shared key)" = "some words" ] || fail "the store forgot a value"
shared nothing && fail "the store made a value up"
in_snk nc -l -p 4000 >/tmp/got </dev/null &
nc_pid=$!
wait_for 10 listens 4000 snk
echo over | in_src nc -w 5 10.78.0.2 4000
wait_for 10 gone "$nc_pid"
[ "$(cat /tmp/got)" = over ] || fail "lost: $(cat /tmp/got)"
