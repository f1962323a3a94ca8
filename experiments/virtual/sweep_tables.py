"""What a sweep leaves: every record in the order of the grid, and one row of figures per point."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from esa.cluster.times import LEVELS
from esa.report.records import RECORDS, Summary
from esa.report.statistics import mean_interval
from esa.report.tables import COMPARED_COUNTERS, UNKNOWN
from esa.report.versions import write_versions
from experiments.common.folders import write_whole
from experiments.specs.cluster import ClusterScenario
from experiments.specs.sweep_file import Point, value_text
from experiments.virtual.sweep import Result

TABLE = "table.csv"
STATE = "sweep.json"
NOT_RUN = "not run"
MAX_ROWS = 60  # on a terminal
FIGURES = (
    "mean_jct_s",
    "mean_wait_s",
    "mean_bound_s",
    "mean_per_bound",
    "mean_inflation",
    "makespan_s",
    "occupancy_mean",
    "useful_mean",
    *COMPARED_COUNTERS,
    "fragments",
    "resends",
    "via_ps",
    "dropped",
    "packet_hops",
    "unseated",
    "incomplete",
)
CLUSTER_FIGURES = (
    "mean_jct_s",
    "median_jct_s",
    "p95_jct_s",
    "p99_jct_s",
    "mean_wait_s",
    "makespan_s",
    "offered_load",
    "occupancy",
    "goodput",
    "usage",
    "fairness",
    "worst_fairness",
    "preemptions",
    "rescales",
    "moves",
    "delayed_gpu_h",
    "lost_gpu_h",
    "lent_gpu_h",
    "reclaim_stops",
    "collateral_gpus",
    "by_table",
    "by_formula",
    "by_flows",
    "by_packets",
    "decisions",
    "incomplete",
)


def write_sweep(
    name: str, points: Sequence[Point], results: Sequence[Result | None], folder: Path, incomplete: str | None = None
) -> None:
    """Write records.jsonl, table.csv, versions.json, and sweep.json, which says whether it is whole. None: not run."""
    write_whole(folder / RECORDS, "".join(_records(points, results)))
    write_whole(folder / TABLE, table_text(points, results))
    finished = sum(result is not None for result in results)
    state: dict[str, Any] = {"name": name, "points": len(points), "finished": finished}
    if incomplete is not None:
        state["incomplete"] = incomplete
    write_whole(folder / STATE, json.dumps(state, indent=2) + "\n")
    write_versions(folder)


def _records(points: Sequence[Point], results: Sequence[Result | None]) -> Iterator[str]:
    """Of each point an event "point" with its summary, then its own records; `point` is its number in the grid."""
    for number, (point, result) in enumerate(zip(points, results, strict=True)):
        if result is None:
            continue
        head = {"event": "point", "point": number, "axes": point.axes, "seed": point.seed, "summary": result.summary}
        yield json.dumps(head) + "\n"
        for line in result.records.splitlines():
            yield f'{{"point": {number}, {line[1:]}\n'


def figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary in one row: `FIGURES`, or, of a cluster, `CLUSTER_FIGURES`."""
    whole = Summary.model_validate(summary)
    if whole.cluster is not None:
        levels = {f"by_{level}": whole.cluster.by_level.get(level, 0.0) for level in LEVELS}
        found = {**vars(whole.cluster), **levels}
        return {name: found.get(name, getattr(whole, name, None)) for name in CLUSTER_FIGURES}
    sums = {key: sum(getattr(job, key) for job in whole.jobs) for key in ("fragments", "resends", "via_ps")}
    counters = {name: whole.total(name) for name in COMPARED_COUNTERS}
    return {name: {**sums, **counters}.get(name, getattr(whole, name, None)) for name in FIGURES}


