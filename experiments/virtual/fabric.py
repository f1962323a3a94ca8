"""A scenario's network as the simulator takes it: cables, switches, what hosts need for a packet, bad links."""

from __future__ import annotations

from esa.fabric import leaf_spine
from esa.net.impairment import LinkFaults
from esa.sim.plan import Fabric, HostCosts, Link
from esa.wire import WIRE_OVERHEAD_BYTES, packet_bytes
from experiments.specs.network import VIRTUAL_DELAY_US
from experiments.specs.scenario import Scenario

QUEUE_PACKETS = 4096
_US = 1000


def wire_bytes(lanes: int) -> int:
    """What a packet takes of a cable, preamble and gap included."""
    return packet_bytes(lanes) + WIRE_OVERHEAD_BYTES


def wire_rate_bps(scenario: Scenario, rate_bps: float) -> float:
    """The rate of a cable on which packets take as long as the scenario means, which may leave out what frames them."""
    framing_bytes = scenario.virtual.framing_bytes
    if framing_bytes == WIRE_OVERHEAD_BYTES:
        return rate_bps
    frame = packet_bytes(scenario.lanes)
    return rate_bps / 1e9 * (frame + WIRE_OVERHEAD_BYTES) / (frame + framing_bytes) * 1e9


def cable(scenario: Scenario) -> tuple[float, float]:
    """(bits/s, us) of a cable between a host and its switch."""
    network = scenario.network
    delay_us = VIRTUAL_DELAY_US if network.delay_us is None else network.delay_us
    return wire_rate_bps(scenario, network.rate), delay_us


def spine_cable(scenario: Scenario) -> tuple[float, float]:
    """(bits/s, us) of a cable between a leaf and a spine."""
    network = scenario.network
    rate_bps, delay_us = cable(scenario)
    if network.spine_rate is not None:
        rate_bps = wire_rate_bps(scenario, network.spine_rate)
    return rate_bps, delay_us if network.spine_delay_us is None else network.spine_delay_us


def fabric_of(scenario: Scenario) -> Fabric:
    """The network of a scenario."""
    network, virtual = scenario.network, scenario.virtual
    queue_packets = QUEUE_PACKETS if network.queue_packets is None else network.queue_packets

    def link(rate_bps: float, delay_us: float) -> Link:
        return Link(rate_bps, round(delay_us * _US), queue_packets)

    return Fabric(
        leaf_spine(
            network.rack_sizes or (len(scenario.host_names()),),
            link(*cable(scenario)),
            link(*spine_cable(scenario)),
            spines=network.spines,
        ),
        switch_ns=virtual.switch_ns,
        ecn_packets=network.ecn_packets,
        gpus=virtual.gpus,
        costs=HostCosts(virtual.send_ns, virtual.receive_ns, virtual.server_ns, virtual.cores),
        faults=_faults(scenario),
    )


def own_places(scenario: Scenario) -> dict[str, tuple[int, ...]]:
    """By job, the hosts that are its workers' and its PS's own; empty where jobs share the hosts there are."""
    if not scenario.own_hosts:
        return {}
    free = iter(range(len(scenario.host_names())))
    return {job.name: tuple(next(free) for _ in range(job.workers + 1)) for job in scenario.job_specs}


def _faults(scenario: Scenario) -> dict[int, LinkFaults]:
    """By host: what its link does to packets on purpose."""
    links = map(scenario.link_faults, scenario.host_names())
    return {number: faults for number, faults in enumerate(links) if faults is not None}
