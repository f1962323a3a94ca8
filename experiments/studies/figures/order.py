"""What sending front layers first brings, over ESA and over a ring.

"front-first" is the order of priority schedulers such as ByteScheduler, and no more: the next forward pass begins with
the front layers' sums and waits for the others as it comes to them. Buckets are not cut, and wait for the end of the
backward pass: what that would have hidden is hidden behind the next forward pass instead, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from matplotlib.figure import Figure as Canvas

from esa.report.statistics import Interval, mean_interval, ratio_interval
from experiments.studies.figures import draw
from experiments.studies.figures.base import Effort, simulation
from experiments.studies.figures.cells import Cells, Point
from experiments.studies.figures.figure import Figure, Row, Shown, mean_text, ratio_text

DDP, FRONT_FIRST = ORDERS = ("ddp", "front-first")
RING = "Ring"
# The ring takes no rows; what it says of them is the setting's.
SUMS: dict[str, Mapping[str, Any]] = {
    "ESA, 512 rows": {"rows": 512},
    "ESA, 4,096 rows": {"rows": 4096},
    RING: {"transport": "gloo"},
}
LOADS: dict[str, Mapping[str, int]] = {
    "half of each": {},
    "all communication-heavy": {"heavy": 8, "light": 0},
    "all computation-heavy": {"heavy": 0, "light": 8},
}


def _points(effort: Effort) -> list[Point]:
    return [
        Point(
            {"load": load, "sums": sums, "order": order},
            simulation(effort, "esa", seed, job={"order": order}, **how, **jobs),
        )
        for load, jobs in LOADS.items()
        for sums, how in SUMS.items()
        for order in ORDERS
        for seed in effort.many_seeds
    ]


def ratio(cells: Cells, load: str, above: tuple[str, str], below: tuple[str, str]) -> Interval:
    """One mean JCT over another, each of (how sums are made, order)."""
    one, other = (cells.values("jct_ms", load=load, sums=sums, order=order) for sums, order in (above, below))
    return ratio_interval(one, other)


def _show(cells: Cells) -> Shown:
    rows: list[Row] = []
    lines = []
    for load in LOADS:
        for sums in SUMS:
            own = {order: mean_interval(cells.values("jct_ms", load=load, sums=sums, order=order)) for order in ORDERS}
            gains = ratio(cells, load, (sums, FRONT_FIRST), (sums, DDP))
            of_ring = {order: ratio(cells, load, (RING, order), (sums, order)) for order in ORDERS}
            rows += [
                {
                    "load": load,
                    "sums": sums,
                    "order": order,
                    "jct_ms": own[order],
                    "front_first_per_ddp": gains,
                    "ring_per_this": of_ring[order],
                }
                for order in ORDERS
            ]
            beside = ["-" if sums == RING else ratio_text(of_ring[order]) for order in ORDERS]
            lines.append([load, sums, *(mean_text(own[order]) for order in ORDERS), ratio_text(gains), *beside])
    head = ["jobs", "sums by", "ddp: mean JCT, ms", "front-first", "front-first / ddp"]
    return Shown([*head, *(f"ring / this, {order}" for order in ORDERS)], lines, rows, partial(_draw, cells))


def _draw(cells: Cells, canvas: Canvas) -> None:
    gains = {sums: [ratio(cells, load, (sums, FRONT_FIRST), (sums, DDP)) for load in LOADS] for sums in SUMS}
    draw.ratios_across(canvas.subplots(), tuple(LOADS), gains, "mean JCT, front-first / ddp")


FIGURE = Figure("order", "Front layers first, over ESA and a ring", _points, _show)
