"""A transport without a switch: exact int32 sums over a gloo group of its own, in the order of submission."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from esa.transport import Reduced

LIMIT_S = 60  # for one collective operation
Lanes, Exponents = NDArray[np.int32], NDArray[np.int8]


class Submission(NamedTuple):
    lanes: int
    priority: int


class GlooTransport:
    """Exact int32 sums in the order of submission. Each sum takes a moment, so that several are in flight."""

    fragment_lanes = 64

    def __init__(self, ranks: list[int] | None = None, delay_s: float = 0.001) -> None:
        local = ranks is not None
        self._group = dist.new_group(ranks, timedelta(seconds=LIMIT_S), backend="gloo", use_local_synchronization=local)
        self.rank, self.size = dist.get_rank(self._group), dist.get_world_size(self._group)
        self._thread = ThreadPoolExecutor(1)
        self._delay_s = delay_s
        self.submissions: list[Submission] = []
        self.in_flight = self.most_in_flight = 0
        self.closed = False

    def all_reduce(self, lanes: Lanes, priority: int, exponents: Exponents) -> Future[Reduced]:
        self.submissions.append(Submission(lanes.size, priority))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return self._thread.submit(self._sum, lanes, exponents)

    def _sum(self, lanes: Lanes, exponents: Exponents) -> Reduced:
        time.sleep(self._delay_s)
        total = torch.from_numpy(lanes.astype(np.int64))
        largest = torch.from_numpy(exponents.copy())
        dist.all_reduce(total, group=self._group)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self._group)
        assert int(total.abs().max()) < 2**31, "a sum that a switch would saturate"
        self.in_flight -= 1
        return Reduced(total.numpy().astype(np.int32), largest.numpy())

    def close(self, why: str | None = None) -> None:
        self._thread.shutdown()
        self.closed = True
