#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lab: cpus=2 mem=2560 timeout=400 leak=16384 kernels=6.1,6.12 programs=bpftrace,trace-cmd
#
# Every recipe of docs/research.md runs while a guest moves between two minivms of this host,
# and what each of them tells must be what the two sessions count themselves.
. /tests/lib.sh
require minivm vmcmd bpftrace trace-cmd /guest/flat.bin /tests/research/record.sh
cd /tmp || fail "no /tmp"

recipes="state harvest reset batch pass fence switchover"
key() { sed -n "s/.*\"$2\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$1" | tail -n 1; }
guest_says() { [ "$(grep -c "FERRY-FLAT cpu=$2 " "$1")" -gt "$3" ]; }
is() { vmcmd "$1.ctl" '{"cmd":"status"}' | grep -q "\"vm\":\"$2\""; }
# map NAME KEY: what the bpftrace recipes printed as @NAME[KEY] when they ended
map() { sed -n "s/^@$1\[$2\]: //p" bt.out; }
# told RECIPE SESSION WHAT: the number before ", WHAT" or " WHAT" in that recipe's line of the session
told() { sed -n "s/^session $2: \(.*, \)\{0,1\}\([0-9]*\) $3.*/\2/p" "$1.sh.out"; }
equal() # equal WHAT FIGURE EXPECTED
{
	[ -n "$2" ] && [ "$2" = "$3" ] || fail "$1: told are \"$2\", counted \"$3\""
	compared=$((compared + 1))
}

start()
{
	st_name=$1
	shift
	: >"$st_name.log"
	minivm --name "$st_name" --cpus 2 --memory 32M --control "$st_name.ctl" \
		--console "$st_name.log" "$@" </dev/null >"$st_name.out" 2>&1 &
	wait_for 20 test -S "$st_name.ctl"
}

# What a tracer starts when it has attached: it says so, and stays until it is told to go.
trap '[ $? = 0 ] || head -n 40 bt.err bt.out ./*.sh.out 2>/dev/null' EXIT
cat >hold <<'END'
#!/bin/sh
: >"$1.up"
while [ ! -e "$1.go" ]; do usleep 20000; done
END
chmod +x hold

start one --flat /guest/flat.bin --append "512 100 64"
wait_for 30 guest_says one.log 1 0
start two --incoming
# All of them as one program: LLVM needs half a minute to start in an emulated host.
for r in $recipes; do
	cat "/tests/research/$r.bt"
done >all.bt
bpftrace -o bt.out all.bt -c "/usr/bin/dash /tmp/hold bpftrace" >bt.err 2>&1 &
bpftrace=$!
wait_for 180 test -e bpftrace.up
sh /tests/research/record.sh /tmp/hold record >record.err 2>&1 &
recorder=$!
wait_for 30 test -e record.up

vmcmd two.ctl '{"cmd":"receive","data_channels":2,"loop":7}' || fail "two"
vmcmd one.ctl '{"cmd":"migrate","data_channels":2,"loop":7,"verify":true}' || fail "one"
wait_for 60 is one gone
wait_for 60 is two running
: >record.go
wait $recorder || fail "record.sh: $(cat record.err)"
# Only now: trace-cmd reads /proc/kallsyms twice when it ends, and BPF programs are in it.
: >bpftrace.go
wait $bpftrace || fail "bpftrace: $(cat bt.err)"
for r in $recipes; do
	sh "/tests/research/$r.sh" >"$r.sh.out" 2>&1 || fail "$r.sh: $(cat "$r.sh.out")"
	[ -s "$r.sh.out" ] || fail "$r.sh told nothing"
done
vmcmd one.ctl '{"cmd":"status"}' >source.json
vmcmd two.ctl '{"cmd":"status"}' >sink.json
source=$(key source.json session_id)
sink=$(key sink.json session_id)
grep -h FAIL one.log two.log && fail "the guest found its memory wrong"
compared=0
grep -qw tai /sys/kernel/tracing/trace_clock || fail "no clock that two hosts can share"

