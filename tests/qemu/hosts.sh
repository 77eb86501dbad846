#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# QEMU with our patches, on two hosts, which both run this: a Linux guest with two vCPUs, a
# disk that both hosts see, a network card with a TCP stream and a ping from the second
# host, and a screen. It checks its memory and its disk all the time, both ends check the
# stream. It moves there and back $1 times by the module, with vhost at every other
# destination. With "$2" = all, QEMU as the distribution has it moves the guest first and
# last, and in between one migration is cancelled and one destination killed half way.
# shellcheck source=/dev/null
. /tests/qemu.sh
require flow diskcheck screencheck
cd /tmp || fail "no /tmp"
trap '[ $? = 0 ] || tail -n 5 ./*.err ./*.serial ./*.log flow.txt' EXIT

rounds=$1 form=${2:-short}
peer_ip=$([ "$LAB_HOST" = 1 ] && echo "$SINK_IP" || echo "$SOURCE_IP")
GUEST_IP=10.77.0.50
export MIB=192 TELL="ferry.load=light ferry.mem=48 ferry.net=$GUEST_IP/24 ferry.disk=32 ferry.screen=1 vga=0x30d"

# The host's own address moves to a bridge that the guest's card is on, too.
for module in bridge tun vhost_net virtio_blk; do
	modprobe "$module" || fail "no module $module"
done
mac=$(cat /sys/class/net/eth0/address)
ip link add name br0 address "$mac" type bridge forward_delay 0 || fail "no bridge"
ip addr flush dev eth0
ip link set eth0 master br0
ip link set br0 mtu 9000 up
ip addr add "10.77.0.$LAB_HOST/24" dev br0
ip tuntap add dev tap0 mode tap vnet_hdr || fail "no tap"
ip link set tap0 master br0 up
wait_for 10 [ -b /dev/vda ]
meet bridges
watch_phases

# boot NAME on|off [OPTIONS OF QEMU]: the guest with its devices; vhost on or off.
# 6.1's vhost cannot reset a queue, which QEMU without it offers.
boot()
{
	bo_name=$1 bo_vhost=$2
	shift 2
	start "$bo_name" -no-reboot \
		-netdev "tap,id=net,ifname=tap0,script=no,downscript=no,vhost=$bo_vhost" \
		-device virtio-net-pci,netdev=net,mac=52:54:00:77:01:01,addr=3,queue_reset=off \
		-drive file=/dev/vda,if=none,id=disk,format=raw,cache=none \
		-device virtio-blk-pci,drive=disk,addr=4 "$@"
}

# shows NAME COMMAND: after it the guest paints no more, and QEMU shows what it has painted
shows()
{
	sh_frame=$(order "$1" "$2" "screen held frame=" | sed 's/.*frame=//')
	must "$1" screendump "\"filename\":\"/tmp/screen.ppm\""
	screencheck screen.ppm "$sh_frame" >/dev/null ||
		fail "the screen at $1 is not frame $sh_frame after $2"
}

# picture NAME: QEMU shows what the guest has painted. The first look finds all lines dirty that
# were painted since the one before, by whom ever they were logged; what one more frame
# paints comes from the log as it is kept now.
picture()
{
	shows "$1" "screen hold"
	shows "$1" "screen step"
	order "$1" "screen go" "screen goes" >/dev/null
}

# No byte of the stream is wrong, and it goes on
came() { sed -n 's/^flow in=\([0-9]*\).*/\1/p' flow.txt | tail -n 1; }
flows() { fl_came=$(came); [ "${fl_came:-0}" -gt "$1" ]; }
check_flow()
{
	[ "$LAB_HOST" = 2 ] || return 0
	wait_for 30 flows "$(came)"
	! gone "$flow" || fail "flow has ended: $(tail -n 2 flow.txt)"
}

here=		# the name of the QEMU that has the guest, where it is
leg=0

# prepare FERRY: capability and parameters, which both ends must agree about
prepare()
{
	must "$1" migrate-set-capabilities "$(capability ferry "$2")"
	must "$1" migrate-set-parameters '"ferry-channels":3'
}

# receive NAME FERRY [PROGRAM [VHOST]]: wait for a guest
receive()
{
	PROGRAM=${3:-qemu-system-x86_64} boot "$1" "${4:-off}" -incoming defer
	[ "${3:-}" = qemu-stock ] || { prepare "$1" "$2"; tells "$1"; }
	must "$1" migrate-incoming "\"uri\":\"tcp:0.0.0.0:$((7000 + leg))\""
	wait_for 20 listens $((7000 + leg))
	share "listens-$leg" yes
}

# send FERRY [PROGRAM]
send()
{
	[ "${2:-}" = qemu-stock ] || prepare "$here" "$1"
	await "listens-$leg" 120 >/dev/null
	must "$here" migrate "\"uri\":\"tcp:$peer_ip:$((7000 + leg))\""
}

