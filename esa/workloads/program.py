"""What a rank does: a program of operations, COMPUTE | REDUCE | SEND | RECV | WAIT | MARK | LOOP.

    steps = loop(10, wait(), compute(2_000_000), compute(3_000_000), reduce(4 << 20, priority=128))
    ranks = [program(steps)] * 4
    check_together(ranks)

A program knows how long computing takes, how many bytes go where, what is urgent and what waits for what. It does not
know hosts, packets, rates, or how sums and messages are carried: that is a transport's. Operations happen one after the
other. REDUCE and SEND begin something and are over at once; only COMPUTE, RECV and WAIT take time:

    COMPUTE   `ns` nanoseconds, times `pace` of the round
    REDUCE    begins the sum of `bytes` bytes of gradients over the group. All ranks of a group begin the same sums in
              the same order, and they come in that order
    SEND      begins to send a message of `bytes` bytes to rank `peer`. Nobody waits for its arrival but who RECVs it
    RECV      waits for the next whole message with `tag`, whoever sent it; each is received once
    WAIT      waits for all sums that this rank has begun, but the last `but_last`
    MARK      takes note of the time, as `tag`
    LOOP      at the end of its body, the `body` operations before it: they happen `times` times. Loops do not nest

A rank is through when its operations are over, its sums have come and its messages have arrived. It may have as many
sums under way, and as many messages to one peer, as its program has such operations; the next one waits for the oldest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from esa.priority import HIGHEST, LOWEST
from esa.workloads.profile import Bucket

COMPUTE, REDUCE, SEND, RECV, WAIT, MARK, LOOP = range(7)
NAMES = ("COMPUTE", "REDUCE", "SEND", "RECV", "WAIT", "MARK", "LOOP")
ALL_RANKS = 0  # the group that every rank is in
ORDERS = ("ddp", "front-first")

MAX_NS = 10**13
MAX_BYTES = 2**40
MAX_TIMES = 10**9
MAX_TAG = 2**31

OPERATION = np.dtype(
    [
        ("kind", np.int64),  # COMPUTE ... LOOP
        ("ns", np.int64),  # COMPUTE: nanoseconds, from 0
        ("bytes", np.int64),  # REDUCE, SEND: from 1
        ("peer", np.int64),  # SEND: a rank
        ("tag", np.int64),  # SEND, RECV, MARK: from 0
        ("group", np.int64),  # REDUCE: ALL_RANKS, the only one so far
        ("priority", np.int64),  # REDUCE: 1..255; 0: the program's table has it, by round
        ("column", np.int64),  # REDUCE: where in the table
        ("but_last", np.int64),  # WAIT: so many of the sums begun last may be missing
        ("times", np.int64),  # LOOP: rounds, from 1
        ("body", np.int64),  # LOOP: operations before it that make a round
    ]
)


class Operation(NamedTuple):
    """One operation; fields as in OPERATION."""

    kind: int
    ns: int = 0
    bytes: int = 0
    peer: int = 0
    tag: int = 0
    group: int = ALL_RANKS
    priority: int = 0
    column: int = 0
    but_last: int = 0
    times: int = 0
    body: int = 0


Steps: TypeAlias = tuple[Operation, ...]


@dataclass(frozen=True)
class Program:
    """What one rank does; make it with `program`.

    operations: (n,) OPERATION
    priority:   uint8 (rounds, columns), 1..255: of REDUCEs that leave it open
    pace:       float64 (rounds,): how many times as long COMPUTE takes in each round; empty: 1.0. What is in no loop is
                in round 0
    """

    operations: npt.NDArray[np.void]
    priority: npt.NDArray[np.uint8]
    pace: npt.NDArray[np.float64]

    @property
    def repeats(self) -> npt.NDArray[np.int64]:
        """int64 (n,): how often each operation happens; once for a LOOP."""
        times = np.ones(len(self.operations), np.int64)
        for at in np.flatnonzero(self.operations["kind"] == LOOP):
            times[at - self.operations["body"][at] : at] = self.operations["times"][at]
        return times

    def count(self, kind: int) -> int:
        """Operations of a kind that there are; how often they happen does not matter."""
        return int(np.count_nonzero(self.operations["kind"] == kind))


def compute(ns: int) -> Steps:
    return (Operation(COMPUTE, ns=ns),)


def reduce(bytes: int, priority: int = 0, *, column: int = 0, group: int = ALL_RANKS) -> Steps:
    """priority 0: that of the program's table, in the `column` given and the row of the round."""
    return (Operation(REDUCE, bytes=bytes, priority=priority, column=column, group=group),)


