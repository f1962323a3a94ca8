"""The worker: a window of fragments out, results in, whatever the network does in between.

When to ask again. In-network aggregation waits for the slowest worker, so a fragment that gets no answer is most
often not lost: some peer has not sent it yet. Resending a whole window then would turn every fragment into work for
the PS. Therefore fragments are of two sorts. One that a later result has overtaken: every peer is past it, so its
timer (from then on) means a loss, and any number of them are resent in parallel, soon and without backoff (see
`_overtaken_patience_ns`). Of those beyond the highest result only the oldest has a timer, which starts anew with
every result; when it runs out, the oldest `probe` fragments are resent. The probe starts at one, doubles when it
expires or succeeds, and falls back to one with the first result that came unasked: a window that was lost whole is
recovered in a logarithmic number of rounds, a slow peer costs a handful of packets. (With a timer per fragment and
nothing else, a peer 200 ms late makes the others resend their whole windows four times.)

A QUERY with COLLISION asks ahead: this fragment was preempted, so one that has not been sent yet goes straight to
the PS (as RESEND), and one on its way for less than a round trip is left alone.

What the PS says in a QUERY about who is missing is remembered, so that giving up can name the ranks.
"""

from __future__ import annotations

from typing import Any

from esa.native import native
from esa.protocol import packets as p
from esa.protocol.packets import Words
from esa.protocol.serial import on_wire, unwrap
from esa.protocol.timing import NEVER, measure, patience_ns
from esa.protocol.worker_ring import WorkerState

_ASKING = 8.0  # how much longer an answer by way of the PS takes than reordering lasts
_FORGETTING = 1.0 / 1024.0  # of the shortest round trip, per sample: paths change


@native
def worker_receive(state: WorkerState, packets: Words, count: int, now_ns: int) -> None:
    """Take in packets 0..count-1: RESULT and QUERY; everything else is counted as malformed and dropped."""
    me = state.worker[0]
    for i in range(count):
        kind = p.kind_of(packets, i, me["job"], me["epoch"])
        seq = unwrap(p.seq_of(packets, i), me["base"])
        if kind == p.RESULT and seq < me["next"] and p.bitmap0_of(packets, i) & me["bitmap0"]:
            _resolve(state, packets, i, seq, now_ns)
        elif kind == p.QUERY:
            _asked(state, packets, i, seq, now_ns)
        else:
            state.counter[0]["malformed"] += 1


@native
def _resolve(state: WorkerState, packets: Words, i: int, seq: int, now_ns: int) -> None:
    me = state.worker[0]
    mask = len(state.fragment) - 1
    fragment = state.fragment[seq & mask]
    counter = state.counter[0]
    if seq < me["base"] or fragment["done"]:
        counter["duplicates"] += 1
        return
    flags = p.flags_of(packets, i)
    fragment["done"] = 1
    fragment["exponent"] = p.exponent_of(packets, i)
    p.read_lanes(packets, i, state.lane, seq & mask)
    counter["results"] += 1
    if flags & (p.RELEASE | p.ANSWER):
        counter["via_ps"] += 1

    for overtaken in range(me["beyond"], seq):
        state.fragment[overtaken & mask]["waiting_ns"] = now_ns
        me["scan_ns"] = min(me["scan_ns"], now_ns + _overtaken_patience_ns(me, 1, now_ns))
    me["beyond"] = max(me["beyond"], seq + 1)
    me["progress_ns"] = now_ns
    while me["base"] < me["next"] and state.fragment[me["base"] & mask]["done"]:
        me["base"] += 1

    if fragment["tries"] == 1:
        sample_ns = float(now_ns - fragment["sent_ns"])
        measure(me, now_ns - fragment["sent_ns"])
        if me["shortest_ns"] == 0.0 or sample_ns < me["shortest_ns"]:
            me["shortest_ns"] = sample_ns
        else:
            me["shortest_ns"] += (sample_ns - me["shortest_ns"]) * _FORGETTING
        me["probe"] = 1
    else:
        me["probe"] = min(2 * me["probe"], me["window_limit"])
    me["scan_ns"] = min(me["scan_ns"], now_ns + patience_ns(me, 0))
    _adjust_window(me, counter, flags & p.ECN != 0, now_ns)


