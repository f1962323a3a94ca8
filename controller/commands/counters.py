"""`esactl counters`, `occupancy`, `watch`: what the switch counts, and which rows jobs hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table

from controller.commands.common import JsonOption, make_console, open_controller, print_json
from controller.controller import Controller
from controller.row_map import row_map, used_rows
from controller.rows import read_rows
from controller.watch import HISTORY, Sample, shown
from esa.report.plain import plain


def counters(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="[JOB]", help="A job's name or id; all by default.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Print the counters of one job or of all; "(none)" is what belongs to no job."""
    with open_controller(context) as controller:
        jobs = controller.jobs()
        chosen = [controller.find(job, jobs)] if job else jobs
        names, indices = [controller.name(each) for each in chosen], [each.index for each in chosen]
        if not job:
            names, indices = [*names, "(none)"], [*indices, 0]
        values = dict(zip(names, controller.read_counters(indices), strict=True))
        reasons = None if job else controller.denied_by_reason()
    if as_json:
        if job:
            return print_json(values[names[0]])
        nobody = values.pop("(none)")
        return print_json({"jobs": values, "none": nobody, "denied_by_reason": reasons})
    table = Table("counter", *names)
    for counter in values[names[0]]:
        table.add_row(counter, *(str(values[name][counter]) for name in names))
    console = make_console()
    console.print(table)
    for reason, count in (reasons or {}).items():
        if count:
            console.print(f"denied, {reason}: {count}")
    return None


def occupancy(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print how many rows each job holds."""
    with open_controller(context) as controller:
        found = controller.occupancy()
    if as_json:
        record = {"jobs": found.jobs, "left_behind": found.left_behind, "total": found.total, "rows": found.rows}
        return print_json(record)
    table = Table("job", "rows", "share")
    removed = {"(removed jobs)": found.left_behind} if found.left_behind else {}
    for name, rows in {**found.jobs, **removed, "total": found.total}.items():
        table.add_row(name, str(rows), f"{rows / found.rows:.1%}")
    return make_console().print(table)


def watch(
    context: typer.Context,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between samples.")] = 1.0,
    count: Annotated[int, typer.Option(min=0, help="How many samples; 0: until interrupted.")] = 0,
    rows: Annotated[
        bool, typer.Option("--rows", help="A map of the rows: whose, and at what priority (the embedded switch).")
    ] = False,
) -> None:
    """Follow occupancy, counters and rates of every job, or its rows one by one."""
    console = make_console()
    with open_controller(context) as controller:
        shown = partial(_rows, colour=console.color_system is not None) if rows else _Rates()
        samples = _samples(controller, shown, interval, count)
        if not console.is_terminal:
            for table in samples:
                console.print(table)
                console.file.flush()
            return
        with Live(console=console, auto_refresh=False) as live:
            for table in samples:
                live.update(table, refresh=True)


class _Rates:
    """Tables of a sample after the other."""

    def __init__(self) -> None:
        self._before: list[Sample] = []

    def __call__(self, controller: Controller) -> RenderableType:
        self._before = [*self._before[-HISTORY:], Sample.take(controller)]
        return shown(self._before)


def _rows(controller: Controller, *, colour: bool) -> RenderableType:
    jobs = controller.jobs()
    rows = used_rows(jobs)
    names = {(job.job, job.epoch): plain(controller.name(job)) for job in jobs}
    return row_map(rows, read_rows(controller.switch, rows), names, colour=colour)


def _samples(
    controller: Controller, look: Callable[[Controller], RenderableType], interval: float, count: int
) -> Iterator[RenderableType]:
    taken = 0
    while True:
        yield look(controller)
        taken += 1
        if taken == count:
            return
        time.sleep(interval)
