"""The worker: a window of fragments out, results in, whatever the network does in between.

When to ask again. In-network aggregation waits for the slowest worker, so a fragment that gets no answer is most
often not lost: some peer has not sent it yet. Resending a whole window then would turn every fragment into work for
the PS. Therefore fragments are of two sorts.

Overtaken: a later result is there. Every peer is past such a fragment, so its timer (from then on) means a loss, and
any number of them are resent in parallel. First after what reordering may take, a quarter of the shortest round trip
as in RACK (RFC 8985). Where a policy preempts, results by way of the PS are late and not lost: what was resent in
vain, as the result that comes twice shows, stretches that time. A fragment resent once waits for the usual round
trip, which contains the queues; resent twice, it has met losses, and is resent at the pace of the PS's answers. Never
doubled: as long as results come the network carries. But the oldest, for which the window waits, go first: the
others' pace is slower the more are before them. And when no result comes, the pace slows down with the time since the
last.

Beyond the highest result: only the oldest has a timer, which starts anew with every result. When it runs out, one
packet is sent, after two of the shortest round trips or so (the tail loss probe of RFC 8985), for what nothing can
overtake may be lost as well. A peer that is late for good reasons lets the PS say so (a QUERY that names others), and
the probes come at doubling intervals; silence may be a lost probe, and the first few come as soon as the first. Once
the ordinary time is up (RFC 6298, with a floor that spares peers that compute), `probe` fragments are sent. That
number starts at one, doubles when they get no answer or when one succeeds, and falls back to one with the first
result that came unasked: a window that was lost whole is recovered in a logarithmic number of rounds, a slow peer
costs a handful of packets. (With a timer per fragment and nothing else, a peer 200 ms late makes the others resend
their whole windows four times.)

The smoothed round trip would be of no use where losses are many: it contains the time for which peers were held up,
by the same losses.

What it says when it is asked. A QUERY for a fragment whose result is there is answered with the result; for one that
is outstanding with a RESEND, unless the PS says that it has this worker's part already: then it names others, and
lives. A QUERY for a fragment that was not sent yet is answered with the last result in order and
priority NOT_YET, so that the PS can tell "later" from "lost"; and the fragment will go straight to the PS (as
RESEND), which has what there is of it.

A QUERY with COLLISION asks ahead: this fragment was preempted. It is not answered if the fragment was not sent yet,
or has been on its way for less than a round trip.

How long to wait at all. What the PS says in a QUERY about who is missing is remembered. Silence, the PS's or that of
those it names, is given up after `give_up_ns`, and the ranks can be named. But where all that are missing live and have
not sent their part yet (ALIVE), there is nothing wrong, and it is waited for up to `limit_ns`. A worker that has given
up does not say "not yet" any more, for nothing will come.
"""

from __future__ import annotations

from typing import Any

from esa.native import native
from esa.protocol import packets as p
from esa.protocol.packets import Words
from esa.protocol.serial import on_wire, unwrap
from esa.protocol.rtt import NEVER, update_rtt, rto_ns
from esa.protocol.worker_ring import NOT_YET, WorkerState

_FORGETTING = 1.0 / 1024.0  # of the shortest round trip, per sample: paths change
_USUAL_STEP = 1.0 / 32.0  # by which the usual round trip moves towards a sample, whatever their distance: a median
_VIA_SERVER = 3  # reorderings; an answer by way of the PS
_ABREAST = 16  # overtaken fragments that are resent at full pace; the next ones at half of it, a third, ...
_SILENCE_PART = 8  # of the time since the last result, between two RESENDs of one fragment, at least
_PROBE_TRIPS = 2.0
_PROBE_REORDERINGS = 4  # a probe comes no sooner
_EQUAL_PROBES = 6  # before their intervals double, unless the PS says that it waits for others
_VAIN, _GOOD_CAUSE, _MAX_STRETCH = 1.25, 0.9, 4.0  # half of the resends in vain, and more, let `stretch` grow


@native
def worker_receive(state: WorkerState, packets: Words, count: int, now_ns: int) -> None:
    """Take in packets 0..count-1: RESULT and QUERY; everything else is counted and dropped.

    As `other_run` if only its epoch is not ours, else as `malformed`.
    """
    worker = state.worker[0]
    for i in range(count):
        kind = p.kind_of(packets, i, worker["job"], worker["epoch"])
        seq = unwrap(p.seq_of(packets, i), worker["snd_una"])
        if kind == p.RESULT and seq < worker["snd_nxt"] and p.bitmap0_of(packets, i) & worker["bitmap0"]:
            _resolve(state, packets, i, seq, now_ns)
        elif kind == p.QUERY:
            _asked(state, packets, i, seq, now_ns)
        else:
            _refuse(state, packets, i)


