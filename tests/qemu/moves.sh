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
require qmpfd
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
		must "$be_name" migrate-set-capabilities "$(capability ferry "$4")"
		must "$be_name" migrate-set-parameters '"ferry-channels":3'
	done
	connect "$2" migrate-incoming listening "$3"
	wait_for 20 listens "$3"
	connect "$1" migrate connected "$3"
}

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
