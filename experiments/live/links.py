"""The cables of a live run: the network as a graph, rates and queues of Mininet's shaper or of the switch's ports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from esa.fabric import Graph, Link, leaf_spine
from esa.wire import packet_bytes
from experiments.live.places import places
from experiments.specs.network import spine_cable_name
from experiments.specs.scenario import Scenario
from topologies.interfaces import QUEUE_BYTES
from topologies.p4switch import port_counters_path
from topologies.single_rack import rack_graph


def network_graph(scenario: Scenario) -> Graph:
    """Hosts, switches and cables of a scenario; cables have no delay, what there is of it is added elsewhere."""
    rates, network = link_rates_mbps(scenario), scenario.network
    if not network.leaf_spine:
        return rack_graph(len(rates), rates)
    spine_link = Link(network.spine_rate or network.rate)
    graph = leaf_spine(network.rack_sizes or (), Link(network.rate), spine_link, spines=network.spines)
    of_hosts = {host: Link(rate * 1e6) for host, rate in enumerate(rates)}
    cables = (cable._replace(link=of_hosts.get(cable.lower.node, cable.link)) for cable in graph.cables)
    return Graph(graph.nodes, tuple(cables))


def links_of_ports(scenario: Scenario, graph: Graph) -> dict[int, dict[int, str]]:
    """By switch, in the order of `graph.switches`, and port: the link behind it, where this end of it has its faults.

    A host's is at its switch, a cable between switches at the lower one's.
    """
    names, first = scenario.host_names(), graph.hosts
    found: dict[int, dict[int, str]] = {number: {} for number in range(len(graph.switches))}
    racks = len(graph.tier(1))
    for lower, upper, _ in sorted(graph.cables):
        if lower.node < first:
            found[upper.node - first][upper.port] = names[lower.node]
        else:
            found[lower.node - first][lower.port] = spine_cable_name(lower.node - first, upper.node - first - racks)
    return found


def link_rates_mbps(scenario: Scenario) -> list[float]:
    """By host, Mb/s."""
    network = scenario.network
    of_job = places(scenario)
    with_servers = filter(scenario.has_server, scenario.job_specs)
    servers = {host for job in with_servers for host in of_job[job.name][job.workers :]}
    rates = [
        network.rates.get(host, (network.server_rate or network.rate) if number in servers else network.rate)
        for number, host in enumerate(scenario.host_names())
    ]
    return [rate / 1e6 for rate in rates]


def sending_s(scenario: Scenario, name: str, fragments: Sequence[int]) -> float:
    """What the workers' links need at least for so many fragments of each, once: the slowest one's time."""
    rates = link_rates_mbps(scenario)
    hosts = places(scenario)[name][: len(fragments)]
    bits = 8 * packet_bytes(scenario.lanes)
    return max(bits * sent / (1e6 * rates[host]) for host, sent in zip(hosts, fragments, strict=True))


def switch_queue_packets(scenario: Scenario) -> int | None:
    """That may wait at each port of the switch, which then has the links' rates; None: Mininet's links have them."""
    network = scenario.network
    if network.ecn_packets is None:
        return None
    return network.queue_packets or QUEUE_BYTES // packet_bytes(scenario.lanes)


def dropped(scenario: Scenario, logs: Path) -> int | None:
    """Packets that found the queue of a port full; None: the switch has none, or ended too early to tell."""
    path = port_counters_path(logs, "s1")
    if scenario.network.ecn_packets is None or not path.exists():
        return None
    return sum(int(port["queue_dropped"]) for port in json.loads(path.read_text()).values())


def queue_bytes(scenario: Scenario) -> int:
    """That may wait at each end of a link."""
    packets = scenario.network.queue_packets
    return QUEUE_BYTES if packets is None else packets * packet_bytes(scenario.lanes)
