"""A rack forwards what its program says, shapes its links, and leaves nothing behind."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controller import Controller, Switch
from esa.fabric import Graph, Link, leaf_spine, rack
from topologies import leftovers
from topologies.p4switch import P4SwitchError
from topologies.record import Process
from topologies.single_rack import NotRootError, SingleRack, require_root


def esa_interfaces(pid: int | None = None) -> list[str]:
    prefix = f"esa{os.getpid() if pid is None else pid}p"
    return [path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(prefix)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone_within(seconds: float, *pids: int) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def connect(net: SingleRack) -> Switch:
    switch = Switch.connect(net.switch.grpc_address, net.switch.device_id, wait_s=10)
    controller = Controller(switch)
    controller.load(64)
    controller.add_hosts({net.mac(host): net.port(host) for host in range(len(net.hosts))})
    return switch


def test_without_root_one_line_says_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotRootError) as refused:
        require_root()
    assert "needs root" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("rates", [[10.0], [10.0, 0.0], [10.0, 1001.0]])
def test_wrong_bandwidths_are_refused_before_anything_starts(rates: list[float]) -> None:
    with pytest.raises(ValueError, match="bandwidth_mbps"):
        SingleRack(2, bandwidth_mbps=rates)


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (leaf_spine((1, 1), Link(1e7)), "graph: 3 switches; allowed: 1"),
        (rack([Link(1e7), Link(2e9)]), "graph: host-1: 2000 Mb/s; allowed: at most 1000, or unshaped"),
        (rack([Link(1e7, delay_ns=5)]), "graph: host-0: a delay of 5 ns; allowed: 0"),
        (rack([Link(1e7)] * 254), "graph: 254 hosts; allowed: 1 to 253"),
    ],
)
def test_a_graph_that_cannot_be_built_is_refused_before_anything_starts(graph: Graph, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SingleRack(graph)


def test_a_graph_is_built_as_it_says(root: None) -> None:
    """Ports from 3 on, one link shaped: addresses, ports and rates are the graph's."""
    graph = rack([Link(5e6), Link(math.inf)], first_port=3)
    with SingleRack(graph) as net, connect(net):
        assert [net.port(host) for host in range(2)] == [3, 4]
        assert f"esa{os.getpid()}p3" in esa_interfaces()
        assert net.mac(1) in net.hosts[1].cmd("ip link show eth0")
        ping = net.popen(0, ["ping", "-c1", "-W3", str(graph.nodes[1].ip)], stdout=subprocess.DEVNULL)
        assert ping.wait(timeout=10) == 0
        shaped = [net.hosts[host].cmd("tc qdisc show dev eth0") for host in range(2)]
        assert "rate 5Mbit" in shaped[0]
        assert "rate" not in shaped[1]


def test_unknown_switch_is_refused_by_name(root: None) -> None:
    with pytest.raises(ValueError, match="'tofino'; allowed: embedded, bmv2"), SingleRack(1, switch="tofino"):
        pass
    assert esa_interfaces() == []


def test_arp_and_ping_pass_the_switch(root: None, switch_kind: str) -> None:
    with SingleRack(3, switch=switch_kind) as net, connect(net):
        for source, target in ((0, 1), (1, 2), (2, 0)):
            ping = net.popen(source, ["ping", "-c1", "-W3", str(net.ip(target))], stdout=subprocess.DEVNULL)
            assert ping.wait(timeout=10) == 0, f"no answer from host {target} to host {source}"
        # Nobody was told the addresses: the switch has flooded the questions.
        known = net.hosts[0].cmd("ip neigh show 10.0.0.2")
        assert net.mac(1) in known
        assert "PERMANENT" not in known


TRANSFER = """
import socket, sys, time
size = 500_000
if sys.argv[1] == "receive":
    server = socket.create_server(("0.0.0.0", 5000)); print("listening", flush=True)
    peer, _ = server.accept(); left = size
    start = time.monotonic()
    while left: left -= len(peer.recv(65536))
    print(time.monotonic() - start)
    peer.close(); server.close()
else:
    with socket.create_connection((sys.argv[1], 5000)) as peer: peer.sendall(bytes(size))
"""


def test_links_have_the_bandwidth_asked_for(root: None, switch_kind: str) -> None:
    with SingleRack(2, bandwidth_mbps=[4.0, 100.0], switch=switch_kind) as net, connect(net):
        receiver = net.popen(1, [sys.executable, "-c", TRANSFER, "receive"], stdout=subprocess.PIPE, text=True)
        with receiver.stdout:
            receiver.stdout.readline()
            sender = net.popen(0, [sys.executable, "-c", TRANSFER, str(net.ip(1))])
            assert sender.wait(timeout=30) == 0
            seconds = float(receiver.stdout.readline())
            receiver.wait(timeout=10)
    assert 0.8 < seconds < 3.0, "500 kB over 4 Mb/s take a second"


