"""What `esactl watch` shows: one sample of every job, and rates since the sample before."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from controller.controller import Controller
from controller.job_counters import rows_in_use

RATES = ("gradients", "completed", "collisions", "preemptions", "resends", "denied")


@dataclass(frozen=True)
class Row:
    """One job: its policy and its counters."""

    policy: str
    counters: Mapping[str, int]


@dataclass(frozen=True)
class Sample:
    """All jobs at one time; "(none)" is what belongs to no job."""

    time_s: float
    rows: int
    jobs: Mapping[str, Row]

    @classmethod
    def take(cls, controller: Controller) -> Sample:
        installed = controller.jobs()
        each = controller.read_counters([*(job.index for job in installed), 0])
        names = [controller.name(job) for job in installed] + ["(none)"]
        policies = [job.policy.name for job in installed] + [""]
        jobs = {name: Row(policy, counters) for name, policy, counters in zip(names, policies, each, strict=True)}
        return cls(time.monotonic(), controller.switch.loaded.aggregators, jobs)


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
