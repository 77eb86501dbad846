#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The source host's part of "make demo". Lines that begin with "guest| " are the
# guest's console, "fact NAME JSON" is for result.json, the rest is for people.
# $1: guest memory in MiB, of it $2 filled with patterns; $3: vCPUs; $4: load
. /tests/lib.sh

: >/tmp/console
minivm --kernel /guest/bzImage --initrd /guest/initrd.cpio.gz --name demo \
	--append "$(cat /guest/cmdline) ferry.load=$4 ferry.mem=$2 ferry.report=1000" \
	--cpus "$3" --memory "${1}M" --control /run/vm --console /tmp/console \
	2>/tmp/minivm.err &
vmm=$!
tail -f /tmp/console | while IFS= read -r line; do echo "guest| $line"; done &

vmm_is_well() { [ -d "/proc/$vmm" ] || { cat /tmp/minivm.err; fail "minivm has ended"; }; }
guest_said()
{
	vmm_is_well
	has_line /tmp/console "$1"
}
wait_for 120 guest_said "FERRY-GUEST ready"
wait_for 60 guest_said "FERRY-GUEST seq=3 "
vmcmd /run/vm '{"cmd":"input","text":"gap reset\n"}' >/dev/null || fail "minivm took no input"
wait_for 20 guest_said "FERRY-GUEST gap reset"
echo "The guest runs here, with $3 vCPUs. It checks its memory all the time."
await sink-listens 120 >/dev/null
echo "ferryctl migrate /run/vm tcp:$SINK_IP:7000 --channels 2 --verify"
ferryctl migrate /run/vm "tcp:$SINK_IP:7000" --channels 2 --verify
status=$?
echo "fact source $(vmcmd /run/vm '{"cmd":"status"}')"
echo "fact last_at_source \"$(grep -o 'FERRY-GUEST seq=[0-9]*' /tmp/console | tail -1)\""
[ "$status" = 0 ] || fail "ferryctl migrate ended with $status: $(cat /tmp/minivm.err)"
meet over 120
