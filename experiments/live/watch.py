"""`esa run --watch`: a live run in the terminal, four tables: jobs, rows over time, what the switches did, links.

It is shown every other second, of what the run knows in any case, but for what admission denied and the links' bytes,
which are read for it. Without a terminal it is printed now and then.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from esa.errors import EsaError
from esa.report.plain import plain
from esa.report.progress import JobProgress
from experiments.live.progress import PLAIN_INTERVAL_S, RunProgress

SHOW_S = 2.0
HISTORY = 48  # looks at the rows that are drawn
_BARS = " ▁▂▃▄▅▆▇█"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
_COUNTERS = ("completed", "collisions", "preemptions", "evicted", "reminders", "denied")
_SYSTEM = Path("/sys/class/net")


class RunWatch(RunProgress):
    """In the place of `RunProgress`. `see` says where what is only for it is read."""

    def __init__(self, console: Console, iterations: dict[str, int]) -> None:
        super().__init__(console, iterations)
        self._live = False  # no bars
        self._jobs = {job: JobProgress(total, None) for job, total in iterations.items()}
        self._rows: dict[str, deque[int]] = {job: deque(maxlen=HISTORY) for job in iterations}
        self._total_rows = 0
        self._counters: Mapping[str, Mapping[str, int]] = {}
        self._denied: Callable[[], dict[str, int]] = dict
        self._links: dict[str, str] = {}
        self._bytes: dict[str, tuple[float, tuple[int, int]]] = {}
        self._rates: dict[str, tuple[float, float]] = {}
        self._screen = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._next_show = 0.0
        self.spent_s = 0.0  # of the processor, for being looked at

    def __exit__(self, *ended: Any) -> None:
        if self._screen is not None:
            self._screen.stop()
        super().__exit__(*ended)

    def see(self, denied: Callable[[], dict[str, int]], links: Mapping[str, str]) -> None:
        """denied: reads it by reason. links: by what a link leads to, the interface of its end at the switch."""
        self._denied, self._links = denied, dict(links)

    def start(self) -> None:
        if self._screen is not None:
            self._screen.start()

    def submitted(self, job: str) -> None:
        self._jobs[job].submit_s = time.monotonic()

    def record(self, job: str, record: dict[str, Any]) -> None:
        """An iteration of a rank."""
        self._jobs[job].add(record)

    def iteration(self, job: str, done: int, loss: float) -> None:
        self._show_if_due()

    def occupancy(self, rows: dict[str, int], total: int) -> None:
        self._total_rows = total
        for job, line in self._rows.items():
            line.append(rows.get(job, 0))
        self._show_if_due()

    def counted(self, counters: Mapping[str, Mapping[str, int]]) -> None:
        self._counters = counters

    def _show_if_due(self) -> None:
        now = time.monotonic()
        if now < self._next_show:
            return
        began = time.process_time()
        self._next_show = now + (SHOW_S if self._screen is not None else PLAIN_INTERVAL_S)
        shown = self.shown(now)
        if self._screen is not None:
            self._screen.update(shown, refresh=True)
        else:
            self._console.print(shown)
        self.spent_s += time.process_time() - began

    def shown(self, now_s: float) -> RenderableType:
        return Group(self._job_table(now_s), self._row_table(), self._switch_table(), *self._link_table(now_s))

    def _job_table(self, now_s: float) -> Table:
        table = _table("jobs", "", "iterations", "/s", "JCT so far", "expected", "by switch", "by PS", "loss")
        for number, (job, progress) in enumerate(self._jobs.items()):
            told = progress.told(now_s)
            if told is None:
                table.add_row(_name(job, number), "waits", *[""] * 6)
                continue
            table.add_row(
                _name(job, number),
                f"{told.done}/{progress.planned}",
                _known(told.rate, "{:.2f}"),
                f"{told.so_far_s:.1f} s",
                _known(told.expected_s, "{:.1f} s"),
                _known(None if told.by_ps is None else 1 - told.by_ps, "{:.1%}"),
                _known(told.by_ps, "{:.1%}"),
                _known(told.loss, "{:.4f}"),
            )
        return table

    def _row_table(self) -> Table:
        table = _table(f"rows, of {self._total_rows}", "", "now", "over time")
        for number, (job, line) in enumerate(self._rows.items()):
            most = max(self._total_rows, 1)
            bars = "".join(_BARS[min(8, -(-8 * rows // most))] for rows in line)
            style = _COLOURS[number % len(_COLOURS)]
            table.add_row(_name(job, number), str(line[-1] if line else 0), Text(bars.rjust(HISTORY), style=style))
        return table

    def _switch_table(self) -> Table:
        try:
            denied = {reason: count for reason, count in self._denied().items() if count}
        except EsaError:
            denied = {}
        table = _table("switches", "", *_COUNTERS)
        for number, job in enumerate(self._jobs):
            counted = self._counters.get(job, {})
            table.add_row(_name(job, number), *(f"{counted.get(name, 0):,}" for name in _COUNTERS))
        if denied:
            table.caption = "denied, of jobs and none: " + ", ".join(f"{plain(k)} {n:,}" for k, n in denied.items())
        return table

    def _link_table(self, now_s: float) -> list[Table]:
        table = _table("links, Mb/s", "", "to the switch", "from it")
        for name, interface in self._links.items():
            octets = _octets(interface)
            if octets is None:
                continue
            before = self._bytes.get(name)
            self._bytes[name] = now_s, octets
            if before is not None and now_s > before[0]:
                rates = [8e-6 * (new - old) / (now_s - before[0]) for new, old in zip(octets, before[1], strict=True)]
                table.add_row(Text(plain(name, 24)), *(f"{rate:.2f}" for rate in rates))
        return [table] if table.row_count else []


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in ("", "over time") else "right", no_wrap=True)
    return table


def _name(job: str, number: int) -> Text:
    return Text(plain(job, 24), style=_COLOURS[number % len(_COLOURS)])


def _known(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _octets(interface: str) -> tuple[int, int] | None:
    """That an interface has received and sent."""
    try:
        received, sent = (
            int((_SYSTEM / interface / "statistics" / f"{way}_bytes").read_text()) for way in ("rx", "tx")
        )
    except (OSError, ValueError):
        return None
    return received, sent
