"""Ranks run their programs in virtual time: what each one does now, what it waits for, which sums it has begun.

`esa/workloads/program.py` says what the operations mean. Bytes of sums are counted in parts, as the job's transport
moves them: fragments. A rank's sums come in the order in which it begins them, so three running totals say where all of
them are: begun (`ready`), handed to the transport (`fed`), and come (`summed`). SENDs go to a flow for each peer; what
has come is counted by the tag that it is RECVd by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native
from esa.sim.transport.connections import SENDS, SUMS, Pair
from esa.sim.transport.exchange import MESSAGES, peers_of
from esa.sim.transport.flow import Flows
from esa.sim.transport.flow_send import flow_is_idle, flow_offer, flow_room
from esa.workloads.program import COMPUTE, LOOP, MARK, RECV, REDUCE, SEND, WAIT, Program

_NEVER = 2**62

RANK = np.dtype(
    [
        ("job", np.int64),
        ("first", np.int64),  # its operations
        ("end", np.int64),
        ("at", np.int64),  # the operation in hand; `end`: it has done all
        ("round", np.int64),  # of the loop that it is in
        ("rounds", np.int64),  # of all loops, that it is through with
        ("until_ns", np.int64),  # computing until then; 0: not computing
        ("needed", np.int64),  # parts that must be summed before it goes on; _NEVER: it does not wait for sums
        ("through", np.int64),
        # Its sums.
        ("ready", np.int64),  # parts whose gradients there are, ever
        ("fed", np.int64),  # of these, given to the transport
        ("summed", np.int64),  # of these, sums that have come
        ("begun", np.int64),  # sums, ever
        ("feeding", np.int64),  # the sum that `fed` is in
        ("first_sum", np.int64),  # its places in `Ranks.sum`
        ("sums", np.int64),  # how many, a power of two
        # Its flows: those of its SENDs, and behind them those of its sums, where they are messages.
        ("first_flow", np.int64),
        ("sends", np.int64),
        # Its tables.
        ("first_priority", np.int64),
        ("columns", np.int64),
        ("first_pace", np.int64),  # NONE: 1.0
        ("first_mark", np.int64),
        ("marks", np.int64),  # so far
        # Figures.
        ("since_ns", np.int64),  # when something was on its way again
        ("compute_ns", np.int64),
        ("comm_ns", np.int64),
        ("wrong", np.int64),  # parts whose sum was not the plain sum
    ]
)
JOB = np.dtype(
    [
        ("id", np.int64),
        ("first_rank", np.int64),
        ("ranks", np.int64),
        ("exchanges", np.int64),  # sums are messages
        ("part_bytes", np.int64),  # of gradients
        ("running", np.int64),  # ranks that are not through
        ("failed", np.int64),
        ("open", np.int64),  # its hosts listen
    ]
)
SUM = np.dtype([("end", np.int64), ("priority", np.int64)])  # parts up to and with this sum
MARKED = np.dtype([("tag", np.int64), ("ns", np.int64)])
_NONE = -1


class Ranks(NamedTuple):
    """All jobs' ranks; make one with `join_ranks`."""

    rank: npt.NDArray[np.void]  # (ranks,): RANK
    job: npt.NDArray[np.void]  # (jobs,): JOB
    operation: npt.NDArray[np.void]  # esa.workloads.program.OPERATION
    priority: npt.NDArray[np.uint8]
    pace: npt.NDArray[np.float64]
    sum: npt.NDArray[np.void]  # SUM, by rank
    arrived: npt.NDArray[np.int64]  # by rank and tag that it RECVs: messages that have come and were not received
    mark: npt.NDArray[np.void]  # MARKED, by rank


class _Joined:
    """Arrays end to end, each object once."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._length = 0
        self.arrays: list[npt.NDArray[np.generic]] = []

    def put(self, array: npt.NDArray[np.generic]) -> int:
        """Where the array begins."""
        if id(array) not in self._first:
            self._first[id(array)] = self._length
            self._length += array.size
            self.arrays.append(array.ravel())
        return self._first[id(array)]


class _Mail:
    """Which flow each rank's messages to a peer go by, and where those of a tag are counted."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.tags: dict[tuple[int, int], int] = {}

    def addressed(self, program: Program, w: int, first_rank: int) -> npt.NDArray[np.void]:
        """The operations of rank w with flows for peers and places for tags; its flows are added to `pairs`."""
        operations = program.operations.copy()
        flows: dict[int, int] = {}
        for operation in operations:
            if operation["kind"] == SEND:
                peer = first_rank + int(operation["peer"])
                if peer not in flows:
                    sends = program.operations[program.operations["kind"] == SEND]
                    messages = int(np.count_nonzero(sends["peer"] == operation["peer"]))
                    flows[peer] = len(self.pairs)
                    self.pairs.append(Pair(SENDS, w, peer, messages))
                operation["peer"], operation["tag"] = flows[peer], self._place(peer, operation["tag"])
            elif operation["kind"] == RECV:
                operation["tag"] = self._place(w, operation["tag"])
        return operations

    def _place(self, w: int, tag: int) -> int:
        return self.tags.setdefault((w, int(tag)), len(self.tags))


