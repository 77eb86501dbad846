#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What becomes of the packages in a pristine root, which this runs in.
#
#	inside.sh VERSION NEXT HEADERS RELEASE
#
# /test/VERSION and /test/NEXT have the packages. HEADERS is the package of the headers
# of the kernel RELEASE, which is not installed yet.
old=$1 new=$2 headers=$3 release=$4
. /test/check.sh
log=/tmp/log
modules=/lib/modules/$release/updates/dkms

# try WHAT COMMAND...: a case, passed if the command succeeds; else its words are shown
try()
{
	what=$1
	shift
	"$@" > "$log" 2>&1
	status=$?
	check $status "$what"
	[ $status -eq 0 ] || sed 's/^/# /' "$log"
}

# said WORDS: the last command has printed them
said()
{
	grep -qF -e "$1" "$log"
	status=$?
	check $status "it says: $1"
	[ $status -eq 0 ] || sed 's/^/# /' "$log"
}

apt()
{
	apt-get -q -y --no-install-recommends "$@"
}

# is WHAT WANTED GOT
is()
{
	[ "$2" = "$3" ]
	check $? "$1"
	[ "$2" = "$3" ] || printf '# it is: %s\n# should: %s\n' "$3" "$2"
}

# built VERSION: DKMS has both modules of that version for the kernel, and no others
built()
{
	is "DKMS has $1, installed" "kvm-ferry/$1, $release, x86_64: installed" \
		"$(dkms status -m kvm-ferry)"
	for name in kvm_ferry kvm_ferry_rdma; do
		is "$name is of version $1" "$1" "$(modinfo -k "$release" -F version $name)"
		is "for this kernel" "$release" \
			"$(modinfo -k "$release" -F vermagic $name | cut -d' ' -f1)"
		is "in DKMS's place" "$modules/$name.ko" "$(modinfo -k "$release" -F filename $name)"
		is "signed with DKMS's key" "DKMS module signing key" \
			"$(modinfo -k "$release" -F signer $name)"
	done
	is "$1 is the only source" "/usr/src/kvm-ferry-$1" "$(ls -d /usr/src/kvm-ferry-*)"
}

find / -xdev -name '*ferry*' -not -path '/test/*' > /tmp/before
is "the root is pristine" "" "$(cat /tmp/before)"
try "without kernel headers the packages install" apt install openssl "/test/$old"/libferry1_*.deb \
	"/test/$old"/ferryctl_*.deb "/test/$old"/kvm-ferry-dkms_*.deb
is "DKMS has it, and built nothing" "kvm-ferry/$old: added" "$(dkms status -m kvm-ferry)"
try "headers that come later" apt install "$headers"
built "$old"

is "there is the group" kvm-ferry "$(getent group kvm-ferry | cut -d: -f1)"
is "nobody is in it" "" "$(getent group kvm-ferry | cut -d: -f4)"
is "the udev rule gives the device to it" 'GROUP="kvm-ferry", MODE="0660"' \
	"$(grep -o 'GROUP=.*' /usr/lib/udev/rules.d/60-kvm-ferry.rules)"
is "the module is loaded at boot" kvm_ferry "$(grep -v '^#' /usr/lib/modules-load.d/kvm-ferry.conf)"
try "modprobe would find it" modprobe -S "$release" --dry-run kvm_ferry
is "and the RDMA module by its alias" kvm_ferry_rdma \
	"$(modprobe -S "$release" --resolve-alias kvm-ferry-transport-2)"
is "no sysctl is set" "" "$(find /etc/sysctl.d /usr/lib/sysctl.d -name '*ferry*' 2> /dev/null)"
is "ferryctl is of version $old" "ferryctl $old" "$(ferryctl --version)"
ferryctl check > "$log" 2>&1
is "ferryctl check: this host is not ready" 5 $?
said modprobe
ldd /usr/sbin/ferryctl > "$log"
said "libferry.so.1 => /lib/x86_64-linux-gnu/libferry.so.1"
try "the completion is there" bash -c '. /usr/share/bash-completion/completions/ferryctl &&
	COMP_WORDS=(ferryctl mi) COMP_CWORD=1 && _ferryctl ferryctl mi ferryctl && echo "${COMPREPLY[@]}"'
