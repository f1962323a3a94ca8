"""How far each policy stays from the bound that none can beat: the same jobs with more memory than they can use.

The bound is the lowest mean JCT that any of the candidates reaches with 65,536 rows. SwitchML's slices then hold two
windows of every job and nothing ever collides; under ESA collisions are rare but not impossible. A larger window is
tried as well. The other simulations are those of `jct_memory`.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure as Canvas

from esa.report.statistics import mean_interval, ratio_interval
from experiments.studies.figures import draw, jct_memory
from experiments.studies.figures.base import POLICIES, WINDOW, Effort, simulation
from experiments.studies.figures.cells import Cells, Point
from experiments.studies.figures.figure import Figure, Row, Shown, mean_text, ratio_text

UNLIMITED = 65536
CANDIDATES = {
    f"{draw.NAMES[policy]}, window {window}": (policy, window)
    for policy in ("switchml", "esa")
    for window in (WINDOW, 2 * WINDOW)
}


def _points(effort: Effort) -> list[Point]:
    bounds = [
        Point({"candidate": name}, simulation(effort, policy, seed, rows=UNLIMITED, job={"window": window}))
        for name, (policy, window) in CANDIDATES.items()
        for seed in effort.many_seeds
    ]
    return [*jct_memory.FIGURE.points(effort), *bounds]


def best_bound(cells: Cells) -> tuple[str, npt.NDArray[np.float64]]:
    """Whose it is, and its JCTs by seed."""
    found = {name: cells.values("jct_ms", candidate=name) for name in CANDIDATES}
    best = min(found, key=lambda name: float(np.nanmean(found[name])))
    return best, found[best]


def _show(cells: Cells) -> Shown:
    best, bound = best_bound(cells)
    rows: list[Row] = []
    for name in CANDIDATES:
        own = cells.values("jct_ms", candidate=name)
        rows.append(
            {
                "memory": UNLIMITED,
                "policy": name,
                "jct_ms": mean_interval(own),
                "per_bound": ratio_interval(own, bound),
            }
        )
    lines = []
    for place in cells.places("place"):
        line = [f"{place:g}"]
        for policy in POLICIES:
            own = cells.values("jct_ms", place=place, policy=policy)
            ratio = ratio_interval(own, bound)
            rows.append({"memory": place, "policy": policy, "jct_ms": mean_interval(own), "per_bound": ratio})
            line.append(ratio_text(ratio))
        lines.append(line)
    notes = [f"The bound: {best}, {UNLIMITED:,} rows: {mean_text(mean_interval(bound))} ms."]
    head = ["rows", *(f"{draw.NAMES[policy]} / bound" for policy in POLICIES)]
    return Shown(head, lines, rows, partial(_draw, cells), notes)


def _draw(cells: Cells, canvas: Canvas) -> None:
    axes = canvas.subplots()
    _, bound = best_bound(cells)
    places = cells.places("place")
    every = []
    for policy in POLICIES:
        ratios = [ratio_interval(cells.values("jct_ms", place=place, policy=policy), bound) for place in places]
        draw.line(axes, policy, places, ratios)
        every += ratios
    axes.axhline(1, color=draw.GREY, linestyle="--", label="unlimited memory")
    draw.log_places(axes, places)
    draw.log_values(axes, 1.0, draw.extent(every)[1])
    axes.set_xlabel("aggregators that the jobs share (rows)")
    axes.set_ylabel("mean JCT / that with unlimited memory")
    draw.grid(axes)
    draw.legend(axes)


FIGURE = Figure("bound", "How far from unlimited memory", _points, _show)
