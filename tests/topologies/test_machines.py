"""docs/machines.md, as it is written: hosts on other machines train through a switch that runs on one of them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.topologies.machines_rig import ROOT, Machines, Step, Terminal, section, steps
from topologies.launcher.commands import app

pytestmark = pytest.mark.timeout(240)  # the first run after a change compiles
COMPILE_S = 180.0
PAGE = (ROOT / "docs" / "machines.md").read_text()


@pytest.fixture(scope="module")
def vxlan(root: None) -> None:
    """This kernel has VXLAN."""
    found = subprocess.run(
        ["unshare", "-n", "ip", "link", "add", "esa0", "type", "vxlan", "id", "1", "dstport", "4789"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if found.returncode != 0:
        pytest.skip(f"needs a kernel with VXLAN: {found.stderr.strip()}")


def bring_up(machines: Machines, switch: Terminal) -> None:
    """From a switch that was started to a job on it and its PS, as the page has it."""
    switch.expect("ready", COMPILE_S)
    supervisor = steps(PAGE, "The switch, and what controls it")[1]
    machines.start(supervisor).expect("loaded it", COMPILE_S)
    make, ping = steps(PAGE, "The job")
    machines.run(make.machine, make.script)
    job = (machines.folder("A") / "job.json").read_text()
    for machine in "BCD":
        (machines.folder(machine) / "job.json").write_text(job)
    machines.run(ping.machine, ping.script)
    machines.start(steps(PAGE, "PS and ranks")[0]).expect("ready", COMPILE_S)


@pytest.fixture(scope="module")
def tunnelled(vxlan: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Machines B, C and D behind a switch on A, each through a tunnel; a job on it, and its PS."""
    with Machines("ABCD", tmp_path_factory.mktemp("tunnels")) as machines:
        machines.merge_segments("A")
        machines.follow(steps(PAGE, "Tunnels"))
        bring_up(machines, machines.start(steps(PAGE, "The switch, and what controls it")[0]))
        yield machines
        machines.run("A", "esa detach")


SUM = """
import sys
import numpy as np
from esa.hosts import join
from esa.job import Job

def lanes(round, rank):
    return np.random.default_rng(2 * round + rank).integers(-2**30, 2**30, 50_000, dtype=np.int32)

with join(Job.load(sys.argv[1]), "192.168.7.1:9560") as worker:
    for round in range(4):
        reduced = worker.all_reduce(lanes(round, worker.rank)).result()
        assert (reduced.lanes == lanes(round, 0) + lanes(round, 1)).all(), f"round {round}"
    counts = worker.stats()
print(f"exact: {counts['results']} results, {counts['via_ps']} by the PS")
"""