@native
def _refuse(state: WorkerState, packets: Words, i: int) -> None:
    worker = state.worker[0]
    epoch = p.other_run_of(packets, i, worker["job"], worker["epoch"])
    if epoch < 0:
        state.counter[0]["malformed"] += 1
    else:
        state.counter[0]["other_run"] += 1
        worker["other_run"] = epoch


@native
def _resolve(state: WorkerState, packets: Words, i: int, seq: int, now_ns: int) -> None:
    worker = state.worker[0]
    mask = len(state.fragment) - 1
    fragment = state.fragment[seq & mask]
    counter = state.counter[0]
    if seq < worker["snd_una"] or fragment["acked"]:
        counter["duplicates"] += 1
        if seq >= worker["write_seq"] - len(state.fragment) and fragment["transmissions"] == 2:
            _resent_in_vain(worker)
        return
    flags = p.flags_of(packets, i)
    fragment["acked"] = 1
    fragment["exponent"] = p.exponent_of(packets, i)
    p.read_lanes(packets, i, state.lane, seq & mask)
    counter["results"] += 1
    if flags & (p.RELEASE | p.ANSWER):
        counter["via_ps"] += 1

    for overtaken in range(worker["fack_end"], seq):
        state.fragment[overtaken & mask]["timer_start_ns"] = now_ns
        worker["loss_timer_ns"] = min(worker["loss_timer_ns"], now_ns + _reordering_ns(worker))
    worker["fack_end"] = max(worker["fack_end"], seq + 1)
    worker["last_progress_ns"] = now_ns
    worker["tlp_count"] = worker["rto_count"] = 0
    while worker["snd_una"] < worker["snd_nxt"] and state.fragment[worker["snd_una"] & mask]["acked"]:
        worker["snd_una"] += 1

    if fragment["transmissions"] == 1:
        _measure_round_trip(worker, now_ns - fragment["sent_ns"])
        worker["probe_size"] = 1
    else:
        _resent_for_good_cause(worker)
        worker["probe_size"] = min(2 * worker["probe_size"], worker["max_window"])
    worker["loss_timer_ns"] = min(worker["loss_timer_ns"], now_ns + _probe_patience_ns(worker))
    _adjust_window(worker, counter, flags & p.ECN != 0, now_ns)


@native
def _adjust_window(worker: Any, counter: Any, marked: bool, now_ns: int) -> None:
    """AIMD: a mark halves the window, at most once per round trip; a window without marks widens it by one."""
    if marked:
        counter["ecn"] += 1
        if now_ns - worker["cwnd_reduced_ns"] > worker["srtt_ns"]:
            worker["cwnd"] = max(worker["cwnd"] / 2.0, 1.0)
            worker["cwnd_reduced_ns"] = now_ns
    else:
        worker["cwnd"] = min(worker["cwnd"] + 1.0 / worker["cwnd"], float(worker["max_window"]))


@native
def _asked(state: WorkerState, packets: Words, i: int, seq: int, now_ns: int) -> None:
    worker = state.worker[0]
    mask = len(state.fragment) - 1
    flags = p.flags_of(packets, i)
    ahead = flags & p.COLLISION
    state.counter[0]["queries"] += 1
    if not worker["failed"]:
        worker["last_query_ns"] = now_ns
    if seq >= worker["snd_nxt"]:
        if seq >= worker["snd_nxt"] + worker["max_window"]:
            return  # nobody can be as far as that
        state.bypass_seq[seq & mask] = seq
        if ahead:
            return
    elif seq >= worker["snd_una"] and not state.fragment[seq & mask]["acked"]:
        if ahead and now_ns - state.fragment[seq & mask]["sent_ns"] < worker["srtt_ns"]:
            return
        missing0, missing1 = p.bitmap0_of(packets, i), p.bitmap1_of(packets, i)
        same_rack = missing1 & worker["bitmap1"] != 0
        mine = same_rack and missing0 & worker["bitmap0"] != 0
        others = missing0 & ~worker["bitmap0"] if same_rack else missing0
        if mine and not worker["failed"]:
            worker["own_missing_ns"] = now_ns
        if others and not worker["failed"]:  # once it has failed, the PS lacks what it no longer sends
            worker["straggler_query_ns"] = now_ns
            worker["straggler_bitmap0"] = others
            worker["straggler_bitmap1"] = missing1
            if flags & p.ALIVE:
                worker["stragglers_alive_ns"] = now_ns
        if not mine:
            worker["straggler_notice_ns"] = now_ns
            return
    if worker["query_tail"] - worker["query_head"] < len(state.query_queue):
        state.query_queue[worker["query_tail"] & (len(state.query_queue) - 1)] = seq
        worker["query_tail"] += 1


