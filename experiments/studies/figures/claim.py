"""The claim: settings in which ESA's mean JCT is at least 1.35 times better than ATP's, whatever windows both use.

A window that is too small leaves the link idle, one that is too large fills the memory and the PS's queue; which one is
best depends on the memory. So the two are compared at the window of the setting, and each at the window that is best
for it there, chosen after the fact. Models are not scaled down further where the effort is small.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from matplotlib.figure import Figure as Canvas

from esa.report.statistics import Interval, mean_interval, ratio_interval
from experiments.studies.figures import draw
from experiments.studies.figures.base import FULL_SCALE, WINDOW, Effort, simulation
from experiments.studies.figures.cells import Cells, Point
from experiments.studies.figures.figure import Figure, Row, Shown, mean_text, ratio_text

CLAIMED = 1.35  # "improves the average JCT by up to 1.35x", arXiv 2201.06398
_POLICIES = ("esa", "atp")
_ONE, _BEST = f"both with window {WINDOW}", "each with its best window"


class _Compared(NamedTuple):
    """ATP and ESA with so many rows."""

    rows: int
    best: dict[str, int]  # window, by policy
    jct: dict[str, Interval]  # at that window
    same: Interval  # ATP / ESA at the window of the setting
    ratio: Interval  # at each one's best


def _points(effort: Effort) -> list[Point]:
    return [
        Point(
            {"rows": rows, "window": window, "policy": policy},
            simulation(effort, policy, seed, rows=rows, scale=FULL_SCALE, job={"window": window}),
        )
        for rows in effort.choose((128, 256, 512, 1024, 2048, 4096, 8192), (512, 2048))
        for window in effort.choose((64, 96, 128, 160, 200, 256), (96, 128))
        for policy in _POLICIES
        for seed in effort.many_seeds
    ]


def _compare(cells: Cells, rows: int) -> _Compared:
    windows = cells.places("window")
    jct = {
        (policy, w): cells.values("jct_ms", rows=rows, window=w, policy=policy) for policy in _POLICIES for w in windows
    }
    best = {policy: _best_window({w: mean_interval(jct[policy, w]) for w in windows}) for policy in _POLICIES}
    return _Compared(
        rows,
        best,
        {policy: mean_interval(jct[policy, best[policy]]) for policy in _POLICIES},
        ratio_interval(jct["atp", WINDOW], jct["esa", WINDOW]),
        ratio_interval(jct["atp", best["atp"]], jct["esa", best["esa"]]),
    )


def best_ratio(cells: Cells, rows: int) -> Interval:
    """ATP's mean JCT over ESA's, each with its best window."""
    return _compare(cells, rows).ratio


def _best_window(jct: dict[int, Interval]) -> int:
    known = {window: one.centre for window, one in jct.items() if one.known}
    return min(known, key=lambda window: known[window]) if known else WINDOW


def _show(cells: Cells) -> Shown:
    rows: list[Row] = []
    for memory in cells.places("rows"):
        for window in cells.places("window"):
            esa, atp = (cells.values("jct_ms", rows=memory, window=window, policy=policy) for policy in _POLICIES)
            rows.append(
                {
                    "rows": memory,
                    "window": window,
                    "esa_jct_ms": mean_interval(esa),
                    "atp_jct_ms": mean_interval(atp),
                    "atp_per_esa": ratio_interval(atp, esa),
                }
            )
    compared = [_compare(cells, memory) for memory in cells.places("rows")]
    lines = [
        [
            f"{one.rows}",
            f"{mean_text(one.jct['esa'])} ({one.best['esa']})",
            f"{mean_text(one.jct['atp'])} ({one.best['atp']})",
            ratio_text(one.same),
            ratio_text(one.ratio),
        ]
        for one in compared
    ]
    head = ["rows", "ESA: mean JCT, ms (best window)", "ATP: the same", f"ATP / ESA, {_ONE}", f"ATP / ESA, {_BEST}"]
    notes = [
        f"{one.rows} rows: at least {CLAIMED}, both intervals whole: "
        f"{'yes' if min(one.same.low, one.ratio.low) >= CLAIMED else 'no'} ({one.ratio.seeds} seeds)."
        for one in compared
    ]
    return Shown(head, lines, rows, partial(_draw, compared), notes)


def _draw(compared: list[_Compared], canvas: Canvas) -> None:
    axes = canvas.subplots()
    rows = [one.rows for one in compared]
    same = [one.same for one in compared]
    draw.line(axes, "atp", rows, same, linestyle="--", label=f"ATP,\n{_ONE}", markerfacecolor="white")
    draw.line(axes, "atp", rows, [one.ratio for one in compared], label=f"ATP,\n{_BEST}")
    axes.axhline(1, color=draw.COLOURS["esa"], label="ESA")
    axes.axhline(CLAIMED, color=draw.GREY, linestyle=":", label=f"the paper's {CLAIMED}")
    draw.log_places(axes, rows)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("aggregators that the jobs share (rows)")
    axes.set_ylabel("ATP's mean JCT / ESA's")
    draw.grid(axes)
    draw.legend(axes)


FIGURE = Figure("claim", "ESA against ATP, whatever their windows", _points, _show)
