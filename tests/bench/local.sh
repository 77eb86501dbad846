#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One host, two network namespaces: the same memory of the same VM moves by every
# mode in turn. $1: MiB; $2: fresh or warm; $3: rounds; then the modes.
. /tests/lib.sh

mib=$1 fresh=$2 rounds=$3
shift 3
netns_pair
# What one move learns about the path must not slow the next one down.
for ns in src snk; do
	ip netns exec $ns sysctl -q -w net.ipv4.tcp_no_metrics_save=1 || fail "no sysctl"
done
ip netns exec snk ferrybench sink 7100 &
sink=$!
ip netns exec src ferrybench source 10.78.0.2 7100 vm "$mib" "$fresh" "$rounds" "$@" ||
	fail "the source failed"
wait "$sink" || fail "the sink failed"
