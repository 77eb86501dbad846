#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One host: the same touched memory in a small and in a large guest, in turn.
# $1: rounds; $2: touched MiB; $3, $4: the two sizes in MiB
. /tests/lib.sh

rounds=$1
netns_pair
# What one move learns about the path must not slow the next one down.
for ns in src snk; do
	ip netns exec $ns sysctl -q -w net.ipv4.tcp_no_metrics_save=1 || fail "no sysctl"
done
while [ "$rounds" -gt 0 ]; do
	for mib in "$3" "$4"; do
		ip netns exec snk ferrybench sink 7100 &
		sink=$!
		ip netns exec src ferrybench source 10.78.0.2 7100 report "$mib/$2" fresh 2 ours:1 ||
			fail "the source failed"
		wait "$sink" || fail "the sink failed"
	done
	rounds=$((rounds - 1))
done
