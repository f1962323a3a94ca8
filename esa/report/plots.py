"""Runs as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from esa.report.records import Run


def plot_runs(runs: Sequence[Run], path: Path) -> None:
    """Write a PNG: JCT per job and policy on the left, rows in use over time on the right."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _plot_jct(left, runs)
    _plot_occupancy(right, runs)
    figure.savefig(path, dpi=120)


def _plot_jct(axes: Axes, runs: Sequence[Run]) -> None:
    names = list(dict.fromkeys(job.name for run in runs for job in run.summary.jobs))
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        heights = [next((job.jct_s or 0.0 for job in run.summary.jobs if job.name == name), 0.0) for run in runs]
        axes.bar([x + i * width for x in range(len(runs))], heights, width, label=name)
    axes.set_xticks([x + 0.4 - width / 2 for x in range(len(runs))], [run.summary.policy for run in runs])
    axes.set_ylabel("JCT (s)")
    axes.legend()


def _plot_occupancy(axes: Axes, runs: Sequence[Run]) -> None:
    for run in runs:
        samples = run.of("occupancy")
        if samples:
            rows = [sum(sample["rows"].values()) for sample in samples]
            axes.plot([sample["t"] for sample in samples], rows, label=run.summary.policy)
    axes.set_xlabel("time since the run's start (s)")
    axes.set_ylabel("rows in use")
    if axes.lines:
        axes.legend()
