"""A scenario with what was measured of its jobs and of this machine, so that virtual time can be held to a live run.

    scenario = calibrated(scenario, {"mlp": measured_mlp, "cnn": measured_cnn})
    outcome = simulate(calibrated_plan(scenario, measured))

Both are the scenario that ran live: what is overridden is what it leaves to the machine that it runs on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from esa.protocol.timers import Timers
from esa.sim.plan import Plan
from esa.wire import packet_bytes
from experiments.live.timers import server_timers, worker_timers
from experiments.specs.jobs import INA, JobSpec
from experiments.specs.scenario import Scenario
from experiments.specs.toml_files import ScenarioError, parse_toml
from experiments.studies.calibration import Measured
from experiments.virtual.check import check_virtual
from experiments.virtual.job_buckets import trained_profile
from experiments.virtual.translate import plan_of
from topologies.single_rack import QUEUE_BYTES

# The way through a process: system calls, waking up, and 22 us of the switch's own (`make bench`). At a few Mb/s a
# packet takes a link ten times as long, and these hardly show.
HOST_NS = 20_000
SWITCH_NS = 50_000
MACHINE: Mapping[str, Any] = {
    "sample_us": 100_000.0,
    "switch_ns": SWITCH_NS,
    "send_ns": HOST_NS,
    "receive_ns": HOST_NS,
    "server_ns": HOST_NS,
    "cores": 2,  # an endpoint sends while it receives
    "framing_bytes": 0,  # Mininet's shaper counts Ethernet frames
    "mtu_bytes": 1500,
}


def calibrated(scenario: Scenario, measured: Mapping[str, Measured]) -> Scenario:
    """The scenario with this machine's costs, queues and timers where it says nothing of them. measured: by job.

    ScenarioError for what virtual time has no counterpart of, or captures do not show.
    """
    _check(scenario)
    network = scenario.network
    data = parse_toml(scenario.to_toml(), scenario.name)
    data["name"] = f"{scenario.name}-virtual"
    data["virtual"] = {**MACHINE, **scenario.virtual.model_dump(mode="json", exclude_unset=True)}
    data["network"] |= {
        "queue_packets": network.queue_packets or QUEUE_BYTES // packet_bytes(scenario.lanes),
        "delay_us": network.delay_us or 0.0,
    }
    data["timers"] |= _timers(worker_timers(scenario.timers), "rto") | _timers(
        worker_timers(scenario.timers), "overtaken"
    )
    data["timers"] |= _timers(server_timers(scenario.timers), "patience")
    data["timers"] |= _timers(server_timers(scenario.timers), "answer")
    data["models"] = [_model(spec, measured[spec.name].computing_s) for spec in scenario.job_specs]
    data["jobs"] = [
        job | {"model": f"{job['name']}-measured", "jitter": measured[job["name"]].jitter} for job in data["jobs"]
    ]
    return Scenario.of_table(data, None, f"{scenario.name} in virtual time", check_virtual)


def calibrated_plan(scenario: Scenario, measured: Mapping[str, Measured]) -> Plan:
    """The plan of a calibrated scenario, with the priorities that were measured."""
    plan = plan_of(scenario)
    for job in plan.jobs:
        if len(job.buckets) > 1:
            # Then a part of computing hides behind communication, and captures do not show how much.
            raise ScenarioError(f"{scenario.name}: job {job.name}: {len(job.buckets)} buckets; allowed: one")
    priority = [np.array(measured[job.name].priority, np.uint8).reshape(-1, 1) for job in plan.jobs]
    return replace(plan, jobs=tuple(replace(job, priority=each) for job, each in zip(plan.jobs, priority, strict=True)))


def _check(scenario: Scenario) -> None:
    if scenario.arrivals is not None:
        raise ScenarioError(f"{scenario.name}: arrivals: allowed: jobs, one by one")
    for spec in scenario.job_specs:
        where = f"{scenario.name}: job {spec.name}"
        if scenario.transport_of(spec) != INA:
            raise ScenarioError(f"{where}: transport: '{scenario.transport_of(spec)}'; allowed: {INA}")
        if spec.quantisation != "fixed":  # what is sent again depends on values, and virtual time has none
            raise ScenarioError(f"{where}: quantisation: '{spec.quantisation}'; allowed: fixed")
        if spec.iterations < 2:
            raise ScenarioError(f"{where}: iterations: {spec.iterations}; allowed: 2 and more")


def _model(spec: JobSpec, computing_s: float) -> dict[str, Any]:
    groups = trained_profile(spec.model, computing_s).groups
    return {
        "name": f"{spec.name}-measured",
        "bytes": [group.bytes for group in groups],
        "forward_ms": [group.forward_ns / 1e6 for group in groups],
        "backward_ms": [group.backward_ns / 1e6 for group in groups],
    }


def _timers(timers: Timers, name: str) -> dict[str, float]:
    """Those whose names begin so, as a scenario's keys."""
    return {f"{key[:-3]}_us": ns / 1e3 for key, ns in vars(timers).items() if key.startswith(name)}