@native
def _adjust_window(me: Any, counter: Any, marked: bool, now_ns: int) -> None:
    """AIMD: a mark halves the window, at most once per round trip; a window without marks widens it by one."""
    if marked:
        counter["ecn"] += 1
        if now_ns - me["cut_ns"] > me["smoothed_ns"]:
            me["window"] = max(me["window"] / 2.0, 1.0)
            me["cut_ns"] = now_ns
    else:
        me["window"] = min(me["window"] + 1.0 / me["window"], float(me["window_limit"]))


@native
def _asked(state: WorkerState, packets: Words, i: int, seq: int, now_ns: int) -> None:
    me = state.worker[0]
    mask = len(state.fragment) - 1
    ahead = p.flags_of(packets, i) & p.COLLISION
    state.counter[0]["queries"] += 1
    if seq >= me["next"]:
        if ahead and seq < me["next"] + me["window_limit"]:
            state.straight[seq & mask] = seq
        return  # not sent yet: it will come
    if seq >= me["base"] and not state.fragment[seq & mask]["done"]:
        if ahead and now_ns - state.fragment[seq & mask]["sent_ns"] < me["smoothed_ns"]:
            return
        me["missing_seq"] = seq
        me["missing_ns"] = now_ns
        me["missing0"] = p.bitmap0_of(packets, i)
        me["missing1"] = p.bitmap1_of(packets, i)
    if me["asked_tail"] - me["asked_head"] < len(state.asked):
        state.asked[me["asked_tail"] & (len(state.asked) - 1)] = seq
        me["asked_tail"] += 1


@native
def worker_send(state: WorkerState, out: Words, now_ns: int) -> tuple[int, int]:
    """Fill `out` with what is to be sent now, all of it to the PS: answers, resends, new fragments, in this order.

    Returns (packets, the time to call again at the latest: `now_ns` if there was more than `out` holds).
    """
    me = state.worker[0]
    count = _answer(state, out, now_ns)
    if me["base"] < me["next"] and now_ns - me["progress_ns"] >= me["give_up_ns"]:
        me["failed"] = 1
    if me["failed"]:
        return count, now_ns if me["asked_head"] < me["asked_tail"] else NEVER
    if now_ns >= me["scan_ns"]:
        count = _resend(state, out, count, now_ns)
    limit = min(me["base"] + int(me["window"]), me["fed"])
    while me["next"] < limit and count < len(out):
        if me["base"] == me["next"]:
            me["progress_ns"] = now_ns
        straight = state.straight[me["next"] & (len(state.straight) - 1)] == me["next"]
        _write_fragment(state, out, count, me["next"], p.RESEND if straight else 0, now_ns)
        me["scan_ns"] = min(me["scan_ns"], now_ns + patience_ns(me, 0))
        me["next"] += 1
        count += 1
    if count == len(out):
        return count, now_ns
    if me["base"] == me["next"]:
        return count, NEVER
    return count, int(min(me["scan_ns"], me["progress_ns"] + me["give_up_ns"]))


@native
def _answer(state: WorkerState, out: Words, now_ns: int) -> int:
    me = state.worker[0]
    mask = len(state.fragment) - 1
    count = 0
    while me["asked_head"] < me["asked_tail"] and count < len(out):
        seq = state.asked[me["asked_head"] & (len(state.asked) - 1)]
        me["asked_head"] += 1
        if seq < me["fed"] - len(state.fragment):
            # Gone from the ring, so every worker has it. The last result in order tells the PS how far the job is.
            seq = me["base"] - 1
        if state.fragment[seq & mask]["done"]:
            _write(state, out, count, p.RESULT, p.ANSWER, seq)
            state.counter[0]["answers"] += 1
            count += 1
        elif seq >= me["base"] and not me["failed"]:
            _write_fragment(state, out, count, seq, p.RESEND, now_ns)
            count += 1
    return count


