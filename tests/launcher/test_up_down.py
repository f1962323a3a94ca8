"""A rack is there for other terminals until it is told to end, and then nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import Controller, Switch
from tests.launcher.rig import LIMIT_S, Up, bring_up, esa, refused, until
from tests.metrics.asking import asked, values
from topologies import record

pytestmark = pytest.mark.timeout(240)


def traces(up: Up, pid: int) -> list[str]:
    """What there is of a rack on this machine."""
    interfaces = [p for p in Path("/sys/class/net").iterdir() if p.name.startswith(f"esa{pid}p")]
    named = [p for folder in ("/run/netns", "/etc/netns") for p in Path(folder).glob(f"{up.name}-h*")]
    folders = [p for p in [record.RUN / up.name] if p.exists()]
    return [str(path) for path in interfaces + named + folders]


def inside(namespace: str, *command: str) -> subprocess.CompletedProcess[str]:
    command = ("ip", "netns", "exec", namespace, *command)
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def name(root: None) -> Iterator[str]:
    name = f"t{os.getpid()}"
    yield name
    if record.load(name) is not None:
        esa("down", name)


def test_hosts_are_entered_by_name_and_names_resolve(rack: Up) -> None:
    first = rack.record.hosts[0]
    assert inside(first.namespace, "ping", "-c1", "-W5", "h4").returncode == 0
    own = inside(first.namespace, "getent", "ahostsv4", os.uname().nodename)
    assert own.stdout.split()[0] == str(first.ip)
    unknown = inside(first.namespace, "timeout", "2", "getent", "hosts", "nosuch.example")
    assert unknown.returncode == 2, "an unknown name is refused at once"
    neighbours = inside(first.namespace, "ip", "neigh", "show", "10.0.0.3").stdout
    assert "PERMANENT" in neighbours
    assert rack.record.hosts[2].mac in neighbours


def test_the_environment_leads_a_controller_to_the_switch(rack: Up) -> None:
    (export,) = [line for line in esa("env", rack.name).stdout.splitlines() if "ESA_SWITCH=" in line]
    words = dict(word.split("=", 1) for word in export.split() if "=" in word)
    with Switch.connect(words["ESA_SWITCH"], int(words["ESA_SWITCH_DEVICE_ID"])) as switch:
        assert Controller(switch).hosts() == {host.mac: host.switch_port for host in rack.record.hosts}


def test_a_rack_offers_metrics_of_its_jobs_and_of_its_switch(rack: Up) -> None:
    (url,) = [line.removeprefix("metrics at ") for line in rack.lines if line.startswith("metrics at ")]
    jobs = values(asked(url))
    assert jobs["esa_controller_switch_up", ()] == 1
    assert jobs["esa_switch_rows", ()] > 0
    address, _, port = url.removesuffix("/metrics").rpartition(":")
    switch = values(asked(f"{address}:{int(port) + 1}/metrics"))
    assert switch["esa_switch_program_loaded", ()] == 1


def test_the_record_is_its_owner_s_alone(rack: Up) -> None:
    assert (rack.record.folder / "rack.json").stat().st_mode & 0o777 == 0o600


def test_a_killed_switch_comes_back_with_program_and_hosts(rack: Up) -> None:
    switch = rack.record.switch
    assert switch is not None
    rack.kill_switch()

    def whole() -> bool:
        try:
            with Switch.connect(switch.address, switch.device_id) as client:
                return len(Controller(client).hosts()) == 4
        except Exception:
            return False

    until(whole, "the switch holds its hosts again", 30)
    assert inside(rack.record.hosts[0].namespace, "ping", "-c1", "-W5", "h2").returncode == 0


def test_a_second_rack_has_names_of_its_own_and_down_leaves_nothing(rack: Up, name: str) -> None:
    other = bring_up(name, 2, "--mbps", "0")
    assert inside(f"{name}-h1", "ping", "-c1", "-W5", "h2").returncode == 0
    assert inside(rack.record.hosts[0].namespace, "ping", "-c1", "-W5", "h4").returncode == 0
    assert refused("up", "--name", name, "--hosts", "2") == (
        f"rack: '{name}' is up already (process {other.process.pid});"
        f" esa down {name} ends it, --name gives this one another name"
    )
    down = esa("down", name)
    assert (down.returncode, down.stdout) == (0, f"ended rack {name} (process {other.process.pid})\n")
    assert "nothing is left" in other.process.communicate(timeout=LIMIT_S)[0]
    assert other.process.returncode == 0
    assert traces(other, other.process.pid) == []


@pytest.mark.parametrize("how", ["down", "up"])
def test_what_a_killed_rack_leaves_is_removed(name: str, how: str) -> None:
    killed = bring_up(name, 2)
    namespace = killed.record.hosts[0].namespace
    lost = subprocess.Popen(
        ["ip", "netns", "exec", namespace, "sleep", "1000"], env=os.environ | {"ESA_LAUNCH": f"{name}/lost"}
    )
    killed.process.kill()
    killed.process.communicate(timeout=LIMIT_S)
    assert f"/run/netns/{namespace}" in traces(killed, killed.process.pid)
    if how == "down":
        done = esa("down", name)
        assert done.returncode == 0, done.stderr
        assert f"removed {namespace}, {name}-h2" in done.stdout
    else:
        bring_up(name, 2).end()
    assert lost.wait(10) == -signal.SIGKILL
    until(lambda: traces(killed, killed.process.pid) == [], "nothing is left", 10)


def test_somebody_else_s_namespace_is_left_alone(name: str) -> None:
    subprocess.run(["ip", "netns", "add", f"{name}-h2"], check=True)
    try:
        assert refused("up", "--name", name, "--hosts", "2") == (
            f"rack: /run/netns/{name}-h2 is there already and no rack's: choose another --name, or remove it"
        )
        assert Path(f"/run/netns/{name}-h2").exists()
    finally:
        subprocess.run(["ip", "netns", "delete", f"{name}-h2"], check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hosts", "0"], "hosts: 0; allowed: 1 to 253"),
        (["--mbps", "2000"], "bandwidth_mbps: 2000.0; allowed: above 0, at most 1000"),
        (["--lanes", "3"], "lanes: no build with 3 lanes; allowed: 0, 64, 256"),
        (["--metrics", "9100"], "metrics: '9100'; allowed: HOST:PORT, say 127.0.0.1:9100"),
        (["--switch", "tofino"], "switch: unknown switch 'tofino'; allowed: embedded, bmv2"),
        (["--name", "Big Rack"], "name: 'Big Rack'; allowed: lower-case letters, digits and dashes, at most 32"),
    ],
)
def test_bad_options_are_refused_in_one_line(root: None, options: list[str], message: str) -> None:
    assert refused("up", "--name", f"t{os.getpid()}", *options) == message


def test_down_names_the_racks_there_are(rack: Up) -> None:
    line = refused("down", "nosuch")
    assert line.startswith("rack: there is no rack 'nosuch'; there are: ")
    assert rack.name in line