def join_ranks(
    programs: Sequence[Sequence[Program]],
    part_bytes: Sequence[int],
    layouts: Sequence[Sequence[npt.NDArray[np.void]] | None],
) -> tuple[Ranks, list[Pair]]:
    """Ranks that have done nothing yet, and the flows that they need, in order.

    By job: its ranks' programs, the bytes of a part, and its ranks' steps where sums are messages.
    """
    ranks = np.zeros(sum(map(len, programs)), RANK)
    jobs = np.zeros(len(programs), JOB)
    operations, priorities, paces, mail = _Joined(), _Joined(), _Joined(), _Mail()
    w = sums = marks = 0
    for k, mine in enumerate(programs):
        layout = layouts[k]
        jobs[k] = (k + 1, w, len(mine), layout is not None, part_bytes[k], len(mine), 0, 0)
        for place, program in enumerate(mine):
            rank = ranks[w]
            rank["job"], rank["needed"] = k, _NEVER
            rank["first_flow"] = len(mail.pairs)
            own = program.operations
            if program.count(SEND) or program.count(RECV):
                own = mail.addressed(program, w, w - place)
            rank["sends"] = len(mail.pairs) - rank["first_flow"]
            peers = [] if layout is None else peers_of(layout[place])
            mail.pairs += [Pair(SUMS, w, w - place + peer, MESSAGES) for peer in peers]
            rank["first"] = rank["at"] = operations.put(own)
            rank["end"] = rank["first"] + len(own)
            rank["first_priority"], rank["columns"] = priorities.put(program.priority), program.priority.shape[1]
            rank["first_pace"] = paces.put(program.pace) if len(program.pace) else _NONE
            rank["first_sum"], rank["sums"] = sums, 1 << (program.count(REDUCE) - 1).bit_length()
            rank["first_mark"] = marks
            sums += rank["sums"]
            marks += int(program.repeats[program.operations["kind"] == MARK].sum())
            w += 1
    joined = Ranks(
        ranks,
        jobs,
        np.concatenate(operations.arrays),
        np.concatenate(priorities.arrays),
        np.concatenate([*paces.arrays, np.zeros(0)]),
        np.zeros(sums, SUM),
        np.zeros(len(mail.tags), np.int64),
        np.zeros(marks, MARKED),
    )
    return joined, mail.pairs


@native
def proceed(ranks: Ranks, flows: Flows, w: int, now_ns: int) -> bool:
    """Let a rank do what can be done now; True if it has begun to compute, until `until_ns`."""
    me = ranks.rank[w]
    if me["until_ns"] > now_ns:
        return False
    if me["until_ns"] > 0:
        me["until_ns"] = 0
        me["at"] += 1
    me["needed"] = _NEVER
    while me["at"] < me["end"]:
        operation = ranks.operation[me["at"]]
        kind = operation["kind"]
        if kind == COMPUTE:
            duration_ns = operation["ns"]
            if me["first_pace"] != _NONE:
                duration_ns = int(duration_ns * ranks.pace[me["first_pace"] + me["round"]])
            me["compute_ns"] += duration_ns
            if duration_ns > 0:
                me["until_ns"] = now_ns + duration_ns
                return True
        elif kind == WAIT:
            if not _has_come(ranks, w, operation["but_last"]):
                return False
        elif kind == REDUCE:
            # Its place is that of the sum begun `sums` before it.
            if not _has_come(ranks, w, me["sums"] - 1):
                return False
            _begin_sum(ranks, w, now_ns)
        elif kind == SEND:
            if flow_room(flows, operation["peer"]) == 0:
                return False
            flow_offer(flows, operation["peer"], operation["bytes"], operation["tag"])
        elif kind == RECV:
            if ranks.arrived[operation["tag"]] == 0:
                return False
            ranks.arrived[operation["tag"]] -= 1
        elif kind == MARK:
            ranks.mark[me["first_mark"] + me["marks"]]["tag"] = operation["tag"]
            ranks.mark[me["first_mark"] + me["marks"]]["ns"] = now_ns
            me["marks"] += 1
        elif kind == LOOP:
            me["round"] += 1
            me["rounds"] += 1
            if me["round"] < operation["times"]:
                me["at"] -= operation["body"]
                continue
            me["round"] = 0
        me["at"] += 1
    return False


