#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# QEMU with our patches, on one host, where a migration is not alone. "$@" are parts:
#
# memory    RAM in files at both ends; a balloon that is blown up and let off, before and
#	    while the guest moves, free page reporting and hinting; memory that was plugged,
#	    and that the guest ejects while it moves
# vcpus	    a vCPU that was plugged, twice; what may not be plugged while the guest moves; a
#	    vCPU that the guest ejects then; a memslot that comes and goes
# reset	    the guest is reset while it moves
# ends	    yank at either end, and COMMIT or its answer that does not come
# refusals  what moves.sh does not show of them
# versions  the other version of QEMU that there are patches for, and back
# shellcheck source=/dev/null
. /tests/qemu.sh
require relay
cd /tmp || fail "no /tmp"
trap '[ $? = 0 ] || { tail -n 12 ./*.err ./*.serial ./*.log; grep -v seq= ./*.log; }' EXIT

port=7100

# begin FROM TO [PORT]: the migration is under way, to PORT if that is not TO's own
begin()
{
	port=$((port + 1))
	for be_name in "$1" "$2"; do
		must "$be_name" migrate-set-capabilities "$(capability ferry true)"
		must "$be_name" migrate-set-parameters '"ferry-channels":3'
	done
	must "$2" migrate-incoming "\"uri\":\"tcp:127.0.0.1:$port\""
	wait_for 20 listens "$port"
	must "$1" migrate "\"uri\":\"tcp:127.0.0.1:${3:-$port}\""
}

# hold NAME: a migration from there does not come to its end: the guest writes more than
# that. release NAME: it does.
hold() { must "$1" migrate-set-parameters '"ferry-verify":true,"max-bandwidth":5000000,"downtime-limit":1'; }
release() { must "$1" migrate-set-parameters '"ferry-verify":true,"max-bandwidth":1000000000,"downtime-limit":300'; }

# held NAME: some of RAM has been sent, and from now on hardly anything is, so that it goes on
# for however long the rest takes
held()
{
	wait_for 60 sent_more "$1" 4000000
	must "$1" migrate-set-parameters '"max-bandwidth":100000'
	goes_on "$1"
}
goes_on() { is "$1" active || fail "that was too late: $(ask "$1" query-migrate)"; }

# All of RAM has been sent, and parts of it again
sent_once() { so_syncs=$(figure "$1" dirty-sync-count); [ "${so_syncs:-0}" -ge 2 ]; }

passes_reach() { [ "$(figure "$1" dirty-sync-count)" -ge "$2" ]; }

# failed NAME WORDS: the migration has, and the guest goes on
failed()
{
	wait_for 60 over "$1"
	is "$1" failed || fail "$1: $(ask "$1" query-migrate)"
	fa_why=$(ask "$1" query-migrate | sed 's/.*"error-desc":"\([^"]*\)".*/\1/')
	case $fa_why in *"$2"*) ;; *) fail "$1 failed otherwise: $fa_why" ;; esac
	stays "$1"
	echo "ok: $fa_why"
}

# never_ran NAME: the destination has ended, and had nothing to say
never_ran()
{
	wait_for 60 gone "$(pid_of "$1")"
	[ "$(lines "$1.log")" = 0 ] || fail "the guest ran at $1"
}

# The pages that the guest took later are checked, too
more_of() { value "$1.log" more_checked; }
checks_more() { cm_now=$(more_of "$1"); [ "${cm_now:-0}" -gt "$2" ]; }
more_right()
{
	wait_for 30 checks_more "$1" $(($(more_of "$1") + 500))
	[ "$(value "$1.log" errors)" = 0 ] || fail "$1 tells of errors"
}

# --- memory --------------------------------------------------------------------

# balloon NAME MIB: the guest keeps so much
balloon()
{
	must "$1" balloon "\"value\":$(($2 << 20))"
	wait_for 60 ballooned "$1" $(($2 << 20))
}
ballooned() { [ "$(ask "$1" query-balloon | tr -dc 0-9)" = "$2" ]; }

# with_file NAME [OPTIONS OF QEMU]: RAM in a file of its own, a balloon, room for memory
with_file()
{
	MEMORY="file,mem-path=/tmp/$1.ram,share=on" start "$@" -m 160,slots=2,maxmem=1G \
		-object iothread,id=io -device virtio-balloon-pci,addr=3,iothread=io,free-page-hint=on,free-page-reporting=on
}

has_no_dimm() { [ "$(ask "$1" query-memory-devices)" = "[]" ]; }

