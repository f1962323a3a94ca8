"""The command line as a person or a script meets it: output, exit status, errors on one line."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

from controller import Controller
from controller.cli import run
from controller.row_map import row_map
from controller.rows import HeldRow, read_rows
from esa.entries import job_entries as e
from esa.job import Pool
from tests.controller.jobs import job_dict, member
from tests.switches import SwitchProcess, free_port


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str


class Esactl:
    """Runs `esactl` on one switch with a state file of its own: in this process, which is quick, or as a process."""

    def __init__(self, address: str, state: Path) -> None:
        self.environment = {**os.environ, "ESA_SWITCH": address, "ESA_STATE": str(state)}

    def run(self, *arguments: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.dict(os.environ, self.environment), redirect_stdout(out), redirect_stderr(err):
            status = run(arguments)
        return Done(status, out.getvalue(), err.getvalue())

    def process(self, *arguments: str, stdin: str = "") -> Done:
        command = [sys.executable, "-m", "controller.cli", *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=60, env=self.environment, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert (done.status, done.stderr) == (0, "")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def fails(self, status: int, *arguments: str) -> str:
        """The error, which is one line."""
        done = self.run(*arguments)
        assert done.status == status, done
        assert done.stdout == ""
        assert done.stderr.startswith("esactl: ")
        assert done.stderr.count("\n") == 1
        return done.stderr.removeprefix("esactl: ").rstrip("\n")


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job_dict()))
    return path


@pytest.fixture
def esactl(controller: Controller, process: SwitchProcess, tmp_path: Path) -> Esactl:
    return Esactl(process.address, tmp_path / "state.json")


def test_a_session(esactl: Esactl, job_file: Path, tmp_path: Path, controller: Controller) -> None:
    assert "64-lane program, 8192 rows" in esactl("load", "--lanes", "64")
    assert esactl.json("job", "list") == []
    added = esactl("job", "add", str(job_file))
    assert re.fullmatch(r"added alpha: job 1, epoch \d+, 2 workers, esa\n", added)
    (listed,) = esactl.json("job", "list")
    assert listed == esactl.json("job", "show", "alpha") == esactl.json("job", "show", "1")
    assert (listed["name"], listed["policy"], listed["pool"]) == ("alpha", "esa", {"base": 0, "size": 4096})
    assert listed["workers"] == job_dict()["workers"]
    assert "alpha" in esactl("job", "list")
    assert "10.0.0.2:20001" in esactl("job", "show", "alpha")

    assert esactl("policy", "set", "alpha", "atp") == "alpha: atp, rows 0..4095\n"
    assert esactl("policy", "set", "alpha", "switchml", "--window", "10") == "alpha: switchml, rows 4096..8191\n"
    assert esactl("policy", "set", "alpha", "esa", "--pool", "64:64") == "alpha: esa, rows 64..127\n"
    assert controller.jobs()[0].policy.name == "esa"

    controller.switch.write_counters([(e.COUNTERS["seated"], 1, 5), (e.COUNTERS["released"], 1, 2)])
    assert esactl.json("counters", "alpha")["seated"] == 5
    everything = esactl.json("counters")
    assert everything["jobs"]["alpha"]["released"] == 2
    assert everything["none"]["seated"] == 0
    assert everything["denied_by_reason"]["bitmap"] == 0
    assert esactl.json("occupancy") == {"jobs": {"alpha": 3}, "left_behind": 0, "total": 3, "rows": 8192}
    assert "alpha" in esactl("occupancy")
    assert "preemptions" in esactl("counters")

    assert esactl("host", "add", "00:00:0a:00:00:63", "9") == "00:00:0a:00:00:63 is on port 9\n"
    assert esactl.json("host", "list")["00:00:0a:00:00:63"] == 9
    assert esactl("job", "remove", "alpha") == "removed alpha\n"
    assert esactl.json("occupancy")["left_behind"] == 3


def test_pools(esactl: Esactl, tmp_path: Path, controller: Controller) -> None:
    for number in range(1, 4):
        job = job_dict(f"j{number}", number, window=256, pool={"base": 0, "size": 4096}, demand=0.25 * number)
        (tmp_path / "one.json").write_text(json.dumps(job))
        esactl("job", "add", str(tmp_path / "one.json"))
    controller.switch.write_counters([(e.COUNTERS["seated"], 2, 5), (e.COUNTERS["released"], 2, 2)])
    found = esactl.json("pools")
    assert found["rows"] == 8192
    assert [job["name"] for job in found["jobs"]] == ["j1", "j2", "j3"]
    assert found["jobs"][1] == {
        "name": "j2",
        "job": 2,
        "policy": "esa",
        "kind": "placed",
        "pool": {"base": 0, "size": 4096},
        "wanted": {"base": 2048, "size": 2048},
        "in_use": 3,
        "demand": 0.5,
    }
    table = esactl("pools")
    assert re.search(r"j2 .* esa .* placed .* 0\.\.4095 .* 4096 .* 3 .* 0\.50 .* 2048\.\.4095", table)
    assert esactl("pools", "--apply").splitlines() == [
        f"j{number}: rows 0..4095 -> rows {2048 * number - 2048}..{2048 * number - 1}" for number in (1, 2, 3)
    ]
    assert esactl("pools", "--apply") == "nothing to do\n"
    assert esactl("pools", "set", "j2", "128", "64") == "j2: rows 128..191\n"
    assert controller.find("2").pool == Pool(base=128, size=64)
    assert esactl.json("pools", "--apply")["moved"][0]["pool"] == {"base": 128, "size": 64}
    assert [job["demand"] for job in esactl.json("pools", "--over", "0.05")["jobs"]] == [0, 0, 0], "nobody sends"


def test_pools_that_cannot_be(esactl: Esactl, tmp_path: Path) -> None:
    pool = {"a": {"base": 0, "size": 1024}, "s": {"base": 4096, "size": 512}, "p": {"base": 0, "size": 1}}
    for number, (name, policy) in enumerate((("a", "esa"), ("s", "switchml"), ("p", "ps")), 1):
        (tmp_path / "one.json").write_text(json.dumps(job_dict(name, number, policy, pool=pool[name])))
        esactl("job", "add", str(tmp_path / "one.json"))
    for words, part in (
        ("a 0 3", "pool: size 3 is not a power of two"),
        ("a 8192 64", "pool: job a: rows 8192..8255 exceed the switch's 8192 rows"),
        ("a 4096 64", "pool: job a: placed rows 4096..4159 overlap slice rows 4096..4607 of job s"),
        ("s 0 512", "pool: job s has a slice ('switchml'), whose sums its workers may still ask for; allowed: placed"),
        ("p 0 512", "pool: job p uses no rows under 'ps'; allowed: placed and shared pools"),
        ("x 0 512", "job: no job 'x' in the switch; jobs: a, s, p"),
        ("a -1 512", "No such option"),
        ("a zero 512", "Invalid value for 'BASE'"),
    ):
        assert part in esactl.fails(2, "pools", "set", *words.split())
    assert [job["pool"] for job in esactl.json("pools")["jobs"]] == [pool["a"], pool["s"]]


def test_list_works_without_the_state_file(esactl: Esactl, job_file: Path, tmp_path: Path) -> None:
    esactl("job", "add", str(job_file))
    (tmp_path / "state.json").unlink()
    (listed,) = esactl.json("job", "list")
    assert listed["name"] == "job-1"
    esactl("job", "remove", "job-1")


def test_reconcile(esactl: Esactl, job_file: Path, controller: Controller) -> None:
    assert esactl("reconcile") == "nothing to do\n"
    assert esactl("reconcile", str(job_file)) == "added job alpha\n"
    epoch = controller.find(1).epoch
    controller.switch.delete([e.policy_entry(controller.find(1))])
    assert f"left-over entry owner(job=1, epoch={epoch})" in esactl("reconcile")
    assert esactl.json("job", "list") == []


@pytest.mark.slow
def test_watch_through_a_pipe(esactl: Esactl, job_file: Path) -> None:
    esactl("job", "add", str(job_file))
    status, output, errors = esactl.process("watch", "--count", "3", "--interval", "0.05")
    assert (status, errors) == (0, "")
    assert output.count("of 8192 rows in use") == 3
    assert output.count("rows over time") == 3
    assert output.count("alpha") == 6


def test_a_map_of_the_rows(esactl: Esactl, job_file: Path, process: SwitchProcess, controller: Controller) -> None:
    esactl("job", "add", str(job_file))
    if process.kind == "bmv2":
        assert "UNIMPLEMENTED" in esactl.fails(1, "watch", "--rows", "--count", "1")
        return
    job = controller.find(1)
    assert job.pool is not None
    assert read_rows(controller.switch, range(job.pool.base, job.pool.base + 4)) == []
    output = esactl("watch", "--rows", "--count", "1")
    rows = job.pool.base + job.pool.size
    assert output.count("·") == rows + 1
    assert output.splitlines()[-2:] == ["a alpha: 0 rows", f"· free: {rows} of {rows}"]


def test_rows_are_told_apart_by_job_and_priority() -> None:
    held = [
        HeldRow(1, 1, 7, 30, 10, 2),
        HeldRow(2, 1, 7, 31, 200, 1),
        HeldRow(5, 2, 7, 3, 90, 1),
        HeldRow(6, 9, 1, 0, 1, 1),
    ]
    names = {(1, 7): "alpha", (2, 7): "beta"}
    lines = row_map(range(8), held, names, colour=False, width=4).plain.splitlines()
    assert lines == [
        "     0 ·aA·",
        "     4 ·b?·",
        "a alpha: 2 rows, priorities 10 to 200",
        "b beta: 1 rows, priorities 90 to 90",
        "· free: 4 of 8; ? left behind: 1",
    ]
    coloured = row_map(range(8), held, names, colour=True, width=8)
    assert coloured.plain.splitlines()[0] == "     0 ·░█··▒?·"
    assert len({str(span.style) for span in coloured.spans}) >= 2


def test_registers(esactl: Esactl, process: SwitchProcess) -> None:
    if process.kind == "bmv2":
        assert "UNIMPLEMENTED" in esactl.fails(1, "registers", "row_bitmap", "--index", "3")
    else:
        assert esactl("registers", "row_bitmap", "--index", "3") == "row_bitmap[3] = 0 (0x0)\n"
        assert esactl.json("registers", "row_bitmap") == [0] * 8192


@pytest.mark.slow
def test_the_shell_has_the_program(esactl: Esactl) -> None:
    done = esactl.process("shell", stdin='print("tables:", [t.name for t in tables])\nexit\n')
    assert done.status == 0, done.stderr
    assert "EsaIngress.admission.policy" in done.stdout


def test_where_the_shell_is_missing_it_says_what_to_install(esactl: Esactl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "p4runtime_sh", None)
    assert "p4runtime_sh is not installed: pip install" in esactl.fails(2, "shell")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["job", "add", "nosuch.json"], "nosuch.json: No such file"),
        (["job", "show", "zz"], "no job 'zz'"),
        (["policy", "set", "alpha", "fifo"], "unknown policy 'fifo'; allowed: esa, atp, a2tp, switchml, ps"),
        (["policy", "set", "alpha", "esa", "--pool", "0:3"], "pool: size 3 is not a power of two"),
        (["policy", "set", "alpha", "esa", "--pool", "3"], "pool: '3' is not BASE:SIZE"),
        (["policy", "set", "alpha", "esa", "--pool", "8192:64"], "rows 8192..8255 exceed the switch's 8192 rows"),
        (["load", "--lanes", "7"], "no build with 7 lanes; allowed: 0, 64, 256"),
        (["host", "add", "00:00", "1"], "mac: '00:00' is not a MAC address"),
        (["--address", "nonsense", "job", "list"], "'nonsense' is neither HOST:PORT"),
        (["--election-id", "5", "job", "list"], "election-id: '5' is not HIGH,LOW"),
        (["--cacert", "nosuch.pem", "job", "list"], "cacert: there is no file nosuch.pem"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["counters", "--frobnicate"], "No such option"),
    ],
)
def test_wrong_requests(esactl: Esactl, job_file: Path, arguments: list[str], part: str) -> None:
    if arguments[0] == "policy":
        esactl("job", "add", str(job_file))
    assert part in esactl.fails(2, *arguments)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"policy": "fifo"}, "unknown policy 'fifo'; allowed: esa, atp"),
        ({"wndow": 1}, "wndow: unknown key; allowed: name, job"),
        ({"workers": [member(host) for host in range(1, 34)]}, "a fan-in of 33 exceeds 32"),
        ({"policy": "switchml"}, "job beta: slice rows 0..4095 overlap placed rows 0..4095 of job alpha"),
    ],
)
def test_wrong_jobs(esactl: Esactl, job_file: Path, tmp_path: Path, changes: dict[str, Any], part: str) -> None:
    esactl("job", "add", str(job_file))
    other = tmp_path / "beta.json"
    other.write_text(json.dumps(job_dict("beta", 2, **({"policy": "esa"} | changes))))
    assert part in esactl.fails(2, "job", "add", str(other))
    assert [job["name"] for job in esactl.json("job", "list")] == ["alpha"]


def test_a_writer_with_a_lower_election_id_is_refused(esactl: Esactl, controller: Controller) -> None:
    controller.add_host("00:00:0a:00:00:01", 1)
    assert "not primary" in esactl.fails(1, "--election-id", "0,1", "host", "add", "00:00:0a:00:00:02", "2")


@pytest.mark.parametrize("arguments", [["job", "list"], ["load"], ["watch", "--count", "1"], ["shell"]])
def test_nothing_listens(tmp_path: Path, arguments: list[str]) -> None:
    esactl = Esactl(f"127.0.0.1:{free_port()}", tmp_path / "state.json")
    assert "no switch answers at 127.0.0.1:" in esactl.fails(1, *arguments)


def test_the_process_says_the_same_as_its_exit_status(tmp_path: Path) -> None:
    esactl = Esactl(f"127.0.0.1:{free_port()}", tmp_path / "state.json")
    status, output, errors = esactl.process("job", "list")
    assert (status, output) == (1, "")
    assert errors.startswith("esactl: no switch answers at 127.0.0.1:")
    assert errors.count("\n") == 1
    assert esactl.process("frobnicate") == (2, "", "esactl: No such command 'frobnicate'.\n")
