"""Where the jobs of one switch should be, and putting them there while they run: `esa.entries.replacing` on a switch.

    moved = re_place_jobs(controller)                     # a job came or went: the others make room, or take it
    move(controller, "digits", Pool(base=1024, size=256)) # by hand

A move is one write to the job's policy entry. What the job had in its old rows stays there, as sums that no packet of
the job completes any more: its PS asks for the fragments, workers resend them, and whoever uses these rows next hands
over what is in them (docs/protocol.md, Policies). Nothing is kept here: which jobs there are, and where, is read from
the switch; their windows are those of the file of jobs. A job of which that knows nothing stays where it is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller import run_entries
from controller.controller import Controller
from controller.forwarding import ATTEMPTS
from controller.job_counters import rows_in_use
from esa.entries.job_entries import InstalledJob
from esa.entries.pools import Claim
from esa.entries.replacing import Tenant, re_place
from esa.errors import BadInput, Refused
from esa.job import Pool
from esa.policy import Emit

# Packets of a run after which it keeps its rows. A fragment that is left somewhere is told from another by its number,
# of which there are twice as many.
LONG_RUN = 2**31


@dataclass(frozen=True)
class Place:
    """A job's rows: those that it has, how many of them hold something, and those that it should have."""

    job: InstalledJob
    name: str
    pool: Pool
    wanted: Pool
    in_use: int
    demand: float

    @property
    def moves(self) -> bool:
        return self.wanted != self.pool


def places(controller: Controller, demands: Mapping[str, float] | None = None) -> list[Place]:
    """Return the jobs that use rows, in the order of their ids.

    demands: by name, how much of its time a job uses them, 0 to 1; those of the file of jobs where left out.
    """
    installed = [job for job in controller.jobs() if job.pool is not None]
    counted = controller.read_counters([job.index for job in installed])
    rows = controller.switch.loaded.aggregators
    tenants = {}
    for job, counters in zip(installed, counted, strict=True):
        tenant = _tenant(controller, job, counters["gradients"], rows)
        if demands is not None and tenant.name in demands:
            tenant = tenant._replace(demand=demands[tenant.name])
        tenants[job.job] = tenant
    wanted = re_place(list(tenants.values()), rows)
    return [
        Place(job, tenant.name, job.pool, wanted.get(tenant.name, job.pool), rows_in_use(counters), tenant.demand)
        for job, tenant, counters in zip(installed, tenants.values(), counted, strict=True)
        if job.pool is not None
    ]


def re_place_jobs(controller: Controller, demands: Mapping[str, float] | None = None) -> list[Place]:
    """Put every job where it should be; return those that were moved.

    Others may add and remove jobs meanwhile: it is done when a look finds nothing to do.
    """
    moved: dict[int, Place] = {}
    for attempt in range(ATTEMPTS):
        moving = [place for place in places(controller, demands) if place.moves]
        if not moving:
            break
        try:
            run_entries.change(controller.switch, [replace(place.job, pool=place.wanted) for place in moving])
        except Refused:  # a job has gone
            if attempt == ATTEMPTS - 1:
                raise
            continue
        for place in moving:
            first = moved.get(place.job.job, place)
            moved[place.job.job] = replace(first, wanted=place.wanted)
    return list(moved.values())


def move(controller: Controller, job: str | int, pool: Pool) -> InstalledJob:
    """Give a job these rows while it runs. BadInput, one line, where it cannot have them or has none to move."""
    installed = controller.jobs()
    found = controller.sound(job, installed)
    name, knobs = controller.name(found), found.policy
    if found.pool is None:
        raise BadInput(f"pool: job {name} uses no rows under '{knobs.name}'; allowed: placed and shared pools")
    if knobs.pool == "slice":
        raise BadInput(
            f"pool: job {name} has a slice ('{knobs.name}'), whose sums its workers may still ask for;"
            " allowed: placed and shared pools"
        )
    if controller.read_counters([found.index])[0]["gradients"] >= LONG_RUN:
        raise BadInput(f"pool: job {name} has sent {LONG_RUN} packets or more in this run; allowed: before, or when it"
                       " starts anew")  # fmt: skip
    moved = replace(found, pool=pool)
    controller.change(found, moved)
    return moved


def measured_demands(controller: Controller, over_s: float) -> dict[str, float]:
    """Return, by name, how much jobs send to the switch in the next `over_s` seconds: 1 for the one that sends most.

    Packets of a worker; jobs that send nothing have 0, as have those that come meanwhile.
    """
    jobs = [job for job in controller.jobs() if job.pool is not None and job.fan_in]
    before = controller.read_counters([job.index for job in jobs])
    time.sleep(over_s)
    after = controller.read_counters([job.index for job in jobs])
    sent = {
        controller.name(job): max(0, new["gradients"] - old["gradients"]) / job.fan_in
        for job, old, new in zip(jobs, before, after, strict=True)
    }
    most = max(sent.values(), default=0.0)
    return {name: packets / most if most else 0.0 for name, packets in sent.items()}


def _tenant(controller: Controller, job: InstalledJob, packets: int, rows: int) -> Tenant:
    assert job.pool is not None
    name, saved = controller.name(job), controller.saved(job)
    demand = saved.demand if saved else 1.0
    several_racks = job.level1 or job.rack > 0 or job.policy.emit == Emit.TO_ROOT
    if saved is None or job.problems or job.policy.pool != "placed" or packets >= LONG_RUN or several_racks:
        return Tenant.fixed(Claim(name, job.policy.pool, job.pool, demand))
    return Tenant.placed(name, job.policy, job.pool, saved.window, saved.span, rows, demand)
