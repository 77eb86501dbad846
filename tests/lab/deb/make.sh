#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Makes a pristine root and writes it, packed, to standard output. As root, in a mount
# namespace of its own.
#
#	make.sh DIRECTORY CODENAME PACKAGE...
#
# DIRECTORY/repo/pool has the .deb files, and its dists is there and empty, as is
# DIRECTORY/root. The PACKAGEs are installed; the others stay
# in the root's /repo, which is all that its apt knows.
set -e
dir=$1 suite=$2
shift 2
exec 3>&1 1>&2
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

repo=$dir/repo
index=dists/$suite/main/binary-$(dpkg --print-architecture)
cd "$repo"
dpkg-scanpackages -m pool > "$index/Packages" 2> "$dir/scan" || { cat "$dir/scan"; exit 1; }
cat > "dists/$suite/Release" <<END
Suite: $suite
Codename: $suite
Components: main
Architectures: $(dpkg --print-architecture)
Date: $(date -Ru)
SHA256:
 $(sha256sum < "$index/Packages" | cut -d' ' -f1) $(stat -c %s "$index/Packages") ${index#*/*/}/Packages
END

root=$dir/root
mount -t tmpfs -o mode=755 tmpfs "$root"
debootstrap --variant=minbase --no-check-gpg "$suite" "$root" "file://$repo"
mkdir "$root/repo"
mount --bind "$repo" "$root/repo"
echo "deb [trusted=yes] file:/repo $suite main" > "$root/etc/apt/sources.list"
# It lives in memory, and not for long.
echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/fast"
mount -t proc proc "$root/proc"
chroot "$root" apt-get -q update
chroot "$root" apt-get -q -y --no-install-recommends install "$@"
chroot "$root" apt-get -q clean
umount "$root/proc" "$root/repo"
# Of what is installed, no file is needed any more.
cp -R "$repo" "$root/"
chroot "$root" dpkg-query -W -f '${Package}\n' | while read -r name; do
	rm -f "$root/repo/pool/${name}"_*.deb
done
tar -C "$root" -c . | zstd -q -3 -c >&3
