"""The question that a scheduler answers: `decide(now_ns, cluster, waiting, running, times) -> Decision`.

    decision = fifo.decide(now_ns, cluster, waiting, running, times)
    check_decision(decision, cluster, waiting, running)      # `validate.py`: before anything of it is done

It is asked when a job is submitted and when one is over, or, in the laboratory, at every tick of a clock. It knows the
cluster; of every job that was submitted and is not over what it asked for, how far it is, and how long an iteration's
computing takes; where those that run are. It may ask `times` what an iteration would take elsewhere, or on more GPUs.
It does not know what is to come, how full queues and the switches' memory are, or that a link is bad. A scheduler is a
function of its arguments: no clock, no dice, no memory. What it has to remember of a job it says in its decision
(`memos`), and is told the next time. One that learns from jobs that are over is made anew for every run, from a seed.

A decision is applied whole: its stops first, then its resizes, then its starts, each in order. Hosts that it gives back
to the inference side, or has lent, change hands after the stops. A job that is stopped
waits again, and goes on from the last iteration that all its ranks had finished. A job that is resized goes on from
the end of its present iteration, on other GPUs, or on more or fewer. A PS takes a GPU's place on its host, as a rank;
a job whose ranks make their sums among themselves, by a ring, has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from esa.cluster.free import Free
from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.kinds import ANY_KIND, Kind
from esa.cluster.times import Asked, Times
from esa.cluster.training import Training
from esa.fast_init import fast_init


@fast_init
@dataclass(frozen=True)
class JobInfo:
    """A job that was submitted and is not over.

    number:       what decisions call it
    done:         iterations that all its ranks have finished
    iteration_ns: computing of an iteration on a rank, with as many as it asked for, without waiting for sums
    aggregates:   switches add for it, so over several racks its PS needs a rack without its ranks
    has_server:   it has a PS
    servers:      PSs that take a GPU each, where it has any; 0: they are on its ranks' hosts. Unless it is 1, ranks and
                  PSs need one rack
    hosts:        its ranks', then its PSs', if it asks for certain ones; a host as often as it wants GPUs there
    elastic:      (fewest, most) workers that it can do with; None: it is rigid, and has `workers` or none
    service_ns:   GPU time that it has had
    memo:         what the scheduler said of it last in `Decision.memos`
    training:     what it says of how it learns, if it does
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
    elastic: tuple[int, int] | None = None
    kind: Kind = ANY_KIND
    service_ns: int = 0
    memo: object = None
    training: Training | None = None

    @property
    def fewest(self) -> int:
        """Workers that it needs."""
        return self.workers if self.elastic is None else self.elastic[0]

    @property
    def most(self) -> int:
        """Workers that it can use."""
        return self.workers if self.elastic is None else self.elastic[1]

    def asked(self, hosts: tuple[tuple[int, int], ...], additions: int = 0) -> Asked:
        """How long do its iterations take on these hosts? (number, GPUs there), in the order of its ranks.

        additions: passes before the last that a GPU adds up by itself, at least.
        """
        kind, local_batch, iteration_ns = self.kind, 0, self.iteration_ns
        if kind.batch:
            local_batch, additions = kind.split(sum(gpus for _, gpus in hosts), additions)
        left_ns = (self.iterations - self.done) * iteration_ns
        return Asked(self.number, kind.model, iteration_ns * self.workers, local_batch, additions, hosts, left_ns)

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

    @property
    def hosts(self) -> tuple[tuple[int, int], ...]:
        """(number, GPUs of its workers there), in their order."""
        return by_host(self.workers)


def by_host(workers: Sequence[Gpu]) -> tuple[tuple[int, int], ...]:
    """(number, GPUs there), in the order of the ranks."""
    if len(workers) == 1:
        return ((workers[0].host, 1),)
    return tuple((host, len([*gpus])) for host, gpus in groupby(workers, key=_host))


def _host(gpu: Gpu) -> int:
    return gpu.host


@fast_init
@dataclass(frozen=True)
class Running(Placed):
    """A job that runs, since when, and on which GPUs: its ranks' in order, and its PSs'."""

    job: JobInfo
    start_ns: int
    workers: tuple[Gpu, ...]
    server: Gpu | None
    more_servers: tuple[Gpu, ...] = ()


@fast_init
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


@fast_init
@dataclass(frozen=True)
class Resize(Start):
    """A running job gives its GPUs back, and goes on on others: as many ranks as there are `workers` here."""


@fast_init
@dataclass(frozen=True)
class Decision:
    """What is to be done now. memos: by job, what the scheduler wants to be told of it the next time.

    lent: hosts of the inference side's that are lent from now on; None: those that were. until_news: before a job comes
    or ends, or another number of hosts is offered, there is nothing more to decide, whatever the time: a clock's ticks
    may pass it by.
    left_ns: by job, the computing on a rank that it takes to be left from now on, for switches' priorities; of jobs of
    which it never says so, what is left.
    """

    starts: tuple[Start, ...] = ()
    stops: tuple[Stop, ...] = ()
    resizes: tuple[Resize, ...] = ()
    memos: Mapping[int, object] = field(default_factory=dict)
    lent: frozenset[int] | None = None
    until_news: bool = field(default=False, compare=False)
    left_ns: Mapping[int, int] = field(default_factory=dict)


NOTHING = Decision()


class Decide(Protocol):
    """A scheduler. `waiting` is in the order of submission, `running` in that of the starts."""

    def __call__(
        self, now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times, /
    ) -> Decision: ...


def free_gpus(cluster: Cluster, running: Iterable[Running]) -> Free:
    """The GPUs that no running job has, to be changed at will."""
    kept = getattr(running, "free", None)
    return kept.copy() if isinstance(kept, Free) else _left_free(cluster, running)


def free_to_see(cluster: Cluster, running: Iterable[Running]) -> Free:
    """The same, not to be changed: there is no copy of them."""
    kept = getattr(running, "free", None)
    return kept if isinstance(kept, Free) else _left_free(cluster, running)


def _left_free(cluster: Cluster, running: Iterable[Running]) -> Free:
    free = Free.of(cluster)
    for job in running:
        free.take(gpu for gpu in job.gpus if gpu in free)
    return free


def elastic_jobs(running: Iterable[Running]) -> Sequence[Running]:
    """Those of the running jobs that can do with more or with fewer workers; nobody else is looked at."""
    kept = getattr(running, "elastic", None)
    return [one for one in running if one.job.elastic is not None] if kept is None else kept