memory()
{
	# Where memory may come above 4 GiB, 64 MiB would be kept for devices that cannot reach it. A
	# guest that clears what it takes leaves nothing in a balloon that is not zero anyway.
	export CPUS=1 TELL="ferry.rate=2000 ferry.ws=16 ferry.mem=32 memhp_default_state=online_movable swiotlb=noforce init_on_alloc=0"
	with_file file1
	wait_for 90 says_more file1.log 2
	# What was written and is free again goes into the balloon.
	order file1 "more take 40" "more taken" >/dev/null
	order file1 "more free" "more freed" >/dev/null
	balloon file1 140
	with_file file2 -incoming defer
	hold file1
	begin file1 file2
	wait_for 120 sent_once file1
	# What was sent, and is discarded then, is zero here: "verify" finds where it is not there.
	order file1 "more take 16" "more taken" >/dev/null
	wait_for 60 passes_reach file1 $(($(figure file1 dirty-sync-count) + 2))
	order file1 "more free" "more freed" >/dev/null
	balloon file1 120
	balloon file1 150
	order file1 "more take 16" "more taken" >/dev/null
	balloon file1 144
	goes_on file1
	release file1
	arrived file1 file2
	more_right file2
	ballooned file2 $((144 << 20)) || fail "file2 has another balloon: $(ask file2 query-balloon)"
	balloon file2 160
	order file2 "more take 36" "more taken" >/dev/null
	more_right file2
	echo "ok: a balloon, blown up and let off before and while the guest moves"

	must file2 object-add '"qom-type":"memory-backend-ram","id":"plugged","size":134217728'
	must file2 device_add '"driver":"pc-dimm","id":"dimm","memdev":"plugged"'
	# So much there was not before.
	order file2 "more take 100" "more taken" >/dev/null
	more_right file2
	with_file file3 -object memory-backend-ram,id=plugged,size=128M \
		-device pc-dimm,id=dimm,memdev=plugged -incoming defer
	hold file2
	begin file2 file3
	wait_for 90 sent_more file2 4000000
	must file2 object-add '"qom-type":"memory-backend-ram","id":"late","size":134217728'
	refused file2 "not allowed while migrating" device_add '"driver":"pc-dimm","id":"toolate","memdev":"late"'
	refused file2 "not allowed while migrating" device_del '"id":"dimm"'
	release file2
	arrived file2 file3
	more_right file3
	echo "ok: memory that was plugged moves with the guest"

	# The guest is told to eject it, and does so when the migration is under way.
	order file3 "more free" "more freed" >/dev/null
	must file3 stop
	must file3 device_del '"id":"dimm"'
	with_file file4 -object memory-backend-ram,id=plugged,size=128M \
		-device pc-dimm,id=dimm,memdev=plugged -incoming defer
	hold file3
	begin file3 file4
	wait_for 60 sent_more file3 4000000
	must file3 cont
	wait_for 60 has_no_dimm file3
	goes_on file3
	order file3 "more take 16" "more taken" >/dev/null
	release file3
	arrived file3 file4
	more_right file4
	echo "ok: memory that the guest ejects while it moves"
	quit file4
	rm -f file*.ram
}

# --- vCPUs, memslots -----------------------------------------------------------

vcpu() { echo "\"driver\":\"host-x86_64-cpu\",\"id\":\"cpu$1\",\"socket-id\":0,\"core-id\":$1,\"thread-id\":0"; }
has_vcpus() { [ "$(ask "$1" query-cpus-fast | grep -o '"cpu-index"' | wc -l)" = "$2" ]; }

# plug_vcpu NAME: the second one, which has much to do then
plug_vcpu()
{
	must "$1" device_add "$(vcpu 1)"
	order "$1" "cpu on 1" "cpu 1 is on" >/dev/null
	order "$1" "more take 16" "more taken mib=16 cpu=1" >/dev/null
	more_right "$1"
}

