"""JCT alone: what each job of a run takes on the same network when nobody else is there.

    alone = jct_alone(scenario, plan, outcome)
    alone.jct_s, alone.runs         # by job, None where it is not known; simulations that it took

A job's JCT over that is its inflation: what others, and waiting for hosts, cost it. It is simulated, not reckoned: the
scenario with this job and no other, on the hosts that it had, with the same computing times, bad links, rows and
timers; without flows and failures, and submitted at once. Jobs that cannot be told apart are simulated once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from esa.sim import simulate
from esa.sim.fabric.wiring import rack_of
from esa.sim.job_programs import programs_of
from esa.sim.plan import JobOutcome, Outcome, Plan
from experiments.specs.jobs import JobSpec
from experiments.specs.scenario import Scenario
from experiments.virtual.translate import plan_of

_NAME = "alone"


class Alone(NamedTuple):
    """By job; None: neither is known, for the job did not end, or would not alone."""

    jct_s: tuple[float | None, ...]
    runs: int


def jct_alone(
    scenario: Scenario,
    plan: Plan,
    outcome: Outcome,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Alone:
    """plan, outcome: of the scenario. progress: told the part of the jobs that are through. should_stop: True leaves
    the jobs that are not through unknown.
    """
    found: dict[object, float | None] = {}
    jct_s: list[float | None] = []
    for number, (spec, job) in enumerate(zip(scenario.job_specs, outcome.jobs, strict=True)):
        if job.jct_s is None or (should_stop is not None and should_stop()):
            jct_s.append(None)
            continue
        alone = _only(scenario, spec)
        programs = tuple(programs_of(plan, number))
        shape = (alone.to_toml(), _place(scenario, plan, job), tuple(each.pace.tobytes() for each in programs))
        if shape not in found:
            one = plan_of(alone)
            hosts = one.jobs[0].hosts if scenario.own_hosts else job.hosts
            one = replace(one, jobs=(replace(one.jobs[0], hosts=hosts, programs=programs),))
            ended = simulate(one, should_stop=should_stop)
            found[shape] = None if ended.incomplete is not None else ended.jobs[0].jct_s
        jct_s.append(found[shape])
        if progress is not None:
            progress((number + 1) / len(outcome.jobs))
    return Alone(tuple(jct_s), len(found))


def _only(scenario: Scenario, spec: JobSpec) -> Scenario:
    """The scenario with one job, called as any other would be, and whatever is said of its own hosts."""
    network, faults = scenario.network, scenario.faults
    if scenario.own_hosts:
        members = (*map(str, range(spec.workers)), *spec.server_names)
        called = {f"{spec.name}-{member}": f"{_NAME}-{member}" for member in members} | {"all": "all"}
        named = {name: getattr(network, name) for name in ("rates", "delays_us")}
        network = network.model_copy(
            update={
                name: {called[host]: value for host, value in table.items() if host in called}
                for name, table in named.items()
            }
        )
        faults = tuple(
            fault.model_copy(update={"link": called[fault.link]}) for fault in faults if fault.link in called
        )
    kept = {name: getattr(scenario, name) for name in scenario.model_fields_set - {"arrivals", "flows", "failures"}}
    one = spec.model_copy(update={"name": _NAME, "submit_s": 0.0, "hosts": None})
    return Scenario(**(kept | {"network": network, "faults": faults, "jobs": (one,)}))


def _place(scenario: Scenario, plan: Plan, job: JobOutcome) -> tuple[int, ...]:
    """What of its place a job's time depends on: its racks, and its hosts where these are not all the same."""
    hosts = job.hosts or ()
    if scenario.own_hosts:
        return ()
    cables = plan.fabric.graph.cables
    links = {cable.link for cable in cables if cable.lower.node < plan.fabric.hosts}
    if len(links) > 1 or any(fault.link != "all" for fault in scenario.faults):
        return hosts
    racks = rack_of(plan.fabric)
    order = list(dict.fromkeys(racks[host] for host in hosts))
    shared = [hosts.index(host) for host in hosts]  # GPUs of one host
    return tuple(order.index(racks[host]) for host in hosts) + tuple(shared)
