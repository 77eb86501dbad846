#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# QEMU with our patches, on one host: a Linux guest that checks its memory moves there and
# back with the capability "ferry" and verify, in anonymous memory, memfd and huge pages. A
# cancelled migration, one whose destination is killed, and one whose destination does not
# know of the capability leave it running, and QEMU's own way works before and after. A
# socket that was passed to QEMU does as well as a URI. What cannot work is refused, in words.
# The guest never finds a wrong page.
# shellcheck source=/dev/null
. /tests/qemu.sh
require qmpfd ferryctl
cd /tmp || fail "no /tmp"
trap '[ $? = 0 ] || tail -n 5 ./*.err ./*.serial ./*.log' EXIT

# pass NAME KIND PORT COMMAND: with the uri of what qmpfd passes
pass() { qmpfd "$1.qmp" "$2" "$3" "{\"execute\":\"$4\",\"arguments\":{\"uri\":\"fd:passed\"}}"; }

# connect NAME COMMAND KIND PORT: a migration to or at PORT; with FD=yes by a socket of that KIND
connect()
{
	if [ -z "${FD-}" ]; then
		must "$1" "$2" "\"uri\":\"tcp:127.0.0.1:$4\""
		return
	fi
	co_answer=$(pass "$1" "$3" "$4" "$2") || fail "qmpfd at $1"
	case $co_answer in *'"error"'*) fail "$2 of a socket: $co_answer" ;; esac
}

# begin FROM TO PORT FERRY(true|false): the migration is under way
begin()
{
	for be_name in "$1" "$2"; do
		tells "$be_name"
		must "$be_name" migrate-set-capabilities "$(capability ferry "$4")"
		must "$be_name" migrate-set-parameters '"ferry-channels":3'
	done
	connect "$2" migrate-incoming listening "$3"
	wait_for 20 listens "$3"
	connect "$1" migrate connected "$3"
}

# limit KEY: of the source's session, as the module has it
limit()
{
	ferryctl status "$(ferryctl list | awk '$2 == "source" { print $1 }')" --json | tr -d ' \n' |
		sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"
}
limited() { [ "$(limit "$1")" = "$2" ]; }
held_longer() { [ "$(limit throttle_ns)" -gt "$1" ]; }
held() { [ "$(limit throttled_rings)" = 2 ] && [ "$(limit throttle_ns)" -gt 0 ]; }

# query-migrate predicts a downtime of at least so many ms
expects() { ex_ms=$(figure "$1" expected-downtime); [ "${ex_ms:-0}" -ge "$2" ]; }

# move FROM TO PORT FERRY
move()
{
	start "$2" -incoming defer
	must "$1" migrate-set-parameters '"max-bandwidth":1000000000,"ferry-verify":true'
	begin "$@"
	wait_for 90 over "$1"
	arrived "$1" "$2" "ferry $4"
}

start one
wait_for 90 says_more one.log 2
refused one "not compatible with postcopy-ram" migrate-set-capabilities \
	"\"capabilities\":[{\"capability\":\"postcopy-ram\",\"state\":true},{\"capability\":\"ferry\",\"state\":true}]"
refused one "between 1 and 16" migrate-set-parameters '"ferry-channels":17'
must one migrate-set-parameters '"tls-creds":"none"'
refused one "unset tls-creds" migrate-set-capabilities "$(capability ferry true)"
must one migrate-set-parameters '"tls-creds":""'
must one migrate-set-capabilities "$(capability ferry true)"
refused one "unset tls-creds" migrate-set-parameters '"tls-creds":"none"'
refused one "not compatible with multifd" migrate-set-capabilities "$(capability multifd true)"
refused one "TCP only" migrate '"uri":"unix:/tmp/none"'
refused one "TCP only" migrate '"uri":"exec:cat"'
refused one "no postcopy" migrate-start-postcopy
refused one "holds its RAM itself" human-monitor-command '"command-line":"savevm one"'
check_refused "connected TCP socket" "$(pass one pair 0 migrate)" migrate fd:

move one two 7001 false
move two three 7002 true
MEMORY=memfd FD=yes move three four 7003 true

