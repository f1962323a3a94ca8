"""Least attained service: who has had the least GPU time runs; a tie goes to who came first."""

from __future__ import annotations

from collections.abc import Sequence

from esa.cluster.inventory import Cluster
from esa.cluster.policies.ranked import everybody, run_first
from esa.cluster.scheduler import Decision, JobInfo, Running
from esa.cluster.times import Times


def decide(
    now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
) -> Decision:
    """Run those with the least GPU time, and stop the others. To be asked at a tick: service grows by itself."""
    return run_first(cluster, sorted(everybody(waiting, running), key=lambda job: job.service_ns), running)
