"""What scaling the models does to the ratios: round trips, windows and rows keep their size, iterations do not."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure as Canvas

from esa.report.statistics import mean_interval, ratio_interval
from experiments.studies.figures import draw
from experiments.studies.figures.base import Effort, simulation
from experiments.studies.figures.cells import Cells, Point
from experiments.studies.figures.figure import Figure, Row, Shown, mean_text, ratio_text

OTHERS = ("atp", "switchml")


def _points(effort: Effort) -> list[Point]:
    return [
        Point({"scale": scale, "policy": policy}, simulation(effort, policy, seed, scale=scale))
        for scale in effort.choose((0.0025, 0.005, 0.01, 0.02, 0.05, 0.1), (0.0025, 0.005, 0.01))
        for policy in ("esa", *OTHERS)
        for seed in effort.seeds
    ]


def _show(cells: Cells) -> Shown:
    rows: list[Row] = []
    lines = []
    for scale in cells.places("scale"):
        esa = cells.values("jct_ms", scale=scale, policy="esa")
        line = [f"{scale:g}", mean_text(mean_interval(esa))]
        for other in OTHERS:
            own = cells.values("jct_ms", scale=scale, policy=other)
            ratio = ratio_interval(own, esa)
            rows.append({"scale": scale, "policy": other, "jct_ms": mean_interval(own), "per_esa": ratio})
            line.append(ratio_text(ratio))
        rows.append(
            {"scale": scale, "policy": "esa", "jct_ms": mean_interval(esa), "per_esa": ratio_interval(esa, esa)}
        )
        lines.append(line)
    head = ["scale", "ESA: mean JCT, ms", *(f"{draw.NAMES[other]} / ESA" for other in OTHERS)]
    return Shown(head, lines, rows, partial(_draw, cells))


def _draw(cells: Cells, canvas: Canvas) -> None:
    axes = canvas.subplots()
    scales = cells.places("scale")
    for other in OTHERS:
        ratios = [
            ratio_interval(
                cells.values("jct_ms", scale=scale, policy=other), cells.values("jct_ms", scale=scale, policy="esa")
            )
            for scale in scales
        ]
        draw.line(axes, other, scales, ratios)
    axes.axhline(1, color=draw.COLOURS["esa"], label="ESA")
    draw.log_places(axes, scales)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("scale of the models (1: full size)")
    axes.set_ylabel("mean JCT / ESA's")
    draw.grid(axes)
    draw.legend(axes)


FIGURE = Figure("scale", "What scaling the models does", _points, _show)
