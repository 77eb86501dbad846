#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What make says on a machine that lacks something: what is missing and what to
# install, before anything was built or registered.

top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/user/check.sh"
root=$(mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT

# refuses WHAT WORDS ARGUMENTS...: make fails with these words
refuses() {
	what=$1 words=$2
	shift 2
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -C "$top" KVERSION=0.0-none DESTDIR="$root/dest" \
		"$@" > "$root/said" 2>&1
	[ $? -eq 2 ] && grep -q "$words" "$root/said"
	status=$?
	check $status "$what"
	[ $status -eq 0 ] || sed "s,^,# ," "$root/said"
	[ ! -e "$root/dest" ] && ! [ -e "$top/build/0.0-none" ]
	check $? "$what: nothing was made"
}

# A DKMS that must not be called.
printf '#!/bin/sh\ntouch "%s/dest"\n' "$root" > "$root/dkms"
chmod 755 "$root/dkms"

headers='No kernel headers at .*: install linux-headers-0.0-none'
refuses "make names the kernel headers that it lacks" "$headers"
refuses "make install, too" "$headers" install
refuses "make dkms-install, too" "$headers" dkms-install DKMS="$root/dkms"
refuses "make dkms-install says that DKMS is missing" 'DKMS is missing: install dkms' \
	dkms-install DKMS="$root/nothing"
PKG_CONFIG_LIBDIR="$root" refuses "make says that json-c is missing" \
	'install libjson-c-dev and pkg-config' userspace
checked
