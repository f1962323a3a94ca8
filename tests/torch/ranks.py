"""Ranks as processes of their own, for tests: each calls a function, and what one raises is the test's error.

They are forked from one process that has imported PyTorch and done nothing else, so that each starts at once.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

LIMIT_S = 90
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["esa.hosts", "esa.torch", "numba.np.arraymath", "torch._dynamo", "torch.distributed.fsdp", "torch.utils.data"]
)


def run_ranks(size: int, function: Callable[..., Any], *arguments: Any, environment: dict[str, str]) -> list[Any]:
    """What `function(rank, *arguments)` returns in each of `size` processes; AssertionError with the first traceback.

    The function has a process group's environment. Its process is ended after LIMIT_S.
    """
    processes, ends = [], []
    for rank in range(size):
        mine, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(
            target=_run, args=(theirs, rank, {**environment, "RANK": str(rank)}, function, arguments), daemon=True
        )
        process.start()
        theirs.close()
        processes.append(process)
        ends.append(mine)
    deadline = time.monotonic() + LIMIT_S
    results = []
    failed = ""
    for rank, (process, end) in enumerate(zip(processes, ends, strict=True)):
        try:
            good, value = end.recv() if end.poll(max(deadline - time.monotonic(), 0.1)) else (False, "too slow")
        except EOFError:
            process.join(5)
            good, value = False, f"it ended with {process.exitcode}"
        results.append(value)
        if not good:
            failed += f"\nrank {rank}: {value}"
    for process in processes:
        process.join(20)
        if process.is_alive():
            failed += f"\n{process.name} does not end"
            process.kill()
            process.join()
        elif process.exitcode not in (0, None) and not failed:
            failed += f"\n{process.name} ended with {process.exitcode}"
    assert not failed, failed
    return results


def environment_of(folder: Path, job: Path, controller: str) -> dict[str, str]:
    return {"ESA_JOB": str(job), "ESA_CONTROLLER": controller, "RENDEZVOUS": f"file://{folder}/rendezvous"}


def _run(
    end: Connection, rank: int, environment: dict[str, str], function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    try:
        end.send((True, function(rank, *arguments)))
    except BaseException:
        end.send((False, traceback.format_exc()))
