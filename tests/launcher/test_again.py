"""A job's life on a rack that stays up: runs one after the other, interrupted, by hand, under torchrun.

Meanwhile switch, PS and jobs are meddled with. Every sum is checked: by the ranks themselves, or by the weights.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from esa.job import Job
from experiments.studies import again
from tests.launcher.conftest import Up, until
from tests.launcher.test_job_command import changed, esactl, new

pytestmark = pytest.mark.timeout(240)

SEED = int(os.environ.get("AGAIN_SEED") or random.SystemRandom().randrange(2**32))
LIMIT_S = 100.0  # generous: what is waited for takes seconds
TOLD_WITHIN_S = 2.0  # of a member's end: the others


@pytest.fixture(scope="module")
def gloo(rack: Up, tmp_path_factory: pytest.TempPathFactory) -> again.Weights:
    return again.train(rack.name, again.GLOO, tmp_path_factory.mktemp("gloo"))


@pytest.mark.parametrize("policy", again.POLICIES)
def test_a_run_after_an_interrupted_one_trains_to_the_weights_of_gloo(
    rack: Up, policy: str, gloo: again.Weights, tmp_path: Path
) -> None:
    print(f"AGAIN_SEED={SEED}")
    found = again.one_round(rack.name, policy, random.Random(f"{SEED} {policy}"), gloo, tmp_path)
    assert found.away <= again.BOUND
    assert found.interrupt.stopped_s <= again.STOPPED_WITHIN_S


# By hand


class Process:
    """A process on a host of the rack; its output goes to files."""

    def __init__(self, rack: Up, host: str, command: list[str], log: Path, **environment: str) -> None:
        told = {"ESA_CONTROLLER": rack.record.controller, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.host = host
        self.log = log
        with log.with_suffix(".out").open("wb") as out, log.open("wb") as err:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", f"{rack.name}-{host}", *command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env=os.environ | told | environment,
            )

    @property
    def out(self) -> str:
        return self.log.with_suffix(".out").read_text()

    @property
    def err(self) -> list[str]:
        return self.log.read_text().splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What a rank that sums has said."""
        whole, _, _ = self.out.rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def sums(self) -> int:
        return sum(event["event"] == "sum" for event in self.events)

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1] if self.events else {"event": ""}

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()

    def end(self) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        if self.process.poll() is None:  # torchrun's ranks have sessions of their own
            for each in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
                each.kill()
        self.process.wait()


class Hands:
    """One job of two ranks on hosts h1 and h2, its PS on h3; processes started one by one, as in terminals."""

    def __init__(self, rack: Up, folder: Path, policy: str, **settings: Any) -> None:
        self.rack = rack
        self.folder = folder
        self.file = folder / "job.json"
        self.job: Job = new(
            rack, self.file, "--workers", "h1,h2", "--server", "h3", "--name", "hand", "--policy", policy
        )
        changed(self.file, **settings)
        self._processes: list[Process] = []

    def esactl(self, *arguments: str) -> None:
        done = esactl(self.rack, *arguments)
        assert done.returncode == 0, done.stderr

    def add(self) -> None:
        self.esactl("job", "add", str(self.file))

    def server(self) -> Process:
        return self.process("h3", "esa.hosts", "server", "--job", str(self.file))

    def ranks(self, *pauses: float) -> list[Process]:
        """Ranks that sum arrays, pausing between them, once their run has begun."""
        loops = [
            self.process(
                f"h{rank + 1}",
                "experiments.live.loop",
                *("--job", str(self.file), "--rank", str(rank), "--values", "2000", "--pause", str(pause)),
            )
            for rank, pause in enumerate(pauses or (0.005, 0.005))
        ]
        until(lambda: all(loop.last["event"] == "ready" for loop in loops), "a run begins", LIMIT_S)
        for loop in loops:
            loop.tell("go")
        return loops

    def process(self, host: str, *module: str, **environment: str) -> Process:
        log = self.folder / f"{len(self._processes)}-{host}.log"
        self._processes.append(Process(self.rack, host, [sys.executable, "-m", *module], log, **environment))
        return self._processes[-1]

    def go_on(self, ranks: list[Process], more: int = 5) -> None:
        """Every rank completes what it has in flight, and more."""
        wanted = [rank.sums + more for rank in ranks]
        until(
            lambda: (
                all(rank.sums >= sums for rank, sums in zip(ranks, wanted, strict=True))
                or any(rank.last["event"] in ("error", "wrong") for rank in ranks)
            ),
            "sums",
            LIMIT_S,
        )
        assert [rank.last["event"] for rank in ranks] == ["sum"] * len(ranks), [rank.last for rank in ranks]

    def stop(self, ranks: list[Process]) -> None:
        """Let a run end in good order."""
        for rank in ranks:
            rank.tell("stop")
        until(lambda: all(rank.last["event"] == "end" for rank in ranks), "the ranks end", LIMIT_S)
        for rank in ranks:
            assert rank.process.stdin is not None
            rank.process.stdin.close()
        assert [rank.process.wait(LIMIT_S) for rank in ranks] == [0] * len(ranks), [rank.err for rank in ranks]

    def close(self) -> None:
        for process in self._processes:
            process.end()
        esactl(self.rack, "job", "remove", "hand")