# move FROM FERRY PROGRAM-AT-THE-SOURCE PROGRAM-AT-THE-SINK: the guest leaves host FROM
move()
{
	leg=$((leg + 1))
	if [ "$LAB_HOST" = "$1" ]; then
		must "$here" migrate-set-parameters '"max-bandwidth":1000000000'
		[ "$2" = false ] || must "$here" migrate-set-parameters "\"ferry-verify\":$([ $((leg % 4)) -lt 2 ] && echo true || echo false)"
		send "$2" "$3"
		wait_for 120 over "$here"
		is "$here" completed || fail "leg $leg: $(ask "$here" query-migrate)"
		mv_last=$(seq_of "$here.log" tail)
		share "last-$leg" "$mv_last"
		mv_before=$(lines "$here.log")
		await "ok-$leg" 120 >/dev/null
		[ "$(lines "$here.log")" = "$mv_before" ] || fail "the guest runs at both ends"
		echo "ok: leg $leg, host $1 -> host $((3 - $1)), $3 -> $4, ferry $2:" \
			"$(figure "$here" total-time) ms, downtime $(figure "$here" downtime) ms"
		[ "$2" = false ] || { phases; foretold "$here"; }
		quit "$here"
		here=
	else
		here=v$leg
		receive "$here" "$2" "$4" "$([ $((leg % 4)) -ge 2 ] && echo on || echo off)"
		await "last-$leg" 120 >"last"
		wait_for 60 says_more "$here.log" 3
		[ "$(value "$here.log" errors)" = 0 ] || fail "the guest tells of errors"
		# A line may have begun at the source and ended at the destination.
		[ $(($(seq_of "$here.log" head) - $(cat last))) -le 2 ] || fail "lines were lost"
		picture "$here"
		[ "$2" = false ] || phases
		share "ok-$leg" yes
	fi
	check_flow
	meet "leg-$leg" 120
}

# broken HOW(cancel|kill): a migration from host 1 that does not come to its end
broken()
{
	leg=$((leg + 1))
	if [ "$LAB_HOST" = 1 ]; then
		must "$here" migrate-set-parameters '"max-bandwidth":4000000'
		send true
		wait_for 60 sent_more "$here" 4000000
		picture "$here"
		if [ "$1" = cancel ]; then
			must "$here" migrate_cancel
		else
			share "half-$leg" yes
		fi
		wait_for 60 over "$here"
		is "$here" "$([ "$1" = cancel ] && echo cancelled || echo failed)" ||
			fail "$1: $(ask "$here" query-migrate)"
		stays "$here"
		picture "$here"
		echo "ok: $1 half way leaves the guest running"
	else
		receive "v$leg" true
		if [ "$1" = kill ]; then
			await "half-$leg" 120 >/dev/null
			kill -9 "$(pid_of "v$leg")"
		fi
		wait_for 120 gone "$(pid_of "v$leg")"
		[ "$(lines "v$leg.log")" = 0 ] || fail "the guest ran at the destination"
	fi
	check_flow
	meet "leg-$leg" 120
}

ours=qemu-system-x86_64 stock=qemu-stock
first=$ours
if [ "$form" = all ]; then
	require $stock
	first=$stock
fi
if [ "$LAB_HOST" = 1 ]; then
	here=v0
	PROGRAM=$first boot v0 off
	[ "$first" = $stock ] || tells v0
	wait_for 150 says_more v0.log 2
	picture v0
	share guest up
else
	await guest 240 >/dev/null
	flow "$GUEST_IP" >flow.txt 2>&1 &
	flow=$!
	wait_for 30 flows 100000
fi
meet traffic 60
if [ "$form" = all ]; then
	move 1 false $stock $stock
	move 2 false $stock $ours
fi
while [ "$rounds" -gt 0 ]; do
	move 1 true $ours $ours
	move 2 true $ours $ours
	rounds=$((rounds - 1))
done
if [ "$form" = all ]; then
	broken cancel
	broken kill
	move 1 true $ours $ours
	move 2 false $ours $stock
	move 1 false $stock $stock
	move 2 false $stock $stock
fi

# Everything that was written is on the disk, and every byte of the stream has come.
if [ "$LAB_HOST" = 2 ]; then
	kill "$flow"
	wait "$flow" || fail "flow: $(tail -n 3 flow.txt)"
	echo "ok: $(tail -n 1 flow.txt)"
fi
meet quiet
if [ "$LAB_HOST" = 1 ]; then
	order "$here" "disk flush" "disk flushed"
	echo quit 1<>"$here.port.in"
	wait_for 60 gone "$(pid_of "$here")"
	diskcheck /dev/vda || fail "the disk is not what the guest has written"
fi
meet end
exit 0
