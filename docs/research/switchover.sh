#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Where the downtime goes: each step of the switchover, and how long after FINAL it was over.
trace-cmd report -t -i "${1:-ferry.dat}" | awk '
/ ferry_(state|switchover): / {
	for (i = 1; i <= NF; i++) if (split($i, f, "=") == 2) v[f[1]] = f[2]
	match($0, /[0-9]+\.[0-9]+:/); now = substr($0, RSTART) * 1e6; s = v["session"]
	if (/ ferry_switchover: /) printf "session %d role %d: %s after %d us\n", s, v["role"], v["phase"],
		now - final[s]
	else if (v["to"] == 3) final[s] = now
}'
