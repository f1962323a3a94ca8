"""How long an iteration takes: one question, one answer, whoever gives it.

    (answer,) = times([job.asked(hosts)])
    answer.iteration_s, answer.level

Who asks knows neither tables nor networks. An answer says by which of four levels it was found: 0, a table, or what a
job says itself; 1, a formula of computing and of bytes over the narrowest link; 2, rates of flows that share links
and switches' memory; 3, packets. Level 0 is here; `esa/network_times` answers the same question by the others.
`times` is a function of its argument alone, which holds everybody that runs: no clock, no dice, no memory but a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

LEVELS = ("table", "formula", "flows", "packets")


class Asked(NamedTuple):
    """A job as it runs, or might.

    model:       whose gradients are summed; empty where nothing but computing is known
    gpu_ns:      computing of an iteration, by all its GPUs together, as the job says it itself
    local_batch: samples of a GPU between sums, or between additions to the gradients that it sums
    additions:   passes whose gradients a GPU adds up by itself before the last one of an iteration
    hosts:       (number, GPUs of the job there), in the order of its ranks
    left_ns:     computing on a rank that is left, as its scheduler reckons: who has less is more urgent to switches
    """

    job: int
    model: str
    gpu_ns: int
    local_batch: int
    additions: int
    hosts: tuple[tuple[int, int], ...]
    left_ns: int = 0

    @property
    def workers(self) -> int:
        hosts = self.hosts
        return hosts[0][1] if len(hosts) == 1 else sum(gpus for _, gpus in hosts)


class Answer(NamedTuple):
    """What an iteration of a job takes.

    exposed_s:    of it, in which there is nothing left to do but to wait for sums
    server_bytes: that pass through the PS; rows: of the switches' memory that it holds, in the mean
    level:        of `LEVELS`; error_s: standard error of iteration_s
    """

    iteration_s: float
    exposed_s: float = 0.0
    server_bytes: int = 0
    rows: float = 0.0
    level: int = 0
    error_s: float = 0.0


class Times(Protocol):
    """`isolated`: what a job takes does not depend on who else runs, so only those that changed need be asked for."""

    @property
    def isolated(self) -> bool: ...

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        """An answer for each. BadInput, one line, for a job of which nothing is known."""
        ...


class Computing:
    """Level 0 of a job that says itself what it computes: evenly shared by its GPUs, and sums cost nothing."""

    isolated = True

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        return [Answer(asked.gpu_ns / asked.workers / 1e9) for asked in running]


COMPUTING = Computing()
