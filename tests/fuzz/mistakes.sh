# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2154
#
# Puts one mistake at a time into the module, and replays the session's corpus: it must
# notice each. Part of tests/fuzz/run, whose functions and counts it uses.

# mistake FILE.c WHAT SED-SCRIPT: the script must change the file.
mistake()
{
	where="$out/mistake"
	rm -rf "$where"
	cp -R "$out/peer" "$where" || exit 1
	sed "$3" "$top/module/$1" >"$where/$1"
	if cmp -s "$where/$1" "$top/module/$1"; then
		echo "FAIL $1 has no place any more for the mistake: $2"
		failed=$((failed + 1))
		return
	fi
	object gcc peer "$where" -fsanitize=address,undefined "$where/$1" || exit 1
	gcc -fsanitize=address,undefined -o "$where/peer" "$where"/*.o || exit 1
	if timeout 120 "$where/peer" "$here/corpus/peer"/* >"$out/mistake-log" 2>&1; then
		echo "FAIL nothing in the corpus notices in $1: $2"
		failed=$((failed + 1))
	else
		passed=$((passed + 1))
	fi
}

mistake sink.c "an extent may reach out of its region" \
	's/ || e->nr_pages > r->nr_pages - e->pfn//'
mistake sink.c "an extent may be of any region" \
	's/if (e->region >= s->nr_regions)/if (0)/'
mistake sink.c "COMMIT is taken before READY" \
	's/ferry_session_state(s) != KVM_FERRY_STATE_COMMITTING ||/0 ||/; s/!ferry_session_said(s, FERRY_MSG_READY)/0/'
mistake sink.c "a batch may come when memory is complete" \
	's/READ_ONCE(s->data\[i\]->placing)/0/'
mistake sink.c "a batch may be of any pass" \
	's/m\.pass != ch->fenced_pass + 1) {/0) {/'
mistake sink.c "pages stay pinned when the peer closes" \
	's/unpin_user_pages_dirty_lock(b->pages, pinned, true)/if (!ret) &/'
mistake control_rx.c "COMMIT_ACK is believed at any time" \
	's/!ferry_session_said(s, FERRY_MSG_COMMIT)/0/'
mistake control_rx.c "READY is believed at any time" \
	's/!ferry_session_said(s, FERRY_MSG_STATE)/0/'
mistake control_rx.c "VERIFY_RESULT is believed at any time" \
	's/!ferry_session_said(s, FERRY_MSG_DIGEST_END)/0/'
mistake control_rx.c "PAUSED is taken before the fences" \
	's/!ferry_sink_seal(s) ||/0 ||/'
mistake control_rx.c "ABORT ends a session without an errno" \
	's/FERRY_STEP_REFUSED, -EPIPE/FERRY_STEP_REFUSED, 0/'
mistake control.c "ABORT is said behind COMMIT" \
	's/ferry_session_said(s, FERRY_MSG_COMMIT)/0/'
mistake control.c "messages follow one that was not sent whole" \
	's/ch->tx_error = ret;//'
mistake state.c "an abort undoes COMMIT" \
	's/return committed ? -EBUSY :/return 0 ? -EBUSY :/'
mistake session.c "a close waits for an answer that nobody takes" \
	's/!READ_ONCE(s->commit_settled))$/0)/'
mistake session.c "DONE stays though COMMIT_ACK failed" \
	's/WRITE_ONCE(s->state, KVM_FERRY_STATE_FAILED);//'
mistake sender.c "references of a batch that failed are kept" \
	's/^\tferry_pages_put(b->pages, b->nr_pages);/\tif (!ret) &/'
mistake pipe.c "the pipe takes more than it has room for" \
	's/len = min_t(u64, len, FERRY_PIPE_SIZE - (p->head - p->tail));//'
