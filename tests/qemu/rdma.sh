#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# QEMU with our patches, on one host that has Soft-RoCE, and a guest that checks its memory and
# never finds a wrong page. "$@" are parts, in this order:
#
# refusals  what does not fit together for RDMA is told in words before a page has moved, at
#	    both ends, and the guest goes on
# ends	    so it does when the migration is cancelled or yanked, also while the destination
#	    does not answer, when that is killed, and when it may not pin memory
# moves	    it moves by RDMA there and back, with verify, in anonymous memory and memfd, to an
#	    address and over sockets that were passed, and at last by TCP
# shellcheck source=/dev/null
. /tests/qemu.sh
require qmpfd rdma prlimit setpriv
cd /tmp || fail "no /tmp"

leave()
{
	[ "$1" = 0 ] || { tail -n 5 ./*.err ./*.serial ./*.log; grep -v seq= ./*.log; }
	rdma_down
	ip link del ferry0 2>/dev/null
	ip link del plain0 2>/dev/null
}
trap 'leave $?' EXIT

port=7200 at=127.0.0.1 channels=3

pass() { qmpfd "$1.qmp" "$2" "$at:$3" "{\"execute\":\"$4\",\"arguments\":{\"uri\":\"fd:passed\"}}"; }

# connect NAME COMMAND KIND: a migration to or at $port; with FD=yes by a socket of that KIND
connect()
{
	if [ -z "${FD-}" ]; then
		must "$1" "$2" "\"uri\":\"tcp:$at:$port\""
		return
	fi
	co_answer=$(pass "$1" "$3" "$port" "$2") || fail "qmpfd at $1"
	case $co_answer in *'"error"'*) fail "$2 of a socket: $co_answer" ;; esac
}

# prepare NAME RDMA(true|false) CHANNELS
prepare()
{
	must "$1" migrate-set-capabilities "$(capability ferry true)"
	must "$1" migrate-set-parameters "\"ferry-channels\":$3,\"ferry-rdma\":$2,\"ferry-verify\":true"
}

# begin FROM TO RDMA [RDMA-AT-TO]: the migration is under way
begin()
{
	port=$((port + 1))
	prepare "$1" "$3" 3
	prepare "$2" "${4:-$3}" "$channels"
	connect "$2" migrate-incoming listening
	wait_for 20 listens "$port"
	connect "$1" migrate connected
}

# stayed WORDS [WORDS AT THE DESTINATION]: a migration from one to two failed, as these say
stayed()
{
	# That is sooner than somebody gives up who waits for connections.
	wait_for 20 over one
	is one failed || fail "not failed: $(ask one query-migrate)"
	st_said=$(ask one query-migrate | sed 's/.*"error-desc":"\([^"]*\)".*/\1/')
	case $st_said in *"$1"*) ;; *) fail "no \"$1\" in: $st_said" ;; esac
	stays one
	wait_for 30 gone "$(pid_of two)"
	[ -z "${2-}" ] || grep -q "$2" two.err || fail "no \"$2\" in: $(cat two.err)"
	echo "ok: told: $st_said"
}

# refuse RDMA RDMA-AT-TWO WORDS [WORDS AT THE DESTINATION]
refuse()
{
	start two -incoming defer
	begin one two "$1" "$2"
	stayed "$3" "${4-}"
}

# hold NAME: a migration from there does not come to its end, held NAME: nor does it get on,
# but some of RAM has been sent. release NAME: it does.
hold() { must "$1" migrate-set-parameters '"max-bandwidth":5000000,"downtime-limit":1'; }
held()
{
	wait_for 60 sent_more "$1" 2000000
	must "$1" migrate-set-parameters '"max-bandwidth":100000'
	is "$1" active || fail "that was too late: $(ask "$1" query-migrate)"
}
release() { must "$1" migrate-set-parameters '"max-bandwidth":1000000000,"downtime-limit":300'; }

# packets: that Soft-RoCE has sent so far
packets() { cat /sys/class/infiniband/rxe0/ports/1/hw_counters/sent_pkts; }

# move FROM TO RDMA [HOW]
move()
{
	start "$2" -incoming defer
	release "$1"
	mo_packets=$(packets)
	begin "$1" "$2" "$3"
	wait_for 120 over "$1"
	mo_packets=$(($(packets) - mo_packets))
	arrived "$1" "$2" "rdma $3, $mo_packets packets of it${4:+, $4}"
	# Of 48 MiB that the guest fills a packet carries 4 KiB at most.
	if [ "$3" = true ]; then
		[ "$mo_packets" -gt 12288 ] || fail "that did not go by RDMA"
	else
		[ "$mo_packets" = 0 ] || fail "that went by RDMA"
	fi
}

