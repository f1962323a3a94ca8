"""Optimus (Peng et al., EuroSys 2018) as Pollux's public simulator has it: GPUs go where they save the most time.

Every job gets one GPU, in the order of submission; each further GPU goes to the job whose remaining time drops the
most by it, as long as one gains at all. The remaining iterations are known, not estimated; an iteration's time is that
of the job alone on as few hosts as can be. On one GPU it is taken for one with an addition of gradients, whatever the
batch. Who keeps its number of GPUs keeps its GPUs; the others are placed anew, the smallest first. Rules: petuum/
adaptdl, branch osdi21-artifact, simulator/optimus.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from esa.cluster.inventory import Cluster
from esa.cluster.packing import consolidated
from esa.cluster.placement import place
from esa.cluster.policies.ranked import everybody
from esa.cluster.scheduler import NOTHING, Decision, JobInfo, Resize, Running, Start, Stop, free_gpus
from esa.cluster.times import Times


def decide(
    now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
) -> Decision:
    """Share the GPUs anew. Jobs that are rigid have what they ask for, or nothing."""
    jobs = everybody(waiting, running)
    if not jobs:
        return NOTHING
    sizes = _shares(cluster, jobs, times)
    at_work = {one.job.number: one for one in running}
    moved = [one for one in running if len(one.workers) != sizes[one.job.number]]
    free = free_gpus(cluster, running)
    for one in moved:
        free.give(gpu for gpu in one.gpus if gpu.host not in cluster.down)
    stops = [Stop(one.job.number) for one in moved if not sizes[one.job.number]]
    resizes: list[Resize] = []
    starts: list[Start] = []
    leaving = {one.job.number for one in moved}
    for job in sorted(jobs, key=lambda job: sizes[job.number]):
        size = sizes[job.number]
        if not size or (job.number in at_work and job.number not in leaving):
            continue
        gpus = place(cluster, job, free, size)
        if gpus is not None:
            free.take(gpus)
        if job.number in leaving:
            if gpus is None:
                stops.append(Stop(job.number))
            else:
                resizes.append(Resize(job.number, tuple(gpus), None))
        elif gpus is not None:
            starts.append(Start(job.number, tuple(gpus), None))
    return Decision(tuple(starts), tuple(stops), tuple(resizes))


def _shares(cluster: Cluster, jobs: Sequence[JobInfo], times: Times) -> dict[int, int]:
    """GPUs by job."""
    left = sum(host.gpus for number, host in enumerate(cluster.hosts) if number not in cluster.down)
    sizes: dict[int, int] = {}
    gains: dict[int, float] = {}
    for job in jobs:
        sizes[job.number] = job.fewest if job.fewest <= left and len(sizes) < cluster.max_jobs else 0
        left -= sizes[job.number]
        gains[job.number] = _gain(cluster, job, sizes[job.number], left, times)
    by_number = {job.number: job for job in jobs}
    while left > 0:
        number = max(gains, key=lambda each: gains[each])
        if gains[number] <= 0:
            break
        left -= 1
        sizes[number] += 1
        gains[number] = _gain(cluster, by_number[number], sizes[number], left, times)
    return sizes


def _gain(cluster: Cluster, job: JobInfo, size: int, left: int, times: Times) -> float:
    """Seconds by which one GPU more shortens what is left of a job."""
    if not size or size + 1 > job.most or left < 1:
        return 0.0
    questions = [job.asked(consolidated(cluster, workers), int(workers == 1)) for workers in (size, size + 1)]
    now, then = (times([asked])[0] for asked in questions)
    return (now.iteration_s - then.iteration_s) * job.left
