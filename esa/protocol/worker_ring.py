"""A worker's state: a ring of fragments, its own until the result comes, then the result.

One slot per seq, `slots` of them (a power of two, at least four spans). A slot holds the worker's own fragment
until the result comes, then the result, until no peer can need it:

    kept for peers | snd_una: lowest without a result ... snd_nxt: first not yet sent ... write_seq: first not yet given

A worker sends seq only when it has every result up to seq - span, so a peer that lacks a result lacks one of the last
span; two spans are kept, of the longest that any worker may have. A result ends its fragment whatever aggregator,
partial or path made it: only the first one counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native
from esa.protocol.congestion import RULES
from esa.protocol.packets import Lanes, Records
from esa.protocol.rtt import ESTIMATE_FIELDS, NEVER, NS_PER_S
from esa.protocol.slots import nth_row, slot_index
from esa.protocol.timers import Timers
from esa.wire import index_parameters

NOT_YET = 0  # an ANSWER's priority: not to what was asked, for that was not sent yet; fragments have 1..255

_TIMERS = Timers()

_WORKER = np.dtype(
    [
        # Identity
        ("job", np.int64),
        ("epoch", np.int64),
        ("bitmap0", np.int64),  # this worker's bit, its rack's bit
        ("bitmap1", np.int64),
        ("workers", np.int64),  # of the job
        ("servers", np.int64),  # its PSs: fragment seq is that of PS (seq modulo these)
        # Configuration: never written later
        ("multiplier", np.int64),  # of the index that a seq has, as `salt`
        ("salt", np.int64),
        ("slots", np.int64),  # with a row each; 0: the index of a fragment is a hash of its seq
        ("chain", np.int64),  # a seq is sent only with the result of the one so many before; 0: there is no such rule
        ("passes_rows", np.int64),  # what is beyond the aggregator window goes past the rows: `a2tp.py`
        ("max_window", np.int64),  # fragments in flight, at most
        ("span", np.int64),  # snd_nxt - snd_una, at most
        ("max_span", np.int64),  # of any worker of the job, whatever policy and rows it knows of
        ("min_reo_wnd_ns", np.int64),  # an overtaken fragment is resent no sooner
        ("give_up_ns", np.int64),  # silence of a peer, or of the PS, at most
        ("wait_limit_ns", np.int64),  # without a result, at most, while those missing live
        # Send sequence space (RFC 9293, 3.3.1), unwrapped
        ("snd_una", np.int64),  # lowest without a result
        ("snd_nxt", np.int64),  # first not yet sent; where there are chains, some before it were skipped
        ("in_flight", np.int64),  # sent, and without a result
        ("write_seq", np.int64),  # first not yet given by the caller
        ("read_seq", np.int64),  # first result not yet taken by the caller
        # RTT estimate (RFC 6298), with RACK's minimum
        *ESTIMATE_FIELDS,
        ("min_rtt_ns", np.float64),  # the shortest round trip of late, 0: nothing measured yet
        ("median_rtt_ns", np.float64),  # about half of the round trips are shorter
        # Loss detection (RFC 8985)
        ("fack_end", np.int64),  # first after the highest result
        ("reo_wnd_mult", np.float64),  # of the reordering window: more where resends turn out to be spurious
        ("probe_size", np.int64),  # fragments beyond the highest result that are resent at a time
        ("tlp_count", np.int64),  # tail loss probes since the last result
        ("rto_count", np.int64),  # ordinary time-outs since the last result
        ("loss_timer_ns", np.int64),  # no fragment's time is up before
        ("last_progress_ns", np.int64),  # when a result last came, or the first of a burst was sent
        ("straggler_notice_ns", np.int64),  # when the PS last said that it has this worker's part and waits for others
        # Congestion control
        ("congestion", np.int64),  # which rule: `congestion.py`, which says what the others are for
        ("cwnd", np.float64),  # fragments in flight now, at most
        ("cwnd_increase", np.float64),  # by how much it grows per window, once it is in the thick of it
        ("cwnd_limited", np.int64),  # when it last sent: the window, and nothing else, held more back
        ("ssthresh", np.float64),
        ("cut_end", np.int64),  # fragments before it were sent before the last cut
        ("alpha", np.float64),  # the part that is marked, smoothed (RFC 8257)
        ("round_end", np.int64),  # results of fragments before it count for the round in hand
        ("round_acked", np.int64),
        ("round_marked", np.int64),
        # Aggregator window: `aggregator_window.py`, or `a2tp.py`, which says what the others are for
        ("agg_window", np.float64),  # fragments in flight now, at most, for want of rows; or of a window in rows
        ("min_agg_window", np.float64),  # it gets no smaller; max_window: there is no such rule
        ("beta", np.float64),  # the part of it that is contested, smoothed
        ("gamma", np.float64),  # the straggling degree, smoothed
        ("degree", np.float64),  # of the window in hand
        ("degree_measured", np.int64),
        ("contested", np.int64),  # of the window in hand
        ("agg_round", np.int64),  # its size: cwnd
        ("agg_round_end", np.int64),  # its last seq
        ("agg_round_ns", np.int64),  # when the one before ended, and snd_una then
        ("agg_round_una", np.int64),
        ("rows_end", np.int64),  # what is before may take rows, of what is before `next_rows_start`
        ("next_rows_start", np.int64),  # where the first window begins that the last adjustment is for
        ("next_rows_end", np.int64),  # up to there fragments of it may take rows
        # Queue of fragments that were skipped and may be sent now: counts of those taken out and put in
        ("skipped_head", np.int64),
        ("skipped_tail", np.int64),
        # Queue of QUERYs to answer: counts of those taken out and put in
        ("query_head", np.int64),
        ("query_tail", np.int64),
        # Failure, and what is known of its cause
        ("failed", np.int64),  # gave up on `snd_una`
        ("failed_ns", np.int64),  # when
        ("straggler_bitmap0", np.int64),  # who kept this one waiting, as the last QUERY said: not itself
        ("straggler_bitmap1", np.int64),
        ("straggler_query_ns", np.int64),  # when it came
        ("stragglers_alive_ns", np.int64),  # when the PS last said that all whom it waits for live
        ("last_query_ns", np.int64),  # when the PS last asked anything
        ("own_missing_ns", np.int64),  # when it last said that it lacks this worker's own part
        ("other_run", np.int64),  # epoch of the last packet of this job that was of another run, -1: none came
    ]
)
_FRAGMENT = np.dtype(
    [
        ("sent_ns", np.int64),
        ("timer_start_ns", np.int64),  # its timer counts from here: sent, or overtaken
        ("index", np.int64),  # where there are slots: as it was sent, then as its result says
        ("transmissions", np.int32),
        ("acked", np.uint8),  # its result is here
        ("priority", np.uint8),
        ("exponent", np.int8),  # the worker's own, then the result's
        ("padding", np.uint8),  # to 32 bytes: a row is found by a shift
    ]
)
_COUNTERS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "fragments",  # sent for the first time
            "resends",
            "results",  # fragments resolved
            "via_ps",  # of these, by a packet that the PS made
            "ecn",  # of these, marked
            "duplicates",  # results that came again
            "queries",
            "answers",  # queries answered with a result
            "malformed",
            "other_run",  # packets of this job, of another epoch
        )
    ]
)


class WorkerState(NamedTuple):
    """One rank of a job; make one with `worker_state`. Slots are indexed by seq modulo their number."""

    worker: Records  # (1,)
    fragment: Records  # (slots,)
    lane: Lanes  # (slots, lanes)
    query_queue: npt.NDArray[np.int64]  # (slots,)
    skipped_queue: npt.NDArray[np.int64]  # (slots,)
    bypass_seq: npt.NDArray[np.int64]  # (slots,): the seq that goes to the PS past all aggregators, -1: none
    counter: Records  # (1,)


def ring_slots(span: int) -> int:
    """Return how many slots a worker's or PS's ring has: a power of two, at least four spans."""
    return 1 << (4 * span - 1).bit_length()


def check_servers(servers: int, slots: int, chain: int) -> None:
    """ValueError unless what follows a fragment in its slot, or in its chain, has the same one of so many PSs."""
    if servers < 1 or servers & (servers - 1):
        raise ValueError(f"servers: {servers}; allowed: powers of two")
    if slots % servers or chain % servers:
        raise ValueError(f"servers: {servers}; allowed: what divides slots, {slots}, and chain, {chain}")


def worker_state(
    *,
    job: int,
    epoch: int,
    rank: int,
    rack: int = 0,
    window: int,
    span: int | None = None,
    max_span: int | None = None,
    slots: int = 0,
    chain: int = 0,
    workers: int = 1,
    servers: int = 1,
    lanes: int,
    give_up_s: float = 30.0,
    wait_limit_s: float = 1800.0,
    timers: Timers = _TIMERS,
    congestion: str = "none",
    initial_window: int | None = None,
    least_window: int | None = None,
    passes_rows: bool = False,
    window_increase: float = 1.0,
    first_seq: int = 0,
) -> WorkerState:
    """Make a worker that has sent nothing. `rank` is its bit in bitmap0 (within its rack), `rack` that in bitmap1.

    workers, servers: of the job; servers, its PSs, a power of two that divides slots and chain.
    window: fragments in flight, at most. span: by how many it is ahead of the oldest without a result, at most; the
    window if left out. max_span: the largest span of any worker of the job; this one's if left out.
    slots: rows are those of so many slots (`esa.protocol.slots`), the span; 0: by hash of the seq.
    chain: a fragment is sent only with the result of the one so many before in hand, a window at least; 0: in any case.
    give_up_s: without a result or a word of who is waited for, seconds. wait_limit_s: for peers that live, seconds.
    congestion: one of `congestion.RULES`; initial_window: where it begins, the window if left out; window_increase: by
    how many fragments it grows per window without a mark. least_window: fragments in flight where rows are scarce, the
    window if left out (`esa.protocol.aggregator_window`); or where passes_rows, of a window in rows (`a2tp`).
    """
    if window < 1:
        raise ValueError(f"window: {window} fragments; at least 1")
    if congestion not in RULES:
        raise ValueError(f"congestion: '{congestion}'; allowed: {', '.join(RULES)}")
    span = window if span is None else span
    if span < window:
        raise ValueError(f"span: {span} fragments; at least the window's {window}")
    if slots not in (0, span):
        raise ValueError(f"slots: {slots}; allowed: 0, or the span's {span}")
    if 0 < chain < window:
        raise ValueError(f"chain: {chain} fragments; allowed: 0, or the window's {window} and more")
    check_servers(servers, slots, chain)
    max_span = span if max_span is None else max_span
    ring = ring_slots(max_span)
    state = WorkerState(
        worker=np.zeros(1, _WORKER),
        fragment=np.zeros(ring, _FRAGMENT),
        lane=np.zeros((ring, lanes), np.int32),
        query_queue=np.zeros(ring, np.int64),
        skipped_queue=np.zeros(ring, np.int64),
        bypass_seq=np.full(ring, -1, np.int64),
        counter=np.zeros(1, _COUNTERS),
    )
    worker = state.worker[0]
    worker["job"], worker["epoch"], worker["bitmap0"], worker["bitmap1"] = job, epoch, 1 << rank, 1 << rack
    worker["multiplier"], worker["salt"] = index_parameters(job, epoch)
    worker["workers"], worker["servers"] = workers, servers
    worker["slots"], worker["chain"] = slots, chain
    for seq in range(first_seq - slots, first_seq):
        row = nth_row(worker, seq % slots)
        state.fragment[seq & (ring - 1)]["index"] = slot_index(row, row)
    worker["max_window"] = window
    worker["congestion"] = RULES.index(congestion)
    worker["cwnd"] = window if initial_window is None else initial_window
    worker["cwnd_increase"] = window_increase
    worker["ssthresh"], worker["alpha"] = np.inf, 1.0
    worker["agg_window"] = window
    worker["min_agg_window"] = window if least_window is None else least_window
    worker["passes_rows"], worker["gamma"], worker["degree"], worker["degree_measured"] = passes_rows, 1.0, 1.0, 1
    worker["agg_round"], worker["agg_round_end"] = window, first_seq + window - 1
    worker["rows_end"] = worker["next_rows_start"] = first_seq + window
    worker["next_rows_end"] = first_seq + 2 * window
    worker["span"], worker["max_span"] = span, max_span
    for name in ("snd_una", "snd_nxt", "write_seq", "read_seq", "fack_end", "cut_end", "round_end", "agg_round_una"):
        worker[name] = first_seq
    worker["probe_size"] = 1
    worker["reo_wnd_mult"] = 1.0
    worker["loss_timer_ns"] = NEVER
    for name in (
        "straggler_notice_ns",
        "straggler_query_ns",
        "own_missing_ns",
        "last_query_ns",
        "stragglers_alive_ns",
    ):
        worker[name] = -NEVER
    worker["other_run"] = -1
    worker["give_up_ns"], worker["wait_limit_ns"] = int(give_up_s * NS_PER_S), int(wait_limit_s * NS_PER_S)
    worker["min_reo_wnd_ns"] = timers.overtaken_floor_ns
    worker["initial_rto_ns"], worker["min_rto_ns"], worker["max_rto_ns"] = (
        timers.rto_initial_ns,
        timers.rto_floor_ns,
        timers.rto_ceiling_ns,
    )
    return state


@native
def worker_room(state: WorkerState) -> int:
    """Return how many fragments `worker_feed` takes now."""
    worker = state.worker[0]
    return int(
        min(worker["snd_una"] - 2 * worker["max_span"], worker["read_seq"]) + len(state.fragment) - worker["write_seq"]
    )


@native
def worker_feed(
    state: WorkerState,
    lanes: npt.NDArray[np.int32],
    first: int,
    count: int,
    priority: int,
    exponents: npt.NDArray[np.int8],
) -> int:
    """Queue up to `count` fragments of an array of lanes, from its fragment `first`; return how many were taken.

    lanes: (n,) int32; the last fragment is filled up with zeros. In a payload-free state it is not looked at.
    exponents: int8, by fragment of the array; a fragment beyond them has exponent 0.
    """
    worker = state.worker[0]
    width = state.lane.shape[1]
    taken = min(count, worker_room(state))
    for j in range(taken):
        slot = worker["write_seq"] & (len(state.fragment) - 1)
        fragment = state.fragment[slot]
        fragment["transmissions"] = 0
        fragment["acked"] = 0
        fragment["priority"] = priority
        fragment["exponent"] = exponents[first + j] if first + j < len(exponents) else 0
        start = (first + j) * width
        used = min(max(len(lanes) - start, 0), width)
        for k in range(used):
            state.lane[slot, k] = lanes[start + k]
        for k in range(used, width):
            state.lane[slot, k] = 0
        worker["write_seq"] += 1
    return max(taken, 0)


@native
def worker_ready(state: WorkerState) -> int:
    """Return how many results `worker_drain` can take now."""
    worker = state.worker[0]
    return int(worker["snd_una"] - worker["read_seq"])


@native
def worker_drain(
    state: WorkerState, lanes: npt.NDArray[np.int32], first: int, count: int, exponents: npt.NDArray[np.int8]
) -> int:
    """Take up to `count` results in order into fragments first, first+1, ... of an array of lanes; return how many.

    exponents: int8, takes the maximum over the workers for each of these fragments; none for those beyond it.
    """
    worker = state.worker[0]
    width = state.lane.shape[1]
    taken = min(count, worker_ready(state))
    for j in range(taken):
        slot = worker["read_seq"] & (len(state.fragment) - 1)
        if first + j < len(exponents):
            exponents[first + j] = state.fragment[slot]["exponent"]
        start = (first + j) * width
        for k in range(min(max(len(lanes) - start, 0), width)):
            lanes[start + k] = state.lane[slot, k]
        worker["read_seq"] += 1
    return max(taken, 0)
