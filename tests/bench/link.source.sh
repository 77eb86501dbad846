#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Two hosts: what the link carries with iperf3 -Z, and with ours, in turn.
# $1: MiB a move; $2: rounds; then modes.
. /tests/lib.sh

mib=$1 rounds=$2
shift 2
await sink-listens 60 >/dev/null
while [ "$rounds" -gt 0 ]; do
	iperf3 -c "$SINK_IP" -Z -n "${mib}M" -J >/tmp/iperf || fail "iperf3: $(cat /tmp/iperf)"
	rate=$(sed -n '/"sum_received"/,/}/s/.*"bits_per_second":[^0-9]*\([0-9.e+]*\).*/\1/p' /tmp/iperf)
	[ -n "$rate" ] || fail "no rate in: $(cat /tmp/iperf)"
	echo "bench {\"what\": \"iperf\", \"bits\": $rate}"
	ferrybench source "$SINK_IP" 7100 report "$mib" fresh 1 "$@" || fail "the source failed"
	rounds=$((rounds - 1))
done
meet over 60
