"""First fit: in the order of submission, but who finds GPUs now overtakes who does not. Large jobs may starve."""

from __future__ import annotations

from collections.abc import Sequence

from esa.cluster.inventory import Cluster
from esa.cluster.policies.in_order import starts_in_order
from esa.cluster.scheduler import Decision, JobInfo, Running
from esa.cluster.times import Times


def decide(
    now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
) -> Decision:
    """Start every job of the queue that finds GPUs."""
    return Decision(starts_in_order(cluster, waiting, running, overtake=True), until_news=True)
