#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# lab: kernels=debug module=no tap=yes timeout=60
#
# The unit tests of the pure parts again (tests/kunit), in a kernel that looks at
# every access to memory: "make kunit" runs them in one that does not.
. /tests/lib.sh
results=/sys/kernel/debug/kunit
insmod /lab/kvm_ferry_kunit.ko || fail "the suites did not load"
cat "$results"/ferry_*/results >/tmp/results || fail "no suite left results"
rmmod kvm_ferry_kunit || fail "the suites did not unload"
# One line a case, with its suite's name; the suites' own lines are not indented.
awk '
	/^ *# Subtest: / { suite = $3 }
	/^ +(not )?ok / {
		sub(/^ +/, "")
		good = sub(/^not /, "") ? "not ok" : "ok"
		$1 = $2 = ""
		print good, ++n, "- " suite $0
	}
	END { print "1.." n + 0 }
' /tmp/results >/tmp/tap
cat /tmp/tap
for suite in "$results"/ferry_*; do [ ! -e "$suite" ] || fail "$suite is still there"; done
grep -q "^1..0$" /tmp/tap && fail "no case ran"
grep -q "^not ok" /tmp/tap && exit 1
exit 0
