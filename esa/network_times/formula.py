"""Level 1: a formula of computing, and of bytes over the narrowest of cables, window and rows.

    iteration = max over buckets of (when it is ready + fragments of it and of those behind it * ns) + tail
    ns        = max(ns of a cable * (1 + parts of the time in which others send on it), round trip / window)

Others send as they would alone: the part of their iteration that their fragments take. One pass, no iteration. ESA is
taken never to be short of rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from esa.cluster.times import Answer
from esa.network_times.alone import iteration_s
from esa.network_times.answers import answer
from esa.network_times.component import Component
from esa.network_times.load import tail_ns
from esa.network_times.network import FRAGMENT_BYTES, RING, Network
from esa.network_times.rates import Share, mixed
from esa.network_times.sharing import Shares
from esa.network_times.training import bytes_of

LEVEL = 1


def answer_by_formula(component: Component, network: Network) -> list[Answer]:
    """By member."""
    shares = Shares(component, network)
    jobs = range(len(component.members))
    alone_ns = [fragment_ns(shares, job, {job: 1.0}) for job in jobs]
    sends = {job: _sending_part(shares, job, alone_ns[job]) for job in jobs}
    answers = []
    for job in jobs:
        together = {**sends, job: 1.0}
        each_ns = fragment_ns(shares, job, together)
        alone = shares.of(frozenset([job]))[job]
        share = Share(1 / each_ns, shares.beside(together)[job], alone.rows)
        answers.append(answer(shares, job, _iteration_s(shares, job, each_ns), share, sends[job], LEVEL))
    return answers


def fragment_ns(shares: Shares, job: int, sends: Mapping[int, float]) -> float:
    """What a fragment takes of a job that sends, where others do part of the time."""
    beside = shares.beside(sends)
    mine = mixed(shares.loads[job], beside[job])
    busy: dict[Hashable, float] = {}
    for other, part in sends.items():
        if other != job:
            for cable, each_ns in mixed(shares.loads[other], beside[other]).items():
                busy[cable] = busy.get(cable, 0.0) + part * each_ns
    return max(
        *(each_ns + busy.get(cable, 0.0) for cable, each_ns in mine.items()),
        1 / shares.window_rate(job, beside[job], sends),
    )


def _sending_part(shares: Shares, job: int, each_ns: float) -> float:
    """Of its iteration, alone."""
    fragments = bytes_of(shares.component.members[job].model) / FRAGMENT_BYTES
    return min(1.0, fragments * each_ns / 1e9 / _iteration_s(shares, job, each_ns))


def _iteration_s(shares: Shares, job: int, each_ns: float) -> float:
    member, network = shares.component.members[job], shares.network
    last_s = tail_ns(member, len(shares.component.racks_of(member)), network) / 1e9
    return iteration_s(member, each_ns, last_s, by_messages=network.policy == RING)