# with_rdma: Soft-RoCE has an address, and there is another one that it has not
with_rdma()
{
	at=10.99.0.1
	[ ! -d /sys/class/net/ferry0 ] || return 0
	modprobe -a dummy rdma_rxe rdma_cm || fail "no rdma_rxe"
	ip link add plain0 type dummy && ip addr add 10.98.0.1/24 dev plain0 && ip link set plain0 up
	ip link add ferry0 type veth peer name ferry1 && ip link set ferry1 up && ip link set ferry0 up &&
		ip addr add 10.99.0.1/24 dev ferry0 || fail "no veth"
	rdma_up ferry0
}

# --- refusals ------------------------------------------------------------------

refusals()
{
	must one migrate-set-parameters '"ferry-rdma":true,"tls-creds":"none"'
	refused one "unset tls-creds" migrate-set-capabilities "$(capability ferry true)"
	must one migrate-set-parameters '"tls-creds":""'
	must one migrate-set-capabilities "$(capability ferry true)"
	refused one "for RDMA set ferry-rdma" migrate '"uri":"rdma:127.0.0.1:7200"'
	refused one "unset tls-creds" migrate-set-parameters '"tls-creds":"none"'
	must one human-monitor-command '"command-line":"migrate_set_parameter ferry-rdma off"'
	must one human-monitor-command '"command-line":"migrate_set_parameter ferry-rdma on"'
	ask one human-monitor-command '"command-line":"info migrate_parameters"' | grep -q "ferry-rdma: on" ||
		fail "the human monitor does not tell"

	# Nothing for it is loaded, and there is no device.
	refuse true true "modprobe kvm_ferry_rdma" "modprobe kvm_ferry_rdma"

	with_rdma
	at=10.98.0.1
	refuse true true "no RDMA device has the address 10.98.0.1" "no RDMA device has the address 10.98.0.1"

	# The two were not told the same.
	at=10.99.0.1
	refuse true false "ferry-rdma is off there" "ferry-rdma is off there"
	refuse false true "ferry-rdma the same" "is ferry-rdma on at the source"
	channels=2
	refuse true true "ferry-channels is 2 there, not 3" "ferry-channels is 2 there"
	channels=3
}

# --- ends ----------------------------------------------------------------------

asks() { [ "$(netstat -tn | grep -c ":$port *ESTABLISHED")" -ge 2 ]; }

ends()
{
	with_rdma
	# One that listens, and never says a word: to wait for it can be ended.
	prepare one true 3
	for how in migrate_cancel yank; do
		start two -incoming defer
		prepare two true 3
		port=$((port + 1))
		connect two migrate-incoming listening
		wait_for 20 listens "$port"
		kill -STOP "$(pid_of two)"
		connect one migrate connected
		wait_for 20 asks
		if [ $how = yank ]; then
			must one yank '"instances":[{"type":"migration"}]'
		else
			must one $how
		fi
		wait_for 15 over one
		echo "ok: $how: $(ask one query-migrate | sed 's/.*"error-desc":"\([^"]*\)".*/\1/' | head -c 200)"
		kill -KILL "$(pid_of two)"
		stays one
		wait_for 20 gone "$(pid_of two)"
	done

	hold one
	start two -incoming defer
	begin one two true
	refused one "cannot change any more" migrate-set-parameters '"ferry-rdma":false'
	refused two "cannot change any more" migrate-set-parameters '"ferry-rdma":false'
	held one
	must one migrate_cancel
	wait_for 30 over one
	is one cancelled || fail "cancelled: $(ask one query-migrate)"
	stays one
	echo "ok: a cancelled migration leaves the guest running"
	wait_for 30 gone "$(pid_of two)"

	start two -incoming defer
	hold one
	begin one two true
	held one
	kill -9 "$(pid_of two)"
	stayed ferry:

	printf '#!/bin/sh\nexec prlimit --memlock=65536 setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock %s\n' \
		'qemu-system-x86_64 "$@"' >low.sh
	chmod +x low.sh
	PROGRAM=./low.sh start two -incoming defer
	begin one two true
	stayed RLIMIT_MEMLOCK RLIMIT_MEMLOCK
}

# --- moves ---------------------------------------------------------------------

moves()
{
	with_rdma
	move one two true
	FD=yes MEMORY=memfd move two one true "by sockets that were passed"
	move one two false
	quit two
}

start one
wait_for 240 says_more one.log 2
for part in "$@"; do
	case $part in
	refusals) refusals ;;
	ends) ends ;;
	moves) moves ;;
	*) fail "there is no part $part" ;;
	esac
done
exit 0
