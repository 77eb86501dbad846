#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# One guest after the other, booted here on the first host, moves to the second, each by
# another of QEMU's ways: what "make bench-qemu" measures. Both hosts run this.
#   bench.sh LIMIT MIB TELL RUN...
# LIMIT: seconds a migration may take; MIB: the guest's memory; TELL: words for the guest,
# with commas for blanks; RUN: MODE[@RATE], where MODE is
#   plain multifd2 multifd4 zerocopy2 zerocopy4, each with /ring or /bitmap;  ferry1 ferry2 ...
#   trace-MODE: the same, and figures are asked for ten times a second, which costs time
#   perf-MODE: the same, and perf says where both hosts spend their time
#   auto-MODE: with auto-converge, which with ferry is the module's
# and RATE replaces the guest's ferry.rate. Each prints a line "bench {...}" at each end.
# shellcheck source=/dev/null
. /tests/qemu.sh
cd /tmp || fail "no /tmp"
trap '[ $? = 0 ] || tail -n 5 ./*.err ./*.serial ./*.log' EXIT

limit=$1
export MIB="$2" CPUS=1
words=$(echo "$3" | tr , ' ')
# The last vCPU is the wild one.
case $words in *ferry.wild=*) CPUS=2 ;; esac
shift 3

# counted: processor time of the whole host, in ticks (all but idle and iowait), and the
# bytes that its network card has sent and got
counted()
{
	read -r _ us ni sy _ _ ir so st _ </proc/stat
	read -r tx <"/sys/class/net/${LAB_NIC:-eth0}/statistics/tx_bytes"
	read -r rx <"/sys/class/net/${LAB_NIC:-eth0}/statistics/rx_bytes"
	echo "$((us + ni + sy + ir + so + st)) $tx $rx"
}
# since "COUNTED" "COUNTED": the same from the one to the other, as JSON's members
since()
{
	# shellcheck disable=SC2086 # words
	set -- $1 $2
	echo "\"cpu_ticks\":$(($4 - $1)),\"tx\":$(($5 - $2)),\"rx\":$(($6 - $3))"
}

caps() { echo "\"capabilities\":[$(for cap in "$@"; do printf '%s{"capability":"%s","state":true}' "$comma" "$cap"; comma=,; done)]"; }
comma=

# setup NAME MODE: what both ends must agree about
setup()
{
	se_caps="events" se_params='"max-bandwidth":10000000000,"downtime-limit":300'
	case $2 in
	multifd* | zerocopy*)
		se_caps="$se_caps multifd"
		se_params="$se_params,\"multifd-channels\":$(echo "$2" | tr -cd 0-9)"
		case $2 in zerocopy*) [ "$LAB_HOST" = 2 ] || se_caps="$se_caps zero-copy-send" ;; esac
		;;
	ferry*)
		se_caps="$se_caps ferry"
		se_params="$se_params,\"ferry-channels\":$(echo "$2" | tr -cd 0-9)"
		;;
	esac
	[ -z "$converges" ] || se_caps="$se_caps auto-converge"
	# shellcheck disable=SC2086 # words
	must "$1" migrate-set-capabilities "$(caps $se_caps)"
	must "$1" migrate-set-parameters "$se_params"
}

# launch NAME MODE TELL [OPTIONS]: the program and the ring that MODE needs
launch()
{
	la_name=$1 la_mode=$2
	TELL="$words $3"
	shift 3
	case $la_mode in
	*/bitmap) RING= ;;
	*) RING=,dirty-ring-size=4096 ;;
	esac
	# A vCPU can be held back once its ring is full: see docs/qemu.md.
	[ -z "$converges" ] || case $la_mode in ferry*) RING=,dirty-ring-size=1024 ;; esac
	case $la_mode in
	ferry*) PROGRAM=qemu-system-x86_64 ;;
	*) PROGRAM=qemu-stock ;;
	esac
	export TELL RING PROGRAM
	# Who waits for the end has the one socket: a monitor speaks with one at a time.
	[ -z "$traced" ] || set -- "$@" -qmp "unix:$la_name.trace,server=on,wait=off"
	# What is read is nowhere zero, and the same at both ends; nobody writes to it.
	case $words in *ferry.reads=*)
		[ -s reads.raw ] || head -c 8388608 /guest/bzImage >reads.raw
		set -- "$@" -drive file=reads.raw,if=none,id=disk,format=raw,read-only=on -device virtio-blk-pci,drive=disk,queue-size=256
		;;
	esac
	start "$la_name" "$@"
	setup "$la_name" "${la_mode%/*}"
}

# report NAME: the guest's figures now, as words: uptime writes gap_max_ms, the uptime and the
# writes when that gap began, errors
report()
{
	re_line=$(order "$1" report "^FERRY-GUEST seq=")
	echo "$re_line" | sed 's/.* uptime=\([0-9.]*\) .* writes=\([0-9]*\) .* gap_max_ms=\([0-9.]*\) .* gap_from=\([0-9.]*\) gap_writes=\([0-9]*\) .*errors=\([0-9]*\).*/\1 \2 \3 \4 \5 \6/'
}