vcpus()
{
	export CPUS=1,maxcpus=3 TELL="ferry.rate=2000 ferry.ws=16 ferry.mem=40"
	start vcpu1
	wait_for 90 says_more vcpu1.log 2
	plug_vcpu vcpu1
	# Its ring is somewhere in its middle when it goes, and there when it comes again.
	start vcpu0 -device host-x86_64-cpu,id=cpu1,socket-id=0,core-id=1,thread-id=0 -incoming defer
	hold vcpu1
	begin vcpu1 vcpu0
	wait_for 60 sent_more vcpu1 4000000
	must vcpu1 migrate_cancel
	wait_for 60 over vcpu1
	is vcpu1 cancelled || fail "not cancelled: $(ask vcpu1 query-migrate)"
	never_ran vcpu0
	must vcpu1 device_del '"id":"cpu1"'
	wait_for 30 has_vcpus vcpu1 1
	plug_vcpu vcpu1
	start vcpu2 -device host-x86_64-cpu,id=cpu1,socket-id=0,core-id=1,thread-id=0 -incoming defer
	hold vcpu1
	begin vcpu1 vcpu2
	held vcpu1
	refused vcpu1 "not allowed while migrating" device_add "$(vcpu 2)"
	refused vcpu1 "not allowed while migrating" device_del '"id":"cpu1"'
	order vcpu1 "vram turn" "vram written 1" >/dev/null
	order vcpu1 "vram turn" "vram written 2" >/dev/null
	goes_on vcpu1
	release vcpu1
	arrived vcpu1 vcpu2
	more_right vcpu2
	order vcpu2 "vram check" "vram right 2" >/dev/null
	echo "ok: a vCPU that was plugged twice, and a memslot that comes and goes while the guest moves"

	# The guest is told to eject the vCPU, and does so when the migration is under way.
	must vcpu2 stop
	must vcpu2 device_del '"id":"cpu1"'
	start vcpu3 -incoming defer -device host-x86_64-cpu,id=cpu1,socket-id=0,core-id=1,thread-id=0
	hold vcpu2
	begin vcpu2 vcpu3
	wait_for 60 sent_more vcpu2 4000000
	has_vcpus vcpu2 2 || fail "the vCPU has gone already"
	must vcpu2 cont
	wait_for 30 has_vcpus vcpu2 1
	failed vcpu2 "ferry:"
	grep -q "vCPU 1 is unplugged" vcpu2.err || fail "nobody tells of the vCPU: $(cat vcpu2.err)"
	more_right vcpu2
	never_ran vcpu3

	start vcpu4 -incoming defer
	release vcpu2
	begin vcpu2 vcpu4
	arrived vcpu2 vcpu4
	more_right vcpu4
	echo "ok: a vCPU that the guest ejects while it moves ends that, and it moves without it"
	quit vcpu4
}

# --- reset ---------------------------------------------------------------------

lives() { [ "$(tr -d '\r' <"$1.log" | grep -c '^FERRY-GUEST ready')" = "$2" ]; }

reset()
{
	export CPUS=1 TELL="ferry.load=light ferry.mem=40"
	start reset1
	wait_for 90 says_more reset1.log 2
	start reset2 -incoming defer
	hold reset1
	begin reset1 reset2
	held reset1
	must reset1 system_reset
	wait_for 120 lives reset1 2
	order reset1 "vram turn" "vram written 1" >/dev/null
	goes_on reset1
	release reset1
	arrived reset1 reset2
	order reset2 "vram check" "vram right 1" >/dev/null
	echo "ok: a reset while the guest moves"
	quit reset2
}

# --- ends ----------------------------------------------------------------------

# with_disk NAME [OPTIONS OF QEMU]: all of them have the same one, and QEMU locks it
with_disk()
{
	start "$@" -drive file=/tmp/disk.img,if=none,id=disk,format=raw,file.locking=on \
		-device virtio-blk-pci,drive=disk,addr=3
}

yank() { must "$1" yank '"instances":[{"type":"migration"}]'; }
stands() { ! ask "$1" query-status | grep -q '"running":true'; }

# relayed FROM TO WHAT: a migration of which COMMIT or its answer does not arrive
relayed()
{
	relay 7099 $((port + 1)) "$3" >relay.txt 2>&1 &
	re_pid=$!
	wait_for 20 has_line relay.txt ready
	release "$1"
	begin "$1" "$2" 7099
	wait_for 90 has_line relay.txt COMMIT
	wait_for 60 over "$1"
	is "$1" failed || fail "$3 lost: $(ask "$1" query-migrate)"
	re_why=$(ask "$1" query-migrate | sed 's/.*"error-desc":"\([^"]*\)".*/\1/')
	case $re_why in
	"ferry: the guest was handed over, and no answer came"*) echo "ok: $re_why" ;;
	*) fail "$3 lost: $re_why" ;;
	esac
	stands "$1" || fail "$1 runs the guest: $(ask "$1" query-status)"
	re_lines=$(lines "$1.log")
}

