"""What virtual time cannot do of a scenario, refused in one line that names the key and what is allowed."""

from __future__ import annotations

from esa.program import program
from esa.sim.jobs_on_hosts import cluster_of
from esa.sim.plan import Fabric
from experiments.specs.failures import HOST, check_flows, check_switches
from experiments.specs.jobs import INA, JobSpec
from experiments.specs.keys import MAX_PORTS
from experiments.specs.scenario import Scenario
from experiments.virtual.fabric import fabric_of
from experiments.virtual.job_buckets import job_buckets
from experiments.virtual.places import check_place
from experiments.virtual.timers import base_round_trip_ns, timers_of

CARRIED_LANES = 64


def check_virtual(scenario: Scenario) -> None:
    """ValueError, its first word the key, unless the scenario can run in virtual time."""
    carried = scenario.lanes if scenario.virtual.carry_gradients else 0
    if carried not in (0, CARRIED_LANES):
        raise ValueError(f"lanes: {carried} with virtual.carry_gradients; allowed: {CARRIED_LANES}, or none carried")
    _check_links(scenario)
    if scenario.own_hosts and len(scenario.host_names()) > MAX_PORTS:
        raise ValueError(
            f"jobs: {len(scenario.host_names())} workers and PSs; allowed: {MAX_PORTS} hosts of their own, or fewer "
            "that they share, network.hosts"
        )
    fabric = fabric_of(scenario)
    cluster = cluster_of(fabric)
    for i, job in enumerate(scenario.job_specs):
        where = f"jobs[{i}]" if scenario.jobs else "arrivals"
        _check_job(scenario, job, where)
        try:
            check_place(fabric, cluster, job, scenario.policy_of(job), has_server=scenario.has_server(job))
            job_buckets(job, scenario.models)
        except ValueError as error:
            raise ValueError(f"{where}.{error}") from None
    for i, flow in enumerate(scenario.flows):
        if flow.start_s >= scenario.virtual.limit_s:
            limit_s = f"virtual.limit_s, {scenario.virtual.limit_s:g}"
            raise ValueError(f"flows[{i}].start_s: {flow.start_s:g}; allowed: less than {limit_s}")
    _check_failures(scenario, fabric)
    scenario.check_memory(program(carried).aggregators, carried)
    timers_of(scenario.timers, base_round_trip_ns(scenario))


def _check_failures(scenario: Scenario, fabric: Fabric) -> None:
    graph = fabric.graph
    check_switches(scenario.failures, [graph.nodes[switch].name for switch in graph.switches])
    check_flows(scenario.failures, scenario.flows)
    for i, failure in enumerate(scenario.failures):
        where = f"failures[{i}]"
        if failure.at_s >= scenario.virtual.limit_s:
            limit_s = f"virtual.limit_s, {scenario.virtual.limit_s:g}"
            raise ValueError(f"{where}.at_s: {failure.at_s:g}; allowed: less than {limit_s}")
        if failure.what == HOST:
            for job in scenario.job_specs:
                if not scenario.has_server(job):
                    by = f"messages of job {job.name}, by '{scenario.transport_of(job)}', cannot be taken back"
                    raise ValueError(f"{where}.what: 'host': {by}; allowed: with transport '{INA}'")


def _check_links(scenario: Scenario) -> None:
    for i, fault in enumerate(scenario.faults):
        if fault.where != "hosts":
            raise ValueError(f"faults[{i}].where: '{fault.where}' is for real switches; allowed: 'hosts'")


def _check_job(scenario: Scenario, job: JobSpec, where: str) -> None:
    if scenario.virtual.carry_gradients and scenario.transport_of(job) != INA:
        raise ValueError(
            f"virtual.carry_gradients: messages of '{scenario.transport_of(job)}' have no content; allowed: {INA}"
        )
    if job.submit_s >= scenario.virtual.limit_s:
        limit_s = f"virtual.limit_s, {scenario.virtual.limit_s:g}"
        if scenario.arrivals is not None:
            last_s = max(job.submit_s for job in scenario.job_specs)
            raise ValueError(f"arrivals: the last job comes after {last_s:.0f} s; allowed: before {limit_s}")
        raise ValueError(f"{where}.submit_s: {job.submit_s:g}; allowed: less than {limit_s}")
