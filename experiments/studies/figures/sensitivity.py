"""ATP's mean JCT over ESA's when one thing in the setting is another: where the gain comes from, and where it goes.

That ATP is not held back by what is ours: windows, timers, ECN, queues, the PS's processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from matplotlib.figure import Figure as Canvas

from esa.report.statistics import Interval, mean_interval, ratio_interval, verdict
from experiments.studies.figures import draw
from experiments.studies.figures.base import Effort, simulation
from experiments.studies.figures.cells import Cells, Point
from experiments.studies.figures.figure import Figure, Row, Shown, mean_text, ratio_text

_REAL = ("vgg16", "resnet50") * 4


def _real_models(effort: Effort, speed: float) -> Mapping[str, Any]:
    """VGG-16 has four times the gradients of a communication-heavy job; `speed`: times a V100's."""
    scale = effort.scale / 5
    return {
        "models": _REAL,
        "scale": scale,
        "submitted_within_s": 0.3 / speed,
        "job": {"time_scale": scale / speed},
    }


AS_IS = "the setting as it is"
SETTINGS: dict[str, Callable[[Effort], Mapping[str, Any]]] = {
    AS_IS: lambda effort: {},
    "window 64": lambda effort: {"job": {"window": 64}},
    "window 256": lambda effort: {"job": {"window": 256}},
    "ECN above 64 packets": lambda effort: {"network": {"ecn_packets": 64}},
    "ECN above 256 packets": lambda effort: {"network": {"ecn_packets": 256}},
    "queues of 256 packets": lambda effort: {"network": {"queue_packets": 256}},
    "overtaken after 2.5 us": lambda effort: {"timers": {"overtaken_floor_us": 2.5}},
    "overtaken after 20 us": lambda effort: {"timers": {"overtaken_floor_us": 20}},
    "PS's patience from 10 us": lambda effort: {"timers": {"patience_floor_us": 10, "patience_initial_us": 50}},
    "PS: 50 ns a packet": lambda effort: {"virtual": {"server_ns": 50}},
    "all hosts: 25 ns a packet": lambda effort: {"virtual": {"server_ns": 25, "send_ns": 25, "receive_ns": 25}},
    "40 Gb/s": lambda effort: {"network": {"rate": "40 Gb/s"}},
    "cables of 0.5 us": lambda effort: {"network": {"delay_us": 0.5}},
    "cables of 2 us": lambda effort: {"network": {"delay_us": 2.0}},
    "256 lanes": lambda effort: {"lanes": 256},
    "2 workers": lambda effort: {"workers": 2},
    "8 workers": lambda effort: {"workers": 8},
    "no jitter": lambda effort: {"job": {"jitter": 0.0}},
    "jitter 30 %": lambda effort: {"job": {"jitter": 0.3}},
    "a tenth of computing takes twice as long": lambda effort: {"job": {"straggle": 0.1, "slowdown": 2.0}},
    "all submitted at once": lambda effort: {"submitted_within_s": 0.0},
    "submitted within 7 iterations": lambda effort: {"submitted_within_s": 0.1},
    "10 iterations": lambda effort: {"job": {"iterations": 10}},
    "all communication-heavy": lambda effort: {"heavy": 8, "light": 0},
    "all computation-heavy": lambda effort: {"heavy": 0, "light": 8},
    "VGG-16, ResNet-50, 10 x a V100": lambda effort: _real_models(effort, 10.0),
    "VGG-16, ResNet-50, a V100": lambda effort: _real_models(effort, 1.0),
}
_QUICK = tuple(SETTINGS)[:12:3] + tuple(SETTINGS)[-4:]


def _points(effort: Effort) -> list[Point]:
    return [
        Point({"setting": name, "policy": policy}, simulation(effort, policy, seed, **SETTINGS[name](effort)))
        for name in effort.choose(tuple(SETTINGS), _QUICK)
        for policy in ("esa", "atp")
        for seed in effort.many_seeds
    ]


def _show(cells: Cells) -> Shown:
    rows: list[Row] = []
    lines = []
    ratios = {}
    for name in cells.places("setting"):
        esa, atp = (cells.values("jct_ms", setting=name, policy=policy) for policy in ("esa", "atp"))
        ratio = ratios[name] = ratio_interval(atp, esa)
        rows.append(
            {
                "setting": name,
                "esa_jct_ms": mean_interval(esa),
                "atp_jct_ms": mean_interval(atp),
                "atp_per_esa": ratio,
            }
        )
        lines.append([name, mean_text(mean_interval(esa)), f"{ratio_text(ratio)} {verdict(ratio)}"])
    known = [name for name in ratios if ratios[name].known]
    lowest = min(known, key=lambda name: ratios[name].centre, default=None)
    notes = [] if lowest is None else [f"The smallest ratio: {lowest}, {ratio_text(ratios[lowest])}."]
    head = ["setting", "ESA: mean JCT, ms", "ATP / ESA"]
    return Shown(head, lines, rows, partial(_draw, ratios), notes, (8.0, 1.5 + 0.24 * len(lines)))


def _draw(ratios: Mapping[str, Interval], canvas: Canvas) -> None:
    axes = canvas.subplots()
    names = sorted((name for name in ratios if ratios[name].known), key=lambda name: ratios[name].centre)
    for y, name in enumerate(names):
        ratio = ratios[name]
        colour = "black" if name == AS_IS else draw.COLOURS["esa"]
        error = [[ratio.centre - ratio.low], [ratio.high - ratio.centre]]
        axes.errorbar([ratio.centre], [y], xerr=error, fmt="o", color=colour, capsize=3, markersize=5)
    axes.set_yticks(range(len(names)), names)
    axes.axvline(1, color=draw.GREY, linewidth=1)
    axes.set_xlabel("ATP's mean JCT / ESA's")
    draw.grid(axes)


FIGURE = Figure("sensitivity", "ATP against ESA when one thing is another", _points, _show)
