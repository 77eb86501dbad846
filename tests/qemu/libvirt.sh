#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# libvirt as the distribution has it, on two hosts, which both run this: virsh moves a Linux
# guest that checks its memory to the other host and back, and the module carries its RAM.
# libvirt knows nothing of the capability "ferry" and leaves it as it was set: by -global in
# the domain's XML, or by the monitor. What virsh shows of a migration is believable, it
# changes speed and downtime, and it aborts. What cannot work with "ferry" is refused, in
# words that virsh prints, and the guest goes on.
# shellcheck source=/dev/null
. /tests/qemu.sh
require libvirtd virsh ferryctl
cd /tmp || fail "no /tmp"
trap '[ $? = 0 ] || { grep -h "FERRY-GUEST FAIL" ./*.log; tail -n 8 ./*.txt ./*.log /var/log/libvirt/qemu/*.log; }' EXIT

GUEST=guest MIB=160
peer=qemu+tcp://host$((3 - LAB_HOST))/system

# Everything that libvirt keeps goes with /tmp.
mkdir -p /tmp/var/lib /tmp/var/log /tmp/var/cache /etc/libvirt || fail "no directories"
ln -sfn /tmp/var /var
ln -sfn /run /tmp/var/run
# It wants the user of its package even if it is told another one.
echo "libvirt-qemu:x:64055:64055::/:/bin/false" >>/etc/passwd
echo "libvirt-qemu:x:64055:" >>/etc/group
# It tells the other one where to migrate to by its host's name.
printf "%s host1\n%s host2\n" "$SOURCE_IP" "$SINK_IP" >>/etc/hosts
cat >/etc/libvirt/qemu.conf <<-END
	user = "root"
	group = "root"
	security_driver = "none"
	namespaces = []
	cgroup_controllers = []
	stdio_handler = "file"
	remember_owner = 0
	seccomp_sandbox = 0
END
# Whoever reaches the address may do everything: nobody else is in this network.
cat >/etc/libvirt/libvirtd.conf <<-END
	listen_tls = 0
	listen_tcp = 1
	listen_addr = "10.77.0.$LAB_HOST"
	auth_tcp = "none"
	auth_unix_rw = "none"
	host_uuid = "c0ffee00-0000-4000-8000-00000000000$LAB_HOST"
	log_outputs = "2:file:/tmp/libvirtd.log"
END

