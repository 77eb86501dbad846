#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The other host of rdma_hw.source.sh: what comes at a port is run, as an ssh would.
. /tests/lib.sh
require minivm ferryctl rdma
cd /tmp || fail "no /tmp"
trap rdma_uninstalled EXIT

rdma_installed
echo 24 >/proc/sys/vm/nr_hugepages
cat >agent <<'END'
#!/bin/sh
read -r words
exec $words
END
chmod +x agent
nc -ll -p 7600 -e /tmp/agent &
share sink-listens yes
await source-done 1500 >/dev/null
echo 0 >/proc/sys/vm/nr_hugepages
kill $!
