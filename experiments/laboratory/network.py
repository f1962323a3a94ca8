"""A cluster's network from its scenario: `times`, and jobs that train models.

A job takes as long as its list says as long as it computes: its iterations are as many as its model has in that time.
What it waits for sums comes on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from esa.cluster.inventory import Cluster
from esa.errors import BadInput
from esa.job import MAX_FAN_IN
from esa.laboratory import Iterations, Submitted
from esa.network_times.levels import NetworkTimes
from esa.network_times.network import RING, Network
from esa.workloads import profile
from experiments.specs.cluster_network import ClusterNetwork

_MODELS = 0x30DE1  # of the seed's streams, the one that models are drawn from


def network_of(spec: ClusterNetwork, hosts_in_rack: float) -> Network:
    """hosts_in_rack: of the largest rack."""
    return Network(
        spec.policy,
        rows=spec.rows,
        window=spec.window,
        rate_bps=spec.rate,
        spine_bps=hosts_in_rack * spec.rate / spec.oversubscription,
        delay_ns=round(spec.delay_us * 1000),
        switch_ns=spec.switch_ns,
        local_sums=spec.local_sums,
    )


def times_of(spec: ClusterNetwork, cluster: Cluster) -> NetworkTimes:
    """The answers for jobs of this cluster."""
    network = network_of(spec, max(cluster.racks))
    return NetworkTimes(network, [host.rack for host in cluster.hosts], level=spec.level, most_jobs=spec.most_jobs)


def with_models(jobs: Sequence[Submitted], spec: ClusterNetwork, seed: int) -> tuple[Submitted, ...]:
    """Each trains one of the models; job n's is drawn n-th, whatever comes after."""
    drawn = np.random.Generator(np.random.PCG64([seed, _MODELS])).random(len(jobs))
    return tuple(
        _with_model(job, spec.models[int(part * len(spec.models))], spec.pace)
        for job, part in zip(jobs, drawn.tolist(), strict=True)
    )


def _with_model(job: Submitted, model: str, pace: float) -> Submitted:
    iteration_ns = _iteration_ns(model, pace)
    iterations = max(1, round(job.work.iterations * job.iteration_ns / iteration_ns))
    return replace(job, work=Iterations(iterations), iteration_ns=iteration_ns, kind=replace(job.kind, model=model))


@lru_cache
def _iteration_ns(model: str, pace: float) -> int:
    found = profile(model)
    return max(1, round(pace * (found.forward_ns + found.backward_ns)))


def check_fan_in(jobs: Sequence[Submitted], spec: ClusterNetwork, cluster: Cluster) -> None:
    """BadInput, one line, if more ranks of a job may come into a rack than a switch can add."""
    if spec.policy == RING:
        return
    room = [0] * len(cluster.racks)
    for host in cluster.hosts:
        room[host.rack] += 1 if spec.local_sums else host.gpus
    for job in jobs:
        most = min(max(room), job.workers if job.elastic is None else job.elastic[1])
        if most > MAX_FAN_IN:
            raise BadInput(
                f"job {job.name}: up to {most} ranks in a rack; allowed: {MAX_FAN_IN} where switches add: "
                f"smaller racks, narrower jobs, or network.local_sums"
            )
