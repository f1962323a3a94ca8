"""Sums as messages, as a plan: who sends which part of a sum to whom, step by step. No network, no time.

    step = steps_of("ring", 4)[2]         # of the rank at place 2: (steps,) STEP
    step["send"], step["receive"]         # places, or NONE

A rank takes its steps in order. In each it sends a run of parts of the sum to one rank, receives such a run from one,
or both, and the step is over when both are done. What it receives it adds to its own, or it is a finished sum.

"ring": a sum has as many parts as ranks. In each of 2 (p - 1) steps a rank sends one part to the next rank and receives
one from the rank before: in the first p - 1 it adds its own gradients to what came and passes that on, in the others
what came is a finished sum. So each link carries 2 (p - 1) / p of the bytes each way, however many ranks there are.
(Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms, JPDC 69, 2009.)

"halving-doubling": recursive halving, then doubling. With p a power of two, in step k of the first log2 p a rank and
the one whose place differs in bit k send each other half of what each still sums, so the halves shrink; then the same
pairs, backwards, exchange finished sums. As many bytes as a ring, in 2 log2 p steps. With r ranks more than a power of
two, the even ones of the first 2 r send all to the one after them, which sums for both, and get the result from it at
the end: 2 steps and twice the bytes more. (Rabenseifner's algorithm as MPICH has it, in its file
allreduce_intra_reduce_scatter_allgather.c, from where the order of the distances and the rule for r come.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esa.sim.transport.exchange import NONE, STEP

RING, HALVING_DOUBLING = "ring", "halving-doubling"
TRANSPORTS = (RING, HALVING_DOUBLING)


def parts_of(transport: str, ranks: int) -> int:
    """That a sum is cut into."""
    return ranks if transport == RING else _power_of_two(ranks)


def steps_of(transport: str, ranks: int) -> list[npt.NDArray[np.void]]:
    """By place, (steps,) STEP whose `send` and `receive` are places."""
    return [_ring(place, ranks) if transport == RING else _halving_doubling(place, ranks) for place in range(ranks)]


def sent_bytes(transport: str, ranks: int, octets: int, place: int) -> list[int]:
    """The messages that the rank at `place` sends for a sum of so many bytes, in order."""
    step = _ring(place, ranks) if transport == RING else _halving_doubling(place, ranks)
    parts = parts_of(transport, ranks)
    sends = step[step["send"] != NONE]
    sizes = zip(sends["first"].tolist(), sends["end"].tolist(), strict=True)
    return [max(octets * end // parts - octets * first // parts, 1) for first, end in sizes]


def chain_bytes(transport: str, ranks: int, octets: int) -> list[int]:
    """Messages of which each can be sent once the one before has come, at least so long: no rank's sum comes before."""
    if transport == RING:
        return [max(octets // ranks, 1)] * (2 * (ranks - 1))
    power = _power_of_two(ranks)
    halves = [max(octets // power * (power >> k), 1) for k in range(1, power.bit_length())]
    folded = [octets] if ranks > power else []
    return [*folded, *halves, *reversed(halves)]


def _power_of_two(ranks: int) -> int:
    """The largest that is no more."""
    return 1 << (ranks.bit_length() - 1)


def _ring(place: int, ranks: int) -> npt.NDArray[np.void]:
    step = np.zeros(2 * (ranks - 1), STEP)
    step["send"], step["receive"] = (place + 1) % ranks, (place - 1) % ranks
    step["first"] = (place - np.arange(len(step))) % ranks
    step["end"] = step["first"] + 1
    return step


def _halving_doubling(place: int, ranks: int) -> npt.NDArray[np.void]:
    parts = _power_of_two(ranks)
    more = ranks - parts
    folded = place < 2 * more
    if folded and place % 2 == 0:
        return np.array([(place + 1, NONE, 0, parts), (NONE, place + 1, 0, 0)], STEP)
    mine = place // 2 if folded else place - more
    halving: list[tuple[int, int, int, int]] = []
    doubling: list[tuple[int, int, int, int]] = []
    first, end, bit = 0, parts, 1
    while bit < parts:
        other = mine ^ bit
        peer = 2 * other + 1 if other < more else other + more
        middle = (first + end) // 2
        kept, sent = ((first, middle), (middle, end)) if mine < other else ((middle, end), (first, middle))
        halving.append((peer, peer, *sent))
        doubling.append((peer, peer, *kept))
        (first, end), bit = kept, 2 * bit
    steps = [*halving, *reversed(doubling)]
    if folded:
        steps = [(NONE, place - 1, 0, 0), *steps, (place - 1, NONE, 0, parts)]
    return np.array(steps, STEP)
