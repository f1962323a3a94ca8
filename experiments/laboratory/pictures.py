"""A run of `esa cluster` as a picture: which job was on which GPU, server by server, and how many GPUs were in use.

draw_cluster(cluster, outcome, Path("cluster.png"))      # of an outcome with spells
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from esa.cluster.inventory import Cluster
from esa.laboratory import Outcome

COLUMNS = 1600  # of the upper part: what was shorter than a column may not be seen
MOST_LABELS = 16
_JOBS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442", "#999999")
_IDLE, _NOT_THERE = "#ffffff", "#dddddd"
_UNITS = ((86_400, "days"), (3600, "hours"), (1, "s"))
Lanes = npt.NDArray[np.int8]


def draw_cluster(cluster: Cluster, outcome: Outcome, path: Path) -> None:
    """Write a PNG. outcome: with spells; up to the last end, or until it was cut."""
    first_ns = min((job.submit_ns for job in outcome.jobs), default=0)
    span_ns = max(outcome.end_ns - first_ns, 1)
    unit_s, unit = next(pair for pair in _UNITS if span_ns / 1e9 >= 2 * pair[0] or pair[0] == 1)
    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    until = span_ns / 1e9 / unit_s
    lanes = gantt(cluster, outcome, first_ns, span_ns)
    upper.imshow(
        lanes,
        cmap=ListedColormap([_NOT_THERE, _IDLE, *_JOBS]),
        vmin=-0.5,
        vmax=len(_JOBS) + 1.5,
        extent=(0.0, until, float(len(lanes)), 0.0),
        aspect="auto",
        interpolation="nearest",
    )
    _name_hosts(upper, cluster)
    times, used = usage(outcome, first_ns)
    lower.step(times / 1e9 / unit_s, used, where="post", label="in use", color=_JOBS[4])
    times, there = capacity(cluster, outcome, first_ns)
    lower.step(times / 1e9 / unit_s, there, where="post", label="there", color="#777777", linewidth=0.8)
    lower.set_xlim(0, until)
    lower.set_ylim(0)
    lower.set_xlabel(f"{unit} since the first submission")
    lower.set_ylabel("GPUs")
    lower.legend(loc="upper right", frameon=False)
    figure.savefig(path, dpi=110)


def gantt(cluster: Cluster, outcome: Outcome, first_ns: int, span_ns: int) -> Lanes:
    """(GPUs, COLUMNS): 0 where a host was not lent, 1 where a GPU was idle, from 2 on a colour of who had it."""
    sizes = [host.gpus for host in cluster.hosts]
    begins = np.cumsum([0, *sizes])
    lanes: Lanes = np.ones((int(begins[-1]), COLUMNS), np.int8)

    def columns(start_ns: int, end_ns: int) -> slice:
        low = (start_ns - first_ns) * COLUMNS // span_ns
        return slice(max(low, 0), max((end_ns - first_ns) * COLUMNS // span_ns, low + 1))

    for host in cluster.inference:
        lanes[begins[host] : begins[host + 1]] = 0
    changes = [] if outcome.loans is None else outcome.loans.changes
    for (since_ns, lent), until_ns in zip(changes, [*(at for at, _ in changes[1:]), outcome.end_ns], strict=True):
        for host in lent:
            lanes[begins[host] : begins[host + 1], columns(since_ns, until_ns)] = 1
    for spell in outcome.spells:
        at = columns(spell.start_ns, spell.end_ns)
        for gpu in spell.gpus:
            lanes[begins[gpu.host] + gpu.gpu, at] = 2 + spell.job % len(_JOBS)
    return lanes


def usage(outcome: Outcome, first_ns: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Times since the first submission, in nanoseconds, and GPUs that jobs have from then on."""
    times = [spell.start_ns for spell in outcome.spells] + [spell.end_ns for spell in outcome.spells]
    steps = [len(spell.gpus) for spell in outcome.spells] + [-len(spell.gpus) for spell in outcome.spells]
    return _added_up(times, steps, first_ns)


def capacity(cluster: Cluster, outcome: Outcome, first_ns: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """As `usage`: GPUs that are there, the cluster's own and those that are lent."""
    changes = [] if outcome.loans is None else outcome.loans.changes
    found = [(first_ns, 0), *((at, sum(cluster.hosts[host].gpus for host in lent)) for at, lent in changes)]
    found.append((max(outcome.end_ns, found[-1][0]), found[-1][1]))
    return (
        np.array([at - first_ns for at, _ in found], np.int64),
        np.array([outcome.gpus + lent for _, lent in found], np.int64),
    )


def _added_up(times: list[int], steps: list[int], first_ns: int) -> tuple[Any, Any]:
    at, back = np.unique(np.array([0, *(time - first_ns for time in times)], np.int64), return_inverse=True)
    total = np.zeros(len(at), np.int64)
    np.add.at(total, back, np.array([0, *steps], np.int64))
    return at, np.cumsum(total)


def _name_hosts(axes: Axes, cluster: Cluster) -> None:
    begins = np.cumsum([0, *(host.gpus for host in cluster.hosts)])
    every = -(-len(cluster.hosts) // MOST_LABELS)
    shown = range(0, len(cluster.hosts), every)
    names = [f"lent {host}" if host in cluster.inference else f"{host}" for host in shown]
    axes.set_yticks([float(begins[host] + begins[host + 1]) / 2 for host in shown], names, fontsize=8)
    for begin in begins[1:-1]:
        axes.axhline(float(begin), color="#777777", linewidth=0.3)
    axes.set_ylabel("server, a line for each GPU")
