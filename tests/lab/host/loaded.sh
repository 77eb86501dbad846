#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# loaded.sh BUILD-ID: loads the module that DKMS installed, the way a host does
# at boot, and compares the build id of what is in the kernel with that of the
# file that DKMS made.
. /tests/lib.sh
without_module
depmod || fail "depmod failed"
modprobe kvm_ferry || fail "modprobe kvm_ferry failed"
notes=/sys/module/kvm_ferry/notes/.note.gnu.build-id
require "$notes" /dev/kvm_ferry
loaded=$(tail -c 20 "$notes" | od -An -v -tx1 | tr -d ' \n')
[ "$loaded" = "$1" ] || fail "loaded is the module with build id $loaded, DKMS made $1"
echo "loaded: $loaded, version $(cat /sys/module/kvm_ferry/version)"
rmmod kvm_ferry || fail "rmmod failed"
