"""Frames over networks of any shape: the event loop, the compiled program and the control plane's entries together."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import numpy as np
import pytest

from esa.fabric import Graph, Link, fat_tree, leaf_spine, rack
from esa.sim import Fabric, Plan, simulate
from esa.sim.build import Built, build
from esa.sim.engine.lines import sending_ps, take_buffer, transmit
from esa.sim.fabric.wiring import Control
from esa.sim.loop import SimState, StopReason, run
from tests.sim.plans import DELAY_NS, LINK, PACKET_NS, bucket, job, ns, only_job, plan

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

FAT = fat_tree(4, LINK)
FRAME_BYTES = 84  # of an empty frame, preamble and gap included


def send(sim: SimState, graph: Graph, source: int, to: int, now_ns: int) -> None:
    """A frame that is none of ESA's leaves a host."""
    pool, buffer = sim.pool, take_buffer(sim.pool)
    header = bytes.fromhex((graph.nodes[to].mac + graph.nodes[source].mac).replace(":", "")) + b"\x88\xb5"
    pool.data[buffer, : len(header)] = np.frombuffer(header, np.uint8)
    pool.length[buffer], pool.wire_bytes[buffer] = len(header), FRAME_BYTES
    transmit(
        sim.lines, pool, sim.events, 2 * source, buffer, now_ns * 1000, sending_ps(sim.lines, pool, 2 * source, buffer)
    )


def network(graph: Graph) -> Built:
    """The network of a simulation, with its switches' entries, and nothing on it."""
    empty = plan(job(workers=1), fabric=Fabric(graph))
    built = build(empty)
    Control(empty, built.pipelines)
    return built


@pytest.mark.parametrize("graph", [FAT, leaf_spine((3, 2, 3), LINK, spines=2), rack([LINK] * 4)])
def test_every_pair_of_hosts_reaches_each_other(graph: Graph) -> None:
    sim, switches, *_ = network(graph)
    hosts = range(graph.hosts)
    for number, (source, to) in enumerate((a, b) for a in hosts for b in hosts if a != b):
        before = sim.lines["arrived"].copy()
        send(sim, graph, source, to, 10**6 * number)
        assert run(sim, switches, 10**6 * (number + 1)) == StopReason.NO_EVENTS
        came = np.flatnonzero(sim.lines["arrived"] - before)
        at_hosts = [int(line) for line in came if sim.lines["host"][line] >= 0]
        assert at_hosts == [2 * to + 1], f"from {source} to {to}: reached {at_hosts}"
        passed = 1 if graph.switch_of[source] == graph.switch_of[to] else 3 if len(came) == 4 else 5
        assert len(came) == passed + 1
    assert sim.lines["dropped"].sum() == 0


def test_a_frame_takes_as_long_as_its_bytes_on_every_cable_of_its_way() -> None:
    sim, switches, *_ = network(FAT)
    send(sim, FAT, 0, 15, 0)
    (line,) = np.flatnonzero(sim.lines["host"] == 15)[:1]
    byte_ns = 8e9 / LINK.rate_bps
    run(sim, switches, round(6 * (FRAME_BYTES * byte_ns + DELAY_NS)) - 6)
    assert sim.lines["arrived"][line] == 0
    run(sim, switches, round(6 * (FRAME_BYTES * byte_ns + DELAY_NS)) + 6)  # each hop rounds up to a nanosecond
    assert sim.lines["arrived"][line] == 1


def fat(*jobs, **settings) -> Plan:
    return plan(*jobs, fabric=Fabric(FAT), **settings)


def test_jobs_of_one_rack_run_on_a_fat_tree_as_behind_one_switch() -> None:
    jobs = [job(name, name, workers=1, window=64, buckets=[bucket(30)]) for name in ("esa", "atp", "ps")]
    outcome = simulate(fat(*jobs, lanes=64))
    assert outcome.incomplete is None
    assert outcome.checked == 3 * 30
    alone = simulate(plan(jobs[0], fabric=Fabric(rack([LINK] * 2))))
    assert only_job(alone).jct_s == outcome.jobs[0].jct_s
    assert ns(only_job(alone).jct_s) == 30 * PACKET_NS + 2 * DELAY_NS + PACKET_NS


@pytest.mark.parametrize("asked", [{"workers": 2}, {"workers": 1, "hosts": (0, 2)}])
def test_sums_over_several_racks_of_a_fat_tree_are_refused_by_name(asked: dict) -> None:
    with pytest.raises(ValueError, match=r"^job job: .* on a network of 3 tiers of switches; .* need a leaf-spine$"):
        simulate(fat(job(**asked)))


def test_addresses_must_follow_one_another() -> None:
    last = FAT.nodes[-1]._replace(ip=IPv4Address("10.1.0.1"))
    with pytest.raises(ValueError, match=r"network: core-3 is 10\.1\.0\.1; allowed: 10\.0\.0\.36"):
        build(plan(job(workers=1), fabric=Fabric(replace(FAT, nodes=(*FAT.nodes[:-1], last)))))


def test_links_of_a_graph_may_differ() -> None:
    """A slow host is slow both ways; the others are not."""
    slow = Link(LINK.rate_bps / 10, DELAY_NS, 1024)
    graph = rack([LINK, slow, LINK, LINK])
    for hosts, factor in (((0, 2), 1), ((1, 2), 10)):
        one = plan(job(workers=1, buckets=[bucket(1)], hosts=hosts), fabric=Fabric(graph))
        assert ns(only_job(simulate(one)).jct_s) == 2 * (factor * PACKET_NS + DELAY_NS)
