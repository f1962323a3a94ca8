"""Traffic of the PSs by policy: what in-network aggregation saves them. The simulations are those of `jct_memory`."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure as Canvas

from esa.report.statistics import mean_interval
from experiments.studies.figures import draw, jct_memory
from experiments.studies.figures.base import POLICIES
from experiments.studies.figures.cells import Cells
from experiments.studies.figures.figure import Figure, Row, Shown, mean_text


def _show(cells: Cells) -> Shown:
    rows: list[Row] = []
    lines = []
    for place in cells.places("place"):
        found = {policy: mean_interval(cells.values("ps_traffic", place=place, policy=policy)) for policy in POLICIES}
        rows += [{"memory": place, "policy": policy, "ps_traffic": one} for policy, one in found.items()]
        lines.append([f"{place:g}", *(mean_text(one) for one in found.values())])
    head = ["rows", *(f"{draw.NAMES[policy]}: bytes per byte" for policy in POLICIES)]
    notes = ["Bytes that PSs send and receive, headers included, per byte of gradient that a worker sums."]
    return Shown(head, lines, rows, partial(_draw, cells), notes)


def _draw(cells: Cells, canvas: Canvas) -> None:
    axes = canvas.subplots()
    places = cells.places("place")
    for policy in POLICIES:
        draw.line(
            axes,
            policy,
            places,
            [mean_interval(cells.values("ps_traffic", place=place, policy=policy)) for place in places],
        )
    draw.log_places(axes, places)
    axes.set_ylim(bottom=-0.05)
    axes.set_xlabel("aggregators that the jobs share (rows)")
    axes.set_ylabel("PS traffic (bytes per byte of gradient)")
    draw.grid(axes)
    draw.legend(axes)


FIGURE = Figure("ps_traffic", "Traffic of the parameter servers", jct_memory.FIGURE.points, _show)
