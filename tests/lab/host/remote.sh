#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What "bench --hosts" has a real machine do, as root, over ssh (labkit/remote.py).
#   look PEER  prints facts about the machine, and the card by which it reaches PEER
#   serve SECONDS  makes a directory, and does in it what standard input says, until that ends,
#              or is silent for so long:
#                run NAME=VALUE... COMMAND...   one job at a time; then "done STATUS"
#                end                            it is killed: "done ended"
#                answer WORDS                   for who asked the store
#                alive                          the other side is still there
# The directory is the root of what runs, in namespaces of its own: nothing outside is written,
# mounts and network namespaces go with the last process, and the processes with the first.

look()
{
	echo "machine $(uname -m)"
	echo "kernel $(uname -r)"
	sed -n 's/^model name[[:space:]]*: /cpu /p' /proc/cpuinfo | head -n 1
	echo "processors $(grep -c ^processor /proc/cpuinfo)"
	echo "virtual $(grep -c -m 1 '^flags.* hypervisor' /proc/cpuinfo)"
	echo "available_mib $(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024))"
	echo "kvm $([ -c /dev/kvm ] && echo yes)"
	echo "module $([ -d /sys/module/kvm_ferry ] && echo yes)"
	lo_missing=
	for lo_tool in chroot dmesg gzip ip mktemp mount tar unshare; do
		command -v $lo_tool >/dev/null || lo_missing="$lo_missing $lo_tool"
	done
	echo "missing$lo_missing"
	echo "place ${TMPDIR:-/tmp}"
	echo "place_mib $(df -P -k "${TMPDIR:-/tmp}" | sed -n '$s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\) .*/\1/p' | sed 's/...$//')"
	cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
		sed -n 's/^ *[0-9]*: [0-9A-F]*:\([0-9A-F]*\) [0-9A-F:]* 0A .*/listens \1/p'
	lo_card=$(ip -o route get "$1" 2>/dev/null | sed -n 's/.* dev \([^ ]*\) .*/\1/p')
	echo "nic $lo_card"
	echo "nic_driver $(basename "$(readlink "/sys/class/net/$lo_card/device/driver")")"
	echo "nic_mbit $(grep -v ^- "/sys/class/net/$lo_card/speed" 2>/dev/null)"
	echo "nic_mtu $(cat "/sys/class/net/$lo_card/mtu" 2>/dev/null)"
	head -n 1 /proc/stat
	sleep 2
	head -n 1 /proc/stat
}

# In the namespaces: the machine's devices, and the rest is the directory's, a mount by itself
# since "ip netns exec" wants that of a root.
# shellcheck disable=SC2016 # the other shell's variables
inside='
dir=$1
shift
mount --bind "$dir" "$dir" && cd "$dir" && mount -t proc proc proc &&
mount --rbind /sys sys && mount --rbind /dev dev && mount -t tmpfs tmpfs dev/shm &&
mount -t tmpfs tmpfs run && mount -t tmpfs tmpfs tmp || exit
exec chroot "$dir" /usr/bin/env -i PATH=/usr/bin:/usr/sbin:/bin:/sbin:/tests HOME=/root \
	LD_LIBRARY_PATH=/usr/lib LAB_SYNC=/sync "$@"'

run_job()
{
	unshare --mount --pid --fork --kill-child sh -c "$inside" sh "$dir" "$@" \
		</dev/null >"$dir/output" 2>&1 5>&- 6>&- &
	echo $! >"$dir/job"
	wait $!
	ru_status=$?
	[ ! -e "$dir/ended" ] || ru_status=ended
	rm -f "$dir/job" "$dir/ended"
	echo "done $ru_status"
}

# The first process of the job's namespace takes all others with it, and ends last.
end_job()
{
	[ ! -e "$dir/job" ] || : >"$dir/ended"
	while en_job=$(cat "$dir/job" 2>/dev/null); do
		en_children=/proc/$en_job/task/$en_job/children
		if [ -e "$en_children" ]; then
			# shellcheck disable=SC2046 # words
			kill -9 $(cat "$en_children")
		elif [ -n "$en_job" ]; then
			kill -9 "$en_job"	# a kernel without that file
		fi
		sleep 0.1
	done
}

finish()
{
	trap '' HUP INT TERM PIPE
	end_job
	kill "$asker" "$watch"
	fi_tries=50		# somebody may still be unpacking there
	until rm -rf "$dir" || [ $fi_tries = 0 ]; do
		fi_tries=$((fi_tries - 1))
		sleep 0.1
	done
} 2>/dev/null

# A connection may end without a word: then nobody says "alive" any more. Nor does the shell
# itself, if somebody killed it.
watch()
{
	trap 'kill "$sleep"; exit' TERM
	while rm "$dir/alive"; do
		sleep "$patience" &
		sleep=$!
		wait "$sleep"
	done
	kill "$1" || finish
} 2>/dev/null

serve()
{
	patience=$1
	dir=$(mktemp -d "${TMPDIR:-/tmp}/kvm-ferry-bench.XXXXXX") || exit
	asker=
	watch=
	trap finish EXIT
	trap 'exit 1' HUP INT TERM PIPE
	chmod 755 "$dir"
	mkfifo "$dir/sync.ask" "$dir/sync.answer" || exit
	exec 5<>"$dir/sync.ask" 6<>"$dir/sync.answer"
	while read -r se_line; do echo "ask $se_line"; done <&5 &
	asker=$!
	: >"$dir/alive"
	watch $$ >/dev/null &
	watch=$!
	echo "dir $dir"
	while read -r se_verb se_rest; do
		case $se_verb in
		run)
			: >"$dir/job"
			# shellcheck disable=SC2086 # words
			run_job $se_rest &
			;;
		end) end_job ;;
		answer) echo "$se_rest" >&6 ;;
		alive) : >"$dir/alive" ;;
		esac
	done
}

"$@"
