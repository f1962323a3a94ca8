"""The worker: a window of fragments out, results in, whatever the network does in between.

In: `worker_receive` takes RESULT (`_on_result`) and QUERY (`_on_query`). Out: `worker_send` answers QUERYs, resends
what its timers call lost and sends what cwnd admits, all of it to the PS. State: `worker_ring.py`.

A fragment is in one of four states: written (given, not yet sent), outstanding beyond the highest result (one timer
for all of them: `pto_ns`), overtaken by a later result (a timer each: `loss_delay_ns`), acked. A worker whose
fragments get neither a result nor a word has failed, for good.

docs/protocol.md, Worker, has the table of events and states, and why it is so.
"""

from __future__ import annotations

from typing import Any

from esa.memory import prefetch
from esa.native import native_inlined
from esa.native import native_uncounted as native
from esa.protocol import a2tp, aggregator_window, congestion
from esa.protocol import packets as p
from esa.protocol.packets import Words
from esa.protocol.rtt import NEVER
from esa.protocol.serial import on_wire, unwrap
from esa.protocol.slots import next_row_of, slot_index
from esa.protocol.worker_loss import (
    loss_delay_ns,
    next_probe_size,
    on_needed_retransmission,
    on_rtt_sample,
    on_spurious_retransmission,
    pto_ns,
    reo_wnd_ns,
)
from esa.protocol.worker_ring import NOT_YET, WorkerState

_SOON = 8  # so many fragments on is the next whose record will be wanted, and is asked for


@native_inlined
def worker_receive(state: WorkerState, packets: Words, count: int, now_ns: int) -> None:
    """Take in packets 0..count-1: RESULT and QUERY; count and drop everything else.

    Counters: `other_run` for a packet that is wrong in its epoch alone, else `malformed`.
    """
    worker = state.worker[0]
    for i in range(count):
        kind = p.kind_of(packets, i, worker["job"], worker["epoch"])
        seq = unwrap(p.seq_of(packets, i), worker["snd_una"])
        if kind == p.RESULT and _was_sent(state, seq) and p.bitmap0_of(packets, i) & worker["bitmap0"]:
            _on_result(state, packets, i, seq, now_ns)
        elif kind == p.QUERY:
            _on_query(state, packets, i, seq, now_ns)
        else:
            _refuse(state, packets, i)


@native
def _was_sent(state: WorkerState, seq: int) -> bool:
    """Return whether a seq was sent by this worker, ever: it is before snd_nxt, and was not skipped."""
    worker = state.worker[0]
    if seq < worker["snd_una"] or seq >= worker["snd_nxt"]:
        return bool(seq < worker["snd_una"])
    return bool(state.fragment[seq & (len(state.fragment) - 1)]["transmissions"] > 0)


@native
def _refuse(state: WorkerState, packets: Words, i: int) -> None:
    """Count packet i, which is not taken, and remember of which other run it is."""
    worker = state.worker[0]
    epoch = p.other_run_of(packets, i, worker["job"], worker["epoch"])
    if epoch < 0:
        state.counter[0]["malformed"] += 1
    else:
        state.counter[0]["other_run"] += 1
        worker["other_run"] = epoch


