"""A scenario as the plain values that the simulator takes.

outcome = simulate(plan_of(Scenario.load(path, check_virtual)))
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esa.cluster.policies import SCHEDULERS
from esa.policy import policy
from esa.priority import Classes, Priority, PriorityFunction, priority_function
from esa.sim.failure import HOST, PS, SWITCH, Failure
from esa.sim.plan import Fabric, Flow, Plan, SimulatedJob
from esa.sim.transport.flow import FlowOptions
from esa.workloads import Bucket, priorities
from experiments.specs.jobs import CLASSES, FACTORS, GLOO, HALVING_DOUBLING, INA, JobSpec
from experiments.specs.scenario import Scenario
from experiments.virtual.fabric import fabric_of, own_places, wire_bytes, wire_rate_bps
from experiments.virtual.job_buckets import job_buckets
from experiments.virtual.timers import base_round_trip_ns, timers_of

_LANE_BYTES = 4
_TRANSPORTS = {INA: "ina", GLOO: "ring", HALVING_DOUBLING: "halving-doubling"}  # gloo's all-reduce is a ring


def plan_of(scenario: Scenario) -> Plan:
    """The plan of a scenario, which has been checked."""
    places = own_places(scenario)
    virtual, fabric = scenario.virtual, fabric_of(scenario)
    return Plan(
        fabric=fabric,
        jobs=tuple(_job(scenario, job, places.get(job.name, job.hosts)) for job in scenario.job_specs),
        timers=timers_of(scenario.timers, base_round_trip_ns(scenario)),
        rows=scenario.rows,
        re_place=virtual.re_place,
        decide=SCHEDULERS[virtual.scheduler],
        give_up_s=scenario.timers.give_up_s,
        wait_limit_s=scenario.timers.wait_limit_s,
        seed=scenario.seed,
        lanes=scenario.lanes if virtual.carry_gradients else 0,
        wire_lanes=scenario.lanes,
        sample_ns=max(1, round(virtual.sample_us * 1e3)),
        limit_ns=round(virtual.limit_s * 1e9),
        flows=_flows(scenario),
        failures=_failures(scenario, fabric),
        flow=FlowOptions(mtu_bytes=virtual.mtu_bytes),
    )


def _flows(scenario: Scenario) -> tuple[Flow, ...]:
    number = {host: number for number, host in enumerate(scenario.host_names())}
    return tuple(
        Flow(
            flow.name,
            number[flow.source],
            number[flow.target],
            bytes=flow.size_bytes,
            rate_bps=flow.rate,
            congestion=flow.congestion or "dctcp",
            start_ns=round(flow.start_s * 1e9),
            stop_ns=None
            if flow.duration_s is None
            else max(1, round(flow.duration_s * 1e9)) + round(flow.start_s * 1e9),
        )
        for flow in scenario.flows
    )


def _failures(scenario: Scenario, fabric: Fabric) -> tuple[Failure, ...]:
    graph = fabric.graph
    number = {
        SWITCH: {graph.nodes[switch].name: k for k, switch in enumerate(graph.switches)},
        PS: {job.name: k for k, job in enumerate(scenario.job_specs)},
        HOST: {host: k for k, host in enumerate(scenario.host_names())},
    }
    return tuple(
        Failure(
            failure.what,
            number[failure.what][failure.name],
            round(failure.at_s * 1e9),
            None if failure.down_s is None else round(failure.down_s * 1e9),
        )
        for failure in scenario.failures
    )


def _job(scenario: Scenario, job: JobSpec, hosts: tuple[int, ...] | None) -> SimulatedJob:
    parts = job_buckets(job, scenario.models)
    has_server = scenario.has_server(job)
    return SimulatedJob(
        name=job.name,
        policy=scenario.policy_of(job),
        transport=_TRANSPORTS[scenario.transport_of(job)],
        workers=job.workers,
        iterations=job.iterations,
        buckets=parts,
        priority=_priority(scenario, job, parts),
        window=scenario.window(job),
        pool=job.pool if scenario.pool_kind(job) == "placed" else scenario.pools[job.name],
        span=job.span,
        least_window=scenario.least_window(job),
        congestion=scenario.congestion(job),
        demand=_demand(scenario, parts),
        needs=scenario.needs(job),
        submit_ns=round(job.submit_s * 1e9),
        order=job.order,
        jitter=job.jitter,
        straggle=job.straggle,
        slowdown=job.slowdown,
        ttl_us=_ttl_us(scenario, job),
        hosts=hosts if has_server or hosts is None else hosts[: job.workers],
        servers=job.servers if has_server else 1,
        servers_on=job.servers_on,
    )


def _ttl_us(scenario: Scenario, job: JobSpec) -> int:
    return policy(scenario.policy_of(job)).ttl_us(base_round_trip_ns(scenario)) if job.ttl_us is None else job.ttl_us


def _demand(scenario: Scenario, parts: tuple[Bucket, ...]) -> float:
    """The part of an iteration that takes a job to send its gradients, of that and of what it computes."""
    rate_bps = wire_rate_bps(scenario, scenario.network.rate)
    fragments = sum(-(-part.bytes // (_LANE_BYTES * scenario.lanes)) for part in parts)
    sending_ns = fragments * wire_bytes(scenario.lanes) * 8e9 / rate_bps
    computing_ns = sum(part.forward_ns + part.backward_ns for part in parts)
    return sending_ns / (sending_ns + computing_ns)


def _priority(scenario: Scenario, job: JobSpec, parts: tuple[Bucket, ...]) -> npt.NDArray[np.uint8]:
    """By bucket and iteration; one of a model that is scaled down is that of the model itself."""
    if isinstance(job.priority, int):
        return np.full((job.iterations, len(parts)), job.priority, np.uint8)
    return priorities(
        parts,
        job.iterations,
        rate_bps=wire_rate_bps(scenario, scenario.network.rate),
        fragment_bytes=_LANE_BYTES * scenario.lanes,
        wire_bytes=wire_bytes(scenario.lanes),
        time_scale=job.scale if job.time_scale is None else job.time_scale,
        formula=_formula(scenario, job),
    )


def _formula(scenario: Scenario, job: JobSpec) -> PriorityFunction:
    if not isinstance(job.priority, tuple):
        return priority_function(policy(scenario.policy_of(job)), scenario.compares)
    factors = {factor: factor in job.priority for factor in FACTORS}
    return Classes() if job.priority == CLASSES else Priority(**factors)
