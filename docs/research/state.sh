#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Each step of a session's state, and how long it was in the state that it left.
trace-cmd report -t -i "${1:-ferry.dat}" | awk '
/ ferry_state: / {
	for (i = 1; i <= NF; i++) if (split($i, f, "=") == 2) v[f[1]] = f[2]
	match($0, /[0-9]+\.[0-9]+:/); now = substr($0, RSTART) * 1e6; s = v["session"]
	printf "session %d role %d: %d -> %d after %d us, error %d\n", s, v["role"], v["from"], v["to"],
		s in since ? now - since[s] : 0, v["error"]
	since[s] = now
}'
