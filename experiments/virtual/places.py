"""Whether the jobs of a scenario find hosts in its simulated network."""

from __future__ import annotations

import numpy as np

from esa.cluster.inventory import Cluster
from esa.cluster.scheduler import who
from esa.cluster.validate import check_places
from esa.job import MAX_FAN_IN, Pool
from esa.sim.fabric.wiring import rack_of
from esa.sim.jobs_on_hosts import job_info
from esa.sim.plan import Fabric, SimulatedJob
from experiments.specs.jobs import JobSpec
from experiments.specs.racks import check_racks


def check_place(fabric: Fabric, cluster: Cluster, job: JobSpec, policy_name: str, *, has_server: bool = True) -> None:
    """ValueError, its first word the job's key, unless the job would find hosts if it were alone.

    cluster: the fabric's hosts, `cluster_of`.
    """
    hosts, places = fabric.hosts, fabric.places
    servers = job.own_servers if has_server else 0
    if job.workers + servers > places:
        members = who(job.workers, servers)
        where = f"{hosts} hosts" if fabric.gpus == 1 else f"{hosts} hosts of {fabric.gpus} GPUs"
        raise ValueError(
            f"workers: {members} need a {'host' if fabric.gpus == 1 else 'GPU'} each; "
            f"allowed: 1 to {places - servers} on {where}"
        )
    largest = max(fabric.racks) * fabric.gpus
    if has_server and job.workers > MAX_FAN_IN and largest > MAX_FAN_IN:
        what = "hosts" if fabric.gpus == 1 else "GPUs"
        allowed = f"{MAX_FAN_IN} workers of a job in a rack"
        raise ValueError(f"workers: {job.workers}, and a rack of {largest} {what}; allowed: {allowed}")
    if job.hosts is None:
        shape = SimulatedJob(
            job.name,
            policy_name,
            job.workers,
            1,
            (),
            np.zeros((1, 0), np.uint8),
            1,
            Pool(base=0, size=1),
            transport="ina" if has_server else "ring",
            servers=job.servers if has_server else 1,
            servers_on=job.servers_on,
        )
        try:
            check_places(cluster, [job_info(0, shape)])
        except ValueError as error:
            raise ValueError(f"workers: {error}") from None
        return
    if max(job.hosts) >= hosts:
        raise ValueError(f"hosts: {max(job.hosts)}; allowed: 0 to {hosts - 1}")
    racks = [rack_of(fabric)[host] for host in job.hosts]
    if has_server and (job.servers, job.servers_on) != (1, "hosts"):
        if len(set(racks)) > 1:
            raise ValueError(
                f"hosts: in {len(set(racks))} racks; allowed: one, with several PSs or PSs on workers' hosts"
            )
        return
    if has_server:
        _check_fan_in(fabric, racks[:-1], racks)
    check_racks(racks, policy_name, has_server)


def _check_fan_in(fabric: Fabric, of_workers: list[int], racks: list[int]) -> None:
    """ValueError, its first word the job's key, for more than switches can add. racks: by rank, the PS's last."""
    if len(set(of_workers)) > MAX_FAN_IN:
        raise ValueError(f"hosts: workers in {len(set(of_workers))} racks; allowed: {MAX_FAN_IN}")
    if fabric.graph.tiers > 2 and len(set(racks)) > 1:
        where = f"{len(set(racks))} racks, on a network of {fabric.graph.tiers} tiers of switches"
        raise ValueError(f"hosts: in {where}; allowed: one rack, or a leaf-spine")
