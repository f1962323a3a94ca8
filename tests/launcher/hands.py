"""One job of two ranks and a PS, whose processes a test starts one by one, as in terminals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from esa.job import Job
from tests import forks
from tests.launcher.rig import Up, changed, esactl, new, until

LIMIT_S = 100.0  # generous: what is waited for takes seconds
FORKED = ("esa.hosts", "experiments.live.loop")  # what they import is imported once (`tests.forks`)


class Process:
    """`python -m MODULE ...` on a host of the rack; its output goes to files."""

    def __init__(self, rack: Up, host: str, module: Sequence[str], log: Path, **environment: str) -> None:
        told = {"ESA_CONTROLLER": rack.record.controller, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.host = host
        self.log = log
        with log.with_suffix(".out").open("wb") as out, log.open("wb") as err:
            environment = {**os.environ, **told, **environment}
            namespace = f"{rack.name}-{host}"
            self.process: forks.Process | subprocess.Popen[bytes]
            if module[0] in FORKED:
                self.process = forks.start(
                    *module,
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=err,
                    namespace=namespace,
                    environment=environment,
                )
            else:
                self.process = subprocess.Popen(
                    ["ip", "netns", "exec", namespace, sys.executable, "-m", *module],
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    env=environment,
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
        assert done.exit_code == 0, done.output

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
        self._processes.append(Process(self.rack, host, module, log, **environment))
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


def kill(process: Process) -> float:
    """When it was killed."""
    process.process.kill()
    process.process.wait()
    return time.monotonic()


def ended(process: Process) -> dict[str, Any]:
    """The error that a rank ended with, and how long ago."""
    until(lambda: process.last["event"] == "error", "the others are told", LIMIT_S)
    return process.last
