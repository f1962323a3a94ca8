"""Jobs over several racks as entries: which switch gets what, what the program takes, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from pydantic import ValidationError

from esa.entries import job_entries as e
from esa.entries.direct import apply, remove
from esa.entries.job_entries import InstalledJob
from esa.entries.tiers import LeafSpine, forwarding_items, job_items
from esa.errors import BadInput
from esa.fabric import Cable, End, Graph, Link, Node, fat_tree
from esa.fabric import leaf_spine as leaf_spine_graph
from esa.job import Job, Member, Pool, Rack, Run
from esa.policy import POLICIES, Emit, Release
from esa.program import program
from esa.switch import Pipeline
from esa.wire import ESA_PORT
from tests.entries.test_job_entries import p4info
from tests.p4.traffic import mac
from tests.p4.tree import leaf_spine, spread

NETWORK = leaf_spine(racks=4, spines=2)
RACKS = [switch.ip for switch in NETWORK.racks]
SPINES = [switch.ip for switch in NETWORK.spines]
PLACES = {0: (0, 1, 2), 1: (0, 1)}


def job(policy: str = "esa", **changes: Any) -> Run:
    made = spread(NETWORK, 1, policy, PLACES, (2, 1))
    return Run.model_validate({**made.model_dump(), **changes})


def parts(items: list[e.Entry | e.Group]) -> tuple[list[e.Entry], list[e.Group]]:
    return [i for i in items if isinstance(i, e.Entry)], [i for i in items if isinstance(i, e.Group)]


# What there is


@pytest.mark.parametrize("policy", POLICIES)
def test_only_switches_on_the_way_hear_of_a_job_and_its_policy_comes_last(policy: str) -> None:
    items = job_items(NETWORK, job(policy), 7)
    assert set(items) == {RACKS[0], RACKS[1], RACKS[2], *SPINES}
    for each in items.values():
        entries, _ = parts(each)
        assert each[-1] is entries[-1]
        assert [entry.table for entry in entries].index(e.POLICY) == len(entries) - 1
        assert entries[-1].params[0] == 7
        matches = [(entry.table, entry.match) for entry in entries]
        assert len(set(matches)) == len(matches)


def test_a_spine_that_nothing_takes_hears_nothing() -> None:
    # Rack 2 and the hosts on its ports 0 and 2 are reached by spine 0, and so is the PS.
    there = spread(NETWORK, 1, "esa", {2: (0, 2)}, (0, 2))
    assert set(job_items(NETWORK, there, 1)) == {RACKS[2], RACKS[0], SPINES[0]}


@pytest.mark.parametrize("policy", POLICIES)
def test_one_rack_with_its_server_is_as_ever(policy: str) -> None:
    there = spread(NETWORK, 1, policy, {1: (0, 1, 2)}, (1, 4))
    installed = InstalledJob.of(there, 3)
    assert job_items(NETWORK, there, 3) == {RACKS[1]: [e.job_group(installed), *e.job_entries(installed)]}
    alone = leaf_spine(racks=1, spines=0)
    assert set(forwarding_items(alone.graph)) == set(job_items(alone, spread(alone, 1, policy, {0: (1,)}, (0, 0)), 1))


@pytest.mark.parametrize("policy", sorted(name for name, p in POLICIES.items() if p.pool != "none"))
def test_racks_and_root_read_back_as_what_they_are(policy: str) -> None:
    made = job(policy)
    items = job_items(NETWORK, made, 5)
    knobs = POLICIES[policy]
    if knobs.release == Release.KEPT:  # which works behind one switch
        knobs = replace(knobs, release=Release.ON_COMPLETION)
    knobs = e.policy_of(knobs.preempt, knobs.aging, knobs.release, knobs.emit)
    for bit, rack in enumerate(PLACES):
        (found,) = e.installed_jobs(*parts(items[RACKS[rack]]))
        assert found.problems == ()
        assert (found.rack, found.level1, found.switch_ip) == (bit, False, RACKS[rack])
        assert found.policy == replace(knobs, emit=Emit.TO_ROOT)
        assert found.workers == (made.workers[:3], made.workers[3:])[bit]
    (root,) = e.installed_jobs(*parts(items[made.switch_ip]))
    assert (root.problems, root.level1, root.policy) == ((), True, knobs)
    assert [(worker.ip, worker.switch_port) for worker in root.workers] == [(RACKS[0], 0), (RACKS[1], 1)]
    assert root.pool == made.pool


def test_one_spine_alone_floods() -> None:
    flooding = {ip for ip, items in forwarding_items(NETWORK.graph).items() if e.broadcast_entry() in items}
    assert flooding == {*RACKS, SPINES[0]}


def test_two_entries_for_one_bit_are_a_problem() -> None:
    items = job_items(NETWORK, job(), 1)[SPINES[1]]
    entries, groups = parts(items)
    forged = next(entry for entry in entries if entry.action == e.RACK)
    (found,) = e.installed_jobs([*entries, replace(forged, match=(9, *forged.match[1:]))], groups)
    assert "no sender entry of rank 1" in found.problems


def test_names_and_shapes_are_those_of_the_program() -> None:
    tables = {table.preamble.name: len(table.match_fields) for table in p4info().tables}
    actions = {action.preamble.name: len(action.params) for action in p4info().actions}
    for policy in ("esa", "ps"):
        for items in (*job_items(NETWORK, job(policy), 1).values(), *forwarding_items(NETWORK.graph).values()):
            for entry in parts(items)[0]:
                assert len(entry.match) == tables[entry.table]
                assert len(entry.params) == actions[entry.action]


@pytest.mark.slow
def test_32_racks_of_32_workers_fit() -> None:
    network = LeafSpine(leaf_spine_graph((32,) * 32 + (1,), Link(1e9)))
    racks, (spine,) = network.racks, network.spines
    members = [
        Member(ip=node.ip, mac=node.mac, udp_port=ESA_PORT, switch_port=host.port)
        for node, host in zip(network.graph.nodes, network.hosts, strict=False)
    ]
    made = Job(
        name="all",
        job=1,
        policy="esa",
        workers=tuple(members[:-1]),
        racks=tuple(Rack(workers=32, switch_ip=rack.ip) for rack in racks[:32]),
        server=members[-1],
        switch_ip=spine.ip,
        pool=Pool(base=0, size=1024),
        lanes=0,
    )
    assert made.place(1023) == (31, 31)
    items = job_items(network, made.run(epoch=1), 1)
    assert len(items) == 34
    pipeline = Pipeline.load(program(0).json.read_text(), compiled=False)
    for switch in (racks[0], racks[32], spine):
        apply([*forwarding_items(network.graph)[switch.ip], *items[switch.ip]], pipeline)
        pipeline.reset()


def test_what_was_applied_can_be_taken_back() -> None:
    pipeline = Pipeline.load(program(0).json.read_text(), compiled=False)
    for items in job_items(NETWORK, job(), 1).values():
        apply([e.ecn_entry(20), *items], pipeline)
        remove([e.ecn_entry(20), *items], pipeline)
        assert sum(len(pipeline.tables[table]) for table in e.JOB_TABLES) == 0
        assert list(pipeline.multicast.ids()) == []
        assert pipeline.tables[e.ECN].default == (e.MARK_ABOVE, (0x7FFFF,))


# What a job says


@pytest.mark.parametrize(
    ("policy", "switches"),
    [("esa", (SPINES[1], *RACKS[:2])), ("atp", (SPINES[1], *RACKS[:2])), ("switchml", ()), ("ps", ())],
)
def test_a_job_names_whom_its_server_reminds(policy: str, switches: tuple[IPv4Address, ...]) -> None:
    assert job(policy).switches == switches
    alone = spread(NETWORK, 1, policy, {1: (0, 1)}, (2, 1))
    assert alone.switches == (() if policy == "ps" else (RACKS[1],))


def test_ranks_count_over_the_racks() -> None:
    made = job()
    assert made.workers_per_rack == (3, 2)
    assert [made.place(rank) for rank in range(5)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    for rank in (-1, 5):
        with pytest.raises(ValueError, match=r"rank: job job1 has ranks 0\.\.4"):
            made.place(rank)


def racks(*sizes: int, first: int = 200) -> list[dict[str, Any]]:
    return [{"workers": size, "switch_ip": f"10.0.0.{first + n}"} for n, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"racks": racks(5)}, "a job behind one switch has none"),
        ({"racks": racks(3, 3)}, "they have 6 workers, the job has 5"),
        ({"racks": racks(3, 2, first=221)}, "need an address each"),
        ({"racks": racks(3, 0)}, "greater than or equal to 1"),
        ({"racks": racks(33, 2)}, "less than or equal to 32"),
        ({"racks": racks(*[1] * 33)}, "at most 32"),
    ],
)
def test_racks_that_make_no_sense_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        job(**changes)


def test_one_switch_cannot_hold_a_job_of_several_racks() -> None:
    with pytest.raises(BadInput, match="racks: job job1 has 2 racks"):
        InstalledJob.of(job(), 1)


# What is refused


@pytest.mark.parametrize("policy", sorted(set(POLICIES) - {"ps"}))
def test_the_server_needs_a_rack_switch_without_workers_of_the_job(policy: str) -> None:
    there = spread(NETWORK, 1, policy, PLACES, (1, 4))
    with pytest.raises(BadInput, match=f"server: job job1: under {policy} over several racks the PS needs .* not 10"):
        job_items(NETWORK, there, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"switch_ip": SPINES[0]}, "switch_ip: .* the root is the spine to the PS, 10.0.0.221, not 10.0.0.220"),
        ({"racks": racks(3, 2, first=100)}, "switch_ip: job job1: 10.0.0.100 is no rack switch"),
        ({"racks": racks(2, 3)}, "switch_port: job job1: rank 2, .* is behind port 2 of rack switch 0"),
        ({"racks": racks(3, 2, first=201)}, "switch_port: job job1: rank 0, .* of rack switch 0, not port 0 of 1"),
    ],
)
def test_a_job_must_be_where_it_says(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        job_items(NETWORK, job(**changes), 1)


def test_members_must_be_hosts_of_the_network() -> None:
    made = job()
    elsewhere = made.server.model_copy(update={"mac": mac(99)})
    with pytest.raises(BadInput, match=r"mac: job job1: the PS is on .* no host"):
        job_items(NETWORK, made.model_copy(update={"server": elsewhere}), 1)
    moved = made.server.model_copy(update={"switch_port": 2})
    with pytest.raises(BadInput, match=r"switch_port: job job1: the PS, .* port 1 of rack switch 2, not port 2 of 2"):
        job_items(NETWORK, made.model_copy(update={"server": moved}), 1)
    twins = tuple(worker.model_copy(update={"ip": made.workers[0].ip}) for worker in made.workers)
    with pytest.raises(BadInput, match=r"job job1: address: 10.0.0.1:5001 is given twice"):
        job_items(NETWORK, made.model_copy(update={"workers": twins}), 1)


@pytest.mark.parametrize("index", [0, 256])
def test_counters_go_from_1_to_255(index: int) -> None:
    with pytest.raises(BadInput, match=f"index: {index}; allowed: 1..255"):
        job_items(NETWORK, job(), index)


def graph_of(tiers: Sequence[int], cables: Sequence[tuple[int, int, int, int]]) -> Graph:
    """Nodes of these tiers; cables (node, port, node, port)."""
    nodes = [Node(f"n{k}", mac(k + 1), IPv4Address(f"10.9.0.{k + 1}"), tier) for k, tier in enumerate(tiers)]
    return Graph(tuple(nodes), tuple(Cable(End(a, p), End(b, q), Link(1e9)) for a, p, b, q in cables))


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (fat_tree(4, Link(1e9)), "network: 3 tiers of switches; sums are made over racks and spines alone"),
        (graph_of((0, 0, 1, 1), [(0, 0, 2, 0), (1, 0, 3, 0)]), "spines: 2 racks and no spine"),
        (graph_of((0, 0, 1, 2), [(0, 0, 2, 0), (1, 0, 3, 1), (2, 1, 3, 0)]), "hosts: one hangs on a spine"),
        (
            graph_of((0, 0, 1, 1, 2), [(0, 0, 2, 0), (1, 0, 3, 0), (2, 1, 4, 1), (3, 1, 4, 0)]),
            "network: n4 has not rack r, of 2, behind port r alone",
        ),
        (graph_of((0, 0, 1, 1, 2), [(0, 0, 2, 0), (1, 0, 3, 0), (2, 1, 4, 0)]), "network: n4 has not rack r"),
    ],
)
def test_a_network_of_another_shape_is_refused(graph: Graph, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        LeafSpine(graph)
