"""What `esactl watch` shows: one sample of every job, and rates since the sample before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from controller.controller import Controller
from controller.job_counters import rows_in_use

RATES = ("gradients", "completed", "collisions", "preemptions", "resends", "denied")


MORE = ("evicted", "aged", "reminders", "misses", "duplicates")
HISTORY = 30  # samples that are drawn
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Row:
    """One job: its policy, its counters, how many workers it has behind this switch."""

    policy: str
    counters: Mapping[str, int]
    fan_in: int = 0


@dataclass(frozen=True)
class Sample:
    """All jobs at one time; "(none)" is what belongs to no job."""

    time_s: float
    rows: int
    jobs: Mapping[str, Row]
    denied: Mapping[str, int]  # by reason

    @classmethod
    def take(cls, controller: Controller) -> Sample:
        installed = controller.jobs()
        each = controller.read_counters([*(job.index for job in installed), 0])
        names = [controller.name(job) for job in installed] + ["(none)"]
        about = [(job.policy.name, job.fan_in) for job in installed] + [("", 0)]
        jobs = {
            name: Row(policy, counters, fan_in)
            for name, (policy, fan_in), counters in zip(names, about, each, strict=True)
        }
        return cls(time.monotonic(), controller.switch.loaded.aggregators, jobs, controller.denied_by_reason())


def shown(samples: Sequence[Sample]) -> Group:
    """The newest sample, rates since the one before, and rows over all of them."""
    now, before = samples[-1], samples[-2] if len(samples) > 1 else None
    denied = ", ".join(f"{reason} {count:,}" for reason, count in now.denied.items() if count)
    return Group(rates(now, before), Text(), _more(samples), *([Text(f"denied: {denied}")] if denied else []))


def _more(samples: Sequence[Sample]) -> Table:
    """What else was counted, the part of the sums that the switch completed, and rows over time."""
    now = samples[-1]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("job", overflow="fold")
    for column in (*MORE, "by switch"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("rows over time", no_wrap=True)
    for name, row in now.jobs.items():
        lines = [rows_in_use(one.jobs[name].counters) for one in samples if name in one.jobs]
        bars = "".join(_BARS[-(-8 * rows // max(1, *lines))] for rows in lines)
        counts = (f"{row.counters[counter]:,}" for counter in MORE)
        table.add_row(name, *counts, _by_switch(row), f"{bars} {max(lines)}")
    return table


def _by_switch(row: Row) -> str:
    """Of the fragments that came for the first time, the part that is in sums which the switch completed."""
    first = row.counters["gradients"] - row.counters["resends"]
    return f"{min(1.0, row.counters['completed'] * row.fan_in / first):.1%}" if first > 0 and row.fan_in else ""


def rates(now: Sample, before: Sample | None) -> Table:
    """Make a table of rows held and packets counted, and below them packets per second since `before`."""
    in_use = {name: rows_in_use(row.counters) for name, row in now.jobs.items()}
    total = sum(in_use.values())
    # No lines between the columns: all of it fits the usual 80.
    table = Table(
        title=f"{total} of {now.rows} rows in use ({total / now.rows:.1%})",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("job", overflow="fold")
    table.add_column("policy", overflow="fold")
    for column in ("rows", *RATES):
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in now.jobs.items():
        counts = (f"{row.counters[counter]:,}" for counter in RATES)
        table.add_row(name, row.policy, str(in_use[name]), *counts)
        if before is not None and name in before.jobs:
            table.add_row("", "", "/s", *_per_second(name, now, before), style="dim")
    return table


def _per_second(name: str, now: Sample, before: Sample) -> list[str]:
    elapsed_s = max(1e-9, now.time_s - before.time_s)
    new, old = now.jobs[name].counters, before.jobs[name].counters
    # A job that was removed and added again starts from zero.
    return [f"{max(0, new[counter] - old[counter]) / elapsed_s:,.0f}" for counter in RATES]