def sums(machines: Machines, where: str = "BC", job: str = "job.json") -> None:
    """All-reduces of a job's two ranks are exact, and most are completed by the switch."""
    for machine in where:
        (machines.folder(machine) / "sum.py").write_text(SUM)
    ranks = [machines.start(Step(machine, True, [f"python sum.py {job}"])) for machine in where]
    for rank in ranks:
        found = re.search(r"exact: (\d+) results, (\d+) by the PS", rank.finish(COMPILE_S))
        assert found is not None, rank.text
        assert int(found[1]) == 4 * -(-50_000 // 64)
        assert int(found[2]) < 0.25 * int(found[1])
    counted = json.loads(machines.run("A", "esactl counters --json"))["jobs"]
    assert counted[Path(job).stem]["completed"] > 0.75 * 4 * 782


def test_sums_over_tunnels_are_exact_and_the_switchs(tunnelled: Machines) -> None:
    sums(tunnelled)


def test_several_ranks_of_one_machine_share_its_tunnel(tunnelled: Machines) -> None:
    *before, server = steps(PAGE, "Several ranks on one machine")
    tunnelled.follow(before)
    for machine in "BC":
        (tunnelled.folder(machine) / "pair.json").write_text((tunnelled.folder("A") / "pair.json").read_text())
    tunnelled.start(server).expect("ready", COMPILE_S)
    sums(tunnelled, "BB", "pair.json")


def test_torchrun_trains_on_two_machines(tunnelled: Machines) -> None:
    _, *ranks = steps(PAGE, "PS and ranks")
    printed = [rank.finish(COMPILE_S) for rank in tunnelled.follow(ranks)]
    for text in printed:
        assert re.search(r"accuracy 0\.9|accuracy 1\.0", text), text
    by_switch = re.search(r"([\d.]+)% from the switch", "".join(printed))
    assert by_switch is not None, printed
    assert float(by_switch[1]) > 90


def test_tcp_passes_the_switch(tunnelled: Machines) -> None:
    """With the NIC of A merging segments, as it came, a twentieth of this arrives."""
    for machine in "BC":
        (tunnelled.folder(machine) / "transfer.py").write_text(TRANSFER)
    receiver = tunnelled.start(Step("C", True, ["python transfer.py"]))
    receiver.expect("listening")
    tunnelled.run("B", "python transfer.py 10.0.0.2")
    assert "all" in receiver.finish(20)


TRANSFER = """
import socket, sys
size = 5_000_000
if len(sys.argv) == 1:
    server = socket.create_server(("0.0.0.0", 5000)); print("listening", flush=True)
    peer, _ = server.accept()
    while size: size -= len(peer.recv(size))
    print("all"); peer.sendall(b"!")
else:
    with socket.create_connection((sys.argv[1], 5000), timeout=15) as peer: peer.sendall(bytes(size)); peer.recv(1)
"""


def test_what_to_look_at_can_be_looked_at(tunnelled: Machines) -> None:
    here, there = steps(PAGE, "When nothing comes back")
    assert "nothing is wrong" in tunnelled.run(here.machine, here.script)
    assert "10.0.0.254 lladdr 02:00:00:00:00:fe PERMANENT" in tunnelled.run(there.machine, there.script)


def test_a_nic_for_every_host(root: None, tmp_path: Path) -> None:
    with Machines("ABCD", tmp_path) as machines:
        for port, host in enumerate("BCD", 1):
            machines.cable("A", f"eth{port}", host, "eth1")
        (switch,) = machines.follow(steps(PAGE, "A NIC for every host"))
        bring_up(machines, switch)
        sums(machines)


# One end


def test_the_page_shows_what_the_commands_do() -> None:
    (block,) = re.findall(r"^```\n(\$ .*?)^```", section(PAGE, "Tunnels"), re.DOTALL | re.MULTILINE)
    shown = re.findall(r"^\$ esa (.*)\n((?:[^$].*\n)+)", block, re.MULTILINE)
    assert len(shown) == 2
    for command, lines in shown:
        done = CliRunner().invoke(app, command.split())
        assert (done.exit_code, done.stdout) == (0, lines), command


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("port 0 --host-machine 192.168.7.2", "port: 0; allowed: 1 to 510"),
        ("port 1 --host-machine b", "host-machine: 'b' is not an IP address"),
        ("port 1 --host-machine 127.0.0.1", "host-machine: 127.0.0.1 is not one machine's address on a network"),
        ("port 1 --host-machine 192.168.7.2 --mtu 100", "mtu: 100; allowed: 576 to 9000"),
        (
            "attach 10.0.0.1 --port 1 --switch-machine 192.168.7.1",
            "address: '10.0.0.1' is no host's address with its network, as 10.0.0.1/24",
        ),
        (
            "attach 10.0.0.x/24 --port 1 --switch-machine 192.168.7.1",
            "address: '10.0.0.x/24' is not an address with its network, as 10.0.0.1/24",
        ),
        (
            "attach 10.0.0.254/24 --port 1 --switch-machine 192.168.7.1",
            "switch-ip: 10.0.0.254 has to be another address of the network 10.0.0.0/24",
        ),
        (
            "attach 192.168.7.9/24 --port 1 --switch-machine 192.168.7.1",
            "address: the switch's machine, 192.168.7.1, is in 192.168.7.0/24, which lies inside the tunnel",
        ),
        ("detach eth0", "detach: 'eth0' is no end of a tunnel here"),
    ],
)
def test_bad_input_is_refused_in_one_line(command: str, why: str) -> None:
    done = CliRunner().invoke(app, command.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"esa: {why}")
    assert done.stderr.count("\n") == 1


def links(machines: Machines, machine: str) -> list[str]:
    return sorted(link["ifname"] for link in json.loads(machines.run(machine, "ip -j link show")))


def refused(machines: Machines, machine: str, command: str) -> str:
    return machines.run(machine, f"! esa {command} 2>&1").strip()


def test_an_end_is_made_whole_or_not_at_all_and_removed(vxlan: None, tmp_path: Path) -> None:
    with Machines("AB", tmp_path) as machines:
        before = links(machines, "A")
        assert "is this machine itself" in refused(machines, "A", "port 1 --host-machine 192.168.7.1")
        assert "no way from here" in refused(machines, "A", "port 1 --host-machine 8.8.8.8")
        machines.run("A", "ip link set eth0 mtu 1400")
        assert "give every end of this switch --mtu 1350" in refused(machines, "A", "port 1 --host-machine 192.168.7.2")
        assert links(machines, "A") == before

        machines.run("A", "esa port 1 --host-machine 192.168.7.2 --mtu 1350")
        said = refused(machines, "A", "port 1 --host-machine 192.168.7.2 --mtu 1350")
        assert said == "esa: esa-port1 is there already: esa detach esa-port1 removes it"
        # Another number's tunnel that the kernel refuses: what was begun is gone.
        machines.run("A", "ip link add other type vxlan id 3 remote 192.168.7.2 dstport 4789")
        assert "type vxlan id 3" in refused(machines, "A", "port 3 --host-machine 192.168.7.2 --mtu 1350")
        assert links(machines, "A") == sorted([*before, "esa-port1", "other"])
        assert machines.run("A", "esa detach") == "removed esa-port1\n"
        assert links(machines, "A") == sorted([*before, "other"])
        assert machines.run("A", "esa detach") == "no end of a tunnel is here\n"
