"""What a state counts, and how its time is split into communication and computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from esa.transport import SumTimes

EWMA_WEIGHT = 0.25  # of the newest iteration in the measured times behind the priority


@dataclass
class Statistics:
    """Totals of one state. An iteration ends when its last bucket is done; the first begins with its first bucket.

    `elapsed_s`: seconds of all iterations. `comm_s`: those during which at least one bucket was between hook and
    result. `compute_s`: all but those between the last bucket's hook and the iteration's end, in which the backward
    pass has nothing left to do but to wait. Communication that hides behind computation counts in both.
    """

    iterations: int = 0
    buckets: int = 0
    bytes: int = 0  # of lanes handed to the transport, repeats included
    comm_s: float = 0.0
    compute_s: float = 0.0
    elapsed_s: float = 0.0
    fragments: int = 0  # sent for the first time
    repeated_fragments: int = 0  # `adaptive`: of these, sent again under another scale
    overflows: int = 0  # buckets in which this worker had a value that no scale fits: NaN, infinity, too large
    redone_buckets: int = 0  # buckets in which any worker had one: summed in floating point over the process group
    nonzero_values: int = 0  # of this worker
    vanished_values: int = 0  # of these, sent as zero
    float64_buckets: int = 0  # of which the sum keeps int32's bits


class BucketTimes(NamedTuple):
    """One bucket's way, in seconds of the state's clock: it reached the hook (on a GPU: and was computed); was taken up
    by the thread that quantises it, and was through there; `network`, of the first round, where the transport tells it;
    the average was written.
    """

    bucket: int
    launched: float
    taken_up: float | None
    quantised: float | None
    network: SumTimes | None
    written: float


@dataclass
class Timeline:
    """Splits the time of a state's iterations into communication and computation, as `Statistics` defines them."""

    statistics: Statistics
    comm_s: float | None = None  # moving averages of one iteration, once a whole one has been seen
    compute_s: float | None = None
    _in_flight: int = 0
    _busy_since: float = 0.0
    _iteration_start: float | None = None
    _iteration_comm_s: float = 0.0
    _last_launched: float | None = None

    def launched(self, now: float, is_last: bool) -> None:
        """A bucket reached the hook."""
        if self._iteration_start is None:
            self._iteration_start = now
        if self._in_flight == 0:
            self._busy_since = now
        self._in_flight += 1
        if is_last:
            self._last_launched = now

    def completed(self, now: float) -> None:
        """A bucket's result is there."""
        self._in_flight -= 1
        if self._in_flight > 0:
            return
        self.statistics.comm_s += now - self._busy_since
        self._iteration_comm_s += now - self._busy_since
        if self._last_launched is None or self._iteration_start is None:
            return
        compute_s = self._last_launched - self._iteration_start
        self.statistics.compute_s += compute_s
        self.statistics.elapsed_s += now - self._iteration_start
        # The first iteration lacks its forward pass: it says nothing about the next ones.
        if self.statistics.iterations > 0:
            self.comm_s = _averaged(self.comm_s, self._iteration_comm_s)
            self.compute_s = _averaged(self.compute_s, compute_s)
        self.statistics.iterations += 1
        self._iteration_start = now
        self._iteration_comm_s = 0.0
        self._last_launched = None


def _averaged(average: float | None, newest: float) -> float:
    return newest if average is None else average + EWMA_WEIGHT * (newest - average)
