#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Two machines: all that a benchmark needs is there, and the first reaches the second's ports.
# It says what is wrong as a line "problem WORDS", and what ferryctl says of the module.
. /tests/lib.sh

problem() { echo "problem $*"; }
ferryctl check --json
for program in "$@"; do
	"$program" --version >/dev/null 2>/tmp/error || problem "$program does not run: $(cat /tmp/error)"
done
if [ "$LAB_HOST" = 2 ]; then
	nc -l -p 7100 </dev/null >/tmp/heard 2>&1 &
	wait_for 20 listens 7100
	share listens yes
	[ "$(await tried)" = yes ] && wait_for 20 grep -q here /tmp/heard
else
	await listens >/dev/null
	tried=yes
	echo here | nc -w 10 "$SINK_IP" 7100 >/tmp/error 2>&1 || tried=no
	[ $tried = yes ] || problem "it does not reach $SINK_IP, port 7100" \
		"($(cat /tmp/error)): open TCP ports 5201 and 7001 to 7100 there, or say --addresses"
	share tried $tried
fi
exit 0
