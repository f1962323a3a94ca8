"""Places by asking: of several ways to place a job, that of which `times` says that the fewest GPUs wait for sums.

    chosen = Asking(cluster, room, running, times)
    chosen.start(job, share)      # as `Room`, which puts workers where packing says
    chosen.extend(job, 3)

All jobs are asked for together, as they would be then, so that what a job does to the others counts as what they do to
it. The first way is the one without asking; the others keep a job in a rack, or near the workers that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.packing import Packing, Shares, consolidate, one_rack
from esa.cluster.policies.room import Room, Share
from esa.cluster.scheduler import JobInfo, Running, Start
from esa.cluster.times import Times


def waiting_gpus(placed: Iterable[tuple[JobInfo, Sequence[Gpu]]], times: Times) -> float:
    """GPUs that wait for sums, in the mean over time, where jobs run so."""
    asked = [job.asked(Start(job.number, tuple(gpus), None).hosts) for job, gpus in placed]
    answers = times(asked)
    return sum(one.workers * answer.exposed_s / answer.iteration_s for one, answer in zip(asked, answers, strict=True))


def near(held: Collection[Gpu]) -> Packing:
    """On hosts where a job has GPUs already, else in their racks, else anywhere; consolidated."""
    hosts = {gpu.host for gpu in held}

    def packing(cluster: Cluster, counts: list[int], workers: int) -> Shares:
        racks = {cluster.hosts[host].rack for host in hosts}
        shares: Shares = []
        for allowed in (hosts, {k for k, host in enumerate(cluster.hosts) if host.rack in racks}, range(len(counts))):
            within = [count if host in allowed else 0 for host, count in enumerate(counts)]
            some = consolidate(cluster, within, min(workers, sum(within)))
            for host, gpus in some:
                counts[host] -= gpus
                workers -= gpus
            shares += some
        return shares

    return packing


class Asking:
    """room: of which GPUs are taken. running: without those that stop."""

    def __init__(self, cluster: Cluster, room: Room, running: Iterable[Running], times: Times) -> None:
        self._room = room
        self._times = times
        self._jobs = {one.job.number: one.job for one in running}
        self._placed = {one.job.number: one.workers for one in running}
        self._started: dict[int, list[Gpu]] = {}

    def start(self, job: JobInfo, share: Share) -> list[Gpu]:
        """GPUs for base demand."""
        self._jobs[job.number] = job
        take = self._room.take
        ways = [partial(take, share, packing=by) for by in (None, one_rack, consolidate)]
        self._started[job.number] = self._best(job, [], ways)
        return [*self._started[job.number]]

    def extend(self, job: JobInfo, count: int) -> list[Gpu]:
        """GPUs for so many flexible workers more."""
        room, number = self._room, job.number
        held = [*self._workers(number)]
        ways = [partial(room.extend, job, count)]
        ways += [partial(room.extend, job, count, near(held), own_first=own) for own in (False, True)]
        gpus = self._best(job, held, ways)
        if number in self._started:
            self._started[number] += gpus
        return gpus

    def _workers(self, number: int) -> Sequence[Gpu]:
        """Who has given way has fewer than it had."""
        if number in self._room.base:
            return [*self._room.base[number], *self._room.flexible[number]]
        return self._started.get(number) or self._placed.get(number, ())

    def _best(self, job: JobInfo, held: list[Gpu], ways: Sequence[Callable[[], list[Gpu]]]) -> list[Gpu]:
        """By the first of the ways with the fewest GPUs waiting."""
        found: list[tuple[float, int, list[Gpu]]] = []
        for number, way in enumerate(ways):
            gpus = way()
            others = [(self._jobs[one], self._workers(one)) for one in self._jobs if one != job.number]
            placed = [(one, workers) for one, workers in others if workers]
            found.append((waiting_gpus([*placed, (job, [*held, *gpus])], self._times), number, gpus))
            self._room.free.give(gpus)
        _, _, gpus = min(found)
        self._room.free.take(gpus)
        return gpus