@native_inlined
def _on_result(state: WorkerState, packets: Words, i: int, seq: int, now_ns: int) -> None:
    """Store the first result of a fragment; mark what it overtook, measure, restart the probe timer, adapt cwnd."""
    worker = state.worker[0]
    mask = len(state.fragment) - 1
    fragment = state.fragment[seq & mask]
    counter = state.counter[0]
    if seq < worker["snd_una"] or fragment["acked"]:
        counter["duplicates"] += 1
        if seq >= worker["write_seq"] - len(state.fragment) and fragment["transmissions"] > 1:
            on_spurious_retransmission(worker)
        return
    flags = p.flags_of(packets, i)
    prefetch(state.fragment, (seq + _SOON) & mask)
    fragment["acked"] = 1
    fragment["exponent"] = p.exponent_of(packets, i)
    if worker["slots"]:
        fragment["index"] = p.index_of(packets, i)
    p.read_lanes(packets, i, state.lane, seq & mask)
    counter["results"] += 1
    worker["in_flight"] -= 1
    if flags & (p.RELEASE | p.ANSWER):
        counter["via_ps"] += 1

    # Overtaken: every peer is past it, so from now on its timer means a loss (RACK, RFC 8985 6.2, step 5).
    for overtaken in range(worker["fack_end"], seq):
        state.fragment[overtaken & mask]["timer_start_ns"] = now_ns
        worker["loss_timer_ns"] = min(worker["loss_timer_ns"], now_ns + reo_wnd_ns(worker))
    worker["fack_end"] = max(worker["fack_end"], seq + 1)
    worker["last_progress_ns"] = now_ns
    worker["tlp_count"] = worker["rto_count"] = 0
    following = seq + worker["chain"]
    if worker["chain"] and following < worker["snd_nxt"] and state.fragment[following & mask]["transmissions"] == 0:
        state.skipped_queue[worker["skipped_tail"] & mask] = following
        worker["skipped_tail"] += 1
    while worker["snd_una"] < worker["snd_nxt"] and state.fragment[worker["snd_una"] & mask]["acked"]:
        worker["snd_una"] += 1

    if fragment["transmissions"] == 1:
        on_rtt_sample(worker, now_ns - fragment["sent_ns"])
        worker["probe_size"] = 1
    else:
        on_needed_retransmission(worker)
        worker["probe_size"] = min(2 * worker["probe_size"], worker["max_window"])
    worker["loss_timer_ns"] = min(worker["loss_timer_ns"], now_ns + pto_ns(worker))
    marked = flags & p.ECN != 0
    counter["ecn"] += marked
    congestion.on_result(worker, seq, marked)
    if worker["passes_rows"]:
        a2tp.on_result(worker, seq, flags & p.CONTESTED != 0, now_ns)
    else:
        aggregator_window.on_result(worker, flags & p.COLLISION != 0)


@native
def _on_query(state: WorkerState, packets: Words, i: int, seq: int, now_ns: int) -> None:
    """Remember whom the PS waits for; queue the QUERY for an answer, unless the PS has this worker's part."""
    worker = state.worker[0]
    mask = len(state.fragment) - 1
    flags = p.flags_of(packets, i)
    early = flags & p.COLLISION
    state.counter[0]["queries"] += 1
    if not worker["failed"]:
        worker["last_query_ns"] = now_ns
    if seq >= worker["snd_una"] and not _was_sent(state, seq):
        if seq >= worker["snd_nxt"] + worker["max_span"]:
            return  # no peer can be as far as that
        state.bypass_seq[seq & mask] = seq
        if early:
            return
    elif seq >= worker["snd_una"] and not state.fragment[seq & mask]["acked"]:
        if early:
            return  # sent: its own timer is the sooner
        named0, named1 = p.bitmap0_of(packets, i), p.bitmap1_of(packets, i)
        same_rack = named1 & worker["bitmap1"] != 0
        mine = same_rack and named0 & worker["bitmap0"] != 0
        others = named0 & ~worker["bitmap0"] if same_rack else named0
        if mine and not worker["failed"]:
            worker["own_missing_ns"] = now_ns
        if others and not worker["failed"]:  # once it has failed, the PS lacks what it no longer sends
            worker["straggler_query_ns"] = now_ns
            worker["straggler_bitmap0"] = others
            worker["straggler_bitmap1"] = named1
            if flags & p.ALIVE:
                worker["stragglers_alive_ns"] = now_ns
        if not mine:
            worker["straggler_notice_ns"] = now_ns
            return
    if worker["query_tail"] - worker["query_head"] < len(state.query_queue):
        state.query_queue[worker["query_tail"] & (len(state.query_queue) - 1)] = seq
        worker["query_tail"] += 1


