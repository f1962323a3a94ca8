"""What is in the switches' rows while a run trains, written down now and then: see `esa.report.live_memory`.

Reading a row takes each end of P4Runtime about 0.1 ms, so how often it is looked follows from what a look took here:
`BUDGET` of the time. A run that goes on for long is looked at less and less often,
so that its file stays small.

The rows of several switches are some tenths of a second of reading. So a thread reads them, and whoever asks for a look
goes on at once; a switch that does not answer delays the next look and nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from controller import BadInput, SwitchError
from controller.rows import HeldRow
from esa.report.live_memory import ROWS

BUDGET = 0.006  # of a processor, at this end; a switch needs up to twice that
FIRST_S = 1.0  # what a run is told meanwhile waits for a look: none where most begins
LEAST_INTERVAL_S = 0.5
MOST_ROWS = 1024  # of a switch; the others are not looked at
FRAMES = 300  # after so many the time between two is doubled

ReadRows = Callable[[Sequence[int]], list[HeldRow]]


class RowSamples:
    """Looks while its block is open; leave it after what the readers read from, which ends a look that waits.

    read: by switch, what reads its rows, from another thread. rows: of each. names: of jobs, by id. started: what times
    count from.
    """

    def __init__(
        self, folder: Path, read: Mapping[str, ReadRows], rows: int, names: Mapping[int, str], started: float
    ) -> None:
        self._path, self._read, self._names, self._started = folder / ROWS, read, names, started
        self._rows = range(min(rows, MOST_ROWS))
        self._interval_s = LEAST_INTERVAL_S
        self._next: float | None = None
        self._frames = 0
        self._off = not self._rows or not names  # nobody has rows
        self._reader = ThreadPoolExecutor(1, "row-samples")
        self._under_way: Future[None] | None = None

    def __enter__(self) -> RowSamples:
        return self

    def __exit__(self, *ended: object) -> None:
        self._reader.shutdown()

    def look(self) -> None:
        """Begin a look, if it is time to and none is under way. Raises what the one before ended with, as OSError."""
        now = time.monotonic()
        if self._next is None:
            self._next = now + FIRST_S
        if self._under_way is not None:
            if not self._under_way.done():
                return
            self._under_way.result()
            self._under_way = None
        if not self._off and now >= self._next:
            self._under_way = self._reader.submit(self._look, now)

    def _look(self, now: float) -> None:
        """Look. A switch that lets nothing be read, as BMv2, is not asked again."""
        began_s = time.thread_time()
        self._next = now + self._interval_s
        try:
            held = {name: read(self._rows) for name, read in self._read.items()}
        except SwitchError as error:  # BMv2; or it restarts, and the next look finds it again
            self._off = error.code == "UNIMPLEMENTED"
            return
        except BadInput:  # another program is on it just now
            return
        if self._frames == 0:
            self._write({"switches": dict.fromkeys(held, len(self._rows))})
        self._frames += 1
        if self._frames % FRAMES == 0:
            self._interval_s *= 2
        spent_s = time.thread_time() - began_s
        self._next = now + max(self._interval_s, spent_s / BUDGET)
        self._write({"t": round(now - self._started, 6), **{name: self._columns(rows) for name, rows in held.items()}})

    def _columns(self, held: Sequence[HeldRow]) -> dict[str, list[int | str]]:
        return {
            "row": [one.row for one in held],
            "job": [self._names.get(one.job, "") for one in held],
            "seq": [one.seq for one in held],
            "priority": [one.priority for one in held],
        }

    def _write(self, line: dict[str, object]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
