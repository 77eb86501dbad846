#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# QEMU with our patches, on one host: a Linux guest that checks its memory moves there and
# back with the capability "ferry" and verify, in anonymous memory, memfd and huge pages. A
# cancelled migration, one whose destination is killed, and one whose destination does not
# know of the capability leave it running, and QEMU's own way works before and after. What
# cannot work is refused, in words. The guest never finds a wrong page.
# shellcheck disable=SC3045
. /tests/lib.sh
require qemu-system-x86_64 /guest/bzImage /guest/initrd.cpio.gz /guest/cmdline /qemu
cd /tmp || fail "no /tmp"
trap '[ $? = 0 ] || tail -n 5 ./*.out ./*.err ./*.log' EXIT

lines() { tr -d '\r' <"$1" 2>/dev/null | grep -c '^FERRY-GUEST seq='; }
says_more() { [ "$(lines "$1")" -gt "$2" ]; }
value() { tr -d '\r' <"$1" | sed -n "s/^FERRY-GUEST seq=.* $2=\([0-9.]*\).*/\1/p" | tail -n 1; }
seq_of() { tr -d '\r' <"$1" | sed -n 's/^FERRY-GUEST seq=\([0-9]*\) .*/\1/p' | "$2" -n 1; }

# start NAME [OPTIONS OF QEMU]; MEMORY=KIND[,OPTIONS] of the guest's
start()
{
	st_name=$1
	shift
	st_memory=memory-backend-${MEMORY:-ram},id=pc.ram,size=160M
	mkfifo "$st_name.in" || fail "no fifo"
	: >"$st_name.log"
	qemu-system-x86_64 -L /qemu -name "$st_name" -accel "kvm${RING-,dirty-ring-size=4096}" \
		-machine q35,memory-backend=pc.ram -object "$st_memory" -cpu host -m 160 -smp 2 -nodefaults -no-user-config -display none -device VGA \
		-serial "file:$st_name.log" -qmp stdio -kernel /guest/bzImage \
		-initrd /guest/initrd.cpio.gz \
		-append "$(cat /guest/cmdline) ferry.load=light ferry.mem=48" "$@" \
		<>"$st_name.in" >"$st_name.out" 2>"$st_name.err" &
	echo $! >"$st_name.pid"
	wait_for 30 has_line "$st_name.out" QMP
	ask "$st_name" qmp_capabilities >/dev/null
}

# ask NAME COMMAND [ARGUMENTS]: prints QEMU's answer
ask()
{
	as_id=$(cat /proc/sys/kernel/random/uuid)
	as_args=${3:-}
	echo "{\"execute\":\"$2\",\"arguments\":{$as_args},\"id\":\"$as_id\"}" 1<>"$1.in"
	wait_for 30 has_line "$1.out" "\"id\": \"$as_id\""
	grep "\"id\": \"$as_id\"" "$1.out"
}

must() { mu_answer=$(ask "$@"); case $mu_answer in *'"error"'*) fail "$*: $mu_answer" ;; esac; }

refused()	# NAME WORDS COMMAND ARGUMENTS
{
	re_answer=$(ask "$1" "$3" "$4")
	case $re_answer in
	*'"error"'*"$2"*) echo "ok: refused: $(echo "$re_answer" | sed 's/.*"desc": "\([^"]*\)".*/\1/')" ;;
	*) fail "$3 $4 gave: $re_answer" ;;
	esac
}

capability() { echo "\"capabilities\":[{\"capability\":\"$1\",\"state\":$2}]"; }
status() { ask "$1" query-migrate | sed -n 's/.*"status": "\([a-z-]*\)".*/\1/p'; }
is() { [ "$(status "$1")" = "$2" ]; }
over() { case $(status "$1") in completed | failed | cancelled) ;; *) return 1 ;; esac; }
listening() { listens "$1"; }

# begin FROM TO PORT FERRY(true|false): the migration is under way
begin()
{
	for be_name in "$1" "$2"; do
		must "$be_name" migrate-set-capabilities "$(capability ferry "$4")"
		must "$be_name" migrate-set-parameters '"ferry-channels":3'
	done
	must "$2" migrate-incoming "\"uri\":\"tcp:127.0.0.1:$3\""
	wait_for 20 listening "$3"
	must "$1" migrate "\"uri\":\"tcp:127.0.0.1:$3\""
}

# stays NAME: after a migration that failed the guest goes on there
stays()
{
	st_before=$(lines "$1.log")
	wait_for 60 says_more "$1.log" $((st_before + 2))
	[ "$(value "$1.log" errors)" = 0 ] || fail "the guest at $1 found wrong pages"
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
	ask "$1" query-migrate | sed "s/.*\"total-time\": \([0-9]*\).*/ok: $1 -> $2, ferry $4: \1 ms/"
	must "$1" quit
	wait_for 20 gone "$(cat "$1.pid")"
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
usleep 1500000
must four migrate_cancel
wait_for 30 over four
is four cancelled || fail "cancelled: $(ask four query-migrate)"
stays four
echo "ok: a cancelled migration leaves the guest running"
wait_for 30 gone "$(cat gone.pid)"
rm -f gone.*

start gone -incoming defer
begin four gone 7005 true
usleep 1500000
kill -9 "$(cat gone.pid)"
wait_for 60 over four
is four failed || fail "killed: $(ask four query-migrate)"
stays four
echo "ok: $(ask four query-migrate | sed 's/.*"error-desc": "\([^"]*\)".*/\1/')"

# A destination that was not told of it.
start deaf -incoming defer
must four migrate-set-parameters '"max-bandwidth":1000000000'
must four migrate-set-capabilities "$(capability ferry true)"
must deaf migrate-incoming '"uri":"tcp:127.0.0.1:7009"'
wait_for 20 listening 7009
must four migrate '"uri":"tcp:127.0.0.1:7009"'
wait_for 90 over four
is four failed || fail "deaf: $(ask four query-migrate)"
stays four
echo "ok: $(ask four query-migrate | sed 's/.*"error-desc": "\([^"]*\)".*/\1/')"
[ ! -d "/proc/$(cat deaf.pid)" ] || kill -9 "$(cat deaf.pid)"
wait_for 20 gone "$(cat deaf.pid)"

echo 80 >/proc/sys/vm/nr_hugepages
MEMORY=memfd,hugetlb=on move four five 7006 true
move five six 7007 true
move six seven 7008 false
must seven quit
wait_for 20 gone "$(cat seven.pid)"

RING=
start plain
refused plain "dirty ring is off" migrate-set-capabilities "$(capability ferry true)"
must plain quit
wait_for 20 gone "$(cat plain.pid)"
exit 0
