"""What a worker process is told: one JSON file per job."""

from __future__ import annotations

from pathlib import Path

from esa.job import Frozen
from esa.net.impairment import LinkFaults
from esa.protocol.timers import Timers


class TrainingTask(Frozen):
    """One job's training; every rank reads the same file."""

    job: str
    model: str
    workers: int
    iterations: int
    batch_size: int
    learning_rate: float
    bucket_cap_mb: float | None
    seed: int
    data: Path  # of `digits.save_digits`
    rendezvous: str  # host:port of rank 0
    controller: str  # where runs are started
    aggregation: Path | None = None  # the job's file (esa.job); None: the ordinary all-reduce of gloo
    by_messages: bool = False  # of that job's file what says how gradients are quantised: gloo sums the integers
    timers: Timers
    snapshots: Path | None = None  # the folder of what ranks know after each iteration; None: nothing is written
    faults: tuple[LinkFaults | None, ...] = ()  # by rank: what its link does to packets on purpose
