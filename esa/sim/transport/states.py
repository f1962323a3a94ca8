"""Workers and PSs as a plan wants them, before anything has happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from esa.policy import Release, policy
from esa.protocol import ServerState, WorkerState, server_state, worker_state
from esa.sim.plan import Plan


def new_worker(plan: Plan, number: int, rack: int = 0, rank: int = 0) -> WorkerState:
    """A worker of job `number`, the `rank`-th of its `rack`-th rack."""
    return worker_state(
        job=number + 1,
        epoch=0,
        rank=rank,
        rack=rack,
        window=plan.jobs[number].window,
        lanes=plan.lanes,
        give_up_s=plan.give_up_s,
        wait_limit_s=plan.wait_limit_s,
        timers=plan.timers,
    )


def new_server(plan: Plan, number: int, workers_per_rack: Sequence[int], switches: int = 0) -> ServerState:
    """The PS of job `number`; switches: how many are its members."""
    times, job = plan.timers, plan.jobs[number]
    # Without rows workers resend by themselves; nothing is urgent for the PS.
    least_ns = 0 if switches else times.rto_floor_ns
    return server_state(
        job=number + 1,
        epoch=0,
        workers_per_rack=workers_per_rack,
        window=job.window,
        lanes=plan.lanes,
        switches=switches,
        unicast=not switches,
        release_on_ack=policy(job.policy).release == Release.ON_ACK,
        give_up_s=plan.give_up_s,
        wait_limit_s=plan.wait_limit_s,
        timers=replace(
            times,
            patience_initial_ns=max(times.patience_initial_ns, least_ns),
            patience_floor_ns=max(times.patience_floor_ns, least_ns),
            patience_ceiling_ns=max(times.patience_ceiling_ns, least_ns),
        ),
    )
