"""What jobs of a kind have in common: how a batch is shared by workers, and what starting, moving and stopping cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from esa.errors import BadInput


@dataclass(frozen=True)
class Costs:
    """Time in which a job has GPUs and makes no progress, in nanoseconds.

    start_ns:    from getting GPUs to the first iteration
    preempt_ns:  besides, at the start after a stop
    rescale_ns:  at more or fewer GPUs
    migrate_ns:  at as many others
    checkpoint:  iterations from one checkpoint to the next: a job that is stopped goes on from the last; 0: from where
                 it was
    """

    start_ns: int = 0
    preempt_ns: int = 0
    rescale_ns: int = 0
    migrate_ns: int = 0
    checkpoint: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise BadInput(f"{name}: {value}; allowed: from 0")


FREE_OF_COST = Costs()


@dataclass(frozen=True)
class Kind:
    """model: as in `Asked`. batch: samples of an iteration over all workers; 0: it is not known. gpu_type: of the hosts
    that it can run on; empty: any.
    """

    model: str = ""
    batch: int = 0
    costs: Costs = FREE_OF_COST
    gpu_type: str = ""

    def split(self, workers: int, additions: int = 0) -> tuple[int, int]:
        """(samples of a GPU at once, additions): how the batch is shared. additions: at least so many."""
        each = math.ceil(self.batch / workers)
        return math.ceil(each / (additions + 1)), additions


ANY_KIND = Kind()