@native
def worker_send(state: WorkerState, out: Words, now_ns: int) -> tuple[int, int]:
    """Fill `out` with what is to be sent now, all of it to the PS: answers, resends, new fragments, in this order.

    Returns (packets, the time to call again at the latest: `now_ns` if there was more than `out` holds).
    """
    worker = state.worker[0]
    count = _answer(state, out, now_ns)
    if worker["snd_una"] < worker["snd_nxt"] and not worker["failed"] and now_ns >= _deadline_ns(worker):
        worker["failed"], worker["failed_ns"] = 1, now_ns
    if worker["failed"]:
        return count, now_ns if worker["query_head"] < worker["query_tail"] else NEVER
    if now_ns >= worker["loss_timer_ns"]:
        count = _resend(state, out, count, now_ns)
    limit = min(worker["snd_una"] + int(worker["cwnd"]), worker["write_seq"])
    while worker["snd_nxt"] < limit and count < len(out):
        if worker["snd_una"] == worker["snd_nxt"]:
            worker["last_progress_ns"] = now_ns
            worker["tlp_count"] = worker["rto_count"] = 0
        bypass = state.bypass_seq[worker["snd_nxt"] & (len(state.bypass_seq) - 1)] == worker["snd_nxt"]
        _write_fragment(state, out, count, worker["snd_nxt"], p.RESEND if bypass else 0, now_ns)
        worker["loss_timer_ns"] = min(worker["loss_timer_ns"], now_ns + _probe_patience_ns(worker))
        worker["snd_nxt"] += 1
        count += 1
    if count == len(out):
        return count, now_ns
    if worker["snd_una"] == worker["snd_nxt"]:
        return count, NEVER
    return count, int(min(worker["loss_timer_ns"], _deadline_ns(worker)))


@native
def _deadline_ns(worker: Any) -> int:
    """When to give up, as far as is known now."""
    return int(
        min(
            max(worker["last_progress_ns"], worker["stragglers_alive_ns"]) + worker["give_up_ns"],
            worker["last_progress_ns"] + worker["wait_limit_ns"],
        )
    )


