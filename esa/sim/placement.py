"""Where a job goes: one rack if one has room for its workers, else rack after rack; its PS where the program allows it.

The PS of a job over several racks must sit in a rack without its workers (`esa/entries/tiers.py` says why). On
a network of more tiers a job is in one rack, its PS too: nobody makes sums of sums of sums.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from esa.policy import policy
from esa.sim.fabric.wiring import rack_of
from esa.sim.plan import Fabric, SimulatedJob


def place(fabric: Fabric, job: SimulatedJob, free: Collection[int]) -> list[int] | None:
    """The hosts of the workers, rack by rack, then the PS's; None if there is no room among the free ones now."""
    of = rack_of(fabric)
    if job.hosts is not None:
        if not set(job.hosts) <= set(free):
            return None
        order = [of[host] for host in job.hosts]
        return [*sorted(job.hosts[:-1], key=lambda host: order.index(of[host])), job.hosts[-1]]
    racks: list[list[int]] = [[] for _ in fabric.racks]
    for host in sorted(free):
        racks[of[host]].append(host)
    whole = [rack for rack in racks if len(rack) > job.workers]
    if whole:
        return whole[0][: job.workers + 1]
    if fabric.graph.tiers > 2:
        return None
    return _one_rack(racks, job) or _several_racks(racks, job)


def _one_rack(racks: Sequence[list[int]], job: SimulatedJob) -> list[int] | None:
    """All workers in one rack, the PS in another."""
    for rack in racks:
        others = [host for other in racks if other is not rack for host in other]
        if len(rack) >= job.workers and others:
            return [*rack[: job.workers], others[0]]
    return None


def _several_racks(racks: Sequence[list[int]], job: SimulatedJob) -> list[int] | None:
    """The fullest racks first; the PS in one that is left over. Under `ps` it may be anywhere."""
    order = sorted(racks, key=len, reverse=True)
    hosts: list[int] = []
    while order and len(hosts) < job.workers:
        hosts += sorted(order.pop(0))
    anywhere = hosts[job.workers :] if policy(job.policy).pool == "none" else []
    left = [*(host for rack in order for host in rack), *anywhere]
    if len(hosts) < job.workers or not left:
        return None
    return [*hosts[: job.workers], left[0]]


def check_places(fabric: Fabric, jobs: Sequence[SimulatedJob]) -> None:
    """ValueError, one line, if a job could not start on an empty network."""
    of = rack_of(fabric)
    for job in jobs:
        hosts = place(fabric, job, range(fabric.hosts))
        if fabric.graph.tiers > 2 and (hosts is None or len({of[host] for host in hosts}) > 1):
            raise ValueError(
                f"job {job.name}: {job.workers} workers and a PS, not all in one rack, on a network of "
                f"{fabric.graph.tiers} tiers of switches; sums over several racks need a leaf-spine"
            )
        if hosts is None:
            raise ValueError(
                f"job {job.name}: no place for {job.workers} workers and a PS on {fabric.hosts} hosts in racks of "
                f"{', '.join(map(str, fabric.racks))}; over several racks the PS needs a rack without the job's workers"
            )
        racks = {of[host] for host in hosts[:-1]}
        if len(racks) > 1 and of[hosts[-1]] in racks and policy(job.policy).pool != "none":
            raise ValueError(
                f"job {job.name}: hosts: its PS, on host {hosts[-1]}, is in a rack with workers of it; over several "
                f"racks it needs one without"
            )
