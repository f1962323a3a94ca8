"""One gap of a holder on its GPU, filled as FIKIT fills it: how much ran in it, and how late the holder goes on.

    found = fill(300_000, 280_000, [queue], epsilon_ns=100_000)      # the gap, what is expected of it

A function of a gap whose end is known, for holders that somebody else simulates (`esa/gpu_network`); `share` has the
same rule with hosts, hooks and several tasks, and `tests/gpu/test_gap.py` holds one to the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from esa.errors import BadInput


class Filler:
    """A task of low priority that always has a next kernel: durations, round and round, of which the mean is expected.

    exact: of each its own duration is expected.
    """

    def __init__(self, durations_ns: Sequence[int], *, exact: bool = False) -> None:
        if not len(durations_ns) or min(durations_ns) < 1:
            raise BadInput(f"filler: {len(durations_ns)} kernels; allowed: at least one, of 1 ns and more")
        self._exact = exact
        self._mean_ns = round(float(np.mean(durations_ns)))
        self._kernels: Iterator[int] = itertools.cycle(durations_ns)
        self.head_ns = next(self._kernels)

    @property
    def expected_ns(self) -> int:
        return self.head_ns if self._exact else self._mean_ns

    def run(self) -> int:
        """The head; its duration."""
        took, self.head_ns = self.head_ns, next(self._kernels)
        return took


class Filled(NamedTuple):
    """kernels: that ran, filled_ns: together, the part after the gap's end included, which is late_ns."""

    kernels: int
    filled_ns: int
    late_ns: int


def fill(gap_ns: int, expected_ns: float, fillers: Sequence[Filler], *, epsilon_ns: int = 0) -> Filled:
    """Kernels of fillers, all of one priority, in a gap. expected_ns: `math.inf` fills without a prediction.

    One is on the device at a time: of the heads the longest that is expected to fit in what is left of the gap as it
    was expected, unless the gap is expected to be at most `epsilon_ns`. A kernel that runs when the gap ends goes on.
    """
    if expected_ns <= epsilon_ns:
        return Filled(0, 0, 0)
    at = kernels = 0
    left = expected_ns
    while at < gap_ns:
        room = min(left, expected_ns - at)
        fits = [one for one in fillers if one.expected_ns < room]
        if not fits:
            break
        longest = max(fits, key=lambda one: one.expected_ns)
        left -= longest.expected_ns
        at += longest.run()
        kernels += 1
    return Filled(kernels, at, max(0, at - gap_ns))
