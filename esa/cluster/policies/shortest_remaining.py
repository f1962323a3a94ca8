"""Shortest remaining time first: a shorter job stops longer ones, the longest first, where it needs their GPUs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.placement import place
from esa.cluster.policies.in_order import shortest, start_of
from esa.cluster.scheduler import Decision, JobInfo, Running, Start, Stop, free_gpus
from esa.cluster.times import Times


def decide(
    now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
) -> Decision:
    """Start the shortest jobs until one finds no GPUs, even if all that are longer made room for it."""
    at_work = sorted(running, key=lambda other: shortest(other.job))
    free = set(free_gpus(cluster, running))
    starts: list[Start] = []
    stops: list[Stop] = []
    for job in sorted(waiting, key=shortest):
        most = cluster.max_jobs - len(starts) - 1  # that may run beside it
        found = _make_room(cluster, job, at_work, free, most)
        if found is None:
            break
        gpus, victims = found
        starts.append(start_of(job, gpus))
        stops += [Stop(victim.job.number) for victim in victims]
        at_work = [other for other in at_work if other not in victims]
        free = free.union(*(victim.gpus for victim in victims)).difference(gpus)
    return Decision(tuple(starts), tuple(stops))


def _make_room(
    cluster: Cluster, job: JobInfo, at_work: Sequence[Running], free: Collection[Gpu], most: int
) -> tuple[list[Gpu], list[Running]] | None:
    """GPUs for a job, and which of the longer ones have to stop for it; None if that is not enough."""
    longer = [other for other in at_work if other.job.computing_left_ns > job.computing_left_ns]
    for stopped in range(len(longer) + 1):
        victims = longer[len(longer) - stopped :]
        gpus = place(cluster, job, {*free, *(gpu for victim in victims for gpu in victim.gpus)})
        if gpus is not None and len(at_work) - stopped <= most:
            room = most - (len(at_work) - stopped)
            for victim in tuple(victims):  # who is in nobody's way stays
                if room and not set(gpus) & set(victim.gpus):
                    victims.remove(victim)
                    room -= 1
            return gpus, victims
    return None
