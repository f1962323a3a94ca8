"""Samples a second by number of GPUs, from what was seen: means of the last five epochs at each number.

Between numbers that were seen, (0, 0) among them, it is linear; beyond the last, the line through the last two goes on.
One number alone is so taken for perfect scaling. A line that falls to nothing is kept above it: FLOOR of the last.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

LAST = 5
FLOOR = 1e-3


class Seen:
    """What was seen of a job. table: by number of GPUs, 0 to the most; empty until something was seen."""

    __slots__ = ("_by_gpus", "_most", "table")

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_gpus: dict[int, deque[float]] = {}
        self.table: npt.NDArray[np.float64] = np.zeros(0)

    def add(self, gpus: int, samples_per_s: float, epochs: int) -> None:
        """So many epochs at that rate."""
        kept = self._by_gpus.setdefault(gpus, deque(maxlen=LAST))
        before = (*kept,)
        kept.extend([samples_per_s] * min(epochs, LAST))
        if (*kept,) != before:
            self.table = self._lines()

    def _lines(self) -> npt.NDArray[np.float64]:
        counts = [0, *sorted(self._by_gpus)]
        means = [0.0, *(sum(self._by_gpus[gpus]) / len(self._by_gpus[gpus]) for gpus in counts[1:])]
        every = np.arange(self._most + 1)
        table = np.interp(every, counts, means)
        slope = (means[-1] - means[-2]) / (counts[-1] - counts[-2])
        beyond = every > counts[-1]
        table[beyond] = means[-1] + slope * (every[beyond] - counts[-1])
        table[1:] = np.maximum(table[1:], FLOOR * means[-1])
        return table
