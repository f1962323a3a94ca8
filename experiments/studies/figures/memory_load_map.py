"""A map of memory and load: where ESA wins, ties and loses against ATP, SwitchML, the PS alone and a ring.

The best window for ATP grows with the memory, ESA hardly minds it (`claim`). So ATP has, at each place, the better of
two: the setting's, and about one round trip to the PS and back at 100 Gb/s. Who uses no rows is simulated once for
each load.
"""

from __future__ import annotations

import math
from functools import partial

from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure as Canvas
from matplotlib.image import AxesImage

from esa.report.statistics import Interval, ratio_interval, verdict
from experiments.studies.figures import draw
from experiments.studies.figures.base import ROWS, WINDOW, Effort, simulation
from experiments.studies.figures.cells import Cells, Place, Point
from experiments.studies.figures.figure import Figure, Row, Shown, ratio_text

OTHERS = ("atp", "switchml", "ps", "ring")
_WINDOWS = {"esa": (WINDOW,), "atp": (WINDOW, 192), "switchml": (WINDOW,), "ps": (WINDOW,), "ring": (WINDOW,)}
_ROWLESS: dict[str, dict[str, str]] = {"ps": {}, "ring": {"transport": "gloo"}}  # and what else they are simulated with
_NO_ROWS = 0  # their place on the axis of memory
_FARTHEST = 4.0  # a ratio whose colour is the last one


def _points(effort: Effort) -> list[Point]:
    memories = effort.choose((128, 256, 512, 1024, 2048, 4096, 8192), (128, 512, 2048, 8192))
    return [
        _point(effort, seed, jobs, rows, policy, window)
        for jobs in effort.choose((2, 4, 8, 16, 32), (2, 8, 16))
        for policy, windows in _WINDOWS.items()
        for rows in ((_NO_ROWS,) if policy in _ROWLESS else memories)
        for window in windows
        for seed in effort.many_seeds
    ]


def _point(effort: Effort, seed: int, jobs: int, rows: int, policy: str, window: int) -> Point:
    others = _ROWLESS.get(policy, {})
    known = "esa" if "transport" in others else policy  # which says nothing there
    load = {"heavy": jobs // 2, "light": jobs // 2}
    return Point(
        {"jobs": jobs, "rows": rows, "policy": policy, "window": window},
        simulation(effort, known, seed, rows=rows or ROWS, job={"window": window}, **load, **others),
    )


def memories(cells: Cells) -> list[Place]:
    """The places on the axis of memory, in rows."""
    return [rows for rows in cells.places("rows") if rows != _NO_ROWS]


def ratio(cells: Cells, other: str, jobs: int, rows: int) -> Interval:
    """Another policy's mean JCT over ESA's at a place, with the better of its windows."""
    esa = cells.values("jct_ms", policy="esa", jobs=jobs, rows=rows)
    others = {"policy": other, "jobs": jobs, "rows": _NO_ROWS if other in _ROWLESS else rows}
    found = [cells.values("jct_ms", window=window, **others) for window in _WINDOWS[other]]
    return min((ratio_interval(own, esa) for own in found), key=_centre)


def _centre(ratio: Interval) -> float:
    return ratio.centre if ratio.known else math.inf


def _show(cells: Cells) -> Shown:
    rows: list[Row] = []
    lines = []
    counts = {other: dict.fromkeys("+=-?", 0) for other in OTHERS}
    for jobs in cells.places("jobs"):
        for memory in memories(cells):
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
    notes += _unseated(cells)
    return Shown(head, lines, rows, partial(_draw, cells), notes, (10.5, 7.5))


def _unseated(cells: Cells) -> list[str]:
    """Where some of ESA's jobs have no rows, how many."""
    counted = {
        (jobs, memory): float(cells.values("unseated", policy="esa", jobs=jobs, rows=memory).mean())
        for jobs in cells.places("jobs")
        for memory in memories(cells)
    }
    texts = [f"{count:g} of {jobs} with {memory} rows" for (jobs, memory), count in counted.items() if count]
    return [f"Of ESA's jobs, rings for want of rows: {', '.join(texts)}."] if texts else []


def _draw(cells: Cells, canvas: Canvas) -> None:
    every = canvas.subplots(2, 2, sharex=True, sharey=True)
    for axes, other in zip(every.flat, OTHERS, strict=True):
        image = _heat(axes, cells, other)
    for left in every[:, 0]:
        left.set_ylabel("jobs")
    for lower in every[1]:
        lower.set_xlabel("aggregators that the jobs share (rows)")
    bar = canvas.colorbar(image, ax=list(every.flat), extend="both")
    ticks = (1 / 2, 1, 2, 4)
    bar.set_ticks([math.log2(tick) for tick in ticks], labels=["1/2", "1", "2", "4"])
    bar.set_label("mean JCT / ESA's")


def _heat(axes: Axes, cells: Cells, other: str) -> AxesImage:
    jobs, across = cells.places("jobs"), memories(cells)
    ratios = [[ratio(cells, other, count, rows) for rows in across] for count in jobs]
    heights = [[math.log2(one.centre) for one in line] for line in ratios]
    norm = TwoSlopeNorm(0.0, -math.log2(_FARTHEST) / 2, math.log2(_FARTHEST))
    image = axes.imshow(heights, cmap="RdBu", norm=norm, aspect="auto", origin="lower")
    for y, line in enumerate(ratios):
        for x, one in enumerate(line):
            dark = one.known and not -0.6 < math.log2(one.centre) < 1.2
            text = f"{one.centre:.2f}\n{verdict(one)}" if one.known else "?"
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(across)), [str(rows) for rows in across])
    axes.set_yticks(range(len(jobs)), [str(count) for count in jobs])
    axes.set_title(f"{draw.NAMES[other]} / ESA: + ESA wins, = ties, - loses", fontsize=10)
    return image


FIGURE = Figure("map", "Memory and load: where ESA wins, ties and loses", _points, _show)
