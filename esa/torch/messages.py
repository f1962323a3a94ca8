"""A transport without a switch: the same integers, summed by messages between the ranks, by gloo's all-reduce.

    with EsaState.of(job, MessageTransport(timeout_s=job.wait_limit_s)) as state:
        model.register_comm_hook(state, esa_hook)

For jobs that get no rows (`esa/entries/admission.py`). A sum of int32 is the same in any order, so gradients and
weights are bit for bit those that a switch would make of them. Sums follow one another, whatever their priority.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from esa.torch.groups import gloo_twin, world_of
from esa.transport import Reduced


class _Pending(NamedTuple):
    """A sum on its way, as `esa.transport.Pending`."""

    lanes: torch.Tensor
    exponents: torch.Tensor
    works: tuple[Any, ...]

    def result(self) -> Reduced:
        for work in self.works:
            work.wait()
        return Reduced(self.lanes.numpy(), self.exponents.numpy())


class MessageTransport:
    """A `Transport` over the ranks of a process group (None: the default one); to make one is collective.

    timeout_s: after which a rank that is waited for is given up.
    """

    def __init__(
        self,
        process_group: dist.ProcessGroup | None = None,
        *,
        fragment_lanes: int = 64,
        timeout_s: float = 1800.0,
    ) -> None:
        self._group = gloo_twin(world_of(process_group), timedelta(seconds=timeout_s))
        self._lock = threading.Lock()  # both parts of a sum, then both of the next, as on every rank
        self.rank, self.size = dist.get_rank(self._group), dist.get_world_size(self._group)
        self.fragment_lanes = fragment_lanes

    def all_reduce(self, lanes: npt.NDArray[np.int32], priority: int, exponents: npt.NDArray[np.int8]) -> _Pending:
        """As `Transport.all_reduce`: n lanes are added, and the exponents of their fragments merged by maximum."""
        total, largest = torch.from_numpy(lanes.copy()), torch.from_numpy(exponents.copy())
        parts = ((total, dist.ReduceOp.SUM), (largest, dist.ReduceOp.MAX))
        with self._lock:
            works = [dist.all_reduce(part, how, self._group, async_op=True) for part, how in parts if part.numel()]
        return _Pending(total, largest, tuple(works))

    def close(self, why: str | None = None) -> None:
        """No more sums. The group goes with the process, as that of an `EsaState` does."""
