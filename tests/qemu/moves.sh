#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# QEMU with our patches, on one host: a Linux guest that checks its memory moves there and
# back with the capability "ferry" and verify, in anonymous memory, memfd and huge pages. A
# cancelled migration, one whose destination is killed, and one whose destination does not
# know of the capability leave it running, and QEMU's own way works before and after. What
# cannot work is refused, in words. The guest never finds a wrong page.
# shellcheck source=/dev/null
. /tests/qemu.sh
cd /tmp || fail "no /tmp"
trap '[ $? = 0 ] || tail -n 5 ./*.err ./*.log' EXIT

# begin FROM TO PORT FERRY(true|false): the migration is under way
begin()
{
	for be_name in "$1" "$2"; do
		must "$be_name" migrate-set-capabilities "$(capability ferry "$4")"
		must "$be_name" migrate-set-parameters '"ferry-channels":3'
	done
	must "$2" migrate-incoming "\"uri\":\"tcp:127.0.0.1:$3\""
	wait_for 20 listens "$3"
	must "$1" migrate "\"uri\":\"tcp:127.0.0.1:$3\""
}

# move FROM TO PORT FERRY
move()
{
	start "$2" -incoming defer
	must "$1" migrate-set-parameters '"max-bandwidth":1000000000,"ferry-verify":true'
	begin "$@"
	wait_for 90 over "$1"
	is "$1" completed || fail "$1 -> $2: $(ask "$1" query-migrate)"
	wait_for 60 says_more "$2.log" 3
	cat "$1.log" "$2.log" | tr -d '\r' | grep 'FERRY-GUEST FAIL' && fail "a wrong page"
	[ "$(value "$2.log" errors)" = 0 ] || fail "$2 tells of errors"
	# A line may have begun at the source and ended at the destination.
	[ $(($(seq_of "$2.log" head) - $(seq_of "$1.log" tail))) -le 2 ] || fail "lines were lost"
	mo_before=$(lines "$1.log")
	wait_for 60 says_more "$2.log" $(($(lines "$2.log") + 2))
	[ "$(lines "$1.log")" = "$mo_before" ] || fail "the guest runs at $1 too"
	echo "ok: $1 -> $2, ferry $4: $(figure "$1" total-time) ms"
	quit "$1"
}

start one
wait_for 90 says_more one.log 2
refused one "not compatible with postcopy-ram" migrate-set-capabilities \
	"\"capabilities\":[{\"capability\":\"postcopy-ram\",\"state\":true},{\"capability\":\"ferry\",\"state\":true}]"
refused one "between 1 and 16" migrate-set-parameters '"ferry-channels":17'

move one two 7001 false
move two three 7002 true
MEMORY=memfd move three four 7003 true

start gone -incoming defer
must four migrate-set-parameters '"max-bandwidth":8000000'
begin four gone 7004 true
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
MEMORY=memfd,hugetlb=on move four five 7006 true
move five six 7007 true
move six seven 7008 false
quit seven

export RING=''
start plain
refused plain "dirty ring is off" migrate-set-capabilities "$(capability ferry true)"
quit plain
exit 0
