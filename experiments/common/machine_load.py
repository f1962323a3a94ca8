"""How busy this machine is: tasks that run, or could, per core. What a live run shows depends on it.

with MachineLoad() as load:
    ...
load.mean(begin, end)        # seconds of the monotonic clock
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType

INTERVAL_S = 0.1
_STAT = Path("/proc/stat")  # the load average looks a minute back, over what started before


class MachineLoad:
    """Samples while its block is open."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="machine-load", daemon=True)

    def __enter__(self) -> MachineLoad:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def mean(self, begin: float, end: float) -> float | None:
        """Between two times; None where there is no sample."""
        running = [count for at, count in self._samples if begin <= at <= end]
        return sum(running) / len(running) / (os.cpu_count() or 1) if running else None

    def _sample(self) -> None:
        while not self._over.wait(INTERVAL_S):
            self._samples.append((time.monotonic(), runnable_tasks(_STAT.read_text()) - 1))  # without this thread


def runnable_tasks(stat: str) -> int:
    """Of what /proc/stat says."""
    return next(int(line.split()[1]) for line in stat.splitlines() if line.startswith("procs_running "))
