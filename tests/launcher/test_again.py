"""A job's life on a rack that stays up: trained again after it was interrupted, and restarted by torchrun.

Every sum is checked: by the weights, which are those of gloo.
"""

from __future__ import annotations

import os
import random
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.studies import again
from tests.launcher.hands import LIMIT_S, Hands
from tests.launcher.rig import Up, until
from tests.switches import free_port
from tests.torch.ranks import run_ranks

pytestmark = pytest.mark.timeout(240)

SEED = int(os.environ.get("AGAIN_SEED") or random.SystemRandom().randrange(2**32))


@pytest.fixture(scope="module")
def gloo(tmp_path_factory: pytest.TempPathFactory) -> again.Weights:
    """Of two ranks without a rack."""
    weights = tmp_path_factory.mktemp("gloo") / "gloo.npy"
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(again.RANKS)}
    run_ranks(again.RANKS, train_over_gloo, weights, environment=environment)
    found: again.Weights = np.load(weights)
    return found


def train_over_gloo(_rank: int, weights: Path) -> None:
    sys.argv = [str(again.SCRIPT), str(weights), "--iterations", str(again.ITERATIONS), "--gloo"]
    runpy.run_path(str(again.SCRIPT), run_name="__main__")


# All policies sum exactly after a killed rank (test_by_hand), and `make again` runs all of them.
def test_a_run_after_an_interrupted_one_trains_to_the_weights_of_gloo(
    rack: Up, gloo: again.Weights, tmp_path: Path
) -> None:
    print(f"AGAIN_SEED={SEED}")
    found = again.one_round(rack.name, "esa", random.Random(SEED), gloo, tmp_path)
    assert found.away <= again.BOUND
    # Before anybody is given up, after 30 s. `esa again` holds it to 2 s, where nothing else runs.
    assert found.interrupt.stopped_s <= 20.0


# torchrun

DIES_ONCE = """
import os, runpy, sys
from pathlib import Path
import esa.torch
import torch
first = Path(sys.argv[2])
if os.environ["RANK"] == "1" and not first.exists():
    first.touch()
    step = torch.optim.SGD.step
    def die(*arguments, taken=[], **settings):
        taken.append(1)
        if len(taken) == 5:
            os._exit(3)
        return step(*arguments, **settings)
    torch.optim.SGD.step = die
sys.argv = [sys.argv[0], sys.argv[1]]
runpy.run_path(os.environ["TRAIN"], run_name="__main__")
"""


def test_what_torchrun_restarts_trains_to_the_weights_of_gloo(
    hands: Callable[..., Hands], gloo: again.Weights, tmp_path: Path
) -> None:
    hand = hands("esa")
    hand.add()
    hand.server()
    script, weights, died = tmp_path / "dies.py", tmp_path / "weights.npy", tmp_path / "died"
    script.write_text(DIES_ONCE)
    agents = [
        hand.process(
            f"h{node + 1}",
            "torch.distributed.run",
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", "10.0.0.1:29511", "--rdzv-id", "again"),
            *("--local-addr", f"10.0.0.{node + 1}", "--rdzv-conf", f"is_host={1 - node}"),
            *("--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "1"),
            *(str(script), str(weights), str(died)),
            ESA_JOB=str(hand.file),
            GLOO_SOCKET_IFNAME=hand.rack.record.interface,
            TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1",  # docs/machines.md says why
            TRAIN=str(again.SCRIPT),
        )
        for node in range(2)
    ]
    until(lambda: all(agent.process.poll() is not None for agent in agents), "both agents end", LIMIT_S)
    assert [agent.process.poll() for agent in agents] == [0, 0], [agent.err for agent in agents]
    assert died.exists()
    assert again.distance(np.load(weights), gloo) <= again.BOUND
