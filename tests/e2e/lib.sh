# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Helpers for tests that run in an emulated host: ". /tests/lib.sh".
# A test ends with exit 0 (passed), 77 (skipped: "skip WHY"), or anything else.

fail()
{
	echo "FAIL: $*" >&2
	exit 1
}

skip()
{
	echo "SKIP: $*"
	exit 77
}

# require PROGRAM-OR-FILE...: without them the test cannot be run at all
require()
{
	for thing in "$@"; do
		case $thing in
		*/*) [ -e "$thing" ] || fail "$thing is not in this host" ;;
		*) command -v "$thing" >/dev/null || fail "$thing is not in this host" ;;
		esac
	done
}

# wait_for SECONDS COMMAND...: polls until COMMAND succeeds; fails the test after SECONDS
# (more of them on a kernel that is slow: LAB_SLOW is 1 on stock ones)
wait_for()
{
	wf_limit=$(($1 * ${LAB_SLOW:-1}))
	shift
	wf_end=$(($(cut -d. -f1 /proc/uptime) + wf_limit))
	until "$@"; do
		[ "$(cut -d. -f1 /proc/uptime)" -lt "$wf_end" ] ||
			fail "waited $wf_limit s in vain for: $*"
		usleep 50000
	done
}

# Conditions to wait for.
gone() { ! [ -d "/proc/$1" ]; }
listens() { # listens PORT [NAMESPACE]
	if [ -n "${2:-}" ]; then
		ip netns exec "$2" netstat -ltn 2>/dev/null | grep -q ":$1 "
	else
		netstat -ltn 2>/dev/null | grep -q ":$1 "
	fi
}
has_line() { grep -q -e "$2" "$1" 2>/dev/null; }	# has_line FILE PATTERN

# The lab loads the module before each test, unless its header says module=no.
with_module() { [ -d /sys/module/kvm_ferry ] || insmod /lab/kvm_ferry.ko || fail "insmod failed"; }
without_module() { ! [ -d /sys/module/kvm_ferry ] || rmmod kvm_ferry || fail "rmmod failed"; }

# rdma_up INTERFACE: Soft-RoCE on it, and the module for it; rdma_down at the end, or neither
# it nor the module unloads.
rdma_up()
{
	modprobe -a rdma_rxe rdma_cm || fail "no rdma_rxe"
	rdma link add rxe0 type rxe netdev "$1" || fail "no rxe on $1"
	[ -d /sys/module/kvm_ferry_rdma ] || insmod /lab/kvm_ferry_rdma.ko || fail "insmod failed"
}
# rdma_installed: the modules where modprobe finds them, none of them loaded, and Soft-RoCE
# on the network card. For tests that are alone in their hosts.
rdma_installed()
{
	modprobe -a rdma_rxe rdma_cm rdma_ucm ib_uverbs || fail "no rdma_rxe"
	rdma link add rxe0 type rxe netdev eth0 || fail "no rxe on eth0"
	mkdir -p "/lib/modules/$(uname -r)/updates"
	ln -s /lab/kvm_ferry.ko /lab/kvm_ferry_rdma.ko "/lib/modules/$(uname -r)/updates" && depmod ||
		fail "depmod"
}
rdma_uninstalled()
{
	rdma_down
	rm -rf "/lib/modules/$(uname -r)/updates"
	depmod
}
rdma_down() { rdma link delete rxe0 2>/dev/null; }
# traffic INTERFACE: bytes and packets that went out of it. packet_size BEFORE AFTER: what a
# packet had on average between two of those.
traffic() { (cd "/sys/class/net/$1/statistics" && echo "$(cat tx_bytes) $(cat tx_packets)"); }
packet_size() { echo $(((${2% *} - ${1% *}) / (${2#* } - ${1#* }))); }

# netns_pair [tc qdisc words]: two namespaces joined by a cable,
#   src (10.78.0.1, device cable) ------- snk (10.78.0.2, device cable)
# with an optional queueing discipline on both ends, as in "netns_pair netem rate 1gbit".
# The lab removes them after the test.
netns_pair()
{
	ip netns add src || fail "cannot add the namespace src"
	ip netns add snk || fail "cannot add the namespace snk"
	ip link add cable netns src type veth peer name cable netns snk || fail "cannot add veth"
	ip -n src addr add 10.78.0.1/24 dev cable
	ip -n snk addr add 10.78.0.2/24 dev cable
	for np_ns in src snk; do
		ip -n "$np_ns" link set lo up
		ip -n "$np_ns" link set cable up
		if [ $# -gt 0 ]; then
			tc -n "$np_ns" qdisc add dev cable root "$@" || fail "no qdisc $*"
		fi
	done
}
in_src() { ip netns exec src "$@"; }
in_snk() { ip netns exec snk "$@"; }

# Two hosts: the tests on both share a small store that the lab keeps.
# share KEY VALUE: sets it. shared KEY: prints it, fails while it is not set.
# await KEY [SECONDS]: waits for it and prints it. meet NAME [SECONDS]: both get here.
# The store is asked at LAB_SYNC: a port of an emulated host, or on a real machine two fifos,
# LAB_SYNC.ask and LAB_SYNC.answer. One line a request, and one an answer.
export SOURCE_IP="${SOURCE_IP:-10.77.0.1}" SINK_IP="${SINK_IP:-10.77.0.2}"

store_ask()
{
	(
		exec 7>>/run/lab-sync.lock
		flock 7
		if [ -n "${LAB_SYNC:-}" ]; then
			exec 5<>"$LAB_SYNC.ask" 6<>"$LAB_SYNC.answer"
		else
			exec 6<>/dev/virtio-ports/lab.sync 5>&6
		fi
		sa_number=$(cut -d' ' -f1 /proc/uptime).$$.$(cut -c1-8 /proc/sys/kernel/random/uuid)
		echo "$sa_number $*" >&5
		while read -r sa_got sa_answer <&6; do
			[ "$sa_got" = "$sa_number" ] && break
		done
		echo "$sa_answer"
	)
}

share()
{
	[ "$(store_ask put "$@")" = ok ] || fail "the lab did not take $*"
}

shared()
{
	sd_answer=$(store_ask get "$1")
	case $sd_answer in
	"= "*) echo "${sd_answer#= }" ;;
	"=") echo ;;
	*) return 1 ;;
	esac
}

await()
{
	wait_for "${2:-60}" shared_quietly "$1"
	shared "$1"
}
shared_quietly() { shared "$1" >/dev/null; }

meet()
{
	share "meet-$1-$LAB_HOST" here
	wait_for "${2:-60}" shared_quietly "meet-$1-$((3 - LAB_HOST))"
}
