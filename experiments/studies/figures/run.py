"""From a figure to its files: simulate what is not there yet, then write."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

from experiments.studies.figures.base import Effort
from experiments.studies.figures.cells import Cells, cell_of
from experiments.studies.figures.figure import Figure, Shown, estimated_hops
from experiments.studies.figures.report import write_figure
from experiments.virtual.sweep import finished_points, sweep


class Made(NamedTuple):
    """A figure that is there. seconds: that making it took; run: simulations that were not there yet."""

    figure: Figure
    cells: Cells
    shown: Shown
    files: Sequence[Path]
    run: int
    seconds: float

    @property
    def cut(self) -> list[str]:
        """Simulations that did not end as they should, each in a line."""
        return [
            f"{self.figure.name}, {', '.join(f'{key} {value}' for key, value in cell.point.axes.items())}, "
            f"seed {cell.point.scenario.seed}: {cell.incomplete}"
            for cell in self.cells.cells
            if cell.incomplete is not None
        ]


def make_figure(
    figure: Figure,
    effort: Effort,
    executor: Executor,
    points_folder: Path,
    folder: Path,
    progress: Callable[[float], None] = lambda part: None,
) -> Made:
    """Simulate a figure's points and write its files to `folder`.

    points_folder: where finished points are kept, and found. progress: told the part that is done, 0..1.
    """
    began = time.monotonic()
    points = figure.points(effort)
    # The largest first, so that no core is left with one of them at the end.
    order = sorted(range(len(points)), key=lambda k: -estimated_hops(points[k].scenario))
    simulations = [points[k].scenario for k in order]
    to_run = sum(found is None for found in finished_points(simulations, points_folder))
    results = sweep(simulations, executor, points_folder, lambda count: progress(count / len(points)))
    found = dict(zip(order, results, strict=True))
    cells = Cells([cell_of(point, found[k]) for k, point in enumerate(points)])
    shown = figure.show(cells)
    files = write_figure(figure, cells, shown, folder)
    return Made(figure, cells, shown, files, to_run, time.monotonic() - began)
