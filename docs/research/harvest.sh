#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What harvests found, how full a ring was, and what an entry cost.
trace-cmd report -i "${1:-ferry.dat}" | awk '
/ ferry_harvest: / {
	for (i = 1; i <= NF; i++) if (split($i, f, "=") == 2) v[f[1]] = f[2]
	s = v["session"]; harvests[s]++; entries[s] += v["entries"]; ns[s] += v["ns"]
	if (v["fullest"] > fullest[s]) fullest[s] = v["fullest"]
}
END {
	for (s in harvests)
		printf "session %d: %d harvests, %d entries, %d of one ring at most, %d ns, %d an entry\n",
			s, harvests[s], entries[s], fullest[s], ns[s], ns[s] / entries[s]
}'
