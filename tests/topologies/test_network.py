"""Racks under spines on Mininet: frames find their way, cables are shaped, and nothing is left behind."""

from __future__ import annotations

import math
import os
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest

from controller import NetworkController, Switch
from esa.fabric import Graph, Link, leaf_spine, rack
from topologies import network
from topologies.network import Network
from topologies.p4switch import P4Switch

GRAPH = leaf_spine((2, 1, 1), Link(20e6), Link(5e6), spines=2)


def interfaces() -> list[str]:
    return [path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(f"esa{os.getpid()}p")]


def control(net: Network) -> NetworkController:
    def way(node: P4Switch):
        return lambda wait_s: Switch.connect(node.grpc_address, node.device_id, wait_s=wait_s)

    return NetworkController(net.graph, [way(node) for node in net.switches])


def test_what_mininet_leaves_where_it_is_interrupted_is_deleted(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not left to the kernel, which deletes an interface some time after the namespace of its other end."""
    stop, left = network._stop, []
    monkeypatch.setattr(network, "_stop", left.append)
    monkeypatch.setattr(network.Mininet, "build", interrupted := Mock(side_effect=KeyboardInterrupt))
    try:
        with pytest.raises(KeyboardInterrupt), Network(GRAPH, switch="embedded"):
            pass
        interrupted.assert_called_once()
        assert interfaces() == []
    finally:
        for net in left:
            stop(net)


@pytest.mark.timeout(240)
def test_hosts_of_all_racks_reach_each_other_over_shaped_cables(root: None, switch_kind: str, tmp_path: Path) -> None:
    with Network(GRAPH, switch=switch_kind, log_dir=tmp_path) as net, control(net) as network:
        assert [node.name for node in net.switches] == ["rack-0", "rack-1", "rack-2", "spine-0", "spine-1"]
        assert len(interfaces()) == 4 + 2 * 6
        for source, target in ((0, 1), (0, 2), (2, 3), (3, 1)):
            ping = net.popen(source, ["ping", "-c1", "-W5", str(net.ip(target))], stdout=subprocess.DEVNULL)
            assert ping.wait(timeout=15) == 0, f"no answer from host {target} to host {source}"
        # Nobody was told the hosts' addresses, everybody the switches', which answer no questions.
        known = net.hosts[0].cmd("ip neigh")
        assert f"{net.ip(2)} dev eth0 lladdr {net.mac(2)}" in known
        for switch in GRAPH.switches:
            node = GRAPH.nodes[switch]
            assert f"{node.ip} dev eth0 lladdr {node.mac} PERMANENT" in known
        assert "rate 20Mbit" in net.hosts[0].cmd("tc qdisc show dev eth0")
        uplink = net.switches[0].intfs[2].name
        assert "rate 5Mbit" in net.switches[0].cmd(f"tc qdisc show dev {uplink}")
        assert set(network.denied_by_reason().values()) == {0}
    assert interfaces() == []
    assert {path.name for path in tmp_path.glob("*.log")} >= {"rack-0.log", "spine-1.log"}


def test_a_killed_switch_is_told_from_the_others(root: None) -> None:
    with Network(leaf_spine((1, 1), Link(math.inf))) as net:
        net.switches[1].kill()
        assert [node.killed for node in net.switches] == [False, True, False]
        net.switches[1].restart()
        for node in net.switches:
            node.check()


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (leaf_spine((1, 1), Link(1e7), Link(2e9)), "graph: rack-0 to spine-0: 2000 Mb/s; allowed: at most 1000"),
        (leaf_spine((1, 1), Link(1e7), Link(1e7, 5)), "graph: rack-0 to spine-0: a delay of 5 ns; allowed: 0"),
        (rack([Link(1e7)] * 254), "graph: 254 hosts; allowed: 1 to 253"),
    ],
)
def test_a_graph_that_cannot_be_built_is_refused_before_anything_starts(graph: Graph, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Network(graph)
