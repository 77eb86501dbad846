#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Unpacks a root into memory and runs a program in it. As root, in a mount namespace of
# its own: when that ends nothing is left.
#
#	enter.sh ROOT.tar.zst DIRECTORY COMMAND...
#
# DIRECTORY is the root's /test, and the root is mounted in its subdirectory "root".
set -e
tar=$1 dir=$2
shift 2
root=$dir/root
mkdir -p "$root"
mount -t tmpfs -o mode=755 tmpfs "$root"
zstd -q -d -c "$tar" | tar -C "$root" -x
mount -t proc proc "$root/proc"
mkdir "$root/test"
mount --bind "$dir" "$root/test"
# There is no /sys, so that no script sees a module of this machine; and were it to try,
# it could not unload one.
exec setpriv --bounding-set=-sys_module --inh-caps=-sys_module \
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive \
	chroot "$root" "$@"
