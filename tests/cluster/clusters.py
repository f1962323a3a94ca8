"""Clusters and jobs to decide about."""

from __future__ import annotations

from collections.abc import Sequence

from esa.cluster.inventory import Cluster, Gpu, Host, Nic
from esa.cluster.scheduler import JobInfo, Running, Start

NIC = Nic(100e9)


def cluster(racks: Sequence[int], gpus: int = 1, max_jobs: int = 255) -> Cluster:
    """racks: hosts of each."""
    hosts = (Host(rack, NIC, gpus) for rack, size in enumerate(racks) for _ in range(size))
    return Cluster(tuple(hosts), max_jobs)


def asked(number: int = 0, workers: int = 2, *, iterations: int = 10, **given) -> JobInfo:
    """A job that is submitted `number` nanoseconds after the start."""
    return JobInfo(number, f"job-{number}", workers, submit_ns=number, iterations=iterations, **given)


def on(*places: tuple[int, int]) -> tuple[Gpu, ...]:
    return tuple(Gpu(*place) for place in places)


def start(number: int, *places: tuple[int, int]) -> Start:
    """Of a job: its ranks' places, then its PS's."""
    *workers, server = on(*places)
    return Start(number, tuple(workers), server)


def start_ring(number: int, *places: tuple[int, int]) -> Start:
    """Of a job without a PS."""
    return Start(number, on(*places), None)


def running(job: JobInfo, *places: tuple[int, int]) -> Running:
    *workers, server = on(*places)
    return Running(job, 0, tuple(workers), server)
