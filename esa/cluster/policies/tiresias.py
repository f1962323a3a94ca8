"""Tiresias (Gu et al., NSDI 2019) as Pollux's public simulator has it: attained service in two queues.

A job is in the first queue until it has had 16 GPU hours, then in the second for good; each queue is first in, first
out, the second by when a job was seen to have come there. Nobody is promoted. Jobs run in that order, as far as GPUs
go; who does not fit is passed over. Rules and threshold: petuum/adaptdl, branch osdi21-artifact, simulator/tiresias.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from esa.cluster.inventory import Cluster
from esa.cluster.policies.ranked import everybody, run_first
from esa.cluster.scheduler import Decision, JobInfo, Running
from esa.cluster.times import Times

THRESHOLD_NS = 16 * 3600 * 10**9  # of GPU time


def decide(
    now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
) -> Decision:
    """Run the first queue, then the second. A memo is when a job came to the second."""
    jobs = everybody(waiting, running)
    at_work = {one.job.number for one in running}
    late = [job for job in jobs if job.memo is None and job.number in at_work and job.service_ns >= THRESHOLD_NS]
    memos: dict[int, int] = {job.number: now_ns for job in late}

    def place_in_line(job: JobInfo) -> tuple[int, int]:
        since = memos.get(job.number, job.memo)
        return (1, since) if isinstance(since, int) else (0, 0)

    decision = run_first(cluster, sorted(jobs, key=place_in_line), running)
    return Decision(decision.starts, decision.stops, memos=memos)