def test_everything_is_gone_after_an_exception(root: None, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), SingleRack(2, log_dir=tmp_path) as net:  # noqa: PT012
        sleeper = net.popen(0, ["sleep", "1000"])
        # A program that ignores SIGTERM, with a child.
        stubborn = net.popen(1, ["bash", "-c", "trap '' TERM; sleep 1000 & wait"])
        shells = [node.pid for node in net.hosts]
        switch = net.switch.process.pid
        raise ZeroDivisionError
    assert esa_interfaces() == []
    assert gone_within(5, sleeper.pid, stubborn.pid, switch, *shells)


def test_temporary_log_folder_goes_with_the_network(root: None) -> None:
    with SingleRack(1) as net:
        folder = net.switch.log_path.parent
        assert folder.is_dir()
    assert not folder.exists()


def test_a_switch_that_does_not_start_is_named_with_its_log(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from topologies.p4switch import P4Switch

    monkeypatch.setattr(P4Switch, "command", lambda _: ["sh", "-c", "echo no such port; exit 3"])
    with pytest.raises(P4SwitchError, match=r"switch s1 ended \(status 3\)(.|\n)*no such port"), SingleRack(1):
        pass
    assert esa_interfaces() == []


HOLD = """
import signal, subprocess, time
from topologies.single_rack import SingleRack
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
with SingleRack(2) as net:
    sleeper = net.popen(0, ["sh", "-c", "echo started; exec sleep 1000"], stdout=subprocess.PIPE)
    sleeper.stdout.readline()
    print(net.switch.process.pid, sleeper.pid, *(node.pid for node in net.hosts), flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_an_interrupted_or_killed_process(root: None, number: signal.Signals) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with holder.stdout:
        pids = [int(word) for word in holder.stdout.readline().split()]
    assert len(pids) == 4
    assert len(esa_interfaces(holder.pid)) == 2
    holder.send_signal(number)
    holder.wait(timeout=20)
    assert gone_within(10, *pids)
    deadline = time.monotonic() + 10  # the kernel takes its time with namespaces
    while esa_interfaces(holder.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert esa_interfaces(holder.pid) == []


def test_stop_deletes_an_interface_that_no_run_owns(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    # Of this machine's runs, only what is made here: others' must not be stopped by a test.
    monkeypatch.setattr(leftovers, "INTERFACE", re.compile(rf"esa({ended.pid})p\d+"))
    name = f"esa{ended.pid}p1"
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"esa{ended.pid}p2"], check=True)
    assert any(name in line for line in leftovers.stop_runs())
    assert esa_interfaces(ended.pid) == []


def test_stop_spares_a_program_that_has_a_run_s_process_id_by_now(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        monkeypatch.setattr(leftovers, "INTERFACE", re.compile(rf"esa({other.pid})p\d+"))
        name = f"esa{other.pid}p1"
        subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"esa{other.pid}p2"], check=True)
        for end in (name, f"esa{other.pid}p2"):
            subprocess.run(["ip", "link", "set", "dev", end, "alias", "esa 1"], check=True)
        assert {f"interface {name}", f"interface esa{other.pid}p2"} == {
            line for line in leftovers.found() if line.startswith("interface")
        }
        said = list(leftovers.stop_runs())
        assert not any("asked" in line for line in said)
        assert other.poll() is None
        assert other.stdin is not None
        other.stdin.write(b"\n")
    assert esa_interfaces(other.pid) == []


def test_stop_ends_a_run(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with holder.stdout:
        pids = [int(word) for word in holder.stdout.readline().split()]
    monkeypatch.setattr(leftovers, "INTERFACE", re.compile(rf"esa({holder.pid})p\d+"))
    monkeypatch.setattr(leftovers, "GRACE_S", 0.5)
    assert {Path(f"/sys/class/net/{name}/ifalias").read_text() for name in esa_interfaces(holder.pid)} == {
        f"{Process.of(holder.pid).alias}\n"
    }
    assert f"asked run {holder.pid} to stop" in list(leftovers.stop_runs())
    holder.wait(timeout=20)
    assert gone_within(10, *pids)
    assert esa_interfaces(holder.pid) == []