@pytest.fixture
def hands(rack: Up, tmp_path: Path) -> Iterator[Callable[..., Hands]]:
    made: list[Hands] = []

    def make(policy: str, **settings: Any) -> Hands:
        made.append(Hands(rack, tmp_path, policy, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def kill(process: Process) -> float:
    """When it was killed."""
    process.process.kill()
    process.process.wait()
    return time.monotonic()


def ended(process: Process) -> dict[str, Any]:
    """The error that a rank ended with, and how long ago."""
    until(lambda: process.last["event"] == "error", "the others are told", LIMIT_S)
    return process.last


@pytest.mark.parametrize("policy", again.POLICIES)
def test_runs_by_hand_one_after_the_other(hands: Callable[..., Hands], policy: str) -> None:
    hand = hands(policy)
    hand.add()
    server = hand.server()
    ranks = hand.ranks()
    hand.go_on(ranks)
    hand.stop(ranks)

    ranks = hand.ranks()  # the PS is the one of the run before
    hand.go_on(ranks)
    killed_at = kill(ranks[1])
    error = ended(ranks[0])
    assert error["t"] - killed_at < TOLD_WITHIN_S
    assert "rank 1 (10.0.0.2) has ended" in error["message"]

    kill(server)  # a new PS
    server = hand.server()
    ranks = hand.ranks()
    hand.go_on(ranks)
    other = "atp" if policy == "esa" else "esa"
    hand.esactl("policy", "set", "hand", other)  # in the middle of a run
    hand.go_on(ranks)
    hand.esactl("policy", "set", "hand", policy)
    hand.go_on(ranks)
    hand.stop(ranks)

    hand.esactl("policy", "set", "hand", other)  # between runs
    hand.esactl("policy", "set", "hand", policy)
    hand.esactl("job", "remove", "hand")
    hand.add()
    ranks = hand.ranks()
    hand.go_on(ranks)
    hand.stop(ranks)
    assert server.process.poll() is None
    assert again.left_over(hand.rack.name) == [f"job {hand.job.job}"]


def test_a_job_that_is_away_for_long_and_comes_back_finds_its_ps_waiting(hands: Callable[..., Hands]) -> None:
    hand = hands("esa")
    hand.add()
    server = hand.server()
    ranks = hand.ranks()
    hand.go_on(ranks)
    hand.esactl("job", "remove", "hand")  # in the middle of a run
    for rank in ranks:
        assert "job hand was taken off the switch" in ended(rank)["message"]
        assert len([line for line in rank.err if "Traceback" in line]) == 0
    hand.add()
    ranks = hand.ranks()
    hand.go_on(ranks)
    hand.stop(ranks)
    assert server.process.poll() is None, server.err


@pytest.mark.parametrize("policy", ["esa", "switchml"])
def test_a_rank_that_computes_for_longer_than_the_silent_are_given_is_waited_for(
    hands: Callable[..., Hands], policy: str
) -> None:
    hand = hands(policy, give_up_s=2.0)
    hand.add()
    hand.server()
    ranks = hand.ranks(0.0, 6.5)
    hand.go_on(ranks, 2)
    said = [line for line in ranks[0].err if "computes" in line]
    assert len(said) == 1, ranks[0].err
    assert re.fullmatch(r"esa: job hand, rank 0: waits 5 s for fragment \d+: rank 1 \(10\.0\.0\.2\) computes", said[0])
    assert [line for line in ranks[1].err if "waits" in line] == []


def test_who_waits_for_a_ps_says_so_in_one_line(hands: Callable[..., Hands]) -> None:
    hand = hands("ps")
    hand.add()
    joining = [
        hand.process(f"h{rank + 1}", "experiments.live.loop", "--job", str(hand.file), "--rank", str(rank))
        for rank in range(2)
    ]
    until(lambda: all(rank.err for rank in joining), "somebody says that the PS is missing", 20.0)
    assert [rank.err for rank in joining] == [["esa: job hand: waits for the PS (10.0.0.3) to join"]] * 2
    server = hand.server()
    until(lambda: all(rank.last["event"] == "ready" for rank in joining), "a run begins", LIMIT_S)
    for rank in joining:
        rank.tell("go")
    hand.go_on(joining, 2)
    kill(server)
    until(lambda: all(len(rank.err) > 1 for rank in joining), "somebody says that the PS is silent", 20.0)
    for rank, process in enumerate(joining):
        [line] = process.err[1:]
        start = rf"esa: job hand, rank {rank}: waits \d+ s for fragment \d+: "
        assert re.fullmatch(start + r"the PS \(10\.0\.0\.3\) is silent: look whether it runs .*", line), line
    hand.server()
    hand.go_on(joining)
    hand.stop(joining)


@pytest.mark.parametrize("policy", ["esa", "switchml"])
def test_a_switch_that_is_killed_in_the_middle_of_a_run_costs_no_sum(hands: Callable[..., Hands], policy: str) -> None:
    hand = hands(policy)
    hand.add()
    hand.server()
    ranks = hand.ranks()
    hand.go_on(ranks)
    for _ in range(2):
        hand.rack.kill_switch()  # the rack starts it anew, without a program
        hand.go_on(ranks)
    hand.stop(ranks)
    ranks = hand.ranks()
    hand.go_on(ranks)
    hand.stop(ranks)


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
