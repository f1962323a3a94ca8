"""Where a job goes: one rack if one has room for its workers, else rack after rack; its PS where the program allows it.

The PS of a job over several racks must sit in a rack without its workers (`controller/tiers.py` says why).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from esa.policy import policy
from esa.sim.plan import Fabric, SimulatedJob
from esa.sim.wiring import rack_of


def place(fabric: Fabric, job: SimulatedJob, free: Collection[int]) -> list[int] | None:
    """The hosts of the workers, then the PS's; None if there is no room among the free ones now."""
    if job.hosts is not None:
        return list(job.hosts) if set(job.hosts) <= set(free) else None
    racks: list[list[int]] = [[] for _ in fabric.racks]
    of = rack_of(fabric)
    for host in sorted(free):
        racks[of[host]].append(host)
    whole = [rack for rack in racks if len(rack) > job.workers]
    if whole:
        return whole[0][: job.workers + 1]
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
    for job in jobs:
        if place(fabric, job, range(fabric.hosts)) is None:
            raise ValueError(
                f"job {job.name}: no place for {job.workers} workers and a PS on {fabric.hosts} hosts in racks of "
                f"{', '.join(map(str, fabric.racks))}; over several racks the PS needs a rack without the job's workers"
            )
