"""Runs as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from esa.report.plain import plain
from esa.report.records import Run

MAX_BARS = 12  # jobs; of more, how their JCTs are distributed


def plot_runs(runs: Sequence[Run], path: Path) -> None:
    """Write a PNG: JCT per job and policy on the left, rows in use over time on the right.

    Virtual time also tells the useful rows, those that wait for workers still: dashed.
    """
    with matplotlib.rc_context({"text.parse_math": False}):  # a job's name may hold a dollar
        figure = Figure(figsize=(11, 4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        names = list(dict.fromkeys(job.name for run in runs for job in run.summary.jobs))
        if 0 < len(names) <= MAX_BARS:
            _plot_jct(left, runs, names)
        else:
            _plot_jct_distribution(left, runs)
        _plot_occupancy(right, runs)
        figure.savefig(path, dpi=120)


def _label(name: str) -> str:
    """As text; a legend leaves out what begins with an underscore."""
    shown = plain(name, 60)
    return f" {shown}" if shown.startswith("_") else shown


def _plot_jct(axes: Axes, runs: Sequence[Run], names: Sequence[str]) -> None:
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        heights = [next((job.jct_s or 0.0 for job in run.summary.jobs if job.name == name), 0.0) for run in runs]
        axes.bar([x + i * width for x in range(len(runs))], heights, width, label=_label(name))
    axes.set_xticks([x + 0.4 - width / 2 for x in range(len(runs))], [_label(run.summary.policy) for run in runs])
    axes.set_ylabel("JCT (s)")
    axes.legend()


def _plot_jct_distribution(axes: Axes, runs: Sequence[Run]) -> None:
    for run in runs:
        times = sorted(job.jct_s for job in run.summary.jobs if job.jct_s is not None)
        parts = [(i + 1) / len(run.summary.jobs) for i in range(len(times))]
        axes.step([0.0, *times], [0.0, *parts], where="post", label=_label(run.summary.policy))
    axes.set_xlabel("JCT (s)")
    axes.set_ylabel("part of the jobs")
    axes.legend()


def _plot_occupancy(axes: Axes, runs: Sequence[Run]) -> None:
    for run in runs:
        if run.of("sample"):
            samples = [one for one in run.of("sample") if {"t_s", "taken", "useful"} <= one.keys()]
            times = [sample["t_s"] for sample in samples]
            (line,) = axes.plot(times, [sample["taken"] for sample in samples], label=_label(run.summary.policy))
            useful = [sample["useful"] for sample in samples]
            axes.plot(times, useful, "--", color=line.get_color(), label=_label(f"{run.summary.policy}, useful"))
        elif run.of("occupancy"):
            samples = [one for one in run.of("occupancy") if "t" in one and isinstance(one.get("rows"), dict)]
            rows = [sum(sample["rows"].values()) for sample in samples]
            axes.plot([sample["t"] for sample in samples], rows, label=_label(run.summary.policy))
    axes.set_xlabel("time since the run's start (s)")
    axes.set_ylabel("rows in use")
    if axes.lines:
        axes.legend()
