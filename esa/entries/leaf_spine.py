"""Table entries of a network's routes, and a leaf-spine network as jobs' entries see it.

items = forwarding_items(graph)   # by the switch's address
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from typing import NamedTuple, TypeAlias

from esa.entries import job_entries as e
from esa.entries.job_entries import Entry, Group
from esa.errors import BadInput
from esa.fabric.graph import Graph
from esa.job import Rack

Items: TypeAlias = list[Entry | Group]


class Switch(NamedTuple):
    """A switch as others address it: sums and partials come from `ip`; REMINDERs go to it, in frames to `mac`."""

    ip: IPv4Address
    mac: str


class Host(NamedTuple):
    """An end host, behind `port` of rack switch number `rack`; frames to it from other racks take spine `spine`."""

    mac: str
    rack: int
    port: int
    spine: int = 0


@dataclass(frozen=True)
class LeafSpine:
    """A graph of rack switches, each with a link to every spine; rack r is behind port r of each. One needs no spine.

    BadInput if the graph has another shape.
    """

    graph: Graph

    def __post_init__(self) -> None:
        graph = self.graph
        if graph.tiers > 2:
            raise BadInput(f"network: {graph.tiers} tiers of switches; sums are made over racks and spines alone")
        if len(graph.tier(1)) > 1 and not graph.tier(2):
            raise BadInput(f"spines: {len(graph.tier(1))} racks and no spine; several racks need one")
        if set(graph.hosts_of) - set(graph.tier(1)):
            raise BadInput("hosts: one hangs on a spine; allowed: on rack switches")
        for spine in graph.tier(2):
            below = [(port, peer.node) for port, peer in graph.ports(spine)]
            if below != list(enumerate(graph.tier(1))):
                raise BadInput(
                    f"network: {graph.nodes[spine].name} has not rack r, of {len(graph.tier(1))}, behind port r alone"
                )

    @cached_property
    def racks(self) -> tuple[Switch, ...]:
        return tuple(Switch(self.graph.nodes[rack].ip, self.graph.nodes[rack].mac) for rack in self.graph.tier(1))

    @cached_property
    def spines(self) -> tuple[Switch, ...]:
        return tuple(Switch(self.graph.nodes[spine].ip, self.graph.nodes[spine].mac) for spine in self.graph.tier(2))

    @cached_property
    def hosts(self) -> tuple[Host, ...]:
        graph, first = self.graph, self.graph.hosts
        return tuple(
            Host(graph.nodes[host].mac, graph.switch_of[host] - first, graph.port_to_host(host), self._spine_to(host))
            for host in range(graph.hosts)
        )

    def uplink(self, rack: int, spine: int) -> int:
        """The port of a rack switch that a spine is behind."""
        return self._uplinks[rack, spine]

    @cached_property
    def _uplinks(self) -> dict[tuple[int, int], int]:
        racks, first = self.graph.tier(1), self.graph.hosts
        return {
            (rack - first, peer.node - first - len(racks)): port
            for rack in racks
            for port, peer in self.graph.ports(rack)
            if peer.node >= first
        }

    def spine_to(self, rack: int) -> int:
        """The spine that frames to a rack switch itself take."""
        return self._spine_to(self.graph.hosts + rack)

    def _spine_to(self, node: int) -> int:
        """The spine that frames to a node from other racks take: the same from each."""
        return self.graph.nodes[node].spread % max(len(self.spines), 1)

    @cached_property
    def host(self) -> dict[str, Host]:
        """By MAC address."""
        return {host.mac: host for host in self.hosts}


class Spread(NamedTuple):
    """Where a job is on a network, as its description says it: by member the port of its rack's switch, then switches.

    racks: none if its workers are all in one; switch_ip: its root then, else that rack's switch.
    """

    ports: tuple[int, ...]
    racks: tuple[Rack, ...]
    switch_ip: IPv4Address


def spread(network: LeafSpine, macs: Sequence[str], servers: int = 1) -> Spread:
    """A job whose workers, rack by rack, and then its PSs, so many, are the hosts with these MAC addresses."""
    places = [network.host[mac] for mac in macs]
    of_workers = [place.rack for place in places[:-servers]]
    several = sorted(set(of_workers), key=of_workers.index) if len(set(of_workers)) > 1 else []
    switch = network.spines[places[-1].spine] if several else network.racks[of_workers[0]]
    racks = (Rack(workers=of_workers.count(rack), switch_ip=network.racks[rack].ip) for rack in several)
    return Spread(tuple(place.port for place in places), tuple(racks), switch.ip)


def check_distinct(what: str, values: Iterable[object]) -> None:
    """BadInput if a value comes twice."""
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise BadInput(f"{what}: {value} is given twice")
        seen.add(value)


def forwarding_items(graph: Graph) -> dict[IPv4Address, Items]:
    """By the switch's address: where frames to each host and switch go, and those that are for everybody."""
    return {
        graph.nodes[switch].ip: _forward(
            {graph.nodes[to].mac: port for to, port in graph.routes[switch].items()}, graph.flood_ports(switch)
        )
        for switch in graph.switches
    }


def _forward(ports: Mapping[str, int], flood: Iterable[int]) -> Items:
    group = e.flood_group(flood)
    flooding: Items = [group, e.broadcast_entry()] if group.replicas else []
    return [*flooding, *(e.host_entry(mac, port) for mac, port in ports.items())]
