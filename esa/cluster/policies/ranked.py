"""Run who comes first in an order, and stop the others: what schedulers that preempt have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from esa.cluster.inventory import Cluster
from esa.cluster.placement import place
from esa.cluster.policies.in_order import start_of
from esa.cluster.scheduler import Decision, JobInfo, Running, Start, Stop, free_gpus


def everybody(waiting: Iterable[JobInfo], running: Iterable[Running]) -> list[JobInfo]:
    """All jobs that are not over, in the order of submission."""
    return sorted([*waiting, *(one.job for one in running)], key=lambda job: (job.submit_ns, job.number))


def run_first(cluster: Cluster, order: Iterable[JobInfo], running: Sequence[Running]) -> Decision:
    """The first of an order run, as far as GPUs go; who does not fit is passed over, and stopped if it runs.

    Who runs and stays keeps its GPUs. One that is to start and finds no place among what is left waits on.
    """
    at_work = {one.job.number: one for one in running}
    left = sum(host.gpus for number, host in enumerate(cluster.hosts) if number not in cluster.down)
    chosen: list[JobInfo] = []
    for job in order:
        if job.members <= left and len(chosen) < cluster.max_jobs:
            chosen.append(job)
            left -= job.members
    staying = {job.number for job in chosen}
    stopped = [one for one in running if one.job.number not in staying]
    free = free_gpus(cluster, running)
    for one in stopped:
        free.give(gpu for gpu in one.gpus if gpu.host not in cluster.down)
    starts: list[Start] = []
    for job in chosen:
        if job.number in at_work:
            continue
        gpus = place(cluster, job, free)
        if gpus is not None:
            starts.append(start_of(job, gpus))
            free.take(gpus)
    return Decision(tuple(starts), tuple(Stop(one.job.number) for one in stopped))
