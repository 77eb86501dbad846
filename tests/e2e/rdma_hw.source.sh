#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: cpus=1 mem=768 timeout=1500 leak=32768 module=no alone=yes kernels=none asked=6.12
#
# tests/rdma-hw, which is for two hosts with cards, tried on two with Soft-RoCE: what it looks
# at is found, figures come out, and it fails when something does. Of cards this shows
# nothing, and the script says so.
#
# Fewer numbers of channels than the script tries by itself: others' tests have them.
# Alone, since it installs modules in its hosts.
. /tests/lib.sh
require minivm ferryctl rdma /guest/flat.bin /tests/rdma-hw
cd /tmp || fail "no /tmp"
# The other host waits for it, whatever becomes of this one.
leave()
{
	rdma_uninstalled
	share source-done yes
}
trap leave EXIT

rdma_installed
echo 24 >/proc/sys/vm/nr_hugepages
# An ssh: hw-ssh HOST COMMAND..., with a script on its standard input.
cat >hw-ssh <<'END'
#!/bin/sh
host=$1
shift
{ echo "$*"; cat; } | nc "$host" 7600
END
chmod +x hw-ssh
await sink-listens 60 >/dev/null

hw()
{
	rdma-hw --peer "$SINK_IP" --address "$SOURCE_IP" --peer-address "$SINK_IP" --ssh /tmp/hw-ssh \
		--guest /guest/flat.bin --guest-args "512 2000 64" --memory 32 --downtime 4s --seconds 2 \
		--limit 120 "$@"
}
# refused WORDS ARGUMENTS...
refused()
{
	words=$1
	shift
	"$@" >out 2>&1
	[ $? = 2 ] || fail "not refused: $*: $(cat out)"
	grep -q "$words" out || fail "no \"$words\" in: $(cat out)"
}
refused "not understood" hw --emulate
refused "not a whole number" hw --memory lots
refused "say --peer" rdma-hw --address 10.0.0.1
refused "is no card" hw
refused "no interface has the address" hw --address 10.1.2.3 --emulated
refused "there: " hw --peer 127.0.0.1 --emulated
[ -z "$(ls -d /tmp/kvm-ferry-rdma-hw.* 2>/dev/null)" ] || fail "something is left"

# What cannot be is told as a failure.
{ hw --emulated --channels 2 --pinned 4M --quick 2>&1; echo $? >code; } | tee out
[ "$(cat code)" = 1 ] || fail "it did not fail"
grep -q "^not ok .*channels 2, pinned 4M" out && grep -q "# .*max_pinned" out &&
	grep -q " 1 failed, " out || fail "not as it should: $(cat out)"

{ hw --emulated --disruptive --channels "1 16" --pinned "small all" --json results 2>&1; echo $? >code; } | tee out
[ "$(cat code)" = 0 ] || fail "it ended with $(cat code)"
for figure in "ib_write_bw" "RDMA, 4 channels, all pinned" "TCP, 4 channels"; do
	grep -q "\"name\": \"$figure\", .*\"*gbit_s\": *[0-9]" results ||
		fail "no $figure in: $(cat results)"
done
grep -q '"emulated": true' results && grep -q '"failed": 0' results || fail "$(cat results)"
grep "^skip" out | grep -v "Soft-RoCE's connection manager" && fail "skipped"
[ -d /sys/module/kvm_ferry_rdma ] && fail "it is loaded again"
echo 0 >/proc/sys/vm/nr_hugepages
exit 0