@native
def _answer(state: WorkerState, out: Words, now_ns: int) -> int:
    worker = state.worker[0]
    mask = len(state.fragment) - 1
    count = 0
    while worker["query_head"] < worker["query_tail"] and count < len(out):
        seq = state.query_queue[worker["query_head"] & (len(state.query_queue) - 1)]
        worker["query_head"] += 1
        not_yet = seq >= worker["snd_nxt"]
        if seq < worker["write_seq"] - len(state.fragment) or not_yet:
            # Gone from the ring, so every worker has it; or not sent yet. The last result tells the PS how far this is.
            seq = worker["snd_una"] - 1
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
def _resend(state: WorkerState, out: Words, count: int, now_ns: int) -> int:
    """Resend what is due, and leave in `loss_timer_ns` when something will be."""
    worker = state.worker[0]
    mask = len(state.fragment) - 1
    earliest = NEVER
    older = 0
    for seq in range(worker["snd_una"], worker["fack_end"]):
        fragment = state.fragment[seq & mask]
        if fragment["acked"]:
            continue
        due_ns = fragment["timer_start_ns"] + _overtaken_patience_ns(worker, fragment, older)
        if due_ns <= now_ns:
            if count == len(out):
                earliest = now_ns
                break
            _write_fragment(state, out, count, seq, p.RESEND, now_ns)
            count += 1
            due_ns = now_ns + _overtaken_patience_ns(worker, fragment, older)
        earliest = min(earliest, due_ns)
        older += 1
    count, due_ns = _probe(state, out, count, now_ns)
    earliest = min(earliest, due_ns)
    worker["loss_timer_ns"] = earliest if count == len(out) else max(earliest, now_ns + worker["min_reo_wnd_ns"] // 2)
    return count


@native
def _probe(state: WorkerState, out: Words, count: int, now_ns: int) -> tuple[int, int]:
    """Resend the first of those beyond the highest result if their time is up; returns also when it will be."""
    worker = state.worker[0]
    if worker["fack_end"] == worker["snd_nxt"]:
        return count, NEVER
    oldest = state.fragment[worker["fack_end"] & (len(state.fragment) - 1)]
    due_ns = max(oldest["timer_start_ns"], worker["last_progress_ns"]) + _probe_patience_ns(worker)
    if due_ns > now_ns:
        return count, due_ns
    if count == len(out):
        return count, now_ns
    first = worker["fack_end"]
    for seq in range(first, min(first + _probe_size(worker), worker["snd_nxt"], first + len(out) - count)):
        _write_fragment(state, out, count, seq, p.RESEND, now_ns)
        count += 1
    return count, now_ns + _probe_patience_ns(worker)


@native
def _measure_round_trip(worker: Any, sample_ns: int) -> None:
    """Take in the round trip of a fragment that was sent once (Karn)."""
    update_rtt(worker, sample_ns)
    sample = float(sample_ns)
    if worker["median_rtt_ns"] == 0.0:
        worker["median_rtt_ns"] = worker["min_rtt_ns"] = max(sample, 1.0)
        return
    worker["median_rtt_ns"] *= 1.0 + (_USUAL_STEP if sample > worker["median_rtt_ns"] else -_USUAL_STEP)
    if sample < worker["min_rtt_ns"]:
        worker["min_rtt_ns"] = max(sample, 1.0)
    else:
        worker["min_rtt_ns"] += (sample - worker["min_rtt_ns"]) * _FORGETTING


@native
def _resent_in_vain(worker: Any) -> None:
    """The result of a fragment that was resent once came twice."""
    worker["reo_wnd_mult"] = min(worker["reo_wnd_mult"] * _VAIN, _MAX_STRETCH)


@native
def _resent_for_good_cause(worker: Any) -> None:
    """The result of a fragment that was resent came, so far once."""
    worker["reo_wnd_mult"] = max(worker["reo_wnd_mult"] * _GOOD_CAUSE, 1.0)


@native
def _reordering_ns(worker: Any) -> int:
    """How long an overtaken fragment may still be under way."""
    return int(max(worker["min_rtt_ns"] / 4.0, worker["min_reo_wnd_ns"]) * worker["reo_wnd_mult"])


@native
def _overtaken_patience_ns(worker: Any, fragment: Any, older: int) -> int:
    """How long an overtaken fragment waits, from being overtaken (sent once) or from its last RESEND.

    older: how many overtaken fragments there are before it.
    """
    wait_ns = _reordering_ns(worker)
    if fragment["transmissions"] > 1:
        wait_ns *= _VIA_SERVER
        if fragment["transmissions"] == 2:
            wait_ns = max(wait_ns, int(worker["median_rtt_ns"]))
        wait_ns *= 1 + older // _ABREAST
    silence_ns = fragment["timer_start_ns"] - worker["last_progress_ns"]
    return int(min(max(wait_ns, silence_ns // _SILENCE_PART), worker["max_rto_ns"]))


@native
def _probe_patience_ns(worker: Any) -> int:
    """How long those beyond the highest result wait, from the last result or probe."""
    quick_ns = _quick_probe_ns(worker)
    return quick_ns if quick_ns else rto_ns(worker, worker["rto_count"])


@native
def _probe_size(worker: Any) -> int:
    """Their time is up: how many of them to resend. Counts the probe."""
    if _quick_probe_ns(worker):
        worker["tlp_count"] += 1
        return 1
    worker["rto_count"] += 1
    if _told(worker):
        return 1
    size = worker["probe_size"]
    worker["probe_size"] = min(2 * worker["probe_size"], worker["max_window"])
    return int(size)


@native
def _quick_probe_ns(worker: Any) -> int:
    """The time to the next quick probe; 0: it is the ordinary timer's turn."""
    if worker["min_rtt_ns"] == 0.0:
        return 0
    first_ns = int(max(_PROBE_TRIPS * worker["min_rtt_ns"], _PROBE_REORDERINGS * worker["min_reo_wnd_ns"]))
    quick_ns = first_ns << (worker["tlp_count"] if _told(worker) else max(worker["tlp_count"] - _EQUAL_PROBES, 0))
    return int(quick_ns) if quick_ns < rto_ns(worker, 0) else 0


@native
def _told(worker: Any) -> bool:
    """Whether the PS has said, since the last result, that it has this worker's part and waits for others."""
    return bool(worker["straggler_notice_ns"] > worker["last_progress_ns"])


@native
def _write_fragment(state: WorkerState, out: Words, i: int, seq: int, flags: int, now_ns: int) -> None:
    """Packet i = this worker's own fragment `seq`."""
    fragment = state.fragment[seq & (len(state.fragment) - 1)]
    fragment["sent_ns"] = fragment["timer_start_ns"] = now_ns
    fragment["transmissions"] += 1
    if fragment["transmissions"] > 1:
        state.counter[0]["resends"] += 1
    else:
        state.counter[0]["fragments"] += 1
    _write(state, out, i, p.GRADIENT, flags, seq, fragment["priority"])


@native
def _write(state: WorkerState, out: Words, i: int, kind: int, flags: int, seq: int, priority: int) -> None:
    worker = state.worker[0]
    row = seq & (len(state.fragment) - 1)
    fragment = state.fragment[row]
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
        on_wire(on_wire(seq) * worker["multiplier"] + worker["salt"]),
        worker["bitmap0"],
        worker["bitmap1"],
    )
    p.write_lanes(out, i, state.lane, row)
