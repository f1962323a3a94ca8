"""Graphs: shapes, ways that are short, spread and without loops, floods that reach everybody once, what is refused."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.fabric import Cable, End, Graph, Link, Node, fat_tree, leaf_spine, rack
from tests.effort import tries

LINK = Link(1e9, 1000, 64)
FAT = fat_tree(4, LINK)
graphs = st.one_of(
    st.integers(1, 9).map(lambda hosts: rack([LINK] * hosts)),
    st.builds(
        lambda racks, spines: leaf_spine(racks, LINK, spines=spines),
        st.lists(st.integers(1, 4), min_size=1, max_size=5),
        st.integers(1, 4),
    ),
    st.sampled_from([2, 4, 6]).map(lambda k: fat_tree(k, LINK)),
)


def way(graph: Graph, source: int, to: int) -> list[int]:
    """The switches from a host to another node."""
    nodes, here = [], graph.switch_of[source]
    while here != to:
        nodes.append(here)
        assert len(nodes) <= 2 * graph.tiers, f"{source} to {to} goes round: {nodes}"
        port = graph.route(here, to)
        assert port is not None, f"no way from {here} to {to}"
        peer = graph.peer(End(here, port))
        assert peer is not None
        here = peer.node
    return nodes


@settings(max_examples=tries(60), deadline=None)
@given(graphs)
def test_every_pair_of_hosts_has_a_way_up_and_then_down(graph: Graph) -> None:
    for source in range(graph.hosts):
        for to in range(graph.hosts):
            if source == to:
                continue
            tiers = [graph.nodes[switch].tier for switch in way(graph, source, to)]
            top = tiers.index(max(tiers))
            assert tiers == [*range(1, top + 2), *range(top, 0, -1)]
            if graph.switch_of[source] == graph.switch_of[to]:
                assert tiers == [1]


@settings(max_examples=tries(60), deadline=None)
@given(graphs, st.data())
def test_a_flood_reaches_every_host_once_and_ends(graph: Graph, data: st.DataObject) -> None:
    source = data.draw(st.integers(0, graph.hosts - 1))
    reached: Counter[int] = Counter()
    waiting = [End(graph.switch_of[source], graph.port_to_host(source))]
    for _ in range(10 * len(graph.nodes)):
        if not waiting:
            break
        node, came_by = waiting.pop()
        for port in graph.flood_ports(node):
            peer = graph.peer(End(node, port))
            if port == came_by or peer is None:
                continue
            if peer.node < graph.hosts:
                reached[peer.node] += 1
            else:
                waiting.append(peer)
    assert not waiting
    assert reached == Counter(set(range(graph.hosts)) - {source})


def test_a_fat_tree_is_as_it_is_in_the_paper() -> None:
    assert (FAT.hosts, [len(FAT.tier(tier)) for tier in (1, 2, 3)]) == (16, [8, 8, 4])
    assert all([port for port, _ in FAT.ports(switch)] == [0, 1, 2, 3] for switch in FAT.switches)
    for core in FAT.tier(3):  # one cable to every pod
        pods = [FAT.tier(2).index(peer.node) // 2 for _, peer in FAT.ports(core)]
        assert pods == [0, 1, 2, 3]
    assert [len(way(FAT, 0, to)) for to in (1, 2, 4)] == [1, 3, 5]


def test_ways_to_hosts_are_spread_over_all_cables_upwards() -> None:
    """From one pod to the twelve hosts of the others: each core switch takes as many, each cable up of an edge too."""
    used = Counter(way(FAT, 0, to)[2] for to in range(4, 16))
    assert used == dict.fromkeys(FAT.tier(3), 3)
    assert Counter(FAT.route(FAT.switch_of[0], to) for to in range(4, 16)) == {2: 6, 3: 6}
    spines = leaf_spine((4, 4), LINK, spines=2)
    assert [way(spines, 0, to)[1] - spines.tier(2)[0] for to in range(4, 8)] == [0, 1, 0, 1]


def test_a_switch_and_its_hosts_alone() -> None:
    alone = FAT.under(FAT.switch_of[5])
    assert [node.name for node in alone.nodes] == ["host-4", "host-5", "edge-2"]
    assert (alone.tiers, alone.switch_of, [cable.link for cable in alone.cables]) == (1, (2, 2), [LINK, LINK])
    assert alone.port_to_host(1) == FAT.port_to_host(5)


def test_each_host_of_a_rack_has_its_own_link_and_ports_begin_where_asked() -> None:
    slow = Link(math.inf)
    graph = rack([LINK, slow], first_port=1)
    assert [(cable.upper.port, cable.link) for cable in graph.cables] == [(1, LINK), (2, slow)]
    assert [(str(node.ip), node.mac) for node in graph.nodes[:2]] == [
        ("10.0.0.1", "02:00:00:00:00:01"),
        ("10.0.0.2", "02:00:00:00:00:02"),
    ]


A = Node("a", "02:00:00:00:00:01", IPv4Address(1))
B = Node("b", "02:00:00:00:00:02", IPv4Address(2))
S = Node("s", "02:00:00:00:00:03", IPv4Address(3), tier=1)
GOOD = Graph((A, B, S), (Cable(End(0, 0), End(2, 0), LINK), Cable(End(1, 0), End(2, 1), LINK)))
FIRST, SECOND = GOOD.cables


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": ()}, "nodes: tiers"),
        ({"nodes": (S, A, B)}, "nodes: tiers .*; allowed: hosts, 0, then switches"),
        ({"nodes": (A, B, S._replace(tier=2))}, "nodes: tiers"),
        ({"nodes": (A, B._replace(name="a"), S)}, "name: a is given twice"),
        ({"nodes": (A, B._replace(mac=A.mac), S)}, "mac: .* is given twice"),
        ({"nodes": (A, B._replace(ip=A.ip), S)}, "ip: .* is given twice"),
        ({"nodes": (A, B._replace(spread=-1), S)}, "spread: -1 of b"),
        ({"cables": (FIRST,)}, "cables: 0 of b; allowed: a host has 1"),
        ({"cables": (FIRST, SECOND._replace(upper=End(2, 0)))}, "port: 0 of s is given twice"),
        ({"cables": (FIRST, SECOND._replace(upper=End(2, 511)))}, "port: 511 of s; allowed: 0 to 510"),
        ({"cables": (FIRST, SECOND._replace(upper=End(3, 1)))}, "cables: node 3; allowed: 0 to 2"),
        (
            {"cables": (FIRST, SECOND._replace(lower=End(2, 1), upper=End(1, 0)))},
            "cables: s to b; allowed",
        ),
        ({"cables": (FIRST, SECOND._replace(link=Link(0.0)))}, "cables: b to s: .*; allowed: a rate above 0"),
        ({"cables": (FIRST, SECOND._replace(link=Link(1.0, -1)))}, "cables: b to s: .*a delay of 0 or more"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        replace(GOOD, **changes)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: rack([]), "links: none"),
        (lambda: leaf_spine((2, 0), LINK), "racks: .*; allowed: 1 or more"),
        (lambda: leaf_spine((2, 2), LINK, spines=0), "racks: .* 0 spines"),
        (lambda: fat_tree(3, LINK), "k: 3; allowed: an even number"),
    ],
)
def test_shapes_that_there_are_not(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