def table_text(points: Sequence[Point], results: Sequence[Result | None]) -> str:
    """CSV: the axes, the seed, `FIGURES` or `CLUSTER_FIGURES`."""
    axes = list(points[0].axes)
    names = CLUSTER_FIGURES if isinstance(points[0].scenario, ClusterScenario) else FIGURES
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*axes, "seed", *names])
    for point, result in zip(points, results, strict=True):
        row = {"incomplete": NOT_RUN} if result is None else figures(result.summary)
        place = [value_text(value) for value in point.axes.values()]
        writer.writerow([*place, point.seed, *("" if row.get(name) is None else row[name] for name in names)])
    return text.getvalue()


def sweep_table(name: str, points: Sequence[Point], results: Sequence[Result]) -> Table:
    """For the terminal: one row per place on the axes, means over the seeds; of what no run knows, or waiting where
    nobody waits, there is no column.
    """
    table = Table(title=name, box=box.SIMPLE_HEAD, padding=0, pad_edge=False, title_justify="left")
    for axis in points[0].axes:
        table.add_column(axis)
    seeds = len({point.seed for point in points})
    places = range(0, len(points), seeds)
    rows = [[figures(result.summary) for result in results[at : at + seeds]] for at in places[:MAX_ROWS]]
    jct_s = [_mean(row, "mean_jct_s") for row in rows]
    first = jct_s[0] if rows else None
    ratios = [_cell(own / first if own and first else None, 2) for own in jct_s]
    of_clusters = isinstance(points[0].scenario, ClusterScenario)
    columns = (
        _cluster_columns(rows, ratios)
        if of_clusters
        else {
            "mean JCT s": [_cell(own, 6) for own in jct_s],
            "/ first": ratios,
            "/ bound": [_cell(_mean(row, "mean_per_bound"), 2) for row in rows],
            "/ alone": [_cell(_mean(row, "mean_inflation"), 2) for row in rows],
            "wait s": [_cell(_mean(row, "mean_wait_s") or None, 6) for row in rows],
            "without rows": [_cell(sum(one["unseated"] or 0 for one in row) / len(row) or None, 1) for row in rows],
            "via PS": [_cell(_mean(row, "via_ps"), 0) for row in rows],
            "resends": [_cell(_mean(row, "resends"), 0) for row in rows],
        }
    )
    told = {name: cells for name, cells in columns.items() if set(cells) != {UNKNOWN}}
    for name in told:
        table.add_column(name, justify="right")
    for at, *cells in zip(places, *told.values(), strict=False):  # of more places than rows
        table.add_row(*(value_text(value) for value in points[at].axes.values()), *cells)
    if len(places) > MAX_ROWS:
        table.caption = f"the first {MAX_ROWS} of {len(places)} rows; all are in {TABLE}"
    return table


def _cluster_columns(rows: Sequence[Sequence[Mapping[str, Any]]], ratios: list[str]) -> dict[str, list[str]]:
    """By column, a cell for each place: of the mean over several seeds with its 95 % interval."""
    return {
        "mean JCT s": [_interval([one["mean_jct_s"] for one in row]) for row in rows],
        "/ first": ratios,
        "median s": [_cell(_mean(row, "median_jct_s"), 0) for row in rows],
        "95 % s": [_cell(_mean(row, "p95_jct_s"), 0) for row in rows],
        "queuing s": [_interval([one["mean_wait_s"] for one in row]) for row in rows],
        "makespan s": [_cell(_mean(row, "makespan_s"), 0) for row in rows],
        "occupancy": [_cell(_mean(row, "occupancy"), 3) for row in rows],
        "goodput": [_cell(_mean(row, "goodput"), 3) for row in rows],
        "preemptions": [_cell(_mean(row, "preemptions"), 1) for row in rows],
    }


def _interval(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return UNKNOWN
    if len(known) == 1:
        return f"{known[0]:.0f}"
    found = mean_interval(known)
    return f"{found.centre:.0f} ± {found.high - found.centre:.0f}"


def _cell(figure: float | None, digits: int) -> str:
    return UNKNOWN if figure is None else f"{figure:.{digits}f}"


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """None where one of them is unknown."""
    values = [row[name] for row in rows]
    return None if None in values else sum(values) / len(values)
