"""A simulation from its plan to its outcome.

    outcome = simulate(plan, progress=lambda part: ...)

The event loop runs between the moments at which something outside the network happens: a job is submitted, gets hosts,
is over; the time series has its next line.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from esa.net.faults import fault_counters
from esa.protocol import NEVER
from esa.sim.background import flow_outcomes, flows_are_over, start_flows, stop_flows
from esa.sim.build import build
from esa.sim.engine.events import EMPTY_KEY, MAX_SOURCES
from esa.sim.engine.lines import grown_pool
from esa.sim.fabric.switches import Switches
from esa.sim.fabric.wiring import Control
from esa.sim.failures import Failures
from esa.sim.guests import Guest, park
from esa.sim.jobs_on_hosts import JobsOnHosts
from esa.sim.loop import FLOW_FINISHED, SPARE_BUFFERS, SPARE_EVENTS, SimState, StopReason, run
from esa.sim.measure import Sampler, job_outcome, marks_ns
from esa.sim.plan import Outcome, Plan
from esa.sim.ranks import rounds_of


def simulate(
    plan: Plan,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    observer: Callable[[Control], Callable[[SimState, Switches, int], int]] | None = None,
    guest: Guest | None = None,
) -> Outcome:
    """Run a plan to its end. The same plan gives the same outcome, bit for bit.

    progress: told the part of the loops' rounds that are finished, 0..1, at every sample. should_stop: asked at every
    sample; True ends the simulation, whose outcome then is incomplete. observer: told the control plane, makes what is
    called in place of `loop.run`, which it calls as often as it wants to look. guest: decides what ranks of its jobs do
    (`esa/sim/guests.py`); those jobs, and others that it says, end when it says so.
    """
    built = build(plan)
    sim = built.sim
    control = Control(plan, built.pipelines)
    run_loop = run if observer is None else observer(control)
    jobs = JobsOnHosts(plan, control, built.first_worker, built.first_server)
    failures = Failures(plan, control, jobs, sim)
    sampler = Sampler(plan, control, built.pipelines, sim.lines)
    rounds = rounds_of(sim.ranks)
    next_sample_ns = 0
    incomplete = None
    start_flows(plan, sim)
    for number in () if guest is None else guest.jobs:
        park(sim, number)
    while not (jobs.all_over and flows_are_over(plan, sim)):
        now_ns = int(sim.scalars["now_ns"][0])
        failures.happen(sim, now_ns)
        jobs.submit_until(sim, now_ns)
        jobs.look(sim, now_ns)
        ended = () if guest is None else guest.happen(sim, now_ns)
        if ended:
            for number in ended:
                jobs.over(sim, number)
            continue
        if now_ns >= next_sample_ns:
            sampler.sample(sim, now_ns, jobs.running)
            next_sample_ns = now_ns + plan.sample_ns
            if progress is not None:
                progress(float(sim.ranks.rank["rounds"].sum()) / rounds)
            if should_stop is not None and should_stop():
                incomplete = "interrupted"
                break
        incomplete = jobs.stranded(failures.next_ns != NEVER)
        if incomplete is not None:
            break
        if now_ns >= plan.limit_ns:
            incomplete = f"not over after {plan.limit_ns / 1e9:g} s of virtual time"
            break
        until_ns = min(
            next_sample_ns,
            jobs.next_submission_ns,
            jobs.next_look_ns,
            stop_flows(plan, sim, now_ns),
            failures.next_ns,
            NEVER if guest is None else guest.next_ns,
            plan.limit_ns,
        )
        reason = run_loop(sim, built.switches, until_ns)
        if reason == StopReason.NEEDS_CAPACITY:
            sim = _with_capacity(sim)
        elif reason == StopReason.JOB_FINISHED and sim.scalars["finished_job"][0] != FLOW_FINISHED:
            number = int(sim.scalars["finished_job"][0])
            if sim.ranks.job[number]["failed"]:
                jobs.over(sim, number)
                if guest is not None:  # nobody else ends what it decides
                    break
            elif guest is None or not guest.stays(sim, number, int(sim.scalars["now_ns"][0])):
                jobs.over(sim, number)
        elif reason == StopReason.NO_EVENTS and jobs.running and (guest is None or guest.next_ns == NEVER):
            raise RuntimeError("simulation: jobs are running and nothing will ever happen again")
    end_ns = int(sim.scalars["now_ns"][0])
    sampler.sample(sim, end_ns, jobs.running)
    failed = [job.name for job, record in zip(plan.jobs, sim.ranks.job, strict=True) if record["failed"]]
    if incomplete is None and failed:
        incomplete = f"job {failed[0]} gave up"
    wrong = int(sim.ranks.rank["wrong"].sum())
    if wrong:
        incomplete = f"{wrong} fragments with a wrong sum"
    if progress is not None and incomplete is None:
        progress(1.0)
    return Outcome(
        jobs=tuple(job_outcome(plan, sim, jobs, k) for k in range(len(plan.jobs))),
        switch_counters=control.counters(),
        series=sampler.series(),
        occupancy_mean=sampler.occupancy_mean,
        useful_mean=sampler.useful_mean,
        packet_hops=int(sim.scalars["packet_hops"][0]),
        dropped=int(sim.scalars["dropped"][0]),
        faults={
            f"host-{host}": {
                way: fault_counters(sim.faults, 2 * host + line)
                for line, way in enumerate(("to_switch", "from_switch"))
                if sim.faults.line[2 * host + line]["on"]
            }
            for host in sorted(plan.fabric.faults)
        },
        end_s=end_ns / 1e9,
        checked=sum(int(rank["summed"]) for rank in sim.ranks.rank if not sim.ranks.job[rank["job"]]["exchanges"])
        if plan.lanes
        else 0,
        incomplete=incomplete,
        flows=flow_outcomes(plan, sim),
        failures=tuple(failures.outcomes),
        sent_up=control.sent_up(),
        marks_ns={job.name: marks for k, job in enumerate(plan.jobs) if any(marks := marks_ns(sim, k))},
    )


def _with_capacity(sim: SimState) -> SimState:
    """The same state with room for more packets and events."""
    if sim.pool.spare[0] < SPARE_BUFFERS:
        sim = sim._replace(pool=grown_pool(sim.pool))
        if sim.scalars["first_fault_event"][0] + len(sim.pool.data) > MAX_SOURCES:
            raise RuntimeError(f"simulation: {len(sim.pool.data)} packets are under way; queues must be shorter")
    key = sim.events.key
    if len(key) - sim.events.size[0] < SPARE_EVENTS:
        more = np.full(len(key), EMPTY_KEY, np.int64)
        sim = sim._replace(events=sim.events._replace(key=np.concatenate([key, more])))
    return sim