for s in "$source" "$sink"; do
	json=source.json
	[ "$s" = "$source" ] || json=sink.json
	equal "batches" "$(map batches "$s")" "$(key $json batches)"
	equal "pages" "$(map pages "$s")" "$(key $json ram_normal)"
	equal "extents" "$(map extents "$s")" "$(key $json extents)"
	equal "batches, trace-cmd" "$(told batch "$s" batches)" "$(key $json batches)"
	equal "pages, trace-cmd" "$(told batch "$s" pages)" "$(key $json ram_normal)"
	equal "extents, trace-cmd" "$(told batch "$s" extents)" "$(key $json extents)"
	equal "end state" "$(map state "$s")" 6
	equal "end state, trace-cmd" "$(sed -n "s/^session $s role.* -> \([0-9]*\) after.*/\1/p" state.sh.out | tail -n 1)" 6
	equal "steps" "$(map steps "$s")" "$(grep -c "^session $s role" state.sh.out)"
	equal "phases" "$(map phases "$s")" "$(grep -c "^session $s role" switchover.sh.out)"
done
equal "sink: pages" "$(map pages "$sink")" "$(map pages "$source")"
equal "spliced" "$(map spliced "$source")" "$(key source.json batch_pages_spliced)"
equal "spliced, trace-cmd" "$(told batch "$source" spliced)" "$(key source.json batch_pages_spliced)"
equal "entries" "$(map entries "$source")" "$(key source.json ring_entries)"
equal "entries, trace-cmd" "$(told harvest "$source" entries)" "$(key source.json ring_entries)"
equal "resets" "$(map resets "$source")" "$(key source.json ring_resets)"
equal "reset ns" "$(map reset_ns "$source")" "$(key source.json reset_ns)"
equal "resets, trace-cmd" "$(told reset "$source" resets)" "$(key source.json ring_resets)"
equal "reset ns, trace-cmd" "$(told reset "$source" ns)" "$(key source.json reset_ns)"
equal "marked" "$(map marked "$source")" "$(told reset "$source" marked)"
equal "reset" "$(told reset "$source" reset)" "$(told reset "$source" marked)"
# A harvest that finds nothing costs time too, and has no event.
[ "$(map harvest_ns "$source")" -le "$(key source.json harvest_ns)" ] || fail "harvests took longer than they did"
passes=$(key source.json dirty_sync_count)
equal "passes" "$(map passes "$source")" "$passes"
# The pass that was under way when FINAL came, if one was, has no end of its own.
ended=$(map ended "$source")
[ "$ended" = "$passes" ] || [ "$ended" = $((passes - 1)) ] || fail "$ended of $passes passes ended"
equal "passes ended, trace-cmd" "$(grep -c "^session $source pass .* pages in .* us, " pass.sh.out)" "$ended"
grep -q "^session $source pass $passes (final): " pass.sh.out || fail "the last pass is not the final one"
grep -q "^session $source pass $passes (final): " bt.out || fail "the last pass is not the final one"
equal "fences" "$(map fences "$source")" $((passes * 2))
equal "fences acknowledged" "$(map acked "$source")" $((passes * 2))
equal "sink: fences" "$(map fences "$sink")" $((passes * 2))
equal "fences, trace-cmd" "$(told fence "$source" fences)" $((passes * 2))
equal "fences acknowledged, trace-cmd" "$(told fence "$source" acknowledged)" $((passes * 2))
equal "phases of the source" "$(sed -n "s/^session $source role 0: \(.*\) after.*/\1/p" switchover.sh.out | tr '\n' ' ')" \
	"drained placed verified state_last ready commit commit_ack "
echo "$compared figures of $passes passes, $(key source.json batches) batches and" \
	"$(key source.json ring_entries) ring entries are what the sessions counted"
cat bt.out ./*.sh.out
exit 0