def send(peer: int, bytes: int, tag: int = 0) -> Steps:
    return (Operation(SEND, peer=peer, bytes=bytes, tag=tag),)


def recv(tag: int = 0) -> Steps:
    return (Operation(RECV, tag=tag),)


def wait(but_last: int = 0) -> Steps:
    return (Operation(WAIT, but_last=but_last),)


def mark(tag: int = 0) -> Steps:
    return (Operation(MARK, tag=tag),)


def loop(times: int, *body: Steps) -> Steps:
    """The body, `times` times."""
    steps = tuple(operation for part in body for operation in part)
    return (*steps, Operation(LOOP, times=times, body=len(steps)))


def program(
    *steps: Steps,
    priority: npt.NDArray[np.uint8] | None = None,
    pace: npt.NDArray[np.float64] | None = None,
) -> Program:
    """One after the other. priority, pace: see `Program`. ValueError, one line, names what is wrong with which one."""
    operations = [operation for part in steps for operation in part]
    if not operations:
        raise ValueError("program: no operations; allowed: at least one")
    table = np.zeros((0, 0), np.uint8) if priority is None else priority
    factors = np.zeros(0) if pace is None else pace
    rounds = 1
    loop_end = 0
    for at, operation in enumerate(operations):
        _check(at, operation, table.shape[1])
        if operation.kind == LOOP:
            if operation.body > at - loop_end:
                raise ValueError(f"{_where(at, operation)}: a loop in its body; allowed: loops that do not nest")
            loop_end = at + 1
            rounds = max(rounds, operation.times)
    if table.size and (table.shape[0] < rounds or table.min() < LOWEST):
        allowed = f"uint8 ({rounds} rounds, columns), {LOWEST}..{HIGHEST}"
        raise ValueError(f"program: priority: {table.shape[0]} rounds, least {table.min()}; allowed: {allowed}")
    if len(factors) and (len(factors) < rounds or not 0 <= factors.min() <= factors.max() < np.inf):
        raise ValueError(f"program: pace: {len(factors)} rounds; allowed: {rounds}, each from 0 and finite")
    return Program(np.array(operations, OPERATION), table, factors)


def _where(at: int, operation: Operation) -> str:
    return f"program: operation {at}, {NAMES[operation.kind]}"


def _check(at: int, operation: Operation, columns: int) -> None:
    """ValueError if a field of the operation is out of its range."""
    ranges: dict[str, tuple[int, int]] = {
        "COMPUTE": {"ns": (0, MAX_NS)},
        "REDUCE": {"bytes": (1, MAX_BYTES), "group": (0, ALL_RANKS), "priority": (0, HIGHEST)},
        "SEND": {"bytes": (1, MAX_BYTES), "peer": (0, MAX_TAG), "tag": (0, MAX_TAG)},
        "RECV": {"tag": (0, MAX_TAG)},
        "WAIT": {"but_last": (0, MAX_TIMES)},
        "MARK": {"tag": (0, MAX_TAG)},
        "LOOP": {"times": (1, MAX_TIMES), "body": (1, at)},
    }[NAMES[operation.kind]]
    if operation.kind == REDUCE and operation.priority == 0:
        if columns == 0:
            raise ValueError(f"{_where(at, operation)}: no priority; allowed: {LOWEST} to {HIGHEST}, or a table")
        ranges["column"] = (0, columns - 1)
    for name, (least, most) in ranges.items():
        value = getattr(operation, name)
        if not least <= value <= most:
            raise ValueError(f"{_where(at, operation)}: {name} {value}; allowed: {least} to {most}")


