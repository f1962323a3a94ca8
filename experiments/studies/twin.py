"""A scenario's twin: the same jobs on the same network in virtual time.

    summary, outcome = twin(scenario, {"mlp": measured_mlp, "cnn": measured_cnn}).evaluate()

What a twin needs beyond the scenario is measured (`calibration`); the rest follows from the scenario and from the
settings of the real endpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from esa.protocol.timers import Timers
from esa.report import Summary
from esa.sim import simulate
from esa.sim.plan import WIRE_OVERHEAD_BYTES, Outcome, Plan
from esa.wire import packet_bytes
from esa.workloads import layers, measured_profile
from experiments.live.train import RESEND_FLOOR_NS
from experiments.specs.scenario import GLOO, JobSpec, Scenario
from experiments.specs.simulation import Simulation
from experiments.specs.toml_files import ScenarioError
from experiments.studies.calibration import Measured
from experiments.virtual.simulate import summarise
from experiments.virtual.simulation_plan import plan_of
from topologies.single_rack import QUEUE_BYTES

BACKWARD_PART = 2 / 3  # of computing: it multiplies twice for each multiplication of the forward pass
# The way through a process: system calls, waking up, and 22 us of the switch's own (`make bench`). At a few Mb/s a
# packet takes a link ten times as long, and these hardly show.
HOST_NS = 20_000
SWITCH_NS = 50_000
SAMPLE_US = 100_000.0


@dataclass(frozen=True)
class Twin:
    """A simulation, and its plan with the priorities that were measured."""

    simulation: Simulation
    plan: Plan

    def evaluate(self) -> tuple[Summary, Outcome]:
        outcome = simulate(self.plan)
        return summarise(self.simulation, outcome), outcome


def twin(scenario: Scenario, measured: Mapping[str, Measured]) -> Twin:
    """The scenario in virtual time. measured: by job.

    Link rate: Mininet's shaper counts Ethernet frames, a simulated cable also what lies between them; the rate is
    raised by as much. Queues: as long as the shaper's. Timers: those of the real endpoints. Buckets: DDP's rule. A
    delay of all links becomes the cables'. ScenarioError for what virtual time has no counterpart of.
    """
    _check(scenario)
    frame = packet_bytes(scenario.lanes)
    free = iter(range(len(scenario.host_names())))
    data = {
        "name": f"{scenario.name}-virtual",
        "seed": scenario.seed,
        "policy": scenario.policy,
        "wire_lanes": scenario.lanes,
        "aggregators": scenario.aggregators,
        "sample_us": SAMPLE_US,
        "network": {
            "hosts": len(scenario.host_names()),
            "gbps": _link_rate_mbps(scenario) / 1e3 * (frame + WIRE_OVERHEAD_BYTES) / frame,
            "delay_us": _link_delay_ms(scenario) * 1e3,
            "queue_packets": QUEUE_BYTES // frame,
            "switch_ns": SWITCH_NS,
        },
        "hosts": {"send_ns": HOST_NS, "receive_ns": HOST_NS, "server_ns": HOST_NS},
        "timers": _timers() | {"give_up_s": scenario.give_up_s},
        "models": [_model(spec, measured[spec.name].computing_s) for spec in scenario.jobs],
        "jobs": [
            {
                "name": spec.name,
                "model": spec.name,
                "workers": spec.workers,
                "iterations": spec.iterations,
                "window": spec.window,
                "bucket_cap_mb": spec.bucket_cap_mb,
                "submit_s": spec.submit_s,
                "jitter": measured[spec.name].jitter,
                "policy": spec.policy,
                "pool": spec.pool,
                "hosts": [next(free) for _ in range(spec.workers + 1)],
            }
            for spec in scenario.jobs
        ],
    }
    simulation = Simulation.of_table(data, None, f"{scenario.name} in virtual time")
    plan = plan_of(simulation)
    for job in plan.jobs:
        if len(job.buckets) > 1:
            # Then a part of computing hides behind communication, and captures do not show how much.
            raise ScenarioError(f"{scenario.name}: job {job.name}: {len(job.buckets)} buckets; allowed: one")
    priority = [np.array(measured[job.name].priority, np.uint8).reshape(-1, 1) for job in plan.jobs]
    jobs = tuple(replace(job, priority=each) for job, each in zip(plan.jobs, priority, strict=True))
    return Twin(simulation, replace(plan, jobs=jobs))


def _check(scenario: Scenario) -> None:
    for spec in scenario.jobs:
        where = f"{scenario.name}: job {spec.name}"
        if scenario.policy_of(spec) == GLOO:
            raise ScenarioError(f"{where}: policy: '{GLOO}'; allowed: policies of the switch")
        if spec.quantisation != "fixed":  # what is sent again depends on values, and virtual time has none
            raise ScenarioError(f"{where}: quantisation: '{spec.quantisation}'; allowed: fixed")
        if spec.iterations < 2:
            raise ScenarioError(f"{where}: iterations: {spec.iterations}; allowed: 2 and more")


def _link_rate_mbps(scenario: Scenario) -> float:
    rates = {scenario.bandwidth_mbps(host) for host in scenario.host_names()}
    if len(rates) != 1:
        several = ", ".join(f"{rate:g}" for rate in sorted(rates))
        raise ScenarioError(f"{scenario.name}: links of {several} Mb/s; allowed: the same rate for all")
    return rates.pop()


def _link_delay_ms(scenario: Scenario) -> float:
    if not scenario.faults:
        return 0.0
    fault = scenario.faults[0]
    asked = fault.model_dump(exclude_defaults=True)
    if len(scenario.faults) > 1 or asked.keys() - {"delay_ms"} != {"link"} or fault.link != "all":
        raise ScenarioError(f"{scenario.name}: faults: allowed: one delay_ms, of link 'all', and nothing else")
    return fault.delay_ms


def _model(spec: JobSpec, each_s: float) -> dict[str, Any]:
    profile = measured_profile(spec.name, layers(spec.model), each_s * (1 - BACKWARD_PART), each_s * BACKWARD_PART)
    return {
        "name": spec.name,
        "bytes": [group.bytes for group in profile.groups],
        "forward_ms": [group.forward_ns / 1e6 for group in profile.groups],
        "backward_ms": [group.backward_ns / 1e6 for group in profile.groups],
    }


def _timers() -> dict[str, Any]:
    """Those of `experiments.live.train` and of `esa.hosts`, which leave most to the defaults."""
    default = Timers()
    return {
        "rto_initial_us": RESEND_FLOOR_NS / 1e3,
        "rto_floor_us": RESEND_FLOOR_NS / 1e3,
        "rto_ceiling_us": default.rto_ceiling_ns / 1e3,
        "overtaken_floor_us": default.overtaken_floor_ns / 1e3,
        "patience_initial_us": default.patience_initial_ns / 1e3,
        "patience_floor_us": default.patience_floor_ns / 1e3,
        "patience_ceiling_us": default.patience_ceiling_ns / 1e3,
        "ask_ahead": default.ask_ahead,
    }
