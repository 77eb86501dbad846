#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Each pass: what it began with, how long it took, what was published meanwhile.
trace-cmd report -t -i "${1:-ferry.dat}" | awk '
/ ferry_pass_(begin|end): / {
	for (i = 1; i <= NF; i++) if (split($i, f, "=") == 2) v[f[1]] = f[2]
	match($0, /[0-9]+\.[0-9]+:/); now = substr($0, RSTART) * 1e6; key = v["session"] " pass " v["pass"]
	if (/ ferry_pass_begin: /) { begun[key] = now; pages[key] = v["pages"] }
	else if (key in begun) printf "session %s%s: %d pages in %d us, %d left\n", key,
		v["final"] + 0 ? " (final)" : "", pages[key], now - begun[key], v["pages"]
}'
