"""Ranks of a launch meet at the rack's coordinator and sum through its switch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.launcher.conftest import Up, esa

SUM = """
import os, sys
from pathlib import Path
import numpy as np
from esa.errors import EsaError
from esa.hosts import join
from esa.job import Job

rank = int(os.environ["RANK"])
try:
    with join(Job.load(Path(os.environ["ESA_JOB"])), rank=rank, size=int(os.environ["WORLD_SIZE"])) as worker:
        for k in range(3):
            if k == 2 and sys.argv[1:] == [str(rank)]:
                os._exit(7)
            total = worker.all_reduce(np.full(1000, rank + 1, np.int32)).result().lanes
            print(k, total[0], total[-1])
except EsaError as error:
    print(type(error).__name__, error)
    sys.exit(1)
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "sum.py"
    path.write_text(SUM)
    return str(path)


@pytest.mark.parametrize("policy", ["esa", "switchml"])
def test_sums_pass_the_switch_under_any_policy_again_and_again(rack: Up, script: str, policy: str) -> None:
    done = esa("launch", "--rack", rack.name, "--nproc", "3", "--policy", policy, script)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"[{rank}] {k} 6 6" for rank in range(3) for k in range(3)]


def test_the_others_are_told_who_left_before_they_are_ended(rack: Up, script: str) -> None:
    done = esa("launch", "--rack", rack.name, "--nproc", "3", script, "1")
    assert done.returncode == 7
    told = [line for line in done.stdout.splitlines() if "MemberLeft" in line]
    assert sorted(line[:3] for line in told) == ["[0]", "[2]"]
    assert all("rank 1" in line for line in told)
    assert "SIGTERM" not in done.stderr
