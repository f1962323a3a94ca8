"""The question that a scheduler answers, and its answer: `decide(now_ns, cluster, waiting, running) -> Decision`.

    decision = fifo.decide(now_ns, cluster, waiting, running)
    check_decision(decision, cluster, waiting, running)      # `validate.py`: before anything of it is done

It is asked when a job is submitted and when one is over, and at no other time. It knows the cluster; of every job that
was submitted and is not over what it asked for, how far it is, and how long an iteration's computing takes; where
those that run are. It does not know what is to come, how long sums take on the network, how full queues and the
switches' memory are, or that a link is bad. A scheduler is a function of its arguments: no clock, no dice, no memory.

A decision is applied whole: its stops first, then its resizes, then its starts, each in order. A job that is stopped
waits again, and goes on from the last iteration that all its ranks had finished. A job that is resized goes on from
the end of its present iteration, on other GPUs, or on more or fewer. A PS takes a GPU's place on its host, as a rank;
a job whose ranks make their sums among themselves, by a ring, has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from esa.cluster.inventory import Cluster, Gpu


@dataclass(frozen=True)
class JobInfo:
    """A job that was submitted and is not over.

    number:       what decisions call it
    done:         iterations that all its ranks have finished
    iteration_ns: computing of an iteration on a rank, without waiting for sums
    aggregates:   switches add for it, so over several racks its PS needs a rack without its ranks
    has_server:   it has a PS
    servers:      PSs that take a GPU each, where it has any; 0: they are on its ranks' hosts. Unless it is 1, ranks and
                  PSs need one rack
    hosts:        its ranks', then its PSs', if it asks for certain ones; a host as often as it wants GPUs there
    """

    number: int
    name: str
    workers: int
    submit_ns: int
    iterations: int
    done: int = 0
    iteration_ns: int = 0
    aggregates: bool = True
    has_server: bool = True
    servers: int = 1
    hosts: tuple[int, ...] | None = None

    @property
    def left(self) -> int:
        """Iterations that are left."""
        return self.iterations - self.done

    @property
    def computing_left_ns(self) -> int:
        """The least that it needs still."""
        return self.left * self.iteration_ns

    @property
    def members(self) -> int:
        """GPUs that it takes."""
        return self.workers + self.own_servers

    @property
    def own_servers(self) -> int:
        """Of these, its PSs'."""
        return self.servers if self.has_server else 0

    @property
    def needs_one_rack(self) -> bool:
        """Whether its ranks and PSs must be in one rack."""
        return self.has_server and self.servers != 1

    @property
    def who(self) -> str:
        """Whom it takes them for, for people."""
        return who(self.workers, self.own_servers)


def who(workers: int, servers: int) -> str:
    """So many, for people."""
    return f"{workers} workers" + {0: "", 1: " and a PS"}.get(servers, f" and {servers} PSs")


class Placed:
    """What has a place: a GPU for each rank, in order, and for each PS, if it has any."""

    workers: tuple[Gpu, ...]
    server: Gpu | None
    more_servers: tuple[Gpu, ...]

    @property
    def servers(self) -> tuple[Gpu, ...]:
        return self.more_servers if self.server is None else (self.server, *self.more_servers)

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        return *self.workers, *self.servers


@dataclass(frozen=True)
class Running(Placed):
    """A job that runs, since when, and on which GPUs: its ranks' in order, and its PSs'."""

    job: JobInfo
    start_ns: int
    workers: tuple[Gpu, ...]
    server: Gpu | None
    more_servers: tuple[Gpu, ...] = ()


@dataclass(frozen=True)
class Start(Placed):
    """A waiting job gets GPUs: ranks rack by rack, and the PS, or all of them."""

    job: int
    workers: tuple[Gpu, ...]
    server: Gpu | None
    more_servers: tuple[Gpu, ...] = ()


@dataclass(frozen=True)
class Stop:
    """A running job gives its GPUs back, and waits."""

    job: int


@dataclass(frozen=True)
class Resize(Start):
    """A running job gives its GPUs back, and goes on on others: as many ranks as there are `workers` here."""


@dataclass(frozen=True)
class Decision:
    """What is to be done now."""

    starts: tuple[Start, ...] = ()
    stops: tuple[Stop, ...] = ()
    resizes: tuple[Resize, ...] = ()


class Decide(Protocol):
    """A scheduler. `waiting` is in the order of submission, `running` in that of the starts."""

    def __call__(
        self, now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], /
    ) -> Decision: ...


def free_gpus(cluster: Cluster, running: Iterable[Running]) -> frozenset[Gpu]:
    """The GPUs that no running job has."""
    return cluster.gpus.difference(*(job.gpus for job in running))
