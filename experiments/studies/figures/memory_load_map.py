"""A map of memory and load: where ESA wins, ties and loses against ATP and against SwitchML.

The best window for ATP grows with the memory, ESA hardly minds it (`claim`). So ATP has, at each place, the better of
two: the setting's, and about one round trip to the PS and back at 100 Gb/s.
"""

from __future__ import annotations

import math
from functools import partial

from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure as Canvas
from matplotlib.image import AxesImage

from experiments.studies.figures import draw
from experiments.studies.figures.base import WINDOW, Effort, simulation
from experiments.studies.figures.cells import Cells, Point
from experiments.studies.figures.figure import Figure, Row, Shown, ratio_text
from experiments.studies.figures.statistics import Interval, ratio_interval, verdict

OTHERS = ("atp", "switchml")
_WINDOWS = {"esa": (WINDOW,), "atp": (WINDOW, 192), "switchml": (WINDOW,)}
_FARTHEST = 4.0  # a ratio whose colour is the last one


def _points(effort: Effort) -> list[Point]:
    return [
        Point(
            {"jobs": jobs, "rows": rows, "policy": policy, "window": window},
            simulation(effort, policy, seed, rows=rows, heavy=jobs // 2, light=jobs // 2, job={"window": window}),
        )
        for jobs in effort.choose((2, 4, 8, 16, 32), (2, 8, 16))
        for rows in effort.choose((128, 256, 512, 1024, 2048, 4096, 8192), (128, 512, 2048, 8192))
        for policy, windows in _WINDOWS.items()
        for window in windows
        for seed in effort.seeds
    ]


def ratio(cells: Cells, other: str, jobs: int, rows: int) -> Interval:
    """Another policy's mean JCT over ESA's at a place, with the better of its windows."""
    place = {"jobs": jobs, "rows": rows}
    esa = cells.values("jct_ms", policy="esa", **place)
    found = [cells.values("jct_ms", policy=other, window=window, **place) for window in _WINDOWS[other]]
    return min((ratio_interval(own, esa) for own in found), key=_centre)


def _centre(ratio: Interval) -> float:
    return ratio.centre if ratio.known else math.inf


def _show(cells: Cells) -> Shown:
    rows: list[Row] = []
    lines = []
    counts = {other: dict.fromkeys("+=-?", 0) for other in OTHERS}
    for jobs in cells.places("jobs"):
        for memory in cells.places("rows"):
            line = [f"{jobs}", f"{memory}"]
            for other in OTHERS:
                here = ratio(cells, other, jobs, memory)
                sign = verdict(here)
                counts[other][sign] += 1
                rows.append({"jobs": jobs, "rows": memory, "policy": other, "per_esa": here, "verdict": sign})
                line.append(f"{ratio_text(here)} {sign}")
            lines.append(line)
    head = ["jobs", "rows", *(f"{draw.NAMES[other]} / ESA" for other in OTHERS)]
    notes = [f"ATP with the better of the windows {' and '.join(map(str, _WINDOWS['atp']))} at each place."]
    notes += [
        f"Against {draw.NAMES[other]}: ESA wins (+) {found['+']}, ties (=) {found['=']}, loses (-) {found['-']} of "
        f"{sum(found.values())} places."
        for other, found in counts.items()
    ]
    return Shown(head, lines, rows, partial(_draw, cells), notes, (10.5, 4.0))


def _draw(cells: Cells, canvas: Canvas) -> None:
    every = canvas.subplots(1, len(OTHERS), sharey=True)
    for axes, other in zip(every, OTHERS, strict=True):
        image = _heat(axes, cells, other)
    every[0].set_ylabel("jobs")
    bar = canvas.colorbar(image, ax=list(every), extend="both")
    ticks = (1 / 2, 1, 2, 4)
    bar.set_ticks([math.log2(tick) for tick in ticks], labels=["1/2", "1", "2", "4"])
    bar.set_label("mean JCT / ESA's")


def _heat(axes: Axes, cells: Cells, other: str) -> AxesImage:
    jobs, memories = cells.places("jobs"), cells.places("rows")
    ratios = [[ratio(cells, other, count, rows) for rows in memories] for count in jobs]
    heights = [[math.log2(one.centre) for one in line] for line in ratios]
    norm = TwoSlopeNorm(0.0, -math.log2(_FARTHEST) / 2, math.log2(_FARTHEST))
    image = axes.imshow(heights, cmap="RdBu", norm=norm, aspect="auto", origin="lower")
    for y, line in enumerate(ratios):
        for x, one in enumerate(line):
            dark = one.known and not -0.6 < math.log2(one.centre) < 1.2
            text = f"{one.centre:.2f}\n{verdict(one)}" if one.known else "?"
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(memories)), [str(rows) for rows in memories])
    axes.set_yticks(range(len(jobs)), [str(count) for count in jobs])
    axes.set_xlabel("aggregators that the jobs share (rows)")
    axes.set_title(f"{draw.NAMES[other]} / ESA: + ESA wins, = ties, - loses", fontsize=10)
    return image


FIGURE = Figure("map", "Memory and load: where ESA wins, ties and loses", _points, _show)
