"""Throughput curves as a picture: what is lost, and what a packet costs, at rates from few to more than pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.studies.bench.row import Curves

MARKERS = "os^Dv"


def draw_curves(by_title: Mapping[str, Curves], path: Path) -> None:
    """Write a PNG with a column for each title: loss above, CPU below."""
    figure = Figure(figsize=(5.5 * len(by_title), 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(by_title), sharex="col", squeeze=False)
    for column, (title, curves) in enumerate(by_title.items()):
        above, below = axes[0][column], axes[1][column]
        for marker, (name, points) in zip(MARKERS, curves.items(), strict=False):
            rates = [point.offered_per_s / 1e3 for point in points]
            lost = [100 * (1 - point.passed_per_s / point.offered_per_s) for point in points]
            above.plot(rates, lost, marker=marker, markersize=4, label=name)
            below.plot(rates, [point.cpu_us for point in points], marker=marker, markersize=4, label=name)
        above.set_title(title)
        above.set_ylabel("lost (%)")
        below.set_ylabel("CPU per gradient (us)")
        below.set_xlabel("gradients offered (thousand a second)")
        below.set_xscale("log")
        below.set_yscale("log")
        for each in (above, below):
            each.grid(alpha=0.3)
            each.legend()
    figure.savefig(path, dpi=110)
