"""What a person sees while something runs whose end is known: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from esa.sources import ROOT

PLAIN_INTERVAL_S = 5.0
PATIENCE_S = 10.0  # without a word why it takes so long


def simulator_is_compiled() -> bool:
    """Whether the loop that a run's events go through is kept; what else one needs is compiled before it."""
    from esa.native_cache import native_folder

    return any(native_folder(ROOT / "esa" / "sim" / "loop.py").glob("loop.run-*.nbc"))


class PartProgress:
    """The part that is done.

    with PartProgress(console, "contention: esa") as progress:
        progress.part(0.25)

    packets: whether it simulates packets: on a machine where that is not compiled yet, nothing is done for a while.
    """

    def __init__(self, console: Console, what: str, *, packets: bool = True) -> None:
        self._console = console
        self._what = what
        self._live = console.is_terminal
        self._next_line = time.monotonic() + PLAIN_INTERVAL_S
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._bar = self._progress.add_task(what, total=1.0)
        self._explain = threading.Timer(PATIENCE_S, self._say_why if packets else lambda: None)
        self._explain.daemon = True

    def __enter__(self) -> PartProgress:
        if self._live:
            self._progress.start()
        self._explain.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._explain.cancel()
        self._progress.stop()

    def _say_why(self) -> None:
        if not simulator_is_compiled():
            self.say("  a first run compiles the simulator; the next one finds it compiled")

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def part(self, done: float) -> None:
        """0 to 1."""
        if done > 0:
            self._explain.cancel()
        if self._live:
            self._progress.update(self._bar, completed=done)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_INTERVAL_S
            self.say(f"  {self._what}: {done:.0%}")
