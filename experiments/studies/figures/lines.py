"""Figures of one kind: mean JCT of the four policies against one thing that is varied."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure as Canvas

from esa.report.statistics import mean_interval, ratio_interval
from experiments.studies.figures import draw
from experiments.studies.figures.base import POLICIES, Effort, simulation
from experiments.studies.figures.cells import Cells, Point
from experiments.studies.figures.figure import Figure, Row, Shown, mean_text, ratio_text


def jct_against(
    name: str,
    title: str,
    label: str,
    places: Callable[[Effort], Sequence[float]],
    vary: Callable[[Any], Mapping[str, Any]],
    logarithmic: bool = True,
    place_text: Callable[[float], str] = "{:g}".format,
    note: Callable[[Cells], Sequence[str]] = lambda cells: (),
    claimed: bool = False,
) -> Figure:
    """vary: what a place on the axis changes in `base.simulation`; label: the axis in words, with its unit.

    claimed: whether something is claimed of it, which takes more seeds.
    """

    def points(effort: Effort) -> list[Point]:
        return [
            Point({"place": place, "policy": policy}, simulation(effort, policy, seed, **vary(place)))
            for place in places(effort)
            for policy in POLICIES
            for seed in (effort.many_seeds if claimed else effort.seeds)
        ]

    def show(cells: Cells) -> Shown:
        rows: list[Row] = []
        lines = []
        for place in cells.places("place"):
            esa = cells.values("jct_ms", place=place, policy="esa")
            bound = cells.values("per_bound", place=place, policy="esa")
            line = [place_text(place), mean_text(mean_interval(esa)), mean_text(mean_interval(bound), 2)]
            for policy in POLICIES:
                own = cells.values("jct_ms", place=place, policy=policy)
                ratio = ratio_interval(own, esa)
                rows.append(
                    {
                        name.removeprefix("jct_"): place,
                        "policy": policy,
                        "jct_ms": mean_interval(own),
                        "per_esa": ratio,
                        "per_bound": mean_interval(cells.values("per_bound", place=place, policy=policy)),
                        "wait_ms": mean_interval(cells.values("wait_ms", place=place, policy=policy)),
                    }
                )
                if policy != "esa":
                    line.append(ratio_text(ratio))
            lines.append(line)
        head = [
            label,
            "ESA: mean JCT, ms",
            "over its lower bound",
            *(f"{draw.NAMES[policy]} / ESA" for policy in POLICIES[1:]),
        ]
        return Shown(head, lines, rows, lambda canvas: _draw(canvas, cells), note(cells))

    def _draw(canvas: Canvas, cells: Cells) -> None:
        axes = canvas.subplots()
        found = cells.places("place")
        # A place at 0 has no logarithm: one step below the lowest.
        x = [place if place or not logarithmic else min(other for other in found if other) / 4 for place in found]
        every = []
        for policy in POLICIES:
            intervals = [mean_interval(cells.values("jct_ms", place=place, policy=policy)) for place in found]
            draw.line(axes, policy, x, intervals)
            every += intervals
        texts = [place_text(place) for place in found]
        if logarithmic:
            draw.log_places(axes, x, texts)
        else:
            axes.set_xticks(x, texts)
        draw.log_values(axes, *draw.extent(every))
        axes.set_xlabel(label)
        axes.set_ylabel("mean JCT (ms)")
        draw.grid(axes)
        draw.legend(axes)

    return Figure(name, title, points, show)
