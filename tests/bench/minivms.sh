# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0
# For parts in which a guest moves from one minivm to another on one host. Sourced behind lib.sh,
# in a directory of their own.

# A number of the migration's result.
key() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" migrated | tail -n 1; }

# minivms_start RING-ENTRIES FLAT-ARGUMENTS: "one" runs the guest, "two" waits for it
minivms_start()
{
	: >one.log
	: >two.log
	minivm --name one --cpus 2 --memory 64M --ring-entries "$1" --control one.ctl --console one.log \
		--flat /guest/flat.bin --append "$2" </dev/null >one.out 2>&1 &
	minivm --name two --cpus 2 --memory 64M --ring-entries "$1" --control two.ctl --console two.log \
		--incoming </dev/null >two.out 2>&1 &
	wait_for 20 test -S one.ctl
	wait_for 20 test -S two.ctl
}

# "two" listens.
minivms_receive()
{
	ferryctl receive two.ctl tcp:7000 --json >received 2>&1 &
	mv_receiver=$!
	wait_for 20 listens 7000
}

# Waits until it has a guest, or has lost it.
minivms_arrived() { wait "$mv_receiver"; }

minivms_end()
{
	vmcmd one.ctl '{"cmd":"quit"}' >/dev/null
	vmcmd two.ctl '{"cmd":"quit"}' >/dev/null
	wait_for 20 test ! -S one.ctl
	wait_for 20 test ! -S two.ctl
}
