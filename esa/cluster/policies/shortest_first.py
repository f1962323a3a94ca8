"""Shortest job first: by the computing that is left; nobody overtakes the shortest, and nobody is stopped."""

from __future__ import annotations

from collections.abc import Sequence

from esa.cluster.inventory import Cluster
from esa.cluster.policies.in_order import shortest, starts_in_order
from esa.cluster.scheduler import Decision, JobInfo, Running
from esa.cluster.times import Times


def decide(
    now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
) -> Decision:
    """Start the shortest jobs until one finds no GPUs."""
    return Decision(starts_in_order(cluster, sorted(waiting, key=shortest), running), until_news=True)
