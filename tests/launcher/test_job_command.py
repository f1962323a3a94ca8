"""A job's file from names or addresses is one that the switch takes; what is wrong with one is said, a line each."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from controller import Controller, Switch
from esa.job import Job
from tests.launcher.rig import COMMAND, Up, changed, esa, esactl, new, refused
from tests.switches import free_port, running_switch

pytestmark = pytest.mark.timeout(240)


def check(rack: Up, file: Path) -> tuple[int, list[str]]:
    done = esa("job", "check", str(file), "--rack", rack.name)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_a_job_of_hosts_by_name_is_added_checked_and_removed(rack: Up, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    job = new(rack, file, "--workers", "h2,h1", "--server", f"{rack.name}-h3", "--name", "mlp", "--policy", "switchml")
    assert [str(worker.ip) for worker in job.workers] == ["10.0.0.2", "10.0.0.1"]
    assert [(worker.mac, worker.switch_port) for worker in job.workers] == [
        ("02:00:00:00:00:02", 2),
        ("02:00:00:00:00:01", 1),
    ]
    assert (str(job.server.ip), job.policy, job.lanes, job.job) == ("10.0.0.3", "switchml", 64, 1)
    status, lines = check(rack, file)
    assert (status, lines[0]) == (1, "wrong: job mlp (job 1) is not on the switch: add it with esactl job add")
    assert esactl(rack, "job", "add", str(file)).exit_code == 0
    try:
        status, lines = check(rack, file)
        assert (status, lines[-1]) == (0, "nothing is wrong")
        other = new(rack, tmp_path / "other.json", "--workers", "h4", "--server", "h3", "--policy", "switchml")
        assert other.job == 2
        assert other.pool.base + other.pool.size <= job.pool.base, "its rows are its own"
        taken = refused("job", "new", "--rack", rack.name, "--workers", "h4", "--server", "h3", "--name", "mlp")
        assert taken == "name: there is a job 'mlp' in the switch already"
    finally:
        assert esactl(rack, "job", "remove", "mlp").exit_code == 0


def test_a_member_knows_itself_and_reaches_the_switch_from_its_namespace(rack: Up, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    new(rack, file, "--workers", "h1,h2", "--server", "h3")
    enter = ["ip", "netns", "exec", rack.record.hosts[1].namespace]
    done = subprocess.run(
        [*enter, *COMMAND, "job", "check", str(file), "--rack", rack.name], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "wrong: job job (job 1) is not on the switch: add it with esactl job add",
        "note: this machine is rank 1",
    ]


def test_addresses_are_found_where_the_hosts_are(rack: Up, tmp_path: Path) -> None:
    """On a host of the rack its own address, and its neighbours' by ARP; ports from the switch."""
    file = tmp_path / "job.json"
    enter = ["ip", "netns", "exec", rack.record.hosts[0].namespace]
    members = ["--workers", "10.0.0.1,10.0.0.2", "--server", "10.0.0.3=02:00:00:00:00:03@3"]
    subprocess.run([*enter, "ip", "neigh", "del", "10.0.0.2", "dev", "eth0"], check=True)
    done = subprocess.run(
        [*enter, *COMMAND, "job", "new", "--rack", rack.name, "-o", str(file), *members],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    job = Job.load(file)
    assert [(worker.mac, worker.switch_port) for worker in (*job.workers, job.server)] == [
        (f"02:00:00:00:00:0{host}", host) for host in (1, 2, 3)
    ]


@pytest.mark.slow
def test_without_a_rack_the_switch_at_the_address_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    with running_switch("embedded") as process:
        with Switch.connect(process.address) as switch:
            Controller(switch).load(64)
            Controller(switch).add_hosts({"02:00:00:00:00:07": 7})
        options = ["--address", process.address, "-o", str(file), "--server", "10.1.2.9=02:00:00:00:00:09@9"]
        done = esa("job", "new", "--workers", "10.1.2.7=02:00:00:00:00:07", *options)
        assert done.returncode == 0, done.stderr
        job = Job.load(file)
        assert (job.workers[0].switch_port, str(job.switch_ip)) == (7, "10.1.2.254")
        lost = refused("job", "new", "--workers", "10.1.2.8=02:00:00:00:00:08", *options)
        assert "the switch does not know the port of 10.1.2.8 (02:00:00:00:00:08)" in lost
    gone = esa("job", "check", str(file), "--address", process.address)
    assert gone.returncode == 1
    assert f"wrong: no switch answers at {process.address}" in gone.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "h9", "--server", "h3"], "workers: 'h9' is not IP, IP=MAC, IP=MAC@PORT, or a host's name"),
        (["--workers", "10.0.0.1=5", "--server", "h3"], "workers: '10.0.0.1=5' is not IP"),
        (["--workers", "h1", "--server", "203.0.113.77"], "for 203.0.113.77: give it as 203.0.113.77=MAC@PORT"),
        (["--workers", ",", "--server", "h3"], "workers: none given"),
        (["--workers", "h1", "--server", "h3", "--policy", "best"], "policy: unknown policy 'best'"),
        (["--workers", "h1,h1", "--server", "h3"], "rank 1 and rank 0 have the same address 10.0.0.1"),
        (["--workers", "h1", "--server", "h3", "--switch-ip", "x"], "switch-ip: 'x' is not an IPv4 address"),
    ],
)
def test_what_no_job_can_be_made_of_is_refused_in_one_line(rack: Up, options: list[str], message: str) -> None:
    assert message in refused("job", "new", "--rack", rack.name, *options)
    assert not Path("job.json").exists()


def test_each_thing_that_is_wrong_has_its_line(rack: Up, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    good = new(rack, file, "--workers", "h1,h2", "--server", "h3").model_dump(mode="json")
    bad = [
        good["workers"][0] | {"switch_port": 4},
        good["workers"][1] | {"ip": "10.0.0.77"},
    ]
    changed(
        file,
        lanes=256,
        workers=bad,
        pool={"base": 0, "size": 256},
        server=good["server"] | {"mac": "02:00:00:00:00:04"},
    )
    status, lines = check(rack, file)
    assert status == 1
    assert [line for line in lines if line.startswith("wrong")] == [
        f"wrong: rank 1: no host of rack '{rack.name}' is 10.0.0.77: they are 10.0.0.1 to 10.0.0.4",
        f"wrong: the PS: 10.0.0.3 ({rack.name}-h3) has the MAC address 02:00:00:00:00:03, not 02:00:00:00:00:04",
        "wrong: lanes: the job has 256 lanes, the switch runs the 64-lane build",
        "wrong: rank 0: 02:00:00:00:00:01 is on port 1 of the switch, not 4",
        "wrong: the PS: 02:00:00:00:00:04 is on port 4 of the switch, not 3",
        "wrong: job job (job 1) is not on the switch: add it with esactl job add",
    ]


def test_a_file_that_is_no_job_is_named_with_every_key(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text('{"name": "a b", "colour": 3}')
    done = esa("job", "check", str(file), "--address", f"127.0.0.1:{free_port()}")
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert any("name: " in line and "'a b'" in line.replace('"', "'") for line in lines)
    assert any("colour: unknown key" in line for line in lines)
    assert any("workers: Field required" in line for line in lines)
    missing = esa("job", "check", "nosuch.json")
    assert (missing.returncode, missing.stdout) == (1, "wrong: nosuch.json: No such file or directory\n")
