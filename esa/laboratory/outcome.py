"""What a simulation of a cluster found, in integers: per job, and over all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from esa.cluster.inventory import Gpu


@dataclass(frozen=True)
class Spell:
    """A job on the same GPUs, from one time to another."""

    job: int
    start_ns: int
    end_ns: int
    gpus: tuple[Gpu, ...]


@dataclass
class JobRecord:
    """A job's life. Times are None until they come; sums are GPU time, in GPU nanoseconds.

    held:    with GPUs, whatever they did
    delayed: of it, starting, moving and rescaling
    lost:    of it, what was done after a checkpoint and had to be done again
    """

    name: str
    workers: int
    submit_ns: int
    start_ns: int | None = None
    end_ns: int | None = None
    queued_ns: int = 0
    starts: int = 0
    stops: int = 0
    resizes: int = 0
    moves: int = 0
    held: int = 0
    delayed: int = 0
    lost: int = 0

    @property
    def jct_ns(self) -> int | None:
        return None if self.end_ns is None else self.end_ns - self.submit_ns

    @property
    def waited_ns(self) -> int | None:
        """From its submission to its first start."""
        return None if self.start_ns is None else self.start_ns - self.submit_ns


@dataclass
class Loans:
    """What the inference side lent, and what giving it back cost.

    held:       GPU time that was lent, in GPU nanoseconds, used or not
    given_back: hosts. stops: of jobs, at the same time. collateral: GPUs that those jobs had on other hosts
    changes:    which hosts are lent, and since when, if spells were asked for
    """

    held: int = 0
    given_back: int = 0
    stops: int = 0
    collateral: int = 0
    changes: list[tuple[int, frozenset[int]]] = field(default_factory=list)


class Arriving(NamedTuple):
    """From the first submission to the last: what a cluster does that drains is not in it.

    held: GPU time that jobs had, of `own`, which the cluster has, and `lent`, used or not; in GPU nanoseconds
    """

    span_ns: int
    held: int
    own: int
    lent: int

    @property
    def usage(self) -> float:
        """The part of the GPU time that jobs had; 0 if all came at once."""
        return self.held / (self.own + self.lent) if self.own else 0.0


@dataclass(frozen=True)
class Outcome:
    """jobs: in the order that they were given. gpus: of the cluster, without what was lent to it. by_level: GPU time by
    the level of the answer that it ran by (`esa/cluster/times.py`). spells: where jobs were, if that was asked for.
    decisions: how often the scheduler was asked. incomplete: why it ended before its jobs did. loans: None where nobody
    lends. arriving: None if it ended before the last submission.
    """

    jobs: tuple[JobRecord, ...]
    gpus: int
    end_ns: int
    by_level: dict[int, int] = field(default_factory=dict)
    spells: tuple[Spell, ...] = ()
    decisions: int = 0
    incomplete: str | None = None
    loans: Loans | None = None
    arriving: Arriving | None = None

    @property
    def makespan_ns(self) -> int:
        """From the first submission to the last end."""
        ends = [job.end_ns for job in self.jobs if job.end_ns is not None]
        return max(ends) - min(job.submit_ns for job in self.jobs) if ends else 0

    @property
    def there(self) -> int:
        """GPU time that could be had, from the first submission to the last end."""
        return self.gpus * self.makespan_ns + (0 if self.loans is None else self.loans.held)

    @property
    def held(self) -> int:
        return sum(job.held for job in self.jobs)

    @property
    def useful(self) -> int:
        """GPU time in which something was done that lasted."""
        return sum(job.held - job.delayed - job.lost for job in self.jobs)
