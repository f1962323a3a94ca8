"""`esa doctor` finds what a test has really made wrong, and the command that it gives mends it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.topologies.doctor.conftest import Place

pytestmark = pytest.mark.timeout(180)  # each looks several times, and every look imports torch


def ended_process() -> int:
    """The id of a process that was."""
    with subprocess.Popen(["true"]) as process:
        process.wait(30)
    return process.pid


def test_nothing_is_wrong_where_nothing_is(place: Place) -> None:
    status, found = place.findings()
    names = found.pop("hosts' names")  # the whole machine's: somebody else's killed rack may have left some
    assert [one for one in found.values() if one["needed"] and one["state"] != "ok"] == []
    assert status == (0 if names["state"] == "ok" else 1)
    assert {"root", "veth", "Mininet", "torch", "offloads", "cache esa-native", "leftovers"} <= {*found}


def test_an_interface_of_a_killed_run_is_found_and_removed(place: Place) -> None:
    name = f"esa{ended_process()}p1"
    place.do(f"ip link add {name} type veth peer name other")
    status, every = place.findings()
    found = every["leftovers"]
    assert (status, found["state"], found["said"]) == (1, "wrong", f"interface {name}")
    assert found["mend"] == "sudo esa stop"
    done = place.esa("stop")
    assert f"deleted interface {name}" in done.stdout, done.stderr
    assert place.look("left", "leftovers")["state"] == "ok"


def test_interfaces_with_offloads_are_found_and_mended(place: Place) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(170)"]) as run:
        try:
            name = f"esa{run.pid}p1"  # as of a run that lives
            place.do(f"ip link add {name} type veth peer name other")
            found = place.look("interfaces", "offloads")
            assert found["said"].startswith(f"{name} has ")
            assert " tso " in found["said"]
            assert place.look("left", "leftovers")["state"] == "ok"
            place.do(found["mend"])
            found = place.look("interfaces", "offloads")
            assert (found["state"], found["said"]) == ("ok", "1 interface has none on")
        finally:
            run.kill()


def test_a_host_that_does_not_know_the_switch_is_found_and_mended(place: Place) -> None:
    place.do("ip link add esa0 type veth peer name other")
    place.do("ip address add 10.7.7.1/24 dev esa0 && ip link set esa0 up")
    found = place.look("interfaces", "static ARP of the switch")
    assert found["state"] == "wrong"
    assert "10.7.7.254" in found["mend"]
    place.do(found["mend"])
    assert place.look("interfaces", "static ARP of the switch")["said"] == "1 host knows it"


def test_a_port_that_somebody_has_is_found_and_does_not_keep_live_runs_from_anything(place: Place) -> None:
    listen = "import socket, time; s = socket.create_server(('127.0.0.1', 9559)); print(1, flush=True); time.sleep(90)"
    command = ["ip", "netns", "exec", place.namespace, sys.executable, "-c", listen]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        port = place.look("ports", "port 9559/tcp")
        assert (port["state"], port["needed"]) == ("wrong", False)
        assert f"process {holder.pid}, {sys.executable}" in port["said"]
        assert f"kill {holder.pid}" in port["mend"]
        assert "--grpc-server-addr 127.0.0.1:9569" in port["mend"]
        holder.terminate()
    assert place.look("ports", "port 9559/tcp")["state"] == "ok"


def test_a_host_of_no_rack_is_found_and_removed(place: Place) -> None:
    name = f"lost-{os.getpid()}-h1"
    files = Path("/etc/netns", name)
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=30)
    try:
        files.mkdir(parents=True)
        (files / "hosts").write_text("127.0.0.1 localhost\n")
        found = place.look("left", "hosts' names")
        assert found["state"] == "wrong"
        assert name in found["said"]
        mend = [part for part in found["mend"].split("; ") if name in part]
        subprocess.run("; ".join(mend).replace("sudo ", ""), shell=True, check=True, timeout=30)
        assert not files.exists()
        assert name not in place.look("left", "hosts' names")["said"]
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=30, check=False)


def test_without_a_loopback_interface(place: Place) -> None:
    place.do("ip link set lo down")
    found = place.look("kernel", "loopback")
    assert found["state"] == "wrong"
    place.do(found["mend"].replace("sudo ", ""))
    assert place.look("kernel", "loopback")["state"] == "ok"


def path_without(folder: Path, *programs: str) -> str:
    """A PATH on which everything is but these."""
    folder.mkdir()
    for place in ("/usr/sbin", "/usr/bin"):
        for program in Path(place).iterdir():
            if program.name not in programs and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return str(folder)


def test_what_is_not_installed_is_missing(place: Place, tmp_path: Path) -> None:
    status, found = place.findings(PATH=path_without(tmp_path / "bin", "ethtool", "tc"))
    assert status == 1
    assert found["programs"]["mend"] == "sudo apt-get install ethtool iproute2"
    assert found["shaped links (tbf)"]["state"] == "wrong"
    assert (found["p4c"]["state"], found["p4c"]["needed"]) == ("missing", False)
    assert (found["BMv2"]["state"], found["BMv2"]["needed"]) == ("missing", False)


def test_a_cache_that_cannot_be_written_is_wrong(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, found = place.findings(XDG_CACHE_HOME=str(tmp_path / "file"))
    cache = found["cache esa-native"]
    assert (status, cache["state"]) == (1, "wrong")
    assert cache["said"] == f"{tmp_path}/file/esa-native cannot be written: every process compiles anew"


def test_a_torch_that_cannot_be_imported_is_wrong(place: Place, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch_cpu.so: cannot open shared object file')\n")
    found = place.findings(PYTHONPATH=f"{tmp_path}:{place.environment['PYTHONPATH']}")[1]["torch"]
    assert found["state"] == "wrong"
    assert "libtorch_cpu.so" in found["said"]


def test_root_without_its_rights_is_told_what_it_may_not(place: Place) -> None:
    done = place.esa("doctor --wrong", "setpriv --bounding-set=-all", ESA_RUN_FOLDER="/nonexistent")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith("wrong   network namespaces") for line in lines), done.stdout


def test_a_run_that_dies_before_it_begins_says_what_is_wrong(place: Place, tmp_path: Path) -> None:
    done = place.esa("up --hosts 2 --name early", PATH=path_without(tmp_path / "bin", "setpriv"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "missing programs: setpriv: not on the PATH; mend: sudo apt-get install util-linux\n" in done.stderr
    assert "ok  " not in done.stderr


def test_a_request_that_is_wrong_is_no_reason_to_look_at_the_machine(place: Place) -> None:
    done = place.esa("up --hosts 2 --name 'No Name'")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
