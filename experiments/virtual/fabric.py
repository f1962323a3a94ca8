"""A scenario's network as the simulator takes it: cables, switches, what hosts need for a packet, bad links."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from esa.fabric import Cable, Graph, fat_tree, leaf_spine
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
    """(bits/s, us) of a cable between a host and its switch, of those that are as most are."""
    network = scenario.network
    delay_us = VIRTUAL_DELAY_US if network.delay_us is None else network.delay_us
    return wire_rate_bps(scenario, network.rate), delay_us


def spine_cable(scenario: Scenario) -> tuple[float, float]:
    """(bits/s, us) of a cable between switches."""
    network = scenario.network
    rate_bps, delay_us = cable(scenario)
    if network.spine_rate is not None:
        rate_bps = wire_rate_bps(scenario, network.spine_rate)
    return rate_bps, delay_us if network.spine_delay_us is None else network.spine_delay_us


def slowest_cable(scenario: Scenario) -> tuple[float, float]:
    """(bits/s, us) that no host's cable is slower or longer than."""
    network = scenario.network
    rates = (network.rate, *network.rates.values(), *([network.server_rate] if network.server_rate else []))
    return wire_rate_bps(scenario, min(rates)), network.longest_delay_us


def fabric_of(scenario: Scenario) -> Fabric:
    """The network of a scenario."""
    network, virtual = scenario.network, scenario.virtual
    queue_packets = QUEUE_PACKETS if network.queue_packets is None else network.queue_packets

    def link(rate_bps: float, delay_us: float) -> Link:
        return Link(rate_bps, round(delay_us * _US), queue_packets)

    host_link, switch_link = link(*cable(scenario)), link(*spine_cable(scenario))
    sizes = tuple(network.rack_sizes or (len(scenario.host_names()),))
    graph = _graph(network.fat_tree, sizes, host_link, switch_link, network.spines)
    return Fabric(
        _with_own_links(scenario, graph),
        switch_ns=virtual.switch_ns,
        ecn_packets=network.ecn_packets,
        gpus=virtual.gpus,
        costs=HostCosts(virtual.send_ns, virtual.receive_ns, virtual.server_ns, virtual.cores),
        faults=_faults(scenario),
    )


@lru_cache(maxsize=64)  # a sweep's points have few networks between them
def _graph(k: int | None, sizes: tuple[int, ...], host_link: Link, switch_link: Link, spines: int) -> Graph:
    """k: of a fat tree; sizes: of racks, where there is none."""
    if k is not None:
        return fat_tree(k, host_link, switch_link)
    return leaf_spine(sizes, host_link, switch_link, spines=spines)


def _with_own_links(scenario: Scenario, graph: Graph) -> Graph:
    """The rates and delays of single cables."""
    network = scenario.network
    if not (network.rates or network.server_rate or network.delays_us or network.delay_spread_us):
        return graph
    names = scenario.host_names()
    rates = {names[host]: network.server_rate for host in server_hosts(scenario) if network.server_rate}
    rates |= network.rates
    drawn = np.random.Generator(np.random.PCG64([scenario.seed, 0xCAB1E])).random(len(graph.cables))

    def own(number: int, old: Cable) -> Cable:
        link = old.link
        host = names[old.lower.node] if old.lower.node < graph.hosts else None
        if host in rates:
            link = link._replace(rate_bps=wire_rate_bps(scenario, rates[host]))
        if host in network.delays_us:
            link = link._replace(delay_ns=round(network.delays_us[host] * _US))
        longer_ns = round(drawn[number] * network.delay_spread_us * _US)
        return old._replace(link=link._replace(delay_ns=link.delay_ns + longer_ns))

    return replace(graph, cables=tuple(own(number, old) for number, old in enumerate(graph.cables)))


def server_hosts(scenario: Scenario) -> list[int]:
    """The hosts that are PSs'; ValueError, its first word the key, where the scheduler decides that."""
    jobs = [job for job in scenario.job_specs if scenario.has_server(job)]
    places = own_places(scenario) or {job.name: job.hosts for job in jobs}
    if None in places.values() and scenario.network.server_rate is not None:
        raise ValueError(
            "network.server_rate: the scheduler chooses PSs' hosts; allowed: network.rates, or hosts in every job"
        )
    if scenario.network.server_rate is not None and any(job.servers_on == "workers" for job in jobs):
        raise ValueError("network.server_rate: PSs on workers' hosts have their links; allowed: servers_on = 'hosts'")
    return [host for job in jobs for host in (places[job.name] or ())[job.workers :]]


def own_places(scenario: Scenario) -> dict[str, tuple[int, ...]]:
    """By job, the hosts that are its workers' and its PSs' own; empty where jobs share the hosts there are."""
    if not scenario.own_hosts:
        return {}
    free = iter(range(len(scenario.host_names())))
    return {job.name: tuple(next(free) for _ in range(job.workers + job.own_servers)) for job in scenario.job_specs}


def _faults(scenario: Scenario) -> dict[int, LinkFaults]:
    """By host: what its link does to packets on purpose."""
    links = map(scenario.link_faults, scenario.host_names())
    return {number: faults for number, faults in enumerate(links) if faults is not None}
