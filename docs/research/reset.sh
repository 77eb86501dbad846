#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What KVM_RESET_DIRTY_RINGS cost, and whether KVM reset what we had marked.
trace-cmd report -i "${1:-ferry.dat}" | awk '
/ ferry_reset: / {
	for (i = 1; i <= NF; i++) if (split($i, f, "=") == 2) v[f[1]] = f[2]
	s = v["session"]; resets[s]++; marked[s] += v["marked"]; reset[s] += v["reset"]; ns[s] += v["ns"]
}
END {
	for (s in resets)
		printf "session %d: %d resets, %d marked, %d reset, %d ns\n",
			s, resets[s], marked[s], reset[s], ns[s]
}'
