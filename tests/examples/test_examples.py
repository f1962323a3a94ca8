"""Every script in experiments/examples does what it says, and is short."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from esa.hosts.serving import JobServer
from tests.hosts.rig import Meeting, make_loopback_job
from tests.switches import running_switch

pytestmark = pytest.mark.timeout(240)  # the first run compiles

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "experiments" / "examples"
LIMIT_S = 200.0


def start(name: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
    )


def output(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    return out.splitlines()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_it_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 50


@pytest.mark.slow
def test_p4_switch() -> None:
    assert output(start("p4_switch.py")) == ["60 bytes leave by port 3"]


@pytest.mark.slow
def test_simulate() -> None:
    lines = output(start("simulate.py"))
    assert [line.split()[0] for line in lines] == ["esa", "atp", "switchml", "ps"]


@pytest.mark.slow
def test_add_job() -> None:
    with running_switch("embedded") as process:
        assert output(start("add_job.py", process.address)) == ["mnist: 2 workers, completed: 0"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all_reduce.py", "train.py"])
def test_two_ranks(name: str, tmp_path: Path) -> None:
    with Meeting(tmp_path) as meeting:
        job = meeting.add(make_loopback_job(2))
        job.save(tmp_path / "job.json")
        environment = {
            "ESA_JOB": str(tmp_path / "job.json"),
            "ESA_CONTROLLER": meeting.address,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(29000 + os.getpid() % 1000),
            "WORLD_SIZE": "2",
        }
        with JobServer(job, meeting.address):
            ranks = [start(name, RANK=str(rank), **environment) for rank in range(2)]
            said = sorted(line for rank in ranks for line in output(rank))
    if name == "all_reduce.py":
        assert said == [f"rank {rank} of 2: 0.1500 and 999 more" for rank in range(2)]
    else:
        assert len(said) >= 2
