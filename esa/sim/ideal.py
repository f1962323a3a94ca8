"""A training on an ideal network: nothing is lost, nothing waits but for its own computing and its own links."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esa.native import native
from esa.workloads.program import COMPUTE, REDUCE, WAIT

_PS_PER_NS = 1000


@native
def least_ps(
    operation: npt.NDArray[np.void],
    pace: npt.NDArray[np.float64],
    sending_ps: npt.NDArray[np.int64],
    chain_ps: npt.NDArray[np.int64],
    up_ps: npt.NDArray[np.int64],
    down_ps: npt.NDArray[np.int64],
    one_at_a_time: bool,
) -> int:
    """Picoseconds from the start of a training to the last rank's last sum.

    operation: (n,) OPERATION, a round of COMPUTE, REDUCE and WAIT; pace: (ranks, rounds). By rank and operation,
    sending_ps is what a rank's link needs for a sum. A sum has come `down_ps` of a rank after every rank has begun it,
    sent its part and waited `up_ps`; and chain_ps, by operation, after the first rank began it, at the earliest.
    one_at_a_time: a rank begins a sum when it has the one before.
    """
    ranks, rounds = pace.shape
    now_ps = np.zeros(ranks, np.int64)
    free_ps = np.zeros(ranks, np.int64)  # when a rank's link has sent what it was given
    sums = max(1, int(np.count_nonzero(operation["kind"] == REDUCE)))
    come_ps = np.zeros((sums, ranks), np.int64)  # of the last sums
    begun = 0
    for turn in range(rounds):
        for at in range(len(operation)):
            kind = operation[at]["kind"]
            if kind == COMPUTE:
                for w in range(ranks):
                    now_ps[w] += int(operation[at]["ns"] * pace[w, turn]) * _PS_PER_NS
            elif kind == WAIT:
                number = begun - 1 - operation[at]["but_last"]
                if number >= 0 and number >= begun - sums:
                    for w in range(ranks):
                        now_ps[w] = max(now_ps[w], come_ps[number % sums, w])
            elif kind == REDUCE:
                sent_ps, first_ps = np.int64(0), np.int64(2**62)
                for w in range(ranks):
                    begin_ps = max(now_ps[w], free_ps[w])
                    if one_at_a_time and begun > 0:
                        begin_ps = max(begin_ps, come_ps[(begun - 1) % sums, w])
                    first_ps = min(first_ps, begin_ps)
                    free_ps[w] = begin_ps + sending_ps[w, at]
                    sent_ps = max(sent_ps, free_ps[w] + up_ps[w])
                for w in range(ranks):
                    come_ps[begun % sums, w] = max(sent_ps + down_ps[w], first_ps + chain_ps[at])
                begun += 1
    if begun > 0:
        for w in range(ranks):
            now_ps[w] = max(now_ps[w], come_ps[(begun - 1) % sums, w])
    return int(now_ps.max())