# calm NAME: of the last report, the uptime, the pages that the vCPUs have checked that are not wild,
# and those that the wild one has written; nothing if none is wild
calm()
{
	tr -d '\r' <"$1.log" | sed -n 's/^FERRY-GUEST seq=.* uptime=\([0-9.]*\) checked=\([0-9]*\) .* wild_writes=\([0-9]*\) .*/\1 \2 \3/p' | tail -n 1
}

# trace NAME: what query-migrate says, ten times a second
trace()
{
	while :; do
		tr_line=$(qmp "$1.trace" query-migrate) || return
		case $tr_line in
		*'"status":"active"'*) echo "trace $(cut -d' ' -f1 /proc/uptime) $tr_line" ;;
		*completed* | *failed* | *cancelled*) return ;;
		esac
		usleep 100000
	done
}

# Where the time goes, of the whole host, and of which processes.
profile()
{
	[ -z "$profiled" ] || {
		perf record -q -a -g -e cpu-clock -F 250 -o perf.data sleep 1000 2>perf.err &
		perf=$!
		wait_for 20 [ -s perf.data ]
	}
}
profile_end()
{
	[ -z "$profiled" ] || {
		killall -INT sleep
		wait "$perf"
		echo "--- $run, $1"
		perf report -q --stdio --no-children -g none --sort comm -i perf.data 2>&1 | head -n 12
		perf report -q --stdio --no-children -g none --percent-limit 0.7 --sort sym -i perf.data 2>&1 | head -n 40
		perf report -q --stdio --children -g none --percent-limit 4 --sort sym -i perf.data 2>&1 | head -n 60
	}
}

source_end()
{
	launch "v$number" "$mode" "$tell"
	wait_for 200 says_more "v$number.log" 2
	# What it does undisturbed, over some seconds.
	before=$(report "v$number") calm_before=$(calm "v$number")
	wait_for 60 says_more "v$number.log" $(($(lines "v$number.log") + 6))
	quiet=$(report "v$number") calm_quiet=$(calm "v$number")
	share "up-$number" yes
	await "listens-$number" 200 >/dev/null
	order "v$number" "gap reset" "gap reset" >/dev/null
	began=$(report "v$number") calm_began=$(calm "v$number")
	profile
	marked=$(counted)
	[ -z "$traced" ] || trace "v$number" &
	state=$(qmp -t "$limit" -u completed,failed,cancelled "v$number.qmp" migrate \
		"{\"uri\":\"tcp:$SINK_IP:$((7000 + number))\"}" 2>&1)
	spent=$(since "$marked" "$(counted)")
	said=$(ask "v$number" query-migrate)
	profile_end source
	echo "bench {\"number\":$number,\"end\":\"source\",\"mode\":\"$mode\",\"run\":\"$run\",\"state\":\"$state\",$spent," \
		"\"before\":\"$before\",\"quiet\":\"$quiet\",\"began\":\"$began\"," \
		"\"calm\":[\"$calm_before\",\"$calm_quiet\",\"$calm_began\",\"$(calm "v$number")\"],\"said\":$said}"
	share "over-$number" "$state"
	[ "$state" = completed ] || ask "v$number" migrate_cancel >/dev/null 2>&1
	meet "run-$number" 100
	quit "v$number"
}

sink_end()
{
	# A counter that is set to within a second of what it is, KVM takes for one that is in step
	# with its siblings, and leaves it (kvm_synchronize_tsc()): a guest whose QEMU began when ours
	# did would see its own go back. So ours begins later.
	await "up-$number" 300 >/dev/null
	launch "v$number" "$mode" "$tell" -incoming defer
	must "v$number" migrate-incoming "\"uri\":\"tcp:0.0.0.0:$((7000 + number))\""
	wait_for 20 listens $((7000 + number))
	profile
	marked=$(counted)
	share "listens-$number" yes
	state=$(qmp -c -t $((limit + 60)) -u completed,failed "v$number.qmp" query-status 2>&1 | tail -n 2)
	spent=$(since "$marked" "$(echo "$state" | sed -n 's/^counted //p')")
	state=$(echo "$state" | head -n 1)
	profile_end sink
	# The source's word counts: what did not come in time is cancelled.
	if [ "$(await "over-$number" 100)" = completed ]; then
		wait_for 60 says_more "v$number.log" 1
		after=$(report "v$number")
		echo "bench {\"number\":$number,\"end\":\"sink\",\"mode\":\"$mode\",\"run\":\"$run\",\"state\":\"$state\",$spent,\"after\":\"$after\"}"
		[ "${after##* }" = 0 ] || fail "$run: the guest found wrong pages"
	fi
	meet "run-$number" 100
	gone "$(pid_of "v$number")" || kill -9 "$(pid_of "v$number")"
	wait_for 20 gone "$(pid_of "v$number")"
	scrubbed
}

number=0
for run in "$@"; do
	number=$((number + 1))
	mode=${run%@*}
	tell=''
	traced=''
	profiled=''
	converges=''
	case $run in *@*) tell="ferry.rate=${run#*@}" ;; esac
	case $mode in
	trace-*) mode=${mode#trace-} traced=yes ;;
	perf-*) mode=${mode#perf-} profiled=yes ;;
	auto-*) mode=${mode#auto-} converges=yes ;;
	esac
	if [ "$LAB_HOST" = 1 ]; then source_end; else sink_end; fi
	rm -f "v$number".*
done
exit 0
