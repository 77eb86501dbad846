#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The sink host's part of "make demo"; see demo.source.sh.
. /tests/lib.sh

: >/tmp/console
minivm --incoming --name demo --cpus "$3" --memory "${1}M" --control /run/vm --console /tmp/console \
	2>/tmp/minivm.err &
vmm=$!
tail -f /tmp/console | while IFS= read -r line; do echo "guest| $line"; done &
vmm_is_well() { [ -d "/proc/$vmm" ] || { cat /tmp/minivm.err; fail "minivm has ended"; }; }
wait_for 20 [ -S /run/vm ]

ferryctl receive /run/vm tcp:7000 >/tmp/receive 2>&1 &
receiver=$!
wait_for 20 listens 7000
share sink-listens yes

wait_for 240 gone "$receiver"
wait "$receiver" || fail "ferryctl receive ended with $?: $(cat /tmp/receive /tmp/minivm.err)"
echo "The guest runs here now."
echo "fact sink $(vmcmd /run/vm '{"cmd":"status"}')"

# It has to go on for a while: a sweep over all of its memory, at the least.
value() { sed -n "s/.* $1=\([0-9.]*\).*/\1/p" /tmp/console | tail -1; }
first_sweeps=
swept()
{
	vmm_is_well
	has_line /tmp/console "FERRY-GUEST FAIL" && fail "the guest found its memory wrong"
	now=$(value sweeps)
	[ -n "$now" ] || return 1
	[ -n "$first_sweeps" ] || first_sweeps=$now
	[ $((now - first_sweeps)) -ge 2 ]
}
wait_for 120 swept
echo "fact first_at_sink \"$(grep -o 'FERRY-GUEST seq=[0-9]*' /tmp/console | head -1)\""
# Each line tells of the time since the line before: one of the first two that
# were begun here tells of the switchover.
at_switchover=$(sed -n 's/.*FERRY-GUEST seq.* gap_recent_ms=\([0-9.]*\).*/\1/p' /tmp/console |
	head -2 | sort -n | tail -1)
echo "fact guest {\"gap_at_switchover_ms\": $at_switchover," \
	"\"gap_max_ms\": $(value gap_max_ms), \"gap_tsc_ms\": $(value gap_tsc_ms)," \
	"\"checked\": $(value checked), \"writes\": $(value writes), \"errors\": $(value errors)}"
meet over 120
