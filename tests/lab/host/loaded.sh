#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# loaded.sh BUILD-ID RDMA-BUILD-ID RDMA-ALIAS: loads the modules that DKMS
# installed, the way a host does at boot, and the other as the first one asks for
# it, and compares the build ids of what is in the kernel with those of the files
# that DKMS made.
. /tests/lib.sh

# compare MODULE BUILD-ID
compare()
{
	notes=/sys/module/$1/notes/.note.gnu.build-id
	require "$notes"
	loaded=$(tail -c 20 "$notes" | od -An -v -tx1 | tr -d ' \n')
	[ "$loaded" = "$2" ] || fail "loaded is $1 with build id $loaded, DKMS made $2"
	echo "loaded: $1 $loaded, version $(cat "/sys/module/$1/version")"
}

without_module
depmod || fail "depmod failed"
modprobe kvm_ferry || fail "modprobe kvm_ferry failed"
require /dev/kvm_ferry
compare kvm_ferry "$1"
! [ -d /sys/module/ib_core ] || fail "InfiniBand was loaded before anybody asked for it"
modprobe "$3" || fail "modprobe $3 failed"
compare kvm_ferry_rdma "$2"
rmmod kvm_ferry_rdma || fail "rmmod kvm_ferry_rdma failed"
rmmod kvm_ferry || fail "rmmod failed"
