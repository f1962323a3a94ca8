"""Processes of this machine for what can be computed apart; none of them outlives an interrupt, or who started it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any


@contextlib.contextmanager
def local_executor(jobs: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """`jobs` of them; one per core unless told otherwise. Left by an exception, they are ended at once.

    They are ended before the executor is told, and then it is waited for: an executor that is still about its end when
    the interpreter ends may have closed the pipe that the interpreter writes to.
    """
    others = set(multiprocessing.active_children())
    pool = _Processes(jobs, multiprocessing.get_context("spawn"), _end_with_parent)
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


@contextlib.contextmanager
def interrupts_stay_here() -> Iterator[None]:
    """A terminal's Ctrl-C goes to all processes: those that are started meanwhile inherit that they do not hear it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Processes(ProcessPoolExecutor):
    def submit(self, *args: Any, **keywords: Any) -> Future[Any]:
        with interrupts_stay_here():
            return super().submit(*args, **keywords)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)  # it was killed; nobody waits for what is computed here

    threading.Thread(target=watch, daemon=True).start()
