# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2154
#
# Puts one mistake at a time into the module, and replays the corpus of $target: it must
# notice each. Part of tests/fuzz/run, whose functions and counts it uses.

# mistake FILE.c WHAT SED-SCRIPT: the script must change the file.
mistake()
{
	where="$out/mistake"
	rm -rf "$where"
	file="$where/$(basename "$1")"
	cp -R "$out/$target" "$where" || exit 1
	sed "$3" "$top/module/$1" >"$file"
	if cmp -s "$file" "$top/module/$1"; then
		echo "FAIL $1 has no place any more for the mistake: $2"
		failed=$((failed + 1))
		return
	fi
	object gcc "$target" "$where" "-fsanitize=address,undefined -I$(dirname "$top/module/$1")" \
		"$file" || exit 1
	gcc -fsanitize=address,undefined -o "$where/$target" "$where"/*.o || exit 1
	if timeout 120 "$where/$target" "$here/corpus/$target"/* >"$out/mistake-log" 2>&1; then
		echo "FAIL nothing in the corpus notices in $1: $2"
		failed=$((failed + 1))
	else
		passed=$((passed + 1))
	fi
}

target=peer
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
mistake host.c "senders that wait for the host's limit do not hear of the session's end" \
	's/^\t\tcall(&s->host\.turn);//'
mistake host.c "a session that has ended still has a part in the host's limit" \
	's/^\t\ts->host\.joined = false;//'
mistake control_rx.c "COMMIT_ACK is believed at any time" \
	's/!ferry_session_said(s, FERRY_MSG_COMMIT)/0/'
mistake control_rx.c "READY is believed at any time" \
	's/!ferry_session_said(s, FERRY_MSG_STATE)/0/'
mistake control_rx.c "VERIFY_RESULT is believed at any time" \
	's/!ferry_session_said(s, FERRY_MSG_DIGEST_END)/0/'
mistake control_rx.c "an ECHO is believed that was not sent" \
	's/m\.number != smp_load_acquire(&s->echo_sent)/0/'
mistake control_rx.c "an ECHO is answered that was not agreed on" \
	's/!(s->features & FERRY_WIRE_FEATURE_ECHO) ||/0 ||/'
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

target=rdma
mistake rdma/rdma_wire.c "a SEND may say that it is longer than it is" \
	's/h->length != len - FERRY_RDMA_HEADER_LEN/0/'
mistake rdma/rdma_wire.c "a SEND may be shorter than its header" \
	's/len < FERRY_RDMA_HEADER_LEN/0/'
mistake rdma/rdma_wire.c "the source may be told what is for the sink" \
	's/return to_sink;/return true;/'
mistake rdma/rdma_wire.c "a window's runs may be more than there is room for" \
	's/ || w->nr_runs > FERRY_RDMA_MAX_RUNS ||/ ||/'
mistake rdma/rdma_wire.c "a window's runs may be more than came" \
	's/len != FERRY_RDMA_WINDOW_LEN + w->nr_runs \* FERRY_RDMA_RUN_LEN/0/'
mistake rdma/rdma_wire.c "a run may be longer than a window" \
	's/ || e->nr_pages > FERRY_RDMA_WINDOW_PAGES//'
mistake rdma/rdma_wire.c "a credit may be larger than what is due" \
	's/> max/> 2 * max/'
mistake rdma/rdma_wire.c "a grant may be of any window" \
	's/!g->id || g->id > FERRY_RDMA_MAX_WINDOW/0/'
mistake rdma/rdma_wire.c "a request may be cut off" \
	's/len < FERRY_RDMA_REQUEST_LEN/len < 4/'
mistake rdma/rdma_wire.c "a sink may offer no memory at all" \
	's/!r->window_pages || r->pinned_pages < FERRY_RDMA_MIN_PINNED/0/'

target=windows
mistake rdma/rdma_open.c "a window may reach out of its region" \
	's/e\.nr_pages > s->regions\[e\.region\]->nr_pages - e\.pfn/0/'
mistake rdma/rdma_open.c "a window may be of any region" \
	's/e\.region >= s->nr_regions ||/0 ||/'
mistake rdma/rdma_open.c "a window may have more pages than it may" \
	's/pages <= rc->sink\.window_pages ? pages : 0/pages/'
mistake rdma/rdma_open.c "all windows may have more pages than they may" \
	's/if (!ret \&\& rc->sink\.pages + pages > rc->sink\.pinned_pages)/if (0)/'
mistake rdma/rdma_pinned.c "RLIMIT_MEMLOCK is not looked at" \
	's/ > rc->sink\.memlock_pages)/ < 0)/'
mistake rdma/rdma_open.c "a window may be opened twice" \
	's/if (xa_load(&rc->sink\.windows, m\.id))/if (0)/'
mistake rdma/rdma_open.c "a window is opened behind the seal" \
	's/if (!ferry_sink_may_place(rc->ch\.session))/if (0)/'
mistake rdma/rdma_open.c "a key is used again" \
	's/ib_update_fast_reg_key(mr, ib_inc_rkey(mr->rkey));//'
mistake rdma/rdma_open.c "a window can be dropped twice" \
	's/xa_erase(&rc->sink\.windows, id);//'
mistake rdma/rdma_open.c "what was pinned for a window that fails stays pinned" \
	's/^\tunpin_user_pages_dirty_lock(w->pages, w->pinned, true);/\tif (w->nents) &/; s/^\tw->nents = 0;//'
mistake rdma/rdma_open.c "a window that fails stays registered" \
	's/^\tif (w->mr)$/\tif (0)/'
mistake rdma/rdma_open.c "more is posted than the queue has room for" \
	's/rc->sq_free >= RDMA_WINDOW_WRS/true/; s/rc->sq_free < RDMA_WINDOW_WRS/false/'
