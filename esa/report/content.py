"""What a report says, whatever it is written in: sections of tables and pictures.

report = compose(read(paths))
markdown(report)                 # `esa.report.page.page` makes HTML of it, `data.as_data` JSON of what was read
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esa.report.grid import Grid, escaped
from esa.report.groups import group_table, groups_of, groups_of_sweep, seeds_text
from esa.report.pictures import Picture, labels, run_pictures, sweep_pictures
from esa.report.plain import plain
from esa.report.reading import Found, ReadFigure, ReadRun, ReadSweep
from esa.report.tables import comparison_table, run_tables

NOT_KEPT = "not kept: the run is older than its report"
MAX_COMPARED = 8  # runs side by side in a table


@dataclass
class Section:
    """grids: for everybody. details: for who wants all of it. image: a PNG file."""

    title: str
    notes: Sequence[str] = ()
    grids: list[Grid] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    details: list[Grid] = field(default_factory=list)
    image: Path | None = None


@dataclass
class Report:
    title: str
    problems: Sequence[str]
    sections: list[Section]


def compose(found: Found) -> Report:
    sections = []
    if found.runs:
        sections.append(_together(found.runs))
        sections += [_run(run) for run in found.runs]
    sections += [_sweep(sweep) for sweep in found.sweeps]
    sections += [_figure(figure) for figure in found.figures]
    names = dict.fromkeys(
        [*(run.summary.scenario for run in found.runs), *(sweep.name for sweep in found.sweeps)]
        + (["figures"] if found.figures else [])
    )
    return Report(plain(", ".join(names) or "nothing", 80), found.problems, sections)


def _together(runs: Sequence[ReadRun]) -> Section:
    groups = groups_of(runs)
    grids = [group_table(groups)] if len(runs) > 1 else []
    if 1 < len(runs) <= MAX_COMPARED:
        grids.append(comparison_table([run.summary for run in runs]))
    details = _differing(runs) if len(runs) > 1 else []
    title = "Result" if len(runs) == 1 else f"{len(runs)} runs compared"
    return Section(title, grids=grids, pictures=run_pictures(runs, groups), details=details)


def _differing(runs: Sequence[ReadRun]) -> list[Grid]:
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    table = Grid("settings that differ", ["", *labels(runs)])
    for key in keys:
        values = [value_text(run.settings[key]) if key in run.settings else "-" for run in runs]
        if len(set(values)) > 1:
            table.add(key, *values)
    return [table] if table.rows and len(runs) <= MAX_COMPARED else []


def _run(run: ReadRun) -> Section:
    grids = run_tables(run.summary)
    return Section(f"Run {run.name}", run.notes, grids, details=[_settings(run.settings), _versions(run.versions)])


def _settings(settings: Mapping[str, Any]) -> Grid:
    table = Grid("settings", ["key", "value"], left=frozenset({0, 1}))
    for key, value in settings.items():
        table.add(key, value_text(value))
    return table


def _versions(versions: Mapping[str, str]) -> Grid:
    table = Grid("made with", ["", "version"], left=frozenset({0, 1}))
    for name, version in (versions or {"versions": NOT_KEPT}).items():
        table.add(name, version)
    return table


def _sweep(sweep: ReadSweep) -> Section:
    groups = groups_of_sweep(sweep)
    seeds = seeds_text([point.seed for point in sweep.points])
    axes = ", ".join(sweep.points[0].axes) if sweep.points else ""
    grids = [group_table(groups)] if groups else []
    for grid in grids:
        grid.title = f"{sweep.name}: mean JCT by {axes}" if axes else sweep.name
    title = f"Sweep {sweep.name}: {len(sweep.points)} of {sweep.planned} points, seeds {seeds or 'none'}"
    return Section(title, sweep.notes, grids, sweep_pictures(sweep), [_versions(sweep.versions)])


def _figure(figure: ReadFigure) -> Section:
    """Its table, intervals in brackets."""
    ends = {name for name in figure.head if name.removesuffix("_low").removesuffix("_high") != name}
    ends = {name for name in ends if name.removesuffix("_low").removesuffix("_high") in figure.head}
    head = [name for name in figure.head if name not in ends]
    table = Grid(figure.name, head, left=frozenset(range(len(head))) if not head else frozenset({0}))
    for row in figure.rows:
        cells = dict(zip(figure.head, row, strict=False))
        table.add(*(_with_ends(name, cells) for name in head))
    return Section(f"Figure {figure.name}", grids=[table], image=figure.picture)


def _with_ends(name: str, cells: Mapping[str, str]) -> str:
    low, high = cells.get(f"{name}_low", ""), cells.get(f"{name}_high", "")
    return f"{cells.get(name, '')} [{low}, {high}]" if low and high and low != high else cells.get(name, "")


def value_text(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return str(value)


def markdown(report: Report) -> str:
    """GitHub's Markdown."""
    parts = [f"# ESA: {escaped(report.title)}", "", *(f"- {escaped(problem)}" for problem in report.problems)]
    for section in report.sections:
        parts += ["", f"## {escaped(section.title)}", ""]
        parts += [*(f"- {escaped(note)}" for note in section.notes), ""]
        parts += [grid.markdown() for grid in (*section.grids, *section.details)]
    return "\n".join(parts).rstrip() + "\n"
