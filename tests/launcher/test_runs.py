"""Ranks of a launch meet at the rack's coordinator and sum through its switch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.launcher.rig import Up, esa

pytestmark = pytest.mark.timeout(240)

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


def test_sums_pass_the_switch_under_another_policy_again_and_again(rack: Up, script: str) -> None:
    done = esa("launch", "--rack", rack.name, "--nproc", "3", "--policy", "switchml", script)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"[{rank}] {k} 6 6" for rank in range(3) for k in range(3)]


def test_the_others_are_told_who_left_before_they_are_ended(rack: Up, script: str) -> None:
    done = esa("launch", "--rack", rack.name, "--nproc", "3", script, "1")
    assert done.returncode == 7
    told = [line for line in done.stdout.splitlines() if "MemberLeft" in line]
    assert sorted(line[:3] for line in told) == ["[0]", "[2]"]
    assert all("rank 1" in line for line in told)
    assert "SIGTERM" not in done.stderr


TRAIN = """
import torch, torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
import esa.torch

torch.manual_seed(1)
dist.init_process_group("gloo")
model = DistributedDataParallel(nn.Linear(32, 4))
esa.torch.attach(model)
data = torch.Generator().manual_seed(dist.get_rank())
for _ in range(3):
    model(torch.randn(8, 32, generator=data)).square().mean().backward()
print([parameter.grad.double().sum().item() for parameter in model.parameters()])
dist.destroy_process_group()
"""


def test_one_line_in_a_training_script_lets_the_switch_sum(rack: Up, tmp_path: Path) -> None:
    path = tmp_path / "mlp.py"
    path.write_text(TRAIN)
    done = esa("launch", "--rack", rack.name, "--nproc", "2", str(path))
    assert done.returncode == 0, done.stderr
    gradients = [line[4:] for line in done.stdout.splitlines() if line[4:].startswith("[")]
    assert len(gradients) == 2
    assert len(set(gradients)) == 1, "the same on every rank"
    assert "from the switch" in done.stderr
