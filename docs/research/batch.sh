#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Batches, their pages by channel, and how many of them the transport took without a copy.
trace-cmd report -i "${1:-ferry.dat}" | awk '
/ ferry_batch: / {
	for (i = 1; i <= NF; i++) if (split($i, f, "=") == 2) v[f[1]] = f[2]
	s = v["session"]; batches[s]++; pages[s] += v["pages"]; extents[s] += v["extents"]
	spliced[s] += v["refs_after"] > v["refs_before"]; channel[s " channel " v["channel"]] += v["pages"]
}
END {
	for (s in batches)
		printf "session %d: %d batches, %d pages, %d extents, %d spliced\n",
			s, batches[s], pages[s], extents[s], spliced[s]
	for (c in channel)
		printf "session %s: %d pages\n", c, channel[c]
}'
