"""What somebody submits: when, how wide, and how much work it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from esa.cluster.inventory import Cluster
from esa.cluster.kinds import ANY_KIND, Kind
from esa.cluster.packing import fitting
from esa.errors import BadInput
from esa.fast_init import fast_init

MAX_NS = 2**62  # some 146 years


class Work(Protocol):
    """How much there is to do, stage by stage, and how much of it an iteration does.

    Progress counts from 0. A stage is over when progress has reached its end, and the next begins there; what an
    iteration adds is constant within a stage, as long as a job's workers stay the same.
    """

    @property
    def stages(self) -> int: ...

    def end_of(self, stage: int) -> float | int:
        """The progress at which a stage is over; rises with the stage."""
        ...

    def per_iteration(self, stage: int, batch: int) -> float | int:
        """Progress by an iteration of `batch` samples; above 0."""
        ...

    @property
    def iterations(self) -> int:
        """All iterations, as far as schedulers are told."""
        ...

    def finished(self, stage: int, progress: Fraction | int) -> int:
        """Of these, how many are done."""
        ...


@fast_init
@dataclass(frozen=True)
class Iterations:
    """So many iterations, all alike: one stage."""

    iterations: int
    stages: int = 1

    def end_of(self, stage: int) -> int:
        return self.iterations

    def per_iteration(self, stage: int, batch: int) -> int:
        return 1

    def finished(self, stage: int, progress: Fraction | int) -> int:
        return int(progress)


class Reports(Protocol):
    """What a job tells schedulers of how it learns, epoch by epoch of so many samples (`esa/cluster/training.py`)."""

    @property
    def epoch_samples(self) -> int: ...

    @property
    def first_loss(self) -> float: ...

    def at(self, progress: Fraction | int) -> tuple[float, float]:
        """(loss, accuracy)."""
        ...


@fast_init
@dataclass(frozen=True)
class Submitted:
    """A job. iteration_ns, elastic, kind: as in `JobInfo`. reports: None if it tells nothing of how it learns."""

    name: str
    submit_ns: int
    workers: int
    work: Work
    iteration_ns: int = 0
    kind: Kind = ANY_KIND
    elastic: tuple[int, int] | None = None
    reports: Reports | None = None


def check_jobs(cluster: Cluster, jobs: list[Submitted] | tuple[Submitted, ...]) -> None:
    """BadInput, one line, if a job is none, or could not start on the empty cluster, without what may be lent to it."""
    own = [0 if number in cluster.inference else host.gpus for number, host in enumerate(cluster.hosts)]
    room = {kind: sum(fitting(cluster, own, kind)) for kind in _types(jobs)}
    names: set[str] = set()
    for job in jobs:
        fewest, most = job.elastic or (job.workers, job.workers)
        if job.name in names:
            raise BadInput(f"job {job.name}: there is another of this name; allowed: once")
        names.add(job.name)
        if not 0 <= job.submit_ns <= MAX_NS:
            raise BadInput(f"job {job.name}: submitted at {job.submit_ns} ns; allowed: 0 to {MAX_NS}")
        if job.work.stages < 1 or job.work.end_of(0) <= 0:
            raise BadInput(f"job {job.name}: nothing to do; allowed: 1 or more iterations")
        if not 1 <= fewest <= job.workers <= most:
            text = f"{fewest} to {most} workers, {job.workers} asked for"
            raise BadInput(f"job {job.name}: {text}; allowed: 1 or more, and bounds on both sides of what it asks for")
        if fewest > room[job.kind.gpu_type]:
            some = f"of type {job.kind.gpu_type}" if job.kind.gpu_type else "in the cluster"
            raise BadInput(f"job {job.name}: {fewest} GPUs; allowed: up to {room[job.kind.gpu_type]}, all {some}")


def check_turns(jobs: Iterable[Submitted], tick_ns: int) -> None:
    """BadInput, one line, if a job that runs from one tick to the next and is stopped then has not got on by it.

    For schedulers under which jobs take turns: none of them would ever end.
    """
    for job in jobs:
        costs = job.kind.costs
        starting_ns = costs.start_ns + costs.preempt_ns
        kept_ns = costs.checkpoint * job.iteration_ns
        if tick_ns and tick_ns < starting_ns + max(kept_ns, 1):
            turn = f"{starting_ns / 1e9:g} s to start and {kept_ns / 1e9:g} s to a checkpoint"
            raise BadInput(
                f"job {job.name}: a turn of one tick, {tick_ns / 1e9:g} s, is over before it got on: {turn}; allowed: "
                f"a tick of {(starting_ns + kept_ns) / 1e9:g} s, and more where there is no checkpoint"
            )


def _types(jobs: list[Submitted] | tuple[Submitted, ...]) -> set[str]:
    return {job.kind.gpu_type for job in jobs}
