"""Several switches under one control plane: each holds what `esa.entries.tiers` says, run after run; refusals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from controller import NetworkController, NetworkCoordinator, Switch
from controller import keeper as module
from controller.keeper import changes
from esa.coordination import PS, Finished, Hello, Leave, Ready, Start, encode, to_member
from esa.entries import job_entries as e
from esa.entries.tiers import LeafSpine, forwarding_items, job_items, spread
from esa.errors import BadInput
from esa.fabric import Graph, Link, fat_tree, leaf_spine
from esa.job import Job, Member, Pool
from esa.net.streams import connected_socket
from esa.wire import ESA_PORT
from tests.switches import SwitchProcess, running_switch

GRAPH = leaf_spine((2, 2, 1), Link(1e9))
NETWORK = LeafSpine(GRAPH)


def job(name: str = "alpha", number: int = 1, hosts: tuple[int, ...] = (0, 1, 2, 3, 4), **changed: Any) -> Job:
    nodes = [GRAPH.nodes[host] for host in hosts]
    there = spread(NETWORK, [node.mac for node in nodes])
    ports = [*[20000 + number] * (len(hosts) - 1), ESA_PORT]
    *workers, server = (
        Member(ip=node.ip, mac=node.mac, udp_port=udp, switch_port=port)
        for node, port, udp in zip(nodes, there.ports, ports, strict=True)
    )
    asked: dict[str, Any] = {"policy": "esa", "pool": Pool(base=0, size=256), "window": 32} | changed
    return Job(
        name=name,
        job=number,
        workers=tuple(workers),
        racks=there.racks,
        server=server,
        switch_ip=there.switch_ip,
        **asked,
    )


@pytest.fixture(scope="module")
def switches() -> Iterator[list[SwitchProcess]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(running_switch("embedded", device_id=k)) for k in range(len(GRAPH.switches))]


@pytest.fixture
def network(switches: list[SwitchProcess]) -> Iterator[NetworkController]:
    def way(process: SwitchProcess) -> Any:
        return lambda wait_s: Switch.connect(process.address, process.device_id, wait_s=wait_s)

    with NetworkController(GRAPH, [way(process) for process in switches], lanes=64) as network:
        yield network


def wrong(switches: list[SwitchProcess], *there: tuple[Job, int, int], runs: dict[int, int] | None = None) -> list[int]:
    """By switch: items that it lacks or has too much, where these jobs are there under an epoch and an index.

    runs: the newest epochs that are remembered, of jobs that were removed too.
    """
    wanted = {ip: list(items) for ip, items in forwarding_items(GRAPH).items()}
    for one, epoch, index in there:
        for ip, items in job_items(NETWORK, one.run(epoch), index).items():
            wanted[ip] += items
    epochs = {one.job: epoch for one, epoch, _ in there} | (runs or {})
    for items in wanted.values():
        items += [e.run_entry(number, epoch) for number, epoch in epochs.items()]
    found = []
    for process, switch in zip(switches, GRAPH.switches, strict=True):
        with Switch.connect(process.address, process.device_id) as client:
            held = [*client.read_groups(), *client.read_entries(module.TABLES)]
            found.append(changes(held, wanted[GRAPH.nodes[switch].ip]).items)
    return found


@pytest.mark.slow
def test_every_switch_holds_its_part_of_a_job_run_after_run(
    network: NetworkController, switches: list[SwitchProcess]
) -> None:
    assert wrong(switches) == [0, 0, 0, 0]
    first = network.add_job(job())
    assert (first.policy.name, first.index, network.jobs()) == ("esa", 1, [first])
    assert wrong(switches, (job(), first.epoch, 1)) == [0, 0, 0, 0]
    started = network.start_run(1)
    assert started.epoch == first.epoch + 1
    assert wrong(switches, (job(), started.epoch, 1)) == [0, 0, 0, 0]
    assert network.end_run(1).epoch == started.epoch + 1
    back = network.resume_run(1, started.epoch)
    assert wrong(switches, (job(), back.epoch, 1), runs={1: started.epoch + 1}) == [0, 0, 0, 0]
    assert network.start_run(1).epoch == started.epoch + 2, "no epoch is given twice"
    removed = network.remove_job(1)
    assert network.jobs() == []
    assert wrong(switches, runs={1: removed.epoch}) == [0, 0, 0, 0]
    again = network.add_job(job())
    assert again.epoch == removed.epoch + 1
    assert network.saved(again) == job()
    assert set(network.denied_by_reason()) == set(e.DENY_REASONS)


def test_a_restarted_switch_gets_its_part_back(network: NetworkController, switches: list[SwitchProcess]) -> None:
    """What a switch lost whose program is gone; the others keep what they have."""
    epoch = network.add_job(job()).epoch
    keeper = network.keepers["spine-0"]
    with Switch.connect(switches[3].address, switches[3].device_id) as other:
        other.load(module.program(64))  # somebody's: nothing of ours is there any more
    for _ in range(50):
        keeper.look()
        if keeper.restorations:
            break
    assert (keeper.restorations, keeper.whole) == (1, True)
    assert wrong(switches, (job(), epoch, 1)) == [0, 0, 0, 0]


def test_members_meet_and_the_switches_get_their_run(network: NetworkController, switches: list[SwitchProcess]) -> None:
    epoch = network.add_job(job()).epoch
    with NetworkCoordinator(network) as coordinator, contextlib.ExitStack() as stack:
        address = coordinator.serve("127.0.0.1:0")

        def member(number: int) -> Any:
            sock = stack.enter_context(connected_socket(address, 5.0))
            sock.settimeout(20.0)
            sock.sendall(encode(Hello(job=job(), member=number)))
            return sock, stack.enter_context(sock.makefile("rb"))

        ps, from_ps = member(PS)
        workers = [member(rank) for rank in range(4)]
        start = to_member(from_ps.readline())
        assert start == Start(epoch=epoch + 1, policy="esa", pool=job().pool)
        ps.sendall(encode(Ready(epoch=start.epoch)))
        assert [to_member(stream.readline()) for _, stream in workers] == [start] * 4
        assert wrong(switches, (job(), start.epoch, 1)) == [0, 0, 0, 0]
        for sock, _ in workers:
            sock.sendall(encode(Leave(ok=True, why="")))
        while to_member(workers[-1][1].readline()) != Finished():
            pass
    assert wrong(switches, (job(), start.epoch + 1, 1)) == [0, 0, 0, 0], "its rows are nobody's"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: job(lanes=256), "lanes: job alpha has 256 lanes, the switches run the 64-lane build"),
        (lambda: job(number=2), "job: 1 is on the switches already as alpha"),
        (lambda: job("beta"), "job: 1 is on the switches already as alpha"),
        (lambda: job("beta", 2, (0, 1, 2, 4, 3)), "server: job beta: under esa over several racks the PS needs a rack"),
        (
            lambda: job("beta", 2, policy="switchml", pool=Pool(base=128, size=128), window=8),
            "pool: job beta: slice rows 128..255 overlap placed rows 0..255 of job alpha",
        ),
        (
            lambda: job("beta", 2).model_copy(update={"switch_ip": IPv4Address("10.0.0.99")}),
            "switch_ip: job beta: the root is the spine to the PS",
        ),
    ],
)
def test_jobs_that_cannot_be_are_refused_and_nothing_is_written(
    network: NetworkController, switches: list[SwitchProcess], made: Any, said: str
) -> None:
    epoch = network.add_job(job()).epoch
    with pytest.raises(BadInput) as refused:
        network.add_job(made())
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(BadInput, match="job: no job 9 on the switches; jobs: alpha"):
        network.start_run(9)
    assert wrong(switches, (job(), epoch, 1)) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("graph", "said"),
    [(fat_tree(4, Link(1e9)), "network: 3 tiers of switches; sums are made over racks and spines alone")],
)
def test_a_network_that_is_no_tree_for_sums_is_refused(graph: Graph, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        NetworkController(graph, [lambda _: pytest.fail("asked")] * len(graph.switches))
