"""First in, first out: jobs start in the order of their submission, and nobody overtakes."""

from __future__ import annotations

from collections.abc import Sequence

from esa.cluster.inventory import Cluster
from esa.cluster.policies.in_order import starts_in_order
from esa.cluster.scheduler import Decision, JobInfo, Running
from esa.cluster.times import Times

NOBODY = Decision(until_news=True)


def decide(
    now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
) -> Decision:
    """Start from the head of the queue until a job finds no GPUs."""
    starts = starts_in_order(cluster, waiting, running)
    return Decision(starts, until_news=True) if starts else NOBODY
