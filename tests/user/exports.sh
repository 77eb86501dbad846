#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The shared library, its headers and what pkg-config tells of it agree: an
# installed copy is used the way a VMM's build would.

top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/user/check.sh"
root=$(mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT

make -s -C "$top/userspace" install BUILD="$BUILD" PREFIX=/usr DESTDIR="$root" > "$root/log" 2>&1
check $? "make install"

# Whoever makes packages reads where things go.
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$top/dkms.conf")
find "$root/usr" ! -type d | sed -e "s,^$root,," -e "s,$version\$,VERSION," | sort > "$root/files"
sed -n 's/^| `\(\/usr[^`]*\)`.* |$/\1/p' "$top/docs/packaging.md" | sort > "$root/told"
diff "$root/told" "$root/files"
check $? "docs/packaging.md tells of every file, and no other"

# The names of functions in the headers are those that the library exports.
sed -e 's|/\*.*\*/||' -e '/^\/\*/,/\*\//d' "$root"/usr/include/ferry*.h | grep -v typedef |
	grep -oE '\bferry_[a-z_]+\(' | tr -d '(' | sort -u > "$root/declared"
nm -D --defined-only "$root/usr/lib/libferry.so" |
	sed -n 's/.* T \(ferry_[a-z_]*\)@.*/\1/p' | sort -u > "$root/exported"
[ -s "$root/declared" ] && diff "$root/declared" "$root/exported"
check $? "every function of the headers is exported, and no other"
nm -D --defined-only "$root/usr/lib/libferry.so" | grep ' T ' | grep -vq 'ferry_[a-z_]*@@LIBFERRY_'
check $((! $?)) "every export has a version"
readelf -d "$root/usr/lib/libferry.so" | grep -q 'SONAME.*libferry\.so\.1\]'
check $? "the soname is libferry.so.1"
readelf -d "$root/usr/lib/libferry.so" | grep NEEDED | grep -vqE 'lib(c|pthread)\.so|ld-linux'
check $((! $?)) "it needs nothing but the C library"

cat > "$root/vmm.c" <<'C'
#include <ferry.h>
#include <linux/kvm_ferry.h>
#include <stdio.h>
int main(void)
{
	struct ferry_device *dev;
	int ret = ferry_device_open(&dev);

	if (!ret)
		ferry_device_close(dev);
	printf("%s %s\n", ferry_version(), ret ? ferry_errno_name(ret) : "open");
	return 0;
}
C
export PKG_CONFIG_PATH="$root/usr/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$root" \
	PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
# shellcheck disable=SC2046 # flags are words
cc -Wall -Wextra -Werror -pedantic $(pkg-config --cflags libferry) -o "$root/vmm" "$root/vmm.c" \
	$(pkg-config --libs libferry)
check $? "a program builds with pkg-config's flags"
said=$(LD_LIBRARY_PATH="$root/usr/lib" "$root/vmm")
[ "${said%% *}" = "$(pkg-config --modversion libferry)" ]
check $? "and runs with the shared library: $said"
# shellcheck disable=SC2046
cc -static -o "$root/vmm-static" "$root/vmm.c" $(pkg-config --cflags libferry) \
	-L"$root/usr/lib" -lferry -pthread 2> "$root/log" && "$root/vmm-static" > "$root/log"
check $? "a static one builds and runs too"
# shellcheck disable=SC2046
c++ -x c++ -Wall -Wextra -Werror $(pkg-config --cflags libferry) -fsyntax-only "$root/vmm.c"
check $? "the header is C++ as well"
make -s -C "$top/userspace" uninstall BUILD="$BUILD" PREFIX=/usr DESTDIR="$root" &&
	[ -z "$(find "$root/usr" -name '*ferry*')" ]
check $? "make uninstall leaves nothing behind"
checked