v() { virsh -q -c qemu:///system "$@"; }
virsh_does() { v "$@" >virsh.txt 2>&1 || fail "virsh $*: $(cat virsh.txt)"; }
hmp() { v qemu-monitor-command $GUEST --hmp "$1" | tr -d '\r'; }
qmp_by_virsh() { v qemu-monitor-command $GUEST "$1"; }

# domain [-global WORDS]...: the domain's XML; QEMU is told these as well.
#
# libvirt stops a guest, and lets it go on: QEMU then sets KVM's clock to what it was. An
# emulated host does not know its own TSC's rate well, and a guest that extrapolates KVM's clock with it
# is ahead by then, half a second at times, with stock QEMU just so. Its own counter
# is not set.
domain()
{
	cat <<-END
	<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
	  <name>$GUEST</name>
	  <uuid>f0e1d2c3-0000-4000-8000-000000000001</uuid>
	  <memory unit='MiB'>$MIB</memory>
	  <vcpu>2</vcpu>
	  <cpu mode='host-passthrough' check='none'/>
	  <os>
	    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
	    <kernel>/guest/bzImage</kernel>
	    <initrd>/tmp/initrd</initrd>
	    <cmdline>$(cat /guest/cmdline.q35) ferry.console=/dev/vport0p1 ferry.load=light ferry.mem=48 clocksource=tsc tsc=reliable</cmdline>
	  </os>
	  <features>
	    <acpi/>
	    <kvm><dirty-ring state='on' size='4096'/></kvm>
	  </features>
	  <devices>
	    <emulator>/usr/bin/qemu-system-x86_64</emulator>
	    <controller type='usb' model='none'/>
	    <controller type='virtio-serial' index='0'>
	      <address type='pci' domain='0' bus='0' slot='2' function='0'/>
	    </controller>
	    <channel type='pipe'><source path='/tmp/port'/><target type='virtio' name='ferry'/></channel>
	    <serial type='file'><source path='/tmp/serial.log'/></serial>
	    <video>
	      <model type='vga'/>
	      <address type='pci' domain='0' bus='0' slot='1' function='0'/>
	    </video>
	    <memballoon model='none'/>
	  </devices>
	  <qemu:commandline>
	    <qemu:arg value='-L'/><qemu:arg value='/usr/share/qemu'/>
	$(for do_word in "$@"; do echo "    <qemu:arg value='$do_word'/>"; done)
	  </qemu:commandline>
	</domain>
	END
}

# port NAME: what a guest that comes says from here on is in NAME.log
port()
{
	rm -f port.in port.out
	mkfifo port.in port.out || fail "no fifos"
	cat <>port.out >"$1.log" &	# QEMUs that fail open it, too
	here=$1
}

# running: the domain is here, and goes on
running() { [ "$(v domstate $GUEST 2>/dev/null)" = running ]; }
absent() { ! v domstate $GUEST >/dev/null 2>&1; }
capability_is() { hmp "info migrate_capabilities" | grep -qx "ferry: $1"; }

# migrate [OPTIONS OF VIRSH]: to the other host, in the background; its words are in
# move.txt, and move.rc is there when it has ended
migrate()
{
	rm -f move.rc
	(
		v migrate --live "$@" $GUEST "$peer" >move.txt 2>&1
		echo $? >rc.new
		mv rc.new move.rc
	) &
}
ended() { [ -e move.rc ]; }

# session: ferryctl sees the module's, which virsh knows nothing of
session() { ferryctl list | grep -q "$GUEST"; }

# figure KEY: of the migration that is under way, from virsh
figure() { v domjobinfo $GUEST --rawstats | sed -n "s/^ *$1: *//p"; }
processed_more() { pm_now=$(figure memory_processed); [ "${pm_now:-0}" -gt "$1" ]; }

# believable: figures of a migration at 1 MiB/s
believable()
{
	wait_for 60 processed_more 2000000
	be_before=$(figure memory_processed)
	v domjobinfo $GUEST >job.txt
	wait_for 60 processed_more "$be_before"
	be_total=$(figure memory_total) be_left=$(figure memory_remaining)
	[ "$be_total" -ge $((MIB << 20)) ] && [ "$be_total" -lt $(((MIB + 64) << 20)) ] ||
		fail "memory_total is $be_total of $MIB MiB"
	[ "$be_left" -gt 0 ] && [ "$be_left" -lt "$be_total" ] || fail "memory_remaining is $be_left"
	[ "$be_before" -lt "$be_total" ] || fail "memory_processed is $be_before"
	echo "ok: domjobinfo: $(sed -n 's/  */ /g; /^Data\|^Time elapsed\|^Memory bandwidth/p' job.txt | tr '\n' ';')"
}

# completed WORDS: what the destination has been told of the migration
completed()
{
	v domjobinfo $GUEST --completed --keep-completed --rawstats >raw.txt
	virsh_does domjobinfo $GUEST --completed
	# The guest has filled 48 MiB with what no page of zeroes is.
	co_sent=$(sed -n 's/^ *memory_processed: *//p' raw.txt) co_down=$(sed -n 's/^ *downtime: *//p' raw.txt)
	[ "${co_sent:-0}" -gt $((48 << 20)) ] && [ "${co_down:-0}" -gt 0 ] || fail "domjobinfo: $(cat raw.txt)"
	echo "ok: $1: $(sed -n 's/  */ /g; /^Time elapsed:\|^Total downtime\|^Memory processed/p' virsh.txt | tr '\n' ';')"
}

# refused_move WORDS [OPTIONS OF VIRSH]: virsh says why, and the guest goes on
refused_move()
{
	re_words=$1
	shift
	migrate "$@"
	wait_for 120 ended
	[ "$(cat move.rc)" != 0 ] || fail "virsh migrate $* was taken"
	grep -q "$re_words" move.txt || fail "virsh migrate $*: $(cat move.txt)"
	running || fail "virsh migrate $*: the guest is $(v domstate $GUEST)"
	stays "$here"
	echo "ok: virsh migrate $*: $(tail -n 1 move.txt)"
}

# arrived FROM: the guest has come from the other host, whole
arrived()
{
	wait_for 120 running
	await "last-$1" 120 >last
	wait_for 60 says_more "$here.log" 3
	[ "$(value "$here.log" errors)" = 0 ] || fail "the guest tells of errors"
	# A line may have begun at the source and ended at the destination.
	[ $(($(seq_of "$here.log" head) - $(cat last))) -le 2 ] || fail "lines were lost"
	share "ok-$1" yes
}

# left NAME-OF-THE-LEG: the guest has gone, and is not here too
left()
{
	wait_for 180 ended
	[ "$(cat move.rc)" = 0 ] || fail "virsh migrate: $(cat move.txt)"
	share "last-$1" "$(seq_of "$here.log" tail)"
	le_before=$(lines "$here.log")
	await "ok-$1" 180 >/dev/null
	[ "$(lines "$here.log")" = "$le_before" ] || fail "the guest runs at both ends"
	absent || fail "the domain is here, too"
}

domain -global migration.x-ferry=on -global migration.ferry-channels=3 \
	-global migration.ferry-verify=on >with.xml
domain >plain.xml
cat /guest/modules.cpio /guest/initrd.cpio.gz >initrd || fail "no initrd"
libvirtd --listen -f /etc/libvirt/libvirtd.conf >libvirtd.txt 2>&1 &
daemon=$!
connected() { ! gone "$daemon" || fail "libvirtd has ended: $(cat libvirtd.txt)"; v version >virsh.txt 2>&1; }
wait_for 120 connected
echo "ok: $(sed -n 's/^Using library: //p' virsh.txt), $(sed -n 's/^Running hypervisor: //p' virsh.txt)"
port arrives
meet libvirtd 120

if [ "$LAB_HOST" = 1 ]; then
	virsh_does create plain.xml
	wait_for 150 says_more "$here.log" 2

	# A guest that was started without it, and the monitor.
	capability_is off || fail "$(hmp 'info migrate_capabilities')"
	[ -z "$(hmp 'migrate_set_capability ferry on')" ] || fail "migrate_set_capability by HMP"
	capability_is on || fail "HMP has not switched it on"
	qmp_by_virsh "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{$(capability ferry false)}}" >qmp.txt
	capability_is off || fail "QMP: $(cat qmp.txt)"
	qmp_by_virsh "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{$(capability ferry true)}}" >qmp.txt
	qmp_by_virsh '{"execute":"migrate-set-parameters","arguments":{"ferry-channels":3,"ferry-verify":true}}' >qmp.txt
	capability_is on || fail "QMP: $(cat qmp.txt)"
	echo "ok: qemu-monitor-command switches it on and off"

	migrate --xml with.xml --bandwidth 1
	believable
	session || fail "there is no session: $(ferryctl list)"
	virsh_does domjobabort $GUEST
	wait_for 60 ended
	[ "$(cat move.rc)" != 0 ] || fail "aborted, and done"
	running || fail "after domjobabort the guest is $(v domstate $GUEST)"
	stays "$here"
	echo "ok: domjobabort: $(tail -n 1 move.txt)"

	share comes yes
	migrate --xml with.xml --bandwidth 1
	believable
	session || fail "there is no session: $(ferryctl list)"
	virsh_does migrate-setmaxdowntime $GUEST 500
	virsh_does migrate-setspeed $GUEST 1000
	left there
	port comes-back
	share back-listens yes
	arrived back
	completed "back, with the limits that libvirt has"
	capability_is on || fail "it is off after the way back"

	refused_move "not compatible with postcopy-ram" --postcopy
	refused_move "not compatible with multifd" --parallel
	refused_move "not compatible with xbzrle" --compressed --comp-methods xbzrle
	refused_move "pass a TCP socket that listens" --p2p --tunnelled
	refused_move "TLS" --tls
	! v save $GUEST /tmp/saved >save.txt 2>&1 || fail "virsh save was taken"
	grep -q "ferry" save.txt || fail "virsh save: $(cat save.txt)"
	wait_for 30 running
	stays "$here"
	echo "ok: virsh save: $(tail -n 1 save.txt)"

	virsh_does destroy $GUEST
else
	await comes 600 >/dev/null
	arrived there
	completed "there, with setspeed and setmaxdowntime on the way"
	capability_is on || fail "-global has not switched it on"
	await back-listens 120 >/dev/null
	migrate --p2p
	left back
fi
meet end 600
kill "$daemon"
wait_for 30 gone "$daemon"
exit 0