@native_inlined
def worker_send(state: WorkerState, out: Words, now_ns: int) -> tuple[int, int]:
    """Fill `out` with what is to be sent now: answers, resends, new fragments, in this order.

    All of it is for the PS; of several for the one that its seq, modulo their number, says (`server_number`). Return
    (packets, the time to call again at the latest: `now_ns` if there was more than `out` holds).
    """
    worker = state.worker[0]
    count = _answer_queries(state, out, now_ns)
    if worker["snd_una"] < worker["snd_nxt"] and not worker["failed"] and now_ns >= _failure_deadline_ns(worker):
        worker["failed"], worker["failed_ns"] = 1, now_ns
    if worker["failed"]:
        return count, now_ns if worker["query_head"] < worker["query_tail"] else NEVER
    if now_ns >= worker["loss_timer_ns"]:
        count = _resend_lost(state, out, count, now_ns)
    admitted = int(worker["cwnd"] if worker["passes_rows"] else min(worker["cwnd"], worker["agg_window"]))
    while worker["in_flight"] < admitted and count < len(out):
        first_of_burst = worker["snd_una"] == worker["snd_nxt"]
        seq = _take_next(state)
        if seq < 0:
            break
        if first_of_burst:
            worker["last_progress_ns"] = now_ns
            worker["tlp_count"] = worker["rto_count"] = 0
        bypass = state.bypass_seq[seq & (len(state.bypass_seq) - 1)] == seq
        if worker["passes_rows"] and not a2tp.takes_row(worker, seq):
            bypass = True
        _write_fragment(state, out, count, seq, p.RESEND if bypass else 0, now_ns)
        if seq < worker["fack_end"]:  # it was skipped: nothing that was sent after it is back
            back_ns = int(
                min(worker["median_rtt_ns"], worker["max_rto_ns"])
            )  # a median of peers that computed, perhaps
            state.fragment[seq & (len(state.fragment) - 1)]["timer_start_ns"] += back_ns
        worker["loss_timer_ns"] = min(worker["loss_timer_ns"], now_ns + pto_ns(worker))
        worker["in_flight"] += 1
        count += 1
    more = worker["skipped_head"] < worker["skipped_tail"] or worker["snd_nxt"] < _send_end(worker)
    worker["cwnd_limited"] = more and worker["in_flight"] >= int(worker["cwnd"])
    if count == len(out):
        return count, now_ns
    if worker["snd_una"] == worker["snd_nxt"]:
        return count, NEVER
    return count, int(min(worker["loss_timer_ns"], _failure_deadline_ns(worker)))


@native
def _send_end(worker: Any) -> int:
    """Return the seq before which all may be sent for the first time, as far as span and feed go."""
    return int(min(worker["snd_una"] + worker["span"], worker["write_seq"]))


@native
def _take_next(state: WorkerState) -> int:
    """Return the next seq to be sent for the first time, -1: none.

    Where there are chains, what follows a seq without a result is skipped, and first in turn once that is there.
    """
    worker = state.worker[0]
    mask = len(state.fragment) - 1
    if worker["skipped_head"] < worker["skipped_tail"]:
        worker["skipped_head"] += 1
        return int(state.skipped_queue[(worker["skipped_head"] - 1) & mask])
    end = _send_end(worker)
    while worker["snd_nxt"] < end:
        seq = worker["snd_nxt"]
        worker["snd_nxt"] += 1
        before = seq - worker["chain"]
        if worker["chain"] == 0 or before < worker["snd_una"] or state.fragment[before & mask]["acked"]:
            return int(seq)
    return -1


@native
def _failure_deadline_ns(worker: Any) -> int:
    """Return when to give up, as far as is known now."""
    return int(
        min(
            max(worker["last_progress_ns"], worker["stragglers_alive_ns"]) + worker["give_up_ns"],
            worker["last_progress_ns"] + worker["wait_limit_ns"],
        )
    )


@native
def _answer_queries(state: WorkerState, out: Words, now_ns: int) -> int:
    """Answer queued QUERYs: with the result, with "not yet", or with a RESEND. Return the packets written."""
    worker = state.worker[0]
    mask = len(state.fragment) - 1
    count = 0
    while worker["query_head"] < worker["query_tail"] and count < len(out):
        seq = state.query_queue[worker["query_head"] & (len(state.query_queue) - 1)]
        worker["query_head"] += 1
        not_yet = seq >= worker["snd_una"] and not _was_sent(state, seq)
        if seq < worker["write_seq"] - len(state.fragment) or not_yet:
            # Gone from the ring, so every worker has it; or not sent yet. The last result of those that are the same
            # PS's tells it how far this is.
            last = worker["snd_una"] - 1
            seq = last - ((last - seq) & (worker["servers"] - 1))
        if not_yet:
            if not worker["failed"]:  # else it will never be sent
                _write(state, out, count, p.RESULT, p.ANSWER, seq, NOT_YET)
                state.counter[0]["answers"] += 1
                count += 1
        elif state.fragment[seq & mask]["acked"]:
            priority = state.fragment[seq & mask]["priority"]
            _write(state, out, count, p.RESULT, p.ANSWER, seq, priority)
            state.counter[0]["answers"] += 1
            count += 1
        elif seq >= worker["snd_una"] and not worker["failed"]:
            _write_fragment(state, out, count, seq, p.RESEND, now_ns)
            count += 1
    return count


