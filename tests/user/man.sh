#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Manual pages: well-formed, and telling of every command, option, function and
# ioctl that there is.

top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/user/check.sh"
pages="$top/userspace/lib/man/*.[1-9] $top/userspace/ferryctl/*.[1-9]"

# The page as text without hyphens that mandoc put in.
text() {
	mandoc -T ascii -O width=200 "$1" | sed 's/.\x08//g'
}

for page in $pages; do
	[ -f "$page" ] || continue
	said=$(mandoc -T lint -W warning "$page" 2>&1)
	[ -z "$said" ]
	check $? "${page##*/} is clean ${said:+: $said}"
done

ctl=$(text "$top/userspace/ferryctl/ferryctl.8")
for cmd in status list watch stats set abort migrate receive estimate evacuate plot metrics check unload; do
	echo "$ctl" | grep -q "ferryctl $cmd"
	check $? "ferryctl(8) tells of $cmd"
	for opt in $("$BUILD/user/ferryctl" "$cmd" --help | grep -oE '^ +(-., )?--[a-z-]+' |
		     grep -oE -e '--[a-z-]+'); do
		echo "$ctl" | grep -qF -e "$opt"
		check $? "ferryctl(8) tells of $cmd's $opt"
	done
done

functions=$(for page in "$top"/userspace/lib/man/*.3; do text "$page"; done)
missing=
for f in $(sed -n 's/^\t\t\(ferry_[a-z_]*\);/\1/p' "$top/userspace/lib/libferry.map"); do
	echo "$functions" | grep -q "$f" || missing="$missing $f"
done
[ -z "$missing" ]
check $? "section 3 tells of every function${missing:+, but:$missing}"

device=$(text "$top/userspace/lib/man/kvm_ferry.4")
missing=
for c in $(grep -oE '^#define KVM_FERRY_[A-Z_]+ _IO' "$top/uapi/linux/kvm_ferry.h" |
	   cut -d' ' -f2); do
	echo "$device" | grep -q "$c" || missing="$missing $c"
done
[ -z "$missing" ]
check $? "kvm_ferry(4) tells of every ioctl${missing:+, but:$missing}"
checked