start gone -incoming defer
must gone migrate-set-capabilities "$(capability ferry true)"
refused gone "TCP only" migrate-incoming '"uri":"unix:/tmp/none"'
must four migrate-set-parameters '"max-bandwidth":8000000'
begin four gone 7004 true
refused gone "before migrate-incoming" migrate-set-capabilities "$(capability ferry false)"
refused gone "cannot change any more" migrate-set-parameters '"ferry-channels":4'
refused four "cannot change any more" migrate-set-parameters '"ferry-channels":4'
wait_for 60 sent_more four 4000000
# What the devices take, and the limit that this leaves, is the module's at once.
limited throttle never || fail "it throttles without auto-converge"
limited state_time_ns "$(told four load_state took)" || fail "devices: $(limit state_time_ns) ns"
refused four "'ferry_state_time' expects" migrate-set-parameters '"ferry-state-time":2000001'
must four migrate-set-parameters '"ferry-state-time":1000'
limited state_time_ns 1000000000 && limited downtime_limit_ns 1075000000 ||
	fail "of 1 s for devices the module knows $(limit state_time_ns), limit $(limit downtime_limit_ns) ns"
must four migrate-set-parameters '"downtime-limit":2000'
limited downtime_limit_ns 2000000000 || fail "the limit is $(limit downtime_limit_ns) ns"
wait_for 20 expects four 1000
must four migrate-set-parameters '"downtime-limit":300,"ferry-state-time":0'
must four migrate_cancel
wait_for 30 over four
is four cancelled || fail "cancelled: $(ask four query-migrate)"
stays four
echo "ok: a cancelled migration leaves the guest running"
wait_for 30 gone "$(pid_of gone)"

start gone -incoming defer
begin four gone 7005 true
wait_for 60 sent_more four 4000000
kill -9 "$(pid_of gone)"
wait_for 60 over four
is four failed || fail "killed: $(ask four query-migrate)"
stays four
echo "ok: $(ask four query-migrate | sed 's/.*"error-desc":"\([^"]*\)".*/\1/')"

# A destination that was not told of it.
start deaf -incoming defer
must four migrate-set-parameters '"max-bandwidth":1000000000'
must four migrate-set-capabilities "$(capability ferry true)"
must deaf migrate-incoming '"uri":"tcp:127.0.0.1:7009"'
wait_for 20 listens 7009
must four migrate '"uri":"tcp:127.0.0.1:7009"'
wait_for 90 over four
is four failed || fail "deaf: $(ask four query-migrate)"
stays four
echo "ok: $(ask four query-migrate | sed 's/.*"error-desc":"\([^"]*\)".*/\1/')"
[ ! -d "/proc/$(pid_of deaf)" ] || kill -9 "$(pid_of deaf)"
wait_for 20 gone "$(pid_of deaf)"

echo 80 >/proc/sys/vm/nr_hugepages
# Then away from rings that are full all the time.
RING=,dirty-ring-size=1024 MEMORY=memfd,hugetlb=on move four five 7006 true

# Both of its vCPUs write more than what is set here, and so wait for most of the time. QEMU and
# its monitor do not wait with them, and a vCPU that is to stop, does.
start none -incoming defer
must five migrate-set-parameters '"max-bandwidth":4000000'
must five migrate-set-capabilities "$(capability auto-converge true)"
begin five none 7010 true
wait_for 60 sent_more five 4000000
limited throttle auto || fail "auto-converge, and throttle is $(limit throttle)"
ferryctl set "$(ferryctl list | awk '$2 == "source" { print $1 }')" --throttle 64 >set.txt 2>&1 || fail "$(cat set.txt)"
wait_for 60 held
must five stop
must five cont
waited=$(limit throttle_ns)
wait_for 60 held_longer "$waited"
must five migrate_cancel
wait_for 30 over five
stays five
echo "ok: two vCPUs are held back, for $(in_ms "$waited") ms until they were stopped and went on"
must five migrate-set-capabilities "$(capability auto-converge false)"
must five migrate-set-parameters '"max-bandwidth":1000000000'
wait_for 30 gone "$(pid_of none)"
move five six 7007 true
move six seven 7008 false
quit seven

# QEMU 10.0 takes no second migrate-incoming once it has taken a socket.
export RING=''
start pair -S -incoming defer
must pair migrate-set-capabilities "$(capability ferry true)"
check_refused "socket that listens" "$(pass pair pair 0 migrate-incoming)" migrate-incoming fd:
quit pair

start plain
refused plain "dirty ring is off" migrate-set-capabilities "$(capability ferry true)"
quit plain

start plugged -S -incoming defer -m 160,slots=1,maxmem=1G -object memory-backend-ram,id=more,size=128M \
	-device virtio-mem-pci,memdev=more
refused plugged "without virtio-mem" migrate-set-capabilities "$(capability ferry true)"
quit plugged
exit 0
