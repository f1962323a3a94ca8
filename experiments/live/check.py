"""What Mininet cannot do of a scenario, refused in one line that names the key and what is allowed."""

from __future__ import annotations

from pathlib import Path

from esa.fabric import Link, leaf_spine, rack
from esa.job import MAX_FAN_IN
from esa.program import program
from experiments.live.places import places
from experiments.live.timers import check_order
from experiments.specs.failures import check_flows, check_switches
from experiments.specs.jobs import GLOO, INA, JobSettings, JobSpec
from experiments.specs.models import TRAINED, TRAINING_SAMPLES
from experiments.specs.rate import rate_text
from experiments.specs.scenario import Scenario

MAX_HOSTS = 253  # of a network; `topologies.network`, which root alone can use, has the same
MAX_BPS = 1e9  # of a link that Mininet shapes
LIVE_TRANSPORTS = (INA, GLOO)
_KERNEL_HAS = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
_WHOLE_MODELS = ("scale", "time_scale", "order", "priority", "servers_on")  # what a live run has one of


def check_live(scenario: Scenario) -> None:
    """ValueError, its first word the key, unless the scenario can run on Mininet."""
    scenario.live.check_installed()
    _check_network(scenario)
    for i, job in enumerate(scenario.job_specs):
        try:
            _check_job(scenario, job)
            if scenario.transport_of(job) not in LIVE_TRANSPORTS:
                live = ", ".join(LIVE_TRANSPORTS)
                raise ValueError(f"transport: '{scenario.transport_of(job)}' is for virtual time; allowed: {live}")
        except ValueError as error:
            raise ValueError(f"{f'jobs[{i}]' if scenario.jobs else 'arrivals'}.{error}") from None
    _check_hosts(scenario)
    _check_delay(scenario)
    for i, fault in enumerate(scenario.faults):
        if fault.where == "switch" and scenario.live.switch != "embedded":
            raise ValueError(
                f"faults[{i}].where: '{scenario.live.switch}' has no faults; allowed: 'hosts', or switch 'embedded'"
            )
    check_switches(scenario.failures, _switch_names(scenario))
    check_flows(scenario.failures, scenario.flows)
    for i, flow in enumerate(scenario.flows):
        if flow.rate is not None and flow.rate > MAX_BPS:
            raise ValueError(f"flows[{i}].rate: {rate_text(flow.rate)}; allowed: at most {rate_text(MAX_BPS)} live")
        if flow.congestion is not None and flow.congestion not in (known := _KERNEL_HAS.read_text().split()):
            raise ValueError(
                f"flows[{i}].congestion: '{flow.congestion}'; allowed: what this kernel has, {', '.join(known)}"
            )
    check_order(scenario.timers)
    scenario.check_memory(program(scenario.lanes).aggregators, scenario.lanes)


def _switch_names(scenario: Scenario) -> list[str]:
    network, link = scenario.network, Link(scenario.network.rate)
    graph = leaf_spine(network.rack_sizes or (), link, spines=network.spines) if network.leaf_spine else rack([link])
    return [graph.nodes[switch].name for switch in graph.switches]


def _check_network(scenario: Scenario) -> None:
    network = scenario.network
    rates = {"rate": network.rate, "server_rate": network.server_rate or network.rate}
    rates["spine_rate"] = network.spine_rate or network.rate
    for name, rate in (rates | {f"rates.{host}": rate for host, rate in network.rates.items()}).items():
        if rate > MAX_BPS:
            raise ValueError(f"network.{name}: {rate_text(rate)}; allowed: at most {rate_text(MAX_BPS)} live")
    if network.fat_tree is not None:
        raise ValueError("network.fat_tree: live runs have none; allowed: network.hosts, or virtual time")
    for name in ("delays_us", "delay_spread_us"):
        if getattr(network, name):
            raise ValueError(f"network.{name}: live, all cables are alike; allowed: network.delay_us, or virtual time")
    if network.ecn_packets is not None and scenario.live.switch != "embedded":
        raise ValueError(
            f"network.ecn_packets: ports of '{scenario.live.switch}' have a rate in packets, whatever their length, "
            "and so no link's queue; allowed: switch 'embedded', or virtual time"
        )
    if network.ecn_packets is not None and network.leaf_spine:
        raise ValueError("network.ecn_packets: live, one switch marks; allowed: network.hosts, or virtual time")
    spine_delay_us = network.delay_us if network.spine_delay_us is None else network.spine_delay_us
    if network.leaf_spine and spine_delay_us and scenario.live.switch != "embedded":
        raise ValueError(
            f"network.spine_delay_us: {spine_delay_us:g}, and '{scenario.live.switch}' delays nothing; "
            f"allowed: 0, or switch 'embedded'"
        )


def _check_job(scenario: Scenario, job: JobSpec) -> None:
    if job.model not in TRAINED:
        raise ValueError(f"model: '{job.model}' is for virtual time; allowed: {', '.join(TRAINED)}")
    if job.workers > MAX_FAN_IN and not scenario.network.leaf_spine:
        raise ValueError(f"workers: {job.workers}; allowed: 1 to {MAX_FAN_IN} behind one switch")
    if job.workers * job.batch_size > TRAINING_SAMPLES:
        raise ValueError(
            f"batch_size: {job.workers} workers x {job.batch_size} samples; allowed: {TRAINING_SAMPLES} together"
        )
    for name in _WHOLE_MODELS:
        default = JobSettings.model_fields[name].default
        if getattr(job, name) != default:
            raise ValueError(f"{name}: is for virtual time; allowed: {default!r} live")


def _check_hosts(scenario: Scenario) -> None:
    count = len(scenario.host_names())
    if count > MAX_HOSTS:
        key = "jobs" if scenario.own_hosts else "network.racks" if scenario.network.leaf_spine else "network.hosts"
        where = "together" if scenario.network.leaf_spine else "in one rack"
        raise ValueError(f"{key}: {count} hosts; allowed: live, {MAX_HOSTS} {where}")
    places(scenario)


def _check_delay(scenario: Scenario) -> None:
    """Hosts delay ESA's packets, not TCP's."""
    if scenario.network.delay_us and scenario.flows:
        raise ValueError("network.delay_us: live, flows are not delayed; allowed: without flows")
    if scenario.network.delay_us and scenario.admission:
        raise ValueError("admission: true; live, network.delay_us does not delay rings; allowed: false, or no delay_us")
    if scenario.network.delay_us and any(scenario.transport_of(job) == GLOO for job in scenario.job_specs):
        raise ValueError(f"network.delay_us: live, '{GLOO}' is not delayed; allowed: with transport 'ina'")