def check_together(programs: Sequence[Program]) -> None:
    """ValueError, one line, unless these can be the programs of one job's ranks, in order.

    All begin the same sums, every message has a rank that it goes to, and as many are received there as are sent.
    """
    sums = None
    for rank, mine in enumerate(programs):
        if rank and mine.operations is programs[rank - 1].operations:
            continue
        begun = _reduces(mine)
        sums = begun if sums is None else sums
        if not np.array_equal(begun, sums):
            raise ValueError(f"programs: rank {rank} begins other sums than rank 0; allowed: the same, in one order")
    sent: Counter[tuple[int, int]] = Counter()
    received: Counter[tuple[int, int]] = Counter()
    for rank, mine in enumerate(programs):
        for operation, times in zip(mine.operations, mine.repeats.tolist(), strict=True):
            peer, tag = int(operation["peer"]), int(operation["tag"])
            if operation["kind"] == RECV:
                received[rank, tag] += times
            elif operation["kind"] == SEND:
                if peer == rank or peer >= len(programs):
                    ranks = f"another of the {len(programs)} ranks"
                    raise ValueError(f"programs: rank {rank} sends to {peer}; allowed: {ranks}")
                sent[peer, tag] += times
    for rank, tag in sorted({*sent, *received}):
        there, wanted = sent[rank, tag], received[rank, tag]
        if there != wanted:
            raise ValueError(f"programs: rank {rank} receives {wanted} messages {tag}; {there} are sent to it")


def _reduces(mine: Program) -> npt.NDArray[np.int64]:
    """int64 (sums, 2): group and bytes, in the order in which they are begun."""
    operations, done = mine.operations, 0
    parts: list[npt.NDArray[np.int64]] = []
    for at in (*np.flatnonzero(operations["kind"] == LOOP).tolist(), len(operations)):
        last = at == len(operations)
        first, times = (at, 0) if last else (at - int(operations["body"][at]), int(operations["times"][at]))
        for part, repeats in ((operations[done:first], 1), (operations[first:at], times)):
            sums = part[part["kind"] == REDUCE]
            parts.append(np.tile(np.stack([sums["group"], sums["bytes"]], axis=1), (repeats, 1)))
        done = at + 1
    return np.concatenate(parts)


def training(
    buckets: Sequence[Bucket],
    iterations: int,
    order: str,
    priority: npt.NDArray[np.uint8],
    pace: npt.NDArray[np.float64] | None = None,
) -> Program:
    """The program of a training job: forward pass, backward pass, sums, iteration after iteration.

    buckets:  in the order of the backward pass: the layers at the back first. A forward pass goes through them from the
              last, which holds the front layers, to the first; the backward pass goes the other way
    order:    "ddp": as in PyTorch DDP buckets are sent as they are computed, and the next forward pass waits for all
              sums. "front-first": they are sent in the order in which the next forward pass needs them, front layers
              first, once the backward pass is over; it starts with the first one's sums, and waits for those of the
              layers that it comes to. (Sums come in the order in which they were begun, the same for all ranks; so
              front layers cannot overtake what was sent before them.)
    priority: uint8 (iterations, buckets), 1..255
    pace:     float64 (iterations,): how many times as long computing takes

    A bucket without bytes is computed, and nothing is sent for it. ValueError as `program`.
    """
    if order not in ORDERS:
        raise ValueError(f"order: '{order}'; allowed: {', '.join(ORDERS)}")
    sums = [reduce(bucket.bytes, column=number) if bucket.bytes else () for number, bucket in enumerate(buckets)]
    forward: list[Steps] = []
    for number in reversed(range(len(buckets))):
        if order == "front-first":  # the sums of the buckets behind this one are not needed yet
            forward.append(wait(sum(len(part) for part in sums[:number])))
        elif number == len(buckets) - 1:
            forward.append(wait())
        forward.append(compute(buckets[number].forward_ns))
    backward = [compute(bucket.backward_ns) for bucket in buckets]
    steps: Iterable[Steps]
    if order == "ddp":
        steps = (step for pair in zip(backward, sums, strict=True) for step in pair)
    else:
        steps = (*backward, *reversed(sums))
    return program(loop(iterations, *forward, *steps), priority=priority, pace=pace)
