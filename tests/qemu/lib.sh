# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC3045
# Guests of QEMU, and what is asked of them over QMP: ". /tests/qemu.sh".
# shellcheck source=/dev/null
. /tests/lib.sh
require qemu-system-x86_64 qmp /guest/bzImage /guest/initrd.cpio.gz /guest/cmdline.q35 /guest/modules.cpio /usr/share/qemu

lines() { tr -d '\r' <"$1" 2>/dev/null | grep -c '^FERRY-GUEST seq='; }
says_more() { [ "$(lines "$1")" -gt "$2" ]; }
# value LOG KEY: of the last report; seq_of LOG head|tail: the first report's number, or the last's
value() { tr -d '\r' <"$1" | sed -n "s/^FERRY-GUEST seq=.* $2=\([0-9.]*\).*/\1/p" | tail -n 1; }
seq_of() { tr -d '\r' <"$1" | sed -n 's/^FERRY-GUEST seq=\([0-9]*\) .*/\1/p' | "$2" -n 1; }

# start NAME [OPTIONS OF QEMU]: a q35 machine. Files NAME.log (what the guest says), .serial
# (its kernel), .err, .pid, .qmp.
# The port is the first virtio device, by which the guest knows it. More ports than that would
# be queues that are stopped and started at each move: 28 and 50 ms for QEMU's default of 31.
# From the environment: PROGRAM, MEMORY (memory-backend-KIND[,OPTIONS] of the guest's RAM),
# RING (options of -accel kvm) or ACCEL, MIB and CPUS of the guest, TELL (words for the guest)
start()
{
	st_name=$1
	shift
	st_mib=${MIB:-160}
	rm -f "$st_name".*
	mkfifo "$st_name.port.in" "$st_name.port.out" || fail "no fifos"
	cat /guest/modules.cpio /guest/initrd.cpio.gz >"$st_name.initrd" || fail "no initrd"
	cat "$st_name.port.out" >"$st_name.log" &
	"${PROGRAM:-qemu-system-x86_64}" -L /usr/share/qemu -name "$st_name" \
		-accel "${ACCEL:-kvm${RING-,dirty-ring-size=4096}}" \
		-machine pc-q35-7.2,memory-backend=pc.ram \
		-object "memory-backend-${MEMORY:-ram},id=pc.ram,size=${st_mib}M" \
		-cpu host -m "$st_mib" -smp "${CPUS:-2}" -nodefaults -no-user-config -display none \
		-device VGA -serial "file:$st_name.serial" -device virtio-serial-pci,addr=2,max_ports=2 \
		-chardev "pipe,id=port,path=$st_name.port" -device virtserialport,chardev=port -qmp "unix:$st_name.qmp,server=on,wait=off" \
		-kernel /guest/bzImage -initrd "$st_name.initrd" \
		-append "$(cat /guest/cmdline.q35) ferry.console=/dev/vport0p1 ${TELL-ferry.load=light ferry.mem=48}" "$@" \
		</dev/null >"$st_name.err" 2>&1 &
	echo $! >"$st_name.pid"
	wait_for 30 answers "$st_name"
	rm "$st_name.initrd"
}

answers() { [ -S "$1.qmp" ] && ask "$1" query-status >/dev/null; }
pid_of() { cat "$1.pid"; }

# ask NAME COMMAND [ARGUMENTS]: prints what QEMU returns
ask() { qmp "$1.qmp" "$2" "{${3:-}}"; }
must() { ask "$@" >must.txt 2>&1 || fail "$*: $(cat must.txt)"; }

# check_refused WORDS ANSWER COMMAND...: QEMU's answer is a sentence with these words
check_refused()
{
	case $2 in
	*"$1"*) echo "ok: refused: $(echo "$2" | sed 's/^qmp: //; s/.*"desc": "//; s/^"Error: //; s/\\r.*//; s/".*//')" ;;
	*) re_answer=$2; shift 2; fail "$* gave: $re_answer" ;;
	esac
}

refused()	# NAME WORDS COMMAND [ARGUMENTS]
{
	if re_answer=$(ask "$1" "$3" "${4:-}" 2>&1); then
		# What the human monitor says is no error of QMP's.
		case $re_answer in *'"Error:'*) ;; *) fail "$3 $4 was taken" ;; esac
	fi
	check_refused "$2" "$re_answer" "$3" "${4:-}"
}

# order NAME COMMAND ANSWER: a command for the guest itself, and what it must say to it
order()
{
	or_before=$(grep -c "$3" "$1.log")
	echo "$2" 1<>"$1.port.in"
	wait_for 60 said_again "$1.log" "$3" "$or_before"
	tr -d '\r' <"$1.log" | grep "$3" | tail -n 1
}
said_again() { [ "$(grep -c "$2" "$1")" -gt "$3" ]; }

