# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
# What the tests in shell share. $top is the project's folder.

# shellcheck disable=SC2154 # $top is the caller's
BUILD=${BUILD:-$top/build}
n=0
bad=0

# check STATUS WHAT: a case, passed if STATUS is 0
check() {
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		bad=$((bad + 1))
	fi
}

# The plan; the last command of a test.
checked() {
	echo "1..$n"
	[ "$bad" -eq 0 ]
}
