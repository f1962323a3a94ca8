"""What a person sees while a run is under way: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PLAIN_INTERVAL_S = 5.0


class RunProgress:
    """Iterations and loss of each job, rows in use.

    with RunProgress(console, {"mlp": 70}) as progress:
        progress.say("starting the switch")
        progress.iteration("mlp", 12, 0.43)
    """

    def __init__(self, console: Console, iterations: dict[str, int]) -> None:
        self._console = console
        self._iterations = iterations
        self._done = dict.fromkeys(iterations, 0)
        self._loss = dict.fromkeys(iterations, "")
        self._occupancy = ""
        self._next_line = 0.0
        self._live = console.is_terminal
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[occupancy]}"),
            console=console,
            transient=True,
        )

    def __enter__(self) -> RunProgress:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def start(self) -> None:
        """The training begins: show the bars."""
        self._next_line = time.monotonic() + PLAIN_INTERVAL_S
        if self._live:
            for job, total in self._iterations.items():
                self._bars[job] = self._progress.add_task(job, total=total, loss="", occupancy="")
            self._progress.start()

    def iteration(self, job: str, done: int, loss: float) -> None:
        self._done[job] = done
        self._loss[job] = f"loss {loss:.4f}"
        self._show(job)

    def occupancy(self, rows: dict[str, int], total: int) -> None:
        self._occupancy = f"{sum(rows.values())} of {total} rows in use"
        self._show(next(iter(self._iterations)))

    # What only who looks closer shows (`watch.py`).

    def see(self, denied: Callable[[], dict[str, int]], links: Mapping[str, str]) -> None: ...

    def submitted(self, job: str) -> None: ...

    def record(self, job: str, record: dict[str, Any]) -> None: ...

    def counted(self, counters: Mapping[str, Mapping[str, int]]) -> None: ...

    def _show(self, job: str) -> None:
        if self._bars:
            first = next(iter(self._bars)) == job
            self._progress.update(
                self._bars[job],
                completed=self._done[job],
                loss=self._loss[job],
                occupancy=self._occupancy if first else "",
            )
        elif not self._live and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_INTERVAL_S
            jobs = [f"{name} {self._done[name]}/{total} {self._loss[name]}" for name, total in self._iterations.items()]
            self.say("  " + "; ".join([*jobs, self._occupancy]).rstrip("; "))
