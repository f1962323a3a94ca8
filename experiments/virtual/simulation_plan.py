"""A simulation's scenario as the plain values that the simulator takes.

outcome = simulate(plan_of(Simulation.load(path)))
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esa.priority import Priority
from esa.sim.plan import Plan, SimulatedJob
from esa.workloads import Bucket, priorities
from experiments.specs.simulation import Simulation
from experiments.specs.simulation_specs import FACTORS, JobSpec
from experiments.virtual.simulated_models import job_buckets
from experiments.virtual.simulated_network import fabric_of, timers_of, wire_bytes

_LANE_BYTES = 4


def plan_of(simulation: Simulation) -> Plan:
    """The plan of a scenario, which has been checked."""
    return Plan(
        fabric=fabric_of(simulation.network, simulation.hosts, simulation.link_faults()),
        jobs=tuple(_job(simulation, job) for job in simulation.job_specs),
        timers=timers_of(simulation.timers, simulation.base_round_trip_ns),
        give_up_s=simulation.timers.give_up_s,
        wait_limit_s=simulation.timers.wait_limit_s,
        seed=simulation.seed,
        lanes=simulation.lanes,
        wire_lanes=simulation.wire_lanes,
        sample_ns=max(1, round(simulation.sample_us * 1e3)),
        limit_ns=round(simulation.limit_s * 1e9),
    )


def _job(simulation: Simulation, job: JobSpec) -> SimulatedJob:
    parts = job_buckets(job, simulation.models)
    return SimulatedJob(
        name=job.name,
        policy=simulation.policy_of(job),
        workers=job.workers,
        iterations=job.iterations,
        buckets=parts,
        priority=_priority(simulation, job, parts),
        window=simulation.window(job),
        pool=simulation.pools[job.name],
        submit_ns=round(job.submit_s * 1e9),
        order="front-first" if job.overlap else "ddp",
        jitter=job.jitter,
        straggle=job.straggle,
        slowdown=job.slowdown,
        ttl_us=job.ttl_us,
        hosts=job.hosts,
    )


def _priority(simulation: Simulation, job: JobSpec, parts: tuple[Bucket, ...]) -> npt.NDArray[np.uint8]:
    """By bucket and iteration; one of a model that is scaled down is that of the model itself."""
    if isinstance(job.priority, int):
        return np.full((job.iterations, len(parts)), job.priority, np.uint8)
    return priorities(
        parts,
        job.iterations,
        rate_bps=simulation.network.gbps * 1e9,
        fragment_bytes=_LANE_BYTES * simulation.wire_lanes,
        wire_bytes=wire_bytes(simulation.wire_lanes),
        time_scale=job.scale if job.time_scale is None else job.time_scale,
        formula=Priority(**{factor: factor in job.priority for factor in FACTORS}),
    )
