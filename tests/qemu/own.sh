#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# QEMU's own migration test (tests/qtest/migration-test of the source package), each of its
# parts first with QEMU as the distribution has it and then with ours: what passed before
# must pass with our patches. A part has $1 seconds.
# shellcheck source=/dev/null
. /tests/lib.sh
require qemu-system-x86_64 qemu-stock migration-test /usr/share/qemu
cd /tmp || fail "no /tmp"

limit=$1
# The test wants to read the target from the name.
for program in qemu-system-x86_64 qemu-stock; do
	ln -s "/usr/bin/$program" "$program-system-x86_64" || fail "no link"
done

# part PROGRAM PATH: prints ok, skip or bad
part()
{
	if ! QTEST_QEMU_BINARY=/tmp/$1-system-x86_64 timeout -s KILL "$((limit * LAB_SLOW))" \
	   migration-test --tap -p "$2" >"part.$1" 2>&1; then
		echo bad
	elif grep -q "^ok .*# SKIP" "part.$1"; then
		echo skip
	elif grep -q "^ok " "part.$1"; then
		echo ok
	else
		echo skip
	fi
	for left in $(pidof "$1"); do
		kill -9 "$left"
	done
}

QTEST_QEMU_BINARY=/tmp/qemu-stock-system-x86_64 migration-test -l >list 2>list.err || fail "no list: $(cat list.err)"
grep '^/' list >parts
before=0 after=0 worse=
while read -r path; do
	stock=$(part qemu-stock "$path" </dev/null)
	ours=$(part qemu-system-x86_64 "$path" </dev/null)
	echo "$path: $stock before, $ours with our patches"
	[ "$stock" != ok ] || before=$((before + 1))
	[ "$ours" != ok ] || after=$((after + 1))
	if [ "$stock" != bad ] && [ "$ours" != "$stock" ]; then
		worse="$worse $path"
		tail -n 5 part.qemu-system-x86_64
	elif [ "$stock" = bad ]; then
		tail -n 6 part.qemu-stock
	fi
done <parts
[ "$before" -gt 0 ] || fail "nothing of migration-test passes, also without our patches"
[ -z "$worse" ] || fail "with our patches these are worse:$worse"
echo "ok: $before parts pass before, $after with our patches"
exit 0
