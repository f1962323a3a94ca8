"""How far a live job is, by the records of its iterations: what who looks on is told, in a terminal and in a browser.

progress = JobProgress(planned=70, submit_s=1.0)
progress.add({"event": "iteration", "rank": 0, "t": 2.5, ...})
progress.told(now_s=3.0).expected_s
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from esa.report.numbers import number

RECENT = 20  # iterations that a rate is of


class Told(NamedTuple):
    """done: iterations of the slowest rank. rate: of the last 20, per second. so_far_s, expected_s: its JCT.

    by_ps: part of rank 0's sums that came from the PS. None: not known yet.
    """

    done: int
    rate: float | None
    so_far_s: float
    expected_s: float | None
    by_ps: float | None
    loss: float | None


class JobProgress:
    """planned: iterations. submit_s: as the times of the records."""

    def __init__(self, planned: int | None, submit_s: float | None) -> None:
        self.planned, self.submit_s = planned, submit_s
        self._done: dict[Any, int] = {}
        self._times: dict[Any, deque[float]] = {}  # by rank, of the last
        self._last: dict[str, Any] = {}  # rank 0's newest

    def add(self, record: dict[str, Any]) -> None:
        """An "iteration" of a rank."""
        at, rank = number(record.get("t")), record.get("rank")
        if at is None or not isinstance(rank, int):
            return
        self._done[rank] = self._done.get(rank, 0) + 1
        self._times.setdefault(rank, deque(maxlen=RECENT + 1)).append(at)
        if rank == 0:
            self._last = record

    def told(self, now_s: float | None) -> Told | None:
        """None before it has begun."""
        if self.submit_s is None:
            return None
        if not self._done:
            return Told(0, None, max(0.0, (now_s or self.submit_s) - self.submit_s), None, None, None)
        rank = min(self._done, key=lambda one: (self._done[one], -self._times[one][-1]))
        done, times = self._done[rank], self._times[rank]
        since = times[0] if len(times) > 1 else self.submit_s
        rate = max(1, len(times) - 1) / (times[-1] - since) if times[-1] > since else None
        over = self.planned is not None and done >= self.planned
        so_far_s = (times[-1] if over or now_s is None else now_s) - self.submit_s
        expected_s = None
        if self.planned is not None and rate is not None:
            expected_s = max(so_far_s, times[-1] - self.submit_s + max(0, self.planned - done) / rate)
        sums, via_ps = number(self._last.get("fragments")), number(self._last.get("via_ps"))
        by_ps = via_ps / sums if sums and via_ps is not None else None
        return Told(done, rate, so_far_s, expected_s, by_ps, number(self._last.get("loss")))