@native
def _resend_lost(state: WorkerState, out: Words, count: int, now_ns: int) -> int:
    """Resend what is due, first what was overtaken, then probes; set `loss_timer_ns`. Return the new count."""
    worker = state.worker[0]
    mask = len(state.fragment) - 1
    earliest = NEVER
    older = 0
    for seq in range(worker["snd_una"], worker["fack_end"]):
        fragment = state.fragment[seq & mask]
        if fragment["acked"] or fragment["transmissions"] == 0:
            continue
        due_ns = fragment["timer_start_ns"] + loss_delay_ns(worker, fragment, older)
        if due_ns <= now_ns:
            if count == len(out):
                earliest = now_ns
                break
            _write_fragment(state, out, count, seq, p.RESEND, now_ns)
            count += 1
            due_ns = now_ns + loss_delay_ns(worker, fragment, older)
        earliest = min(earliest, due_ns)
        older += 1
    count, due_ns = _send_probes(state, out, count, now_ns)
    earliest = min(earliest, due_ns)
    worker["loss_timer_ns"] = earliest if count == len(out) else max(earliest, now_ns + worker["min_reo_wnd_ns"] // 2)
    return count


@native
def _send_probes(state: WorkerState, out: Words, count: int, now_ns: int) -> tuple[int, int]:
    """Resend the first of those beyond the highest result if their time is up; return also when it will be."""
    worker = state.worker[0]
    if worker["fack_end"] == worker["snd_nxt"]:
        return count, NEVER
    oldest = state.fragment[worker["fack_end"] & (len(state.fragment) - 1)]
    due_ns = max(oldest["timer_start_ns"], worker["last_progress_ns"]) + pto_ns(worker)
    if due_ns > now_ns:
        return count, due_ns
    if count == len(out):
        return count, now_ns
    first = worker["fack_end"]
    for seq in range(first, min(first + next_probe_size(worker), worker["snd_nxt"], first + len(out) - count)):
        if state.fragment[seq & (len(state.fragment) - 1)]["transmissions"] > 0:
            _write_fragment(state, out, count, seq, p.RESEND, now_ns)
            count += 1
    return count, now_ns + pto_ns(worker)


@native
def _write_fragment(state: WorkerState, out: Words, i: int, seq: int, flags: int, now_ns: int) -> None:
    """Write this worker's own fragment `seq` as packet i, and start its timer."""
    fragment = state.fragment[seq & (len(state.fragment) - 1)]
    worker = state.worker[0]
    if worker["slots"] and fragment["transmissions"] == 0:
        row = next_row_of(state.fragment[(seq - worker["slots"]) & (len(state.fragment) - 1)]["index"])
        fragment["index"] = slot_index(row, row)
    prefetch(state.fragment, (seq + _SOON) & (len(state.fragment) - 1))
    fragment["sent_ns"] = fragment["timer_start_ns"] = now_ns
    fragment["transmissions"] += 1
    if fragment["transmissions"] > 1:
        state.counter[0]["resends"] += 1
    else:
        state.counter[0]["fragments"] += 1
    _write(state, out, i, p.GRADIENT, flags, seq, fragment["priority"])


@native
def _write(state: WorkerState, out: Words, i: int, kind: int, flags: int, seq: int, priority: int) -> None:
    """Write packet i with the lanes and the exponent that the ring holds of `seq`."""
    worker = state.worker[0]
    slot = seq & (len(state.fragment) - 1)
    fragment = state.fragment[slot]
    index = on_wire(on_wire(seq) * worker["multiplier"] + worker["salt"])
    if worker["slots"]:
        index = int(fragment["index"])
    p.write_header(
        out,
        i,
        kind,
        flags,
        priority,
        fragment["exponent"],
        worker["job"],
        worker["epoch"],
        on_wire(seq),
        index,
        worker["bitmap0"],
        worker["bitmap1"],
    )
    p.write_lanes(out, i, state.lane, slot)
