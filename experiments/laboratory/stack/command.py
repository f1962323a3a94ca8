"""One table and one picture: the whole stack, each layer switched off in turn, over seeds: `esa laboratory`.

A line is the whole stack with something else in one layer's place; a ratio is over the whole stack, seed by seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure as Canvas
from rich import box
from rich.console import Console
from rich.table import Table

from esa.exits import interruptible
from esa.report.statistics import Interval, mean_interval, ratio_interval
from experiments.common.csv_text import csv_text
from experiments.common.folders import give_to_caller, make_folder, write_whole
from experiments.common.part_progress import PartProgress
from experiments.common.processes import local_executor
from experiments.laboratory.stack.picture import picture
from experiments.laboratory.stack.points import WHOLE, Figures, Line, Point, check, lines_in, points_of, run_all
from experiments.laboratory.stack.settings import SETTINGS, settings_of
from experiments.specs.stack import StackScenario
from experiments.studies.figures import draw

SEEDS = 10
PICTURE, FILE, RUNS = "laboratory.png", "laboratory.csv", "runs.csv"
SIZE = (11.5, 4.6)


class Row(NamedTuple):
    """A setting's figure on a line. mean: over the seeds; ratio: over the whole stack, None on its own line."""

    setting: str
    line: Line
    figure: str
    mean: Interval
    ratio: Interval | None


def draw_laboratory(
    path: Path, seeds: int | None, quick: bool, results: Path, jobs: int | None, console: Console
) -> list[Row]:
    """Run what is missing, print the table, keep it with its picture. BadInput before anything runs."""
    scenario = StackScenario.load(path)
    settings = settings_of(scenario, path.parent, quick=quick)
    check(scenario, settings)
    count = seeds or (scenario.quick.seeds if quick else SEEDS)
    points = points_of(scenario, count)
    kept = make_folder(results / "laboratory")
    folder = make_folder(kept / "quick") if quick else kept
    try:
        with (
            interruptible("finished runs are kept, the same command goes on from there"),
            local_executor(jobs) as executor,
            PartProgress(console, scenario.name) as shown,
        ):
            found = run_all(points, settings, executor, make_folder(kept / "points"), shown.part)
        rows = rows_of(scenario, found, count)
        write_whole(folder / FILE, summary_text(rows))
        write_whole(folder / RUNS, runs_text(points, found))
        canvas = Canvas(SIZE, layout="constrained")
        picture(canvas, rows, title(scenario, count, quick))
        draw.save(canvas, folder / PICTURE)
    finally:
        give_to_caller(kept)
    for text in (title(scenario, count, quick), *notes(scenario, rows)):
        console.print(text, highlight=False, soft_wrap=True)
    for one in tables(rows):
        console.print(one)
    text = f"picture: {folder / PICTURE}; table: {folder / FILE}; every run: {folder / RUNS}"
    console.print(text, highlight=False, soft_wrap=True)
    return rows


def title(scenario: StackScenario, seeds: int, quick: bool) -> str:
    """What was run, for table and picture."""
    how = ", QUICK: smaller loads, not the settings of the full run" if quick else ""
    return f"{scenario.name}: each layer switched off in turn, {seeds} seeds, 95 % intervals{how}"


def notes(scenario: StackScenario, rows: Sequence[Row]) -> Iterator[str]:
    """What is simulated, and at which level."""
    whole = scenario.whole
    layers = ", ".join(f"{layer} {getattr(whole, layer)}" for layer in type(whole).model_fields)
    yield f"the whole stack: {layers}"
    for name in dict.fromkeys(row.setting for row in rows):
        yield f"{name}: {SETTINGS[name].what}; layers: {', '.join(SETTINGS[name].layers)}"
    yield "each setting is a simulation of its own; a layer that it does not have is in none of its figures"


def rows_of(scenario: StackScenario, found: dict[Point, Figures], seeds: int) -> list[Row]:
    rows = []
    for setting in SETTINGS:
        for line in lines_in(scenario, setting):
            for number, figure in enumerate(SETTINGS[setting].figures):
                mine, whole = (
                    [found[Point(setting, one, seed)][number] for seed in range(1, seeds + 1)]
                    for one in (line, lines_in(scenario, setting)[0])
                )
                ratio = ratio_interval(mine, whole) if line.off != WHOLE and min(*mine, *whole) > 0 else None
                rows.append(Row(setting, line, figure, mean_interval(mine), ratio))
    return rows


def summary_text(rows: Sequence[Row]) -> str:
    """A line for each figure of each line."""
    names = ("setting", "off", "instead", "figure", "mean", "low", "high", "ratio", "ratio_low", "ratio_high", "seeds")
    blank = ("", "", "")
    return csv_text(
        names,
        (
            (
                row.setting,
                row.line.off,
                row.line.instead,
                row.figure,
                *(f"{value:.6g}" for value in row.mean[:3]),
                *(blank if row.ratio is None else (f"{value:.6g}" for value in row.ratio[:3])),
                row.mean.seeds,
            )
            for row in rows
        ),
    )


def runs_text(points: Sequence[Point], found: dict[Point, Figures]) -> str:
    """A line for each figure of each run."""
    return csv_text(
        ("setting", "off", "instead", "seed", "figure", "value"),
        (
            (point.setting, point.line.off, point.line.instead, point.seed, figure, f"{value:.9g}")
            for point in points
            for figure, value in zip(SETTINGS[point.setting].figures, found[point], strict=True)
        ),
    )


def tables(rows: Sequence[Row]) -> Iterator[Table]:
    """For people: one for each setting, a line for each thing that is off."""
    for name in dict.fromkeys(row.setting for row in rows):
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=name, title_justify="left")
        shown.add_column("off", no_wrap=True)
        for figure in SETTINGS[name].figures:
            shown.add_column(figure, justify="right")
            shown.add_column("over the whole", justify="right", no_wrap=True)
        mine = [row for row in rows if row.setting == name]
        for line in dict.fromkeys((row.line.off, row.line.instead) for row in mine):
            here = [row for row in mine if row.line[:2] == line]
            shown.add_row(
                " ".join(line).strip(),
                *(text for row in here for text in (_mean_text(row.mean), _ratio_text(row.ratio))),
            )
        yield shown


def _mean_text(one: Interval) -> str:
    return f"{one.centre:.4g} ± {one.high - one.centre:.2g}"


def _ratio_text(one: Interval | None) -> str:
    return "-" if one is None else f"{one.centre:.3f} [{one.low:.3f}, {one.high:.3f}]"