capability() { echo "\"capabilities\":[{\"capability\":\"$1\",\"state\":$2}]"; }
status() { ask "$1" query-migrate | sed -n 's/.*"status":"\([a-z-]*\)".*/\1/p'; }
is() { [ "$(status "$1")" = "$2" ]; }
over() { case $(status "$1") in completed | failed | cancelled) ;; *) return 1 ;; esac; }
# figure NAME KEY: of query-migrate, and in it of "ram"
figure() { ask "$1" query-migrate | sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p"; }
sent_more() { sm_sent=$(figure "$1" transferred); [ "${sm_sent:-0}" -gt "$2" ]; }

# stays NAME: after a migration that failed the guest goes on there
stays()
{
	st_before=$(lines "$1.log")
	wait_for 60 says_more "$1.log" $((st_before + 2))
	[ "$(value "$1.log" errors)" = 0 ] || {
		grep 'FERRY-GUEST FAIL' "$1.log"
		fail "the guest at $1 found something wrong"
	}
}

# arrived FROM TO [HOW]: the guest goes on there, and there only
arrived()
{
	wait_for 120 over "$1"
	is "$1" completed || fail "$1 -> $2: $(ask "$1" query-migrate)"
	wait_for 60 says_more "$2.log" 3
	cat "$1.log" "$2.log" | tr -d '\r' | grep 'FERRY-GUEST FAIL' && fail "a wrong page"
	[ "$(value "$2.log" errors)" = 0 ] || fail "$2 tells of errors"
	# A line may have begun at the source and ended at the destination.
	[ $(($(seq_of "$2.log" head) - $(seq_of "$1.log" tail))) -le 2 ] || fail "lines were lost"
	ar_before=$(lines "$1.log")
	wait_for 60 says_more "$2.log" $(($(lines "$2.log") + 2))
	[ "$(lines "$1.log")" = "$ar_before" ] || fail "the guest runs at $1 too"
	echo "ok: $1 -> $2${3:+, $3}: $(figure "$1" total-time) ms, downtime $(figure "$1" downtime) ms"
	! grep -q ferry_save_commit "$1.err" || foretold "$1"
	quit "$1"
}

# Where a downtime goes. watch_phases: from now on; phases: the last switchover at this end, in ms
# since the session became final (state 3), which QEMU asks for when it has stopped the guest. If
# RAM took long, all that the module did from a second before.
SLOW_RAM_MS=500
watch_phases()
{
	for wa_event in state switchover pass_begin pass_end fence batch reset; do
		echo 1 >/sys/kernel/tracing/events/kvm_ferry/ferry_$wa_event/enable || fail "no tracepoint $wa_event"
	done
}
phases()
{
	awk -v slow=$SLOW_RAM_MS '{ for (i = 1; i <= NF && $i !~ /^[0-9]+\.[0-9]+:$/; i++); at = $i + 0
		lines[NR] = $0; times[NR] = at }
		/ ferry_state: .* to=3 / { final = at; text = ""; late = 0 }
		/ ferry_switchover: / { sub(/.*phase=/, ""); ms = (at - final) * 1000; text = sprintf("%s %s %.0f", text, $0, ms)
			if ($1 == "placed" && ms > slow) late = at }
		END { print "   ms since FINAL, host '"$LAB_HOST"':" text
			for (n = 1; late && n <= NR; n++)
				if (times[n] > final - 1 && times[n] <= late) print "   " lines[n] }' /sys/kernel/tracing/trace
	echo >/sys/kernel/tracing/trace
}

# What QEMU itself tells of the module's sessions, from now on: in NAME.err
tells() { must "$1" trace-event-set-state '"name":"ferry_*","enable":true'; }
# told NAME EVENT WORD: the number behind that word of the last such event
told() { tr -d '\r' <"$1.err" | sed -n "s/.*ferry_$2 \(.* \)\{0,1\}$3 \([0-9]*\) .*/\2/p" | tail -n 1; }
# in_ms NANOSECONDS
in_ms() { echo "$1" | awk '{ printf "%.0f", $1 / 1e6 }'; }

# foretold NAME: the downtime that the module predicted when the guest was stopped, and what came.
# What a guest took for its devices when it came here is what it is taken to need when it goes.
foretold()
{
	fo_state=$(told "$1" save_setup state) fo_seen=$(told "$1" load_state took)
	fo_was=$(told "$1" save_commit predicted)
	echo "   predicted at FINAL $(in_ms "$fo_was") ms, of it devices $(in_ms "$fo_state");" \
		"came $(in_ms "$(told "$1" save_commit downtime)"), of it devices $(in_ms "$(told "$1" save_commit state)")"
	[ "$fo_state" = "${fo_seen:-50000000}" ] || fail "$1: devices took $fo_seen ns, and $fo_state were told"
	[ "$fo_was" -ge "$fo_state" ] || fail "$1: the prediction is without the devices"
}

# What a guest has left in an emulated host is the emulator's to throw away, now rather than in a
# migration that comes later. A real machine knows nothing like that.
scrubbed() { [ -z "${LAB_KERNEL:-}" ] || scrub || fail "no memory to scrub"; }

# quit NAME: QEMU ends, and not by itself
quit()
{
	must "$1" quit
	wait_for 20 gone "$(pid_of "$1")"
	scrubbed
}
