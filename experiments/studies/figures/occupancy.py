"""Memory over time by policy: rows that are taken, and those of them that still add.

A row that holds a complete sum, for an acknowledgement (ATP) or for its reuse (SwitchML), is taken and adds nothing.
"""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure as Canvas

from esa.report.statistics import Interval, mean_interval
from experiments.studies.figures import draw
from experiments.studies.figures.base import ROWS, Effort, simulation
from experiments.studies.figures.cells import Cells, Point, samples
from experiments.studies.figures.figure import Figure, Row, Shown

POLICIES = ("esa", "atp", "switchml")  # `ps` takes no row
SAMPLE_US = 5.0


def _points(effort: Effort) -> list[Point]:
    return [
        Point({"policy": policy}, simulation(effort, policy, seed, virtual={"sample_us": SAMPLE_US}))
        for policy in POLICIES
        for seed in effort.seeds
    ]


def _show(cells: Cells) -> Shown:
    rows: list[Row] = []
    lines = []
    for policy in POLICIES:
        taken, useful, traffic = (
            mean_interval(cells.values(name, policy=policy)) for name in ("taken", "useful", "ps_traffic")
        )
        rows.append({"policy": policy, "taken": taken, "useful": useful, "ps_traffic": traffic})
        lines.append([draw.NAMES[policy], _percent(taken), _percent(useful)])
    head = ["policy", f"taken, % of {ROWS} rows", "still adding, % of the rows"]
    return Shown(head, lines, rows, partial(_draw, cells), size_inches=(7.5, 5.4), drawn="one of the seeds")


def _percent(part: Interval) -> str:
    return f"{100 * part.centre:.1f} ± {100 * (part.high - part.centre):.1f}"


def _draw(cells: Cells, canvas: Canvas) -> None:
    """The first seed's time series, one policy below the other."""
    every = canvas.subplots(len(POLICIES), 1, sharex=True, sharey=True)
    for axes, policy in zip(every, POLICIES, strict=True):
        series = samples(cells.at(policy=policy)[0].result)
        time_ms = [1e3 * sample["t_s"] for sample in series]
        taken = [sample["taken"] for sample in series]
        useful = [sample["useful"] for sample in series]
        axes.fill_between(time_ms, taken, color=draw.COLOURS[policy], alpha=0.3, linewidth=0, label="taken")
        axes.fill_between(time_ms, useful, color=draw.COLOURS[policy], linewidth=0, label="still adding")
        axes.set_title(draw.NAMES[policy], loc="left", fontsize=10)
        axes.set_ylim(0, 1.02 * ROWS)
        axes.set_yticks([0, ROWS // 2, ROWS])
        draw.grid(axes)
        draw.legend(axes)
    canvas.supylabel("aggregators (rows)", fontsize=10)
    every[-1].set_xlim(0)
    every[-1].set_xlabel("virtual time (ms)")


FIGURE = Figure("occupancy", "Switch memory over time", _points, _show)
