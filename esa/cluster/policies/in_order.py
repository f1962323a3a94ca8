"""Start jobs in an order: what schedulers that only start have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from esa.cluster.free import Free
from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.placement import place
from esa.cluster.scheduler import JobInfo, Running, Start, free_to_see


def start_of(job: JobInfo, gpus: Sequence[Gpu]) -> Start:
    """A job on what `place` found for it."""
    if len(gpus) == job.workers:
        return Start(job.number, tuple(gpus), None)
    servers = gpus[job.workers :]
    return Start(job.number, tuple(gpus[: job.workers]), servers[0] if servers else None, tuple(servers[1:]))


def starts_in_order(
    cluster: Cluster, queue: Iterable[JobInfo], running: Sequence[Running], *, overtake: bool = False
) -> tuple[Start, ...]:
    """Start what finds GPUs, in the queue's order, up to the first that finds none; with `overtake` beyond it, too."""
    free: Free | None = None
    starts: list[Start] = []
    gpus: list[Gpu] | None = None  # of the job before, if it starts
    for job in queue:
        if free is None:
            free, room = free_to_see(cluster, running), cluster.max_jobs - len(running)
        elif gpus is not None:
            if len(starts) == 1:
                free = free.copy()
            free.take(gpus)
        if len(starts) == room:
            break
        gpus = place(cluster, job, free)
        if gpus is not None:
            starts.append(start_of(job, gpus))
        elif not overtake:
            break
    return tuple(starts)


def shortest(job: JobInfo) -> tuple[int, int, int, int]:
    """What jobs are sorted by, the shortest first: computing left, iterations left, then as they came."""
    return job.computing_left_ns, job.left, job.submit_ns, job.number
