"""Processes that are ranks: cases run in all of them, over jobs whose runs are real and whose network is the loopback.

@case(within=1e-6)
def training(rank: int) -> float: ...

Every case gets a process group of its own, and ESA_JOB and ESA_CONTROLLER as `esa launch` would set them; what it opens
with `esa.torch.attach` is closed behind it. So a case that fails leaves the next ones alone. Processes are started once
for all cases of a module, because it takes seconds to import PyTorch.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import multiprocessing.connection
import os
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

import esa.torch
from esa.job import Job
from tests.torch.ranks import CONTEXT

STRAGGLER_S = float(os.environ.get("ESA_TEST_STRAGGLER_S", "3"))  # try 60
LIMIT_S = 60 + STRAGGLER_S  # for one case: then its processes end, and show where they were
WAIT_S = 30 + STRAGGLER_S  # for one collective operation
GRACE_S = 5  # for the others to say what they have seen of a process that died


@dataclass(frozen=True)
class Case:
    """Runs in ranks 0..`size`-1, with the job of that name; what it returns may not exceed `within`."""

    function: Callable[[int], float | None]
    size: int
    job: str
    within: float | None

    def run(self, rank: int) -> float | None:
        measured = self.function(rank)
        if self.within is not None:
            assert measured is not None
            assert measured <= self.within, f"difference {measured:.2g}, allowed: {self.within:g}"
        return measured


CASES: dict[str, Case] = {}


def case(
    *, size: int = 2, job: str = "pair", within: float | None = None
) -> Callable[[Callable[[int], float | None]], Callable[[int], float | None]]:
    """A case of the module that is being imported; within: what the difference it returns may be at most."""

    def register(function: Callable[[int], float | None]) -> Callable[[int], float | None]:
        CASES[function.__name__] = Case(function, size, job, within)
        return function

    return register


def job_file(name: str) -> str:
    """The path of a job's file, in a rank."""
    return str(Path(os.environ["CASES_FOLDER"], f"{name}.json"))


def begin_world(name: str, rank: int, size: int) -> None:
    """A default process group, by a file of that name."""
    store = Path(os.environ["CASES_FOLDER"], f"{name}.store")
    dist.init_process_group("gloo", f"file://{store}", rank=rank, world_size=size, timeout=timedelta(seconds=WAIT_S))
    dist.barrier()  # who destroyed it now would take the connections from those who are still making them


def _outcome(name: str, one: Case, rank: int) -> dict[str, Any]:
    os.environ["ESA_JOB"] = job_file(one.job)
    os.environ["WORLD_SIZE"] = str(one.size)
    start = time.perf_counter()
    measured, failure = None, ""
    try:
        with warnings.catch_warnings(), ExitStack() as stack:
            begin_world(name, rank, one.size)
            stack.callback(dist.destroy_process_group)
            why: str | None = "the case failed"
            try:
                measured = one.run(rank)
                dist.barrier()
                why = None
            finally:
                esa.torch.detach(why)
    except BaseException:
        failure = traceback.format_exc()
    return {"failure": failure, "measured": measured, "seconds": round(time.perf_counter() - start, 2)}


def _rank(module: str, names: list[str], rank: int, folder: str, environment: Mapping[str, str]) -> None:
    """One process: the chosen cases in the order of the module."""
    os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank), CASES_FOLDER=folder)
    os.environ.update(GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="1")
    torch.set_num_threads(1)
    importlib.import_module(module)
    warnings.simplefilter("error")
    report, outcomes = Path(folder, f"{rank}.json"), {}
    with Path(folder, f"{rank}.stacks").open("w") as stacks:
        for name in names:
            if rank < CASES[name].size:
                faulthandler.dump_traceback_later(LIMIT_S, exit=True, file=stacks)
                outcomes[name] = _outcome(name, CASES[name], rank)
                faulthandler.cancel_dump_traceback_later()
                report.write_text(json.dumps(outcomes))


class Ranks:
    """What came of the cases of `module` in `size` processes: `failures(name)`."""

    def __init__(self, module: str, names: list[str], size: int, folder: Path, environment: Mapping[str, str]) -> None:
        processes: list[BaseProcess] = [
            CONTEXT.Process(target=_rank, args=(module, names, rank, str(folder), environment)) for rank in range(size)
        ]
        with ExitStack() as stack:
            for process in processes:
                process.start()
                stack.callback(process.join)
                stack.callback(process.kill)
            running = {process.sentinel: process for process in processes}
            while running:  # each case has a time limit
                for sentinel in multiprocessing.connection.wait(list(running)):
                    ended = running.pop(sentinel)  # type: ignore[index]
                    ended.join()
                    if ended.exitcode:  # nobody shall wait for it in all cases that remain
                        time.sleep(GRACE_S)
                        running.clear()
        self._endings = [process.exitcode for process in processes]
        self._stacks = [Path(folder, f"{rank}.stacks").read_text() for rank in range(size)]
        reports = [Path(folder, f"{rank}.json") for rank in range(size)]
        self._outcomes = [json.loads(each.read_text()) if each.exists() else {} for each in reports]

    def failures(self, name: str) -> list[str]:
        """A text for every rank in which the case failed, or did not run."""
        found = []
        for rank in range(CASES[name].size):
            outcome = self._outcomes[rank].get(name)
            if outcome is None:
                found.append(f"rank {rank}: not run; exit code {self._endings[rank]}\n{self._stacks[rank]}")
            elif outcome["failure"]:
                found.append(f"rank {rank}: {outcome['failure']}")
        return found

    def endings(self) -> list[str]:
        return [f"rank {rank}: exit code {code}" for rank, code in enumerate(self._endings) if code]

    def figures(self, name: str) -> str:
        """What was measured, by rank."""
        outcomes = [each[name] for each in self._outcomes if name in each]
        measured = [f"{o['measured']:.2g}" for o in outcomes if o["measured"] is not None]
        return f"difference {' '.join(measured) or '-'}, {max((o['seconds'] for o in outcomes), default=0)} s"


def chosen(request: pytest.FixtureRequest) -> list[str]:
    """The cases that this run of pytest asks for, in the order in which they run."""
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
    }
    # Those of all ranks first: the others would wait for them with a time limit.
    return sorted((name for name in CASES if name in asked), key=lambda name: -CASES[name].size)


def save(jobs: Mapping[str, Job], folder: Path) -> None:
    """Where `job_file` finds them."""
    for name, job in jobs.items():
        job.save(folder / f"{name}.json")
