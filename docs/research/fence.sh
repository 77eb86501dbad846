#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Source: from a fence being sent to its acknowledgement. Sink: fences that were met.
trace-cmd report -t -i "${1:-ferry.dat}" | awk '
/ ferry_fence: / {
	for (i = 1; i <= NF; i++) if (split($i, f, "=") == 2) v[f[1]] = f[2]
	match($0, /[0-9]+\.[0-9]+:/); now = substr($0, RSTART) * 1e6; s = v["session"]
	key = s " " v["channel"] " " v["pass"]
	if (!(v["acked"] + 0)) { fences[s]++; sent[key] = now }
	else { acked[s]++; if (key in sent && now - sent[key] > slowest[s]) slowest[s] = now - sent[key] }
}
END {
	for (s in fences)
		printf "session %d: %d fences, %d acknowledged, the slowest after %d us\n",
			s, fences[s], acked[s], slowest[s]
}'