is "and completes" migrate "$(cat $log)"
for file in zsh/vendor-completions/_ferryctl fish/vendor_completions.d/ferryctl.fish \
	    man/man4/kvm_ferry.4.gz man/man8/ferryctl.8.gz kvm-ferry/ferryctl.schema.json; do
	[ -s "/usr/share/$file" ]
	check $? "/usr/share/$file"
done

try "libferry-dev installs, with a compiler" apt install "/test/$old"/libferry-dev_*.deb libc6-dev \
	pkg-config
for page in libferry ferry_connect ferry_ring ferry_session; do
	[ -s "/usr/share/man/man3/$page.3.gz" ]
	check $? "$page(3)"
done
is "pkg-config tells its version" "$old" "$(pkg-config --modversion libferry)"
# shellcheck disable=SC2046 # words
try "a program builds" gcc -Wall -Werror -o /tmp/vmm /test/vmm.c $(pkg-config --cflags --libs libferry)
try "it runs" /tmp/vmm
said "$old 1 the kvm_ferry module is not loaded"
# shellcheck disable=SC2046
try "a static one builds" gcc -static -o /tmp/vmm-static /test/vmm.c \
	$(pkg-config --static --cflags --libs libferry)
try "and runs" /tmp/vmm-static

# The old module is loaded, as far as scripts can see.
mkdir -p /sys/module/kvm_ferry
echo "$old" > /sys/module/kvm_ferry/version
try "upgrade to $new" apt install "/test/$new"/*.deb
said "kvm_ferry $old is loaded and stays so; $new is used from the next load on."
built "$new"
try "the program runs with the new library" /tmp/vmm
said "$new 1 "
is "ferryctl is new, too" "ferryctl $new" "$(ferryctl --version)"
is "the group is the same" kvm-ferry "$(getent group kvm-ferry | cut -d: -f1)"

try "removal, with sessions" env LD_PRELOAD=/test/fake_module.so FAKE_FERRY=yes \
	dpkg --remove kvm-ferry-dkms
said "stays loaded, 5 sessions use it"
said "session 9 (guest): source, live"
said "modprobe -r kvm_ferry_rdma kvm_ferry"
is "DKMS has it no more" "" "$(dkms status -m kvm-ferry)"
is "neither has the kernel" "" "$(find /lib/modules -name 'kvm_ferry*')"
# For what its removal says; building it once more would tell nothing new.
touch /etc/dkms/no-autoinstall
try "installed again" apt install "/test/$new"/kvm-ferry-dkms_*.deb
try "removal, without sessions" env LD_PRELOAD=/test/fake_module.so FAKE_FERRY=none \
	dpkg --remove kvm-ferry-dkms
said "kvm_ferry is unloaded."
rm -r /sys/module
try "purge" apt purge kvm-ferry-dkms ferryctl libferry1 libferry-dev
# The group stays, as Debian's policy has it: another group with its number would get
# the device of a module that is still loaded.
is "nothing is left" "" "$(find / -xdev -name '*ferry*' -not -path '/test/*')"
is "nor a word, but for the group" "/etc/group /etc/gshadow" \
	"$(grep -rlE 'kvm.ferry' /etc /var/lib --exclude-dir=dpkg --exclude='*-' 2> /dev/null | sort | xargs)"
is "nor in dpkg's list" "" "$(dpkg-query -W -f '${Package}\n' '*ferry*' 2> /dev/null | grep .)"

# shellcheck disable=SC2154 # check.sh counts
echo "$((n - bad)) passed, $bad failed"
[ "$bad" -eq 0 ]