@native
def _resend(state: WorkerState, out: Words, count: int, now_ns: int) -> int:
    """Resend what is due, as the essay above says; leave in `scan_ns` when something will be."""
    me = state.worker[0]
    mask = len(state.fragment) - 1
    earliest = NEVER
    probes = 0
    for seq in range(me["base"], me["next"]):
        fragment = state.fragment[seq & mask]
        if fragment["done"]:
            continue
        if seq < me["beyond"] or probes == 0:
            if seq < me["beyond"]:
                due_ns = fragment["waiting_ns"] + _overtaken_patience_ns(me, fragment["tries"], now_ns)
            else:
                due_ns = max(fragment["waiting_ns"], me["progress_ns"]) + patience_ns(me, fragment["tries"] - 1)
            if due_ns > now_ns:
                earliest = min(earliest, due_ns)
                if seq < me["beyond"]:
                    continue
                break
        if count == len(out):
            earliest = now_ns
            break
        _write_fragment(state, out, count, seq, p.RESEND, now_ns)
        count += 1
        if seq < me["beyond"]:
            earliest = min(earliest, now_ns + _overtaken_patience_ns(me, fragment["tries"], now_ns))
        elif probes == 0:
            earliest = min(earliest, now_ns + patience_ns(me, fragment["tries"] - 1))
        if seq >= me["beyond"]:
            probes += 1
            if probes >= me["probe"]:
                me["probe"] = min(2 * me["probe"], me["window_limit"])
                break
    me["scan_ns"] = earliest if count == len(out) else max(earliest, now_ns + me["overtaken_ns"] // 2)
    return count


@native
def _overtaken_patience_ns(me: Any, tries: int, now_ns: int) -> int:
    """How long an overtaken fragment waits, from being overtaken (sent once) or from its last RESEND.

    First the quarter of the shortest round trip that RACK (RFC 8985) grants to reordering; then the time that the PS
    takes to remind, to query and to be answered; never doubled: as long as results come the network carries, a loss is
    chance, and what is resent is bounded by the window. When nothing comes any more, it is the ordinary timer's turn.
    The smoothed round trip would not do: it contains the time for which peers were held up, by the same losses.
    """
    if now_ns - me["progress_ns"] >= patience_ns(me, 0):
        return patience_ns(me, tries - 1)
    reordering_ns = max(me["shortest_ns"] / 4.0, me["overtaken_ns"])
    return int(min(reordering_ns if tries <= 1 else _ASKING * reordering_ns, patience_ns(me, 0)))


@native
def _write_fragment(state: WorkerState, out: Words, i: int, seq: int, flags: int, now_ns: int) -> None:
    """Packet i = this worker's own fragment `seq`."""
    fragment = state.fragment[seq & (len(state.fragment) - 1)]
    fragment["sent_ns"] = fragment["waiting_ns"] = now_ns
    fragment["tries"] += 1
    if fragment["tries"] > 1:
        state.counter[0]["resends"] += 1
    else:
        state.counter[0]["fragments"] += 1
    _write(state, out, i, p.GRADIENT, flags, seq)


@native
def _write(state: WorkerState, out: Words, i: int, kind: int, flags: int, seq: int) -> None:
    me = state.worker[0]
    row = seq & (len(state.fragment) - 1)
    fragment = state.fragment[row]
    p.write_header(
        out,
        i,
        kind,
        flags,
        fragment["priority"],
        fragment["exponent"],
        me["job"],
        me["epoch"],
        on_wire(seq),
        on_wire(on_wire(seq) * me["multiplier"] + me["salt"]),
        me["bitmap0"],
        me["bitmap1"],
    )
    p.write_lanes(out, i, state.lane, row)