@native
def _has_come(ranks: Ranks, w: int, but_last: int) -> bool:
    """Whether all sums that a rank has begun have come but the last ones; otherwise it is noted what is needed."""
    me = ranks.rank[w]
    number = me["begun"] - but_last - 1
    if number < 0 or but_last >= me["sums"]:  # there is no such sum, or its place has been taken by another since
        return True
    end = ranks.sum[me["first_sum"] + (number & (me["sums"] - 1))]["end"]
    if me["summed"] >= end:
        return True
    me["needed"] = end
    return False


@native
def _begin_sum(ranks: Ranks, w: int, now_ns: int) -> None:
    """The gradients of the REDUCE in hand are there."""
    me = ranks.rank[w]
    operation = ranks.operation[me["at"]]
    priority = operation["priority"]
    if priority == 0:
        priority = ranks.priority[me["first_priority"] + me["round"] * me["columns"] + operation["column"]]
    if me["summed"] == me["ready"]:
        me["since_ns"] = now_ns
    me["ready"] += -(-operation["bytes"] // ranks.job[me["job"]]["part_bytes"])
    place = ranks.sum[me["first_sum"] + (me["begun"] & (me["sums"] - 1))]
    place["end"] = me["ready"]
    place["priority"] = priority
    me["begun"] += 1


@native
def to_feed(ranks: Ranks, w: int) -> tuple[int, int]:
    """Parts of one sum that the transport can have, and their priority."""
    me = ranks.rank[w]
    if me["fed"] == me["ready"]:
        return 0, 0
    place = ranks.sum[me["first_sum"] + (me["feeding"] & (me["sums"] - 1))]
    if me["fed"] == place["end"]:
        me["feeding"] += 1
        place = ranks.sum[me["first_sum"] + (me["feeding"] & (me["sums"] - 1))]
    return int(place["end"] - me["fed"]), int(place["priority"])


@native
def note_summed(ranks: Ranks, w: int, parts: int, now_ns: int) -> None:
    """So many more sums have come."""
    me = ranks.rank[w]
    me["summed"] += parts
    if me["summed"] == me["ready"]:
        me["comm_ns"] += now_ns - me["since_ns"]


@native
def can_go_on(ranks: Ranks, w: int) -> bool:
    """Whether the sums have come that a rank waits for."""
    me = ranks.rank[w]
    return bool(me["summed"] >= me["needed"])


@native
def is_over(ranks: Ranks, flows: Flows, w: int) -> bool:
    """Note that a rank is through, if it is; True if all of its job's are, and the job's hosts still listen."""
    me = ranks.rank[w]
    job = ranks.job[me["job"]]
    if me["at"] < me["end"] or me["summed"] < me["ready"]:
        return False
    if not me["through"]:
        for f in range(me["first_flow"], me["first_flow"] + me["sends"]):
            if not flow_is_idle(flows, f):
                return False
        me["through"] = 1
        job["running"] -= 1
    return bool(job["running"] == 0 and job["open"])


def sums_come(ranks: Ranks, w: int) -> int:
    """Sums that a rank has got whole."""
    me = ranks.rank[w]
    begun = int(me["begun"])
    kept = range(max(0, begun - int(me["sums"])), begun)  # those before have come
    return kept.start + sum(
        bool(ranks.sum[me["first_sum"] + number % me["sums"]]["end"] <= me["summed"]) for number in kept
    )


def marks_of(ranks: Ranks, w: int) -> npt.NDArray[np.void]:
    """(marks,) MARKED: those that a rank has come to."""
    me = ranks.rank[w]
    return ranks.mark[me["first_mark"] : me["first_mark"] + me["marks"]]


def rounds_of(ranks: Ranks) -> int:
    """Rounds of all ranks' loops, 1 at least."""
    each = [ranks.operation[rank["first"] : rank["end"]] for rank in ranks.rank]
    return max(1, sum(int(mine["times"][mine["kind"] == LOOP].sum()) for mine in each))
