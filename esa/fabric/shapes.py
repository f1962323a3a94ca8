"""The shapes of networks that there are: one rack, racks under spines, a fat tree.

Node n is 10.0.0.1 + n, with a MAC of the same number; hosts are numbered rack by rack.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

from esa.fabric.graph import Cable, End, Graph, Link, Node

FIRST_ADDRESS = IPv4Address("10.0.0.1")
FIRST_MAC = 0x020000000001


def ip_of(node: int) -> IPv4Address:
    return FIRST_ADDRESS + node


def mac_of(node: int) -> str:
    return (FIRST_MAC + node).to_bytes(6, "big").hex(":")


def _node(number: int, name: str, tier: int = 0, spread: int = 0) -> Node:
    return Node(name, mac_of(number), ip_of(number), tier, spread)


def rack(links: Sequence[Link], *, first_port: int = 0) -> Graph:
    """Hosts behind one switch, each on its link; host h is behind port `first_port` + h."""
    hosts = len(links)
    if not hosts:
        raise ValueError("links: none; allowed: one for each host, 1 or more")
    return Graph(
        (*(_node(host, f"host-{host}", spread=host) for host in range(hosts)), _node(hosts, "switch-0", 1)),
        tuple(Cable(End(host, 0), End(hosts, first_port + host), link) for host, link in enumerate(links)),
    )


def leaf_spine(racks: Sequence[int], link: Link, spine_link: Link | None = None, *, spines: int = 1) -> Graph:
    """Racks of so many hosts, each rack's switch on every spine. One rack needs no spine, and has none.

    Port k of a rack's switch is its k-th host, behind them the spines; port r of a spine is rack r. Frames to host h
    take spine h modulo the spines, those to rack r's switch spine r modulo the spines. spine_link: as `link` if absent.
    """
    if not racks or min(racks) < 1 or spines < 1:
        raise ValueError(f"racks: hosts {list(racks)}, {spines} spines; allowed: 1 or more of each")
    if len(racks) == 1:
        return rack([link] * racks[0])
    hosts = sum(racks)
    rack_of = [number for number, size in enumerate(racks) for _ in range(size)]
    nodes = [_node(host, f"host-{host}", spread=host) for host in range(hosts)]
    nodes += [_node(hosts + number, f"rack-{number}", 1, number) for number in range(len(racks))]
    nodes += [_node(hosts + len(racks) + spine, f"spine-{spine}", 2) for spine in range(spines)]
    cables = [
        Cable(End(host, 0), End(hosts + number, host - sum(racks[:number])), link)
        for host, number in enumerate(rack_of)
    ]
    for number, size in enumerate(racks):
        for spine in range(spines):
            upper = End(hosts + len(racks) + spine, number)
            cables.append(Cable(End(hosts + number, size + spine), upper, spine_link or link))
    return Graph(tuple(nodes), tuple(cables))


def fat_tree(k: int, link: Link, fabric_link: Link | None = None) -> Graph:
    """k pods of k/2 edge switches, each with k/2 hosts, and k/2 aggregation switches; (k/2)**2 core switches above.

    All switches have k ports, the lower half of an edge or aggregation switch downwards (Al-Fares, Loukissas, Vahdat,
    SIGCOMM 2008). fabric_link: of cables between switches, as `link` if absent. Frames to host h take aggregation
    switch h modulo k/2, and of the core switches above it number h // (k/2) modulo k/2.
    """
    if k < 2 or k % 2:
        raise ValueError(f"k: {k}; allowed: an even number, 2 or more")
    half = k // 2
    hosts, edges, cores = k * half * half, k * half, half * half
    first_aggregation = hosts + edges
    first_core = first_aggregation + edges
    nodes = [_node(host, f"host-{host}", spread=host) for host in range(hosts)]
    nodes += [_node(hosts + edge, f"edge-{edge}", 1, edge) for edge in range(edges)]
    nodes += [_node(first_aggregation + number, f"aggregation-{number}", 2, number) for number in range(edges)]
    nodes += [_node(first_core + core, f"core-{core}", 3) for core in range(cores)]
    cables = [Cable(End(host, 0), End(hosts + host // half, host % half), link) for host in range(hosts)]
    for edge in range(edges):
        pod, place = divmod(edge, half)
        for up in range(half):
            upper = End(first_aggregation + pod * half + up, place)
            cables.append(Cable(End(hosts + edge, half + up), upper, fabric_link or link))
    for aggregation in range(edges):
        pod, place = divmod(aggregation, half)
        for up in range(half):
            upper = End(first_core + place * half + up, pod)
            cables.append(Cable(End(first_aggregation + aggregation, half + up), upper, fabric_link or link))
    return Graph(tuple(nodes), tuple(cables))
