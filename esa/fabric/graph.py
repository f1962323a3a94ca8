"""A network as plain values: nodes with their addresses, ports, cables, and the way that frames take.

    graph = leaf_spine((4, 4), Link(100e9, 1000, 1024), spines=2)
    graph.route(switch, to=5)           # the port by which frames to node 5 leave a switch
    graph.peer(End(switch, port))       # what is behind that port

It knows which ports are joined by which cables, how fast, long and deep these are, who is called what, and which of
several equal ways frames to a node take. It does not know what runs on it: no jobs, no P4 program and its tables, no
time, no Mininet and no simulation. `topologies` builds a graph of namespaces and veth pairs, the simulator wires it,
`esa.entries` makes table entries of its routes, and a placement asks it who shares a switch.

Nodes are numbered: hosts first, then switches, tier by tier from below. Tier 0 is the hosts, tier 1 the switches that
these hang on, and so on; a cable joins a node to one of a higher tier. Frames go up until the node is below, and then
down, never up again; so no way has a loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from typing import NamedTuple

MAX_PORT = 510  # of a v1model switch: 511 drops


class Link(NamedTuple):
    """Both directions of a cable.

    rate_bps: bits per second; math.inf: as fast as whatever builds it can. delay_ns: propagation. queue_packets: that
    may wait at a switch's end; one more is lost. Hosts do not drop.
    """

    rate_bps: float
    delay_ns: int = 0
    queue_packets: int = 1024


class Node(NamedTuple):
    """A host or a switch.

    spread: where several ways to the node are equally short, frames to it take the one of this number, modulo how many
    there are; a tier further up the quotient counts. It stands for the hash of a flow, one for each destination.
    """

    name: str
    mac: str
    ip: IPv4Address
    tier: int = 0
    spread: int = 0


class End(NamedTuple):
    """One end of a cable: a port of a node."""

    node: int
    port: int


class Cable(NamedTuple):
    """`lower` is the end in the lower tier."""

    lower: End
    upper: End
    link: Link


@dataclass(frozen=True)
class Graph:
    """Nodes and cables; ValueError, one line, where they do not fit together.

    Lists are in the order of the nodes' numbers, ports in that of theirs.
    """

    nodes: tuple[Node, ...]
    cables: tuple[Cable, ...]

    def __post_init__(self) -> None:
        tiers = [node.tier for node in self.nodes]
        if not tiers or tiers[0] != 0 or tiers != sorted(tiers) or set(tiers) != set(range(tiers[-1] + 1)):
            raise ValueError(f"nodes: tiers {sorted(set(tiers))}; allowed: hosts, 0, then switches from 1 on, in order")
        for what in ("name", "mac", "ip"):
            _check_distinct(what, (getattr(node, what) for node in self.nodes))
        for node in self.nodes:
            if node.spread < 0:
                raise ValueError(f"spread: {node.spread} of {node.name}; allowed: 0 or more")
        ends = [end for cable in self.cables for end in (cable.lower, cable.upper)]
        for end in ends:
            if not 0 <= end.node < len(self.nodes):
                raise ValueError(f"cables: node {end.node}; allowed: 0 to {len(self.nodes) - 1}")
            if not 0 <= end.port <= MAX_PORT:
                raise ValueError(f"port: {end.port} of {self.nodes[end.node].name}; allowed: 0 to {MAX_PORT}")
        _check_distinct("port", (f"{end.port} of {self.nodes[end.node].name}" for end in ends))
        for cable in self.cables:
            lower, upper = self.nodes[cable.lower.node], self.nodes[cable.upper.node]
            if lower.tier >= upper.tier:
                raise ValueError(f"cables: {lower.name} to {upper.name}; allowed: to a higher tier")
            if not cable.link.rate_bps > 0 or cable.link.delay_ns < 0 or cable.link.queue_packets < 1:
                raise ValueError(
                    f"cables: {lower.name} to {upper.name}: {cable.link}; allowed: a rate above 0, a delay of 0 or "
                    f"more, a queue of 1 or more"
                )
        for host in range(self.hosts):
            if len(self._peers[host]) != 1:
                raise ValueError(f"cables: {len(self._peers[host])} of {self.nodes[host].name}; allowed: a host has 1")

    @cached_property
    def hosts(self) -> int:
        """How many there are; host h is node h."""
        return sum(node.tier == 0 for node in self.nodes)

    @property
    def switches(self) -> range:
        """The switches' numbers."""
        return range(self.hosts, len(self.nodes))

    def tier(self, number: int) -> list[int]:
        """The nodes of a tier."""
        return [node for node, known in enumerate(self.nodes) if known.tier == number]

    @property
    def tiers(self) -> int:
        """Of switches."""
        return self.nodes[-1].tier

    @cached_property
    def switch_of(self) -> tuple[int, ...]:
        """The switch that each host hangs on."""
        return tuple(self._peers[host][0][1].node for host in range(self.hosts))

    @cached_property
    def hosts_of(self) -> Mapping[int, tuple[int, ...]]:
        """By switch that hosts hang on: its hosts."""
        found: dict[int, list[int]] = {}
        for host, switch in enumerate(self.switch_of):
            found.setdefault(switch, []).append(host)
        return {switch: tuple(found[switch]) for switch in sorted(found)}

    def port_to_host(self, host: int) -> int:
        """The port of its switch that a host is behind."""
        return self._peers[host][0][1].port

    def ports(self, node: int) -> list[tuple[int, End]]:
        """(port, what is behind it) of a node."""
        return self._peers[node]

    def peer(self, end: End) -> End | None:
        """The other end of the cable, None where there is none."""
        return dict(self._peers[end.node]).get(end.port)

    @cached_property
    def _peers(self) -> list[list[tuple[int, End]]]:
        found: list[list[tuple[int, End]]] = [[] for _ in self.nodes]
        for lower, upper, _ in self.cables:
            found[lower.node].append((lower.port, upper))
            found[upper.node].append((upper.port, lower))
        return [sorted(peers) for peers in found]

    def route(self, switch: int, to: int) -> int | None:
        """The port by which frames to a node leave a switch; None where there is no way."""
        return self.routes[switch].get(to)

    @cached_property
    def routes(self) -> Mapping[int, Mapping[int, int]]:
        """By switch and destination: the port."""
        found: dict[int, dict[int, int]] = {switch: {} for switch in self.switches}
        for to in range(len(self.nodes)):
            for switch, port in self._ways(to):
                found[switch][to] = port
        return found

    def _ways(self, to: int) -> Iterator[tuple[int, int]]:
        """(switch, port) of those that have a way to a node."""
        below = {to: 0}  # who reaches it by going down alone, in how many steps
        for node in self._upwards:
            steps = [below[peer.node] + 1 for _, peer in self._below(node) if peer.node in below]
            if steps and node != to:
                below[node] = min(steps)
                yield node, self._choice(node, to, self._below(node), below)
        reached = dict(below)
        for node in reversed(self._upwards):
            steps = [reached[peer.node] + 1 for _, peer in self._above(node) if peer.node in reached]
            if steps and node not in below:
                reached[node] = min(steps)
                yield node, self._choice(node, to, self._above(node), reached)

    @property
    def _upwards(self) -> range:
        return self.switches  # they are in the order of the tiers

    def _above(self, node: int) -> list[tuple[int, End]]:
        return [(port, peer) for port, peer in self._peers[node] if self.nodes[peer.node].tier > self.nodes[node].tier]

    def _below(self, node: int) -> list[tuple[int, End]]:
        return [(port, peer) for port, peer in self._peers[node] if self.nodes[peer.node].tier < self.nodes[node].tier]

    def _choice(self, node: int, to: int, peers: Iterable[tuple[int, End]], steps: Mapping[int, int]) -> int:
        """Of the shortest ways the destination's own."""
        known = [(steps[peer.node], peer.node, port) for port, peer in peers if peer.node in steps]
        equal = sorted((peer, port) for far, peer, port in known if far == min(known)[0])
        number = self.nodes[to].spread // int(len(equal) ** (self.nodes[node].tier - 1))
        return equal[number % len(equal)][1]

    def flood_ports(self, switch: int) -> list[int]:
        """The ports by which a switch passes on what is for everybody: together they make a tree to every host.

        Its root is the first switch of the highest tier; a switch that is not in the tree has none.
        """
        return self._flood.get(switch, [])

    @cached_property
    def _flood(self) -> dict[int, list[int]]:
        root = self.tier(self.tiers)[0]
        found: dict[int, list[int]] = {root: []}
        waiting = [root]
        while waiting:
            switch = waiting.pop(0)
            for port, peer in self._below(switch):
                if self.nodes[peer.node].tier == 0:
                    found[switch].append(port)
                elif peer.node not in found:
                    found[switch].append(port)
                    found[peer.node] = [peer.port]
                    waiting.append(peer.node)
        return found

    def under(self, switch: int) -> Graph:
        """A switch and its hosts alone."""
        hosts = self.hosts_of[switch]
        cables = [cable for cable in self.cables if cable.lower.node in hosts]
        number = {node: k for k, node in enumerate((*hosts, switch))}
        return Graph(
            (*(self.nodes[host] for host in hosts), self.nodes[switch]._replace(tier=1)),
            tuple(
                Cable(lower._replace(node=number[lower.node]), upper._replace(node=number[upper.node]), link)
                for lower, upper, link in cables
            ),
        )


def _check_distinct(what: str, values: Iterable[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what}: {value} is given twice")
        seen.add(value)
