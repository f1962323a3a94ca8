"""Processes for what can be computed apart, and their ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.experiments.started import STARTED

PROGRAM = """
import os, sys, time
from concurrent.futures import wait
from experiments.common.processes import local_executor

def main():
    with local_executor(2) as executor:
        pids = set()
        while len(pids) < 2:
            pids.update(one.result() for one in [executor.submit(os.getpid) for _ in range(8)])
        tasks = [executor.submit(time.sleep, 600) for _ in range(8)]
        print(*pids, flush=True)
        wait(tasks)

if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=lambda end: end.name)
def test_they_end_with_who_started_them_at_once_and_without_a_word(tmp_path: Path, end: signal.Signals) -> None:
    """The interpreter is at its end right after the executor: one that is not through with its end says so."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        started = [int(pid) for pid in process.stdout.readline().split()]
        STARTED.append(process)
        assert len(started) == 2
        time.sleep(0.3)  # it waits: Python may miss an interrupt that comes while it begins to
        process.send_signal(end)
        _, said = process.communicate(timeout=60)  # the tasks take ten minutes
        assert said == "" or end == signal.SIGKILL  # its semaphores are cleaned up, which is said
        assert process.returncode == (130 if end == signal.SIGINT else -end)
        _until_gone(started)


def _until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 60
    while any(_is_there(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