ends()
{
	export CPUS=1 TELL="ferry.rate=2000 ferry.ws=16 ferry.mem=40 ferry.disk=8"
	truncate -s 16M disk.img
	with_disk end1
	wait_for 90 says_more end1.log 2

	# The destination stands: the source waits for it to have loaded everything.
	with_disk end2 -incoming defer
	hold end1
	begin end1 end2
	wait_for 60 sent_more end1 4000000
	kill -STOP "$(pid_of end2)"
	release end1
	wait_for 60 stands end1
	yank end1
	failed end1 "ferry:"
	kill -CONT "$(pid_of end2)"
	never_ran end2
	echo "ok: yank at the source"

	with_disk end3 -incoming defer
	hold end1
	begin end1 end3
	wait_for 60 sent_more end1 4000000
	kill -STOP "$(pid_of end1)"
	yank end3
	never_ran end3
	kill -CONT "$(pid_of end1)"
	# What it tells of is the main connection, or the module's, whichever is looked at first.
	failed end1 ""
	echo "ok: yank at the destination"

	# COMMIT never arrives: nobody runs the guest until somebody says so.
	with_disk end4 -incoming defer
	relayed end1 end4 commit
	never_ran end4
	kill "$re_pid"
	[ "$(lines end1.log)" = "$re_lines" ] || fail "end1 has run the guest"
	must end1 cont
	stays end1
	order end1 "disk flush" "disk flushed" | grep "errors=0" || fail "the disk is wrong"

	# It arrives, and its answer does not.
	with_disk end5 -incoming defer
	relayed end1 end5 answer
	wait_for 60 says_more end5.log 3
	refused end1 'Failed to get "write" lock' cont
	stands end1 || fail "end1 runs the guest"
	[ "$(lines end1.log)" = "$re_lines" ] || fail "end1 has run the guest"
	quit end1
	stays end5
	order end5 "disk flush" "disk flushed" | grep "errors=0" || fail "the disk is wrong"
	kill "$re_pid"
	quit end5
	rm disk.img
}

# --- refusals ------------------------------------------------------------------

# refused_job NAME WORDS COMMAND: of a job, which tells later
refused_job()
{
	must "$1" "$3" '"job-id":"job","tag":"one","vmstate":"none","devices":[]'
	wait_for 30 job_is_over "$1"
	check_refused "$2" "$(ask "$1" query-jobs | sed 's/.*"error":"\([^"]*\)".*/\1/')" "$3"
	must "$1" job-dismiss '"id":"job"'
}
job_is_over() { ask "$1" query-jobs | grep -q '"status":"concluded"'; }

sev_guest() { echo "sev-guest,id=sev0,sev-device=/dev/null,cbitpos=$1,reduced-phys-bits=1"; }

refusals()
{
	start snap -S
	must snap migrate-set-capabilities "$(capability ferry true)"
	for re_command in loadvm savevm; do
		refused snap "holds its RAM itself" human-monitor-command "\"command-line\":\"$re_command one\""
	done
	for re_command in snapshot-load snapshot-save; do
		refused_job snap "holds its RAM itself" "$re_command"
	done
	must snap migrate-set-capabilities "$(capability ferry false)"
	refused snap "snapshot" human-monitor-command '"command-line":"loadvm one"' >loadvm.txt
	! grep -q ferry loadvm.txt || fail "without the capability: $(cat loadvm.txt)"
	quit snap

	# There is no other accelerator in it that a machine of this kind starts with.
	for re_incoming in "" "-incoming defer"; do
		# shellcheck disable=SC2086 # words
		ACCEL=qtest start nokvm -S -cpu qemu64 $re_incoming
		refused nokvm "does not run on KVM" migrate-set-capabilities "$(capability ferry true)"
		quit nokvm
	done

	# QEMU believes that there is SEV: the machine is one of a confidential guest. It tells
	# which of the address's bits is said to be the one, but for that of other hosts.
	re_bit=$(qemu-system-x86_64 -accel kvm -S -display none -machine q35,confidential-guest-support=sev0 \
		-object "$(sev_guest 63)" 2>&1 | sed -n "s/.*host '\([0-9]*\)'.*/\1/p")
	LD_PRELOAD=/tests/sev start sev -S -machine confidential-guest-support=sev0 \
		-object "$(sev_guest "${re_bit:-63}")"
	refused sev "without confidential-guest-support" migrate-set-capabilities "$(capability ferry true)"
	quit sev
}

# --- versions ------------------------------------------------------------------

versions()
{
	require qemu-other
	export CPUS=2 TELL="ferry.load=light ferry.mem=48"
	start ours1
	wait_for 90 says_more ours1.log 2
	PROGRAM=qemu-other start other1 -incoming defer
	release ours1
	begin ours1 other1
	arrived ours1 other1
	start ours2 -incoming defer
	release other1
	begin other1 ours2
	arrived other1 ours2
	echo "ok: $(qemu-system-x86_64 --version | head -n 1), $(qemu-other --version | head -n 1), and back"
	quit ours2
}

for part in "$@"; do
	case $part in
	memory) memory ;;
	vcpus) vcpus ;;
	reset) reset ;;
	ends) ends ;;
	refusals) refusals ;;
	versions) versions ;;
	*) fail "there is no part $part" ;;
	esac
done
exit 0
