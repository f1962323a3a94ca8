"""Room for workers and PSs, before their jobs have hosts: states as large as theirs will be."""

from __future__ import annotations

from collections.abc import Sequence

from esa.protocol import ServerState, WorkerState, server_state, worker_state
from esa.sim.plan import Plan


def worker_room(plan: Plan, number: int) -> WorkerState:
    """Room for a worker of job `number`; `esa.protocol.of_job` says what goes there."""
    job = plan.jobs[number]
    return worker_state(job=1, epoch=0, rank=0, window=job.window, max_span=job.reach, lanes=plan.lanes)


def server_room(plan: Plan, number: int, workers_per_rack: Sequence[int]) -> ServerState:
    """Room for the PS of job `number`, with as many racks as there can be."""
    job, lanes = plan.jobs[number], plan.lanes
    return server_state(
        job=1,
        epoch=0,
        workers_per_rack=workers_per_rack,
        window=job.window,
        max_span=job.reach,
        lanes=lanes,
    )
